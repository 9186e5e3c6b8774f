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
_TableVersion = Annotated[int, msgspec.Meta(ge=0, lt=2**31 - 1)]
"""A Singer version: SQL targets keep it in 32 bits, and one that is higher must remain possible."""

_TimeText = Annotated[str, msgspec.Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]


@dataclass(frozen=True)
class PartialLoad:
    """A load under way; times are UTC.

    Attributes:
        session: Id of the read session.
        opened_at: When the session was opened.
        wire_format: What the streams send.
        fingerprint: Digest of everything that a resumed load must have in common with this one.
        version_tag: Version being read; None for a workflow.
        table_version: Singer version of its RECORDs, in seconds since the epoch.
        expected_rows: Rows that the session promised; None if it did not.
        streams: Position of each read stream by id, in the session's order.
        query: Id of the query whose result is read; None for a table.
        replication_key_value: Highest replication key written so far; None if there is none.
        changes: What was written so far, if only what changed is read; None if all rows are.
    """

    session: str
    opened_at: datetime
    wire_format: str
    fingerprint: str
    version_tag: str | None
    table_version: _TableVersion
    expected_rows: _Count | None
    streams: Mapping[str, StreamPosition]
    query: str | None = None
    replication_key_value: KeyValue | None = None
    changes: ChangeCounts | None = None

    def advance(self, stream: str, rows: int, last: str) -> PartialLoad:
        """_Count rows of a read stream that have been written; ``last`` is the digest of the last one."""
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
        """_Count changes that have been written."""
        return replace(self, changes=changes if self.changes is None else self.changes + changes)

    def end(self, stream: str) -> PartialLoad:
        """Note that a read stream has been read to its end."""
        return self._with(stream, replace(self.streams[stream], done=True))

    def _with(self, stream: str, position: StreamPosition) -> PartialLoad:
        return replace(self, streams={**self.streams, stream: position})

    @property
    def rows(self) -> int:
        """Rows written so far."""
        return sum(position.offset for position in self.streams.values())


@dataclass(frozen=True)
class Bookmark:
    """What STATE holds of one stream; the fields up to ``table_version`` speak of the last complete load.

    Attributes:
        table: Reference of what was read, pinned to its version.
        version_tag: Version of the last complete load; None before there was one, and for workflows.
        hash: The table's content hash then.
        updated_at: The table's time of change then, in milliseconds since the epoch; workflows only.
        rows: Rows then.
        selection: Digest of the columns and limit that were read then.
        completed_at: When it was completed, UTC; None before there was one.
        table_version: Singer version of that load.
        reading: The load under way, if any.
        replication_key: Replication key of that load; None if it was no incremental one.
        replication_key_value: Its highest value; None if there is none.
        key_properties: Its key properties, sorted; None if it had none, or they are not known.
        rows_per_second: How fast the last load was that took long enough to tell; None if none did.
    """

    table: str | None = None
    version_tag: str | None = None
    hash: str | None = None
    updated_at: _Count | None = None
    rows: _Count | None = None
    selection: str | None = None
    completed_at: datetime | None = None
    table_version: _TableVersion | None = None
    reading: PartialLoad | None = None
    replication_key: str | None = None
    replication_key_value: KeyValue | None = None
    key_properties: tuple[str, ...] | None = None
    rows_per_second: _Count | None = None


class _Position(msgspec.Struct):
    """A read stream's position in STATE: an offset that is missing is damage, and not 0."""

    offset: _Count
    done: bool
    ordinal: int | None = None
    last: str | None = None

    @property
    def position(self) -> StreamPosition:
        """The same without the ordinal."""
        return StreamPosition(self.offset, self.done, self.last)


class _Changes(msgspec.Struct):
    """The counts of changes in STATE: none of them may be missing."""

    inserted: _Count
    changed: _Count
    deleted: _Count
    repeated: _Count


class _Reading(msgspec.Struct):
    """What a load under way must have in STATE, beyond what the types of ``PartialLoad`` say."""

    opened_at: _TimeText
    streams: dict[str, Any]
    changes: _Changes | None = None


class _State(msgspec.Struct):
    """What a bookmark must have in STATE, beyond what the types of ``Bookmark`` say."""

    completed_at: _TimeText | None = None
    reading: _Reading | None = None


def from_state(state: Any) -> Bookmark:  # noqa: ANN401 - anything may stand in a state file
    """Read a bookmark from STATE; keys that are not ours are ignored.

    Raises:
        ValueError: It is damaged; the message says where.
    """
    required = msgspec.convert(state, _State)
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
    names = sorted(positions, key=lambda name: positions[name].ordinal or 0)
    ordinals = [positions[name].ordinal for name in names]
    # Earlier versions wrote no ordinals: then the order is that of the keys.
    if set(ordinals) - {None} and ordinals != list(range(len(names))):
        raise ValueError("the ordinals of the read streams are not 0, 1, 2, ...")
    return {name: positions[name].position for name in names}


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
