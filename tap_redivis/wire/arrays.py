"""Arrow columns → rows: cast to the columns' types by whole columns where that is exact, else value by value.

Rows are JSON lines, or, for files, record batches in the columns' types.
"""

import datetime as dt
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from decimal import Decimal
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tap_redivis.errors import InvalidValue
from tap_redivis.model.columns import Column
from tap_redivis.wire.arrow_json import JsonColumn, encode_rows, has_nul, json_column_of, json_column_of_values
from tap_redivis.wire.casts import Number
from tap_redivis.wire.codec import RowCodec
from tap_redivis.wire.rows import MAX_ROW_BYTES, ArrowRows, DamagedRow, JsonRows, Rows, too_large
from tap_redivis.wire.scalars import null, text

# Of Arrow data that are encoded at once: memory stays flat whatever the server sends. Twice as much takes 11 MiB
# more with eight read streams, and 8 % less processor time.
PART_BYTES = 512 * 1024

# Arrow's own allocators keep what threads have freed: the system's holds 50 MiB less after a CSV load.
pa.set_memory_pool(pa.system_memory_pool())

TARGETS: dict[str, pa.DataType] = {  # what each type is in Arrow (redivis-api §6.1)
    "integer": pa.int64(),
    "float": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "dateTime": pa.timestamp("us"),
    "time": pa.time64("us"),
    "string": pa.string(),
    "geography": pa.string(),
}
_AS_BYTES = {pa.string(): pa.binary(), pa.large_string(): pa.large_binary()}
_KINDS: dict[str, Callable[[pa.DataType], bool]] = {
    "integer": pa.types.is_integer,
    "float": pa.types.is_floating,
    "boolean": pa.types.is_boolean,
    "date": pa.types.is_date,
    "dateTime": pa.types.is_timestamp,
    "time": pa.types.is_time,
    "string": _AS_BYTES.__contains__,
    "geography": _AS_BYTES.__contains__,
}

# What a cast by column fails with where values must be cast one by one.
_NOT_BY_COLUMN = (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError, OverflowError)

_UTC_NAMES = {"UTC", "Etc/UTC", "GMT", "Z", "+00:00"}

_EPOCH = dt.date(1970, 1, 1).toordinal()
_DAY = 86_400_000_000
_FIRST_DAY, _LAST_DAY = dt.date.min.toordinal() - _EPOCH, dt.date.max.toordinal() - _EPOCH
_RANGES = {
    "date": (_FIRST_DAY, _LAST_DAY),
    "dateTime": (_FIRST_DAY * _DAY, (_LAST_DAY + 1) * _DAY - 1),
    "time": (0, _DAY - 1),
}


@lru_cache(maxsize=8)
def arrow_schema(codec: RowCodec) -> pa.Schema:
    """Return the schema of a table's record batches; all columns may be null."""
    return pa.schema([(column.name, _type(column, codec)) for column in codec.columns])


def rows_of(arrays: Sequence[pa.Array | None], count: int, codec: RowCodec, offset: int) -> Iterator[Rows]:
    """Turn the columns of a record batch into rows, some at a time: record batches if the codec's rules are for Arrow.

    Args:
        arrays: For each column of the codec the batch's array, or None where it is missing.
        count: Number of the batch's rows.
        codec: The table's columns and rules.
        offset: Offset of the batch's first row in its stream.

    Raises:
        InvalidValue: A value cannot be read as its variable's type; the rows before it have been given.
        RowTooLarge: The same for a row that is larger than ``MAX_ROW_BYTES``.
    """
    # Values that are shared by rows are left out.
    size = sum(each.nbytes for each in arrays if each is not None and not pa.types.is_dictionary(each.type))
    parts = math.ceil(size / (MAX_ROW_BYTES if codec.rules.for_arrow else PART_BYTES))
    if parts > 1 and count > 1:
        step = math.ceil(count / parts)
        for start in range(0, count, step):
            some = _part(arrays, start, step)
            yield from rows_of(some, min(step, count - start), codec, offset + start)
    elif size > MAX_ROW_BYTES:
        raise too_large(codec.table, offset)
    elif count:
        yield from _cast_rows(arrays, count, codec, offset)


