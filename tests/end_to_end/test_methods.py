"""The three replication methods side by side: what comes over the wire, and what a database then holds."""

from __future__ import annotations

import datetime as dt
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from tests.support.pipes import Json, Output, pipe, run, target
from tests.support.postgres import Postgres
from tests.support.served import Site, visits

_FULL: Json = {"key_properties": ["id"]}
_INCREMENTAL: Json = {"key_properties": ["id"], "replication_key": "seen_at"}
_LOG_BASED: Json = {"key_properties": ["id"], "replication_method": "LOG_BASED"}


@pytest.mark.parametrize("options", [_FULL, _INCREMENTAL, _LOG_BASED], ids=["full", "incremental", "log_based"])
def test_a_database_follows_the_versions(site: Site, postgres: Postgres, options: Json) -> None:
    """v1.0 → v1.1 → v1.2, rows inserted, changed and deleted, a column added: the database has what the source has.

    INCREMENTAL has that of the rows that its key can see: those that were deleted, or changed without it, stay until
    all rows are read, as they are for the added column. LOG_BASED marks deleted rows instead of removing them.
    """
    sink, state = _sink(site.files, postgres), None
    kept = ["id", "clinic", "seen_at"]
    for version, table in enumerate(_VERSIONS):
        site.release(f"demo/visits/v1.{version}/visits", table)
        done = pipe(site.tap(table_options={"visits": options}, state=state), sink)
        assert (done.tap.exit_code, done.target.exit_code) == (0, 0), done.tap.stderr + done.target.stderr
        state = done.target.state
        if options is not _INCREMENTAL or version != 1:
            assert _there(postgres, table.column_names) == _tuples(table)
        else:
            unseen = {7: _VERSIONS[0].select(kept), 3: _VERSIONS[0].select(kept)}
            expected = {row[0]: row for row in _tuples(table.select(kept))}
            expected |= {row: _tuples(old.slice(row, 1))[0] for row, old in unseen.items()}
            assert _there(postgres, kept) == sorted(expected.values())
        if options is _LOG_BASED and version == 1:
            assert postgres.query("SELECT id FROM visits__visits WHERE _sdc_deleted_at IS NOT NULL") == [(7,)]


def test_a_few_changes_of_many_rows_are_few_bytes(site: Site) -> None:
    """1,000 of 1,000,000 rows: less than a hundredth of what all rows take."""
    settings: Json = {"tables": ["demo.large.large"], "table_options": {"large": _LOG_BASED}}
    _write_large(site, "v1.0", "n * 7919 % 1000003", "range(1000000)")
    whole = run(site.tap(**settings))
    state = json.loads(whole.stdout.rstrip().rpartition(b"\n")[2])["value"]
    _write_large(site, "v1.1", "CASE WHEN n % 2500 = 300 THEN -1 ELSE n * 7919 % 1000003 END", "range(200, 1000400)")

    changes = site.sync(state=state, **settings)

    assert "400 rows inserted, 400 changed, 200 deleted since v1.0" in changes.stderr
    assert len(changes.records("large__large")) == 1000
    assert _received(changes) * 100 < _received(whole)


def _write_large(site: Site, version: str, value: str, rows: str) -> None:
    path = site.folder / f"demo/large/{version}/large.parquet"
    path.parent.mkdir(parents=True)
    duckdb.sql(f"SELECT n AS id, {value} AS value, n / 8 AS half FROM {rows} numbers(n)").write_parquet(str(path))  # noqa: S608
    site.emulator.reload()


def _received(done: Output) -> int:
    [(received, unit)] = re.findall(r"loaded .* rows .*, ([\d.,]+) ([kM])B, ", done.stderr)
    return round(float(received.replace(",", "")) * {"k": 1e3, "M": 1e6}[unit])


def _with(table: pa.Table, column: str, row: int, value: Any) -> pa.Table:
    values = table[column].to_pylist()
    values[row] = value
    return table.set_column(table.column_names.index(column), column, pa.array(values, table[column].type))


_LATER = dt.datetime(2030, 1, 1)  # noqa: DTZ001 - dateTime has no zone
_SECOND = _with(_with(_with(visits(350), "seen_at", 5, _LATER), "clinic", 5, "moved"), "clinic", 3, "renamed")
_VERSIONS = [
    visits(300),
    pa.concat_tables([_SECOND.slice(0, 7), _SECOND.slice(8)]),
    visits(380, first=20).append_column("more", pa.array([None, *range(379)], pa.int64())),
]


def _sink(folder: Path, database: Postgres) -> Any:
    url = database.url.replace("postgresql://", "postgresql+psycopg://")
    config = {"sqlalchemy_url": url, "default_target_schema": "public", "hard_delete": True}
    return target("meltanolabs-target-postgres", folder, config)


def _there(database: Postgres, names: list[str]) -> list[tuple[Any, ...]]:
    """Return the rows that are not marked as deleted, by their first column."""
    columns = ", ".join(f'"{name}"' for name in names)
    rows = database.query(f"SELECT {columns} FROM visits__visits WHERE _sdc_deleted_at IS NULL ORDER BY 1")  # noqa: S608
    return [tuple(float(value) if isinstance(value, Decimal) else value for value in row) for row in rows]


def _tuples(table: pa.Table) -> list[tuple[Any, ...]]:
    return sorted(zip(*(column.to_pylist() for column in table.columns), strict=True))
