"""Which Arrow types the database stores, and how values of other types become those."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from target_adbc.errors import InputError

logger = logging.getLogger("target-adbc")

TEXT = pa.string()
INTEGER = pa.int64()
NUMBER = pa.float64()
MOMENT = pa.timestamp("us")

# Names that PostgreSQL, DuckDB and SQLite understand; tables are created by the drivers, columns are added by these.
_SQL_NAMES = (
    (pa.types.is_boolean, "BOOLEAN"),
    (pa.types.is_integer, "BIGINT"),
    (pa.types.is_floating, "DOUBLE PRECISION"),
    (pa.types.is_date, "DATE"),
    (pa.types.is_time, "TIME"),
    (pa.types.is_binary, "BYTEA"),
)
_STORED = (
    (pa.types.is_boolean, pa.bool_()),
    (pa.types.is_integer, INTEGER),
    (pa.types.is_floating, NUMBER),
    (pa.types.is_date, pa.date32()),
    (pa.types.is_time, pa.time64("us")),
    (pa.types.is_binary, pa.binary()),
    (pa.types.is_large_binary, pa.binary()),
    (pa.types.is_fixed_size_binary, pa.binary()),
)
_MOST_EXACT = 2**53  # integers beyond it have no double of their own


def sql_name(arrow: pa.DataType) -> str:
    """Name a stored type in SQL."""
    if pa.types.is_timestamp(arrow):
        return "TIMESTAMP" if arrow.tz is None else "TIMESTAMP WITH TIME ZONE"
    if pa.types.is_decimal(arrow):
        return f"NUMERIC({arrow.precision}, {arrow.scale})"
    return next((name for is_type, name in _SQL_NAMES if is_type(arrow)), "TEXT")


def stored_type(arrow: pa.DataType) -> pa.DataType:
    """Choose the type that holds all values of a type exactly: lists and structures become JSON."""
    if pa.types.is_dictionary(arrow):
        return stored_type(arrow.value_type)
    if pa.types.is_timestamp(arrow):
        return pa.timestamp("us", "UTC" if arrow.tz else None)
    if pa.types.is_decimal(arrow):
        return arrow
    return next((stored for is_type, stored in _STORED if is_type(arrow)), TEXT)


def stored_schema(schema: pa.Schema, columns: Mapping[str, str]) -> pa.Schema:
    """Name and type the columns of some rows as they are stored."""
    return pa.schema([pa.field(columns[field.name], stored_type(field.type)) for field in schema])


def same_type(one: pa.DataType, other: pa.DataType) -> bool:
    """Whether two stored types are the same for a database, which may name UTC otherwise."""
    return sql_name(one) == sql_name(other)


def widened(old: pa.DataType, new: pa.DataType) -> pa.DataType:
    """Choose the type of a column that shall hold values of a second type too; the first one, if that can."""
    kinds = {sql_name(old), sql_name(new)}
    if kinds == {"BIGINT", "DOUBLE PRECISION"}:
        return NUMBER
    if kinds == {"DATE", "TIMESTAMP"}:
        return MOMENT
    return old if len(kinds) == 1 else TEXT


def fits(old: pa.DataType, new: pa.DataType, column: str) -> str:
    """Write the condition of rows whose value would be another one in the new type; empty: no value would."""
    if sql_name(old) == "BIGINT" and sql_name(new) == "DOUBLE PRECISION":
        return f"{column} NOT BETWEEN {-_MOST_EXACT} AND {_MOST_EXACT}"
    return ""


def conformed(batch: pa.RecordBatch, schema: pa.Schema, *, replace_nul: bool) -> pa.RecordBatch:
    """Cast the columns of a batch, in their order, to the types of a schema; U+0000 may become U+FFFD.

    Raises:
        InputError: A value does not fit.
    """
    arrays = []
    for array, field, name in zip(batch.columns, schema, batch.schema.names, strict=True):
        try:
            found = _cast(array, field.type)
        except pa.ArrowInvalid as error:
            raise InputError(f"column {name!r}: a value does not fit the type {field.type}: {error}") from error
        if replace_nul and field.type.equals(TEXT) and pc.any(pc.match_substring(found, "\0")).as_py():
            found = pc.replace_substring(found, "\0", "\ufffd")
            logger.warning("column %r: U+0000, which the database cannot hold, becomes U+FFFD", name)
        arrays.append(found)
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _cast(array: pa.Array, wanted: pa.DataType) -> pa.Array:
    if array.type.equals(wanted):
        return array
    if pa.types.is_nested(array.type):
        values = [None if value is None else msgspec.json.encode(value).decode() for value in array.to_pylist()]
        return pa.array(values, TEXT)
    return array.cast(wanted)  # times to text too, for SQLite, which has no type for them
