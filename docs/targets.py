"""Load every kind of table into every target that can be tried here; write what came of it into `docs/targets.md`.

Run ``python -m docs.targets``; it takes three minutes.
"""

from __future__ import annotations

import csv
import json
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from docs.generate import ROOT, filled
from redivis_emulator import Emulator, demo
from tests.support.batches import batch_config
from tests.support.pipes import Json, Piped, Program, pipe, tap, target
from tests.support.postgres import Postgres
from tests.support.served import records_of, visits, write_table

PAGE = ROOT / "docs/targets.md"
TYPES = ("string", "integer", "float", "boolean", "date", "dateTime", "time", "geography")
_SHOWN = 60
_LONGEST, _TOO_LONG = "n" * 63, "o" * 64
_KEYS: Json = {"*": {"key_properties": ["id"]}}

Values = Sequence[Any]
Spell = Callable[[Any], Any]


@dataclass(frozen=True)
class Place:
    """Where a target of one case writes.

    Attributes:
        folder: For files.
        database: For tables.
    """

    folder: Path
    database: Postgres


@dataclass(frozen=True)
class Target:
    """A target, how it is set up, and how its tables are read.

    Attributes:
        distribution: Its package.
        config: Its settings for a place.
        read: Gives the values of a column in the order of another one.
        kind: Gives the type of a column, in the target's words; empty for files.
        expected: Spells a record's value as the target's best.
        is_database: Whether what is read are values of types, and not text.
    """

    distribution: str
    config: Callable[[Place], Json]
    read: Callable[[Place, str, str, str], Values]
    kind: Callable[[Place, str, str], str]
    expected: Spell
    is_database: bool = False


def _as_it_is(value: Any) -> Any:  # noqa: ANN401 - any value
    return value


def _no_kind(_place: Place, _table: str, _column: str) -> str:
    return ""


def _postgres_config(place: Place) -> Json:
    url = place.database.url.replace("postgresql://", "postgresql+psycopg://")
    return {"sqlalchemy_url": url, "default_target_schema": "public", "hard_delete": True}


def _pipelinewise_config(place: Place) -> Json:
    database = place.database
    names = {"host": database.host, "port": database.port, "user": database.user, "password": database.password}
    schema = {"default_target_schema": "public", "hard_delete": True, "primary_key_required": False}
    return {**names, **schema, "dbname": database.database, "add_metadata_columns": True}


def _column(place: Place, table: str, column: str, order: str) -> Values:
    sql = f'SELECT "{column}" FROM "{table}" ORDER BY "{order}", 1'  # noqa: S608 - our own names
    return [float(value) if isinstance(value, Decimal) else value for (value,) in place.database.query(sql)]


def _column_kind(place: Place, table: str, column: str) -> str:
    sql = "SELECT data_type FROM information_schema.columns WHERE table_name = %s AND column_name = %s"
    [(kind,)] = place.database.query(sql, [table, column])
    return f"{kind.replace('character varying', 'varchar').replace(' without time zone', '')}, "


def _duckdb_config(place: Place) -> Json:
    settings = {"hard_delete": True, "primary_key_required": False, "add_metadata_columns": True}
    return {"filepath": str(place.folder / "loaded.duckdb"), "default_target_schema": "main", **settings}


def _in_duckdb(place: Place, sql: str) -> Values:
    with duckdb.connect(place.folder / "loaded.duckdb", read_only=True) as database:
        return [value for (value,) in database.execute(sql).fetchall()]


def _duckdb_column(place: Place, table: str, column: str, order: str) -> Values:
    return _in_duckdb(place, f'SELECT "{column}" FROM "{table}" ORDER BY "{order}", 1')  # noqa: S608 - our own names


def _duckdb_kind(place: Place, table: str, column: str) -> str:
    where = f"table_name = '{table}' AND column_name = '{column}'"
    [kind] = _in_duckdb(place, f"SELECT lower(data_type) FROM information_schema.columns WHERE {where}")  # noqa: S608
    return f"{kind}, "


def _json_lines(place: Place, table: str, column: str, order: str) -> Values:
    rows = map(json.loads, (place.folder / f"{table}.jsonl").read_text().splitlines())
    return [row[column] for row in sorted(rows, key=lambda row: row[order])]


def _comma_separated(place: Place, table: str, column: str, order: str) -> Values:
    with (place.folder / f"{table}.csv").open(newline="") as lines:
        return [row[column] for row in sorted(csv.DictReader(lines), key=lambda row: int(row[order]))]


TARGETS = (
    Target("meltanolabs-target-postgres", _postgres_config, _column, _column_kind, _as_it_is, is_database=True),
    Target("pipelinewise-target-postgres", _pipelinewise_config, _column, _column_kind, _as_it_is, is_database=True),
    Target("target-duckdb", _duckdb_config, _duckdb_column, _duckdb_kind, _as_it_is, is_database=True),
    Target(
        "target-jsonl",
        lambda place: {"destination_path": str(place.folder), "do_timestamp_file": False},
        _json_lines,
        _no_kind,
        _as_it_is,
    ),
    Target(
        "meltanolabs-target-csv",
        lambda place: {"output_path": str(place.folder)},
        _comma_separated,
        _no_kind,
        lambda value: "" if value is None else str(value),
    ),
)


