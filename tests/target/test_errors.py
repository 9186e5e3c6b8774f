"""What goes wrong is one line, ends with exit code 1, and leaves nothing half visible."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from tests.support.pipes import Json, Output, Program, run, started
from tests.target.conftest import TARGET, Warehouse, activate, arrow_file, record, schema, state

_IDS = {"id": {"type": ["integer", "null"]}}


def _error(done: Output) -> str:
    assert done.exit_code == 1, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    [error] = [line for line in done.stderr.splitlines() if "| ERROR " in line]
    assert done.stderr.splitlines()[-1] == error
    return error


_PLACES = {
    "postgresql://user:hunter2@127.0.0.1:1/x": "Connection refused",
    "postgresql://user:hunter2@127.0.0.1:port/x": "cannot connect to the database",
    "postgresql://user:hunter2@x/y@127.0.0.1:1/x": "write / ? # and @ of the user and the password as",
    "duckdb:////no/such/folder/x.duckdb": "cannot connect to the database: there is no folder /no/such/folder",
    "sqlite:////no/such/folder/x.db": "cannot connect to the database: there is no folder /no/such/folder",
    "duckdb:///": "uri: it names no file",
    "duckdb://x.duckdb": "uri: it names no file",
    "sqlite:///:memory:": "uri: it names no file",
    "mysql://user:hunter2@host/x": "uri: it begins with none of postgresql, duckdb, sqlite",
}


@pytest.mark.parametrize("uri", _PLACES)
def test_no_database(in_postgres: Warehouse, uri: str) -> None:
    nowhere = replace(in_postgres, uri=uri, secret="hunter2")  # noqa: S106 - made up

    assert _PLACES[uri] in _error(nowhere.load([schema(_IDS), record(id=1)]))


def test_a_wrong_password(in_postgres: Warehouse) -> None:
    assert in_postgres.secret
    wrong = replace(in_postgres, uri=in_postgres.uri.replace(in_postgres.secret, "hunter2"), secret="hunter2")  # noqa: S106

    assert "password authentication failed" in _error(wrong.load([schema(_IDS), record(id=1)]))


def test_no_rights(in_postgres: Warehouse) -> None:
    in_postgres.execute("CREATE ROLE reader_of_nothing LOGIN PASSWORD 'hunter2'")
    try:
        host = in_postgres.uri.partition("@")[2]
        poor = replace(in_postgres, uri=f"postgresql://reader_of_nothing:hunter2@{host}", secret="hunter2")  # noqa: S106
        assert "permission denied for schema public" in _error(poor.load([schema(_IDS), record(id=1)]))
    finally:
        in_postgres.execute("DROP ROLE reader_of_nothing")


def test_no_driver(in_postgres: Warehouse) -> None:
    assert "the driver no_such_driver is not installed" in _error(
        in_postgres.load([schema(_IDS), record(id=1)], driver="no_such_driver")
    )


_BAD: dict[str, tuple[list[Json], str]] = {
    "a text for an integer": ([schema(_IDS), record(id=1), record(id="x")], "visits: row 2: property 'id' is no int64"),
    "too large an integer": ([schema(_IDS), record(id=2**63)], "visits: row 1: property 'id' is no int64"),
    "a boolean for an integer": ([schema(_IDS), record(id=True)], "visits: row 1: property 'id' is no int64"),
    "no day": (
        [schema({"d": {"type": "string", "format": "date"}}), record(d="2024-02-30")],
        "visits: row 1: property 'd' is no date32[day]",
    ),
    "no key": ([schema(_IDS, "id"), record(name="x")], "visits: row 1 has no 'id', which is a key property"),
    "no schema": ([record(id=1)], "A record for stream 'visits' was encountered before a corresponding schema"),
    "no schema before an activation": ([activate(1, "other")], "was encountered before a corresponding schema"),
    "no stream": ([{"type": "RECORD", "record": {}}], "missing required stream"),
    "no type": ([{"stream": "x"}], "missing required type"),
    "another message": ([{"type": "HELLO"}], "line 4: Unknown message type 'HELLO'"),
    "no message": ([[1]], "line 4 of the input is no Singer message"),  # type: ignore[list-item]
    "no file": (
        [
            schema(_IDS),
            {"type": "BATCH", "stream": "visits", "encoding": {"format": "arrow"}, "manifest": ["file:///no/file"]},
        ],
        "visits: file:///no/file: the file cannot be read",
    ),
    "an encoding that nobody knows": (
        [
            schema(_IDS),
            {"type": "BATCH", "stream": "visits", "encoding": {"format": "csv"}, "manifest": ["file:///no/file"]},
        ],
        "the encoding 'csv' is none of arrow, parquet, jsonl",
    ),
    "a storage that nobody knows": (
        [
            schema(_IDS),
            {"type": "BATCH", "stream": "visits", "encoding": {"format": "arrow"}, "manifest": ["no-such://file"]},
        ],
        "visits: no-such://file: the file cannot be read",
    ),
    "a key that no property is": (
        [schema(_IDS, "other"), record(id=1, other=2)],
        "visits: the key property 'other' is not in SCHEMA",
    ),
}


@pytest.mark.parametrize("case", _BAD)
def test_bad_input(in_postgres: Warehouse, case: str) -> None:
    messages, expected = _BAD[case]
    good = [schema(_IDS, "id", stream="good"), record(stream="good", id=1), state({"good": 1})]

    done = in_postgres.load([*good, *messages, state({"bad": 1})])

    assert expected in _error(done)
    assert b"bad" not in done.stdout


@pytest.mark.parametrize("kind", ["duckdb", "sqlite"])
def test_a_file_that_is_no_database(tmp_path: Path, kind: str) -> None:
    """It is not tried again: no connection was lost."""
    (tmp_path / "data").write_text("no database\n" * 1000)

    done = Warehouse(f"{kind}:///{tmp_path}/data", tmp_path).load([schema(_IDS), record(id=1)])

    assert "cannot connect to the database: " in _error(done)
    assert "next try" not in done.stderr


def test_a_column_of_a_type_that_the_driver_does_not_know(in_postgres: Warehouse) -> None:
    in_postgres.execute("CREATE TABLE visits (id numeric)")

    assert "drop the table, or let a full load replace it" in _error(in_postgres.load([schema(_IDS), record(id=1)]))


@pytest.mark.parametrize(
    ("config", "words"), [("{", "config: it is no JSON: "), (None, "was not found")], ids=["no JSON", "no file"]
)
def test_a_config_that_is_none(tmp_path: Path, config: str | None, words: str) -> None:
    path = tmp_path / "config.json"
    if config is not None:
        path.write_text(config)

    error = _error(run(Program((TARGET, "--config", str(path)), {})))

    assert words in error
    assert "please report" not in error


def test_a_setting_that_there_is_not_is_told(warehouse: Warehouse) -> None:
    done = warehouse.load([schema(_IDS), record(id=1)], hard_deletes=True, stream_maps={})

    told = [line for line in done.stderr.splitlines() if "there is no setting" in line]
    assert len(told) == 1
    assert told[0].endswith("'hard_deletes'")


def test_text_that_postgresql_cannot_hold(in_postgres: Warehouse) -> None:
    """The rows before it in the same file are not there either."""
    bad = pa.StringArray.from_buffers(1, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff"))
    table = pa.table({"v": pa.chunked_array([pa.array(["a"] * 500), bad])})
    message = arrow_file(in_postgres.folder, "a", table, offset=0)

    done = in_postgres.load([schema({}), message, state({"bad": 1})])

    assert "visits: " in _error(done)
    assert "invalid byte sequence" in _error(done)
    assert done.stdout == b""
    assert in_postgres.tables() == set()


def _damaged(content: bytes) -> bytes:
    return content[: len(content) // 2]


@pytest.mark.parametrize("damage", [_damaged, lambda _: b""], ids=["half", "empty"])
def test_a_damaged_file(in_postgres: Warehouse, damage: Callable[[bytes], bytes]) -> None:
    message = arrow_file(in_postgres.folder, "a", pa.table({"id": range(300)}), offset=0)
    path = in_postgres.folder / "a"
    path.write_bytes(damage(path.read_bytes()))

    assert "the file cannot be read" in _error(in_postgres.load([schema(_IDS), message, activate(1)]))
    assert path.exists()


def test_try_the_connection(warehouse: Warehouse) -> None:
    done = run(warehouse.program("--test"))

    assert (done.exit_code, done.stdout) == (0, b"The connection works.\n")


def test_a_view_on_a_column_that_goes_is_an_error_and_the_old_rows_stay(in_postgres: Warehouse) -> None:
    in_postgres.loaded([schema({**_IDS, "x": {"type": "integer"}}), record(1, id=1, x=2), activate(1)])
    in_postgres.execute("CREATE VIEW v AS SELECT x FROM visits")

    done = in_postgres.load([schema(_IDS), record(2, id=5), activate(2)])

    assert "drop what depends on the column" in _error(done)
    assert in_postgres.rows("visits", "id", "x") == [(1, 2)]


def test_a_lost_connection_is_tried_again(in_postgres: Warehouse) -> None:
    """A trigger ends the connection in the middle of the first block's transaction."""
    in_postgres.loaded([schema(_IDS, "id"), record(id=0)])
    in_postgres.execute("CREATE SEQUENCE tries")
    in_postgres.execute(
        "CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF nextval('tries') = 1 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF; RETURN NULL; END $$"
    )
    in_postgres.execute("CREATE TRIGGER cut AFTER INSERT ON visits FOR EACH STATEMENT EXECUTE FUNCTION cut()")

    done = in_postgres.load([schema(_IDS, "id"), record(id=1), state({"a": 1})])

    assert done.exit_code == 0, done.stderr
    assert "the connection to the database was lost, next try in 1 s" in done.stderr
    assert in_postgres.rows("visits") == [(0,), (1,)]
    assert done.messages == [{"a": 1}]


