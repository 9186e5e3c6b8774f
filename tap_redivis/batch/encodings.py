"""The rows of one file → its bytes, written as the rows come: JSON Lines, Parquet or Arrow."""

import threading
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import IO

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tap_redivis.batch.storage import PendingFile
from tap_redivis.model.batch_settings import BatchSettings
from tap_redivis.model.columns import FILE_URI, ROW_KEY
from tap_redivis.wire.arrays import arrow_schema
from tap_redivis.wire.codec import RowCodec
from tap_redivis.wire.json_lines import column_appender
from tap_redivis.wire.rows import ArrowRows, JsonRows, Rows
from tap_redivis.wire.scalars import integers, null, text, text_array

_GROUPS_BYTES = 16 * 1024 * 1024  # the row groups of all files under way share it
_WRITE_BYTES = 256 * 1024
_GZIP_LEVEL = 1  # the higher ones save little, and take several times as long
_GZIP = 16 + zlib.MAX_WBITS
_DICTIONARY_BYTES = 128 * 1024  # a column with a larger dictionary is smaller without one
_LARGE_ROW_BYTES = 64 * 1024
_ENCODING = threading.BoundedSemaphore(2)  # Parquet takes several times the size of a row group while it encodes it

_Target = IO[bytes] | PendingFile


@dataclass(frozen=True)
class FileColumns:
    """The columns that a load's files hold beside the table's, and where the rows of one file are from."""

    load: str | None  # what the row keys of the load begin with; None: rows have no row key
    constants: Mapping[str, str | int | None]  # columns with one value in all rows, by name
    origin: Mapping[str, str | int] = field(default_factory=dict)  # for the metadata of Arrow's and Parquet's schema
    file_uri: bool = False  # whether rows say where the file is that they name


class JsonlEncoder:
    """Writes JSON Lines to a file that the caller ends."""

    def __init__(self, file: _Target, columns: FileColumns, *, gzip: bool) -> None:
        self._file = file
        self._extend = column_appender(columns.load, columns.constants)
        self._file_uri = columns.file_uri
        self._compressor = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP) if gzip else None
        self.size = 0

    def write(self, rows: Rows, ordinal: int, offset: int) -> None:
        """Write rows of the read stream with this ordinal, from this offset on."""
        assert isinstance(rows, JsonRows)  # noqa: S101 - the wire format follows from the encoding
        lines = self._extend(rows if self._file_uri else replace(rows, uris=()), ordinal, offset).lines
        self._write(self._compressor.compress(lines) if self._compressor else lines)

    def close(self) -> None:
        """Write what the compressor holds back."""
        if self._compressor:
            self._write(self._compressor.flush())

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self.size += len(data)


def _scalar(value: int | str | None) -> pa.Scalar:
    if isinstance(value, int):
        return integers([value])[0]
    return null(pa.string()) if value is None else text(value)


class _ArrowFile:
    """What Arrow and Parquet files have in common: the file as pyarrow writes to it, and the added columns."""

    def __init__(self, file: _Target, schema: pa.Schema, columns: FileColumns) -> None:
        # Each call of Python's write() waits for the interpreter's lock, so pyarrow collects a buffer for each.
        self._file = pa.BufferedOutputStream(pa.PythonFile(file, mode="w"), _WRITE_BYTES)
        self._columns = columns
        self._constants = []
        for name, is_there in ((FILE_URI, columns.file_uri), (ROW_KEY, columns.load is not None)):
            schema = schema.append(pa.field(name, pa.string())) if is_there else schema
        for name, value in columns.constants.items():
            self._constants.append(_scalar(value))
            schema = schema.append(pa.field(name, self._constants[-1].type))
        self._schema = schema.with_metadata({"tap_redivis": msgspec.json.encode(columns.origin)})

    @property
    def size(self) -> int:
        """Bytes of the file so far."""
        return int(self._file.tell())

    def _extended(self, rows: Rows, ordinal: int, offset: int) -> pa.RecordBatch:
        assert isinstance(rows, ArrowRows)  # noqa: S101 - the wire format follows from the encoding
        arrays, count = list(rows.batch.columns), rows.count
        if self._columns.file_uri:
            texts = text_array([(uri or "").encode() for uri in rows.uris])
            arrays.append(pc.if_else(integers(map(bool, rows.uris)).cast(pa.bool_()), texts, null(pa.string())))
        if self._columns.load is not None:
            numbers = integers(range(offset, offset + count))
            begin = text(f"{self._columns.load}-{ordinal}-")
            arrays.append(pc.binary_join_element_wise(begin, numbers.cast(pa.string()), text("")))
        arrays += [pa.repeat(value, count) for value in self._constants]
        return pa.RecordBatch.from_arrays(arrays, schema=self._schema)


