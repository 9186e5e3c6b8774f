"""Queries as streams: run on the server, read and proved like tables."""

from __future__ import annotations

import signal
from typing import Any

import pyarrow as pa
import pytest

from redivis_emulator import Fault
from tests.end_to_end.conftest import VISITS
from tests.support.pipes import Json, Stop, pipe, run, run_stopped, started, target
from tests.support.postgres import Postgres
from tests.support.served import Site, assert_same_rows, records_of, streams_of, visits, write_note

_ALL = {"name": "Every visit", "sql": "SELECT * FROM `demo.visits.visits`;"}
_COUNTED = {
    "name": "counted",
    "sql": "SELECT clinic, COUNT(*) AS visits, COUNT(*) > 20 AS busy FROM visits GROUP BY clinic -- by clinic",
    "default_dataset": "demo.visits",
    "key_properties": ["CLINIC"],
}


@pytest.mark.parametrize("wire_format", ["jsonl", "arrow", "csv"])
def test_the_result_of_a_query_is_a_stream(site: Site, wire_format: str) -> None:
    """Its rows are those of the source, in each wire format, under a version that is activated at the end."""
    done = site.sync(queries=[_ALL], wire_format=wire_format)

    assert streams_of(done) == {"every_visit"}
    assert_same_rows(done.records("every_visit"), records_of(VISITS))
    assert [message["type"] for message in done.messages if message["type"] != "RECORD"][-2:] == [
        "ACTIVATE_VERSION",
        "STATE",
    ]
    assert done.state["bookmarks"]["every_visit"]["rows"] == VISITS.num_rows


def test_the_columns_of_a_query_are_its_schema(site: Site) -> None:
    """Names, types and keys; table names without a dataset are looked up in the default one."""
    stream = site.discover(queries=[_COUNTED])["counted"]

    types = {name: schema["type"][0] for name, schema in stream["schema"]["properties"].items()}
    assert types == {"clinic": "string", "visits": "integer", "busy": "boolean"}
    assert (stream["key_properties"], stream["table_name"]) == (["clinic"], "query counted")
    assert not site.asked("data")


def test_tables_of_a_workflow_are_found_by_default(site: Site) -> None:
    write_note(site.folder, "demo/study/workflow.yml", {"name": "study"})
    site.release("demo/study/result", VISITS.slice(0, 10))
    query = {"name": "few", "sql": "SELECT * FROM result WHERE id > 5", "default_workflow": "demo.study"}

    assert_same_rows(site.sync(queries=[query]).records("few"), records_of(VISITS.slice(6, 4)))


def test_a_query_goes_by_the_catalog(site: Site) -> None:
    """Deselected columns are not transferred; an unselected query is not run."""
    queries = [_ALL, _COUNTED]
    streams = site.discover(queries=queries)
    _deselect(streams["counted"], [])
    _deselect(streams["every_visit"], ["properties", "cost"], ["properties", "clinic"])
    site.emulator.forget_requests()

    done = site.sync(queries=queries, catalog={"streams": list(streams.values())})

    assert_same_rows(done.records("every_visit"), records_of(VISITS.drop_columns(["cost", "clinic"])))
    assert len([request for request in site.asked("/queries") if request.method == "POST"]) == 2  # query and session


def test_a_query_is_run_every_time(site: Site) -> None:
    """What it reads may have changed, and its result then replaces the old one."""
    first = site.sync(queries=[_ALL])
    site.release("demo/visits/v1.1/visits", VISITS.slice(0, 100))

    second = site.sync(queries=[_ALL], state=first.state)

    assert_same_rows(second.records("every_visit"), records_of(VISITS.slice(0, 100)))
    versions = [done.state["bookmarks"]["every_visit"]["table_version"] for done in (first, second)]
    assert versions[1] > versions[0]


def test_an_interrupted_result_goes_on_at_its_rows(site: Site) -> None:
    """In the read session of the query that was run before: it is not run again."""
    first = _interrupted(site)
    assert first.state["bookmarks"]["every_visit"]["reading"]["query"]

    second = site.sync(queries=[_ALL], state=first.state, catalog=_catalog(site))

    assert not [request for request in site.asked("/queries") if request.method == "POST"]
    assert_same_rows([*first.records("every_visit"), *second.records("every_visit")], records_of(VISITS))


def test_a_lost_session_of_a_result_costs_no_second_query(site: Site) -> None:
    """The result is there as long as the server keeps it; all its rows are read anew."""
    first = _interrupted(site)
    catalog = _catalog(site)
    site.emulator.faults.add(Fault(kind="expire", path="/readStreams/*"))

    second = site.sync(queries=[_ALL], state=first.state, catalog=catalog)

    assert [request.path for request in site.asked("/queries") if request.method == "POST"] == [
        f"/queries/{first.state['bookmarks']['every_visit']['reading']['query']}/readSessions"
    ]
    assert_same_rows(second.records("every_visit"), records_of(VISITS))


