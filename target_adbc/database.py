"""The database: SQL, and Arrow into tables, in transactions, through its ADBC driver."""

from __future__ import annotations

import importlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import adbc_driver_manager as adbc
import pyarrow as pa

from target_adbc.arrow_types import fits, sql_name
from target_adbc.errors import DatabaseError, SettingsError, TargetError, register_secret, shown
from target_adbc.names import Names, literal, quoted

logger = logging.getLogger("target-adbc")

T = TypeVar("T")

BLOCK = "_target_adbc_block"
ROW = "_target_adbc_row"
_SECONDS_BETWEEN_TRIES = (1, 2, 4, 8, 16)
_HINTS = {
    "28P01": "check the user and the password in the uri",
    "42501": "grant the missing right to the user of the uri",
    "53100": "make room on the database's disk, then run again",
    "2BP01": "drop what depends on the column, or leave the column in the table",
}


@dataclass(frozen=True)
class Kind:
    """What one kind of database can do.

    Attributes:
        driver: Name of the module that connects.
        limit: The most bytes of a name.
        ignores_case: Whether names that differ by case only are the same.
        has_schemas: Whether tables are in schemas.
        is_typed: Whether a column holds one type only.
        takes_nul: Whether text may hold U+0000.
        needs_index: Whether rows are found by their keys through an index.
        tables: Query that finds a table.
        begin: Statements that each connection starts with.
    """

    driver: str
    limit: int | None = None
    ignores_case: bool = False
    has_schemas: bool = True
    is_typed: bool = True
    takes_nul: bool = True
    needs_index: bool = False
    tables: str = "SELECT 1 FROM information_schema.tables WHERE table_schema = {schema} AND {same}"
    begin: tuple[str, ...] = ()


_SQLITE_TABLES = "SELECT 1 FROM (SELECT name AS table_name FROM sqlite_master) WHERE {same}"
KINDS: Mapping[str, Kind] = {
    "postgresql": Kind(
        "adbc_driver_postgresql",
        limit=63,
        takes_nul=False,
        needs_index=True,
        begin=("SET synchronous_commit = on",),  # else a server that crashes forgets rows that STATE speaks of
    ),
    "duckdb": Kind(
        "adbc_driver_duckdb",
        ignores_case=True,
        begin=("SET memory_limit = '100MB'", "SET preserve_insertion_order = false"),
    ),
    # Without this, a table that views name cannot be replaced.
    "sqlite": Kind(
        "adbc_driver_sqlite",
        ignores_case=True,
        has_schemas=False,
        is_typed=False,
        needs_index=True,
        tables=_SQLITE_TABLES,
        begin=("PRAGMA legacy_alter_table = ON",),
    ),
}
_NAMES = {"postgres": "postgresql"}


