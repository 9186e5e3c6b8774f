"""Read sessions and rows: order, splits, offsets, formats (redivis-api §4.5 to §4.7, §8.1)."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from redivis_emulator import Readings, Settings
from tests.emulator.conftest import NUMBERS, Client, read_arrow, read_csv, write

FORMATS = ("arrow", "csv", "jsonl")
BIG = pa.table({"id": pa.array(range(120_000), pa.int64()), "name": [f"name {n}" for n in range(120_000)]})


def ids(content: bytes, form: str) -> list[int]:
    """Return the ids in a body."""
    if form in {"arrow", "csv"}:
        table = read_arrow(content) if form == "arrow" else read_csv(content, NUMBERS.schema)
        return [int(n) for n in table["id"].to_pylist()]
    return [json.loads(line)["id"] for line in content.splitlines()]


def all_ids(client: Client, session: dict[str, Any], form: str) -> list[list[int]]:
    """Return the ids of each stream of a session."""
    return [ids(client.stream(session, number).content, form) for number in range(len(session["streams"]))]


def in_order(client: Client, table: str, form: str, body: str) -> dict[str, Any]:
    """Open sessions of a small table until one has the rows in the order of a body, which it must have then."""
    lines = sorted(body.splitlines())
    for _ in range(1000):
        session = client.session(table, format=form)
        found = client.stream(session).text
        assert sorted(found.splitlines()) == lines
        if found == body:
            return session
    pytest.fail(f"never came as {body!r}")


@pytest.fixture(name="big")
def make_big(folder: Path, serve: Callable[..., Client]) -> Client:
    """Return a client of a table with more rows than are shuffled one by one."""
    write(folder, "acme/numbers/big.parquet", BIG)
    return serve()


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("table", ["numbers", "big"])
def test_each_row_comes_once(big: Client, table: str, form: str) -> None:
    """The streams of a session hold every row once, and the session says how many (redivis-api §4.6)."""
    session = big.session(f"acme.numbers.{table}", format=form, requestedStreamCount=4)
    streams = all_ids(big, session, form)
    assert [len(stream) for stream in streams] == [stream["estimatedRows"] for stream in session["streams"]]
    assert sorted(chain.from_iterable(streams)) == list(range(session["numRows"]))
    assert len(streams) == 4
    assert session["numRows"] == (BIG if table == "big" else NUMBERS).num_rows


@pytest.mark.parametrize("table", ["numbers", "big"])
def test_another_session_has_another_order(big: Client, table: str) -> None:
    """Rows keep their order within a session, come in another one in the next, and never as in the file (§8.1.10)."""
    sessions = [big.session(f"acme.numbers.{table}", format="jsonl", requestedStreamCount=2) for _ in range(4)]
    read = [all_ids(big, session, "jsonl") for session in sessions]
    orders = {tuple(chain.from_iterable(streams)) for streams in read}
    assert all_ids(big, sessions[0], "jsonl") == read[0]
    assert len(orders) > 1
    assert len({len(streams[0]) for streams in read}) > 1
    assert tuple(range(sessions[0]["numRows"])) not in orders


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("offset", [0, 1, 1234, 4999, 5000])
def test_a_stream_resumes_at_a_row(client: Client, form: str, offset: int) -> None:
    """The answer is whole in itself and begins exactly at the offset; at the end it has no rows (§8.1.4, §8.1.5)."""
    session = client.session(format=form)
    whole = ids(client.stream(session).content, form)
    assert ids(client.stream(session, offset=offset, eosSentinel="true").content, form) == whole[offset:]


@pytest.mark.parametrize("offset", [1, 5000, 10**18])
def test_an_offset_beyond_what_was_delivered_is_refused(client: Client, offset: int) -> None:
    """redivis-api §8.1.3: a stream that was never read resumes only at 0."""
    response = client.stream(client.session(), offset=offset)
    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")


@pytest.mark.parametrize("offset", ["-1", "x", "1.5"])
def test_an_offset_is_a_whole_number(client: Client, offset: str) -> None:
    assert client.stream(client.session(), offset=offset).status_code == 400


def test_the_sentinel_comes_only_if_asked_for(client: Client) -> None:
    """A zero-row batch ends the stream then, and no other batch is empty (redivis-api §8.1.6)."""
    session = client.session()
    answers = (client.stream(session), client.stream(session, eosSentinel="true"))
    plain, marked = ([batch.num_rows for batch in pa.ipc.open_stream(answer.content)] for answer in answers)
    assert 0 not in plain
    assert marked == [*plain, 0]


def test_selected_variables(client: Client) -> None:
    """Any case, order as given, names as the table spells them (redivis-api §4.6, §8.1.13)."""
    session = client.session(selectedVariables=["NAME", "id", "Name"])
    assert read_arrow(client.stream(session).content).column_names == ["name", "id"]
    assert client.get("/tables/acme.numbers.numbers/rows", selectedVariables="ID", format="csv").text[:2] == "id"


@pytest.mark.parametrize(
    "body",
    [
        {"selectedVariables": ["nope"]},
        {"selectedVariables": "id"},
        {"format": "xml"},
        {"maxResults": "many"},
        {"requestedStreamCount": -1},
    ],
)
def test_senseless_sessions_are_refused(client: Client, body: dict[str, Any]) -> None:
    response = client.send("POST", "/tables/acme.numbers.numbers/readSessions", json=body)
    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")


@pytest.mark.parametrize("limit", [10, "10", 5000, 9999])
def test_max_results(client: Client, limit: int | str) -> None:
    """A number or a text, over all streams (redivis-api §4.6)."""
    session = client.session(maxResults=limit, format="csv", requestedStreamCount=3)
    rows = list(chain.from_iterable(all_ids(client, session, "csv")))
    assert session["numRows"] == len(rows) == len(set(rows)) == min(int(limit), 5000)


def test_small_tables_have_fewer_streams(folder: Path, client: Client) -> None:
    """The count asked for is a maximum, and a table without rows has no stream (redivis-api §8.1.11)."""
    write(folder, "acme/small/t.csv", "a\n1\n2\n")
    write(folder, "acme/small/none.csv", "a\n")
    client.emulator.reload()
    counts = [
        len(client.session(table, requestedStreamCount=8)["streams"])
        for table in ("acme.numbers.numbers", "acme.small.t", "acme.small.none")
    ]
    assert counts == [5, 1, 0]


def test_a_forced_number_of_streams(serve: Callable[..., Client]) -> None:
    client = serve(settings=Settings(streams=7))
    session = client.session(format="jsonl")
    assert len(session["streams"]) == 7
    assert sorted(chain.from_iterable(all_ids(client, session, "jsonl"))) == list(range(5000))


def test_sessions_expire(client: Client) -> None:
    """After six hours on the emulator's clock, not before (redivis-api §8.1.9)."""
    session = client.session()
    client.emulator.pass_time(6 * 3600 - 60)
    assert client.stream(session).status_code == 200
    client.emulator.pass_time(60)
    assert client.stream(session).status_code == 404


