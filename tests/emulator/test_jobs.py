"""Queries, exports and raw files (redivis-api §4.8 to §4.10)."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from redivis_emulator import Fault, sql
from tests.emulator.conftest import NUMBERS, Client, read_arrow, write


@pytest.fixture(name="library")
def make_library(folder: Path, client: Client) -> Client:
    """Return a client of several versions, retyped variables and geography."""
    write(folder, "acme/visits/v1.0/visits.csv", "id,seen\n1,2012-01-01 10:00:00\n2,2012-01-02 10:00:00\n")
    write(folder, "acme/visits/v1.1/visits.csv", "id,seen\n3,2012-01-03 10:00:00\n")
    write(folder, "acme/visits/v1.1/places.csv", "place,n\nPOINT (1 2),7\n")
    write(
        folder,
        "acme/visits/dataset.yml",
        "tables: {places: {variables: {place: {type: geography}, n: {type: integer, stored: string}}}}",
    )
    client.emulator.reload()
    return client


def result(client: Client, text: str, **body: Any) -> list[str]:
    """Run a query that must succeed; return its rows as lines."""
    query = client.query(text, **body)
    assert query["status"] == "completed", query["errorMessage"]
    return client.get(f"{query['uri']}/rows").text.splitlines()


@pytest.mark.parametrize(
    "reference",
    [
        "acme.visits.visits",
        "`acme.visits.visits`",
        "`acme.visits:current.visits`",
        "`acme.visits:v1.1.visits`",
        "`acme.visits:v1_1.visits`",
        "acme.`visits:v1_1`.visits",
    ],
)
def test_references_in_queries(library: Client, reference: str) -> None:
    """With and without back-ticks, with any spelling of the version (redivis-api §3)."""
    assert result(library, f"SELECT id FROM {reference}") == ['{"id":3}']  # noqa: S608 - no stranger's text


def test_names_may_be_empty_beside_reference_ids(library: Client) -> None:
    """Clients and the service write both parts of a reference as `:id` (redivis-api §13)."""
    table = library.json("/tables/acme.visits.visits")
    dataset = table["container"]["referenceId"]
    short = f"acme.:{dataset}.:{table['referenceId']}"
    for text in (f"`{short}`", f"`acme`.`:{dataset}`.`:{table['referenceId']}`"):
        assert result(library, f"SELECT id FROM {text} AS t WHERE t.id = 3") == ['{"id":3}']  # noqa: S608
        assert result(library, f"SELECT MAX(id) FROM {text}") == ['{"f0_":3}']  # noqa: S608


def test_bare_names_are_found_where_the_query_says(folder: Path, library: Client) -> None:
    """In the default dataset; in the default workflow also through its data sources."""
    write(folder, "acme/flow/out.csv", "b\n1\n")
    write(folder, "acme/flow/workflow.yml", "data_sources: [acme.visits]")
    library.emulator.reload()
    assert result(library, "SELECT id FROM visits", defaultDataset="acme.visits:v1_1") == ['{"id":3}']
    both = "SELECT id, b FROM visits, out"
    assert result(library, both, defaultWorkflow="acme.flow") == ['{"id":3,"b":1}']
    assert library.query("SELECT id FROM nothing", defaultWorkflow="acme.flow")["status"] == "failed"


def test_older_versions_and_reference_ids(library: Client) -> None:
    reference = library.json("/tables/acme.visits:v1.0.visits")["qualifiedReference"]
    assert result(library, f"SELECT COUNT(*) FROM `{reference}`") == ['{"f0_":2}']  # noqa: S608


def test_default_dataset(library: Client) -> None:
    """A bare name is one of its tables; a fully qualified one is not touched (redivis-api §3.1)."""
    text = "SELECT v.id, p.n FROM visits v CROSS JOIN `acme.visits.places` p"
    assert result(library, text, defaultDataset="acme.visits:v1_1") == ['{"id":3,"n":7}']


def test_rows_of_a_draft_tell_their_upload(folder: Path, library: Client) -> None:
    """In SQL only: as a column that `SELECT *` has, so that clients can, and must, leave it out by EXCEPT."""
    write(folder, "acme/visits/next/visits/may.csv", "id,seen\n5,2012-05-01 10:00:00\n")
    write(folder, "acme/visits/next/visits/june.csv", "id\n6\n")
    library.emulator.reload()
    draft = "`acme.visits:next.visits`"
    assert sorted(result(library, f"SELECT * FROM {draft}")) == [  # noqa: S608
        '{"id":5,"seen":"2012-05-01 10:00:00","_upload_name":"may.csv"}',
        '{"id":6,"seen":null,"_upload_name":"june.csv"}',
    ]
    assert result(library, f"SELECT * EXCEPT(_upload_name) FROM {draft} WHERE id = 6") == ['{"id":6,"seen":null}']  # noqa: S608
    assert result(library, f"SELECT id FROM {draft} WHERE _upload_name = 'may.csv'") == ['{"id":5}']  # noqa: S608
    assert library.query("SELECT * EXCEPT(_upload_name) FROM `acme.visits.visits`")["status"] == "failed"
    names = [each["name"] for each in library.json("/tables/acme.visits:next.visits/variables")["results"]]
    assert names == ["id", "seen"]


def test_googlesql(library: Client) -> None:
    """What incremental loads ask, and functions that DuckDB spells in another way."""
    text = """
        WITH late AS (SELECT * FROM `acme.visits:v1.0.visits` WHERE seen >= DATETIME '2012-01-02 00:00:00')
        SELECT id, SAFE_CAST('x' AS INT64) AS nothing, FORMAT_DATE('%Y', DATE '2012-01-01') AS year FROM late
    """
    assert result(library, text) == ['{"id":2,"nothing":null,"year":"2012"}']


def test_result_types(library: Client) -> None:
    """They are Redivis' own: sums stay integers, NUMERIC becomes float, retyped and geography keep their types."""
    query = library.query(
        "SELECT SUM(n) AS total, MAX(n) AS n, ANY_VALUE(place) AS place, NUMERIC '1.5' AS amount, "
        "TIMESTAMP '2012-01-01 00:00:00+01' AS at, [1, 2] AS list, TRUE AS yes FROM `acme.visits.places`"
    )
    kinds = {column["name"]: column["type"] for column in query["outputSchema"]}
    assert kinds == {
        "total": "integer",
        "n": "integer",
        "place": "geography",
        "amount": "float",
        "at": "dateTime",
        "list": "string",
        "yes": "boolean",
    }
    variables = library.json(f"{query['uri']}/variables")["results"]
    assert {v["name"]: v["type"] for v in variables} == kinds
    assert query["outputNumRows"] == 1
    assert query["outputNumBytes"] > 0


