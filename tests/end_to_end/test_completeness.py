"""Whatever breaks on the way: a table is complete, or it is not done (promise 1)."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from redivis_emulator import DEFAULT_TOKEN, Emulator, Fault
from redivis_emulator.access import RateLimit
from tests.end_to_end.conftest import VISITS
from tests.support.pipes import Json, Output, run
from tests.support.served import Site, assert_same_rows, records_of, visits, write_note

_STREAMS = "/readStreams/*"
_FIRST_STREAM = "/readStreams/*.0"
_CUTS = {
    "connection closed": Fault(kind="close", at_row=300),
    "connection reset": Fault(kind="reset", at_row=300),
    "fewer bytes than promised": Fault(kind="short", at_row=300),
    "a clean end on a whole row": Fault(kind="end", at_row=300),
}
_BREAKS = {
    "an end in the middle of a row": Fault(kind="end", at_byte=20_000),
    "an end before the first row": Fault(kind="end", at_byte=0),
    "a close in the middle of a row": Fault(kind="close", at_byte=20_000),
    "no answer at all": Fault(kind="close"),
    "a reset instead of an answer": Fault(kind="reset"),
    "rubbish in a row": Fault(kind="garbage", at_byte=20_000),
    "silence in the middle": Fault(kind="stall", at_row=300),
    "silence instead of an answer": Fault(kind="stall"),
    "connections refused": Fault(kind="refuse", seconds=0.3),
    "a slow server": Fault(kind="slow", length=50, seconds=0.01),
}
_REFUSALS = {
    "500": Fault(kind="status", status=500),
    "a proxy's page": Fault(kind="status", status=502, body="html"),
    "an empty 503": Fault(kind="status", status=503, body="empty"),
    "429 with seconds": Fault(kind="status", status=429, retry_after=0.1),
    "429 with a time": Fault(kind="status", status=429, retry_after=0.1, retry_after_form="epoch_ms"),
    "closed": Fault(kind="close"),
    "a cut answer": Fault(kind="close", at_byte=20),
}


@pytest.mark.parametrize("fault", _CUTS.values(), ids=_CUTS)
def test_a_stream_that_was_cut_goes_on_at_its_offset(site: Site, fault: Fault) -> None:
    """Each of four streams breaks after 300 rows, is taken up at the last of them, and all rows come once."""
    site.emulator.faults.add(replace_fault(fault, path=_STREAMS, per_path=True))

    done = site.sync()

    offsets: dict[str, list[int]] = {}
    for request in site.asked("/readStreams/"):
        offsets.setdefault(request.path, []).append(int(request.query["offset"]))
    assert list(offsets.values()) == [[0, 299]] * 4
    _assert_complete(done)


@pytest.mark.parametrize("wire_format", ["jsonl", "csv"])
@pytest.mark.parametrize("kind", ["close", "reset", "short"])
def test_a_cut_is_noticed_though_nobody_counts(site: Site, kind: Any, wire_format: str) -> None:
    """A draft whose session does not say how many rows there are is read on after a cut all the same: HTTP tells it."""
    site.release("demo/visits/next/visits", VISITS)
    site.emulator.faults.add(
        Fault(kind="json", path="*/readSessions", set={"numRows": None}),
        Fault(kind=kind, path=_STREAMS, per_path=True, at_row=300),
    )

    done = site.sync(tables=["demo.visits:next.visits"], wire_format=wire_format)

    _assert_complete(done)


@pytest.mark.parametrize("fault", _BREAKS.values(), ids=_BREAKS)
def test_a_stream_that_broke_comes_whole_in_the_end(site: Site, fault: Fault) -> None:
    """Nothing is lost and nothing comes twice, wherever a body breaks."""
    site.emulator.faults.add(replace_fault(fault, path=_FIRST_STREAM))

    done = site.sync(request_timeout_seconds=0.5)

    assert site.emulator.requests[-1].query["offset"] or fault.kind in {"slow", "stall"}
    _assert_complete(done)


@pytest.mark.parametrize("fault", _REFUSALS.values(), ids=_REFUSALS)
def test_every_request_may_fail_once(site: Site, fault: Fault) -> None:
    """Metadata, session and streams are asked for again, after the wait that the server asks for."""
    site.emulator.faults.add(replace_fault(fault, per_path=True))

    done = site.sync()

    _assert_complete(done)


def test_a_server_that_refuses_an_offset_is_read_from_the_start(site: Site) -> None:
    """The rows that were written already are left out (redivis-api §11.3)."""
    site.emulator.faults.add(
        Fault(kind="close", path=_STREAMS, per_path=True, at_row=300),
        Fault(kind="refuse_offset", path=_STREAMS, nth="every"),
    )

    done = site.sync()

    assert "reading stream" in done.stderr
    _assert_complete(done)


def test_the_rate_limit_is_kept(site: Site) -> None:
    """A server that allows few requests in some seconds gets no more, and is read all the same."""
    with Emulator(site.folder, rate_limit=RateLimit(requests=6, seconds=3.0)) as emulator:
        slow = Site(emulator, site.folder, site.files, DEFAULT_TOKEN)
        done = slow.sync()

    assert 429 not in {request.status for request in emulator.requests}
    assert "rate limit" in done.stderr
    _assert_complete(done)


_MISCOUNTS = {
    "one row is missing": (2001, Fault(kind="json", path="*/readSessions", add={"numRows": 1})),
    "one row is missing, and the session does not count": (
        2001,
        Fault(kind="json", path="*/readSessions", set={"numRows": None}),
    ),
    "one row is too many": (1999, Fault(kind="json", path="*/readSessions", add={"numRows": -1})),
    "the session promises less than the table": (2000, Fault(kind="json", path="*/readSessions", add={"numRows": -1})),
    "the session promises more than the table": (2000, Fault(kind="json", path="*/readSessions", add={"numRows": 1})),
    "a stream ends for good too early": (2000, Fault(kind="end", path=_FIRST_STREAM, at_byte=20, nth="every")),
}


@pytest.mark.parametrize(("rows", "fault"), _MISCOUNTS.values(), ids=_MISCOUNTS)
def test_rows_that_do_not_add_up_are_no_complete_table(site: Site, rows: int, fault: Fault) -> None:
    """Exit 1, no ACTIVATE_VERSION, no completed bookmark, and an error that names the table and the numbers."""
    write_note(site.folder, "demo/visits/dataset.yml", {"tables": {"visits": {"num_rows": rows}}})
    site.emulator.reload()
    site.emulator.faults.add(replace_fault(fault, nth="every"))
    site.emulator.read_as("sentinel=never")  # else these are the proof

    done = run(site.tap(max_retry_seconds=1))

    _assert_not_done(done)


def test_a_miscount_says_what_came_and_what_should_have(site: Site) -> None:
    """The error is for a person: how many of how many, of which table, and what now."""
    write_note(site.folder, "demo/visits/dataset.yml", {"tables": {"visits": {"num_rows": 2001}}})
    site.emulator.reload()
    site.emulator.faults.add(Fault(kind="json", path="*/readSessions", nth="every", add={"numRows": 1}))
    site.emulator.read_as("sentinel=never")

    done = run(site.tap())

    [error] = [line for line in done.stderr.splitlines() if "ERROR" in line]
    assert "demo.visits:" in error
    assert "2,000 rows arrived of 2,001" in error
    assert "Run again" in error


def test_a_table_that_is_loaded_has_a_summary(site: Site) -> None:
    """Rows, version, why, bytes, seconds, resumes, and what proves that all rows came."""
    site.emulator.faults.add(Fault(kind="close", path=_STREAMS, per_path=True, at_row=300))

    done = site.sync(wire_format="arrow")

    line = r"visits__visits: loaded 2,000 rows of v1.0 \(first load\), [\d.]+ kB, [\d.]+ s, 4 resumes; "
    assert re.search(f"{line}proved: 4 of 4 streams ended with the sentinel\n", done.stderr)


@pytest.mark.parametrize("wire_format", ["jsonl", "csv"])
def test_without_a_sentinel_the_count_proves_it(site: Site, wire_format: str) -> None:
    """No line says that something of what was asked for did not come."""
    done = site.sync(wire_format=wire_format)

    assert re.search(r"visits__visits: loaded 2,000 rows .*; proved by the count: 2,000 rows\n", done.stderr)
    assert "sentinel" not in done.stderr


def test_a_table_that_fails_has_a_summary_too(site: Site) -> None:
    """It says how far it came: four streams that broke after 300 rows each."""
    site.emulator.faults.add(
        Fault(kind="close", path=_STREAMS, per_path=True, at_row=300),
        Fault(kind="status", status=401, path=_STREAMS, per_path=True, nth=2),
    )

    done = run(site.tap(max_streams=1))

    assert re.search(r": not complete; 300 of 2,000 rows arrived, [\d.]+ kB, [\d.]+ s, 1 resumes", done.stderr)
    assert "loaded " not in done.stderr.replace("rows loaded", "")


def test_after_a_miscount_the_last_complete_load_still_counts(site: Site) -> None:
    """The bookmark of the old version stays, without a load under way; the next run reads all again."""
    first = site.sync()
    note = {"versions": {"v1.1": {"tables": {"visits": {"num_rows": 2101}}}}}
    write_note(site.folder, "demo/visits/dataset.yml", note)
    site.release("demo/visits/v1.1/visits", visits(2100))
    site.emulator.faults.add(Fault(kind="json", path="*/readSessions", nth="every", add={"numRows": 1}))
    site.emulator.read_as("sentinel=never")

    second = run(site.tap(state=first.state))
    site.emulator.faults.clear()
    (site.folder / "demo/visits/dataset.yml").unlink()
    site.emulator.reload()
    third = site.sync(state=second.state)

    assert second.exit_code == 1
    assert second.state == first.state
    assert_same_rows(third.records("visits__visits"), records_of(visits(2100)))


def test_a_session_that_expires_on_the_way_means_all_rows_anew(site: Site) -> None:
    """All rows come once under a higher version, and only that one is activated (design §6)."""
    site.emulator.faults.add(
        Fault(kind="close", path=_FIRST_STREAM, at_row=300),
        Fault(kind="expire", path=_FIRST_STREAM, nth=2),
    )

    done = site.sync()

    records = [message for message in done.messages if message["type"] == "RECORD"]
    [activated] = [message["version"] for message in done.messages if message["type"] == "ACTIVATE_VERSION"]
    assert {message["version"] for message in records} == {records[0]["version"], activated}
    assert activated > records[0]["version"]
    assert_same_rows([message["record"] for message in records if message["version"] == activated], records_of(VISITS))
    assert done.state["bookmarks"]["visits__visits"]["table_version"] == activated


def test_sessions_that_expire_again_and_again_end_in_an_error(site: Site) -> None:
    """Three sessions are enough."""
    site.emulator.faults.add(Fault(kind="expire", path=_STREAMS, nth="every"))

    done = run(site.tap())

    assert len(site.asked("/readSessions")) == 3
    assert "lost 3 times" in done.stderr
    _assert_not_done(done)


def test_a_load_that_ran_out_of_retries_can_be_resumed(site: Site) -> None:
    """The error ends the run; the next one goes on at the offsets that were reached."""
    site.emulator.faults.add(
        Fault(kind="close", path=_STREAMS, per_path=True, at_row=300),
        Fault(kind="status", status=503, path=_STREAMS, per_path=True, nth=2, times=None),
    )

    first = run(site.tap(max_retry_seconds=0.3))
    site.emulator.faults.clear()
    second = site.sync(state=first.state)

    assert "given up after retries" in first.stderr
    _assert_not_done(first)
    assert first.records("visits__visits")
    assert_same_rows([*first.records("visits__visits"), *second.records("visits__visits")], records_of(VISITS))


def test_a_row_that_is_damaged_for_good_is_an_error_with_its_place(site: Site) -> None:
    """Rubbish that comes twice at one place is not tried for ten minutes."""
    site.emulator.faults.add(Fault(kind="garbage", path=_FIRST_STREAM, nth="every", at_byte=0, length=5))

    done = run(site.tap())

    [error] = [line for line in done.stderr.splitlines() if "ERROR" in line]
    assert all(word in error for word in ("damaged", "read stream", "row 0", "twice"))
    _assert_not_done(done)


def test_one_tables_failure_is_not_the_others(site: Site) -> None:
    """The other tables are loaded, and the run fails at its end."""
    site.release("demo/visits/v1.0/doctors", VISITS.slice(0, 20))
    site.emulator.faults.add(Fault(kind="status", status=403, path="*.doctors*/r*", nth="every"))

    done = run(site.tap())

    assert done.exit_code == 1
    assert "1 of 2 streams failed: visits__doctors" in done.stderr
    assert "completed_at" not in done.state["bookmarks"]["visits__doctors"]
    assert done.state["bookmarks"]["visits__visits"]["rows"] == 2000
    assert_same_rows(done.records("visits__visits"), records_of(VISITS))


@pytest.mark.parametrize("kind", ["close", "end"])
def test_rows_read_without_a_token_that_break_off_come_anew(site: Site, kind: Any) -> None:
    """`/rows` cannot go on in the middle: all rows come once, under a version of their own."""
    write_note(site.folder, "demo/visits/dataset.yml", {"public_access_level": "data"})
    site.emulator.reload()
    site.emulator.faults.add(Fault(kind=kind, path="*/rows", at_row=1000))

    done = run(replace(site, token=None).tap())

    records = [message for message in done.messages if message["type"] == "RECORD"]
    last = max(message["version"] for message in records)
    assert done.exit_code == 0
    assert_same_rows([message["record"] for message in records if message["version"] == last], records_of(VISITS))


def replace_fault(fault: Fault, **changes: Any) -> Fault:
    """Return a fault with other fields."""
    values: Json = {name: getattr(fault, name) for name in fault.__struct_fields__}
    return Fault(**{**values, **changes})


def _assert_complete(done: Output) -> None:
    assert_same_rows(done.records("visits__visits"), records_of(VISITS))
    assert done.state["bookmarks"]["visits__visits"]["rows"] == 2000
    assert [message["type"] for message in done.messages].count("ACTIVATE_VERSION") == 1


def _assert_not_done(done: Output) -> None:
    assert done.exit_code == 1
    assert "ACTIVATE_VERSION" not in {message["type"] for message in done.messages}
    assert "completed_at" not in done.state["bookmarks"].get("visits__visits", {})
    assert done.messages[-1]["type"] == "STATE"
    assert "Traceback" not in done.stderr