def test_a_session_without_body(client: Client) -> None:
    """All fields are optional; the format is Arrow (redivis-api §4.6)."""
    response = client.send("POST", "/tables/acme.numbers.numbers/readSessions")
    assert read_arrow(client.stream(response.json()).content).num_rows == 5000


@pytest.mark.parametrize("form", FORMATS)
def test_rows_come_whole(client: Client, form: str) -> None:
    """All rows, no sentinel; a limit cuts them (redivis-api §4.5)."""
    path = "/tables/acme.numbers.numbers/rows"
    assert sorted(ids(client.get(path, format=form).content, form)) == list(range(5000))
    assert len(ids(client.get(path, format=form, maxResults=12).content, form)) == 12


def test_uploads_of_a_draft(folder: Path, client: Client) -> None:
    """A stream for each upload, with its own columns; rows have all columns (redivis-api §8.1.11, §8.1.12).

    The files may go once they have been read.
    """
    write(folder, "acme/draft/v1.0/t.csv", "id,name\n1,x\n")
    write(folder, "acme/draft/next/t/one.csv", "name,id\ny,2\n")
    write(folder, "acme/draft/next/t/two.csv", "id,extra\n3,2012-01-01\n")
    write(folder, "acme/draft/dataset.yml", "tables: {t: {upload_merge_strategy: append}}")
    client.emulator.reload()
    (folder / "acme/draft/next/t/two.csv").unlink()
    session = client.session("acme.draft:next.t", format="jsonl")
    assert [client.stream(session, n).text for n in range(3)] == [
        '{"id":1,"name":"x"}\n',
        '{"name":"y","id":2}\n',
        '{"id":3,"extra":"2012-01-01"}\n',
    ]
    rows = sorted(client.get("/tables/acme.draft:next.t/rows").text.splitlines())
    assert rows[1:] == ['{"id":2,"name":"y","extra":null}', '{"id":3,"name":null,"extra":"2012-01-01"}']
    listed = client.json("/tables/acme.draft:next.t/uploads")["results"]
    assert [upload["name"] for upload in listed] == ["t.csv", "one.csv", "two.csv"]
    assert client.json(listed[2]["uri"])["type"] == "delimited"
    assert client.get(f"{listed[2]['uri']}/rows").text == '{"id":3,"extra":"2012-01-01"}\n'
    names = [v["name"] for v in client.json("/tables/acme.draft:next.t/uploads/two_csv/variables")["results"]]
    assert names == ["id", "extra"]