@dataclass(frozen=True)
class Bench:
    """An emulator with the tables of all cases, and a database server.

    Attributes:
        emulator: Serves the folder.
        folder: What is served.
        server: Gives each case a database.
    """

    emulator: Emulator
    folder: Path
    server: Postgres

    def place(self) -> Place:
        """Make a new and empty place."""
        return Place(Path(tempfile.mkdtemp(dir=self.folder.parent)), self.server.new_database())

    def load(self, into: Target, place: Place, state: Json | None = None, **settings: Any) -> Piped:  # noqa: ANN401
        """Run `tap | target`."""
        config = {"stream_name_format": "{table}", **settings}
        sink: Program = target(into.distribution, place.folder, into.config(place))
        return pipe(tap(self.emulator, place.folder, config, state=state), sink)

    @classmethod
    def open(cls, folder: Path, server: Postgres) -> Bench:
        """Write the tables; the emulator is started by who uses it."""
        served = folder / "served"
        demo.build(served)
        write_table(served, "demo/versions/v1.0/versions", visits(3).select(["id", "clinic"]))
        write_table(served, "demo/versions/v1.1/versions", visits(3, first=1).select(["id", "clinic"]))
        nothing = {"id": pa.array([1, 2]), "text": pa.nulls(2, pa.string()), "number": pa.nulls(2, pa.float64())}
        write_table(served, "demo/cases/v1.0/nulls", pa.table(nothing))
        write_table(served, "demo/cases/v1.0/" + "t" * 70, pa.table({"id": [1]}))
        write_table(served, "demo/cases/v1.0/longest", pa.table({"id": [1], _LONGEST: ["kept"]}))
        write_table(served, "demo/cases/v1.0/too_long", pa.table({"id": [1], _TOO_LONG: ["kept"]}))
        return cls(Emulator(served), served, server)


Case = Callable[[Bench, Target], str]


def type_case(name: str) -> Case:
    """Load the extremes of one type, and compare them with the source."""

    def try_it(bench: Bench, into: Target) -> str:
        column, place = name.lower(), bench.place()
        options = {"all_types": {"key_properties": ["row"], "variables": ["row", column]}}
        done = bench.load(into, place, tables=["demo.types.all_types"], table_options=options)
        return _failure(done) or into.kind(place, "all_types", column) + _compared(bench, into, place, column)

    return try_it


def types_as_files(bench: Bench, into: Target) -> str:
    """Load the extremes of all types by BATCH messages, and compare them with the source."""
    place = bench.place()
    options = {"all_types": {"key_properties": ["row"]}}
    done = bench.load(
        into, place, tables=["demo.types.all_types"], table_options=options, batch_config=_files_in(place)
    )
    if failure := _failure(done):
        return failure
    found = {name: _compared(bench, into, place, name.lower()) for name in TYPES}
    return "; ".join(f"{name}: {words}" for name, words in found.items() if words != "exact") or "exact"


def _files_in(place: Place, **settings: Any) -> Json:  # noqa: ANN401 - parts of the setting
    return batch_config("jsonl", place.folder / "files", **settings)


def _compared(bench: Bench, into: Target, place: Place, column: str) -> str:
    """Compare a column of the table of all types, as it was loaded, with the source."""
    source = pq.read_table(bench.folder / "demo/types/all_types.parquet").select(["row", column])
    wanted = source[column].to_pylist() if into.is_database else [row[column] for row in records_of(source)]
    return _difference([into.expected(value) for value in wanted], into.read(place, "all_types", column, "row"))


def nulls(bench: Bench, into: Target) -> str:
    """Load columns in which nothing but null stands."""
    place = bench.place()
    done = bench.load(into, place, tables=["demo.cases.nulls"], table_options=_KEYS)
    if failure := _failure(done):
        return failure
    found = {value for column in ("text", "number") for value in into.read(place, "nulls", column, "id")}
    return "null" if found <= {None} else "empty" if found == {""} else f"{found}"


def unchanged(bench: Bench, into: Target) -> str:
    """Load a table of three rows, then run again: the tap writes its SCHEMA and no record."""
    place = bench.place()
    first = bench.load(into, place, tables=["demo.versions.versions"], table_options=_KEYS)
    if failure := _failure(first):
        return failure
    second = bench.load(into, place, first.target.state, tables=["demo.versions.versions"], table_options=_KEYS)
    stay = [int(value) for value in into.read(place, "versions", "id", "id")] == [1, 2, 3]
    return _failure(second) or ("the rows stay" if stay else "the rows do not stay")


