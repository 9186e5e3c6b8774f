"""Types and values: JSON Schema → Arrow, RECORDs → record batches, and any batch → what the database stores."""

import logging
from collections.abc import Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from singer_sdk.exceptions import MissingKeyPropertiesError

from target_adbc.errors import TargetError, shown

Json = Mapping[str, Any]
logger = logging.getLogger("target-adbc")

TEXT, INTEGER, NUMBER = pa.string(), pa.int64(), pa.float64()
MOMENT, DAY, TIME = pa.timestamp("us"), pa.date32(), pa.time64("us")

_FORMATS = {"date-time": MOMENT, "date": DAY, "time": TIME}
_TYPES = {"integer": INTEGER, "number": NUMBER, "boolean": pa.bool_()}
_ZONE = r"([Zz]|[+-]\d\d:?\d\d)$"
_WRONG = (pa.ArrowException, OverflowError, TypeError, ValueError)

# Kinds of types, their names in PostgreSQL, DuckDB and SQLite, and the type that holds all values of a kind.
_KINDS = (
    (pa.types.is_boolean, "BOOLEAN", pa.bool_()),
    (pa.types.is_integer, "BIGINT", INTEGER),
    (pa.types.is_floating, "DOUBLE PRECISION", NUMBER),
    (pa.types.is_date, "DATE", DAY),
    (pa.types.is_time, "TIME", TIME),
    (pa.types.is_binary, "BYTEA", pa.binary()),
    (pa.types.is_large_binary, "BYTEA", pa.binary()),
    (pa.types.is_fixed_size_binary, "BYTEA", pa.binary()),
)


def sql_name(arrow: pa.DataType) -> str:
    """Name a type in SQL; tables are created by the drivers, columns are added by these names."""
    if pa.types.is_timestamp(arrow):
        return "TIMESTAMP" if arrow.tz is None else "TIMESTAMP WITH TIME ZONE"
    if pa.types.is_decimal(arrow):
        return f"NUMERIC({arrow.precision}, {arrow.scale})"
    return next((name for is_kind, name, _ in _KINDS if is_kind(arrow)), "TEXT")


def stored_type(arrow: pa.DataType) -> pa.DataType:
    """Choose the type that holds all values of a type exactly: lists and structures become JSON."""
    if pa.types.is_dictionary(arrow):
        return stored_type(arrow.value_type)
    if pa.types.is_timestamp(arrow):
        return pa.timestamp("us", "UTC" if arrow.tz else None)
    if pa.types.is_decimal(arrow):
        return arrow
    return next((stored for is_kind, _, stored in _KINDS if is_kind(arrow)), TEXT)


def widened(old: pa.DataType, new: pa.DataType) -> pa.DataType:
    """Choose the type of a column that shall hold values of a second type too; the first one, if that can."""
    kinds = {sql_name(old), sql_name(new)}
    if kinds == {"BIGINT", "DOUBLE PRECISION"}:
        return NUMBER
    if kinds == {"DATE", "TIMESTAMP"}:
        return MOMENT
    return old if len(kinds) == 1 else TEXT


def conformed(batch: pa.RecordBatch, schema: pa.Schema, *, replace_nul: bool) -> pa.RecordBatch:
    """Cast the columns of a batch, in their order, to the types of a schema; U+0000 may become U+FFFD."""
    arrays = []
    for array, field, name in zip(batch.columns, schema, batch.schema.names, strict=True):
        try:
            found = _cast(array, field.type)
        except pa.ArrowInvalid as error:
            raise TargetError(f"column {name!r}: a value does not fit the type {field.type}: {error}") from error
        # This search is ten times as fast as Arrow's own.
        if replace_nul and field.type.equals(TEXT) and b"\0" in bytes(found.buffers()[2] or b""):
            found = pc.replace_substring(found, "\0", "\ufffd")
            logger.warning("column %r: U+0000, which the database cannot hold, becomes U+FFFD", name)
        arrays.append(found)
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _cast(array: pa.Array, wanted: pa.DataType) -> pa.Array:
    if array.type.equals(wanted):
        return array
    if pa.types.is_nested(array.type):
        return pa.array(map(_as_json, array.to_pylist()), TEXT)
    return array.cast(wanted)  # times to text too, for SQLite, which has no type for them