def test_other_sql_is_another_query(site: Site) -> None:
    """What was read of the old one is not gone on with, though the name is the same."""
    first = _interrupted(site)
    some = {**_ALL, "sql": "SELECT * FROM `demo.visits.visits` WHERE id < 10"}

    second = site.sync(queries=[some], state=first.state)

    assert_same_rows(second.records("every_visit"), records_of(VISITS.slice(0, 10)))


def test_a_query_that_waits_is_asked_after(site: Site) -> None:
    """Queued, then running, then completed: the first answer is held, later ones come at growing distances."""
    catalog = _catalog(site)
    site.emulator.faults.add(
        Fault(kind="json", method="POST", path="/queries", set={"status": "queued"}),
        Fault(kind="json", method="GET", path="re:^/queries/[^/]+$", set={"status": "running"}),
    )

    done = site.sync(queries=[_ALL], catalog=catalog)

    assert "the query is queued" in done.stderr
    assert "the query is running" in done.stderr
    assert len(done.records("every_visit")) == VISITS.num_rows


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"status": "failed", "errorMessage": "Division by zero."}, "the query failed: Division by zero."),
        ({"status": "failed", "errorMessage": None}, "the query failed: no reason given."),
        ({"status": "cancelled"}, "the query was cancelled."),
        ({"status": "lost"}, "the query is 'lost', which is no known status."),
    ],
)
def test_a_query_that_does_not_succeed_says_why(site: Site, answer: Json, words: str) -> None:
    """The stream fails, the others do not, and what was loaded before stays."""
    tables: Json = {"datasets": ["demo.visits"], "queries": [_ALL]}
    catalog = {"streams": list(site.discover(**tables).values())}
    site.emulator.faults.add(Fault(kind="json", method="POST", path="/queries", set=answer))

    done = run(site.tap(catalog=catalog, **tables))

    assert done.exit_code == 1
    assert f"query Every visit: {words}" in done.stderr
    assert len(done.records("visits__visits")) == VISITS.num_rows
    assert {message["stream"] for message in done.messages if message["type"] == "ACTIVATE_VERSION"} == {
        "visits__visits"
    }


def test_a_query_with_an_error_is_found_at_discovery(site: Site) -> None:
    found = run(site.tap("--discover", queries=[{"name": "wrong", "sql": "SELECT nothing FROM `demo.visits.visits`"}]))

    assert found.exit_code == 1
    assert "query wrong: the query failed: " in found.stderr


def test_a_query_takes_a_token(site: Site) -> None:
    anonymous = Site(site.emulator, site.folder, site.files, None)

    found = run(anonymous.tap("--discover", queries=[_ALL]))

    assert found.exit_code == 1
    assert "Set api_token or REDIVIS_API_TOKEN" in found.stderr


def test_a_result_with_a_row_too_few_is_not_complete(site: Site) -> None:
    """The rows are counted against what the query says of itself (promise 1)."""
    catalog = _catalog(site)
    site.emulator.faults.add(
        Fault(kind="json", method="POST", path="/queries", add={"outputNumRows": 1}),
        Fault(kind="json", path="*/readSessions", nth="every", add={"numRows": 1}),
    )
    site.emulator.read_as("sentinel=never")

    done = run(site.tap(queries=[_ALL], catalog=catalog))

    assert done.exit_code == 1
    assert "2,000 rows arrived of 2,001" in done.stderr
    assert "ACTIVATE_VERSION" not in {message["type"] for message in done.messages}


def test_types_that_redivis_does_not_have_are_text(site: Site) -> None:
    """What SQL gives beyond the eight types is read as text, and warned of."""
    lists = {"name": "lists", "sql": "SELECT id, [id, 2] AS pair FROM `demo.visits.visits` WHERE id < 2"}

    done = site.sync(queries=[lists])

    assert_same_rows(done.records("lists"), [{"id": 0, "pair": "[0, 2]"}, {"id": 1, "pair": "[1, 2]"}])


def test_a_query_and_a_table_may_not_share_a_name(site: Site) -> None:
    done = run(site.tap(datasets=["demo.visits"], queries=[{**_ALL, "name": "visits__visits"}]))

    assert done.exit_code == 1
    assert "query visits__visits would both be the stream 'visits__visits'" in done.stderr


def test_a_key_that_the_query_does_not_have_is_an_error(site: Site) -> None:
    done = run(site.tap(queries=[{**_ALL, "key_properties": ["number"]}]))

    assert done.exit_code == 1
    assert "queries, Every visit: there is no column number. Name some of id, clinic" in done.stderr


def test_a_query_can_be_tested_without_its_rows(site: Site) -> None:
    done = run(site.tap("--test", queries=[_ALL]))

    assert (done.exit_code, site.asked("data")) == (0, [])


def test_a_limit_holds_for_queries_too(site: Site) -> None:
    assert len(site.sync(queries=[_ALL], max_rows=7).records("every_visit")) == 7