@pytest.mark.parametrize("form", FORMATS)
def test_rows_that_are_repeated(folder: Path, client: Client, form: str) -> None:
    """A large table from a small file: each row comes so many times, and a stream resumes as always."""
    write(folder, "acme/numbers/big.parquet", BIG)
    write(folder, "acme/numbers/dataset.yml", "tables: {numbers: {repeat: 3}, big: {repeat: 2}}")
    client.emulator.reload()

    for name, rows, times in (("numbers", 5000, 3), ("big", 120_000, 2)):
        session = client.session(f"acme.numbers.{name}", format=form, requestedStreamCount=4)
        streams = all_ids(client, session, form)
        again = ids(client.stream(session, offset=700).content, form)
        assert client.json(f"/tables/acme.numbers.{name}")["numRows"] == session["numRows"] == rows * times
        assert sorted(chain.from_iterable(streams)) == sorted([*range(rows)] * times)
        assert again == streams[0][700:]


@pytest.mark.parametrize(
    ("readings", "bodies"),
    [
        (Readings(), ['id,name\r\n1,"a"\r\n2,""\r\n3,\r\n', "id,name\r\n3,\r\n"]),
        (Readings(csv_header="first"), ['id,name\r\n1,"a"\r\n2,""\r\n3,\r\n', "3,\r\n"]),
        (Readings(csv_header="none"), ['1,"a"\r\n2,""\r\n3,\r\n', "3,\r\n"]),
        (Readings(csv_quotes="needed"), ['id,name\r\n1,a\r\n2,""\r\n3,\r\n', "id,name\r\n3,\r\n"]),
        (Readings(csv_quotes="all"), ['"id","name"\r\n"1","a"\r\n"2",""\r\n"3",\r\n', '"id","name"\r\n"3",\r\n']),
        (Readings(csv_line_ends="lf"), ['id,name\n1,"a"\n2,""\n3,\n', "id,name\n3,\n"]),
    ],
)
def test_csv_in_every_spelling(
    serve: Callable[..., Client], folder: Path, readings: Readings, bodies: list[str]
) -> None:
    """Which one Redivis has is open (redivis-api §11.4, §11.5): the whole body of a stream, and the rest from row 2."""
    write(folder, "acme/few/few.csv", 'id,name\n1,a\n2,""\n3,\n')
    client = serve(readings=readings)
    session = in_order(client, "acme.few.few", "csv", bodies[0])

    assert client.stream(session, offset=2).text == bodies[1]


@pytest.mark.parametrize(
    ("spelling", "body"), [("number", '{"id":1}\n{"id":null}\n'), ("string", '{"id":"1"}\n{"id":null}\n')]
)
def test_integers_in_json_lines(serve: Callable[..., Client], folder: Path, spelling: Any, body: str) -> None:
    """Older documentation has them in quotes (redivis-api §11.7)."""
    write(folder, "acme/few/few.jsonl", '{"id":1}\n{"id":null}\n')

    in_order(serve(readings=Readings(jsonl_integers=spelling)), "acme.few.few", "jsonl", body)


@pytest.mark.parametrize("status", [400, 403, 404, 410])
def test_streams_that_are_gone_have_any_status(serve: Callable[..., Client], status: Any) -> None:
    """What Redivis answers is not documented (redivis-api §11.2)."""
    client = serve(readings=Readings(gone_status=status))
    session = client.session()
    client.emulator.pass_time(6 * 3600)

    answer = client.stream(session)

    assert (answer.status_code, answer.json()["status"]) == (status, status)


def test_samples(folder: Path, client: Client) -> None:
    """The sample of a dataset has part of the rows of each table (redivis-api §11.17)."""
    write(folder, "acme/numbers/dataset.yml", "sample_ratio: 0.1")
    client.emulator.reload()
    table = client.json("/tables/acme.numbers:sample.numbers")
    assert (table["isSample"], table["numRows"]) == (True, 500)
    assert client.session("acme.numbers:sample:v1_0.numbers")["numRows"] == 500
