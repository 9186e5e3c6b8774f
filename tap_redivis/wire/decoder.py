"""What every decoder of a wire format does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Protocol, TypeAlias

from tap_redivis.wire.rows import JsonRows

if TYPE_CHECKING:
    from tap_redivis.wire.batches import ArrowRows

Rows: TypeAlias = "JsonRows | ArrowRows"  # as text: runs that read JSON Lines need not import Arrow


class Decoder(Protocol):
    """Decodes the bodies of one read stream, one after another, in one wire format."""

    has_sentinel: (
        bool  # whether the last body had Arrow's sentinel: JSON Lines and CSV prove no end (redivis-api §8.1.6)
    )

    def rows(self, pieces: Iterable[bytes], offset: int) -> Iterator[Rows]:
        """Decode one body, which is cut anywhere; its first row has the ``offset`` in the read stream.

        Raises:
            TransientError: The body ends in the middle of a row.
            DamagedRow: A row, or what holds it, cannot be read.
            InvalidValue: A value cannot be read as its variable's type; the rows before it have been given.
            RowTooLarge: A row is larger than ``MAX_ROW_BYTES``.
        """
        ...