def _part(arrays: Sequence[pa.Array | None], start: int, count: int) -> list[pa.Array | None]:
    return [None if array is None else array.slice(start, count) for array in arrays]


def _cast_rows(arrays: Sequence[pa.Array | None], count: int, codec: RowCodec, offset: int) -> Iterator[Rows]:
    try:
        rows = (_record_batch if codec.rules.for_arrow else _json_lines)(arrays, count, codec, offset)
    except InvalidValue as error:
        if (good := error.offset - offset) > 0:
            yield from _cast_rows(_part(arrays, 0, good), good, codec, offset)
        raise
    yield from rows


def _json_lines(arrays: Sequence[pa.Array | None], count: int, codec: RowCodec, offset: int) -> Iterator[JsonRows]:
    columns = [_json_column(array, column, codec, offset) for array, column in zip(arrays, codec.columns, strict=True)]
    return (JsonRows(some, lines) for some, lines in encode_rows(codec.keys, columns, count))


def _json_column(array: pa.Array | None, column: Column, codec: RowCodec, offset: int) -> JsonColumn | None:
    if array is None or (array := _plain(array)).null_count == len(array):
        return None
    with suppress(*_NOT_BY_COLUMN):  # text of bytes that are no UTF-8 fails only when it is encoded
        if (values := _checked(array, column, codec)) is not None:
            return json_column_of(values, zone=codec.zone)
    return json_column_of_values(codec.encode_column(_json_values(array), column, offset))


def _record_batch(arrays: Sequence[pa.Array | None], count: int, codec: RowCodec, offset: int) -> Iterator[ArrowRows]:
    schema = arrow_schema(codec)
    columns = [
        pa.nulls(count, field.type) if array is None else _column(array, field.type, column, codec, offset)
        for array, field, column in zip(arrays, schema, codec.columns, strict=True)
    ]
    return iter([ArrowRows(pa.RecordBatch.from_arrays(columns, schema=schema))])


def _column(array: pa.Array, kind: pa.DataType, column: Column, codec: RowCodec, offset: int) -> pa.Array:
    array = _plain(array)
    if array.null_count == len(array):
        return pa.nulls(len(array), kind)
    values = _checked(array, column, codec)
    if values is None:
        one_by_one = codec.cast_column(_json_values(array), column, offset)
        is_text = column.type in {"date", "dateTime", "time"}  # as JSON has them
        values = _cast_by_column(pa.array(one_by_one, pa.string() if is_text else TARGETS[column.type]), column)
    return values if values.type == kind else values.view(kind)


def _type(column: Column, codec: RowCodec) -> pa.DataType:
    is_utc = column.type == "dateTime" and codec.rules.append_utc
    return pa.timestamp("us", "UTC") if is_utc else TARGETS[column.type]


def place_columns(names: Sequence[str], codec: RowCodec) -> list[int | None]:
    """Find each column of the codec among the names of a body: in any order, and without case (redivis-api §8.1.13)."""
    exact = {name: index for index, name in enumerate(names)}
    folded = {name.lower(): index for index, name in enumerate(names)}
    places = [exact.get(column.name, folded.get(column.name.lower())) for column in codec.columns]
    codec.note_unknown(name for index, name in enumerate(names) if index not in places)
    pairs = zip(codec.columns, places, strict=True)
    codec.note_missing(column.name for column, place in pairs if place is None and not column.is_gone)
    return places


def text_or_bytes(array: pa.Array) -> pa.Array:
    """Check an array that may be damaged, and give text that is no UTF-8 as bytes, so that nobody takes it for text.

    Raises:
        ArrowInvalid: To read it would be to read outside of its buffers.
    """
    with suppress(pa.ArrowInvalid):
        array.validate(full=True)
        return array
    array = _as_bytes(array)
    array.validate(full=True)
    return array


