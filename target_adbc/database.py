"""The database: SQL, and Arrow into tables, in transactions, through its ADBC driver."""

import importlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import unquote, urlsplit

import adbc_driver_manager as adbc
import pyarrow as pa

from target_adbc.arrow_types import sql_name
from target_adbc.errors import TargetError, secrets, shown
from target_adbc.names import Names, literal, quoted

logger = logging.getLogger("target-adbc")

T = TypeVar("T")

_SECONDS_BETWEEN_TRIES = (1, 2, 4, 8, 16, None)
_HINTS = {
    "28P01": "check the user and the password in the uri",
    "42501": "grant the missing right to the user of the uri",
    "53100": "make room on the database's disk, then run again",
    "2BP01": "drop what depends on the column, or leave the column in the table",
}
_MOST_EXACT = 2**53  # integers beyond it have no double of their own


class Kind(NamedTuple):
    """What one kind of database can do."""

    driver: str  # name of the module that connects
    limit: int | None = None  # the most bytes of a name
    ignores_case: bool = False  # names that differ by case only are the same
    is_typed: bool = True  # a column holds one type only, and tables are in schemas
    takes_nul: bool = True  # text may hold U+0000
    needs_index: bool = False  # rows are found by their keys through an index
    tables: str = "information_schema.tables WHERE table_schema = {schema}"
    begin: str = ""  # what each connection starts with


KINDS: Mapping[str, Kind] = {
    # Without its statement, a server that crashes forgets rows that STATE speaks of.
    "postgresql": Kind(
        "adbc_driver_postgresql", 63, takes_nul=False, needs_index=True, begin="SET synchronous_commit = on"
    ),
    "duckdb": Kind(
        "adbc_driver_duckdb",
        ignores_case=True,
        begin="SET memory_limit = '100MB'; SET preserve_insertion_order = false",
    ),
    # Without its statement, a table that views name cannot be replaced.
    "sqlite": Kind(
        "adbc_driver_sqlite",
        ignores_case=True,
        is_typed=False,
        needs_index=True,
        tables="(SELECT name AS table_name FROM sqlite_master) WHERE {schema} = ''",
        begin="PRAGMA legacy_alter_table = ON; PRAGMA schema_version",
    ),
}