def test_query_sessions(library: Client) -> None:
    """The result is read like a table."""
    query = library.query("SELECT * FROM acme.numbers.numbers WHERE id < 3000")
    session = library.send("POST", f"{query['uri']}/readSessions", json={"requestedStreamCount": 2}).json()
    tables = [read_arrow(library.stream(session, n).content) for n in range(2)]
    assert pa.concat_tables(tables).sort_by("id").equals(NUMBERS.slice(0, 3000))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SELECT FROM", "Expected"),
        ("SELECT nope FROM `acme.visits.visits`", 'column "nope" not found'),
        ("SELECT * FROM `acme.visits.nothing`", "table acme.visits.nothing could not be found"),
        ("SELECT * FROM nothing", "not a valid reference"),
        ("DELETE FROM `acme.visits.visits` WHERE TRUE", "Only SELECT"),
        ("SELECT 1 AS a, 2 AS A", "Duplicate column names"),
        ("SELECT * FROM read_csv('/etc/hosts')", "Permission"),
    ],
)
def test_failed_queries(library: Client, text: str, message: str) -> None:
    """The job fails with one line that says why, and has no rows."""
    query = library.query(text)
    assert query["status"] == "failed"
    assert message in query["errorMessage"]
    assert "\n" not in query["errorMessage"]
    assert library.get(f"{query['uri']}/rows").status_code == 400


@pytest.mark.parametrize("body", [{}, {"query": 1}, {"query": "SELECT 1", "timeoutMs": 60_001}])
def test_senseless_queries_are_refused(client: Client, body: dict[str, Any]) -> None:
    assert client.send("POST", "/queries", json=body).status_code == 400