_LIMITED = (
    "import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000,) * 2);"
    " os.execv(sys.argv[1], sys.argv[1:])"
)


@pytest.mark.parametrize(("kind", "count"), [("duckdb", 200_000), ("sqlite", 60_000)])
def test_a_full_disk(tmp_path: Path, kind: str, count: int) -> None:
    """The old rows stay, the file stays, and a run that has room goes on."""
    warehouse = Warehouse(f"{kind}:///{tmp_path}/data", tmp_path)
    warehouse.loaded([schema(_IDS), record(1, id=7), activate(1)])
    rows = pa.table({"id": range(count), "text": [f"{number * 7919:030}" for number in range(count)]})
    messages = [schema(_IDS), arrow_file(tmp_path, "a", rows, table_version=2, offset=0), activate(2), state({"a": 1})]
    lines = b"".join(json.dumps(each).encode() + b"\n" for each in messages)
    program = warehouse.program()

    with started(replace(program, argv=(sys.executable, "-c", _LIMITED, *program.argv)), subprocess.PIPE) as process:
        process.stdin.write(lines)
        process.stdin.close()
        done = process.end(process.stdout.read())

    assert "visits: " in _error(done)
    assert done.stdout == b""
    assert warehouse.rows("visits") == [(7,)]
    assert warehouse.load(messages).exit_code == 0
    assert len(warehouse.rows("visits")) == count


