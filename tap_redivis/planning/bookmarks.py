"""The shape of one stream's bookmark in STATE, its transitions, and the decision what to read. Pure.

A load is *opened*, *advances* after its rows were written, and is *completed* after the proof or *dropped*.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime, timedelta, timezone
from typing import Any, Literal

from tap_redivis.model.columns import Column, KeyValue, is_higher
from tap_redivis.model.reads import ChangeCounts, StreamPosition

SESSION_LIFE = timedelta(hours=5.5)
"""How long a read session is trusted: Redivis ends it after 6 hours (redivis-api §8.1.9)."""

_LAST_TABLE_VERSION = 2**31 - 1
_VERSION_TAG = re.compile(r"v(\d{1,9})\.(\d{1,9})")

MOST_VERSIONS_BETWEEN = 8
"""Most versions between two that are compared: each is a table more in the query."""
_MOST_STEPS = MOST_VERSIONS_BETWEEN + 1


@dataclass(frozen=True)
class Reading:
    """A load under way; times are UTC.

    Attributes:
        session: Id of the read session.
        opened_at: When the session was opened.
        wire_format: What the streams send.
        fingerprint: Digest of all that makes this reading what it is.
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
    table_version: int
    expected_rows: int | None
    streams: Mapping[str, StreamPosition]
    query: str | None = None
    replication_key_value: KeyValue | None = None
    changes: ChangeCounts | None = None

    def advance(self, stream: str, rows: int, last: str) -> Reading:
        """Count rows of a read stream that have been written; ``last`` is the digest of the last one."""
        return self._with(stream, self.streams[stream].advance(rows, last))

    def ordinal(self, stream: str) -> int:
        """Return the place of a read stream in its session, from 0."""
        return list(self.streams).index(stream)

    def saw(self, value: KeyValue | None) -> Reading:
        """Note the highest replication key of some rows that have been written."""
        if value is None or not is_higher(value, self.replication_key_value):
            return self
        return replace(self, replication_key_value=value)

    def count(self, changes: ChangeCounts) -> Reading:
        """Count changes that have been written."""
        return replace(self, changes=changes if self.changes is None else self.changes + changes)

    def end(self, stream: str) -> Reading:
        """Note that a read stream has been read to its end."""
        return self._with(stream, replace(self.streams[stream], done=True))

    def _with(self, stream: str, position: StreamPosition) -> Reading:
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
    updated_at: int | None = None
    rows: int | None = None
    selection: str | None = None
    completed_at: datetime | None = None
    table_version: int | None = None
    reading: Reading | None = None
    replication_key: str | None = None
    replication_key_value: KeyValue | None = None
    key_properties: tuple[str, ...] | None = None
    rows_per_second: int | None = None


@dataclass(frozen=True)
class Source:
    """What the server has now.

    Attributes:
        table: Pinned reference.
        version_tag: Resolved version tag; ``next`` for a draft, None for a workflow.
        hash: The table's content hash.
        updated_at: Milliseconds since the epoch.
        rows: The table's row count, as its metadata has it.
        selection: Digest of the columns and limit to read.
        fingerprint: Digest of the whole reading.
        replication_key: Variable by which only new rows are asked for; None where all rows are read.
        key_properties: Variables that identify a row, sorted; None if none do.
        log_based: Whether only what changed since the version before is asked for.
        is_limited: Whether a limit leaves rows out.
        hash_proves: Whether an equal hash proves that the content is the same.
    """

    table: str
    version_tag: str | None
    hash: str | None
    updated_at: int | None
    rows: int | None
    selection: str
    fingerprint: str
    replication_key: str | None = None
    key_properties: tuple[str, ...] | None = None
    log_based: bool = False
    is_limited: bool = False
    hash_proves: bool = False


@dataclass(frozen=True)
class Decision:
    """What to do about a table, and why, in words for the log."""

    action: Literal["skip", "resume", "start"]
    reason: str


def decide(  # noqa: PLR0911 - each return is a line of the design's table
    bookmark: Bookmark, source: Source, *, now: datetime, skip_unchanged: bool
) -> Decision:
    """Decide what to read (design: "When to read what")."""
    if (reading := bookmark.reading) is not None:
        if reading.fingerprint != source.fingerprint:
            return Decision("start", "the table, its version or the selection changed since the interrupted load")
        if now - reading.opened_at > SESSION_LIFE or now < reading.opened_at:
            return Decision("start", "the interrupted load's read session has expired")
        return Decision("resume", f"resuming the interrupted load at row {reading.rows:,}")
    if bookmark.completed_at is None:
        return Decision("start", "first load")
    if source.version_tag == "next" and not source.hash_proves:
        return Decision("start", "a draft is always read")
    if _is_loaded_otherwise(bookmark, source):
        return Decision("start", "the replication method or key changed")
    if bookmark.selection not in {None, source.selection}:
        return Decision("start", "the selected variables or the row limit changed")
    if not _unchanged(bookmark, source):
        return Decision("start", _change(bookmark, source))
    if not skip_unchanged:
        return Decision("start", "unchanged, but skip_unchanged is off")
    return Decision("skip", "unchanged since the last complete load")


