"""Ways into a database: programs and pipes, each timed as a whole, and what they loaded counted."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import adbc_driver_manager as adbc
import adbc_driver_postgresql
import duckdb
import pyarrow as pa

from docs.targets import TARGETS
from docs.targets import Place as TargetPlace
from tests.support.batches import batch_config, files_of
from tests.support.environments import environment
from tests.support.measuring import measured
from tests.support.pipes import Program, pipe, run, started, target
from tests.support.postgres import Postgres
from tests.support.served import Site
from tests.target.conftest import Warehouse

FLIGHTS = "demo.nycflights13.flights"
POSTGRESQL, DUCKDB = "postgresql", "duckdb"
_FILE_ROWS = 50_000
_SCRIPT = Path(__file__).with_name("warehouse_script.py")
_BESIDE = ("redivis", "adbc-driver-postgresql", "adbc-driver-manager", "sqlalchemy")
_SDK, _PIPELINEWISE, _TARGET_DUCKDB = TARGETS[:3]


@dataclass(frozen=True)
class Place:
    """Where runs take place.

    Attributes:
        site: What is read.
        folder: For all that is written.
        server: For databases of PostgreSQL.
        rows: How many rows are loaded.
        table: What they are of.
    """

    site: Site
    folder: Path
    server: Postgres
    rows: int
    table: str = FLIGHTS

    def tap(self, encoding: str = "arrow", **settings: Any) -> Program:  # noqa: ANN401 - JSON
        """Describe the tap, which writes files of this encoding; empty: records."""
        if encoding:
            settings["batch_config"] = batch_config(encoding, self.folder / "lake", batch_size=_FILE_ROWS)
        settings = {"tables": [self.table], "row_key": True, **settings}
        return self.site.tap(max_rows=self.rows, skip_unchanged=False, **settings)

    def new(self, kind: str) -> Warehouse:
        """Make an empty database."""
        folder = self.folder / str(time.monotonic_ns())
        folder.mkdir()
        if kind == DUCKDB:
            return Warehouse(f"duckdb:///{folder}/loaded.duckdb", folder)
        database = self.server.new_database()
        return Warehouse(database.url, folder, database.password)


@dataclass(frozen=True)
class Way:
    """A way into a database.

    Attributes:
        name: For people.
        kind: Of the database.
        seconds: Goes it once.
        is_ours: Whether target-adbc goes it.
        is_slow: Whether once is enough.
        is_part: Whether it is not a whole load, and for comparison only.
    """

    name: str
    kind: str
    seconds: Callable[[Place, str], float]
    is_ours: bool = False
    is_slow: bool = False
    is_part: bool = False


def by_target_adbc(encoding: str, **settings: Any) -> Callable[[Place, str], float]:  # noqa: ANN401 - JSON
    """``tap | target-adbc``, whole processes."""

    def go(place: Place, kind: str) -> float:
        warehouse = place.new(kind)
        return _piped(place, place.tap(encoding, **settings), warehouse.program(), warehouse)

    return go


def _by_other(index: int, encoding: str = "", **settings: Any) -> Callable[[Place, str], float]:  # noqa: ANN401 - JSON
    """``tap | another target``, whole processes."""

    def go(place: Place, kind: str) -> float:
        warehouse = place.new(kind)
        database = replace(place.server, database=warehouse.uri.rpartition("/")[2]) if kind == POSTGRESQL else None
        config = TARGETS[index].config(TargetPlace(warehouse.folder, database or place.server))
        sink = target(TARGETS[index].distribution, warehouse.folder, {**config, **settings})
        return _piped(place, place.tap(encoding), sink, warehouse)

    return go


def _piped(place: Place, source: Program, sink: Program, warehouse: Warehouse) -> float:
    began = time.monotonic()
    done = pipe(source, sink)
    took = time.monotonic() - began
    if done.tap.exit_code or done.target.exit_code:
        raise RuntimeError(done.tap.stderr + done.target.stderr)
    lost = place.rows // 1000 if "target-duckdb" in sink.argv[0] else 0  # it takes first rows of batches for headers
    _count(place, warehouse, place.table.partition(".")[2].replace(".", "__"), lost)
    return took


def _by_client(how: str, table: str = "flights") -> Callable[[Place, str], float]:
    """The official client in a script, whole process."""

    def go(place: Place, kind: str) -> float:
        warehouse = place.new(kind)
        address = warehouse.uri.removeprefix("duckdb:///")
        python = environment("dlt", "postgres,duckdb", _BESIDE).python
        variables = {"REDIVIS_API_ENDPOINT": place.site.emulator.endpoint, "REDIVIS_API_TOKEN": place.site.token or ""}
        argv = (str(python), str(_SCRIPT), how, address, place.table, str(place.rows))
        began = time.monotonic()
        done = run(Program(argv, {**variables, "REDIVIS_TMPDIR": str(warehouse.folder)}))
        took = time.monotonic() - began
        if done.exit_code:
            raise RuntimeError(done.stderr)
        _count(place, warehouse, table)
        return took

    return go


def _count(place: Place, warehouse: Warehouse, table: str, lost: int = 0) -> None:
    [[found]] = warehouse.query(f"SELECT count(*) FROM {table}")  # noqa: S608 - our own
    if not place.rows - lost <= found <= place.rows:
        raise RuntimeError(f"{found} of {place.rows} rows in {table}")


def from_first_file(place: Place, kind: str) -> float:
    """target-adbc from the first file to the last STATE, all files being there."""
    messages = run(place.tap()).stdout.splitlines(keepends=True)
    warehouse = place.new(kind)
    took = 0.0
    with started(warehouse.program(), subprocess.PIPE) as process:
        process.stdin.write(b'{"type": "STATE", "value": {"ready": 1}}\n')
        process.stdin.flush()
        process.stdout.readline()
        began = time.monotonic()
        process.stdin.writelines(messages)
        process.stdin.close()
        for _ in process.stdout:
            took = time.monotonic() - began
        if (done := process.end(b"")).exit_code:
            raise RuntimeError(done.stderr)
    return took


def _tables(place: Place) -> list[pa.Table]:
    """Read the tap's files, which is not timed."""
    tables = []
    for path in files_of(map(json.loads, run(place.tap()).stdout.splitlines())):
        with pa.memory_map(str(path)) as file, pa.ipc.open_file(file) as reader:
            tables.append(reader.read_all())
    return tables


