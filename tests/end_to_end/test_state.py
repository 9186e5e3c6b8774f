"""STATE: what a run leaves for the next one, and what the next one makes of it."""

from __future__ import annotations

import signal
from copy import deepcopy
from typing import Any

import pytest

from redivis_emulator import Fault
from tests.end_to_end.conftest import VISITS
from tests.support.pipes import Json, Output, Stop, activated_records, run, run_stopped
from tests.support.served import Site, assert_same_rows, records_of, streams_of, visits, write_note

_MORE_VISITS = visits(2300)
_HALF = 300  # rows of each of the four read streams, which have about 500


def test_a_first_load_leaves_a_complete_bookmark(site: Site) -> None:
    """The bookmark says what was read, of which version, how many rows, when, and under which Singer version."""
    done = site.sync()

    bookmark = _bookmark(done)
    assert bookmark["table"].startswith("demo.visits:")
    assert (bookmark["version_tag"], bookmark["rows"], "reading" in bookmark) == ("v1.0", 2000, False)
    assert bookmark.keys() >= {"hash", "completed_at"}
    assert bookmark["table_version"] == _activated(done)


def test_old_rows_are_given_up_only_after_the_last_new_one(site: Site) -> None:
    """SCHEMA first, then RECORDs of one version, then ACTIVATE_VERSION of it, then STATE (promise 4)."""
    messages = [message for message in site.sync().messages if message["type"] != "STATE"]

    kinds = [message["type"] for message in messages]
    assert kinds == ["SCHEMA"] + ["RECORD"] * 2000 + ["ACTIVATE_VERSION"]
    assert len({message["version"] for message in messages[1:]}) == 1


def test_versions_are_left_out_on_request(site: Site) -> None:
    """Without `emit_activate_version_messages` no message has a version."""
    done = site.sync(emit_activate_version_messages=False)

    assert {message["type"] for message in done.messages} == {"SCHEMA", "RECORD", "STATE"}
    assert not any("version" in message for message in done.messages)


def test_an_unchanged_table_is_not_read_again(site: Site) -> None:
    """The second run writes SCHEMA and STATE, asks for no rows, and changes no bookmark."""
    first = site.sync()
    site.emulator.forget_requests()

    second = site.sync(state=first.state)

    assert {message["type"] for message in second.messages} == {"SCHEMA", "STATE"}
    assert second.messages[-1] == {"type": "STATE", "value": first.state}
    assert not site.asked("data", "variables/")


def test_an_unchanged_table_is_read_again_on_request(site: Site) -> None:
    """`skip_unchanged: false` reads all rows, under a higher version."""
    first = site.sync()

    second = site.sync(state=first.state, skip_unchanged=False)

    assert_same_rows(second.records("visits__visits"), records_of(VISITS))
    assert _activated(second) > _activated(first)


def test_a_new_version_is_read_whole(site: Site) -> None:
    """A released version replaces the one that was loaded, under a higher Singer version."""
    first = site.sync()
    site.release("demo/visits/v1.1/visits", _MORE_VISITS)

    second = site.sync(state=first.state)

    assert_same_rows(second.records("visits__visits"), records_of(_MORE_VISITS))
    assert _activated(second) > _activated(first)
    assert (_bookmark(second)["version_tag"], _bookmark(second)["rows"]) == ("v1.1", 2300)


@pytest.mark.parametrize("settings", [{"max_rows": 50}, {"table_options": {"visits": {"variables": ["id"]}}}])
def test_another_selection_is_another_load(site: Site, settings: Json) -> None:
    """A table that was loaded with other variables or another limit is read again."""
    first = site.sync(**settings)

    second = site.sync(state=first.state)

    assert_same_rows(second.records("visits__visits"), records_of(VISITS))


def test_a_draft_is_always_read(site: Site) -> None:
    """Nobody says when a draft changes."""
    site.release("demo/visits/next/visits", _MORE_VISITS)
    draft = {"tables": ["demo.visits:next.visits"]}

    second = site.sync(state=site.sync(**draft).state, **draft)

    assert len(second.records("visits__visits")) == 2300


def test_a_workflows_table_is_read_when_it_changed(site: Site) -> None:
    """Without versions, the hash, the row count and the time of change tell."""
    write_note(site.folder, "demo/study/workflow.yml", {"name": "study"})
    site.release("demo/study/result", VISITS.slice(0, 100))
    study = {"workflows": ["demo.study"]}

    first = site.sync(**study)
    second = site.sync(state=first.state, **study)
    site.release("demo/study/result", VISITS.slice(100, 100))
    third = site.sync(state=second.state, **study)

    assert not second.records("study__result")
    assert_same_rows(third.records("study__result"), records_of(VISITS.slice(100, 100)))


