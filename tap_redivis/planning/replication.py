"""INCREMENTAL: the SQL query for the rows whose replication key has some value or a higher one. Pure."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from tap_redivis.model.columns import Column, ColumnType, KeyValue
from tap_redivis.wire.json_lines import CHANGED_CHARACTERS

_SQL_TYPES: dict[ColumnType, str] = {
    "integer": "INT64",
    "float": "FLOAT64",
    "date": "DATE",
    "dateTime": "DATETIME",
    "time": "TIME",
    "string": "STRING",
}

_TIME = r"\d\d:\d\d:\d\d(?:\.\d{1,6})?"
_SHAPES: dict[ColumnType, re.Pattern[str]] = {
    "date": re.compile(r"\d{4}-\d\d-\d\d", re.ASCII),
    "dateTime": re.compile(rf"(\d{{4}}-\d\d-\d\dT{_TIME})(?:\+00:00)?", re.ASCII),
    "time": re.compile(_TIME, re.ASCII),
}
_ESCAPES = str.maketrans({"\\": "\\\\", "'": "\\'", "`": "\\`", "\n": "\\n", "\r": "\\r"})


@dataclass(frozen=True)
class Since:
    """Where an incremental load continues."""

    key: Column
    value: KeyValue  # the highest of the last complete load

    def condition(self) -> str:
        """Write the SQL condition; a ``ValueError`` says that the value is not of the key's type."""
        # Rows with exactly this value come again: the last load may not have seen all of them. Rows without a key
        # always come, since nothing tells whether they are new.
        name = identifier(self.key.name)
        condition = f"{name} >= {_literal(self.value, self.key.type)} OR {name} IS NULL"
        if self.key.type != "float":
            return condition
        return f"{condition} OR IS_NAN({name}) OR IS_INF({name})"  # in records these are null too


def rows_since(table: str, names: Sequence[str], since: Since) -> str:
    """Write the query for the rows that an incremental load needs, with the variables ``names``."""
    columns = ", ".join(map(identifier, names))
    return f"SELECT {columns} FROM {identifier(table)} WHERE {since.condition()}"  # noqa: S608 - all parts are quoted


def _literal(value: KeyValue, kind: ColumnType) -> str:
    # The value comes from STATE, which anyone may have edited: only text of the key's type gets into SQL.
    if kind == "integer" and type(value) is int:
        text = str(value)
    elif kind == "float" and not isinstance(value, (str, bool)) and math.isfinite(value):
        text = repr(float(value))
    elif kind == "string" and isinstance(value, str) and not CHANGED_CHARACTERS.search(value):
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