def _is_loaded_otherwise(bookmark: Bookmark, source: Source) -> bool:
    if source.log_based and bookmark.key_properties not in {None, source.key_properties}:
        return True
    return bookmark.replication_key not in {None, source.replication_key}


def known_key_value(bookmark: Bookmark, source: Source) -> KeyValue | None:
    """Return the replication key's value that a load goes on from; None if it must read all rows."""
    is_same = (
        bookmark.completed_at is not None
        and bookmark.replication_key == source.replication_key is not None
        and bookmark.selection == source.selection
        and _unpinned(bookmark.table) == _unpinned(source.table)
    )
    return bookmark.replication_key_value if is_same else None


def why_all_rows(bookmark: Bookmark, source: Source) -> str | None:  # noqa: PLR0911 - a line for each reason
    """Say why a LOG_BASED load must read all rows; None if it may ask for what changed since the last load.

    Whether the earlier version can still be read, and has the same variables, is for the server to say.
    """
    if bookmark.completed_at is None:
        return "there was no complete load before"
    if source.version_tag == "next":
        return "a draft may change at any time"
    if source.is_limited:
        return "there is a row limit"
    if bookmark.replication_key is not None:
        return "the replication method changed"
    if bookmark.selection != source.selection:
        return "the selected variables or the row limit changed"
    if bookmark.key_properties != source.key_properties:
        return "the last load had other key properties, or they are not known"
    if not _unpinned(bookmark.table) or _unpinned(bookmark.table) != _unpinned(source.table):
        return "the table has another name"
    if bookmark.version_tag == source.version_tag:
        return "the version is the same"
    if None in {bookmark.rows, source.rows}:
        return "nobody says how many rows there are"
    return _why_no_step(_numbers(bookmark.version_tag), _numbers(source.version_tag))


def versions_between(before: str | None, now: str | None) -> tuple[str, ...]:
    """List the tags of the versions between two that differ in their minor number."""
    earlier, later = _numbers(before), _numbers(now)
    return tuple(f"v{later[0]}.{minor}" for minor in range(earlier[1] + 1, later[1])) if earlier and later else ()


def _why_no_step(before: tuple[int, int] | None, now: tuple[int, int] | None) -> str | None:
    if before is None or now is None:
        return "not both versions have numbers"
    if before[0] != now[0]:
        return "a new major version renames, removes or retypes variables"
    if before > now:
        return "an earlier version is the current one now"
    return f"more than {MOST_VERSIONS_BETWEEN} versions lie between" if now[1] - before[1] > _MOST_STEPS else None


def _numbers(tag: str | None) -> tuple[int, int] | None:
    match = _VERSION_TAG.fullmatch(tag or "")
    return (int(match[1]), int(match[2])) if match else None


def _unpinned(table: str | None) -> str:
    return re.sub(r":(v\d+_\d+|current|next)\.", ".", (table or "").lower())


def next_table_version(bookmark: Bookmark, now: datetime) -> int:
    """Choose the Singer version of a new load: seconds, so that it fits 32 bits, and higher than any before."""
    earlier = [bookmark.table_version or 0, bookmark.reading.table_version if bookmark.reading else 0]
    return max(int(now.timestamp()), *(version + 1 for version in earlier))


def complete(  # noqa: PLR0913 - what is known of a load
    bookmark: Bookmark,
    source: Source,
    *,
    rows: int,
    table_version: int,
    now: datetime,
    key_value: KeyValue | None = None,
    rows_per_second: int | None = None,
) -> Bookmark:
    """Note a proved load; ``key_value`` is the highest replication key, if it was an incremental one."""
    return Bookmark(
        table=source.table,
        version_tag=source.version_tag,
        hash=source.hash,
        updated_at=source.updated_at if source.version_tag is None else None,
        rows=rows,
        selection=source.selection,
        completed_at=now,
        table_version=max(table_version, bookmark.table_version or 0),
        replication_key=source.replication_key,
        replication_key_value=key_value,
        key_properties=source.key_properties,
        rows_per_second=rows_per_second,
    )