def test_an_interrupted_load_goes_on_where_it_stopped(site: Site) -> None:
    """The same session, each stream from its last row, the same Singer version: every row once."""
    first = _interrupted(site)

    second = site.sync(state=first.state)

    offsets = {stream: position["offset"] for stream, position in _reading(first)["streams"].items()}
    asked = {request.path: int(request.query["offset"]) for request in site.asked("data")}
    assert asked == {f"/readStreams/{stream}": offset - 1 for stream, offset in offsets.items()}
    assert sum(offsets.values()) == len(first.records("visits__visits")) >= 4 * _HALF
    assert_same_rows([*first.records("visits__visits"), *second.records("visits__visits")], records_of(VISITS))
    assert _activated(second) == _reading(first)["table_version"] == _bookmark(second)["table_version"]
    assert "reading" not in _bookmark(second)


def test_a_load_that_is_interrupted_twice_goes_on(site: Site) -> None:
    """A resumed load can be resumed."""
    first = _interrupted(site)
    second = _interrupted(site, state=first.state, at_row=50)

    third = site.sync(state=second.state)

    rows = [record for done in (first, second, third) for record in done.records("visits__visits")]
    assert_same_rows(rows, records_of(VISITS))
    assert _activated(third) == _reading(first)["table_version"]


def test_an_expired_session_means_all_rows_anew(site: Site) -> None:
    """Where the server has forgotten the session, the whole table comes under a higher version."""
    first = _interrupted(site)
    site.emulator.pass_time(6 * 3600)

    second = site.sync(state=first.state)

    assert_same_rows(second.records("visits__visits"), records_of(VISITS))
    assert _activated(second) > _reading(first)["table_version"]


def test_an_old_session_is_not_even_tried(site: Site) -> None:
    """After 5.5 hours a session is not worth a request (redivis-api §8.1.9)."""
    first = _interrupted(site)
    state = deepcopy(first.state)
    state["bookmarks"]["visits__visits"]["reading"]["opened_at"] = "2024-01-01T00:00:00Z"

    second = site.sync(state=state)

    streams = _reading(first)["streams"]
    assert not [request for request in site.asked("/readStreams/") if request.path.rpartition("/")[2] in streams]
    assert_same_rows(second.records("visits__visits"), records_of(VISITS))
    assert _activated(second) > _reading(first)["table_version"]


def test_a_version_released_meanwhile_is_read_instead(site: Site) -> None:
    """An interrupted load of an old version is given up for the new one, under a higher Singer version."""
    first = _interrupted(site)
    site.release("demo/visits/v1.1/visits", _MORE_VISITS)

    second = site.sync(state=first.state)

    assert_same_rows(second.records("visits__visits"), records_of(_MORE_VISITS))
    assert _activated(second) > _reading(first)["table_version"]


@pytest.mark.parametrize("settings", [{"max_rows": 50}, {"table_options": {"visits": {"variables": ["id", "cost"]}}}])
def test_a_selection_changed_meanwhile_is_read_instead(site: Site, settings: Json) -> None:
    """Offsets of another selection are not used."""
    first = _interrupted(site)

    second = site.sync(state=first.state, **settings)

    assert len(second.records("visits__visits")) == settings.get("max_rows", 2000)
    assert _activated(second) > _reading(first)["table_version"]


def test_an_interrupted_load_keeps_what_is_known_of_the_last_complete_one(site: Site) -> None:
    """Until the new load is proved, the old one is the last complete one."""
    first = site.sync()
    site.release("demo/visits/v1.1/visits", _MORE_VISITS)

    second = _interrupted(site, state=first.state)

    bookmark = _bookmark(second)
    assert {**bookmark, "reading": None} == {**_bookmark(first), "reading": None}
    assert bookmark["reading"]["version_tag"] == "v1.1"
    assert bookmark["reading"]["table_version"] > bookmark["table_version"]


_BROKEN: list[Any] = [
    "visits",
    None,
    ["v1.0"],
    {"table_version": -1},
    {"table_version": "1700000000"},
    {"completed_at": "yesterday", "version_tag": "v1.0"},
    {"version_tag": 1.0},
    {"reading": []},
    {"reading": {"session": "gone"}},
]


@pytest.mark.parametrize("bookmark", _BROKEN, ids=repr)
def test_a_damaged_bookmark_is_dropped_with_a_warning(site: Site, bookmark: Any) -> None:
    """Neither a crash nor a guess: the table is read whole."""
    done = site.sync(state={"bookmarks": {"visits__visits": bookmark}})

    assert_same_rows(done.records("visits__visits"), records_of(VISITS))
    assert _bookmark(done)["rows"] == 2000
    [warning] = [line for line in done.stderr.splitlines() if "WARNING" in line]
    assert "visits__visits" in warning
    assert "damaged" in warning


_BROKEN_READINGS: list[Json] = [
    {"streams": {"nobody.0": {"offset": 3, "done": False}}},
    {"streams": None},
    {"offset": -5},
    {"offset": "300"},
    {"offset": True},
    {"offset": 2.5},
    {"done": "no"},
    {"table_version": 2**40},
    {"opened_at": "2026-13-45T00:00:00Z"},
    {"opened_at": None},
    {"fingerprint": "0"},
    {"expected_rows": "many"},
]


