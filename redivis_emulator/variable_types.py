"""The eight Redivis variable types and the Arrow types that carry them (redivis-api §6.1)."""

from __future__ import annotations

from typing import Literal

import pyarrow as pa

VariableType = Literal["string", "integer", "float", "boolean", "date", "dateTime", "time", "geography"]

ARROW_TYPES: dict[VariableType, pa.DataType] = {
    "string": pa.string(),
    "integer": pa.int64(),
    "float": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "dateTime": pa.timestamp("us"),
    "time": pa.time64("us"),
    "geography": pa.string(),
}

_TESTS: list[tuple[VariableType, tuple[str, ...]]] = [
    ("integer", ("is_integer",)),
    ("float", ("is_floating", "is_decimal")),
    ("boolean", ("is_boolean",)),
    ("date", ("is_date",)),
    ("dateTime", ("is_timestamp",)),
    ("time", ("is_time",)),
    ("string", ("is_string", "is_large_string", "is_string_view", "is_null")),
]


def variable_type(arrow_type: pa.DataType) -> VariableType | None:
    """Return the variable type that holds values of an Arrow type; None for nested and binary ones."""
    if pa.types.is_dictionary(arrow_type):
        return variable_type(arrow_type.value_type)
    for name, tests in _TESTS:
        if any(getattr(pa.types, test)(arrow_type) for test in tests):
            return name
    return None


def convert(column: pa.ChunkedArray | pa.Array, to: pa.DataType) -> pa.ChunkedArray | pa.Array:
    """Cast a column without loss; a value that does not fit raises `pyarrow.ArrowInvalid`.

    Times with a zone become times in UTC, as Redivis has no time zones; decimals become the nearest float.
    """
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_timestamp(column.type) and column.type.tz:
        column = column.cast(pa.timestamp(column.type.unit))
    if column.type == to:
        return column
    # Nanoseconds lose their last three digits: Redivis has microseconds.
    exact = not (pa.types.is_temporal(column.type) and pa.types.is_temporal(to))
    return column.cast(to, safe=exact)