def test_a_full_disk_of_the_server(in_postgres: Warehouse) -> None:
    """A trigger says so when the rows are there, and their offset is noted."""
    in_postgres.loaded([schema(_IDS), record(1, id=7), activate(1)])
    in_postgres.execute(
        "CREATE FUNCTION fill() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$"
    )
    in_postgres.execute("CREATE TRIGGER fill BEFORE INSERT ON _target_adbc_ledger EXECUTE FUNCTION fill()")

    file = arrow_file(in_postgres.folder, "a", pa.table({"id": range(300)}), table_version=2, offset=0)
    done = in_postgres.load([schema(_IDS), file, activate(2), state({"a": 1})])

    assert "make room on the database's disk, then run again" in _error(done)
    assert done.stdout == b""
    assert in_postgres.tables() == {"visits"}
    assert in_postgres.rows("visits") == [(7,)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_at_once_while_the_driver_waits(in_postgres: Warehouse, number: signal.Signals) -> None:
    in_postgres.loaded([schema(_IDS, "id"), record(id=0)])
    in_postgres.execute(
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(600); RETURN NULL; END $$"
    )
    in_postgres.execute("CREATE TRIGGER wait BEFORE DELETE ON visits FOR EACH STATEMENT EXECUTE FUNCTION wait()")
    messages = [schema(_IDS, "id"), record(id=1), state({"a": 1})]

    with started(in_postgres.program(), subprocess.PIPE) as process:
        process.stdin.write(b"".join(json.dumps(each).encode() + b"\n" for each in messages))
        process.stdin.close()
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
        while in_postgres.query(waiting) == [(0,)]:
            assert process.popen.poll() is None
        process.popen.send_signal(number)
        done = process.end(process.stdout.read())

    assert (done.exit_code, done.stdout) == (-number, b"")
    in_postgres.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