def versions(as_files: Json | None = None, **settings: Any) -> Case:  # noqa: ANN401 - settings of the tap
    """Load a table of rows 0, 1, 2, then its next version, of rows 1, 2, 3; as records, or by BATCH messages.

    Args:
        as_files: Parts of ``batch_config``, if it is to be by BATCH messages.
        **settings: Of the tap.
    """

    def try_it(bench: Bench, into: Target) -> str:
        place = bench.place()
        own = settings if as_files is None else {**settings, "batch_config": _files_in(place, **as_files)}
        first = bench.load(into, place, tables=["demo.versions:v1_0.versions"], **own)
        if failure := _failure(first):
            return failure
        second = bench.load(into, place, first.target.state, tables=["demo.versions.versions"], **own)
        return _failure(second) or _rows_words([int(value) for value in into.read(place, "versions", "id", "id")])

    return try_it


def name_case(table: str, column: str) -> Case:
    """Load a table and a column with long names."""

    def try_it(bench: Bench, into: Target) -> str:
        place = bench.place()
        done = bench.load(into, place, tables=[f"demo.cases.{table}"], table_options=_KEYS)
        stream = table if len(table) <= len(_LONGEST) else next(iter(done.target.state["bookmarks"]))
        try:
            return _failure(done) or ("kept" if len(into.read(place, stream, column, "id")) == 1 else "lost")
        except Exception as error:  # noqa: BLE001 - whatever a driver says: the name is not there
            return f"another name ({type(error).__name__})"

    return try_it


CASES: Mapping[str, Case] = {
    **{f"type {name}": type_case(name) for name in TYPES},
    "a column of nulls": nulls,
    "no new version": unchanged,
    "a new version, with keys": versions(table_options=_KEYS),
    "a new version, with the row key": versions(),
    "a new version, without keys": versions(row_key=False),
    "the same, without ACTIVATE_VERSION": versions(row_key=False, emit_activate_version_messages=False),
    "BATCH, all types": types_as_files,
    "BATCH, a new version, with keys": versions({}, table_options=_KEYS),
    "BATCH, a new version, with the row key": versions({}),
    "BATCH, a new version, without keys": versions({}, row_key=False),
    "BATCH, a new version, with keys, `version_columns: false`": versions(
        {"version_columns": False}, table_options=_KEYS
    ),
    "a table's name of 70 characters": name_case("t" * 70, "id"),
    "a column's name of 63 characters": name_case("longest", _LONGEST),
    "a column's name of 64 characters": name_case("too_long", _TOO_LONG),
}


def _difference(wanted: Values, found: Values) -> str:
    if len(wanted) != len(found):
        return f"{len(found)} of {len(wanted)} rows are there"
    pairs = [(a, b) for a, b in zip(wanted, found, strict=True) if not _same(a, b)]
    if not pairs:
        return "exact"
    old, new = next(((a, b) for a, b in pairs if a), pairs[0])
    return f"{len(pairs)} of {len(wanted)} differ: {_shown(old)} → {_shown(new)}"


def _same(wanted: Any, found: Any) -> bool:  # noqa: ANN401 - any values
    """Compare values; a date or a number may be written as text."""
    if type(wanted) is type(found) and wanted == found:
        return True
    return isinstance(found, str) and found != "" and (str(wanted) == found or _number(wanted) == _number(found))


def _number(value: Any) -> Any:  # noqa: ANN401 - any value
    try:
        return float(value)
    except (TypeError, ValueError):
        return value


def _shown(value: Any) -> str:  # noqa: ANN401 - any value
    text = repr(value)[1:-1] if isinstance(value, str) else str(value)
    return f"`{text[:_SHOWN]}{'…' if len(text) > _SHOWN else ''}`" if text else "empty"


def _rows_words(ids: Sequence[int]) -> str:
    words = {(1, 2, 3): "the new rows", (0, 1, 2, 3): "the new rows, and the old one that is gone"}
    twice = "the new rows, and all old ones"
    return words.get(tuple(ids), twice if sorted(ids) == [0, 1, 1, 2, 2, 3] else f"rows {ids}")


def _failure(done: Piped) -> str:
    """Say why a load failed; empty if it did not."""
    if done.target.exit_code == 0 and done.tap.exit_code == 0:
        return ""
    errors = r"\b(\w{4,}(?:Error|Exception|Column)|Exception)\b\)?:? (.*)"
    found = re.findall(errors, done.target.stderr + done.tap.stderr)
    words = ": ".join(found[-1]) if found else "no reason given"
    return f"fails: {_shown(' '.join(words.split()))}"


def rows(cells: Mapping[str, Sequence[str]], targets: Sequence[Target] = TARGETS) -> Iterator[str]:
    """Write the matrix as Markdown."""
    yield "| | " + " | ".join(f"`{each.distribution}`" for each in targets) + " |"
    yield "|---" * (len(targets) + 1) + "|"
    for case, row in cells.items():
        yield f"| {case} | " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"


def main() -> None:
    """Try all, and write the page."""
    with tempfile.TemporaryDirectory() as name, Postgres.start() as server:
        bench = Bench.open(Path(name), server)
        with bench.emulator:
            cells = {case: [try_it(bench, into) for into in TARGETS] for case, try_it in CASES.items()}
    PAGE.write_text(filled(PAGE.read_text(), "\n".join(rows(cells)), "docs.targets"))


if __name__ == "__main__":
    main()
