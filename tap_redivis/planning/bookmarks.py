"""One stream's bookmark in STATE: its values, their transitions, and their form as JSON. Pure.

A load is *opened*, *advances* after its rows were written, and is *completed* after the proof (``decision.complete``)
or *dropped*.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Annotated, Any

import msgspec

from tap_redivis.model.columns import KeyValue, is_higher
from tap_redivis.model.reads import ChangeCounts, StreamPosition

_Count = Annotated[int, msgspec.Meta(ge=0)]
# SQL targets keep the version in 32 bits, and a higher one must remain possible.
_TableVersion = Annotated[int, msgspec.Meta(ge=0, lt=2**31 - 1)]
_RowKey = Annotated[str, msgspec.Meta(pattern=r"^[0-9]+-[0-9a-f]+$")]
_TimeText = Annotated[str, msgspec.Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]


@dataclass(frozen=True)
class PartialLoad:
    """A load under way; times are UTC."""

    session: str
    opened_at: datetime
    wire_format: str
    fingerprint: str  # digest of everything that a resumed load must have in common with this one
    version_tag: str | None
    table_version: _TableVersion  # of its RECORDs, in seconds since the epoch
    expected_rows: _Count | None
    streams: Mapping[str, StreamPosition]  # by id, in the session's order
    query: str | None = None  # id of the query whose result is read
    replication_key_value: KeyValue | None = None  # the highest written so far
    changes: ChangeCounts | None = None  # None: all rows are read, not only what changed
    row_key: _RowKey | None = None  # what the row keys begin with; None: an earlier version opened the load

    @property
    def key(self) -> str:
        """What row keys and file names begin with: no other load has it, though it began in the same second."""
        return self.row_key or str(self.table_version)

    def advance(self, stream: str, rows: int, last: str) -> PartialLoad:
        """Count rows of a read stream that have been written; ``last`` is the digest of the last one."""
        return self._with(stream, self.streams[stream].advance(rows, last))

    def ordinal(self, stream: str) -> int:
        """Return the place of a read stream in its session, from 0."""
        return list(self.streams).index(stream)

    def saw(self, value: KeyValue | None) -> PartialLoad:
        """Note the highest replication key of some rows that have been written."""
        if value is None or not is_higher(value, self.replication_key_value):
            return self
        return replace(self, replication_key_value=value)

    def count(self, changes: ChangeCounts) -> PartialLoad:
        """Count changes that have been written."""
        return replace(self, changes=changes if self.changes is None else self.changes + changes)

    def end(self, stream: str) -> PartialLoad:
        """Note that a read stream has been read to its end."""
        return self._with(stream, replace(self.streams[stream], done=True))

    def _with(self, stream: str, position: StreamPosition) -> PartialLoad:
        return replace(self, streams={**self.streams, stream: position})

    @property
    def rows(self) -> int:
        """How many rows have been written so far."""
        return sum(position.offset for position in self.streams.values())


@dataclass(frozen=True)
class Bookmark:
    """What STATE holds of one stream: of its last complete load, and in ``reading`` of the one under way."""

    table: str | None = None  # reference of what was read, pinned to its version
    version_tag: str | None = None  # None for a workflow
    hash: str | None = None
    updated_at: _Count | None = None  # milliseconds since the epoch; of a workflow's table only
    rows: _Count | None = None
    selection: str | None = None  # digest of the columns and limit
    completed_at: datetime | None = None  # UTC
    table_version: _TableVersion | None = None
    reading: PartialLoad | None = None
    replication_key: str | None = None
    replication_key_value: KeyValue | None = None  # the highest
    key_properties: tuple[str, ...] | None = None  # sorted; None: there were none, or they are not known
    rows_per_second: _Count | None = None  # of the last load that took long enough to tell


# What STATE must have beyond what the types above say: a count that is missing is damage there, and not 0.
class _Position(msgspec.Struct):
    offset: _Count
    done: bool
    ordinal: int | None = None
    last: str | None = None


class _Changes(msgspec.Struct):
    inserted: _Count
    changed: _Count
    deleted: _Count
    repeated: _Count


class _Reading(msgspec.Struct):
    opened_at: _TimeText
    streams: dict[str, Any]
    changes: _Changes | None = None
    expected_rows: _Count | None = None


class _State(msgspec.Struct):
    completed_at: _TimeText | None = None
    reading: _Reading | None = None


def from_state(state: Any) -> Bookmark:  # noqa: ANN401 - anything may stand in a state file
    """Read a bookmark from STATE; a ``ValueError`` says where it is damaged, and unknown keys are ignored."""
    required = msgspec.convert(state, _State)
    if required.reading is not None and not required.reading.streams and required.reading.expected_rows is None:
        raise ValueError("the load under way has neither read streams nor a number of rows")
    if required.reading is not None:
        streams = _in_order(required.reading.streams)
        # What is absent is None, but some fields have no default: a load that is opened must name them.
        absent = {"version_tag": None, "expected_rows": None}
        state = {**state, "reading": {**absent, **state["reading"], "streams": streams}}
    return msgspec.convert(state, Bookmark)


def _in_order(streams: Mapping[str, Any]) -> dict[str, StreamPosition]:
    """Read the positions in their session's order, which is lost if anyone sorts the keys of STATE."""
    try:
        positions = msgspec.convert(streams, dict[str, _Position])
    except msgspec.ValidationError as error:
        raise ValueError(f"the positions of the read streams: {error}") from None
    ordered = dict(sorted(positions.items(), key=lambda item: item[1].ordinal or 0))
    ordinals = [each.ordinal for each in ordered.values()]
    # Earlier versions wrote no ordinals: then the order is that of the keys.
    if set(ordinals) - {None} and ordinals != list(range(len(ordinals))):
        raise ValueError("the ordinals of the read streams are not 0, 1, 2, ...")
    for name, each in ordered.items():
        if each.offset and not each.last:  # nothing would prove that the stream continues at the right row
            raise ValueError(f"the read stream {name} has an offset, and no digest of the row before it")
    return {name: StreamPosition(each.offset, each.done, each.last) for name, each in ordered.items()}