@pytest.mark.parametrize("damage", _BROKEN_READINGS, ids=repr)
def test_a_load_under_way_with_a_damaged_bookmark_is_read_anew(site: Site, damage: Json) -> None:
    """What cannot be trusted is not gone on with: all rows come under another version than the interrupted load's."""
    first = _interrupted(site)
    state = deepcopy(first.state)
    _damage(state["bookmarks"]["visits__visits"]["reading"], damage)

    done = site.sync(state=state)

    assert_same_rows(done.records("visits__visits"), records_of(VISITS))
    assert _bookmark(done)["rows"] == 2000


@pytest.mark.parametrize("damage", [{"offset": 10**6}, {"streams": {}}], ids=repr)
def test_a_bookmark_is_no_proof(site: Site, damage: Json) -> None:
    """Offsets beyond the rows, or lost streams, show when the rows are counted: then all are read, in Arrow."""
    first = _interrupted(site)
    state = deepcopy(first.state)
    _damage(state["bookmarks"]["visits__visits"]["reading"], damage)

    second = site.sync(state=state)

    [version] = [each["version"] for each in second.messages if each["type"] == "ACTIVATE_VERSION"]
    assert version > first.state["bookmarks"]["visits__visits"]["reading"]["table_version"]
    assert_same_rows(activated_records("visits__visits", second), records_of(VISITS))
    assert _bookmark(second)["rows"] == 2000


def test_a_stream_that_is_called_done_too_early_is_looked_at_again(site: Site) -> None:
    """The rows are counted, whatever the bookmark says of ends."""
    first = _interrupted(site)
    state = deepcopy(first.state)
    _damage(state["bookmarks"]["visits__visits"]["reading"], {"done": True})

    second = site.sync(state=state)

    assert_same_rows([*first.records("visits__visits"), *second.records("visits__visits")], records_of(VISITS))


def test_bookmarks_of_other_streams_stay(site: Site) -> None:
    """A run changes only the bookmarks of the streams that it reads."""
    site.release("demo/visits/v1.0/doctors", VISITS.slice(0, 10))
    before = site.sync()
    site.release("demo/visits/v1.1/visits", _MORE_VISITS)

    after = site.sync(state=before.state, tables=["demo.visits.visits"])

    assert after.state["bookmarks"]["visits__doctors"] == before.state["bookmarks"]["visits__doctors"]
    assert after.state["bookmarks"]["visits__visits"] != before.state["bookmarks"]["visits__visits"]


def test_a_run_tells_of_all_its_streams_and_ends_with_state(site: Site) -> None:
    """Each selected stream has a SCHEMA, though it is skipped, and STATE is the last message."""
    site.release("demo/visits/v1.0/doctors", VISITS.slice(0, 10))
    first = site.sync()
    site.release("demo/drugs/v1.0/prices", VISITS.slice(0, 10))

    second = site.sync(state=first.state, datasets=["demo.*"])

    assert streams_of(second) == {"visits__visits", "visits__doctors", "drugs__prices"}
    assert second.messages[-1]["type"] == "STATE"
    assert second.state["bookmarks"].keys() == streams_of(second)


def test_state_is_the_last_message_of_a_failed_run(site: Site) -> None:
    """Also where a table could not be read."""
    site.emulator.faults.add(Fault(kind="status", status=403, path="*/readSessions", nth="every"))

    done = run(site.tap())

    assert (done.exit_code, done.messages[-1]["type"]) == (1, "STATE")


def _interrupted(site: Site, *, state: Json | None = None, at_row: int = _HALF) -> Output:
    """Stop a load by SIGTERM when each of its read streams has sent some rows and then nothing more."""
    site.emulator.faults.add(Fault(kind="stall", path="/readStreams/*", nth="every", at_row=at_row))
    # SCHEMA, and STATE where a session is opened; where one is resumed, the row before the offset comes again.
    lines = 2 + 4 * at_row if state is None else 1 + 4 * (at_row - 1)
    done = run_stopped(site.tap(state=state, state_interval_seconds=600), Stop(signal.SIGTERM, after_lines=lines))
    site.emulator.faults.clear()
    site.emulator.forget_requests()
    assert done.exit_code == 128 + signal.SIGTERM
    return done


def _damage(reading: Json, damage: Json) -> None:
    """Replace keys of a reading, or of the position of one of its streams."""
    position = next(iter(reading["streams"].values()))
    for key, value in damage.items():
        (position if key in position else reading)[key] = value


def _bookmark(done: Output) -> Json:
    bookmark: Json = done.state["bookmarks"]["visits__visits"]
    return bookmark


def _reading(done: Output) -> Json:
    reading: Json = _bookmark(done)["reading"]
    return reading


def _activated(done: Output) -> int:
    """Return the version of the one ACTIVATE_VERSION message, which all records must have."""
    [activated] = [message["version"] for message in done.messages if message["type"] == "ACTIVATE_VERSION"]
    assert {message["version"] for message in done.messages if message["type"] == "RECORD"} <= {activated}
    version: int = activated
    return version
