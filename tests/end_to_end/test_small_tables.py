"""Many small tables: each takes two requests, and the output grows with their number, not with its square."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from redivis_emulator import DEFAULT_TOKEN, Emulator, Fault
from tests.end_to_end.conftest import UNLIMITED
from tests.support.pipes import Json, run
from tests.support.served import Site, assert_same_rows, records_of, visits, write_note, write_table

_FEW, _MANY = 20, 200
_ROWS = 20
_LARGE = {"num_bytes": 10**6}  # what the metadata say, so that the table is read by a session
_STREAM = "small__t0"
_TABLE = visits(_ROWS)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Site]:
    """A Redivis with the table `demo.small.t0` of 20 rows."""
    write_table(tmp_path / "served", "demo/small/v1.0/t0", _TABLE)
    with Emulator(tmp_path / "served", rate_limit=UNLIMITED) as emulator:
        yield Site(emulator, tmp_path / "served", tmp_path, DEFAULT_TOKEN)


def _write(site: Site, dataset: str, tables: int, note: Json | None = None) -> None:
    for number in range(tables):
        write_table(site.folder, f"demo/{dataset}/v1.0/t{number}", visits(_ROWS, first=number * _ROWS))
    if note is not None:
        write_note(site.folder, f"demo/{dataset}/dataset.yml", {"tables": {f"t{n}": note for n in range(tables)}})


# --- growth ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["records", "sessions", "files", pytest.param("failing", marks=pytest.mark.long)])
def test_the_output_grows_with_the_tables(small: Site, kind: str) -> None:
    """Ten times the tables have at most twelve times the output."""
    sizes = {}
    for tables in (_FEW, _MANY):
        _write(small, f"many{tables}", tables, _LARGE if kind in {"sessions", "failing"} else None)
        small.emulator.reload()
        settings: dict[str, Any] = {"datasets": [f"demo.many{tables}"]}
        if kind == "files":
            settings["batch_config"] = {"encoding": {"format": "jsonl"}, "storage": {"root": str(small.files / "lake")}}
        if kind == "failing":  # each after half of its rows
            small.emulator.faults.add(Fault(kind="json", path="*/readSessions", nth="every", add={"numRows": 1}))
            small.emulator.read_as("sentinel=never")
        done = run(small.tap(**settings))
        small.emulator.faults.clear()
        assert done.exit_code == (kind == "failing"), done.stderr
        sizes[tables] = len(done.stdout)
    assert sizes[_MANY] <= 12 * sizes[_FEW]


def test_rows_make_state_due_over_tables(small: Site) -> None:
    """Every hundred rows, however many tables they are of, and at the end."""
    _write(small, "many", _FEW)
    small.emulator.reload()
    done = small.sync(datasets=["demo.many"], state_interval_rows=5 * _ROWS, state_interval_seconds=10**6)
    rows, counts = 0, []
    for message in done.messages:
        rows += message["type"] == "RECORD"
        if message["type"] == "STATE":
            counts.append(rows)
    assert counts == [*(5 * _ROWS * number for number in range(1, 5)), _FEW * _ROWS]


def test_a_run_that_was_killed_goes_on_with_the_tables_that_state_lacks(small: Site) -> None:
    """Wherever it was killed: each table is complete before the last STATE, or all of it is read afterwards."""
    _write(small, "many", _FEW)
    small.emulator.reload()
    names = {f"many__t{number}" for number in range(_FEW)}
    first = small.sync(datasets=["demo.many"], state_interval_rows=3 * _ROWS)
    places = [place for place, message in enumerate(first.messages) if message["type"] == "STATE"]
    for place in places:
        before, state = first.messages[:place], first.messages[place]["value"]
        second = small.sync(datasets=["demo.many"], state=state)
        done = {name for name, bookmark in state["bookmarks"].items() if "completed_at" in bookmark}
        assert {message["stream"] for message in before if message["type"] == "ACTIVATE_VERSION"} == done
        assert {name for name in names if second.records(name)} == names - done
        for name in names - done:
            number = int(name.removeprefix("many__t"))
            assert_same_rows(second.records(name), records_of(visits(_ROWS, first=number * _ROWS)))


# --- requests --------------------------------------------------------------------------------------------------------


def _asked(site: Site) -> list[str]:
    """Name the requests that concern one table: the end of each path, or `stream`."""
    parts = ("/variables", "/readSessions", "/readStreams/", "/rows")
    return ["stream" if "/readStreams/" in each.path else each.path.rpartition("/")[2] for each in site.asked(*parts)]


@pytest.mark.parametrize("max_requests", [1, 8])
@pytest.mark.parametrize("wire_format", ["jsonl", "arrow", "csv"])
def test_a_small_table_takes_two_requests(small: Site, wire_format: str, max_requests: int) -> None:
    """With a catalog: its variables and its rows, which equal those of a session."""
    catalog = {"streams": list(small.discover(datasets=["demo.small"]).values())}
    small.emulator.forget_requests()

    done = small.sync(catalog=catalog, datasets=["demo.small"], wire_format=wire_format, max_requests=max_requests)

    assert _asked(small) == ["variables", "rows"]
    assert_same_rows(done.records(_STREAM), records_of(_TABLE))
    assert "completed_at" in done.state["bookmarks"][_STREAM]
    write_note(small.folder, "demo/small/dataset.yml", {"tables": {"t0": _LARGE}})
    small.emulator.reload()
    small.emulator.forget_requests()
    by_session = small.sync(catalog=catalog, datasets=["demo.small"], wire_format=wire_format)
    assert _asked(small) == ["variables", "readSessions", "stream"]
    assert_same_rows(by_session.records(_STREAM), records_of(_TABLE))


def test_a_small_table_is_read_as_its_settings_say(small: Site) -> None:
    """Some variables, some rows, and lineage."""
    options = {"t0": {"variables": ["clinic", "id"], "max_rows": 7}}
    done = small.sync(datasets=["demo.small"], table_options=options, lineage=True)
    assert "rows" in _asked(small)
    records = done.records(_STREAM)
    source = {row["id"]: row for row in records_of(_TABLE)}
    assert len({record["id"] for record in records}) == len(records) == 7
    for record in records:
        assert record == {
            "id": record["id"],
            "clinic": source[record["id"]]["clinic"],
            "_redivis_table": done.state["bookmarks"][_STREAM]["table"],
            "_redivis_version": "v1.0",
        }


def test_a_rate_limit_is_waited_for(small: Site) -> None:
    """It is no reason for a session, which takes more requests."""
    small.emulator.faults.add(Fault(kind="status", path="*/rows", status=429, retry_after=0.1, times=2))
    done = small.sync(datasets=["demo.small"], max_requests=1)
    assert [each for each in _asked(small) if each != "variables"] == ["rows"] * 3
    assert_same_rows(done.records(_STREAM), records_of(_TABLE))


def test_a_table_is_small_up_to_a_size(small: Site) -> None:
    """Both as the metadata say."""
    sizes = {"t0": 64 * 1024 - 1, "t1": 64 * 1024}
    write_table(small.folder, "demo/small/v1.0/t1", _TABLE)
    write_note(
        small.folder, "demo/small/dataset.yml", {"tables": {name: {"num_bytes": size} for name, size in sizes.items()}}
    )
    small.emulator.reload()
    small.sync(datasets=["demo.small"])
    assert [path.rpartition("/")[0].rpartition(".")[2][:2] for path in _paths(small, "/rows")] == ["t0"]
    assert [path.rpartition("/")[0].rpartition(".")[2][:2] for path in _paths(small, "/readSessions")] == ["t1"]


def _paths(site: Site, part: str) -> list[str]:
    return [each.path for each in site.asked(part)]


# --- doubts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("note", [{"num_bytes": 64 * 1024}, {"num_rows": 10**6, "num_bytes": 0}], ids=str)
def test_a_table_that_may_be_large_is_read_by_a_session(small: Site, note: Json) -> None:
    """By what the metadata say: its size, or more rows than it could have bytes."""
    write_note(small.folder, "demo/small/dataset.yml", {"tables": {"t0": note}})
    small.emulator.reload()
    run(small.tap(datasets=["demo.small"]))
    assert "rows" not in _asked(small)


def test_a_name_with_a_comma_cannot_be_told_from_two(small: Site) -> None:
    """So it is selected by a session."""
    table = pa.table({"a": [1], "b": [2], "a,b": [3]})
    small.release("demo/small/v1.0/t0", table)
    done = small.sync(datasets=["demo.small"], table_options={"t0": {"variables": ["a,b", "a"]}})
    assert "rows" not in _asked(small)
    assert_same_rows(done.records(_STREAM), [{"a": 1, "a,b": 3}])


def test_many_names_do_not_fit_into_an_address(small: Site) -> None:
    """So they are selected by a session."""
    names = [f"a_rather_long_name_{number}" for number in range(300)]
    table = pa.table({name: [number] for number, name in enumerate(names)})
    small.release("demo/small/v1.0/t0", table)
    done = small.sync(datasets=["demo.small"], table_options={"t0": {"variables": names[1:]}})
    assert "rows" not in _asked(small)
    assert_same_rows(done.records(_STREAM), records_of(table.drop_columns(names[:1])))


@pytest.mark.parametrize("place", ["demo/small/next/t0", "demo/study/t0"])
def test_what_may_change_is_read_by_a_session(small: Site, place: str) -> None:
    """The count that the metadata gave proves nothing of a draft or a workflow's table."""
    if "study" in place:
        write_note(small.folder, "demo/study/workflow.yml", {})
    small.release(place, _TABLE)
    source = {"workflows": ["demo.study"]} if "study" in place else {"datasets": ["demo.small:next"]}
    done = run(small.tap(**source))
    assert done.exit_code == 0, done.stderr
    assert "rows" not in _asked(small)
    assert sum(message["type"] == "RECORD" for message in done.messages) == _ROWS


