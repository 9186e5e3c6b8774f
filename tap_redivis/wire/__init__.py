"""Bytes of one wire format → whole rows, each checked against, or cast to, its columns' types."""

from __future__ import annotations

from collections.abc import Sequence

from tap_redivis.model.columns import WireFormat
from tap_redivis.wire.codec import RowCodec
from tap_redivis.wire.jsonl import JsonlDecoder
from tap_redivis.wire.rows import Decoder


def decoder_for(wire_format: WireFormat, codec: RowCodec, names: Sequence[str]) -> Decoder:
    """Make the decoder of one read stream; Arrow is imported only by those who need it.

    Rows come as JSON lines, or as record batches if the codec's rules are for Arrow.

    Args:
        wire_format: The format.
        codec: The table's columns and rules.
        names: The columns in the order that was asked for.
    """
    if wire_format == "arrow":
        from tap_redivis.wire.arrow import ArrowDecoder  # noqa: PLC0415 - a tenth of a second

        if codec.rules.for_arrow:
            from tap_redivis.wire.batches import batches_of  # noqa: PLC0415 - the same

            return ArrowDecoder(codec, batches_of)
        return ArrowDecoder(codec)
    if wire_format == "csv":
        from tap_redivis.wire.csv import CsvDecoder  # noqa: PLC0415 - the same

        return CsvDecoder(codec, names)
    return JsonlDecoder(codec)
