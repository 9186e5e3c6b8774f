"""Checks the values of one table's rows, casts them by its rules, and writes them as JSON lines."""

import base64
import datetime as dt
import json
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import msgspec

from tap_redivis.errors import InvalidValue, SchemaChanged, one_line
from tap_redivis.model.columns import INT64_MAX, INT64_MIN, SURROGATES, Column, ValueRules
from tap_redivis.wire.casts import Number, Value, cast, is_finite, recast
from tap_redivis.wire.json_lines import has_escaped_nul, is_too_fine, utc_appender
from tap_redivis.wire.rows import EMPTY_IN_QUOTES, EMPTY_WITHOUT_QUOTES, JsonRows, ValueIssues

_FIELD_TYPES: dict[str, Any] = {
    "string": str,
    "geography": Annotated[str, msgspec.Meta(pattern=r"^(?!\{)")],  # GeoJSON is cast, and counted
    "integer": Annotated[int, msgspec.Meta(ge=INT64_MIN, le=INT64_MAX)],
    "float": float,
    "boolean": bool,
    "date": dt.date,
    "dateTime": Annotated[dt.datetime, msgspec.Meta(tz=False)],
    "time": Annotated[dt.time, msgspec.Meta(tz=False)],
}
_NEEDS_ESCAPING = re.compile(r'["\\\x00-\x1f]')


class RowCodec:
    """Checks, casts and encodes the rows of one table."""

    def __init__(
        self,
        table: str,  # reference, pinned to its version
        columns: Sequence[Column],  # in the order of RECORDs
        rules: ValueRules,
        issues: ValueIssues,  # counts what was changed or left out
        *,
        all_must_come: bool = False,  # whether a body that lacks a column is an error
    ) -> None:
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
        self.large_rows = threading.Lock()  # held by the read stream that has a large row in memory
        self._all_must_come = all_must_come
        self.left_out: frozenset[str] = frozenset()  # names of columns that come though they are not wanted

    def note_missing(self, names: Iterable[str]) -> None:
        """Count columns that a body does not have; a ``SchemaChanged`` says that it must have one."""
        for name in names:
            # All bodies of a released table have the same columns: with nulls, the tap would lose data silently.
            if self._all_must_come:
                raise SchemaChanged(
                    f"a read stream lacks the column {name!r}, which the table has",
                    where=self.table,
                    hint="Run again; if it stays, deselect the variable, and tell Redivis",
                )
            self._issues.add(f"bodies without the column {name!r}, which is null there")

    def encode_lines(self, lines: bytes) -> JsonRows | None:
        """Check and encode JSON lines whose keys are the columns' names; None where some row needs casting."""
        # The decoder hides U+0000, and rounds parts of microseconds, up to the next day: such rows are cast.
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

    def encode_row(self, row: Mapping[str, Any], names: Sequence[str], offset: int) -> bytes:
        """Cast one decoded row, which has the columns under ``names``, to a JSON line, or raise ``InvalidValue``."""
        cells = []
        for key, name, column in zip(self.keys, names, self.columns, strict=True):
            cells.append(key.encode() + self._encode(self._cast(row.get(name), column, offset), column))
        return b"{" + b",".join(cells) + b"}\n"

    def note_unknown(self, names: Iterable[str]) -> None:
        """Count columns that arrive though the variable list does not have them."""
        for name in set(names) - self.left_out:
            self._issues.add(f"streams with the unknown column {name!r}, which is left out")

    def encode_column(self, values: Sequence[Any], column: Column, offset: int) -> list[bytes]:
        """Cast and encode JSON values one by one; for errors, the first one's row has the ``offset`` in its stream."""
        return [self._encode(value, column) for value in self.cast_column(values, column, offset)]

    def cast_column(self, values: Sequence[Any], column: Column, offset: int) -> list[Value]:
        """Cast JSON values one by one, or raise ``InvalidValue``."""
        return [self._cast(value, column, offset + index) for index, value in enumerate(values)]

    def text_of(self, value: bytes | None, name: str) -> str | None:
        """Read bytes of a column as text, in base64 if they are no UTF-8."""
        if value is None:
            return None
        try:
            return value.decode()
        except UnicodeDecodeError:
            self._issues.add(f"values of {name!r} that are no UTF-8 written in base64")
            return base64.b64encode(value).decode()

    def note_empty(self, count: int, *, in_quotes: bool) -> None:
        """Count empty fields of text without quotes, and whether there are such in quotes."""
        if count:
            self._issues.add(EMPTY_WITHOUT_QUOTES, count)
        if in_quotes:
            self._issues.add(EMPTY_IN_QUOTES)

    def note_not_finite(self, column: Column, count: int) -> None:
        """Count floats that are NaN or infinite."""
        self._issues.add(f"NaN or infinite values of {column.name!r} written as null", count)

    def _cast(self, raw: Any, column: Column, offset: int) -> Value:  # noqa: ANN401 - any JSON value
        try:
            value = cast(raw, column.wire_type)
            # A retyped value is first cast to the type that it arrives as, so that all formats give the same.
            if column.arrives_as and value is not None and is_finite(value):
                value = recast(value, column.type)
        except ValueError as error:
            if not self.rules.invalid_as_null:
                raise self._invalid(raw, column, offset, error) from None
            self._issues.add(f"invalid values of {column.name!r} written as null")
            return None
        if not self.rules.for_arrow and not is_finite(value):
            self.note_not_finite(column, 1)
            return None
        if column.is_geography and isinstance(value, str) and value.startswith("{"):
            self._issues.add(f"geographies of {column.name!r} in GeoJSON, not WKT, are passed on; see `make live`")
        if not isinstance(value, str) or not self._bad_characters or not self._bad_characters.search(value):
            return value
        # Such characters abort SQL targets.
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
        if isinstance(value, str) and SURROGATES.search(value):
            return json.dumps(value).encode()  # msgspec cannot write lone surrogates, not even escaped
        if isinstance(value, str) and column.type == "dateTime":
            value += self.zone
        return self._encoder.encode(value)


def _row_type(columns: Sequence[Column]) -> type[msgspec.Struct] | None:
    # msgspec refuses keys that need escapes, and cannot read a type from text of another one.
    if any(column.arrives_as or _NEEDS_ESCAPING.search(column.name) for column in columns):
        return None
    fields = [f"c{index}" for index in range(len(columns))]
    names = {name: column.name for name, column in zip(fields, columns, strict=True)}
    kinds = ["geography" if column.is_geography else column.type for column in columns]
    types = [(name, _FIELD_TYPES[kind] | None, None) for name, kind in zip(fields, kinds, strict=True)]
    return msgspec.defstruct("Row", types, rename=names, gc=False)
