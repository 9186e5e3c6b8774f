"""Record batches of the wire → record batches in the columns' types, cast once; what Arrow and Parquet files are of."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import pyarrow as pa

from tap_redivis.errors import InvalidValue
from tap_redivis.model.columns import Column
from tap_redivis.wire.arrays import TARGETS, cast_by_column, checked, json_values, plain, size_of
from tap_redivis.wire.codec import RowCodec
from tap_redivis.wire.rows import MAX_ROW_BYTES, too_large


@dataclass(frozen=True)
class ArrowRows:
    """Some rows of a read stream, in its order, as a record batch with the schema of ``arrow_schema``."""

    batch: pa.RecordBatch

    @property
    def count(self) -> int:
        """Number of rows."""
        rows: int = self.batch.num_rows
        return rows

    @property
    def size(self) -> int:
        """Bytes of the values."""
        size: int = self.batch.nbytes
        return size

    @cached_property
    def last_digest(self) -> str:
        """Digest of the last row."""
        digest = hashlib.blake2b(digest_size=8)
        for value in (column[-1] for column in self.batch.columns):
            if isinstance(value, pa.StringScalar) and value.is_valid:  # it may be large: no copy
                text = value.as_buffer()
                digest.update(b"%d:" % len(text))
                digest.update(text)
            else:
                digest.update(repr(value.as_py()).encode())
        return digest.hexdigest()

    def first(self, count: int) -> ArrowRows:
        """Take the first ``count`` rows."""
        return self if self.count <= count else ArrowRows(self.batch.slice(0, count))

    def without_first(self, count: int) -> ArrowRows:
        """Leave out the first ``count`` rows."""
        return ArrowRows(self.batch.slice(count))


@lru_cache(maxsize=8)
def arrow_schema(codec: RowCodec) -> pa.Schema:
    """Return the schema of a table's record batches; all columns may be null."""
    return pa.schema([(column.name, _type(column, codec)) for column in codec.columns])


def batches_of(
    batch: pa.RecordBatch, arrays: Sequence[pa.Array | None], codec: RowCodec, offset: int
) -> Iterator[ArrowRows]:
    """Cast a record batch (see ``arrays.rows_of``)."""
    large = None if batch.nbytes <= MAX_ROW_BYTES else _first_too_large(arrays, 0, batch.num_rows)
    if large is None:
        if batch.num_rows:
            yield from _cast_rows(arrays, codec, batch.num_rows, offset)
        return
    if large:
        yield from _cast_rows(_first(arrays, large), codec, large, offset)
    raise too_large(codec.table, offset + large)


def _first(arrays: Sequence[pa.Array | None], count: int) -> list[pa.Array | None]:
    return [None if array is None else array.slice(0, count) for array in arrays]


def _first_too_large(arrays: Sequence[pa.Array | None], start: int, count: int) -> int | None:
    # By halves: in most batches all rows together are small enough, and one look tells.
    if size_of(arrays, start, count) <= MAX_ROW_BYTES:
        return None
    if count == 1:
        return start
    half = count // 2
    first = _first_too_large(arrays, start, half)
    return _first_too_large(arrays, start + half, count - half) if first is None else first


def _cast_rows(arrays: Sequence[pa.Array | None], codec: RowCodec, count: int, offset: int) -> Iterator[ArrowRows]:
    try:
        columns = [
            _column(array, column, codec, count, offset) for array, column in zip(arrays, codec.columns, strict=True)
        ]
    except InvalidValue as error:
        if error.offset > offset:
            before = error.offset - offset
            yield from _cast_rows(_first(arrays, before), codec, before, offset)
        raise
    rows = ArrowRows(pa.RecordBatch.from_arrays(columns, schema=arrow_schema(codec)))
    del columns
    yield rows


def _column(array: pa.Array | None, column: Column, codec: RowCodec, count: int, offset: int) -> pa.Array:
    kind = _type(column, codec)
    if array is None or array.null_count == count:
        return pa.nulls(count, kind)
    array = plain(array)
    values = checked(array, column, codec)
    if values is None:
        one_by_one = codec.cast_column(json_values(array), column, offset)
        is_text = column.type in {"date", "dateTime", "time"}  # as JSON has them
        values = cast_by_column(pa.array(one_by_one, pa.string() if is_text else TARGETS[column.type]), column)
    return values if values.type == kind else values.view(kind)


def _type(column: Column, codec: RowCodec) -> pa.DataType:
    is_utc = column.type == "dateTime" and codec.rules.append_utc
    return pa.timestamp("us", "UTC") if is_utc else TARGETS[column.type]
