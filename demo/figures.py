"""Compares what arrived with what is at the source, row by row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pyarrow.json
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.postgres import Postgres


@dataclass(frozen=True)
class Figures:
    """How one table arrived.

    Attributes:
        table: Its name.
        target: What it was loaded by.
        at_source: Rows at the source.
        loaded: Rows that arrived.
        missing: Rows of the source that did not arrive, or not with the same values.
        twice: Rows that arrived more often than they are at the source.
    """

    table: str
    target: str
    at_source: int
    loaded: int
    missing: int
    twice: int

    @property
    def agree(self) -> bool:
        """Whether every row arrived, and none twice."""
        return self.at_source == self.loaded and not self.missing and not self.twice


def compare(table: str, target: str, source: pa.Table, loaded: pa.Table) -> Figures:
    """Return the figures of a table; rows are told apart by all their values."""
    with duckdb.connect() as database:
        database.register("source", source)
        database.register("loaded", loaded)
        return Figures(
            table=table,
            target=target,
            at_source=source.num_rows,
            loaded=loaded.num_rows,
            missing=_count(database, "SELECT * FROM source EXCEPT ALL SELECT * FROM loaded"),
            twice=_count(database, "SELECT * FROM loaded EXCEPT ALL SELECT * FROM source"),
        )


def read_source(path: Path) -> pa.Table:
    """Read a served file as Redivis shows it, which knows no time zones."""
    table = pq.read_table(path)
    types = [pa.timestamp("us") if pa.types.is_timestamp(field.type) else field.type for field in table.schema]
    return table.cast(pa.schema(zip(table.column_names, types, strict=True)))


def read_lines(path: Path, like: pa.Schema) -> pa.Table:
    """Read the JSON lines that a target wrote."""
    options = pa.json.ParseOptions(explicit_schema=like, unexpected_field_behavior="ignore")
    return pa.json.read_json(path, parse_options=options)


def read_database(database: Postgres, table: str, like: pa.Schema) -> pa.Table:
    """Read a table from PostgreSQL, where target-postgres keeps floats as exact numbers."""
    floats = {field.name for field in like if pa.types.is_floating(field.type)}
    columns = ", ".join(f'"{name}"::float8' if name in floats else f'"{name}"' for name in like.names)
    rows = database.query(f"SELECT {columns} FROM {table}")  # noqa: S608 - names of the demo data
    return pa.Table.from_pylist([dict(zip(like.names, row, strict=True)) for row in rows], schema=like)


def _count(database: duckdb.DuckDBPyConnection, rows: str) -> int:
    [(count,)] = database.execute(f"SELECT count(*) FROM ({rows})").fetchall()  # noqa: S608 - our own text
    return int(count)