@pytest.mark.parametrize("wire_format", ["jsonl", "arrow"])
def test_a_query_with_a_key_brings_what_is_new(site: Site, wire_format: str) -> None:
    """Its SQL is run within another query, whatever stands at its end; the rows have the version of those before."""
    queries = [{**_ALL, "sql": f"{_ALL['sql'][:-1]} -- all;", "key_properties": ["id"], "replication_key": "SEEN_at"}]
    stream = site.discover(queries=queries)["every_visit"]
    first = site.sync(queries=queries, wire_format=wire_format)
    site.release("demo/visits/v1.1/visits", visits(2300))

    second = site.sync(queries=queries, state=first.state, wire_format=wire_format)
    third = site.sync(queries=queries, state=second.state, wire_format=wire_format)

    assert (stream["replication_method"], stream["replication_key"]) == ("INCREMENTAL", "seen_at")
    assert_same_rows(first.records("every_visit"), records_of(VISITS))
    assert_same_rows(second.records("every_visit"), records_of(visits(2300).slice(1999)))
    assert [record["id"] for record in third.records("every_visit")] == [2299]
    assert "ACTIVATE_VERSION" not in {message["type"] for message in [*second.messages, *third.messages]}
    assert len({done.state["bookmarks"]["every_visit"]["table_version"] for done in (first, second, third)}) == 1


def test_other_sql_with_a_key_reads_all_rows(site: Site) -> None:
    """Its result may have rows below the highest key that the old one did not have."""
    some = {**_ALL, "key_properties": ["id"], "replication_key": "id", "sql": f"{_ALL['sql'][:-1]} WHERE id > 1000"}
    first = site.sync(queries=[some])

    second = site.sync(queries=[{**some, "sql": _ALL["sql"]}], state=first.state)

    assert_same_rows(second.records("every_visit"), records_of(VISITS))
    assert "ACTIVATE_VERSION" in {message["type"] for message in second.messages}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"replication_key": "id"}, "INCREMENTAL needs key properties"),
        ({"replication_key": "paid", "key_properties": ["id"]}, "is no selected variable whose values have an order"),
        ({"replication_key": "number", "key_properties": ["id"]}, "there is no column number. Name some of id, clinic"),
    ],
)
def test_a_key_that_a_query_cannot_go_by_is_an_error(site: Site, options: Json, words: str) -> None:
    done = run(site.tap(queries=[{**_ALL, **options}]))

    assert (done.exit_code, words in done.stderr) == (1, True), done.stderr


def test_a_large_result_is_read_whole(site: Site) -> None:
    """Twenty-four megabytes, while nobody takes the first rows: STATE, which has the session, comes before them."""
    text = "0123456789" * 1200
    large = {"name": "large", "sql": "SELECT id, REPEAT('0123456789', 1200) AS text FROM `demo.visits.visits`"}

    with started(site.tap(queries=[large])) as process:
        lines = [process.stdout.readline() for _ in range(3)]
        done = process.end(b"".join([*lines, process.stdout.read()]))

    assert [line[:15] for line in lines] == [b'{"type":"SCHEMA', b'{"type":"STATE"', b'{"type":"RECORD']
    assert sorted(record["id"] for record in done.records("large")) == list(range(2000))
    assert {record["text"] for record in done.records("large")} == {text}


def test_a_database_holds_the_result_of_a_query(site: Site, postgres: Postgres) -> None:
    """Also after the second run, with other rows: the old ones are gone."""
    url = postgres.url.replace("postgresql://", "postgresql+psycopg://")
    config = {"sqlalchemy_url": url, "default_target_schema": "public", "hard_delete": True}
    sink = target("meltanolabs-target-postgres", site.files, config)

    first = pipe(site.tap(queries=[_COUNTED]), sink)
    site.release("demo/visits/v1.1/visits", VISITS.slice(0, 500))
    second = pipe(site.tap(queries=[_COUNTED], state=first.target.state), sink)

    assert [first.tap.exit_code, first.target.exit_code, second.tap.exit_code, second.target.exit_code] == [0] * 4
    found = postgres.query("SELECT clinic, visits FROM counted")
    assert sorted(found) == sorted(_counts(VISITS.slice(0, 500)))


def _counts(table: pa.Table) -> list[tuple[Any, ...]]:
    counted = table.group_by("clinic").aggregate([([], "count_all")])
    return list(zip(counted["clinic"].to_pylist(), counted["count_all"].to_pylist(), strict=True))


def _deselect(stream: Json, *breadcrumbs: list[str]) -> None:
    for entry in stream["metadata"]:
        if entry["breadcrumb"] in breadcrumbs:
            entry["metadata"]["selected"] = False


def _catalog(site: Site) -> Json:
    catalog = {"streams": list(site.discover(queries=[_ALL]).values())}
    site.emulator.forget_requests()
    return catalog


def _interrupted(site: Site) -> Any:
    """Stop the reading of a result by SIGTERM when each of its read streams has sent 300 rows."""
    site.emulator.faults.add(Fault(kind="stall", path="/readStreams/*", nth="every", at_row=300))
    done = run_stopped(site.tap(queries=[_ALL]), Stop(signal.SIGTERM, after_lines=1 + 4 * 300))
    site.emulator.faults.clear()
    site.emulator.forget_requests()
    assert done.exit_code == 128 + signal.SIGTERM
    return done