def selection_digest(columns: Sequence[Column], max_rows: int | None, added: Sequence[str] = ()) -> str:
    """Digest what is asked of a table, and the names of the columns that the tap adds."""
    wanted = [sorted([column.name, column.type] for column in columns), max_rows]
    return _digest([*wanted, list(added)] if added else wanted)


def reading_digest(table: str, version_tag: str | None, selection: str, wire_format: str, *key: object) -> str:
    """Digest all that makes two readings the same: another digest means another reading.

    Args:
        table: Pinned reference.
        version_tag: Resolved version tag.
        selection: Digest of the columns and limit.
        wire_format: What the streams send.
        key: Replication key and the value, or the version, that the load goes on from; nothing where all rows are read.
    """
    return _digest([table, version_tag, selection, wire_format, *key])


def to_state(bookmark: Bookmark) -> dict[str, Any]:
    """Write a bookmark as STATE has it; what is absent is left out."""
    values: dict[str, Any] = {
        "table": bookmark.table,
        "version_tag": bookmark.version_tag,
        "hash": bookmark.hash,
        "updated_at": bookmark.updated_at,
        "rows": bookmark.rows,
        "selection": bookmark.selection,
        "completed_at": _time_text(bookmark.completed_at) if bookmark.completed_at else None,
        "table_version": bookmark.table_version,
        "replication_key": bookmark.replication_key,
        "replication_key_value": bookmark.replication_key_value,
        "key_properties": None if bookmark.key_properties is None else list(bookmark.key_properties),
        "rows_per_second": bookmark.rows_per_second,
        "reading": _reading_to_state(bookmark.reading) if bookmark.reading else None,
    }
    return {key: value for key, value in values.items() if value is not None}


def is_of_dictionary(state: Any) -> bool:  # noqa: ANN401 - anything may stand in a state file
    """Whether a bookmark is one of a stream of the data dictionary, which has another shape."""
    return isinstance(state, dict) and "parts" in state


def from_state(state: Any) -> Bookmark:  # noqa: ANN401 - anything may stand in a state file
    """Read a bookmark from STATE.

    Raises:
        ValueError: It is damaged; the message says where.
    """
    if not isinstance(state, dict):
        raise ValueError("it is not an object")  # noqa: TRY004 - one kind of error for damage
    reading = state.get("reading")
    return Bookmark(
        table=_optional(state, "table", str),
        version_tag=_optional(state, "version_tag", str),
        hash=_optional(state, "hash", str),
        updated_at=_count(state, "updated_at"),
        rows=_count(state, "rows"),
        selection=_optional(state, "selection", str),
        completed_at=_time(state, "completed_at") if state.get("completed_at") is not None else None,
        table_version=_table_version(state),
        reading=None if reading is None else _reading_from_state(reading),
        replication_key=_optional(state, "replication_key", str),
        replication_key_value=_key_value(state),
        key_properties=_names(state, "key_properties"),
        rows_per_second=_count(state, "rows_per_second"),
    )


def _unchanged(bookmark: Bookmark, source: Source) -> bool:
    if source.hash_proves:
        return bookmark.hash == source.hash and same_table(bookmark.table, source.table)
    if source.version_tag is not None:
        return bookmark.version_tag == source.version_tag and same_table(bookmark.table, source.table)
    now = (source.hash, source.rows, source.updated_at)
    return now == (bookmark.hash, bookmark.rows, bookmark.updated_at) and None not in now


def same_table(before: str | None, now: str) -> bool:
    """Whether two pinned references mean one table; without a reference on record nothing speaks against it."""
    return before is None or before.lower() == now.lower()


def _change(bookmark: Bookmark, source: Source) -> str:
    if source.hash is source.version_tag is None:
        return "whether the result changed is not known before"
    if bookmark.version_tag != source.version_tag:
        change = f"new version: {bookmark.version_tag} → {source.version_tag}"
        return f"{change}; {_extent(bookmark, source)}" if source.log_based else change
    return "the table changed"


def _extent(bookmark: Bookmark, source: Source) -> str:
    reason = why_all_rows(bookmark, source)
    return "only what changed is asked for" if reason is None else f"all rows are read, since {reason}"


