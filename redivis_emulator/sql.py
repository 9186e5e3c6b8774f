"""Runs GoogleSQL on DuckDB: referenced tables become views, result columns get Redivis types."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import sqlglot
from sqlglot import exp

from redivis_emulator.errors import SqlError
from redivis_emulator.readings import Readings
from redivis_emulator.sessions import View
from redivis_emulator.variable_types import ARROW_TYPES, convert, variable_type

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from redivis_emulator.library import Variable
    from redivis_emulator.lookups import Readable
    from redivis_emulator.sources import Source

_DUCKDB_TYPES = {
    "string": "VARCHAR",
    "integer": "BIGINT",
    "float": "DOUBLE",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "dateTime": "TIMESTAMP",
    "time": "TIME",
    "geography": "VARCHAR",
}

_MACROS = """
    CREATE TEMP MACRO ieee_divide(x, y) AS CAST(x AS DOUBLE) / CAST(y AS DOUBLE);
    CREATE TEMP MACRO st_asbinary(x) AS encode(x);
    CREATE TEMP MACRO st_astext(x) AS x;
"""
"""Functions of GoogleSQL that DuckDB does not have; geographies are kept as their text."""


UPLOAD_NAME = "_upload_name"

_DIALECT = sqlglot.Dialect.get_or_raise("bigquery")
# Replaces a dot in a quoted name while the query is parsed; a private character that names do not contain.
_DOT = "\ue000"


@dataclass(frozen=True)
class Statement:
    """A query in DuckDB's SQL, and the tables that it reads by the name of their view."""

    sql: str
    tables: dict[str, Readable]


@dataclass(frozen=True)
class QueryResult:
    """The result of a query."""

    source: Source
    variables: tuple[Variable, ...]


def translate(sql: str, find: Callable[[str], Readable]) -> Statement:
    """Translate a query.

    Args:
        sql: One SELECT in GoogleSQL.
        find: Returns the table that a reference names.

    Raises:
        SqlError: The text is not one SELECT.
    """
    tree = _parse(sql)
    _name_columns(tree)
    tables: dict[str, Readable] = {}
    ctes = {cte.alias.lower() for cte in tree.find_all(exp.CTE)}
    for node in list(tree.find_all(exp.Table)):
        reference = ".".join(part.name for part in node.parts)
        if isinstance(node.this, exp.Identifier) and reference.lower() not in ctes:
            view = f"table_{len(tables)}"
            tables[view] = find(reference)
            _point_at(node, view, reference)
    return Statement(tree.sql("duckdb"), tables)


def _parse(sql: str) -> exp.Query:
    try:
        tokens = _DIALECT.tokenize(sql)
        # sqlglot splits a quoted name at its dots, which is right for a table and wrong for a column.
        for token in tokens:
            if token.token_type == sqlglot.TokenType.IDENTIFIER:
                token.text = token.text.replace(".", _DOT)
        trees = _DIALECT.parser().parse(tokens, sql)
    except sqlglot.errors.SqlglotError as error:
        raise SqlError(str(error).splitlines()[0]) from error
    tree = trees[0] if len(trees) == 1 else None
    if not isinstance(tree, exp.Query):
        msg = "Only SELECT statements can be run."
        raise SqlError(msg)
    for name in tree.find_all(exp.Identifier):
        name.set("this", name.name.replace(_DOT, "."))
    return tree


def _name_columns(tree: exp.Query) -> None:
    """Name unnamed columns, also those of subqueries, as BigQuery does: f0_, f1_, ..."""
    for select in tree.find_all(exp.Select):
        numbers = count()
        # All at once: sqlglot's replacement of one expression is linear in the number of expressions.
        select.set("expressions", [_named(expression, numbers) for expression in select.expressions])


def _named(expression: exp.Expr, numbers: Iterator[int]) -> exp.Expr:
    if isinstance(expression, (exp.Alias, exp.Column, exp.Star)):
        return expression
    return exp.alias_(expression, f"f{next(numbers)}_", copy=False)


