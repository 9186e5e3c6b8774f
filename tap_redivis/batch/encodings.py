"""Rows → the bytes of one BATCH file: JSON Lines, Parquet or Arrow."""

from __future__ import annotations

import threading
import zlib
from typing import IO, Protocol

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tap_redivis.batch.columns import Constant, FileColumns
from tap_redivis.batch.storage import PendingFile
from tap_redivis.model.added_columns import ROW_KEY
from tap_redivis.model.batch_settings import BatchSettings
from tap_redivis.wire.batches import ArrowRows, arrow_schema
from tap_redivis.wire.codec import RowCodec
from tap_redivis.wire.json_lines import column_appender
from tap_redivis.wire.rows import JsonRows, Rows

_GROUPS_BYTES = 32 * 1024 * 1024
_WRITE_BYTES = 256 * 1024
_GZIP_LEVEL = 1
_GZIP = 16 + zlib.MAX_WBITS
_DICTIONARY_BYTES = 128 * 1024
"""Bytes of the largest dictionary of a column: one with more values is better off with them as they are."""

_MOST_EXTRA = 2
_LARGE_ROW_BYTES = 64 * 1024
_ENCODING = threading.BoundedSemaphore(2)
"""Row groups that are encoded at once: each takes some times its size."""

EXTENSIONS = {"jsonl": ".jsonl", "parquet": ".parquet", "arrow": ".arrow"}


class Sink:
    """What an encoder writes to, until nobody wants the file any more.

    Args:
        file: The file; whoever owns it flushes and closes it.

    Attributes:
        is_wanted: Whether somebody wants the file: Arrow writes what it still holds even when it is forgotten.
        closed: As files have it.
    """

    def __init__(self, file: IO[bytes] | PendingFile) -> None:
        self.is_wanted = True
        self.closed = False
        self._file = file

    def write(self, data: bytes) -> None:
        """Write what an encoder gives."""
        if self.is_wanted:
            self._file.write(data)

    def flush(self) -> None:
        """Be a file."""

    def close(self) -> None:
        """Be a file."""
        self.closed = True


class Encoder(Protocol):
    """Writes rows to one file."""

    def write(self, rows: Rows, ordinal: int, offset: int) -> None:
        """Write rows, or keep them for the time being.

        Args:
            rows: The rows.
            ordinal: Ordinal of their read stream.
            offset: Offset of the first one in it.
        """
        ...

    def close(self) -> None:
        """Write what has been kept, and the file's end; the sink stays open."""
        ...

    @property
    def size(self) -> int:
        """Bytes of the file so far, with what has been kept."""
        ...


def file_suffix(settings: BatchSettings) -> str:
    """Say what the names of files end with."""
    return EXTENSIONS[settings.encoding] + (".gz" if settings.described.get("compression") == "gzip" else "")


def encoder_for(settings: BatchSettings, codec: RowCodec, columns: FileColumns, sink: Sink, *, files: int) -> Encoder:
    """Make the encoder of one file.

    Args:
        settings: Format and compression.
        codec: The table's columns.
        columns: What is added to them.
        sink: The file, as yet empty.
        files: How many files are written at once, at most: they share the memory that there is.
    """
    if settings.encoding == "jsonl":
        return JsonlEncoder(sink, columns, gzip=settings.compression == "gzip")
    schema = _with_columns(arrow_schema(codec), columns)
    if settings.encoding == "arrow":
        return ArrowEncoder(sink, schema, columns, settings.compression)
    return ParquetEncoder(sink, schema, columns, settings.compression, _GROUPS_BYTES // max(files, 1))


class JsonlEncoder:
    """JSON Lines.

    Args:
        sink: The file.
        columns: What is added to each row.
        gzip: Whether it is compressed.
    """

    def __init__(self, sink: Sink, columns: FileColumns, *, gzip: bool) -> None:
        self._sink = sink
        self._added = b"".join(
            b"," + _spelled(name) + b":" + _spelled(value) for name, value in columns.constants.items()
        )
        key = [ROW_KEY] if columns.row_key else []
        self._extend = column_appender(key, table="", version_tag=None, table_version=columns.load)
        self._compressor = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP) if gzip else None
        self._size = 0

    @property
    def size(self) -> int:
        """Bytes of the file so far."""
        return self._size

    def write(self, rows: Rows, ordinal: int, offset: int) -> None:
        """Write rows."""
        assert isinstance(rows, JsonRows)  # noqa: S101 - the wire format is chosen by the encoding
        lines = self._extend(rows, ordinal, offset).lines
        if self._added:  # a line end can only stand behind a row: those inside of strings are escaped
            lines = lines.replace(b"}\n", self._added + b"}\n")
        self._write(self._compressor.compress(lines) if self._compressor else lines)

    def close(self) -> None:
        """Write the end."""
        if self._compressor:
            self._write(self._compressor.flush())

    def _write(self, data: bytes) -> None:
        self._sink.write(data)
        self._size += len(data)


class ArrowEncoder:
    """The file format of Arrow IPC.

    Args:
        sink: The file.
        schema: Columns of the file.
        columns: What is added to the rows.
        compression: Of the buffers; None: none.
    """

    def __init__(self, sink: Sink, schema: pa.Schema, columns: FileColumns, compression: str | None) -> None:
        self._file = _arrow_file(sink)
        self._extended = _Extended(schema, columns)
        self._writer = pa.ipc.new_file(
            self._file, schema, options=pa.ipc.IpcWriteOptions(compression=compression, use_threads=False)
        )

    @property
    def size(self) -> int:
        """Bytes of the file so far."""
        size: int = self._file.tell()
        return size

    def write(self, rows: Rows, ordinal: int, offset: int) -> None:
        """Write rows as one record batch."""
        self._writer.write_batch(self._extended.batch(rows, ordinal, offset))

    def close(self) -> None:
        """Write the footer."""
        self._writer.close()
        self._file.flush()


