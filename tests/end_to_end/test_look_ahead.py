"""Many small tables: what is asked for ahead, and that nothing else is another than one table after another."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from redivis_emulator import DEFAULT_TOKEN, Emulator, Fault
from redivis_emulator.access import RateLimit
from tests.end_to_end.conftest import UNLIMITED
from tests.support.measuring import measured
from tests.support.pipes import Json, Output, Process, run
from tests.support.readers import interrupted_when
from tests.support.served import Site, assert_same_rows, records_of, visits, write_note, write_table

_NAMES = [f"t{number:02}" for number in range(14)]
_LARGEST = 4000  # rows: more than a pipe holds
_TABLES = {
    name: visits(_LARGEST if name == "t00" else 0 if name == "t03" else 20 + place, first=10_000 * place)
    for place, name in enumerate(_NAMES)
}
_AHEAD, _ONE_BY_ONE = 8, 1


@pytest.fixture(scope="module")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many")
    sizes = {name: {"num_bytes": 100_000} for name in _NAMES[1:]}  # not small enough to be read without a session
    write_note(folder, "demo/many/dataset.yml", {"public_access_level": "data", "tables": sizes})
    for name, table in _TABLES.items():
        write_table(folder, f"demo/many/v1.0/{name}", table)
    return folder


@pytest.fixture
def many(_folder: Path, tmp_path: Path) -> Iterator[Site]:
    """A Redivis whose dataset `demo.many` has 14 tables: of 4,000 rows the first, of none the fourth, else of few."""
    with Emulator(_folder, rate_limit=UNLIMITED) as emulator:
        yield Site(emulator, _folder, tmp_path, DEFAULT_TOKEN)


@pytest.fixture
def catalog(many: Site) -> Json:
    """The catalog of them all, so that the tap asks for variables when it reads; the requests are forgotten."""
    found = {"streams": list(many.discover(datasets=["demo.many"]).values())}
    many.emulator.forget_requests()
    return found


def _run(site: Site, max_requests: int, **settings: Any) -> Output:
    site.emulator.forget_requests()
    calm = {"state_interval_seconds": 10**6}  # no STATE for the time's sake
    return run(site.tap(datasets=["demo.many"], max_requests=max_requests, **calm, **settings))


def _turns(site: Site) -> list[str]:
    """Give the tables in the order in which they were asked for; each once for all requests in a row."""
    asked = site.asked("/readSessions", "/variables")
    tables = [request.path.split("/")[2].split(".")[2].partition(":")[0] for request in asked]
    return [name for name, _ in groupby(tables)]


# --- the same messages -----------------------------------------------------------------------------------------------


def _shape(done: Output) -> list[tuple[str, str | None]]:
    return [(message["type"], message.get("stream")) for message in done.messages]


def _states(done: Output) -> list[Json]:
    """Give what STATE said, without what is another in each run."""
    states = [deepcopy(message["value"]) for message in done.messages if message["type"] == "STATE"]
    for state in states:
        for bookmark in state["bookmarks"].values():
            for key in ("completed_at", "table_version", "rows_per_second"):
                bookmark.pop(key, None)
            if reading := bookmark.get("reading"):
                for key in ("session", "opened_at", "table_version", "row_key"):
                    reading.pop(key)
                reading["streams"] = [{**position, "last": None} for position in reading["streams"].values()]
    return states


@pytest.mark.parametrize("wire_format", ["jsonl", "arrow", "csv"])
@pytest.mark.parametrize("token", [DEFAULT_TOKEN, None])
def test_the_messages_are_the_same(many: Site, wire_format: str, token: str | None) -> None:
    """In the same order: SCHEMA, STATE, RECORDs, ACTIVATE_VERSION and STATE, table by table."""
    site = Site(many.emulator, many.folder, many.files, token)
    ahead = _run(site, _AHEAD, wire_format=wire_format)
    one_by_one = _run(site, _ONE_BY_ONE, wire_format=wire_format)

    assert ahead.exit_code == one_by_one.exit_code == 0, ahead.stderr
    assert _shape(ahead) == _shape(one_by_one)
    assert _states(ahead) == _states(one_by_one)
    assert [name for kind, name in _shape(ahead) if kind == "SCHEMA"] == [f"many__{name}" for name in _NAMES]
    for name, table in _TABLES.items():
        assert_same_rows(ahead.records(f"many__{name}"), records_of(table))


def test_state_speaks_of_no_session_before_its_table_has_its_turn(many: Site) -> None:
    """Though the session is open by then."""
    begun: set[str] = set()
    for message in _run(many, _AHEAD).messages:
        if message["type"] == "SCHEMA":
            begun.add(message["stream"])
        if message["type"] == "STATE":
            assert message["value"]["bookmarks"].keys() <= begun


_HOURS_AGO = """
import datetime as dt
from tap_redivis.singer import prefetch
from tap_redivis.__main__ import main

