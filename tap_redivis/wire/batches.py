"""Record batches of the wire → rows: JSON lines, or, for files, record batches in the columns' types."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import lru_cache

import pyarrow as pa

from tap_redivis.errors import InvalidValue
from tap_redivis.model.columns import Column
from tap_redivis.wire.arrays import NOT_BY_COLUMN, TARGETS, cast_by_column, checked, json_values, plain
from tap_redivis.wire.arrow_json import JsonColumn, encode_rows, json_column_of, json_column_of_values
from tap_redivis.wire.codec import RowCodec
from tap_redivis.wire.rows import MAX_ROW_BYTES, ArrowRows, JsonRows, Rows, too_large

# Of Arrow data that are encoded at once: memory stays flat whatever the server sends. Twice as much takes 11 MiB
# more with eight read streams, and 8 % less processor time.
PART_BYTES = 512 * 1024


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
    if array is None or (array := plain(array)).null_count == len(array):
        return None
    with suppress(*NOT_BY_COLUMN):  # text of bytes that are no UTF-8 fails only when it is encoded
        if (values := checked(array, column, codec)) is not None:
            return json_column_of(values, zone=codec.zone)
    return json_column_of_values(codec.encode_column(json_values(array), column, offset))


def _record_batch(arrays: Sequence[pa.Array | None], count: int, codec: RowCodec, offset: int) -> Iterator[ArrowRows]:
    schema = arrow_schema(codec)
    columns = [
        pa.nulls(count, field.type) if array is None else _column(array, field.type, column, codec, offset)
        for array, field, column in zip(arrays, schema, codec.columns, strict=True)
    ]
    return iter([ArrowRows(pa.RecordBatch.from_arrays(columns, schema=schema))])


def _column(array: pa.Array, kind: pa.DataType, column: Column, codec: RowCodec, offset: int) -> pa.Array:
    array = plain(array)
    if array.null_count == len(array):
        return pa.nulls(len(array), kind)
    values = checked(array, column, codec)
    if values is None:
        one_by_one = codec.cast_column(json_values(array), column, offset)
        is_text = column.type in {"date", "dateTime", "time"}  # as JSON has them
        values = cast_by_column(pa.array(one_by_one, pa.string() if is_text else TARGETS[column.type]), column)
    return values if values.type == kind else values.view(kind)


def _type(column: Column, codec: RowCodec) -> pa.DataType:
    is_utc = column.type == "dateTime" and codec.rules.append_utc
    return pa.timestamp("us", "UTC") if is_utc else TARGETS[column.type]