def test_running_queries(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A query that takes longer than `timeoutMs` is answered while it runs; more than five wait (redivis-api §4.9)."""
    go_on = threading.Event()
    run = sql.run
    monkeypatch.setattr(sql, "run", lambda *arguments: go_on.wait(60) and run(*arguments))
    begun = [client.query("SELECT 1 AS a", timeoutMs=10) for _ in range(6)]
    assert {query["status"] for query in begun} <= {"queued", "running"}
    while sorted(client.json(query["uri"])["status"] for query in begun) != ["queued"] + ["running"] * 5:
        assert not go_on.wait(0.01)
    assert begun[0]["outputSchema"] is None
    go_on.set()
    done = [result_of(client, query) for query in begun]
    assert {query["status"] for query in done} == {"completed"}


def result_of(client: Client, query: dict[str, Any]) -> dict[str, Any]:
    """Ask for a query until it is over."""
    while (answer := client.json(query["uri"]))["status"] in {"queued", "running"}:
        pass
    return answer


def test_states_can_be_faked(client: Client) -> None:
    """A fault shows a client the states that take long, or that have no other cause."""
    uri = client.query("SELECT 1 AS a")["uri"]
    client.emulator.faults.add(Fault(kind="json", path="/queries/*", set={"status": "cancelled"}))
    assert [client.json(uri)["status"] for _ in range(2)] == ["cancelled", "completed"]


def test_jobs_are_for_their_user(client: Client) -> None:
    uri = client.query("SELECT 1 AS a")["uri"]
    assert client.holding(None).get(uri).status_code == 404
    assert client.holding(None).send("POST", "/queries", json={"query": "SELECT 1"}).status_code == 401


@pytest.mark.parametrize("form", ["csv", "ndjson", "parquet"])
def test_exports(client: Client, form: str) -> None:
    """All rows as a file, whole or by range (redivis-api §4.10)."""
    export = client.send("POST", "/tables/acme.numbers.numbers/exports", json={"format": form}).json()
    while (done := client.json(export["uri"]))["status"] == "running":
        pass
    assert (done["status"], done["percentCompleted"], done["fileCount"]) == ("completed", 100, 1)
    content = client.get(f"{export['uri']}/download", filePart=0).content
    assert len(content) == done["size"]
    if form == "parquet":
        assert pq.read_table(io.BytesIO(content)).sort_by("id").equals(NUMBERS)
    else:
        assert content.count(b"\n") == 5000 + (form == "csv")
    part = client.send("GET", f"{export['uri']}/download", headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, content[10:20])
    assert client.get(f"{export['uri']}/download", filePart=1).status_code == 404


def test_unknown_export_formats_are_refused(client: Client) -> None:
    assert client.send("POST", "/tables/acme.numbers.numbers/exports", json={"format": "sav"}).status_code == 400


@pytest.mark.parametrize(
    ("sql_text", "rows"),
    [
        ("SELECT `a.b` FROM `acme.dots.dots` WHERE `a.b` > 1", ['{"a.b":2}']),
        ("SELECT t.`a.b` AS `c.d` FROM `acme.dots.dots` AS t ORDER BY t.`a.b` LIMIT 1", ['{"c.d":1}']),
        ("SELECT dots.`a.b.c` FROM acme.dots.dots GROUP BY dots.`a.b.c`", ['{"a.b.c":"x"}']),
        ("SELECT * EXCEPT (`a.b.c`) FROM `acme.dots:v1.0.dots` ORDER BY `a.b` DESC LIMIT 1", ['{"a.b":2}']),
        ("WITH `w.x` AS (SELECT MAX(`a.b`) AS `m.n` FROM `acme.dots.dots`) SELECT `m.n` FROM `w.x`", ['{"m.n":2}']),
        (
            "SELECT `a.b` FROM `acme.dots.dots` AS s JOIN `acme.dots.dots` AS t USING (`a.b`) WHERE `a.b` = 1",
            ['{"a.b":1}'],
        ),
        ("SELECT 'a.b' AS `x`, '`a.b`' AS `y` FROM `acme.dots.dots` LIMIT 1", ['{"x":"a.b","y":"`a.b`"}']),
    ],
)
def test_names_with_dots(folder: Path, client: Client, sql_text: str, rows: list[str]) -> None:
    """A quoted column is one name; a quoted table is cut at its dots."""
    write(folder, "acme/dots/dots.csv", "a.b,a.b.c\n1,x\n2,x\n")
    client.emulator.reload()
    assert result(client, sql_text) == rows


def test_statistics_of_a_name_with_dots(folder: Path, client: Client) -> None:
    write(folder, "acme/dots/dots.csv", "a.b,a.b.c\n1,x\n2,x\n")
    client.emulator.reload()
    assert client.json("/tables/acme.dots.dots/variables/a.b/statistics")["max"] == 2
