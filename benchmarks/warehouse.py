"""How fast flights get into a database: by target-adbc, by target-postgres, and by the driver alone, in one run.

Run ``python -m benchmarks.warehouse``; it takes some ten minutes, most of them for target-postgres.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import adbc_driver_manager as adbc
import adbc_driver_postgresql
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from redivis_emulator import DEFAULT_TOKEN, Emulator, demo
from tests.support.batches import batch_config, files_of
from tests.support.measuring import measured
from tests.support.pipes import Output, Process, Program, pipe, run, started, target
from tests.support.postgres import Postgres
from tests.support.served import Site
from tests.target.conftest import Warehouse

_ROWS, _REPEATS = 300_000, 3
_FLIGHTS = "demo.nycflights13.flights"
_FILE_ROWS = 50_000
_MOST_MIB = 250


@dataclass(frozen=True)
class Place:
    """Where one run takes place: what it reads, a folder of its own, and the server."""

    site: Site
    folder: Path
    server: Postgres
    rows: int

    def tap(self, *, files: bool) -> Program:
        """Describe the tap, which writes Arrow files or records."""
        config = batch_config("arrow", self.folder / "lake", batch_size=_FILE_ROWS)
        settings: dict[str, Any] = {"batch_config": config} if files else {}
        return self.site.tap(tables=[_FLIGHTS], max_rows=self.rows, row_key=True, **settings)

    def warehouse(self, kind: str) -> Warehouse:
        """Make an empty database."""
        if kind == "duckdb":
            return Warehouse(f"duckdb:///{self.folder}/{time.monotonic_ns()}.duckdb", self.folder)
        database = self.server.new_database()
        return Warehouse(database.url, self.folder, database.password)


def by_target(place: Place, kind: str, *, files: bool = True) -> float:
    """Return the seconds of ``tap | target-adbc``, whole processes."""
    warehouse = place.warehouse(kind)
    began = time.monotonic()
    done = pipe(place.tap(files=files), warehouse.program())
    took = time.monotonic() - began
    _check(done.target, warehouse.query("SELECT count(*) FROM nycflights13__flights")[0][0], place.rows)
    return took


def by_default(place: Place) -> float:
    """Return the seconds of ``tap | target-postgres`` as it comes, whole processes."""
    database = place.server.new_database()
    config = {"sqlalchemy_url": database.url.replace("postgresql://", "postgresql+psycopg://")}
    sink = target("meltanolabs-target-postgres", place.folder, {**config, "default_target_schema": "public"})
    began = time.monotonic()
    done = pipe(place.tap(files=False), sink)
    took = time.monotonic() - began
    _check(done.target, database.query("SELECT count(*) FROM nycflights13__flights")[0][0], place.rows)
    return took


def from_files(place: Place, kind: str) -> float:
    """Return the seconds of target-adbc from the first file to the last STATE, all files being there."""
    messages = run(place.tap(files=True)).stdout.splitlines(keepends=True)
    warehouse = place.warehouse(kind)
    with started(warehouse.program(), subprocess.PIPE) as process:
        process.stdin.write(b'{"type": "STATE", "value": {"ready": 1}}\n')
        process.stdin.flush()
        process.stdout.readline()
        began = time.monotonic()
        process.stdin.writelines(messages)
        process.stdin.close()
        took = 0.0
        for _ in process.stdout:
            took = time.monotonic() - began
        _check(process.end(b""), place.rows, place.rows)
    return took


def by_driver(place: Place) -> float:
    """Return the seconds that PostgreSQL's driver takes for the same files."""
    paths = files_of(map(json.loads, run(place.tap(files=True)).stdout.splitlines()))
    connection = adbc.AdbcConnection(adbc_driver_postgresql.connect(place.server.new_database().url))
    connection.set_autocommit(False)
    began = time.monotonic()
    for number, path in enumerate(paths):
        with pa.memory_map(str(path)) as file, pa.ipc.open_file(file) as reader:
            batches = [reader.get_batch(each) for each in range(reader.num_record_batches)]
            statement = adbc.AdbcStatement(connection)
            mode = "append" if number else "create"
            statement.set_options(**{"adbc.ingest.target_table": "f", "adbc.ingest.mode": f"adbc.ingest.mode.{mode}"})
            statement.bind_stream(pa.RecordBatchReader.from_batches(reader.schema, batches))
            statement.execute_update()
            statement.close()
        connection.commit()
    took = time.monotonic() - began
    connection.close()
    return took


