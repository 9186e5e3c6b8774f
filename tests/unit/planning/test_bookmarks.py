"""Bookmarks survive STATE, damage is found and not guessed around, and what to read follows the design's table."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_redivis.model.columns import COLUMN_TYPES, Column
from tap_redivis.model.reads import ChangeCounts, StreamPosition
from tap_redivis.planning.bookmarks import Bookmark, PartialLoad, from_state, to_state, without_stale_load
from tap_redivis.planning.decision import (
    TableSnapshot,
    complete,
    decide,
    next_table_version,
    reading_digest,
    same_table,
    selection_digest,
    versions_between,
    why_all_rows,
)

_NOW = datetime(2026, 11, 20, 12, tzinfo=timezone.utc)
_LAST_VERSION = 2**31 - 1

_SOURCE = TableSnapshot("demo.visits:v1_1.visits", "v1.1", "hash", 1_700_000_000_000, 100, "selection", "fingerprint")
_WORKFLOW = replace(_SOURCE, table="demo.analysis.visits", version_tag=None)
_READING = PartialLoad(
    "session", _NOW, "jsonl", "fingerprint", 5, {"s": StreamPosition(40, last="digest")}, "v1.1", 100
)
_FOUR = replace(_READING, streams={stream: StreamPosition() for stream in "dbca"})

_TIMES = st.datetimes(datetime(1970, 1, 1), datetime(2037, 12, 31)).map(  # noqa: DTZ001 - the zone comes next
    lambda moment: moment.replace(microsecond=0, tzinfo=timezone.utc)
)
_VERSIONS = st.integers(0, _LAST_VERSION - 1)
_COUNTS = st.integers(0, 2**63)
_POSITIONS = st.builds(StreamPosition, _COUNTS, st.booleans(), st.text(min_size=1))
_POSITIONS |= st.builds(StreamPosition, st.just(0), st.booleans())
_KEYS = st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
_READINGS = st.builds(
    PartialLoad,
    session=st.text(),
    opened_at=_TIMES,
    wire_format=st.text(),
    fingerprint=st.text(),
    version_tag=st.none() | st.text(),
    table_version=_VERSIONS,
    expected_rows=st.none() | _COUNTS,
    streams=st.dictionaries(st.text(), _POSITIONS, min_size=1, max_size=4),
    query=st.none() | st.text(),
    replication_key_value=_KEYS,
    changes=st.none() | st.builds(ChangeCounts, _COUNTS, _COUNTS, _COUNTS, _COUNTS),
    row_key=st.none() | st.just("5-0123abcd"),
)
_BOOKMARKS = st.builds(
    Bookmark,
    table=st.none() | st.text(),
    version_tag=st.none() | st.text(),
    hash=st.none() | st.text(),
    updated_at=st.none() | _COUNTS,
    rows=st.none() | _COUNTS,
    selection=st.none() | st.text(),
    completed_at=st.none() | _TIMES,
    table_version=st.none() | _VERSIONS,
    reading=st.none() | _READINGS,
    replication_key=st.none() | st.text(),
    replication_key_value=_KEYS,
    key_properties=st.none() | st.lists(st.text(), max_size=3).map(tuple),
    rows_per_second=st.none() | _COUNTS,
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=4,
)


def _done(source: TableSnapshot = _SOURCE) -> Bookmark:
    return complete(Bookmark(), source, rows=100, table_version=5, now=_NOW)


def _action(
    bookmark: Bookmark, source: TableSnapshot, *, skip_unchanged: bool = True, later: timedelta = timedelta()
) -> str:
    return decide(bookmark, source, now=_NOW + later, skip_unchanged=skip_unchanged).action


def _places(state: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """List the paths of everything in a state."""
    inner = state.items() if isinstance(state, dict) else ()
    return [path, *(place for key, value in inner for place in _places(value, (*path, key)))]


def _reversed(state: Any) -> Any:
    """Turn round the keys of all objects."""
    return {key: _reversed(state[key]) for key in reversed(state)} if isinstance(state, dict) else state


def _damaged(state: Any, path: tuple[str, ...], value: Any) -> Any:
    if not path:
        return value
    return {**state, path[0]: _damaged(state[path[0]], path[1:], value)}


# --- STATE -----------------------------------------------------------------------------------------------------------


@given(_BOOKMARKS)
def test_a_bookmark_survives_state(bookmark: Bookmark) -> None:
    """Through JSON text too, as targets and Meltano keep it."""
    assert bookmark == from_state(json.loads(json.dumps(to_state(bookmark))))


@given(_READINGS)
def test_the_order_of_read_streams_survives_whoever_sorts_keys(reading: PartialLoad) -> None:
    """Row keys are made of it."""
    state = to_state(Bookmark(reading=reading))

    for kept in (json.dumps(state, sort_keys=True), json.dumps(_reversed(state))):
        found = from_state(json.loads(kept)).reading
        assert found is not None
        assert list(found.streams) == list(reading.streams)
        assert [found.ordinal(stream) for stream in reading.streams] == list(range(len(reading.streams)))


def test_read_streams_without_ordinals_are_from_an_older_version() -> None:
    """They are in the order in which they stand."""
    state = to_state(Bookmark(reading=_FOUR))
    for position in state["reading"]["streams"].values():
        del position["ordinal"]

    assert from_state(state) == Bookmark(reading=_FOUR)


@pytest.mark.parametrize("ordinal", [None, 1, 4, -1, True, "0"])
def test_ordinals_that_are_none_are_damage(ordinal: Any) -> None:
    """A row that got the key of another one would take its place."""
    state = to_state(Bookmark(reading=_FOUR))
    state["reading"]["streams"]["d"]["ordinal"] = ordinal

    with pytest.raises(ValueError, match="ordinal"):
        from_state(state)


def test_a_selection_without_added_columns_is_what_it_was() -> None:
    """Bookmarks of older versions stay good."""
    columns = [Column("id", "integer"), Column("clinic", "string")]

    assert selection_digest(columns, None) == selection_digest(columns, None, []) == "7ed797b962e6ef3f"
    assert selection_digest(columns, 5) == "0a2d4fc1ffe7a5ad"
    assert selection_digest(columns, None, ["_redivis_row_key"]) not in {"7ed797b962e6ef3f", "0a2d4fc1ffe7a5ad"}


def test_an_empty_bookmark_is_an_empty_object() -> None:
    """What is absent is left out."""
    assert to_state(Bookmark()) == {}
    assert from_state({}) == Bookmark()


def test_keys_of_others_are_no_damage() -> None:
    """The SDK and later versions of this tap may add some."""
    assert from_state({"rows": 5, "replication_key_signpost": "x"}) == Bookmark(rows=5)


@given(_BOOKMARKS, _JSON, st.data())
def test_damage_is_a_value_error(bookmark: Bookmark, rubbish: Any, data: st.DataObject) -> None:
    """Whatever stands wherever: it is read, or it is one kind of error."""
    state = to_state(bookmark)
    damaged = _damaged(state, data.draw(st.sampled_from(_places(state))), rubbish)

    try:
        read = from_state(damaged)
    except ValueError:
        return
    assert read == from_state(to_state(read))


@given(_JSON)
def test_any_json_is_a_bookmark_or_a_value_error(state: Any) -> None:
    try:
        from_state(state)
    except ValueError:
        return


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("rows",), -1),
        (("rows",), 1.5),
        (("rows",), True),
        (("rows",), "100"),
        (("table",), 5),
        (("completed_at",), "yesterday"),
        (("completed_at",), "2026-11-20T12:00:00"),
        (("table_version",), _LAST_VERSION),
        (("table_version",), 1_763_820_000_000),
        (("reading",), "session"),
        (("reading", "session"), None),
        (("reading", "opened_at"), None),
        (("reading", "table_version"), None),
        (("reading", "fingerprint"), None),
        (("reading", "streams"), ["s"]),
        (("reading", "streams", "s"), 40),
        (("reading", "streams", "s", "offset"), None),
        (("reading", "streams", "s", "offset"), -1),
        (("reading", "streams", "s", "done"), "no"),
        (("reading", "streams", "s", "last"), 5),
        (("reading", "streams", "s"), {"offset": 500, "done": False}),
        (("reading", "row_key"), '5-","id":"'),
        (("reading", "streams"), {}),
        (("reading", "changes"), 5),
        (("reading", "changes", "deleted"), None),
        (("key_properties",), "id"),
        (("key_properties",), [5]),
    ],
)
def test_a_damaged_value_is_not_guessed(path: tuple[str, ...], value: Any) -> None:
    """Also not one that Python would take: True for 1, or a version that no target's 32 bits hold."""
    reading = replace(_READING, changes=ChangeCounts(1, 2, 3, 4), expected_rows=None, row_key="5-a")
    state = to_state(replace(_BASE, reading=reading))
    from_state(state)

    with pytest.raises(ValueError, match={"s": "streams|digest", "deleted": "changes"}.get(path[-1], path[-1])):
        from_state(_damaged(state, path, value))