def _as_bytes(array: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(array.type):
        return pa.DictionaryArray.from_arrays(array.indices, _as_bytes(array.dictionary), safe=False)
    as_bytes = _AS_BYTES.get(array.type)
    return array.view(as_bytes) if as_bytes else array


def _plain(array: pa.Array) -> pa.Array:
    """Resolve a dictionary, if the array has one."""
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def _checked(array: pa.Array, column: Column, codec: RowCodec) -> pa.Array | None:
    """Cast a whole array to its column's type; None where the values of ``_json_values`` must be cast one by one."""
    if column.arrives_as:
        return None
    try:
        array = _cast_by_column(array, column)
        if low_high := _RANGES.get(column.type):
            return array if _is_within(array, *low_high) else None
    except _NOT_BY_COLUMN:
        return None
    is_geojson = column.is_geography and array.type == pa.string() and pc.any(pc.starts_with(array, "{")).as_py()
    if is_geojson or (array.type == pa.string() and has_nul(array)):
        return None  # it is counted, and the rules may replace U+0000
    return _finite(array, column, codec) if column.type == "float" and not codec.rules.for_arrow else array


def _cast_by_column(array: pa.Array, column: Column) -> pa.Array:
    """Cast a whole array where the result is the same as value by value, else fail."""
    target = TARGETS[column.type]
    if array.type == target:
        return array
    if _KINDS[column.type](array.type):
        if getattr(array.type, "tz", None) not in {None, *_UTC_NAMES}:
            raise pa.ArrowInvalid("dateTime has no zone")
        return array.cast(target)
    if not _KINDS["string"](array.type):
        raise pa.ArrowInvalid("no cast by column")
    return _cast_text(array, column, target)


def _cast_text(array: pa.Array, column: Column, target: pa.DataType) -> pa.Array:
    """Read text by column: retyped variables (redivis-api §6.2), and all of CSV."""
    if column.type == "time":
        if pc.any(pc.invert(pc.match_substring(array, ":"))).as_py():
            raise pa.ArrowInvalid("a bare hour, which Arrow reads and we do not")
        moments = pc.binary_join_element_wise(text("1970-01-01"), array, text(" ")).cast(pa.timestamp("us"))
        return moments.cast(pa.int64()).cast(target)
    values = array.cast(target)
    if column.type == "integer" and any(pc.any(pc.match_substring(array, letter)).as_py() for letter in "xX"):
        raise pa.ArrowInvalid("hexadecimal numbers, which Arrow reads and we do not")
    if column.type == "float" and pc.any(pc.invert(pc.is_finite(values))).as_py():
        raise pa.ArrowInvalid("NaN, infinity, or a number beyond the range")
    return values


def _finite(array: pa.Array, column: Column, codec: RowCodec) -> pa.Array:
    finite = pc.is_finite(array)
    if (strange := len(array) - array.null_count - (pc.sum(finite).as_py() or 0)) > 0:
        codec.note_not_finite(column, strange)
        array = pc.if_else(finite, array, null(array.type))
    return array


def _is_within(array: pa.Array, low: int, high: int) -> bool:
    # Arrow has dates and times that Python and RECORDs have not: year 0, year 10000, 24 o'clock.
    ends = pc.min_max(array.view(pa.int32() if array.type == pa.date32() else pa.int64())).as_py()
    return ends["min"] is None or (low <= ends["min"] and ends["max"] <= high)


def _json_values(array: pa.Array) -> list[Any]:
    """Give values as JSON Lines would have them, so that all formats cast alike."""
    if pa.types.is_temporal(array.type):
        # The other formats have a fraction only where there is one (redivis-api §6.1).
        array = pc.replace_substring_regex(array.cast(pa.string()), r"\.0+$", "")
    if _KINDS["string"](array.type):
        array = array.cast(pa.large_binary())
    return [_json_value(value) for value in array.to_pylist()]


def _json_value(value: Any) -> Any:  # noqa: ANN401 - any Arrow value
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            raise DamagedRow("text that is not UTF-8") from error
    if isinstance(value, float) and math.isfinite(value):
        return Number(repr(value))
    return str(value) if isinstance(value, Decimal) else value