class Earlier(dt.datetime):
    @classmethod
    def now(cls, zone):
        return dt.datetime.now(zone) - dt.timedelta(hours=2)

prefetch.datetime = Earlier
main()
"""


def test_a_session_is_as_old_as_it_is(many: Site) -> None:
    """In STATE it stands when it was opened, not when its table's turn came: by that it is resumed, or not."""
    program = many.tap(datasets=["demo.many"], state_interval_rows=1)
    argv = (sys.executable, "-c", _HOURS_AGO, *program.argv[1:])

    done = run(replace(program, argv=argv))

    assert done.exit_code == 0, done.stderr
    readings = {
        name: bookmark["reading"]
        for message in done.messages
        if message["type"] == "STATE"
        for name, bookmark in message["value"]["bookmarks"].items()
        if "reading" in bookmark
    }
    ages = {name: each["table_version"] - _seconds(each["opened_at"]) for name, each in readings.items()}
    assert ages.pop("many__t00") < 60
    assert len(ages) == len(_NAMES) - 2  # of an empty table there is nothing to resume
    assert min(ages.values()) > 7000


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment.replace("Z", "+00:00")).timestamp()


# --- what is under way -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_next_tables_are_opened_while_one_is_written(many: Site, catalog: Json, number: signal.Signals) -> None:
    """As many as are allowed, with their rows; then a signal ends it all, and STATE speaks of the first table only."""
    program = many.tap(datasets=["demo.many"], max_requests=_AHEAD, catalog=catalog)
    opened = _NAMES[: _AHEAD + 1]

    done = interrupted_when(program, number, lambda: len(many.asked("/readStreams/")) >= len(opened))

    assert len(many.asked("/readSessions")) == len(opened)
    assert set(_turns(many)) == set(opened)
    assert done.exit_code == 128 + number
    assert done.seconds < 10
    assert done.stdout.endswith(b"\n")
    assert done.state["bookmarks"].keys() == {"many__t00"}


def test_what_was_opened_ahead_is_read_after_a_resumption(many: Site) -> None:
    """By the next run, in sessions of its own."""
    program = many.tap(datasets=["demo.many"], max_requests=_AHEAD)
    first = interrupted_when(program, signal.SIGTERM, lambda: len(many.asked("/readStreams/")) > _AHEAD)

    second = _run(many, _AHEAD, state=first.state)

    assert second.exit_code == 0
    for name, table in _TABLES.items():
        records = [*first.records(f"many__{name}"), *second.records(f"many__{name}")]
        assert_same_rows(records, records_of(table))


def test_with_one_request_at_once_tables_are_read_one_after_another(many: Site, catalog: Json) -> None:
    assert _run(many, _ONE_BY_ONE, catalog=catalog).exit_code == 0

    assert _turns(many) == _NAMES


def test_no_more_memory_is_needed(tmp_path: Path) -> None:
    """Bodies wait in the system's buffers, also those of tables that are said to be small, and are not."""
    names = [f"t{number}" for number in range(8)]
    folder, files = tmp_path / "served", tmp_path / "files"
    files.mkdir()
    write_note(folder, "demo/many/dataset.yml", {"tables": {name: {"num_bytes": 1000} for name in names}})
    for name in names:
        write_table(folder, f"demo/many/v1.0/{name}", pa.table({"text": ["x" * 15_000_000]}))
    with Emulator(folder, rate_limit=UNLIMITED) as emulator:
        site = Site(emulator, folder, files, DEFAULT_TOKEN)

        done = measured(site.tap(datasets=["demo.many"]), files, _count)

    assert done.output.exit_code == 0, done.output.stderr
    assert done.output.stdout == b"8"
    assert done.peak_mib < 200


def _count(process: Process) -> bytes:
    """Count the records."""
    number, end = 0, b""
    while piece := os.read(process.stdout.fileno(), 1024 * 1024):
        number += (end + piece).count(b'"type":"RECORD"')
        end = (end + piece)[-14:]
    return str(number).encode()


