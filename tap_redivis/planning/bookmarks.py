"""The bookmarks of streams in STATE: their values, their transitions, and their form as JSON. Pure.

A load is *opened*, *advances* after its rows were written, and is *completed* after the proof (``decision.complete``)
or *dropped*.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Any

import msgspec

from tap_redivis.model.columns import KeyValue, is_higher
from tap_redivis.model.reads import ChangeCounts, Count, StreamPosition

_Moment = Annotated[datetime, msgspec.Meta(tz=True)]
# SQL targets keep the version in 32 bits, and a higher one must remain possible.
_TableVersion = Annotated[int, msgspec.Meta(ge=0, lt=2**31 - 1)]
_RowKey = Annotated[str, msgspec.Meta(pattern=r"^[0-9]+-[0-9a-f]+$")]


@dataclass(frozen=True)
class PartialLoad:
    """A load under way; times are UTC."""

    session: str
    opened_at: _Moment
    wire_format: str
    fingerprint: str  # digest of everything that a resumed load must have in common with this one
    table_version: _TableVersion  # of its RECORDs, in seconds since the epoch
    streams: Mapping[str, StreamPosition]  # by id, in the session's order
    version_tag: str | None = None
    expected_rows: Count | None = None
    query: str | None = None  # id of the query whose result is read
    replication_key_value: KeyValue | None = None  # the highest written so far
    changes: ChangeCounts | None = None  # None: all rows are read, not only what changed
    row_key: _RowKey | None = None  # what the row keys begin with; None: an earlier version opened the load

    @property
    def key(self) -> str:
        """What row keys and file names begin with: no other load has it, though it began in the same second."""
        return self.row_key or str(self.table_version)

    def advance(self, stream: str, rows: int, last: str) -> "PartialLoad":
        """Count rows of a read stream that have been written; ``last`` is the digest of the last one."""
        return self._with(stream, self.streams[stream].advance(rows, last))

    def ordinal(self, stream: str) -> int:
        """Return the place of a read stream in its session, from 0."""
        return list(self.streams).index(stream)

    def saw(self, value: KeyValue | None) -> "PartialLoad":
        """Note the highest replication key of some rows that have been written."""
        if value is None or not is_higher(value, self.replication_key_value):
            return self
        return replace(self, replication_key_value=value)

    def count(self, changes: ChangeCounts) -> "PartialLoad":
        """Count changes that have been written."""
        return replace(self, changes=changes if self.changes is None else self.changes + changes)

    def end(self, stream: str) -> "PartialLoad":
        """Note that a read stream has been read to its end."""
        return self._with(stream, replace(self.streams[stream], done=True))

    def _with(self, stream: str, position: StreamPosition) -> "PartialLoad":
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
    updated_at: Count | None = None  # milliseconds since the epoch; of a workflow's table only
    rows: Count | None = None
    selection: str | None = None  # digest of the columns and limit
    completed_at: _Moment | None = None  # UTC
    table_version: _TableVersion | None = None
    reading: PartialLoad | None = None
    replication_key: str | None = None
    replication_key_value: KeyValue | None = None  # the highest
    key_properties: tuple[str, ...] | None = None  # sorted; None: there were none, or they are not known
    rows_per_second: Count | None = None  # of the last load that took long enough to tell


class _Position(msgspec.Struct):
    """A read stream's position as STATE has it: what is missing is damage, and not 0."""

    offset: Count
    done: bool
    ordinal: int | None = None
    last: str | None = None


def from_state(state: Any) -> Bookmark:  # noqa: ANN401 - anything may stand in a state file
    """Read a bookmark from STATE; a ``ValueError`` says where it is damaged, and unknown keys are ignored."""
    bookmark = msgspec.convert(state, Bookmark)
    reading = bookmark.reading
    if reading is None:
        return bookmark
    if not reading.streams and reading.expected_rows is None:
        raise ValueError("the load under way has neither read streams nor a number of rows")
    return replace(bookmark, reading=replace(reading, streams=_in_order(state["reading"]["streams"])))


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
    state: dict[str, Any] = _present(msgspec.to_builtins(bookmark))
    for ordinal, position in enumerate(state.get("reading", {}).get("streams", {}).values()):
        position["ordinal"] = ordinal
    return state


def _present(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, dict):
        return {key: _present(each) for key, each in value.items() if each is not None}
    return list(value) if isinstance(value, tuple) else value


class PartMark(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was written of one part: its signal then, the number of rows, and a digest of their keys in their order."""

    signal: str | None
    rows: Count
    keys: str


class DictionaryLoad(msgspec.Struct, frozen=True):
    """A load of all rows that is under way: the Singer version of its RECORDs, and what it has written."""

    table_version: _TableVersion
    parts: dict[str, PartMark]


class DictionaryBookmark(msgspec.Struct, frozen=True, omit_defaults=True):
    """The bookmark of a stream of the data dictionary: what the target holds of it; ``selection`` is a digest."""

    parts: dict[str, PartMark]  # without a default, so STATE always has it: such a bookmark is recognized by it
    table_version: _TableVersion = 0
    selection: str | None = None
    completed_at: str | None = None
    writing: DictionaryLoad | None = None


def is_of_dictionary(state: Any) -> bool:  # noqa: ANN401 - anything may stand in a state file
    """Whether a bookmark is one of a stream of the data dictionary, which has another shape."""
    return isinstance(state, dict) and "parts" in state


def readable(state: Any) -> dict[str, Any]:  # noqa: ANN401 - anything may stand in a state file
    """Give what this tap knows of a bookmark, without a stale load; a ``ValueError`` says where it is damaged."""
    if not is_of_dictionary(state):
        return to_state(without_stale_load(from_state(state)))
    bookmark: dict[str, Any] = msgspec.to_builtins(msgspec.convert(state, DictionaryBookmark))
    return bookmark