@dataclass
class Database:
    """One connection, and what is done through it.

    Attributes:
        uri: Where the database is.
        driver: Module of another driver; None: the uri tells.
        default_schema: Schema of the tables; None: the one that the database takes.
    """

    uri: str
    driver: str | None = None
    default_schema: str | None = None
    scheme: str = field(init=False)
    kind: Kind = field(init=False)

    def __post_init__(self) -> None:
        """Find out what kind of database it is; connects only when something is done."""
        register_secret(self.uri)
        self.scheme = self.uri.partition(":")[0]
        self.scheme = _NAMES.get(self.scheme, self.scheme)
        with suppress(ValueError):
            password = urlsplit(self.uri).password
            register_secret(password)
            register_secret(unquote(password or ""))
        if self.driver:
            self.kind = KINDS.get(self.scheme, Kind(self.driver))
        elif self.scheme in KINDS:
            self.kind = KINDS[self.scheme]
        else:
            raise SettingsError(f"uri: it begins with none of {', '.join(KINDS)}; name its ADBC driver in `driver`")
        self.names = Names(limit=self.kind.limit, ignores_case=self.kind.ignores_case)
        self._database: Any = None
        self._connection: Any = None

    # --- connecting, and transactions ---

    def connect(self) -> None:
        """Connect, and make the schema if there is none.

        Raises:
            DatabaseError: It cannot be reached, or refuses.
            SettingsError: The driver is not installed.
        """
        module = self.driver or self.kind.driver
        try:
            driver = importlib.import_module(module)
        except ImportError as error:
            raise SettingsError(f"the driver {module} is not installed: pip install 'tap-redivis[adbc]'") from error
        place = self.uri
        if self.scheme in ("duckdb", "sqlite"):
            place = self.uri.partition(":///")[2]
        try:
            self._database = driver.connect(place)
            self._connection = adbc.AdbcConnection(self._database)
            for statement in self.kind.begin:
                self.execute(statement)
            self._connection.set_autocommit(False)
        except adbc.Error as error:
            raise DatabaseError(f"cannot connect to the database: {_said(error)}") from error
        self._find_schema()

    def close(self) -> None:
        """Disconnect."""
        for part in (self._connection, self._database):
            if part is not None:
                part.close()
        self._connection = self._database = None

    def _find_schema(self) -> None:
        if not self.kind.has_schemas:
            self.default_schema = None
        elif self.default_schema is None:
            self.default_schema = self.query("SELECT current_schema()")[0][0] if self.scheme in KINDS else None
        else:
            name = literal(self.default_schema)
            if not self.query(f"SELECT 1 FROM information_schema.schemata WHERE schema_name = {name}"):  # noqa: S608 - quoted
                self.execute(f"CREATE SCHEMA {quoted(self.default_schema)}")
        self._connection.commit()

    def transaction(self, work: Callable[[], T]) -> T:
        """Do some work in one transaction; anew on a new connection, if the connection is lost in the middle.

        Raises:
            DatabaseError: The database refused, or cannot be reached any more; nothing of the work is stored.
        """
        if self._connection is None:
            self.connect()
        for seconds in (*_SECONDS_BETWEEN_TRIES, None):
            try:
                if self._connection is None:
                    self.connect()
                result = work()
                self._connection.commit()
            except (adbc.Error, DatabaseError) as error:
                if not self._is_lost():
                    raise error if isinstance(error, DatabaseError) else DatabaseError(_said(error)) from error
                if seconds is None:
                    raise DatabaseError(f"the connection to the database was lost: {_said(error)}") from error
                logger.warning("the connection to the database was lost, next try in %d s: %s", seconds, _said(error))
                time.sleep(seconds)
            except BaseException:
                self._is_lost()
                raise
            else:
                return result
        raise AssertionError

    def _is_lost(self) -> bool:
        """Undo the transaction; whether the connection cannot even do that."""
        try:
            if self._connection is not None:
                self._connection.rollback()
                self.query("SELECT 1")
                self._connection.rollback()
                return False
        except (adbc.Error, DatabaseError):
            self._connection = None
        return True

    # --- statements ---

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Run a query; returns its rows."""
        found = self._selected(sql)
        return list(zip(*(column.to_pylist() for column in found.columns), strict=True))

    def _selected(self, sql: str) -> pa.Table:
        with self._statement() as statement:
            statement.set_sql_query(sql)
            handle, _ = statement.execute_query()
            with pa.RecordBatchReader._import_from_c(handle.address) as reader:  # noqa: SLF001 - as ADBC's own code does
                return reader.read_all()

    def execute(self, sql: str) -> None:
        """Run a statement that gives no rows."""
        with self._statement() as statement:
            statement.set_sql_query(sql)
            statement.execute_update()

    @contextmanager
    def _statement(self) -> Iterator[Any]:
        """Give a statement for one use: drivers keep its options."""
        statement = adbc.AdbcStatement(self._connection)
        try:
            yield statement
        except adbc.Error as error:
            raise DatabaseError(_said(error)) from error
        finally:
            with suppress(adbc.Error):
                statement.close()

    # --- tables ---

    def table(self, name: str) -> str:
        """Write a table's name for SQL."""
        return f"{quoted(self.default_schema)}.{quoted(name)}" if self.default_schema else quoted(name)

    def exists(self, name: str) -> bool:
        """Whether there is a table or a view of this name."""
        same = f"table_name = {literal(name)}"
        if self.kind.ignores_case:
            same = f"lower(table_name) = lower({literal(name)})"
        return bool(self.query(self.kind.tables.format(schema=literal(self.default_schema or ""), same=same)))

    def columns(self, name: str) -> dict[str, pa.DataType]:
        """Return names and types of the columns of a table, in their order."""
        found = self._selected(f"SELECT * FROM {self.table(name)} WHERE 1 = 0")  # noqa: S608 - quoted
        return {each.name: each.type for each in found.schema}

    def create(self, name: str, schema: pa.Schema) -> None:
        """Create an empty table."""
        self.ingest(name, schema, iter(()), mode="create")

    def drop(self, name: str) -> None:
        """Drop a table, if there is one."""
        self.execute(f"DROP TABLE IF EXISTS {self.table(name)}")

    def add_column(self, name: str, column: str, arrow: pa.DataType) -> None:
        """Add a column, null in all rows."""
        self.execute(f"ALTER TABLE {self.table(name)} ADD COLUMN {quoted(column)} {sql_name(arrow)}")

    def widen(self, name: str, column: str, old: pa.DataType, new: pa.DataType) -> None:
        """Let a column have another type, if each of its values stays the same.

        Raises:
            DatabaseError: A value would change.
        """
        table, quoted_column, kind = self.table(name), quoted(column), sql_name(new)
        if (other := fits(old, new, quoted_column)) and self.query(
            f"SELECT 1 FROM {table} WHERE {other} LIMIT 1"  # noqa: S608 - quoted
        ):
            raise DatabaseError(f"{name}: column {column!r} holds integers that {kind} cannot hold exactly")
        self.execute(
            f"ALTER TABLE {table} ALTER COLUMN {quoted_column} TYPE {kind} USING CAST({quoted_column} AS {kind})"
        )

    def ingest(self, name: str, schema: pa.Schema, batches: Iterator[pa.RecordBatch], *, mode: str = "append") -> None:
        """Put rows into a table; mode "block" creates a table that belongs to this connection."""
        options = {"adbc.ingest.target_table": name, "adbc.ingest.mode": f"adbc.ingest.mode.{mode}"}
        if mode == "block":
            options |= {"adbc.ingest.mode": "adbc.ingest.mode.create", "adbc.ingest.temporary": "true"}
        elif self.default_schema:
            options["adbc.ingest.target_db_schema"] = self.default_schema
        failed: list[TargetError] = []  # what goes wrong in Python reaches us through the driver as text only

        given = 0

        def guarded() -> Iterator[pa.RecordBatch]:
            nonlocal given
            try:
                for batch in batches:
                    given += batch.num_rows
                    yield batch
            except TargetError as error:
                failed.append(error)
                raise

        with self._statement() as statement:
            statement.set_options(**options)
            statement.bind_stream(pa.RecordBatchReader.from_batches(schema, guarded()))
            try:
                stored = statement.execute_update()
            except adbc.Error:
                if failed:
                    raise failed[0] from None
                raise
        if stored not in (given, -1):  # -1: the driver does not know
            raise DatabaseError(f"{name}: the driver stored {stored} of {given} rows: a newer one is needed")


def _said(error: BaseException) -> str:
    """Say what the database said, and what to do about it."""
    hint = _HINTS.get(getattr(error, "sqlstate", None) or "")
    return shown(error) + (f"; {hint}" if hint else "")
