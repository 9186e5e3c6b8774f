"""Databases to load into, and the target as a process that reads given messages."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from target_adbc.database import Database
from target_adbc.names import quoted
from target_adbc.target import TargetAdbc
from tests.support.pipes import Json, Output, Program, started
from tests.support.postgres import Postgres

TARGET = str(Path(sys.executable).parent / "target-adbc")


@dataclass(frozen=True)
class Warehouse:
    """A database, and the target that loads into it.

    Attributes:
        uri: As the target takes it.
        folder: Where the target's settings and files of BATCH messages are written.
        secret: What must appear in no output.
    """

    uri: str
    folder: Path
    secret: str | None = None

    @property
    def scheme(self) -> str:
        """Which kind of database it is."""
        return self.uri.partition(":")[0]

    def program(self, *arguments: str, **settings: Any) -> Program:
        """Describe a call of the target."""
        path = self.folder / "target-adbc.json"
        path.write_text(json.dumps({"uri": self.uri, **settings}))
        return Program((TARGET, "--config", str(path), *arguments), {}, self.secret)

    def load(self, messages: Sequence[Json], **settings: Any) -> Output:
        """Run the target on some messages to its end."""
        with started(self.program(**settings), subprocess.PIPE) as process:
            process.stdin.write(_lines(messages))
            process.stdin.close()
            return process.end(process.stdout.read())

    def loaded(self, messages: Sequence[Json], **settings: Any) -> list[Json]:
        """Load messages in this process, which must succeed; returns the STATEs that were printed."""
        target = TargetAdbc(config={"uri": self.uri, **settings})
        with redirect_stdout(io.StringIO()) as printed:
            target.listen(io.BytesIO(_lines(messages)))  # type: ignore[arg-type]
        return [json.loads(line) for line in printed.getvalue().splitlines()]

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Run a query on a connection of its own."""
        database = Database(self.uri)
        found = database.transaction(lambda: database.query(sql))
        database.close()
        return found

    def execute(self, sql: str) -> None:
        """Run a statement on a connection of its own."""
        database = Database(self.uri)
        database.transaction(lambda: database.execute(sql))
        database.close()

    def rows(self, table: str, *columns: str) -> list[tuple[Any, ...]]:
        """Return some columns of a table, sorted by the first one."""
        listed = ", ".join(map(quoted, columns)) or "*"
        return self.query(f"SELECT {listed} FROM {quoted(table)} ORDER BY 1")  # noqa: S608 - our own names

    def tables(self) -> set[str]:
        """List the tables of streams, staging tables included."""
        sql = {
            "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table'",
            "duckdb": "SELECT table_name FROM duckdb_tables()",
        }.get(self.scheme, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        return {name for [name] in self.query(sql)} - {"_target_adbc_ledger"}


def _lines(messages: Sequence[Json]) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in messages)


@pytest.fixture(name="warehouse", params=["postgresql", "duckdb", "sqlite"])
def make_warehouse(request: pytest.FixtureRequest, tmp_path: Path) -> Warehouse:
    """An empty database of each kind."""
    if request.param == "postgresql":
        database: Postgres = request.getfixturevalue("postgres")
        return Warehouse(database.url, tmp_path, database.password)
    return Warehouse(f"{request.param}:///{tmp_path}/data.{request.param}", tmp_path)


@pytest.fixture(name="in_postgres")
def make_in_postgres(postgres: Postgres, tmp_path: Path) -> Warehouse:
    """An empty PostgreSQL database."""
    return Warehouse(postgres.url, tmp_path, postgres.password)


def schema(properties: Json, *keys: str, stream: str = "visits") -> Json:
    """Make a SCHEMA message."""
    return {"type": "SCHEMA", "stream": stream, "schema": {"properties": properties}, "key_properties": list(keys)}


def record(version: int | None = None, stream: str = "visits", **values: Any) -> Json:
    """Make a RECORD message."""
    made: Json = {"type": "RECORD", "stream": stream, "record": values}
    return made if version is None else {**made, "version": version}


def activate(version: int, stream: str = "visits") -> Json:
    """Make an ACTIVATE_VERSION message."""
    return {"type": "ACTIVATE_VERSION", "stream": stream, "version": version}


def state(value: Any) -> Json:
    """Make a STATE message."""
    return {"type": "STATE", "value": value}


def arrow_file(folder: Path, name: str, table: pa.Table, **provenance: Any) -> Json:
    """Write an Arrow file that says where its rows are from, if that is given; returns its BATCH message."""
    path = folder / name
    said = {"stream": "visits", "table_version": 1, "session": "s1", "ordinal": 0, "offset": 0} | provenance
    kept = table.replace_schema_metadata({"tap_redivis": json.dumps(said)} if provenance else None)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, kept.schema) as writer:
        writer.write_table(kept, max_chunksize=100)
    return {"type": "BATCH", "stream": "visits", "encoding": {"format": "arrow"}, "manifest": [path.as_uri()]}
