"""The tables of one stream, within one transaction: staging, the live table, and the ledger that tells what they hold.

The ledger is a table of all streams. For each Singer version it holds the next offset of each read stream, the files
that were loaded, whether the version has a staging table, and whether it is live.
"""

import hashlib
from collections.abc import Iterator, Sequence

import pyarrow as pa

from target_adbc.arrow_types import MOMENT, TEXT, conformed, sql_name, stored_type, widened
from target_adbc.database import Database
from target_adbc.names import literal, quoted

LEDGER = "_target_adbc_ledger"
DELETED = "_sdc_deleted_at"
_COLUMNS = pa.schema([("stream", TEXT), ("version", pa.int64()), ("source", TEXT), ("next", pa.int64())])
_LIVE, _STAGED = "live", "staged"  # sources that are none
_BLOCK = "_target_adbc_block"
_ROW = pa.field("_target_adbc_row", pa.int64())
# What a table would lose if it were replaced: views, indexes, triggers, policies, grants, comments, its owner.
_HAS_MORE = """
SELECT live.relacl IS DISTINCT FROM new.relacl OR live.relowner <> new.relowner OR live.relrowsecurity
  OR EXISTS (SELECT 1 FROM pg_description d WHERE d.objoid = live.oid AND d.classoid = 'pg_class'::regclass)
  OR EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = live.oid AND a.attacl IS NOT NULL)
  OR EXISTS (SELECT 1 FROM pg_depend d LEFT JOIN pg_class i ON i.oid = d.objid AND d.classid = 'pg_class'::regclass
             WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = live.oid AND d.deptype IN ('n', 'a')
             AND coalesce(i.relname NOT LIKE '\\_target\\_adbc\\_%', true))
FROM pg_class live, pg_class new WHERE live.oid = {live}::regclass AND new.oid = {staging}::regclass
"""


