"""Replication keys: the highest value that was seen, and the query for the rows from a value on. Pure."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec

from tap_redivis.model.columns import Column, ColumnType

KeyValue = int | float | str
"""A key's value as a RECORD has it; dates and times are text, whose order is theirs."""

_SQL_TYPES: dict[ColumnType, str] = {
    "integer": "INT64",
    "float": "FLOAT64",
    "date": "DATE",
    "dateTime": "DATETIME",
    "time": "TIME",
    "string": "STRING",
}
KEY_TYPES = frozenset(_SQL_TYPES)
"""Types whose values have an order."""

_TIME = r"\d\d:\d\d:\d\d(?:\.\d{1,6})?"
_SHAPES: dict[ColumnType, re.Pattern[str]] = {
    "date": re.compile(r"\d{4}-\d\d-\d\d", re.ASCII),
    "dateTime": re.compile(rf"(\d{{4}}-\d\d-\d\dT{_TIME})(?:\+00:00)?", re.ASCII),
    "time": re.compile(_TIME, re.ASCII),
}
_NOT_AS_AT_THE_SOURCE = re.compile("[\x00\ufffd\ud800-\udfff]")
_ESCAPES = str.maketrans({"\\": "\\\\", "'": "\\'", "`": "\\`", "\n": "\\n", "\r": "\\r"})


@dataclass(frozen=True)
class Since:
    """Where an incremental load goes on.

    Attributes:
        key: The replication key.
        value: The highest value of the last complete load.
    """

    key: Column
    value: KeyValue

    def condition(self) -> str:
        """Write the SQL condition: rows at the border come again, and rows without a key always do.

        Raises:
            ValueError: The value is not of the key's type.
        """
        name = identifier(self.key.name)
        condition = f"{name} >= {_literal(self.value, self.key.type)} OR {name} IS NULL"
        if self.key.type != "float":
            return condition
        return f"{condition} OR IS_NAN({name}) OR IS_INF({name})"  # in records these are null too


def rows_since(table: str, names: Sequence[str], since: Since) -> str:
    """Write the query for some variables of the rows that an incremental load needs.

    Raises:
        ValueError: The value is not of the key's type.
    """
    columns = ", ".join(map(identifier, names))
    return f"SELECT {columns} FROM {identifier(table)} WHERE {since.condition()}"  # noqa: S608 - all parts are quoted


def is_higher(value: KeyValue, other: KeyValue | None) -> bool:
    """Whether a key's value is higher than another; one of another type, from a damaged bookmark, does not count."""
    if isinstance(value, str):
        return not isinstance(other, str) or value > other
    return other is None or isinstance(other, str) or value > other


def highest_of(values: Iterable[KeyValue | None]) -> KeyValue | None:
    """Find the highest of a key's values; None if there is none."""
    highest: KeyValue | None = None
    for value in values:
        if value is not None and is_higher(value, highest):
            highest = value
    return highest


class HighestKey:
    """Finds the highest value of a column in JSON lines.

    Args:
        column: The column.
    """

    def __init__(self, column: Column) -> None:
        self.column = column
        self._decoder: msgspec.json.Decoder[Any] | None = None
        kind = {"integer": int, "float": float}.get(column.type, str)
        with suppress(ValueError):  # a name that cannot be a Struct's key
            row = msgspec.defstruct("Key", [("value", kind | None, None)], rename={"value": column.name}, gc=False)
            self._decoder = msgspec.json.Decoder(row)

    def of(self, lines: bytes) -> KeyValue | None:
        """Return the highest value; None if there is none."""
        values: list[Any] = [value for value in map(self._sure_part, self._values(lines)) if value is not None]
        return max(values, default=None)

    def _values(self, lines: bytes) -> list[KeyValue | None]:
        if self._decoder is not None:
            with suppress(msgspec.DecodeError, UnicodeDecodeError):  # a lone surrogate, which msgspec cannot read
                return [row.value for row in self._decoder.decode_lines(lines)]
        return [json.loads(line)[self.column.name] for line in lines.splitlines()]

    def _sure_part(self, value: KeyValue | None) -> KeyValue | None:
        """Cut a text before a character that the tap replaced: what is left is not higher than what the source has."""
        if self.column.type == "string" and isinstance(value, str):
            return _NOT_AS_AT_THE_SOURCE.split(value, maxsplit=1)[0]
        return value


def _literal(value: KeyValue, kind: ColumnType) -> str:
    if kind == "integer" and type(value) is int:
        text = str(value)
    elif kind == "float" and not isinstance(value, (str, bool)) and math.isfinite(value):
        text = repr(float(value))
    elif kind == "string" and isinstance(value, str) and not _NOT_AS_AT_THE_SOURCE.search(value):
        text = value
    elif kind in _SHAPES and isinstance(value, str) and (match := _SHAPES[kind].fullmatch(value)):
        text = match[match.lastindex or 0]
    else:
        raise ValueError(f"{value!r} is no {kind}")
    return f"CAST({text_literal(text)} AS {_SQL_TYPES[kind]})"


def text_literal(text: str) -> str:
    """Quote a text for SQL."""
    return f"'{text.translate(_ESCAPES)}'"


def identifier(name: str) -> str:
    """Quote a name for SQL."""
    return f"`{name.translate(_ESCAPES)}`"
