"""The rows of one stream → its tables: staging, the live table, and the exchange of the two."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from target_adbc.arrow_types import TEXT, conformed, same_type, stored_schema, widened
from target_adbc.database import BLOCK, ROW, Database
from target_adbc.errors import GapError
from target_adbc.files import BatchFile
from target_adbc.ledger import Ledger
from target_adbc.names import quoted
from target_adbc.replacing import replace_table

DELETED = "_sdc_deleted_at"


@dataclass(frozen=True)
class Rows:
    """Some rows that are written in one transaction.

    Attributes:
        schema: Names and types of their columns.
        batches: The rows.
        are_new: Whether none of them can be in the database, as the ledger tells.
    """

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]
    are_new: bool


class StreamLoad:
    """One stream in the database."""

    def __init__(
        self, database: Database, stream: str, names: Sequence[str], keys: Sequence[str], *, hard_delete: bool
    ) -> None:
        self._database = database
        self._stream = stream
        self._keys = [database.names.columns(names)[key] for key in keys]
        self._hard_delete = hard_delete
        self._ledger = Ledger(database, stream)
        self._live = database.names.table(stream)

    def load_file(self, file: BatchFile, version: int | None) -> int:
        """Load the rows of a file that are not in the database yet; returns how many those are.

        Raises:
            GapError: Rows before the file's are not in the database.
        """
        return self._database.transaction(lambda: self._load_file(file, version))

    def _load_file(self, file: BatchFile, version: int | None) -> int:
        self._ledger.begin()
        said, source, skip = file.provenance, f"file:{file.url}", 0
        if said is not None and file.rows is not None:
            source = f"{said.session}:{said.ordinal}"
            known = self._ledger.next_offset(said.table_version, source)
            if known < said.offset:
                raise GapError(
                    f"{file.url} begins at row {said.offset} of read stream {said.ordinal}, and the database holds"
                    f" {known} rows of it: STATE is of another database; load without it"
                )
            skip, following = known - said.offset, said.offset + file.rows
            if skip >= file.rows:
                return 0
        elif self._ledger.next_offset(version or 0, source):
            return 0
        else:
            following = 1
        counted = _Counted(file.batches(skip))
        self._write(version, Rows(file.schema, counted, are_new=said is not None))
        self._ledger.put(version or 0, source, following)
        return counted.rows

    def load_records(self, batch: pa.RecordBatch, version: int | None) -> None:
        """Load a block of records."""

        def work() -> None:
            self._ledger.begin()
            self._write(version, Rows(batch.schema, iter([batch]), are_new=False))

        self._database.transaction(work)

    def holds(self, version: int) -> bool:
        """Whether some rows of a version that is not live are in the database."""

        def work() -> bool:
            self._ledger.begin()
            return version in self._ledger.staged()

        return self._database.transaction(work)

    def waiting(self) -> list[int]:
        """List the versions that were loaded, but not activated."""

        def work() -> list[int]:
            self._ledger.begin()
            return self._ledger.staged()

        return self._database.transaction(work)

    def activate(self, version: int, schema: pa.Schema) -> None:
        """Let a version take the place of the live one; without rows, an empty table with this schema."""

        def work() -> None:
            self._ledger.begin()
            if self._ledger.live() == version:
                return
            staging = self._staging(version)
            if not self._database.exists(staging):
                self._database.create(staging, self._stored(schema))
            for other in self._ledger.staged():
                if other != version:
                    self._database.drop(self._staging(other))
            if self._database.exists(self._live) and not self._hard_delete:
                self._keep_old_rows(staging)
            replace_table(self._database, self._live, staging)
            self._ledger.activate(version)

        self._database.transaction(work)

    # --- within a transaction ---

    def _staging(self, version: int) -> str:
        return self._database.names.staging(self._stream, version)

    def _stored(self, schema: pa.Schema) -> pa.Schema:
        columns = self._database.names.columns(schema.names)
        stored = stored_schema(schema, columns)
        if self._database.kind.is_typed:
            return stored
        return pa.schema([pa.field(each.name, TEXT if pa.types.is_time(each.type) else each.type) for each in stored])

    def _write(self, version: int | None, rows: Rows) -> None:
        """Write rows into the live table, if that has their version, else into the staging table of their version."""
        table = self._live
        is_live = version is None or version == self._ledger.live()
        if not is_live and version is not None:
            table = self._staging(version)
            self._begin_staging(version)
        stored = self._stored(rows.schema)
        wanted = self._prepare(table, stored)
        batches = (conformed(batch, wanted, replace_nul=not self._database.kind.takes_nul) for batch in rows.batches)
        if self._keys and (is_live or not rows.are_new):
            self._merge(table, wanted, batches)
        else:
            self._database.ingest(table, wanted, batches)

    def _begin_staging(self, version: int) -> None:
        staged = self._ledger.staged()
        for other in staged:
            if other != version:  # the tap has given it up
                self._database.drop(self._staging(other))
                self._ledger.forget(other)
        if version not in staged:
            self._database.drop(self._staging(version))
            self._ledger.stage(version)

    def _prepare(self, table: str, stored: pa.Schema) -> pa.Schema:
        """Make a table that can hold some columns; returns their types there."""
        if not self._database.exists(table):
            self._database.create(table, stored)
            return stored
        columns = self._database.columns(table)
        if not self._database.kind.is_typed:
            columns |= {each.name: each.type for each in stored if each.name in columns}
        wanted = []
        for each in stored:
            old = columns.get(each.name)
            if old is None:
                self._database.add_column(table, each.name, each.type)
                old = each.type
            elif not same_type(old, each.type) and not same_type(new := widened(old, each.type), old):
                self._database.widen(table, each.name, old, new)
                old = new
            wanted.append(pa.field(each.name, old))
        return pa.schema(wanted)

    def _merge(self, table: str, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> None:
        """Let rows take the places of those with their keys; of several with one key, the last one stays."""
        database = self._database
        columns, keys = _listed(schema.names), _listed(self._keys)
        database.execute(f"DROP TABLE IF EXISTS {quoted(BLOCK)}")
        numbered = schema.append(pa.field(ROW, pa.int64()))
        database.ingest(BLOCK, numbered, _numbered(batches, numbered), mode="block")
        target = database.table(table)
        if database.kind.needs_index:
            index = "_target_adbc_" + hashlib.sha256(table.encode()).hexdigest()[:16]
            database.execute(f"CREATE INDEX IF NOT EXISTS {quoted(index)} ON {target} ({keys})")
        same = self._same_keys("t", "b")
        database.execute(f"DELETE FROM {target} AS t WHERE EXISTS (SELECT 1 FROM {BLOCK} b WHERE {same})")  # noqa: S608
        latest = f"SELECT *, row_number() OVER (PARTITION BY {keys} ORDER BY {ROW} DESC) AS rank FROM {BLOCK}"  # noqa: S608
        where = "rank = 1"
        if self._hard_delete and DELETED in schema.names:
            where += f" AND {DELETED} IS NULL"
        database.execute(
            f"INSERT INTO {target} ({columns}) SELECT {columns} FROM ({latest}) ranked WHERE {where}"  # noqa: S608
        )
        database.execute(f"DROP TABLE {quoted(BLOCK)}")

    def _keep_old_rows(self, staging: str) -> None:
        """Copy the live rows that a new version does not have, marked as deleted."""
        database = self._database
        old, new = database.columns(self._live), database.columns(staging)
        for name, kind in {**old, DELETED: pa.timestamp("us")}.items():
            if name not in new:
                database.add_column(staging, name, kind)
        columns = [name for name in old if name != DELETED]
        marked = f"COALESCE({DELETED}, CURRENT_TIMESTAMP)" if DELETED in old else "CURRENT_TIMESTAMP"
        if database.kind.is_typed:
            marked = f"CAST({marked} AS TIMESTAMP)"
        where = ""
        if self._keys:
            same = self._same_keys("l", "s")
            where = f" WHERE NOT EXISTS (SELECT 1 FROM {database.table(staging)} s WHERE {same})"  # noqa: S608
        listed = _listed(columns)
        database.execute(
            f"INSERT INTO {database.table(staging)} ({listed}, {DELETED})"  # noqa: S608
            f" SELECT {listed}, {marked} FROM {database.table(self._live)} l{where}"
        )

    def _same_keys(self, one: str, other: str) -> str:
        return " AND ".join(f"{one}.{quoted(key)} = {other}.{quoted(key)}" for key in self._keys)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(quoted, names))


class _Counted:
    """Counts rows as they pass."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._batches = batches
        self.rows = 0

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return self

    def __next__(self) -> pa.RecordBatch:
        batch = next(self._batches)
        self.rows += batch.num_rows
        return batch


def _numbered(batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    first = 0
    for batch in batches:
        numbers = pa.array(range(first, first + batch.num_rows), pa.int64())
        yield pa.RecordBatch.from_arrays([*batch.columns, numbers], schema=schema)
        first += batch.num_rows