class ParquetEncoder:
    """Parquet, in row groups of so many bytes.

    Args:
        sink: The file.
        schema: Columns of the file.
        columns: What is added to the rows.
        compression: Of the pages; None: none.
        group_bytes: Bytes of a row group, as Arrow counts them in memory.
    """

    def __init__(
        self, sink: Sink, schema: pa.Schema, columns: FileColumns, compression: str | None, group_bytes: int
    ) -> None:
        self._file = _arrow_file(sink)
        self._schema = schema
        self._extended = _Extended(schema, columns)
        self._group_bytes = group_bytes
        self._kept: list[pa.RecordBatch] = []
        self._kept_bytes = 0
        self._compression = compression or "none"
        self._writer: pq.ParquetWriter | None = None

    @property
    def size(self) -> int:
        """Bytes of the file so far; rows that are kept count as they are in memory."""
        size: int = self._file.tell() + self._kept_bytes
        return size

    def write(self, rows: Rows, ordinal: int, offset: int) -> None:
        """Keep rows until there are enough for a row group."""
        batch = self._extended.batch(rows, ordinal, offset)
        step = max(1, batch.num_rows * self._group_bytes // max(batch.nbytes, self._group_bytes))
        for start in range(0, batch.num_rows, step):
            self._keep(batch.slice(start, step))
        if self._kept:
            self._kept[-1] = _alone(self._kept[-1], self._schema)

    def _keep(self, batch: pa.RecordBatch) -> None:
        self._kept.append(batch)
        self._kept_bytes += batch.nbytes
        if self._kept_bytes >= self._group_bytes:
            self._write_group()

    def close(self) -> None:
        """Write the last row group and the footer."""
        self._write_group()
        if self._writer is not None:
            self._writer.close()
        self._file.flush()

    def _write_group(self) -> None:
        if not self._kept:
            return
        table = pa.Table.from_batches(self._kept, self._schema)
        self._kept, self._kept_bytes = [], 0
        writer = self._writer = self._writer or self._new_writer(table)
        try:
            with _ENCODING:
                writer.write_table(table, row_group_size=table.num_rows)
        except OSError:
            writer.is_open = False  # else it tries to write the end when it is forgotten
            raise

    def _new_writer(self, first: pa.Table) -> pq.ParquetWriter:
        """Begin the file; of large values neither dictionaries nor the least and highest are kept in memory."""
        is_usual = first.nbytes < first.num_rows * _LARGE_ROW_BYTES
        return pq.ParquetWriter(
            self._file,
            self._schema,
            compression=self._compression,
            use_dictionary=is_usual,
            dictionary_pagesize_limit=_DICTIONARY_BYTES,
            write_statistics=is_usual,
        )


def _arrow_file(sink: Sink) -> pa.NativeFile:
    """Make the file that Arrow writes to: each write of Python's waits for its turn among the threads that compute."""
    return pa.BufferedOutputStream(pa.PythonFile(sink, mode="w"), _WRITE_BYTES)


def _with_columns(schema: pa.Schema, columns: FileColumns) -> pa.Schema:
    if columns.row_key:
        schema = schema.append(pa.field(ROW_KEY, pa.string()))
    for name, value in columns.constants.items():
        schema = schema.append(pa.field(name, pa.int64() if isinstance(value, int) else pa.string()))
    return schema


class _Extended:
    """Rows with what a file adds to them.

    Args:
        schema: Columns of the file.
        columns: What is added to the table's.
    """

    def __init__(self, schema: pa.Schema, columns: FileColumns) -> None:
        self._schema = schema
        self._columns = columns
        self._values = [pa.scalar(value, schema.field(name).type) for name, value in columns.constants.items()]
        self._constants: list[pa.Array] = []
        self._most = -1

    def batch(self, rows: Rows, ordinal: int, offset: int) -> pa.RecordBatch:
        """Give rows in the file's schema.

        Args:
            rows: The rows.
            ordinal: Ordinal of their read stream.
            offset: Offset of the first one in it.
        """
        assert isinstance(rows, ArrowRows)  # noqa: S101 - the wire format is chosen by the encoding
        arrays, count = list(rows.batch.columns), rows.count
        if self._columns.row_key:
            numbers = pc.cumulative_sum(pa.repeat(pa.scalar(1, pa.int64()), count), start=offset - 1)
            begin = f"{self._columns.load}-{ordinal}-"
            arrays.append(pc.binary_join_element_wise(begin, numbers.cast(pa.string()), ""))
        if count > self._most:  # what is the same in all rows is made once, for the largest batch
            self._constants, self._most = [pa.repeat(value, count) for value in self._values], count
        arrays += [array.slice(0, count) for array in self._constants]
        return pa.RecordBatch.from_arrays(arrays, schema=self._schema)


def _alone(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Copy a small part of a larger batch, which it would keep in memory."""
    if batch.get_total_buffer_size() <= _MOST_EXTRA * batch.nbytes:
        return batch
    return pa.ipc.read_record_batch(batch.serialize(), schema)


def _spelled(value: Constant) -> bytes:
    return msgspec.json.encode(value)
