"""What to read of a table, and why: its bookmark and what the server has now → skip, resume or start. Pure."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from tap_redivis.model.columns import Column, KeyValue
from tap_redivis.planning.bookmarks import Bookmark

SESSION_LIFE = timedelta(hours=5.5)  # redivis-api §8.1.9: Redivis ends it after 6 hours
MOST_VERSIONS_BETWEEN = 8  # the query that compares two versions reads one more table for each version between

_VERSION_TAG = re.compile(r"v(\d{1,9})\.(\d{1,9})")
_OTHER_KEYS = "the last load had other key properties, or they are not known"
_OTHER_NAME = "the table has another name"


@dataclass(frozen=True)
class TableSnapshot:
    """What the server has now, and what is asked of it."""

    table: str  # pinned reference
    version_tag: str | None  # "next" for a draft, None for a workflow
    hash: str | None
    updated_at: int | None  # milliseconds since the epoch
    rows: int | None  # as the table's metadata say
    selection: str  # digest of the columns and limit to read
    fingerprint: str  # digest of everything that a resumed load must have in common with the interrupted one
    in_arrow: str = ""  # the same, if the server refuses the wire format that is asked for
    replication_key: str | None = None  # None: all rows are read
    key_properties: tuple[str, ...] | None = None  # sorted
    log_based: bool = False
    is_limited: bool = False
    hash_proves: bool = False  # of an upload, whose hash covers the file and how it is read


@dataclass(frozen=True)
class Decision:
    """What to do about a table, and the reason in words for the log."""

    action: Literal["skip", "resume", "start"]
    reason: str


def decide(  # noqa: PLR0911 - each return is a line of the design's table
    bookmark: Bookmark, snapshot: TableSnapshot, *, now: datetime, skip_unchanged: bool
) -> Decision:
    """Decide whether to skip the table, resume the interrupted load, or start a new one."""
    if (reading := bookmark.reading) is not None:
        if reading.fingerprint not in {snapshot.fingerprint, snapshot.in_arrow}:
            return Decision("start", "the table, its version or the selection changed since the interrupted load")
        if now - reading.opened_at > SESSION_LIFE or now < reading.opened_at:
            return Decision("start", "the interrupted load's read session has expired")
        return Decision("resume", f"resuming the interrupted load at row {reading.rows:,}")
    if bookmark.completed_at is None:
        return Decision("start", "first load")
    if snapshot.version_tag == "next" and not snapshot.hash_proves:
        return Decision("start", "a draft is always read")
    if _method_changed(bookmark, snapshot):
        return Decision("start", "the replication method or key changed")
    if bookmark.selection not in {None, snapshot.selection}:
        return Decision("start", "the selected variables or the row limit changed")
    if not _is_unchanged(bookmark, snapshot):
        return Decision("start", _change(bookmark, snapshot))
    if not skip_unchanged:
        return Decision("start", "unchanged, but skip_unchanged is off")
    return Decision("skip", "unchanged since the last complete load")


def _method_changed(bookmark: Bookmark, snapshot: TableSnapshot) -> bool:
    if snapshot.log_based and bookmark.key_properties not in {None, snapshot.key_properties}:
        return True
    return bookmark.replication_key not in {None, snapshot.replication_key}


def _is_unchanged(bookmark: Bookmark, snapshot: TableSnapshot) -> bool:
    if snapshot.hash_proves:
        return bookmark.hash == snapshot.hash and same_table(bookmark.table, snapshot.table)
    if snapshot.version_tag is not None:
        is_same = bookmark.version_tag == snapshot.version_tag and same_table(bookmark.table, snapshot.table)
        return is_same and not is_of_another_server(bookmark, snapshot)
    # redivis-api §9: the table of a workflow has no version, and its hash alone is no proof.
    now = (snapshot.hash, snapshot.rows, snapshot.updated_at)
    return now == (bookmark.hash, bookmark.rows, bookmark.updated_at) and None not in now


def is_of_another_server(bookmark: Bookmark, snapshot: TableSnapshot) -> bool:
    """Whether a version that never changes has another hash than in the last load."""
    if snapshot.version_tag in {None, "next"} or bookmark.version_tag != snapshot.version_tag:
        return False
    return None not in {bookmark.hash, snapshot.hash} and bookmark.hash != snapshot.hash


def _change(bookmark: Bookmark, snapshot: TableSnapshot) -> str:
    if snapshot.hash is snapshot.version_tag is None:
        return "whether the result changed is not known before"
    if is_of_another_server(bookmark, snapshot):
        return f"{snapshot.version_tag} has another hash than in the last load, as if from another server"
    if bookmark.version_tag == snapshot.version_tag:
        return "the table changed"
    change = f"new version: {bookmark.version_tag} → {snapshot.version_tag}"
    if not snapshot.log_based:
        return change
    reason = why_all_rows(bookmark, snapshot)
    return f"{change}; {'only what changed is asked for' if reason is None else f'all rows are read, since {reason}'}"


def same_table(before: str | None, now: str) -> bool:
    """Whether two pinned references mean one table; a bookmark without a reference is taken to mean it."""
    return before is None or before.lower() == now.lower()


def known_key_value(bookmark: Bookmark, snapshot: TableSnapshot) -> KeyValue | None:
    """Return the replication key's value from which a load continues; None if it must read all rows."""
    continues = (
        bookmark.completed_at is not None
        and bookmark.replication_key == snapshot.replication_key is not None
        and bookmark.selection == snapshot.selection
        and _unpinned(bookmark.table) == _unpinned(snapshot.table)
        and not is_of_another_server(bookmark, snapshot)
    )
    return bookmark.replication_key_value if continues else None


