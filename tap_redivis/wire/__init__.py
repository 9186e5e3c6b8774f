"""Bytes of one wire format → whole rows, each checked against, or cast to, its columns' types."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from tap_redivis.model.columns import WireFormat
from tap_redivis.wire.codec import RowCodec
from tap_redivis.wire.jsonl import JsonlDecoder
from tap_redivis.wire.rows import Rows


class Decoder(Protocol):
    """Decodes the bodies of one read stream, one after another, in one wire format."""

    # Whether the last body had Arrow's sentinel: JSON Lines and CSV prove no end (redivis-api §8.1.6).
    has_sentinel: bool

    def rows(self, pieces: Iterable[bytes], offset: int) -> Iterator[Rows]:
        """Decode one body, which is cut anywhere; its first row has the ``offset`` in the read stream.

        Raises:
            TransientError: The body ends in the middle of a row.
            DamagedRow: A row, or what holds it, cannot be read.
            InvalidValue: A value cannot be read as its variable's type; the rows before it have been given.
            RowTooLarge: A row is larger than ``MAX_ROW_BYTES``.
        """
        ...


def decoder_for(wire_format: WireFormat, codec: RowCodec, names: Sequence[str]) -> Decoder:
    """Make the decoder of one read stream, whose columns were asked for in the order of ``names``.

    Rows come as JSON lines, or as record batches if the codec's rules are for Arrow.
    """
    # To import Arrow takes a tenth of a second: a run that reads JSON Lines does without.
    if wire_format == "arrow":
        from tap_redivis.wire.arrow import ArrowDecoder  # noqa: PLC0415

        return ArrowDecoder(codec)
    if wire_format == "csv":
        from tap_redivis.wire.csv import CsvDecoder  # noqa: PLC0415

        return CsvDecoder(codec, names)
    return JsonlDecoder(codec)