class StreamTables:
    """What the database holds of a stream, from the begin of a transaction to its end."""

    def __init__(self, database: Database, stream: str, keys: Sequence[str], *, hard_delete: bool) -> None:
        """Read the ledger, when no other run writes this stream any more.

        A target that was killed may still have a transaction that the server is about to commit.
        """
        self._database = database
        self._stream = stream
        self._keys = keys
        self._hard_delete = hard_delete
        self._live = database.names.table(stream)
        self._ledger = database.table(LEDGER)
        if database.scheme == "postgresql":
            database.execute(f"SELECT pg_advisory_xact_lock(hashtext({literal(self._ledger + stream)}))::text")
        if not database.exists(LEDGER):
            database.ingest(LEDGER, _COLUMNS, iter(()), mode="create")
        known = database.query(f"SELECT version, source, next FROM {self._ledger} WHERE stream = {literal(stream)}")  # noqa: S608 - quoted
        self._next: dict[tuple[int, str], int] = {(version, source): count for version, source, count in known}

    def next_offset(self, version: int | None, source: str) -> int:
        """Return how many rows of a source the database holds."""
        return self._next.get((version or 0, source), 0)

    def put(self, version: int | None, source: str, following: int) -> None:
        """Note how many rows of a source the database holds."""
        self._forget(f"version = {version or 0} AND source = {literal(source)}")
        values = f"{literal(self._stream)}, {version or 0}, {literal(source)}, {following}"
        self._database.execute(f"INSERT INTO {self._ledger} VALUES ({values})")  # noqa: S608 - quoted

    def waiting(self) -> list[int]:
        """List the versions that have rows, but have not been activated."""
        return [version for version, source in self._next if source == _STAGED]

    def write(
        self, version: int | None, schema: pa.Schema, batches: Iterator[pa.RecordBatch], *, may_be_known: bool
    ) -> int:
        """Write rows into the live table, if that has their version, else into the staging table of their version."""
        table = self._live
        is_live = version is None or self._is_live(version)
        if version is not None and not is_live:
            table = self._staging(version)
            self._give_up(but=version)
            if version not in self.waiting():
                self._database.drop(table)
                self.put(version, _STAGED, 0)
        wanted = self._prepare(table, self._stored(schema))
        rows = (conformed(batch, wanted, replace_nul=not self._database.kind.takes_nul) for batch in batches)
        if self._keys and (is_live or may_be_known):
            return self._merge(table, wanted, rows)
        return self._database.ingest(table, wanted, rows)

    def activate(self, version: int, schema: pa.Schema) -> None:
        """Let a version take the place of the live one; without rows, an empty table with this schema."""
        if self._is_live(version):
            return
        self._give_up(but=version)
        staging = self._staging(version)
        if not self._database.exists(staging):
            self._database.ingest(staging, self._stored(schema), iter(()), mode="create")
        if not self._hard_delete and self._database.exists(self._live):
            self._keep_old_rows(staging)
        _replace(self._database, self._live, staging)
        self._forget(f"version <> {version} OR source = {literal(_STAGED)}")
        self.put(version, _LIVE, 0)

    def _is_live(self, version: int) -> bool:
        return (version, _LIVE) in self._next

    def _staging(self, version: int) -> str:
        return self._database.names.staging(self._stream, version)

    def _give_up(self, *, but: int) -> None:
        """Remove the versions that the tap has given up."""
        for version in self.waiting():
            if version != but:
                self._database.drop(self._staging(version))
                self._forget(f"version = {version}")

    def _forget(self, condition: str) -> None:
        where = f"stream = {literal(self._stream)} AND ({condition})"
        self._database.execute(f"DELETE FROM {self._ledger} WHERE {where}")  # noqa: S608 - quoted

    def _stored(self, schema: pa.Schema) -> pa.Schema:
        """Name and type the columns of some rows as they are stored."""
        columns = self._database.names.columns(schema.names)
        stored = [(columns[each.name], stored_type(each.type)) for each in schema]
        if not self._database.kind.is_typed:
            stored = [(name, TEXT if pa.types.is_time(kind) else kind) for name, kind in stored]
        return pa.schema(stored)

    def _prepare(self, table: str, stored: pa.Schema) -> pa.Schema:
        """Make a table that can hold some columns; returns their types there."""
        database = self._database
        if not database.exists(table):
            database.ingest(table, stored, iter(()), mode="create")
            return stored
        columns = database.columns(table)
        wanted = []
        for each in stored:
            kind = columns.get(each.name, each.type) if database.kind.is_typed else each.type
            if each.name not in columns:
                database.add_column(table, each.name, kind)
            elif sql_name(new := widened(kind, each.type)) != sql_name(kind):
                database.widen(table, each.name, kind, new)
                kind = new
            wanted.append(pa.field(each.name, kind))
        return pa.schema(wanted)

    def _merge(self, table: str, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> int:
        """Let rows take the places of those with their keys; of several with one key, the last one stays."""
        database = self._database
        target, columns, keys, row = database.table(table), quoted(*schema.names), quoted(*self._keys), _ROW.name
        database.execute(f"DROP TABLE IF EXISTS {_BLOCK}")
        numbered = schema.append(_ROW)
        rows = database.ingest(_BLOCK, numbered, _numbered(batches, numbered), mode="temporary")
        if database.kind.needs_index:
            index = "_target_adbc_" + hashlib.sha256(table.encode()).hexdigest()[:16]
            database.execute(f"CREATE INDEX IF NOT EXISTS {index} ON {target} ({keys})")
        same = self._same_keys("t", "b")
        database.execute(f"DELETE FROM {target} AS t WHERE EXISTS (SELECT 1 FROM {_BLOCK} b WHERE {same})")  # noqa: S608
        latest = f"SELECT *, row_number() OVER (PARTITION BY {keys} ORDER BY {row} DESC) AS rank FROM {_BLOCK}"  # noqa: S608
        lives = f" AND {DELETED} IS NULL" if self._hard_delete and DELETED in schema.names else ""
        chosen = f"SELECT {columns} FROM ({latest}) ranked WHERE rank = 1{lives}"  # noqa: S608
        database.execute(f"INSERT INTO {target} ({columns}) {chosen}")
        database.execute(f"DROP TABLE {_BLOCK}")
        return rows

    def _keep_old_rows(self, staging: str) -> None:
        """Copy the live rows that a new version does not have, marked as deleted."""
        database = self._database
        old, new = database.columns(self._live), database.columns(staging)
        for name, kind in {**old, DELETED: MOMENT}.items():
            if name not in new:
                database.add_column(staging, name, kind)
        columns = quoted(*(name for name in old if name != DELETED))
        marked = f"COALESCE({DELETED}, CURRENT_TIMESTAMP)" if DELETED in old else "CURRENT_TIMESTAMP"
        if database.kind.is_typed:
            marked = f"CAST({marked} AS TIMESTAMP)"
        into, live = database.table(staging), database.table(self._live)
        same = self._same_keys("l", "s")
        gone = f" WHERE NOT EXISTS (SELECT 1 FROM {into} s WHERE {same})" if same else ""  # noqa: S608
        database.execute(f"INSERT INTO {into} ({columns}, {DELETED}) SELECT {columns}, {marked} FROM {live} l{gone}")  # noqa: S608

    def _same_keys(self, one: str, other: str) -> str:
        return " AND ".join(f"{one}.{quoted(key)} = {other}.{quoted(key)}" for key in self._keys)


def _numbered(batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    first = 0
    for batch in batches:
        numbers = pa.array(range(first, first + batch.num_rows), _ROW.type)
        yield pa.RecordBatch.from_arrays([*batch.columns, numbers], schema=schema)
        first += batch.num_rows


def _replace(database: Database, live: str, staging: str) -> None:
    """Let the staging table be the live one.

    A PostgreSQL table that others rely on keeps its identity, and gets the new rows instead. Who reads meanwhile sees
    the old rows until the transaction ends.
    """
    if database.exists(live):
        both = {"live": literal(database.table(live)), "staging": literal(database.table(staging))}
        if database.scheme == "postgresql" and database.query(_HAS_MORE.format(**both))[0][0]:
            _refill(database, live, staging)
            return
        database.execute(f"DROP TABLE {database.table(live)}")
    database.execute(f"ALTER TABLE {database.table(staging)} RENAME TO {quoted(live)}")


def _refill(database: Database, live: str, staging: str) -> None:
    """Put the rows of one table in the place of those of another one, and make its columns the same."""
    table, old, new = database.table(live), database.columns(live), database.columns(staging)
    database.execute(f"DELETE FROM {table}")  # noqa: S608 - quoted
    for name in old.keys() - new.keys():
        database.execute(f"ALTER TABLE {table} DROP COLUMN {quoted(name)}")
    for name, kind in new.items():
        sql = sql_name(kind)
        if name not in old:
            database.add_column(live, name, kind)
        elif sql_name(old[name]) != sql:  # there are no values to convert
            database.execute(f"ALTER TABLE {table} ALTER COLUMN {quoted(name)} TYPE {sql} USING CAST(NULL AS {sql})")
    columns = quoted(*new)
    database.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {database.table(staging)}")  # noqa: S608
    database.drop(staging)
