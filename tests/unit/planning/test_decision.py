"""What to read of a table: each line of the design's table (§6), as far as it shows before a request for rows."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from tap_redivis.model.reads import StreamPosition
from tap_redivis.planning.bookmarks import Bookmark, PartialLoad
from tap_redivis.planning.decision import (
    Decision,
    TableSnapshot,
    complete,
    decide,
    known_key_value,
    next_table_version,
    why_all_rows,
)

_NOW = datetime(2026, 11, 20, 12, tzinfo=timezone.utc)
_TABLE_VERSION = int(_NOW.timestamp()) + 1000
"""That of the last load, whose clock was fast."""

_V1 = TableSnapshot("demo.visits:v1_1.visits", "v1.1", "hash", 1_700_000_000_000, 100, "selection", "fingerprint")
_V2 = replace(_V1, table="demo.visits:v1_2.visits", version_tag="v1.2", hash="another")
_DRAFT = replace(_V1, table="demo.visits:next.visits", version_tag="next")
_UPLOAD = replace(_DRAFT, hash_proves=True)
_WORKFLOW = replace(_V1, table="demo.analysis.visits", version_tag=None)
_INCREMENTAL = {"replication_key": "updated_at", "key_properties": ("id",)}
_LOG_BASED = {"log_based": True, "key_properties": ("id",)}
_IS_SKIPPED = Decision("skip", "unchanged since the last complete load")
_NEW_VERSION = "new version: v1.1 → v1.2"


def _done(snapshot: TableSnapshot, key_value: str | None = None) -> Bookmark:
    return complete(
        Bookmark(), snapshot, rows=100, table_version=_TABLE_VERSION, now=_NOW - timedelta(days=1), key_value=key_value
    )


def _begun(before: Bookmark, age: timedelta = timedelta(hours=5.5)) -> Bookmark:
    streams = {"s.0": StreamPosition(30, last="digest"), "s.1": StreamPosition(12, done=True, last="digest")}
    version = _TABLE_VERSION + 1
    return replace(before, reading=PartialLoad("s", _NOW - age, "jsonl", "fingerprint", version, streams, "v1.1", 100))


_FIRST = Decision("start", "first load")
_RESUMED = Decision("resume", "resuming the interrupted load at row 42")
_EXPIRED = Decision("start", "the interrupted load's read session has expired")
_OTHERWISE = Decision("start", "the table, its version or the selection changed since the interrupted load")
_METHOD = Decision("start", "the replication method or key changed")

_LINES: dict[str, tuple[Bookmark, TableSnapshot, Decision]] = {
    # another server
    "same tag, other hash": (
        _done(_V1),
        replace(_V1, hash="another"),
        Decision("start", "v1.1 has another hash than in the last load, as if from another server"),
    ),
    "same tag, hash unknown": (_done(_V1), replace(_V1, hash=None), _IS_SKIPPED),
    "same tag, hash unknown before": (_done(replace(_V1, hash=None)), _V1, _IS_SKIPPED),
    # none
    "no bookmark": (Bookmark(), _V1, _FIRST),
    "no bookmark, workflow": (Bookmark(), _WORKFLOW, _FIRST),
    "no bookmark, incremental": (Bookmark(), replace(_V1, **_INCREMENTAL), _FIRST),
    "no bookmark, log based": (Bookmark(), replace(_V1, **_LOG_BASED), _FIRST),
    # reading, same fingerprint, younger than 5.5 h
    "reading": (_begun(Bookmark()), _V1, _RESUMED),
    "reading after a complete load": (_begun(_done(_V1)), _V1, _RESUMED),
    # reading, older or of something else
    "reading, too old": (_begun(Bookmark(), timedelta(hours=5.5, seconds=1)), _V1, _EXPIRED),
    "reading, from the future": (_begun(Bookmark(), timedelta(seconds=-1)), _V1, _EXPIRED),
    "reading, too old, after a complete load": (_begun(_done(_V1), timedelta(hours=6)), _V1, _EXPIRED),
    "reading, other fingerprint": (_begun(_done(_V1)), replace(_V1, fingerprint="another"), _OTHERWISE),
    # complete, same version tag
    "complete, same version": (_done(_V1), _V1, _IS_SKIPPED),
    "complete, same version, incremental": (
        _done(replace(_V1, **_INCREMENTAL), "2026"), replace(_V1, **_INCREMENTAL), _IS_SKIPPED,
    ),
    "complete, same version, log based": (_done(replace(_V1, **_LOG_BASED)), replace(_V1, **_LOG_BASED), _IS_SKIPPED),
    "complete, other selection": (
        _done(_V1), replace(_V1, selection="another"),
        Decision("start", "the selected variables or the row limit changed"),
    ),
    "complete, same version, of another table": (
        _done(_V1), replace(_V1, table="demo.visits:v1_1.others"), Decision("start", "the table changed"),
    ),
    # complete, new version tag
    "complete, new version": (_done(_V1), _V2, Decision("start", _NEW_VERSION)),
    "complete, new version, same hash": (_done(_V1), replace(_V2, hash="hash"), Decision("start", _NEW_VERSION)),
    # complete, replication key, new version tag
    "incremental, new version": (
        _done(replace(_V1, **_INCREMENTAL), "2026"), replace(_V2, **_INCREMENTAL), Decision("start", _NEW_VERSION),
    ),
    "incremental, other key": (
        _done(replace(_V1, **_INCREMENTAL), "2026"), replace(_V1, replication_key="number"), _METHOD,
    ),
    "no longer incremental": (_done(replace(_V1, **_INCREMENTAL), "2026"), _V1, _METHOD),
    # complete, LOG_BASED, new version tag
    "log based, new version": (
        _done(replace(_V1, **_LOG_BASED)), replace(_V2, **_LOG_BASED),
        Decision("start", f"{_NEW_VERSION}; only what changed is asked for"),
    ),
    "log based, all rows": (
        _done(replace(_V1, **_LOG_BASED)), replace(_V2, **_LOG_BASED, is_limited=True),
        Decision("start", f"{_NEW_VERSION}; all rows are read, since there is a row limit"),
    ),
    "log based, other key properties": (
        _done(replace(_V1, **_LOG_BASED)), replace(_V2, log_based=True, key_properties=("number",)), _METHOD,
    ),
    # workflow table
    "workflow, nothing changed": (_done(_WORKFLOW), _WORKFLOW, _IS_SKIPPED),
    "workflow, other hash": (
        _done(_WORKFLOW), replace(_WORKFLOW, hash="another"), Decision("start", "the table changed"),
    ),
    "workflow, other rows": (_done(_WORKFLOW), replace(_WORKFLOW, rows=101), Decision("start", "the table changed")),
    "workflow, other time": (
        _done(_WORKFLOW), replace(_WORKFLOW, updated_at=1), Decision("start", "the table changed"),
    ),
    "workflow, nothing is known": (
        _done(replace(_WORKFLOW, hash=None)), replace(_WORKFLOW, hash=None),
        Decision("start", "whether the result changed is not known before"),
    ),
    # drafts
    "draft": (_done(_DRAFT), _DRAFT, Decision("start", "a draft is always read")),
    "draft, interrupted": (_begun(_done(_DRAFT)), _DRAFT, _RESUMED),
    "upload with the same hash": (_done(_UPLOAD), _UPLOAD, _IS_SKIPPED),
    "upload with another hash": (
        _done(_UPLOAD), replace(_UPLOAD, hash="another"), Decision("start", "the table changed"),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("bookmark", "snapshot", "expected"), _LINES.values(), ids=_LINES)
def test_what_is_read_follows_the_table(bookmark: Bookmark, snapshot: TableSnapshot, expected: Decision) -> None:
    assert expected == decide(bookmark, snapshot, now=_NOW, skip_unchanged=True)


@pytest.mark.parametrize(("bookmark", "snapshot", "expected"), _LINES.values(), ids=_LINES)
def test_without_skip_unchanged_nothing_is_skipped(
    bookmark: Bookmark, snapshot: TableSnapshot, expected: Decision
) -> None:
    """The other lines stay as they are."""
    if expected == _IS_SKIPPED:
        expected = Decision("start", "unchanged, but skip_unchanged is off")

    assert expected == decide(bookmark, snapshot, now=_NOW, skip_unchanged=False)


@pytest.mark.parametrize("bookmark", [bookmark for bookmark, _, _ in _LINES.values()], ids=_LINES)
def test_a_new_load_has_a_new_table_version(bookmark: Bookmark) -> None:
    """Higher than that of the complete load and of the dropped one, also where the clock is behind."""
    earlier = [bookmark.table_version, bookmark.reading and bookmark.reading.table_version]

    assert next_table_version(bookmark, _NOW) > max(version or 0 for version in earlier)


@pytest.mark.parametrize(
    ("bookmark", "change", "expected"),
    [
        ({}, {}, "2026-01-01"),
        ({}, {"selection": "another"}, None),
        ({}, {"table": "demo.visits:v1_2.others"}, None),
        ({}, {"replication_key": "number"}, None),
        ({}, {"replication_key": None}, None),
        ({"replication_key": None}, {}, None),
        ({"completed_at": None}, {}, None),
    ],
)
def test_an_incremental_load_continues_from_the_last_value(
    bookmark: dict[str, Any], change: dict[str, Any], expected: str | None
) -> None:
    """Of the same table, selection and key; otherwise it reads all rows."""
    done = replace(_done(replace(_V1, **_INCREMENTAL), "2026-01-01"), **bookmark)

    assert expected == known_key_value(done, replace(_V2, **{**_INCREMENTAL, **change}))


def test_the_ninth_version_between_is_one_too_many() -> None:
    done = _done(replace(_V1, **_LOG_BASED))
    reasons = [why_all_rows(done, replace(_V2, **_LOG_BASED, version_tag=f"v1.{minor}")) for minor in (10, 11)]

    assert reasons == [None, "more than 8 versions lie between"]