def by_duckdb(place: Place) -> float:
    """Return the seconds that DuckDB's own insert takes for the same files."""
    paths = files_of(map(json.loads, run(place.tap(files=True)).stdout.splitlines()))
    connection = duckdb.connect(str(place.folder / f"own{time.monotonic_ns()}.duckdb"))
    began = time.monotonic()
    for number, path in enumerate(paths):
        with pa.memory_map(str(path)) as file, pa.ipc.open_file(file) as reader:
            rows = reader.read_all()
        connection.register("rows", rows)
        connection.execute("INSERT INTO f FROM rows" if number else "CREATE TABLE f AS FROM rows")
    connection.close()
    return time.monotonic() - began


def peak(place: Place, kind: str) -> float:
    """Return the MiB that target-adbc held at most."""
    messages = place.folder / "messages"
    messages.write_bytes(run(place.tap(files=True)).stdout)
    program = place.warehouse(kind).program("--input", str(messages))

    def drain(process: Process) -> bytes:
        return process.stdout.read()

    return measured(program, place.folder, drain).peak_mib


def _check(done: Output, found: int, expected: int) -> None:
    if (done.exit_code, found) != (0, expected):
        raise RuntimeError(f"{found} of {expected} rows: {done.stderr}")


_WAYS: dict[str, Callable[[Place], float]] = {
    "tap, Arrow files \\| target-adbc, PostgreSQL": lambda place: by_target(place, "postgresql"),
    "tap, Arrow files \\| target-adbc, DuckDB": lambda place: by_target(place, "duckdb"),
    "tap, records \\| target-adbc, PostgreSQL": lambda place: by_target(place, "postgresql", files=False),
    "target-adbc, from the first file to the last STATE, PostgreSQL": lambda place: from_files(place, "postgresql"),
    "ADBC alone, the same files, PostgreSQL": by_driver,
    "target-adbc, from the first file to the last STATE, DuckDB": lambda place: from_files(place, "duckdb"),
    "DuckDB alone, the same files": by_duckdb,
}
_DEFAULT = "tap, records \\| target-postgres as it comes"


def report(rows: int, repeats: int, found: dict[str, Sequence[float]], memory: dict[str, float]) -> Iterator[str]:
    """Write tables of the medians and of what is promised."""
    seconds = {way: statistics.median(each) for way, each in found.items()}
    yield f"{rows:,} flights, 19 columns and the row key; medians of {repeats} rounds, one of target-postgres.\n"
    yield "| Way | seconds | rows/s | times target-postgres |\n|---|---|---|---|"
    for way, each in seconds.items():
        yield f"| {way} | {each:.2f} | {rows / each:,.0f} | {seconds[_DEFAULT] / each:.1f} |"
    ways = list(_WAYS)
    promises = (
        ("Arrow files into PostgreSQL against target-postgres", _DEFAULT, ways[0], 80.0),
        ("against ADBC alone, from the first file", ways[4], ways[3], 0.7),
        ("against DuckDB alone, from the first file", ways[6], ways[5], 0.5),
        ("records into PostgreSQL against target-postgres", _DEFAULT, ways[2], 10.0),
    )
    yield "\n| Promise | at least | measured |\n|---|---|---|"
    for words, slow, fast, least in promises:
        yield f"| {words} | {least:g} times | {seconds[slow] / seconds[fast]:.2f} times |"
    for kind, mib in memory.items():
        yield f"| peak memory, {kind} | at most {_MOST_MIB} MiB | {mib:.0f} MiB |"


def main() -> None:
    """Measure everything; ways take turns."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.warehouse", description=__doc__)
    parser.add_argument("--rows", type=int, default=_ROWS, help="at most those of the flights: 336,776")
    parser.add_argument("--repeats", type=int, default=_REPEATS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, Postgres.start() as server:
        folder = Path(name)
        (folder / "served").mkdir()
        demo.build(folder / "served")
        rows = min(options.rows, pq.read_metadata(next(folder.rglob("flights.parquet"))).num_rows)
        with Emulator(folder / "served") as emulator:
            place = Place(Site(emulator, folder / "served", folder, DEFAULT_TOKEN), folder, server, rows)
            found: dict[str, Sequence[float]] = {}
            for _ in range(options.repeats):
                for way, measure in _WAYS.items():
                    found[way] = [*found.get(way, ()), measure(place)]
            found[_DEFAULT] = [by_default(place)]
            memory = {kind: peak(place, kind) for kind in ("postgresql", "duckdb")}
    print("\n".join(report(rows, options.repeats, found, memory)))  # noqa: T201 - this is what one runs it for


if __name__ == "__main__":
    main()