class Database:
    """One connection, and what is done through it; it connects when something is done."""

    def __init__(self, uri: str, driver: str | None = None, default_schema: str | None = None) -> None:
        secrets.add(uri)
        with suppress(ValueError):
            password = urlsplit(uri).password or ""
            secrets.update((password, unquote(password)))
        scheme = uri.partition(":")[0]
        self.scheme = "postgresql" if scheme == "postgres" else scheme
        if not driver and self.scheme not in KINDS:
            raise TargetError(f"uri: it begins with none of {', '.join(KINDS)}; name its ADBC driver in `driver`")
        self._is_file = self.scheme in ("duckdb", "sqlite")
        self._place = uri.partition(":///")[2] if self._is_file else uri
        if self._is_file and self._place in ("", ":memory:"):
            raise TargetError(f"uri: it names no file; write {self.scheme}:///path or {self.scheme}:////absolute/path")
        if self.scheme == "postgresql" and set("/?#@") & set(uri.partition("://")[2].rpartition("@")[0]):
            raise TargetError("uri: write / ? # and @ of the user and the password as %2F %3F %23 and %40")
        self.kind = KINDS.get(self.scheme) or Kind(driver or "")
        self.names = Names(limit=self.kind.limit, ignores_case=self.kind.ignores_case)
        self._driver = driver or self.kind.driver
        self._schema = default_schema if self.kind.is_typed else None
        self._connection: Any = None  # ADBC's DB-API, which imports pandas and more, takes as long to import as the SDK
        self._database: Any = None

    # --- connecting, and transactions ---

    def transaction(self, work: Callable[[], T]) -> T:
        """Do some work in one transaction; anew on a new connection, if the connection is lost in the middle.

        Raises:
            TargetError: The database refused, or cannot be reached any more; nothing of the work is stored.
        """
        if self._connection is None:
            self._connect()
        for seconds in _SECONDS_BETWEEN_TRIES:
            try:
                if self._connection is None:
                    self._connect()
                result = work()
                self._connection.commit()
            except (adbc.Error, TargetError) as error:
                if not self._is_lost():
                    raise error if isinstance(error, TargetError) else TargetError(_said(error)) from error
                if seconds is None:
                    raise TargetError(f"the connection to the database was lost: {_said(error)}") from error
                logger.warning("the connection to the database was lost, next try in %d s: %s", seconds, _said(error))
                time.sleep(seconds)
            else:
                return result
        raise AssertionError

    def close(self) -> None:
        """Disconnect."""
        for part in filter(None, (self._connection, self._database)):
            part.close()
        self._connection = self._database = None

    def _connect(self) -> None:
        try:
            driver = importlib.import_module(self._driver)
        except ImportError as error:
            raise TargetError(f"the driver {self._driver} is not installed: pip install 'tap-redivis[adbc]'") from error
        if self._is_file and not (folder := Path(self._place).absolute().parent).is_dir():
            raise TargetError(f"cannot connect to the database: there is no folder {folder}")
        try:
            self._database = driver.connect(self._place)
            self._connection = adbc.AdbcConnection(self._database)
            for statement in filter(None, self.kind.begin.split(";")):
                self.execute(statement)
            self._connection.set_autocommit(False)
            if self._schema is None and self.scheme in ("postgresql", "duckdb"):
                self._schema = self.query("SELECT current_schema()")[0][0]
            elif self._schema:
                named = f"schema_name = {literal(self._schema)}"
                if not self.query(f"SELECT 1 FROM information_schema.schemata WHERE {named}"):  # noqa: S608 - quoted
                    self.execute(f"CREATE SCHEMA {quoted(self._schema)}")
            self._connection.commit()
        except adbc.Error as error:
            raise TargetError(f"cannot connect to the database: {_said(error)}") from error

    def _is_lost(self) -> bool:
        """Undo the transaction; whether the connection cannot even do that."""
        try:
            if self._connection is not None:
                self._connection.rollback()
                self.query("SELECT 1")
                self._connection.rollback()
                return False
        except adbc.Error:
            self._connection = None
        return not self._is_file

    # --- statements ---

    def execute(self, sql: str) -> pa.Table:
        """Run a statement; returns the rows that it gives."""
        with closing(adbc.AdbcStatement(self._connection)) as statement:  # one for each use: drivers keep its options
            statement.set_sql_query(sql)
            return pa.RecordBatchReader.from_stream(statement.execute_query()[0]).read_all()  # pa.table imports pandas

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Run a query; returns its rows as Python's values."""
        return list(zip(*(column.to_pylist() for column in self.execute(sql).columns), strict=True))

    # --- tables ---

    def table(self, name: str) -> str:
        """Write a table's name for SQL."""
        return f"{quoted(self._schema)}.{quoted(name)}" if self._schema else quoted(name)

    def exists(self, name: str) -> bool:
        """Whether there is a table or a view of this name."""
        same = "lower(table_name) = lower({0})" if self.kind.ignores_case else "table_name = {0}"
        tables = self.kind.tables.format(schema=literal(self._schema or ""))
        return bool(self.query(f"SELECT 1 FROM {tables} AND {same.format(literal(name))}"))  # noqa: S608 - quoted

    def columns(self, name: str) -> dict[str, pa.DataType]:
        """Return names and types of the columns of a table, in their order."""
        found = self.execute(f"SELECT * FROM {self.table(name)} WHERE 1 = 0")  # noqa: S608 - quoted
        return {each.name: each.type for each in found.schema}

    def drop(self, name: str) -> None:
        """Drop a table, if there is one."""
        self.execute(f"DROP TABLE IF EXISTS {self.table(name)}")

    def add_column(self, name: str, column: str, arrow: pa.DataType) -> None:
        """Add a column, null in all rows."""
        self.execute(f"ALTER TABLE {self.table(name)} ADD COLUMN {quoted(column)} {sql_name(arrow)}")

    def widen(self, name: str, column: str, old: pa.DataType, new: pa.DataType) -> None:
        """Let a column have another type, if each of its values stays the same."""
        table, quoted_column, kind = self.table(name), quoted(column), sql_name(new)
        if (sql_name(old), kind) == ("BIGINT", "DOUBLE PRECISION") and self.query(
            f"SELECT 1 FROM {table} WHERE {quoted_column} NOT BETWEEN {-_MOST_EXACT} AND {_MOST_EXACT} LIMIT 1"  # noqa: S608 - quoted
        ):
            raise TargetError(f"{name}: column {column!r} holds integers that {kind} cannot hold exactly")
        using = f"USING CAST({quoted_column} AS {kind})"
        self.execute(f"ALTER TABLE {table} ALTER COLUMN {quoted_column} TYPE {kind} {using}")

    def ingest(self, name: str, schema: pa.Schema, batches: Iterator[pa.RecordBatch], *, mode: str = "append") -> int:
        """Put rows into a table, and return how many; "create" makes it, "temporary" one of this connection."""
        failed: list[TargetError] = []  # what goes wrong in Python reaches us through the driver as text only
        given = 0

        def counted() -> Iterator[pa.RecordBatch]:
            nonlocal given
            try:
                for batch in batches:
                    given += batch.num_rows
                    yield batch
            except TargetError as error:
                failed.append(error)
                raise

        is_temporary = mode == "temporary"
        options = {"adbc.ingest.target_table": name, "adbc.ingest.temporary": str(is_temporary).lower()}
        options["adbc.ingest.mode"] = f"adbc.ingest.mode.{'create' if is_temporary else mode}"
        if self._schema and not is_temporary:
            options["adbc.ingest.target_db_schema"] = self._schema
        with closing(adbc.AdbcStatement(self._connection)) as statement:
            statement.set_options(**options)
            statement.bind_stream(pa.RecordBatchReader.from_batches(schema, counted()))
            try:
                stored = statement.execute_update()
            except adbc.Error:
                if failed:
                    raise failed[0] from None
                raise
        if stored not in (given, -1):  # -1: the driver does not know
            raise TargetError(f"{name}: the driver stored {stored} of {given} rows: a newer one is needed")
        return given


def _said(error: BaseException) -> str:
    """Say what the database said, and what to do about it."""
    hint = _HINTS.get(getattr(error, "sqlstate", None) or "")
    if "COPY Writer" in str(error):  # the words of the driver for a column of a type that this target does not make
        hint = "drop the table, or let a full load replace it"
    return shown(error) + (f"; {hint}" if hint else "")