@pytest.mark.parametrize("path", [("streams", "s", "offset"), ("streams", "s", "done"), ("changes", "repeated")])
def test_a_missing_count_is_not_0(path: tuple[str, ...]) -> None:
    state = to_state(Bookmark(reading=replace(_READING, changes=ChangeCounts(1, 2, 3, 4))))
    place = state["reading"]
    for key in path[:-1]:
        place = place[key]
    del place[path[-1]]

    with pytest.raises(ValueError, match=path[-1]):
        from_state(state)


@pytest.mark.parametrize(
    ("version", "changes", "opened", "kept"),
    [
        (4, None, 1, False),
        (5, None, 1, False),  # the load that was completed
        (5, ChangeCounts(0, 0, 0, 0), -1, False),
        (5, ChangeCounts(0, 0, 0, 0), 1, True),  # adds to the rows of the completed one
        (4, ChangeCounts(0, 0, 0, 0), 1, False),
        (6, None, -1, True),
    ],
)
def test_a_load_under_way_that_is_completed_is_dropped(
    version: int, changes: ChangeCounts | None, opened: int, *, kept: bool
) -> None:
    """Meltano merges STATEs: the completed load would go on, and its rows come again under the active version."""
    opened_at = _NOW + timedelta(seconds=opened)
    merged = replace(_done(), reading=replace(_READING, table_version=version, changes=changes, opened_at=opened_at))

    assert without_stale_load(merged) == (merged if kept else _done())