_DOUBTS: Mapping[str, Fault] = {
    "refused": Fault(kind="status", status=400),
    "forbidden": Fault(kind="status", status=403),
    "not there": Fault(kind="status", status=404),
    "an error": Fault(kind="status", status=500),
    "no answer": Fault(kind="close"),
    "silence": Fault(kind="stall"),
    "an early end": Fault(kind="end", at_row=10),
    "no row": Fault(kind="end", at_byte=0),
    "cut in a row": Fault(kind="close", at_byte=900),
    "cut after a row": Fault(kind="close", at_row=10),
    "rubbish": Fault(kind="garbage", at_byte=900, length=50),
}


@pytest.mark.parametrize("wire_format", ["jsonl", "arrow", "csv"])
@pytest.mark.parametrize("doubt", _DOUBTS)
def test_any_doubt_leads_to_a_session(small: Site, doubt: str, wire_format: str) -> None:
    """Whatever is wrong with the answer, each time: the rows come by a session, under a table version of their own."""
    fault = json.loads(json.dumps({**_as_json(_DOUBTS[doubt]), "path": "*/rows", "nth": "every", "times": None}))
    small.emulator.faults.add(Fault(**fault))

    done = small.sync(datasets=["demo.small"], wire_format=wire_format, request_timeout_seconds=0.5)

    assert "stream" in _asked(small)
    assert "by a session" in done.stderr
    [version] = [message["version"] for message in done.messages if message["type"] == "ACTIVATE_VERSION"]
    records = [message for message in done.messages if message["type"] == "RECORD"]
    assert_same_rows([each["record"] for each in records if each["version"] == version], records_of(_TABLE))
    assert all(each["version"] <= version for each in records)
    assert done.messages[-1]["type"] == "STATE"
    assert done.state["bookmarks"][_STREAM]["table_version"] == version


