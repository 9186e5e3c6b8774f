"""The columns and rules of one table: how its values are checked, cast and written as JSON."""

from __future__ import annotations

import datetime as dt
import json
import re
import threading
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, TypeVar

import msgspec

from tap_redivis.errors import InvalidValue, SchemaChanged, one_line
from tap_redivis.model.columns import _SURROGATES, INT64_MAX, INT64_MIN, Column, ValueRules
from tap_redivis.wire.casts import Number, Value, cast, is_finite, recast
from tap_redivis.wire.json_lines import has_escaped_nul, is_too_fine, utc_appender
from tap_redivis.wire.rows import JsonRows, ValueIssues

T = TypeVar("T")

_FIELD_TYPES: dict[str, Any] = {
    "string": str,
    "geography": str,
    "integer": Annotated[int, msgspec.Meta(ge=INT64_MIN, le=INT64_MAX)],
    "float": float,
    "boolean": bool,
    "date": dt.date,
    "dateTime": Annotated[dt.datetime, msgspec.Meta(tz=False)],
    "time": Annotated[dt.time, msgspec.Meta(tz=False)],
}
_NEEDS_ESCAPING = re.compile(r'["\\\x00-\x1f]')


class RowCodec:
    """Checks, casts and spells the rows of one table.

    Args:
        table: The table's reference, for errors.
        columns: The columns, in the order that RECORDs have them.
        rules: What to do with values that targets cannot take.
        issues: Where changes are counted.

    Attributes:
        large_rows: Held by the read stream that has a large row in memory.
    """

    def __init__(self, table: str, columns: Sequence[Column], rules: ValueRules, issues: ValueIssues) -> None:
        self.columns = tuple(columns)
        self.table = table
        self.rules = rules
        self._bad_characters = rules.bad_characters
        self._issues = issues
        self.keys = [msgspec.json.encode(column.name).decode() + ":" for column in columns]
        self.zone = "+00:00" if rules.append_utc else ""
        self._encoder = msgspec.json.Encoder()
        self.row_type = _row_type(columns)
        self._decoder = None if self.row_type is None else msgspec.json.Decoder(self.row_type)
        self._has_times = any(column.type in {"dateTime", "time"} for column in columns)
        self._append_zones = utc_appender(columns) if rules.append_utc else None
        self.large_rows = threading.Lock()
        self.all_must_come = False

    def fitted(self, columns: Sequence[Column], *, all_must_come: bool) -> RowCodec:
        """Make the codec for columns that are known to arrive otherwise, or not at all.

        Args:
            columns: The same columns, with what is known of them.
            all_must_come: Whether it is an error if a body lacks one of the others.
        """
        codec = RowCodec(self.table, columns, self.rules, self._issues)
        codec.all_must_come = all_must_come
        return codec

    def note_missing(self, names: Iterable[str]) -> None:
        """Count columns that a body does not have.

        Raises:
            SchemaChanged: It must have them: the table is a released one, so all of its bodies have the same.
        """
        for name in names:
            if self.all_must_come:
                raise SchemaChanged(
                    f"a read stream lacks the column {name!r}, which the table has",
                    where=self.table,
                    hint="Run again; if it stays, deselect the variable, and tell Redivis",
                )
            self._issues.add(f"bodies without the column {name!r}, which is null there")

    def with_column(self, column: Column) -> RowCodec:
        """Make the same codec for rows that end with one more column."""
        return self.fitted((*self.columns, column), all_must_come=self.all_must_come)

    def encode_lines(self, lines: bytes) -> JsonRows | None:
        """Check and spell JSON lines whose keys are the columns' names; None where some row needs casting.

        Casting it must be where the decoder would hide something: U+0000, or parts of microseconds, which it rounds,
        up to the next day.
        """
        if self._decoder is None or has_escaped_nul(lines):
            return None
        try:
            structs = self._decoder.decode_lines(lines)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        # Lines that could be passed on as they came are encoded too: to find out which can takes as long as that.
        encoded = self._encoder.encode_lines(structs)
        if self._has_times and is_too_fine(lines, encoded):
            return None
        return JsonRows(len(structs), self._append_zones(encoded) if self._append_zones else encoded)

    def encode_row(self, values: Sequence[Value]) -> bytes:
        """Write one cast row as a JSON line."""
        cells = zip(self.keys, values, self.columns, strict=True)
        return b"{" + b",".join(key.encode() + self._encode(value, column) for key, value, column in cells) + b"}\n"

    def note_unknown(self, names: Iterable[str]) -> None:
        """Count columns that arrive though the variable list does not have them."""
        for name in names:
            self._issues.add(f"streams with the unknown column {name!r}, which is left out")

    def encode_column(self, values: Sequence[Any], column: Column, offset: int) -> list[bytes]:
        """Cast and spell the values of one column, one by one.

        Args:
            values: JSON values.
            column: The column.
            offset: Offset of the first value's row in its stream, for errors.

        Raises:
            InvalidValue: A value cannot be read as its type, and the rules say to fail.
        """
        return [self._encode(value, column) for value in self.cast_column(values, column, offset)]

    def cast_column(self, values: Sequence[Any], column: Column, offset: int) -> list[Value]:
        """Cast the values of one column, one by one (see ``encode_column``)."""
        return [self._cast(value, column, offset + index) for index, value in enumerate(values)]

    def note_not_finite(self, column: Column, count: int) -> None:
        """Count floats that are NaN or infinite."""
        self._issues.add(f"NaN or infinite values of {column.name!r} written as null", count)

    def cast_row(self, row: dict[str, Any], names: Sequence[str], offset: int) -> list[Value]:
        """Cast one row.

        Args:
            row: Decoded JSON object.
            names: The key of each column in it.
            offset: The row's offset in its stream, for errors.

        Raises:
            InvalidValue: A value cannot be read as its type, and the rules say to fail.
        """
        return [self._cast(row.get(name), column, offset) for name, column in zip(names, self.columns, strict=True)]

    def _cast(self, raw: Any, column: Column, offset: int) -> Value:  # noqa: ANN401 - any JSON value
        try:
            value = self._cast_exactly(raw, column) if column.arrives_as else cast(raw, column.type)
        except ValueError as error:
            if not self.rules.invalid_as_null:
                raise self._invalid(raw, column, offset, error) from None
            self._issues.add(f"invalid values of {column.name!r} written as null")
            return None
        if not self.rules.for_arrow and not is_finite(value):
            self.note_not_finite(column, 1)
            return None
        return self._clean(value, column)

    def _cast_exactly(self, raw: Any, column: Column) -> Value:  # noqa: ANN401 - any JSON value
        """Cast a value of a retyped variable, by way of the type that it has, so that all formats give the same."""
        value = cast(raw, column.wire_type)
        return recast(value, column.type) if value is not None and is_finite(value) else value

    def _clean(self, value: T, column: Column) -> T | str:
        """Replace the characters that abort SQL targets, if the rules say so."""
        if not isinstance(value, str) or not self._bad_characters or not self._bad_characters.search(value):
            return value
        cleaned, count = self._bad_characters.subn("\ufffd", value)
        self._issues.add(f"invalid characters of {column.name!r} replaced by U+FFFD", count)
        return cleaned

    def _invalid(self, raw: Any, column: Column, offset: int, error: ValueError) -> InvalidValue:  # noqa: ANN401
        shown = one_line(raw.text if isinstance(raw, Number) else json.dumps(raw, default=str), 80)
        return InvalidValue(
            f"variable {column.name!r}, row {offset} of its read stream: {shown} is no {column.type} ({error})",
            offset=offset,
            where=self.table,
            hint="Correct it at the source, or set on_invalid_value to null",
        )

    def _encode(self, value: Value, column: Column) -> bytes:
        if isinstance(value, str) and _SURROGATES.search(value):
            return json.dumps(value).encode()  # msgspec cannot write lone surrogates, not even escaped
        if isinstance(value, str) and column.type == "dateTime":
            value += self.zone
        return self._encoder.encode(value)


def _row_type(columns: Sequence[Column]) -> type[msgspec.Struct] | None:
    """Build the Struct that checks types; None where a name cannot be a Struct's key, or a type must be cast."""
    if any(column.arrives_as or _NEEDS_ESCAPING.search(column.name) for column in columns):
        return None
    fields = [f"c{index}" for index in range(len(columns))]
    names = {name: column.name for name, column in zip(fields, columns, strict=True)}
    types = [(name, _FIELD_TYPES[column.type] | None, None) for name, column in zip(fields, columns, strict=True)]
    return msgspec.defstruct("Row", types, rename=names, gc=False)
