"""INCREMENTAL: of a new version only the rows from the highest known key on, asked for by a query."""

from __future__ import annotations

import datetime as dt
import math
import signal
from typing import Any

import pyarrow as pa
import pytest

from redivis_emulator import Fault
from tests.end_to_end.conftest import VISITS
from tests.support.pipes import Json, Output, Stop, run, run_stopped
from tests.support.served import Site, assert_same_rows, records_of, visits

_BY_ID = {"visits": {"key_properties": ["id"], "replication_key": "ID"}}
_MORE = visits(2300)


def test_a_first_load_reads_all_and_keeps_the_highest_key(site: Site) -> None:
    """Through the table's own read session, without a query; the catalog says how the table is loaded."""
    stream = site.discover(table_options=_BY_ID)["visits__visits"]

    done = _sync(site)

    assert (stream["replication_method"], stream["replication_key"]) == ("INCREMENTAL", "id")
    assert_same_rows(done.records("visits__visits"), records_of(VISITS))
    assert (_bookmark(done)["replication_key"], _bookmark(done)["replication_key_value"]) == ("id", 1999)
    assert not site.asked("/queries")


def test_an_unchanged_version_costs_no_query(site: Site) -> None:
    first = _sync(site)
    site.emulator.forget_requests()

    second = _sync(site, first.state)

    assert not site.asked("data", "/queries")
    assert second.state == first.state


@pytest.mark.parametrize("wire_format", ["jsonl", "arrow", "csv"])
def test_of_a_new_version_only_new_rows_come(site: Site, wire_format: str) -> None:
    """Those at the border come again, nothing is activated, and all records have the version of the rows before."""
    first = _sync(site, wire_format=wire_format)
    site.release("demo/visits/v1.1/visits", _MORE)

    second = _sync(site, first.state, wire_format=wire_format)

    assert_same_rows(second.records("visits__visits"), records_of(_MORE.slice(1999)))
    assert "ACTIVATE_VERSION" not in {message["type"] for message in second.messages}
    assert {m["version"] for m in second.messages if m["type"] == "RECORD"} == {_bookmark(first)["table_version"]}
    assert (_bookmark(second)["replication_key_value"], _bookmark(second)["version_tag"]) == (2299, "v1.1")


def test_deselected_variables_are_not_asked_for(site: Site) -> None:
    options = {"visits": {**_BY_ID["visits"], "variables": ["paid"]}}
    first = site.sync(table_options=options)
    site.release("demo/visits/v1.1/visits", _MORE)

    second = site.sync(table_options=options, state=first.state)

    [query] = [request for request in site.asked("/queries") if request.path == "/queries"]
    assert "SELECT `id`, `paid` FROM `demo.visits:" in query.body
    assert_same_rows(second.records("visits__visits"), records_of(_MORE.select(["id", "paid"]).slice(1999)))


def test_a_key_does_not_move_before_the_proof(site: Site) -> None:
    """A load with a row too few ends with an error, and the next one begins at the old key."""
    site.emulator.read_as("sentinel=never")  # else these are the proof
    first = _sync(site)
    site.release("demo/visits/v1.1/visits", _MORE)
    site.emulator.faults.add(
        Fault(kind="json", method="POST", path="/queries", add={"outputNumRows": 1}),
        Fault(kind="json", path="*/readSessions", nth="every", add={"numRows": 1}),
    )

    second = run(site.tap(state=first.state, table_options=_BY_ID))
    site.emulator.faults.clear()
    third = _sync(site, second.state)

    assert second.exit_code == 1
    assert (_bookmark(second)["replication_key_value"], _bookmark(second)["version_tag"]) == (1999, "v1.0")
    assert_same_rows(third.records("visits__visits"), records_of(_MORE.slice(1999)))


@pytest.mark.parametrize("first_rows", [0, 2000])
def test_an_interrupted_load_goes_on(site: Site, first_rows: int) -> None:
    """Whether of all rows or of new ones: in its session, and with the highest key of what was written before."""
    state = _sync(site).state if first_rows else None
    table = visits(first_rows + 2000)
    site.release("demo/visits/v1.1/visits", table)
    site.emulator.faults.add(Fault(kind="stall", path="/readStreams/*", nth="every", at_row=300))
    first = run_stopped(site.tap(state=state, table_options=_BY_ID), Stop(signal.SIGTERM, after_lines=1 + 4 * 300))
    site.emulator.faults.clear()
    site.emulator.forget_requests()

    # What is left of the streams may well be without the highest key.
    second = _sync(site, first.state)

    assert not [request for request in site.asked("/queries", "/readSessions") if request.method == "POST"]
    expected = records_of(table.slice(first_rows - 1 if first_rows else 0))
    assert_same_rows([*first.records("visits__visits"), *second.records("visits__visits")], expected)
    assert _bookmark(second)["replication_key_value"] == first_rows + 1999