def by_driver(place: Place, kind: str) -> float:
    """PostgreSQL's driver alone with the same files, one COPY and one commit each."""
    tables, warehouse = _tables(place), place.new(kind)
    connection = adbc.AdbcConnection(adbc_driver_postgresql.connect(warehouse.uri))
    connection.set_autocommit(False)
    began = time.monotonic()
    for number, rows in enumerate(tables):
        statement = adbc.AdbcStatement(connection)
        mode = "append" if number else "create"
        statement.set_options(**{"adbc.ingest.target_table": "f", "adbc.ingest.mode": f"adbc.ingest.mode.{mode}"})
        statement.bind_stream(rows.to_reader())
        statement.execute_update()
        statement.close()
        connection.commit()
    took = time.monotonic() - began
    connection.close()
    return took


def by_duckdb(place: Place, kind: str) -> float:
    """DuckDB's own insert of the same files."""
    tables, warehouse = _tables(place), place.new(kind)
    connection = duckdb.connect(warehouse.uri.removeprefix("duckdb:///"))
    began = time.monotonic()
    for number, rows in enumerate(tables):
        connection.register("rows", rows)
        connection.execute("INSERT INTO f FROM rows" if number else "CREATE TABLE f AS FROM rows")
    connection.close()
    return time.monotonic() - began


def peak(place: Place, kind: str) -> float:
    """Return the MiB that target-adbc held at most."""
    messages = place.folder / "messages"
    messages.write_bytes(run(place.tap()).stdout)
    warehouse = place.new(kind)
    program = warehouse.program("--input", str(messages))
    return measured(program, warehouse.folder, lambda process: process.stdout.read()).peak_mib


OURS, RECORDS = "tap, Arrow files → target-adbc", "tap, records → target-adbc"
DEFAULT = "tap → target-postgres as it comes"
FROM_FILE = "target-adbc from the first file to the last STATE"
ALONE = "the database's own driver alone, the same files"
_COPY: Mapping[str, Any] = {"use_copy": True, "validate_records": False}

WAYS = (
    Way(OURS, POSTGRESQL, by_target_adbc("arrow"), is_ours=True),
    Way(RECORDS, POSTGRESQL, by_target_adbc(""), is_ours=True),
    Way("official client, Arrow and ADBC", POSTGRESQL, _by_client("adbc")),
    Way("dlt, Arrow of the official client", POSTGRESQL, _by_client("dlt", "demo.flights")),
    Way("official client, pandas and to_sql", POSTGRESQL, _by_client("pandas"), is_slow=True),
    Way("tap, jsonl files → target-postgres, COPY", POSTGRESQL, _by_other(0, "jsonl", use_copy=True), is_slow=True),
    Way("tap → target-postgres, COPY, no validation", POSTGRESQL, _by_other(0, **_COPY), is_slow=True),
    Way("tap → pipelinewise-target-postgres", POSTGRESQL, _by_other(1), is_slow=True),
    Way(DEFAULT, POSTGRESQL, _by_other(0), is_slow=True),
    Way(OURS, DUCKDB, by_target_adbc("arrow"), is_ours=True),
    Way("official client, Arrow", DUCKDB, _by_client("duckdb")),
    Way("dlt, Arrow of the official client", DUCKDB, _by_client("dlt", "demo.flights")),
    Way("tap → target-duckdb, which loses rows", DUCKDB, _by_other(2), is_slow=True),
    Way(FROM_FILE, POSTGRESQL, from_first_file, is_part=True),
    Way(ALONE, POSTGRESQL, by_driver, is_part=True),
    Way(FROM_FILE, DUCKDB, from_first_file, is_part=True),
    Way(ALONE, DUCKDB, by_duckdb, is_part=True),
)