def why_all_rows(bookmark: Bookmark, snapshot: TableSnapshot) -> str | None:
    """Say why a LOG_BASED load must read all rows; None if it may ask for the changes since the last load.

    Whether the earlier version can still be read, and has the same variables, only the server can tell.
    """
    reasons = {
        "there was no complete load before": bookmark.completed_at is None,
        "a draft may change at any time": snapshot.version_tag == "next",
        "there is a row limit": snapshot.is_limited,
        "the replication method changed": bookmark.replication_key is not None,
        "the selected variables or the row limit changed": bookmark.selection != snapshot.selection,
        _OTHER_KEYS: bookmark.key_properties != snapshot.key_properties,
        _OTHER_NAME: not bookmark.table or _unpinned(bookmark.table) != _unpinned(snapshot.table),
        "the version is the same": bookmark.version_tag == snapshot.version_tag,
        "nobody says how many rows there are": None in {bookmark.rows, snapshot.rows},
    }
    before, now = version_numbers(bookmark.version_tag), version_numbers(snapshot.version_tag)
    return _first_true(reasons) or _why_not_comparable(before, now)


def can_have_vanished(bookmark: Bookmark, snapshot: TableSnapshot) -> bool:
    """Whether keys of the last load may be gone that targets without ACTIVATE_VERSION keep (LOG_BASED)."""
    if not snapshot.log_based or snapshot.is_limited or bookmark.completed_at is None:
        return False
    is_released = snapshot.version_tag != "next"
    return not (is_released and _is_unchanged(bookmark, snapshot))


def why_deletions_are_unknown(bookmark: Bookmark, snapshot: TableSnapshot) -> str | None:
    """Say why the keys that vanished since the last load cannot be found; None if the server may know them."""
    reasons = {
        _OTHER_KEYS: bookmark.key_properties != snapshot.key_properties,
        "the last loads were INCREMENTAL": bookmark.replication_key is not None,
        "a draft may change at any time": "next" in {bookmark.version_tag, snapshot.version_tag},
        "the last load was from another server": is_of_another_server(bookmark, snapshot),
        _OTHER_NAME: not bookmark.table or _unpinned(bookmark.table) != _unpinned(snapshot.table),
    }
    return _first_true(reasons)


def _first_true(reasons: Mapping[str, bool]) -> str | None:
    return next((reason for reason, is_so in reasons.items() if is_so), None)


def _why_not_comparable(before: tuple[int, int] | None, now: tuple[int, int] | None) -> str | None:
    if before is None or now is None:
        return "not both versions have numbers"
    if before[0] != now[0]:
        return "a new major version renames, removes or retypes variables"
    if before > now:
        return "an earlier version is the current one now"
    if now[1] - before[1] - 1 > MOST_VERSIONS_BETWEEN:
        return f"more than {MOST_VERSIONS_BETWEEN} versions lie between"
    return None


def versions_between(before: str | None, now: str | None) -> tuple[str, ...]:
    """List the tags of the versions between two that differ in their minor number."""
    earlier, later = version_numbers(before), version_numbers(now)
    return tuple(f"v{later[0]}.{minor}" for minor in range(earlier[1] + 1, later[1])) if earlier and later else ()


def version_numbers(tag: str | None) -> tuple[int, int] | None:
    """Return the major and the minor number of a version tag; None if it has none."""
    match = _VERSION_TAG.fullmatch(tag or "")
    return (int(match[1]), int(match[2])) if match else None


def _unpinned(table: str | None) -> str:
    return re.sub(r":(v\d+_\d+|current|next)\.", ".", (table or "").lower())


def next_table_version(bookmark: Bookmark, now: datetime) -> int:
    """Choose the Singer version of a new load, which is higher than any before: targets delete rows of lower ones."""
    earlier = [bookmark.table_version or 0, bookmark.reading.table_version if bookmark.reading else 0]
    return max(int(now.timestamp()), *(version + 1 for version in earlier))  # seconds, since these fit 32 bits


def complete(  # noqa: PLR0913 - what is known of a load
    bookmark: Bookmark,
    snapshot: TableSnapshot,
    *,
    rows: int,
    table_version: int,
    now: datetime,
    key_value: KeyValue | None = None,
    rows_per_second: int | None = None,
) -> Bookmark:
    """Make the bookmark of a proved load; ``key_value`` is the highest replication key of an incremental one."""
    return Bookmark(
        table=snapshot.table,
        version_tag=snapshot.version_tag,
        hash=snapshot.hash,
        updated_at=snapshot.updated_at if snapshot.version_tag is None else None,
        rows=rows,
        selection=snapshot.selection,
        completed_at=now.replace(microsecond=0),
        table_version=max(table_version, bookmark.table_version or 0),
        replication_key=snapshot.replication_key,
        replication_key_value=key_value,
        key_properties=snapshot.key_properties,
        rows_per_second=rows_per_second,
    )


def selection_digest(columns: Sequence[Column], max_rows: int | None, added: Sequence[str] = ()) -> str:
    """Digest the columns and the limit that are asked of a table, and the names of the columns that the tap adds."""
    wanted = [sorted([column.name, column.type] for column in columns), max_rows]
    return _digest([*wanted, list(added)] if added else wanted)


def reading_digest(table: str, version_tag: str | None, selection: str, wire_format: str, *more: object) -> str:
    """Digest everything that a resumed load must have in common with the interrupted one.

    ``more`` is where the load continues, what identifies content that no version fixes, and what shapes BATCH files.
    """
    return _digest([table, version_tag, selection, wire_format, *more])


def _digest(value: Sequence[object]) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]