# --- transitions -----------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 1000))))
def test_rows_are_counted_by_stream(blocks: list[tuple[str, int]]) -> None:
    reading = replace(_READING, streams={"a": StreamPosition(), "b": StreamPosition(7)})

    for number, (stream, rows) in enumerate(blocks):
        reading = reading.advance(stream, rows, f"digest {number}")

    last = {stream: f"digest {number}" for number, (stream, _) in enumerate(blocks)}
    expected = {
        "a": StreamPosition(sum(rows for stream, rows in blocks if stream == "a"), last=last.get("a")),
        "b": StreamPosition(7 + sum(rows for stream, rows in blocks if stream == "b"), last=last.get("b")),
    }
    assert expected == reading.streams
    assert reading.rows == 7 + sum(rows for _, rows in blocks)


def test_the_end_of_a_stream_keeps_its_offset() -> None:
    assert _READING.end("s").streams == {"s": StreamPosition(40, done=True, last="digest")}


def test_transitions_leave_the_old_bookmark_as_it_was() -> None:
    _READING.advance("s", 5, "digest")
    _READING.end("s")

    assert _READING.streams == {"s": StreamPosition(40, last="digest")}


def test_a_proved_load_forgets_the_reading() -> None:
    done = complete(Bookmark(reading=_READING), _SOURCE, rows=100, table_version=5, now=_NOW)

    assert done == Bookmark(
        table=_SOURCE.table,
        version_tag="v1.1",
        hash="hash",
        rows=100,
        selection="selection",
        completed_at=_NOW,
        table_version=5,
    )


