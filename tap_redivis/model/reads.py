"""What to read of a table, and how far that is: requests, sessions, positions, counts of changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace

from tap_redivis.model.columns import WireFormat

ROWS_STREAM = "rows"
"""Id that stands for the whole body of ``/rows``, which is read like a session of one stream that cannot resume."""


@dataclass(frozen=True)
class ReadRequest:
    """What to read of a table, and how.

    Attributes:
        table: The table's reference, for messages.
        table_uri: The table's path below the endpoint.
        wire_format: What the server is asked to send.
        max_streams: Read streams asked for, and read at once.
        max_rows: Most rows to give; None for all.
        variables: Names of the variables to transfer, in their order; None for all.
        timeout: Seconds after which a body that trickles counts as broken.
    """

    table: str
    table_uri: str
    wire_format: WireFormat
    max_streams: int
    max_rows: int | None
    variables: Sequence[str] | None
    timeout: float


@dataclass(frozen=True)
class ReadSession:
    """A session as the server opened it.

    Attributes:
        id: The session's id.
        streams: Ids of its read streams.
        rows: Rows that it promises; None if it does not.
    """

    id: str
    streams: tuple[str, ...]
    rows: int | None


@dataclass(frozen=True)
class StreamPosition:
    """How far a read stream has been written.

    Attributes:
        offset: Rows written.
        done: Whether its end was reached.
        last: Digest of the last row written; None before there was one.
    """

    offset: int = 0
    done: bool = False
    last: str | None = None

    def advance(self, rows: int, last: str) -> StreamPosition:
        """Count rows that have been written; ``last`` is the digest of the last one."""
        return replace(self, offset=self.offset + rows, last=last)


@dataclass(frozen=True)
class ChangeCounts:
    """How many rows differ between two versions, as far as they have been written.

    Attributes:
        inserted: Rows whose key is new.
        changed: Rows whose key was there, with other values.
        deleted: Keys that are gone.
        repeated: Rows and keys that differ from a version in between, which may have been loaded in part.
    """

    inserted: int = 0
    changed: int = 0
    deleted: int = 0
    repeated: int = 0

    def __add__(self, other: ChangeCounts) -> ChangeCounts:
        """Count both."""
        return ChangeCounts(*map(sum, zip(astuple(self), astuple(other), strict=True)))

    def __str__(self) -> str:
        """Say it in words."""
        return f"{self.inserted:,} rows inserted, {self.changed:,} changed, {self.deleted:,} deleted"

    @property
    def growth(self) -> int:
        """Rows that the later version has more than the earlier one."""
        return self.inserted - self.deleted
