"""What to read of a table, and how far that is: requests, sessions, positions, counts of changes."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from typing import Annotated
from urllib.parse import quote

import msgspec

from tap_redivis.model.columns import WireFormat

# Stands for the whole body of /rows, which is read like a session of one stream that cannot resume (redivis-api §4.5).
ROWS_STREAM = "rows"
Count = Annotated[int, msgspec.Meta(ge=0)]
_LONGEST_NAMES = 4000  # characters of the names of variables in an address, which many servers limit to 8,000


@dataclass(frozen=True)
class ReadRequest:
    """What to read of a table, and how."""

    table: str  # the table's reference, for messages
    table_uri: str  # the table's path below the endpoint
    wire_format: WireFormat
    max_streams: int
    max_rows: int | None
    variables: Sequence[str] | None  # names of the variables to transfer, in their order; None: all
    timeout: float  # seconds after which a body that trickles counts as broken
    in_one_answer: bool = False  # by /rows, since the table is small; if anything is odd, by a session instead
    anonymous: bool = False  # without a token: by /rows, since there are no sessions

    @property
    def fits_address(self) -> bool:
        """Whether an address can hold the names of the variables: /rows takes a list with commas (redivis-api §4.5)."""
        names = ",".join(self.variables or ())
        return names.count(",") < max(len(self.variables or ()), 1) and len(quote(names)) <= _LONGEST_NAMES


@dataclass(frozen=True)
class ReadSession:
    """A session as the server opened it."""

    id: str
    streams: tuple[str, ...]  # ids
    rows: int | None  # what it promises
    wire_format: WireFormat = "jsonl"  # arrow, if the server refuses the one that was asked for


@dataclass(frozen=True)
class StreamPosition:
    """How far a read stream has been written."""

    offset: int = 0  # rows
    done: bool = False
    last: str | None = None  # digest of the last row written

    def advance(self, rows: int, last: str) -> "StreamPosition":
        """Count rows that have been written; ``last`` is the digest of the last one."""
        return replace(self, offset=self.offset + rows, last=last)


@dataclass(frozen=True)
class ChangeCounts:
    """How many rows differ between two versions, as far as they have been written."""

    inserted: Count
    changed: Count
    deleted: Count
    repeated: Count  # rows that differ from a version in between, of which an interrupted load may have left some

    def __add__(self, other: "ChangeCounts") -> "ChangeCounts":
        """Count both."""
        return ChangeCounts(*map(sum, zip(astuple(self), astuple(other), strict=True)))

    def __str__(self) -> str:
        """Say it in words."""
        return f"{self.inserted:,} rows inserted, {self.changed:,} changed, {self.deleted:,} deleted"