def without_stale_load(bookmark: Bookmark) -> Bookmark:
    """Drop a load under way that the completed one is, or came after: merging two STATEs brings them together."""
    reading, completed = bookmark.reading, bookmark.table_version
    if reading is None or completed is None or bookmark.completed_at is None or reading.table_version > completed:
        return bookmark
    # Only a load that adds to the rows of the completed one has its table version, and begins after it.
    adds = reading.changes is not None or bookmark.replication_key is not None
    is_later = reading.table_version == completed and reading.opened_at >= bookmark.completed_at
    return bookmark if adds and is_later else replace(bookmark, reading=None)


def to_state(bookmark: Bookmark) -> dict[str, Any]:
    """Write a bookmark as STATE has it; what is absent is left out."""
    state = _present(bookmark)
    if (reading := bookmark.reading) is not None:
        positions = enumerate(reading.streams.items())
        streams = {name: {"ordinal": ordinal, **_present(position)} for ordinal, (name, position) in positions}
        state["reading"] = {**_present(reading), "streams": streams}
    return state


def _present(value: Bookmark | PartialLoad | StreamPosition) -> dict[str, Any]:
    fields = msgspec.to_builtins(value, builtin_types=[datetime])
    return {key: _json_value(field) for key, field in fields.items() if field is not None}


def _json_value(value: Any) -> Any:  # noqa: ANN401 - whatever stands in a field
    if isinstance(value, datetime):
        return f"{value.astimezone(timezone.utc).replace(tzinfo=None).isoformat(timespec='seconds')}Z"
    return list(value) if isinstance(value, tuple) else value


def is_of_dictionary(state: Any) -> bool:  # noqa: ANN401 - anything may stand in a state file
    """Whether a bookmark is one of a stream of the data dictionary, which has another shape."""
    return isinstance(state, dict) and "parts" in state