@pytest.mark.parametrize(
    ("kind", "values", "highest"),
    [
        (pa.int64(), [-(2**63), 5, 2**53 + 1], 2**53 + 1),
        (pa.float64(), [-math.inf, -0.5, math.nan, math.inf, 1e300], 1e300),
        (pa.string(), ["", "a", "it's \\ `b` \" -- é\n"], "it's \\ `b` \" -- é\n"),
        (pa.date32(), [dt.date(1, 1, 1), dt.date(2012, 2, 29)], "2012-02-29"),
        (pa.timestamp("us"), [dt.datetime(2012, 1, 1), dt.datetime(2012, 1, 1, 0, 0, 0, 1)],  # noqa: DTZ001
         "2012-01-01T00:00:00.000001"),
        (pa.time64("us"), [dt.time(1), dt.time(1, 0, 0, 5)], "01:00:00.000005"),
    ],
)  # fmt: skip
def test_keys_of_each_type_with_nulls_and_equals(
    site: Site, kind: pa.DataType, values: list[Any], highest: Any
) -> None:
    """Rows at the border and rows without a key come again, and rows that were inserted there are not missed."""
    before = [*values, values[-1], None]
    after = [*before, values[-1], None]
    site.release("demo/keys/v1.0/keys", _keyed(kind, before))
    options = {"keys": {"key_properties": ["number"], "replication_key": "key, `x\\"}}
    first = site.sync(tables=["demo.keys.keys"], table_options=options)
    site.release("demo/keys/v1.1/keys", _keyed(kind, after))

    second = site.sync(tables=["demo.keys.keys"], table_options=options, state=first.state)

    assert first.state["bookmarks"]["keys__keys"]["replication_key_value"] == highest
    expected = [number for number, value in enumerate(after) if value in (None, values[-1]) or _is_no_number(value)]
    assert sorted(record["number"] for record in second.records("keys__keys")) == expected


def _is_no_number(value: Any) -> bool:
    """NaN and infinities are null in a RECORD, so that their rows have no key."""
    return isinstance(value, float) and not math.isfinite(value)


def test_dates_with_a_zone_are_keys_as_well(site: Site) -> None:
    options = {"visits": {"key_properties": ["id"], "replication_key": "seen_at"}}
    first = site.sync(table_options=options, datetime_zone="utc")
    site.release("demo/visits/v1.1/visits", _MORE)

    second = site.sync(table_options=options, datetime_zone="utc", state=first.state)

    assert _bookmark(first)["replication_key_value"].endswith("+00:00")
    assert sorted(record["id"] for record in second.records("visits__visits")) == list(range(1999, 2300))


@pytest.mark.parametrize("value", ["1) OR (1=1", True, 1.5, {"a": 1}, "'"])
def test_a_damaged_key_is_dropped_and_never_sent(site: Site, value: Any) -> None:
    """A bookmark is no SQL: all rows are read, with a warning."""
    first = _sync(site)
    site.release("demo/visits/v1.1/visits", _MORE)
    state: Json = {"bookmarks": {"visits__visits": {**_bookmark(first), "replication_key_value": value}}}

    second = _sync(site, state)

    assert "damaged" in second.stderr
    assert not site.asked("/queries")
    assert_same_rows(second.records("visits__visits"), records_of(_MORE))


def test_another_method_reads_all_rows(site: Site) -> None:
    """From INCREMENTAL back to FULL_TABLE, though the version is the same: the target may hold what was deleted."""
    first = _sync(site)

    second = site.sync(state=first.state, table_options={"visits": {"key_properties": ["id"]}})

    assert_same_rows(second.records("visits__visits"), records_of(VISITS))
    assert "replication_key" not in _bookmark(second)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(kind="status", status=400, path="/queries", message="You have no slot-seconds left."),
        Fault(kind="status", status=403, path="/queries"),
        Fault(kind="json", path="/queries", set={"status": "failed", "errorMessage": "Quota exceeded"}),
    ],
    ids=["refused", "forbidden", "failed"],
)
def test_a_refused_query_proposes_full_table(site: Site, fault: Fault) -> None:
    first = _sync(site)
    site.release("demo/visits/v1.1/visits", _MORE)
    site.emulator.faults.add(fault)

    second = run(site.tap(state=first.state, table_options=_BY_ID))

    assert second.exit_code == 1
    assert "Use replication method FULL_TABLE for it" in second.stderr
    assert _bookmark(second) == _bookmark(first)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"replication_key": "id"}, "INCREMENTAL needs key properties"),
        ({"replication_key": "paid", "key_properties": ["id"]}, "is no selected variable whose values have an order"),
        ({"replication_key": "number", "key_properties": ["id"]}, "there is no variable number"),
    ],
)
def test_what_cannot_be_loaded_incrementally_is_said(site: Site, options: Json, words: str) -> None:
    done = run(site.tap(table_options={"visits": options}))

    assert done.exit_code == 1
    assert words in done.stderr


def _keyed(kind: pa.DataType, values: list[Any]) -> pa.Table:
    return pa.table({"number": pa.array(range(len(values)), pa.int64()), "key, `x\\": pa.array(values, kind)})


def _sync(site: Site, state: Json | None = None, **settings: Any) -> Output:
    return site.sync(state=state, table_options=_BY_ID, **settings)


def _bookmark(done: Output) -> Json:
    bookmark: Json = done.state["bookmarks"]["visits__visits"]
    return bookmark