def _as_json(fault: Fault) -> Json:
    return {name: value for name in fault.__struct_fields__ if (value := getattr(fault, name)) is not None}


@pytest.mark.parametrize("rows", [_ROWS - 1, _ROWS + 1])
def test_a_count_that_does_not_fit_is_no_proof(small: Site, rows: int) -> None:
    """More rows or fewer than the metadata say: a session is asked, and its count holds, with a warning."""
    write_note(small.folder, "demo/small/dataset.yml", {"tables": {"t0": {"num_rows": rows}}})
    small.emulator.reload()
    done = small.sync(datasets=["demo.small"])
    assert _asked(small)[-1] in {"readSessions", "stream"}
    assert f"promises {_ROWS} rows, and the table has {rows}: the session counts" in done.stderr
    [version] = [each["version"] for each in done.messages if each["type"] == "ACTIVATE_VERSION"]
    assert sum(each["type"] == "RECORD" and each["version"] == version for each in done.messages) == _ROWS


def test_a_load_in_one_answer_never_goes_on(small: Site) -> None:
    """/rows takes no offset: no STATE speaks of a load under way, and after each of them all rows come again."""
    done = small.sync(datasets=["demo.small"], state_interval_rows=1)

    [end] = [place for place, message in enumerate(done.messages) if message["type"] == "ACTIVATE_VERSION"]
    during = [message["value"] for message in done.messages[:end] if message["type"] == "STATE"]
    assert during, "no STATE was written during the load, so nothing was tried"
    for state in during:
        assert "reading" not in state["bookmarks"].get(_STREAM, {})
        assert_same_rows(small.sync(datasets=["demo.small"], state=state).records(_STREAM), records_of(_TABLE))


def test_a_load_by_a_session_goes_on_by_it(small: Site) -> None:
    """Also where the metadata call the table small since."""
    write_note(small.folder, "demo/small/dataset.yml", {"tables": {"t0": _LARGE}})
    small.emulator.reload()
    small.emulator.faults.add(
        Fault(kind="close", path="/readStreams/*", at_row=10),
        Fault(kind="status", path="/readStreams/*", status=500, nth=2, times=None),
    )
    stopped = run(small.tap(datasets=["demo.small"], max_retry_seconds=0.5))
    assert stopped.exit_code == 1
    assert stopped.state["bookmarks"][_STREAM]["reading"]
    small.emulator.faults.clear()
    write_note(small.folder, "demo/small/dataset.yml", {})
    small.emulator.reload()
    small.emulator.forget_requests()

    done = small.sync(datasets=["demo.small"], state=stopped.state)

    assert "stream" in _asked(small)
    assert "rows" not in _asked(small)
    assert_same_rows(
        {json.dumps(each): each for each in [*stopped.records(_STREAM), *done.records(_STREAM)]}.values(),
        records_of(_TABLE),
    )
