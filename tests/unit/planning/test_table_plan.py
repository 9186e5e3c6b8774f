"""The plan of a table: each line of the design's table "When to read what", through the function that runs use."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from tap_redivis.errors import ConfigError, Forbidden
from tap_redivis.model.columns import Column
from tap_redivis.model.reads import ChangeCounts, StreamPosition
from tap_redivis.model.references import parse_table
from tap_redivis.model.settings import Settings
from tap_redivis.model.tables import TableInfo
from tap_redivis.planning.bookmarks import Bookmark, PartialLoad
from tap_redivis.planning.decision import complete
from tap_redivis.planning.table_plan import Selection, TablePlan, plan_table

_NOW = datetime(2026, 1, 2, 12, tzinfo=timezone.utc)
_COLUMNS = (Column("id", "integer"), Column("seen", "date"))
_FULL = Selection("visits", _COLUMNS)
_BY_KEY = replace(_FULL, replication_method="INCREMENTAL", replication_key="seen", key_properties=("id",))
_BY_CHANGES = replace(_FULL, replication_method="LOG_BASED", key_properties=("id",))
_TOKEN = "a token"  # noqa: S105 - of nobody


def _table(version: str | None = "v1.0", **changes: Any) -> TableInfo:
    pinned = f"demo.d:{version.replace('.', '_')}.visits" if version else "demo.w.visits"
    table = TableInfo(
        parse_table("demo.d.visits", "test"), pinned, f"/tables/{pinned}", "demo", "d", "visits",
        version_tag=version, rows=10, bytes=1000, hash="h1", updated_at=1,
    )  # fmt: skip
    return replace(table, **changes)


def _plan(table: TableInfo, selection: Selection, bookmark: Bookmark, **settings: Any) -> TablePlan:
    return plan_table(table, selection, bookmark, Settings(api_token=_TOKEN, **settings), _NOW)


def _loaded(table: TableInfo, selection: Selection = _FULL, key_value: str | None = None) -> Bookmark:
    """Give the bookmark of a complete load."""
    snapshot = _plan(table, selection, Bookmark()).snapshot
    return complete(Bookmark(), snapshot, rows=10, table_version=5, now=_NOW, key_value=key_value)


def _interrupted(
    table: TableInfo, selection: Selection = _FULL, *, age: float = 1.0, before: Bookmark | None = None, **changes: Any
) -> Bookmark:
    """Give the bookmark of a load that was interrupted so many hours ago."""
    bookmark = before or Bookmark()
    fingerprint = _plan(table, selection, bookmark).snapshot.fingerprint
    opened_at = _NOW - timedelta(hours=age)
    streams = {"s": StreamPosition(3, last="digest")}
    partial = PartialLoad("session", opened_at, "jsonl", fingerprint, 7, streams, table.version_tag, 10)
    return replace(bookmark, reading=replace(partial, **changes))


_NEW = _table("v1.1", rows=12, hash="h2")
_LINES: dict[str, tuple[TableInfo, Selection, Bookmark, str, str]] = {
    "no bookmark": (_table(), _FULL, Bookmark(), "start", "full"),
    "interrupted, young": (_table(), _FULL, _interrupted(_table()), "resume", "full"),
    "interrupted, old": (_table(), _FULL, _interrupted(_table(), age=5.6), "start", "full"),
    "interrupted, another version": (_NEW, _FULL, _interrupted(_table()), "start", "full"),
    "interrupted, another selection": (
        _table(), replace(_FULL, columns=_COLUMNS[:1]), _interrupted(_table()), "start", "full",
    ),
    "complete, same version": (_table(), _FULL, _loaded(_table()), "skip", "full"),
    "complete, new version": (_NEW, _FULL, _loaded(_table()), "start", "full"),
    "complete, replication key, new version": (
        _NEW, _BY_KEY, _loaded(_table(), _BY_KEY, "2026-01-01"), "start", "incremental",
    ),
    "complete, replication key, no value": (_NEW, _BY_KEY, _loaded(_table(), _BY_KEY), "start", "full"),
    "complete, LOG_BASED, new version": (_NEW, _BY_CHANGES, _loaded(_table(), _BY_CHANGES), "start", "changes"),
    "complete, LOG_BASED, new major version": (
        _table("v2.0"), _BY_CHANGES, _loaded(_table(), _BY_CHANGES), "start", "full",
    ),
    "workflow, unchanged": (_table(None), _FULL, _loaded(_table(None)), "skip", "full"),
    "workflow, another hash": (_table(None, hash="h2"), _FULL, _loaded(_table(None)), "start", "full"),
    "workflow, another count": (_table(None, rows=11), _FULL, _loaded(_table(None)), "start", "full"),
    "workflow, another time": (_table(None, updated_at=2), _FULL, _loaded(_table(None)), "start", "full"),
    "draft": (_table("next"), _FULL, _loaded(_table("next")), "start", "full"),
}  # fmt: skip


@pytest.mark.parametrize(("table", "selection", "bookmark", "action", "mode"), _LINES.values(), ids=_LINES)
def test_each_line_of_the_design(
    table: TableInfo, selection: Selection, bookmark: Bookmark, action: str, mode: str
) -> None:
    plan = _plan(table, selection, bookmark)

    assert (plan.decision.action, plan.mode) == (action, mode)
    assert plan.is_whole == (mode == "full")
    assert plan.partial == (bookmark.reading if action == "resume" else None)


def test_changes_that_were_begun_go_on_as_changes() -> None:
    """And a load that was opened for all rows, since versions could not be compared, goes on with all rows."""
    before = _loaded(_table(), _BY_CHANGES)

    changes = _plan(_NEW, _BY_CHANGES, _interrupted(_NEW, _BY_CHANGES, before=before, changes=ChangeCounts(0, 0, 0, 0)))
    all_rows = _plan(_NEW, _BY_CHANGES, _interrupted(_NEW, _BY_CHANGES, before=before))

    assert (changes.decision.action, changes.mode) == ("resume", "changes")
    assert (all_rows.decision.action, all_rows.mode) == ("resume", "full")


def test_a_key_value_of_another_type_is_not_used() -> None:
    bookmark = replace(_loaded(_table(), _BY_KEY, "2026-01-01"), replication_key_value=3)

    plan = _plan(_NEW, _BY_KEY, bookmark)

    assert plan.is_whole
    assert [warning for warning in plan.warnings if "the replication key's value is damaged" in warning]


def test_with_skip_unchanged_off_an_unchanged_table_is_read() -> None:
    assert _plan(_table(), _FULL, _loaded(_table()), skip_unchanged=False).decision.action == "start"


@pytest.mark.parametrize(
    ("table", "token"), [(_table(unreadable="no access"), _TOKEN), (_table(bytes=100_000_000), None)]
)
def test_rows_that_cannot_be_read_are_an_error_before_they_are_asked_for(table: TableInfo, token: str | None) -> None:
    """But not if they need not be read."""
    settings, bookmark = Settings(api_token=token), _loaded(_table())

    with pytest.raises(Forbidden):
        plan_table(table, _FULL, Bookmark(), settings, _NOW)

    assert plan_table(table, _FULL, bookmark, settings, _NOW).decision.action == "skip"


@pytest.mark.parametrize(
    ("selection", "words"),
    [
        (replace(_BY_KEY, replication_key="nothing"), "no selected variable"),
        (replace(_BY_KEY, key_properties=()), "INCREMENTAL needs key properties"),
        (replace(_BY_CHANGES, key_properties=()), "LOG_BASED needs key properties"),
        (replace(_BY_CHANGES, key_properties=("gone",)), "LOG_BASED needs key properties"),
    ],
)
def test_a_method_that_cannot_work_is_an_error(selection: Selection, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        _plan(_table(), selection, Bookmark())


def test_workflows_have_no_versions_to_compare() -> None:
    with pytest.raises(ConfigError, match="the tables of a workflow have none"):
        _plan(_table(None), _BY_CHANGES, Bookmark())
