"""Columns, those that the tap adds too, their types, the values of replication keys, and the rules for odd values."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

# The types of Redivis variables (redivis-api §6.1).
ColumnType = Literal["string", "integer", "float", "boolean", "date", "dateTime", "time", "geography"]
COLUMN_TYPES: frozenset[str] = frozenset(get_args(ColumnType))
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
WireFormat = Literal["jsonl", "arrow", "csv"]


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    name: str  # the variable's name, in the spelling that RECORDs have
    type: ColumnType  # the type that its values are cast to
    arrives_as: ColumnType | None = None  # the type that the server has now, if it is another one: only exact casts
    is_gone: bool = False  # the server no longer has the variable: every value is null
    is_geography: bool = False  # JSON Schema has no such type: it is text there

    @property
    def wire_type(self) -> ColumnType:
        """The type that its values arrive as."""
        return self.arrives_as or self.type


# Columns that the tap adds to those of a table.
ROW_KEY = "_redivis_row_key"
TABLE = "_redivis_table"
VERSION = "_redivis_version"
FILE_URI = "_redivis_file_uri"  # where the contents of the file are that a row names
DELETED_AT = "_sdc_deleted_at"  # when LOG_BASED found a row gone; null in rows that are there
LOAD = "_sdc_table_version"

# RECORD messages have the version beside the record; the rows of files need columns for it.
VERSION_COLUMNS: dict[str, dict[str, Any]] = {
    LOAD: {"type": ["integer", "null"]},
    VERSION: {"type": ["string", "null"]},
}


# A key's value as a RECORD has it: the text of dates and times sorts like the dates and times themselves.
KeyValue = int | float | str
# Types whose values have an order.
KEY_TYPES: frozenset[ColumnType] = frozenset({"integer", "float", "date", "dateTime", "time", "string"})


def is_higher(value: KeyValue, other: KeyValue | None) -> bool:
    """Whether a key's value is higher than another; one of another type, from a damaged bookmark, does not count."""
    if isinstance(value, str):
        return not isinstance(other, str) or value > other
    return other is None or isinstance(other, str) or value > other


def highest_of(values: Iterable[KeyValue | None]) -> KeyValue | None:
    """Find the highest of a key's values; None if there is none."""
    present: list[Any] = [value for value in values if value is not None]
    return max(present, default=None)


# targets.md, rule 8: U+0000 stops PostgreSQL, a lone surrogate most targets.
BAD_CHARACTERS = re.compile("[\x00\ud800-\udfff]")
SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class ValueRules:
    """What to do with values that targets cannot take."""

    invalid_as_null: bool = False  # on_invalid_value is null
    replace_characters: bool = True  # replace_invalid_characters
    append_utc: bool = False  # datetime_zone is utc
    for_arrow: bool = False  # Arrow has NaN and infinities, but no lone surrogates; JSON is the reverse

    @property
    def bad_characters(self) -> re.Pattern[str] | None:
        """What has to be replaced."""
        if self.replace_characters:
            return BAD_CHARACTERS
        return SURROGATES if self.for_arrow else None