@given(_BOOKMARKS, _TIMES)
def test_table_versions_rise_strictly_and_fit_32_bits(bookmark: Bookmark, now: datetime) -> None:
    """SQL targets keep them in a signed 32-bit column, and delete what is lower."""
    version = next_table_version(bookmark, now)

    assert version > (bookmark.table_version or 0) or bookmark.table_version is None
    assert version > (bookmark.reading.table_version if bookmark.reading else -1)
    assert version <= _LAST_VERSION
    assert version >= int(now.timestamp())


@given(_BOOKMARKS, _TIMES, st.integers(0, 100))
def test_a_completed_loads_version_never_falls(bookmark: Bookmark, now: datetime, rows: int) -> None:
    version = next_table_version(bookmark, now)

    done = complete(bookmark, _SOURCE, rows=rows, table_version=version, now=now)

    assert done.table_version == version
    assert next_table_version(done, now) == version + 1


# --- what to read (design §6) ----------------------------------------------------------------------------------------


def test_without_a_bookmark_all_is_read() -> None:
    assert _action(Bookmark(), _SOURCE) == "start"


def test_a_reading_with_the_same_fingerprint_is_resumed() -> None:
    assert _action(Bookmark(reading=_READING), _SOURCE) == "resume"
    assert _action(replace(_done(), reading=_READING), _SOURCE) == "resume"


def test_a_reading_with_another_fingerprint_is_dropped() -> None:
    assert _action(Bookmark(reading=_READING), replace(_SOURCE, fingerprint="another")) == "start"


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        (timedelta(hours=5.5), "resume"),
        (timedelta(hours=5.5, seconds=1), "start"),
        (timedelta(hours=6), "start"),
        (timedelta(seconds=-1), "start"),
    ],
)
def test_a_reading_is_trusted_for_five_and_a_half_hours(age: timedelta, expected: str) -> None:
    """The server ends sessions after six (redivis-api §8.1.9); one that was opened in the future says nothing."""
    assert expected == _action(Bookmark(reading=_READING), _SOURCE, later=age)


def test_an_expired_reading_is_not_skipped_over() -> None:
    """Though the version before it was complete: the target holds rows of both."""
    done = replace(_done(), reading=_READING)

    assert _action(done, _SOURCE, later=timedelta(hours=6)) == "start"


def test_the_same_version_is_skipped() -> None:
    assert _action(_done(), _SOURCE) == "skip"


def test_the_same_version_is_read_where_skipping_is_off() -> None:
    assert _action(_done(), _SOURCE, skip_unchanged=False) == "start"


def test_a_new_version_is_read() -> None:
    decision = decide(_done(), replace(_SOURCE, version_tag="v1.2"), now=_NOW, skip_unchanged=True)

    assert decision.action == "start"
    assert "v1.1 → v1.2" in decision.reason


def test_another_table_of_the_same_version_is_read() -> None:
    """A stream's name may come to mean another table."""
    assert _action(_done(), replace(_SOURCE, table="demo.other:v1_1.visits")) == "start"


def test_another_selection_is_read() -> None:
    assert _action(_done(), replace(_SOURCE, selection="another")) == "start"


def test_a_bookmark_without_a_selection_is_taken_as_it_is() -> None:
    assert _action(replace(_done(), selection=None), _SOURCE) == "skip"


def test_a_draft_is_always_read() -> None:
    draft = replace(_SOURCE, version_tag="next")

    assert _action(_done(draft), draft) == "start"


def test_an_unchanged_workflow_table_is_skipped() -> None:
    assert _action(_done(_WORKFLOW), _WORKFLOW) == "skip"


@pytest.mark.parametrize(
    "change", [{"hash": "another"}, {"rows": 101}, {"updated_at": 1}, {"hash": None}, {"updated_at": None}]
)
def test_a_workflow_table_is_read_if_anything_changed_or_is_unknown(change: dict[str, Any]) -> None:
    """It has no version: same hash, rows and time of change, all three, or it is read."""
    assert _action(_done(_WORKFLOW), replace(_WORKFLOW, **change)) == "start"


def test_an_unknown_hash_is_no_proof_of_equality() -> None:
    """Null on both sides is not the same."""
    unknown = replace(_WORKFLOW, hash=None)

    assert _action(_done(unknown), unknown) == "start"


