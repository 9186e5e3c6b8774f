"""RECORDs → Arrow, checked against their SCHEMA by Arrow's types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from target_adbc.arrow_types import INTEGER, MOMENT, NUMBER, TEXT
from target_adbc.errors import InputError, shown

Json = Mapping[str, Any]

_ZONE = r"([Zz]|[+-]\d\d:?\d\d)$"
_FORMATS = {"date-time": MOMENT, "date": pa.date32(), "time": pa.time64("us")}
_TYPES = {"integer": INTEGER, "number": NUMBER, "boolean": pa.bool_()}


class RecordSchema:
    """The properties of a stream as Arrow types.

    Attributes:
        arrow: A field for each property.
    """

    def __init__(self, properties: Mapping[str, Json]) -> None:
        found = {name: _type_of(part) for name, part in properties.items()}
        self.arrow = pa.schema([pa.field(name, TEXT if kind is None else kind) for name, kind in found.items()])
        self._as_json = {name for name, kind in found.items() if kind is None}

    def batch(self, records: Sequence[Json], first_row: int) -> pa.RecordBatch:
        """Make a batch of some records; properties that a record does not have are null.

        Args:
            records: As they came.
            first_row: Number of the first one in its stream, from 1, for errors.

        Raises:
            InputError: A value is none of its property's type.
        """
        return pa.RecordBatch.from_arrays([self._column(f, records, first_row) for f in self.arrow], schema=self.arrow)

    def _column(self, field: pa.Field, records: Sequence[Json], first_row: int) -> pa.Array:
        try:
            values = list(map(itemgetter(field.name), records))
        except KeyError:  # some do not have it
            values = [record.get(field.name) for record in records]
        if field.name in self._as_json:
            values = [_as_text(value) for value in values]
        try:
            return _array(values, field.type)
        except (pa.ArrowException, OverflowError, TypeError, ValueError):
            for number, value in enumerate(values):  # which one it was
                try:
                    _array([value], field.type)
                except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
                    msg = f"row {first_row + number}: property {field.name!r} is no {field.type}: {shown(error)[:200]}"
                    raise InputError(msg) from error
            raise


def _type_of(part: Json) -> pa.DataType | None:
    """Choose the type of a property; None: its values are written as JSON."""
    for choice in ("anyOf", "oneOf"):
        parts = [each for each in part.get(choice, ()) if each.get("type") not in ("null", ["null"])]
        if parts:
            kinds = {_type_of(each) for each in parts}
            return _merged(kinds)
    kinds_named = part.get("type", ())
    names = {kinds_named} if isinstance(kinds_named, str) else set(kinds_named)
    return _merged({_simple(name, part) for name in names - {"null"}})


def _simple(name: str, part: Json) -> pa.DataType | None:
    if name == "string":
        return _FORMATS.get(part.get("format", ""), TEXT)
    return _TYPES.get(name)


def _merged(kinds: set[pa.DataType | None]) -> pa.DataType | None:
    if kinds == {INTEGER, NUMBER}:
        return NUMBER
    if kinds and all(kind in (TEXT, *_FORMATS.values()) for kind in kinds if kind is not None) and None not in kinds:
        return kinds.pop() if len(kinds) == 1 else TEXT  # a moment or any other text: text
    return kinds.pop() if len(kinds) == 1 else None


def _as_text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    if not pa.types.is_temporal(kind):
        if kind.equals(INTEGER) and bool in map(type, values):
            raise TypeError("a boolean")
        return pa.array(values, kind)
    text = pa.array(values, TEXT)
    if pa.types.is_timestamp(kind):
        zoned = pc.match_substring_regex(text, _ZONE)
        if pc.any(zoned).as_py():  # a moment with an offset is stored as it is in UTC
            whole = pc.if_else(zoned, text, pc.binary_join_element_wise(text, "Z", ""))
            return whole.cast(pa.timestamp("us", "UTC")).cast(kind)
    if pa.types.is_time(kind):  # Arrow reads times as a part of moments only
        return pc.binary_join_element_wise("1970-01-01", text, "T").cast(MOMENT).cast(kind)
    return text.cast(kind)