# --- what goes wrong -------------------------------------------------------------------------------------------------


def _errors(done: Output) -> list[str]:
    return [line.partition("ERROR")[2] for line in done.stderr.splitlines() if "ERROR" in line]


_FAULTS: Sequence[Fault] = (
    Fault(kind="status", status=403, path="*.t02:*/readSessions", nth="every"),
    Fault(kind="status", status=500, path="*.t04:*/variables", nth="every"),
    Fault(kind="status", status=400, message="You cannot export more than that", path="*.t05:*/readSessions"),
    Fault(kind="json", add={"numRows": -(10**9)}, path="*.t06:*/readSessions"),
)
"""The session is refused, variables cannot be had, the quota is used up, and a session promises what cannot be."""


def test_errors_are_the_same_and_come_at_the_tables_turn(many: Site, catalog: Json) -> None:
    """The other tables are loaded."""
    outputs = []
    for max_requests in (_AHEAD, _ONE_BY_ONE):
        many.emulator.faults.clear()
        many.emulator.faults.add(*_FAULTS)
        outputs.append(_run(many, max_requests, catalog=catalog, max_retry_seconds=0.2))
    ahead, one_by_one = outputs

    assert ahead.exit_code == one_by_one.exit_code == 1
    assert _errors(ahead) == _errors(one_by_one)
    assert len(_errors(ahead)) == 5  # the last one names all
    assert _shape(ahead) == _shape(one_by_one)
    assert _states(ahead) == _states(one_by_one)
    for name in _NAMES[7:]:
        assert_same_rows(ahead.records(f"many__{name}"), records_of(_TABLES[name]))


def test_a_body_that_breaks_while_it_waits_is_resumed(many: Site) -> None:
    """Whichever table it is of, and wherever it breaks; where its session is lost, the table is read anew."""
    many.emulator.faults.add(
        Fault(kind="close", path="/readStreams/*", nth=3, at_row=5),
        Fault(kind="reset", path="/readStreams/*", nth=5, at_byte=10),
        Fault(kind="status", path="/readStreams/*", nth=7),
        Fault(kind="expire", path="/readStreams/*", nth=9),
    )

    done = _run(many, _AHEAD)

    assert done.exit_code == 0, done.stderr
    for name, table in _TABLES.items():
        said = [message for message in done.messages if message.get("stream") == f"many__{name}"]
        [activated] = [message["version"] for message in said if message["type"] == "ACTIVATE_VERSION"]
        rows = [each["record"] for each in said if each["type"] == "RECORD" and each["version"] == activated]
        assert_same_rows(rows, records_of(table))


def test_a_catalog_that_does_not_fit_costs_no_session(many: Site, catalog: Json) -> None:
    """And what is not selected costs nothing."""
    by_name = {stream["tap_stream_id"]: stream for stream in catalog["streams"]}
    by_name["many__t05"]["schema"]["properties"]["id"] = {"type": ["string", "null"]}
    [root] = [each for each in by_name["many__t06"]["metadata"] if not each["breadcrumb"]]
    root["metadata"]["selected"] = False

    done = _run(many, _AHEAD, catalog=catalog)

    [error, _all] = _errors(done)
    assert "'id' was string and is now integer" in error
    assert [request.path for request in many.asked(".t05:")] == [many.asked(".t05:")[0].path]
    assert many.asked(".t05:")[0].path.endswith("/variables")
    assert not many.asked(".t06:")


def test_the_rate_limit_is_kept_by_all_together(many: Site, catalog: Json) -> None:
    with Emulator(many.folder, rate_limit=RateLimit(requests=30, seconds=2)) as emulator:
        site = Site(emulator, many.folder, many.files, DEFAULT_TOKEN)

        done = _run(site, 14, catalog=catalog)

    assert done.exit_code == 0, done.stderr
    assert "rate limit" in done.stderr
    assert 429 not in {request.status for request in emulator.requests}


def test_a_server_that_wants_less_is_obeyed(many: Site) -> None:
    many.emulator.faults.add(Fault(kind="status", status=429, retry_after=0.2, path="*/readSessions", nth=6, times=3))

    done = _run(many, _AHEAD)

    assert done.exit_code == 0, done.stderr
    assert "HTTP 429" in done.stderr
    assert_same_rows(done.records("many__t13"), records_of(_TABLES["t13"]))