def test_a_dataset_that_became_a_workflow_is_read() -> None:
    assert _action(_done(), _WORKFLOW) == "start"


def test_references_of_one_table_differ_at_most_in_case() -> None:
    assert same_table("Demo.Visits:v1_0.T", "demo.visits:v1_0.t")
    assert not same_table("demo.visits:v1_0.t", "demo.visits:v1_1.t")
    assert same_table(None, "demo.visits:v1_0.t")


_CHANGED = replace(_SOURCE, version_tag="v1.2", table="demo.visits:v1_2.visits", log_based=True, key_properties=("id",))
_BASE = replace(_done(), key_properties=("id",))


def test_of_a_new_version_only_what_changed_is_read() -> None:
    assert why_all_rows(_BASE, _CHANGED) is None
    decision = decide(_BASE, _CHANGED, now=_NOW, skip_unchanged=True)
    assert decision.reason == "new version: v1.1 → v1.2; only what changed is asked for"


@pytest.mark.parametrize(
    ("bookmark", "source", "reason"),
    [
        ({"completed_at": None}, {}, "no complete load"),
        ({}, {"version_tag": "next"}, "a draft"),
        ({"version_tag": "next"}, {}, "not both versions"),
        ({"version_tag": None}, {}, "not both versions"),
        ({}, {"is_limited": True}, "a row limit"),
        ({"replication_key": "id"}, {}, "the replication method changed"),
        ({"selection": None}, {}, "the selected variables"),
        ({"key_properties": None}, {}, "key properties"),
        ({"key_properties": ("number",)}, {}, "key properties"),
        ({"table": None}, {}, "another name"),
        ({"table": "demo.visits:v1_1.others"}, {}, "another name"),
        ({"version_tag": "v1.2"}, {}, "the version is the same"),
        ({"rows": None}, {}, "how many rows"),
        ({}, {"rows": None}, "how many rows"),
        ({}, {"version_tag": "v2.0"}, "a new major version"),
        ({}, {"version_tag": "v1.0"}, "an earlier version"),
        ({}, {"version_tag": "v1.11"}, "more than 8 versions"),
    ],
)
def test_what_keeps_versions_from_being_compared(bookmark: dict[str, Any], source: dict[str, Any], reason: str) -> None:
    """Then all rows are read: what the target holds is not known to be the earlier version, or not comparable."""
    assert reason in (why_all_rows(replace(_BASE, **bookmark), replace(_CHANGED, **source)) or "")


def test_versions_between_two_are_listed() -> None:
    assert versions_between("v1.1", "v1.4") == ("v1.2", "v1.3")
    assert versions_between("v1.1", "v1.2") == versions_between("next", "v1.2") == ()


def test_other_key_properties_are_another_load() -> None:
    """Though the version is the same; where the keys of the last load are not known, nothing speaks against it."""
    same = replace(_CHANGED, version_tag="v1.1", table=_SOURCE.table)

    assert _action(replace(_BASE, key_properties=("number",)), same) == "start"
    assert _action(replace(_BASE, key_properties=None), same) == "skip"


# --- digests ---------------------------------------------------------------------------------------------------------

_COLUMNS = st.lists(st.builds(Column, st.text(), st.sampled_from(sorted(COLUMN_TYPES))), max_size=4)
_LIMITS = st.none() | st.integers(1, 3)


@given(_COLUMNS, _COLUMNS, _LIMITS, _LIMITS)
def test_other_columns_or_limits_have_another_digest(
    first: list[Column], second: list[Column], limit: int | None, other: int | None
) -> None:
    same = (Counter(first), limit) == (Counter(second), other)  # their order means nothing

    assert same is (selection_digest(first, limit) == selection_digest(second, other))


_READING_PARTS = ("demo.visits:v1_1.visits", "v1.1", "selection", "jsonl")


@pytest.mark.parametrize("part", range(4))
def test_a_readings_digest_covers_all_its_parts(part: int) -> None:
    changed = [*_READING_PARTS]
    changed[part] += "x"

    assert reading_digest(*_READING_PARTS) == reading_digest(*_READING_PARTS)
    assert reading_digest(*_READING_PARTS) != reading_digest(*changed)