def _reading_to_state(reading: Reading) -> dict[str, Any]:
    values: dict[str, Any] = {
        "session": reading.session,
        "query": reading.query,
        "opened_at": _time_text(reading.opened_at),
        "wire_format": reading.wire_format,
        "fingerprint": reading.fingerprint,
        "version_tag": reading.version_tag,
        "table_version": reading.table_version,
        "expected_rows": reading.expected_rows,
        "replication_key_value": reading.replication_key_value,
        "changes": None if reading.changes is None else asdict(reading.changes),
        "streams": {
            stream: _position_to_state(position, ordinal)
            for ordinal, (stream, position) in enumerate(reading.streams.items())
        },
    }
    return {key: value for key, value in values.items() if value is not None}


def _position_to_state(position: StreamPosition, ordinal: int) -> dict[str, Any]:
    state = {"ordinal": ordinal, "offset": position.offset, "done": position.done}
    return state if position.last is None else {**state, "last": position.last}


def _reading_from_state(state: Any) -> Reading:  # noqa: ANN401
    if not isinstance(state, dict):
        raise ValueError("reading is not an object")  # noqa: TRY004 - the same
    table_version = _table_version(state)
    if table_version is None:
        raise ValueError("reading has no table_version")
    return Reading(
        session=_required(state, "session", str),
        query=_optional(state, "query", str),
        replication_key_value=_key_value(state),
        changes=None if state.get("changes") is None else _changes(_required(state, "changes", dict)),
        opened_at=_time(state, "opened_at"),
        wire_format=_required(state, "wire_format", str),
        fingerprint=_required(state, "fingerprint", str),
        version_tag=_optional(state, "version_tag", str),
        table_version=table_version,
        expected_rows=_count(state, "expected_rows"),
        streams={stream: _position(position) for stream, position in _in_order(_required(state, "streams", dict))},
    )


def _in_order(streams: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Put read streams into their session's order, which whoever kept the state may have lost."""
    ordinals = {name: _count(state, "ordinal") for name, state in streams.items() if isinstance(state, dict)}
    if not any(ordinal is not None for ordinal in ordinals.values()):
        return list(streams.items())  # written before they were numbered
    if set(ordinals.values()) != set(range(len(streams))):
        raise ValueError("the ordinals of the streams are not 0, 1, 2, ...")
    return sorted(streams.items(), key=lambda item: ordinals[item[0]] or 0)


def _position(state: Any) -> StreamPosition:  # noqa: ANN401
    if not isinstance(state, dict):
        raise ValueError("a stream's position is not an object")  # noqa: TRY004 - the same
    offset = _count(state, "offset")
    if offset is None:
        raise ValueError("a stream's position has no offset")
    return StreamPosition(offset, _required(state, "done", bool), _optional(state, "last", str))


def _changes(state: Mapping[str, Any]) -> ChangeCounts:
    counts = {field.name: _count(state, field.name) for field in fields(ChangeCounts)}
    if None in counts.values():
        raise ValueError("changes lacks a count")
    return ChangeCounts(**counts)  # type: ignore[arg-type]  # None is not among them


def _names(state: Mapping[str, Any], key: str) -> tuple[str, ...] | None:
    names = _optional(state, key, list)
    if names is not None and not all(isinstance(name, str) for name in names):
        raise ValueError(f"{key} is no list of names")
    return None if names is None else tuple(names)


def _required(state: Mapping[str, Any], key: str, kind: type) -> Any:  # noqa: ANN401
    value = state.get(key)
    if not isinstance(value, kind):
        raise ValueError(f"{key} is missing or no {kind.__name__}")  # noqa: TRY004 - one kind of error for damage
    return value


def _optional(state: Mapping[str, Any], key: str, kind: type) -> Any:  # noqa: ANN401
    return None if state.get(key) is None else _required(state, key, kind)


def _key_value(state: Mapping[str, Any]) -> KeyValue | None:
    value: KeyValue | None = state.get("replication_key_value")
    if value is not None and type(value) not in {int, float, str}:
        raise ValueError("replication_key_value is no number and no text")
    return value


def _table_version(state: Mapping[str, Any]) -> int | None:
    version = _count(state, "table_version")
    if version is not None and version >= _LAST_TABLE_VERSION:
        raise ValueError("table_version does not fit into 32 bits")
    return version


def _count(state: Mapping[str, Any], key: str) -> int | None:
    value = _optional(state, key, int)
    if value is not None and (isinstance(value, bool) or value < 0):
        raise ValueError(f"{key} is not a count")
    return None if value is None else int(value)


def _time(state: Mapping[str, Any], key: str) -> datetime:
    text = _required(state, key, str)
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
    except ValueError:
        raise ValueError(f"{key} is no time") from None


def _time_text(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _digest(value: Any) -> str:  # noqa: ANN401
    return hashlib.sha256(json.dumps(value, ensure_ascii=True).encode()).hexdigest()[:16]