class ArrowEncoder(_ArrowFile):
    """Writes the file format of Arrow IPC."""

    def __init__(self, file: _Target, schema: pa.Schema, columns: FileColumns, compression: str | None) -> None:
        super().__init__(file, schema, columns)
        options = pa.ipc.IpcWriteOptions(compression=compression, use_threads=False)
        self._writer = pa.ipc.new_file(self._file, self._schema, options=options)

    def write(self, rows: Rows, ordinal: int, offset: int) -> None:
        """Write rows of the read stream with this ordinal, from this offset on, as one record batch."""
        self._writer.write_batch(self._extended(rows, ordinal, offset))

    def close(self) -> None:
        """Write the footer."""
        self._writer.close()
        self._file.flush()


class ParquetEncoder(_ArrowFile):
    """Writes Parquet, in row groups of ``group_bytes``, as Arrow counts them in memory."""

    def __init__(
        self, file: _Target, schema: pa.Schema, columns: FileColumns, compression: str | None, group_bytes: int
    ) -> None:
        super().__init__(file, schema, columns)
        self._group_bytes = group_bytes
        self._kept: list[pa.RecordBatch] = []
        self._kept_bytes = 0
        self._compression = compression or "none"
        self._writer: pq.ParquetWriter | None = None

    @property
    def size(self) -> int:
        """Bytes of the file so far; rows that wait for their row group count as they are in memory."""
        return super().size + self._kept_bytes

    def write(self, rows: Rows, ordinal: int, offset: int) -> None:
        """Keep rows of the read stream with this ordinal until they make a row group."""
        batch = self._extended(rows, ordinal, offset)
        step = max(1, batch.num_rows * self._group_bytes // max(batch.nbytes, self._group_bytes))
        for start in range(0, batch.num_rows, step):
            self._kept.append(batch.slice(start, step))
            self._kept_bytes += self._kept[-1].nbytes
            if self._kept_bytes >= self._group_bytes:
                self._write_group()
        # A slice keeps the whole batch in memory, so a small one is copied.
        if self._kept and self._kept[-1].get_total_buffer_size() > 2 * self._kept[-1].nbytes:
            self._kept[-1] = pa.ipc.read_record_batch(self._kept[-1].serialize(), self._schema)

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
            writer.is_open = False  # else pyarrow writes a footer when it collects the writer
            raise

    def _new_writer(self, first: pa.Table) -> pq.ParquetWriter:
        # Dictionaries and statistics hold values in memory, which must not be large ones.
        is_usual = first.nbytes < first.num_rows * _LARGE_ROW_BYTES
        return pq.ParquetWriter(
            self._file,
            self._schema,
            compression=self._compression,
            use_dictionary=is_usual,
            dictionary_pagesize_limit=_DICTIONARY_BYTES,
            write_statistics=is_usual,
        )


Encoder = JsonlEncoder | ArrowEncoder | ParquetEncoder


def encoder_for(
    settings: BatchSettings, codec: RowCodec, columns: FileColumns, file: _Target, *, files: int
) -> Encoder:
    """Make the encoder of an empty file, one of at most ``files`` that are written at once."""
    if settings.encoding == "jsonl":
        return JsonlEncoder(file, columns, gzip=settings.compression == "gzip")
    schema = arrow_schema(codec)
    if settings.encoding == "arrow":
        return ArrowEncoder(file, schema, columns, settings.compression)
    return ParquetEncoder(file, schema, columns, settings.compression, _GROUPS_BYTES // files)