class RecordSchema:
    """The properties of a stream as Arrow types."""

    def __init__(self, properties: Mapping[str, Json], keys: Sequence[str]) -> None:
        found = {name: _type_of(part) for name, part in properties.items()}
        if missing := [key for key in keys if key not in found]:
            raise TargetError(f"the key property {missing[0]!r} is not in SCHEMA")
        self.arrow: pa.Schema = pa.schema([(name, TEXT if kind is None else kind) for name, kind in found.items()])
        self._keys = set(keys)
        self._as_json = {name for name, kind in found.items() if kind is None}
        self._known = set(found)

    def batch(self, records: Sequence[Json], first_row: int) -> pa.RecordBatch:
        """Make a batch of some records, the first of which has this number; what a record does not have is null."""
        if unknown := set(chain.from_iterable(records)) - self._known:
            self._known |= unknown
            logger.warning("SCHEMA does not have %s: left out", ", ".join(map(repr, sorted(unknown))))
        return pa.RecordBatch.from_arrays([self._column(f, records, first_row) for f in self.arrow], schema=self.arrow)

    def _column(self, field: pa.Field, records: Sequence[Json], first_row: int) -> pa.Array:
        try:
            values = list(map(itemgetter(field.name), records))
        except KeyError:  # some do not have it
            if field.name in self._keys:
                number = next(number for number, record in enumerate(records, first_row) if field.name not in record)
                message = f"row {number} has no {field.name!r}, which is a key property"
                raise MissingKeyPropertiesError(message) from None
            values = [record.get(field.name) for record in records]
        if field.name in self._as_json:
            values = [value if isinstance(value, str) else _as_json(value) for value in values]
        try:
            return _array(values, field.type)
        except _WRONG:
            for number, value in enumerate(values, first_row):  # which one it was
                try:
                    _array([value], field.type)
                except _WRONG as error:
                    what = f"property {field.name!r} is no {field.type}: {shown(error)[:200]}"
                    raise TargetError(f"row {number}: {what}") from error
            raise


def _type_of(part: Json) -> pa.DataType | None:
    """Choose the type of a property; None: its values are written as JSON."""
    for choice in ("anyOf", "oneOf"):
        if parts := [each for each in part.get(choice, ()) if each.get("type") not in ("null", ["null"])]:
            return _merged({_type_of(each) for each in parts})
    names = part.get("type", ())
    return _merged({_simple(name, part) for name in ([names] if isinstance(names, str) else names) if name != "null"})


def _simple(name: str, part: Json) -> pa.DataType | None:
    return _FORMATS.get(part.get("format", ""), TEXT) if name == "string" else _TYPES.get(name)


def _merged(kinds: set[pa.DataType | None]) -> pa.DataType | None:
    if len(kinds) == 1:
        return kinds.pop()
    if kinds == {INTEGER, NUMBER}:
        return NUMBER
    return TEXT if kinds and kinds <= {TEXT, *_FORMATS.values()} else None  # a moment or any other text: text


def _as_json(value: object) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    if not pa.types.is_temporal(kind):
        if kind.equals(INTEGER) and bool in map(type, values):
            raise TypeError("a boolean")
        return pa.array(values, kind)
    text = pa.array(values, TEXT)
    if kind.equals(MOMENT):
        zoned = pc.match_substring_regex(text, _ZONE)
        if pc.any(zoned).as_py():  # a moment with an offset is stored as it is in UTC
            whole = pc.if_else(zoned, text, pc.binary_join_element_wise(text, "Z", ""))
            return whole.cast(pa.timestamp("us", "UTC")).cast(kind)
    if kind.equals(TIME):  # Arrow reads times as a part of moments only
        return pc.binary_join_element_wise("1970-01-01", text, "T").cast(MOMENT).cast(kind)
    return text.cast(kind)