def _point_at(node: exp.Table, view: str, reference: str) -> None:
    """Make a table node refer to a view; its alias is the name that the query uses."""
    names = reference.rpartition(".")[2].split(":")
    name = node.alias or next(filter(None, names), view)
    node.set("this", exp.to_identifier(view))
    node.set("db", None)
    node.set("catalog", None)
    node.set("alias", exp.TableAlias(this=exp.to_identifier(name, quoted=True)))


def run(statement: Statement, readings: Readings) -> pa.Table:
    """Run a query; the columns of the result have Redivis types, but for what the readings leave as it is.

    Raises:
        SqlError: DuckDB rejects the query, or two columns of the result have the same name.
    """
    try:
        with duckdb.connect() as connection:
            for view, table in statement.tables.items():
                _create_view(connection, view, table)
            connection.execute(_MACROS)
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute("SET python_enable_replacements = false")
            connection.execute("SET enable_external_access = false")
            result = connection.sql(statement.sql).to_arrow_table()
    except duckdb.Error as error:
        raise SqlError(str(error).splitlines()[0]) from error
    names = [name.lower() for name in result.column_names]
    if len(set(names)) < len(names):
        msg = "Duplicate column names in the result are not supported."
        raise SqlError(msg)
    return pa.table([_plain(column, readings) for column in result.columns], names=result.column_names)


def column(readable: Readable, variable: Variable) -> pa.ChunkedArray:
    """Return the values of a variable in its declared type; a stored value that does not fit is null."""
    only = replace(readable, variables=(variable,))
    return run(Statement("SELECT * FROM rows", {"rows": only}), Readings()).column(0)


def _create_view(connection: duckdb.DuckDBPyConnection, view: str, table: Readable) -> None:
    stored = [View(part, table.schema).slice(0, part.rows) for part in table.parts]
    rows = pa.concat_tables(stored) if stored else table.schema.empty_table()
    columns = ", ".join(_column(variable) for variable in table.variables)
    if table.is_draft and UPLOAD_NAME not in table.schema.names:
        # SQL tells of each row of a draft from which upload it is (redivis-api §6.3).
        names = [pa.repeat(part.path.name, part.rows) for part in table.parts]
        rows = rows.append_column(UPLOAD_NAME, pa.chunked_array(names, pa.string()))
        columns = f"{columns}, {_quoted(UPLOAD_NAME)}"
    connection.register(f"{view}_stored", rows)
    connection.execute(f"CREATE TEMP VIEW {view} AS SELECT {columns} FROM {view}_stored")  # noqa: S608 - our own names


def _column(variable: Variable) -> str:
    name = _quoted(variable.name)
    if _DUCKDB_TYPES[variable.type] == _DUCKDB_TYPES[variable.stored]:
        return name
    # A retyped variable is stored as text, but a query gets its declared type (redivis-api §6.2).
    return f"TRY_CAST({name} AS {_DUCKDB_TYPES[variable.type]}) AS {name}"


def _quoted(name: str) -> str:
    return exp.to_identifier(name, quoted=True).sql("duckdb")


def _plain(column: pa.ChunkedArray, readings: Readings) -> pa.ChunkedArray:
    """Return a column in a Redivis type: decimals of scale 0 (sums) as integers, nested values as JSON (§11.21)."""
    if pa.types.is_decimal(column.type):
        if column.type.scale == 0:
            return column.cast(pa.int64())
        if readings.sql_decimals != "float":
            return column if readings.sql_decimals == "decimal" else column.cast(pa.string())
    kind = variable_type(column.type)
    if kind is None and readings.sql_nested != "string":
        if readings.sql_nested == "native":
            return column
        msg = f"Unsupported type of a result: {column.type}."
        raise SqlError(msg)
    if kind is not None:
        return convert(column, ARROW_TYPES[kind])
    texts = [None if value is None else json.dumps(value, default=str) for value in column.to_pylist()]
    return pa.chunked_array([pa.array(texts, pa.string())])
