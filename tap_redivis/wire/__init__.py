"""Bytes of one wire format → whole rows, each checked against, or cast to, its columns' types."""

from __future__ import annotations

from collections.abc import Sequence

from tap_redivis.model.columns import WireFormat
from tap_redivis.wire.codec import RowCodec
from tap_redivis.wire.decoder import Decoder
from tap_redivis.wire.jsonl import JsonlDecoder


def decoder_for(wire_format: WireFormat, codec: RowCodec, names: Sequence[str]) -> Decoder:
    """Make the decoder of one read stream, whose columns were asked for in the order of ``names``.

    Rows come as JSON lines, or as record batches if the codec's rules are for Arrow.
    """
    # To import Arrow takes a tenth of a second: a run that reads JSON Lines does without.
    if wire_format == "arrow":
        from tap_redivis.wire.arrays import rows_of  # noqa: PLC0415
        from tap_redivis.wire.arrow import ArrowDecoder  # noqa: PLC0415
        from tap_redivis.wire.batches import batches_of  # noqa: PLC0415

        return ArrowDecoder(codec, batches_of if codec.rules.for_arrow else rows_of)
    if wire_format == "csv":
        from tap_redivis.wire.csv import CsvDecoder  # noqa: PLC0415

        return CsvDecoder(codec, names)
    return JsonlDecoder(codec)
