"""Files that BATCH messages name → record batches, and where their rows are from.

Arrow and Parquet files may say in their schema's metadata, by the key ``tap_redivis``, which rows of which read stream
they hold. Other files are known by their names.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count, islice
from typing import Any
from urllib.parse import unquote, urlsplit

import fsspec
import msgspec
import pyarrow as pa
from singer_sdk.exceptions import MissingKeyPropertiesError

from target_adbc.arrow_types import RecordSchema
from target_adbc.errors import TargetError, shown

PROVENANCE = b"tap_redivis"
VERSION_COLUMN = "_sdc_table_version"
_PARQUET_ROWS, _JSON_ROWS = 16_384, 10_000


class Provenance(msgspec.Struct, frozen=True):
    """Where the rows of a file are from."""

    table_version: int  # Singer version of the load
    session: str  # the rows of each of its read streams are always the same
    ordinal: int  # place of the read stream in its session
    offset: int  # of the file's first row in the read stream


class BatchFile:
    """A file, open as long as somebody holds this."""

    def __init__(self, url: str, encoding: Mapping[str, Any], records: RecordSchema) -> None:
        self._url = url
        self._path = unquote(urlsplit(url).path) if url.startswith("file:") else url
        self._read: Callable[[], Iterator[pa.RecordBatch]]
        self.rows: int | None = None  # None: nobody knows before all are read
        self.provenance: Provenance | None = None  # None: the file is known by its URL
        self.version: int | None = None  # Singer version of the rows; None: the file does not say
        kind = encoding.get("format")
        with self._named():
            if kind == "arrow":
                reader = pa.ipc.open_file(self._open())
                numbers = range(reader.num_record_batches)
                self.schema: pa.Schema = reader.schema
                self.rows = sum(reader.get_batch(number).num_rows for number in numbers)
                self._read = lambda: map(reader.get_batch, numbers)
            elif kind == "parquet":
                from pyarrow.parquet import ParquetFile  # noqa: PLC0415 - few files are of this kind

                file = ParquetFile(self._open())
                self.schema, self.rows = file.schema_arrow, file.metadata.num_rows
                self._read = lambda: file.iter_batches(_PARQUET_ROWS)
            elif kind == "jsonl":
                self.schema = records.arrow
                self._read = lambda: self._json_batches(records, encoding.get("compression"))
            else:
                raise TargetError(f"{url}: the encoding {kind!r} is none of arrow, parquet, jsonl")
            said = (self.schema.metadata or {}).get(PROVENANCE)
            if said is not None:
                self.provenance = msgspec.json.decode(said, type=Provenance)
                self.version = self.provenance.table_version
            elif VERSION_COLUMN in self.schema.names:
                self.version = next((batch.column(VERSION_COLUMN)[0].as_py() for batch in self.batches(0)), None)

    def batches(self, skip: int) -> Iterator[pa.RecordBatch]:
        """Read all rows but the first ones."""
        with self._named():
            for batch in self._read():
                if skip < batch.num_rows:
                    yield batch.slice(skip)
                skip = max(0, skip - batch.num_rows)

    def remove(self) -> None:
        """Delete the file, if it is still there."""
        with self._named():
            filesystem, path = fsspec.core.url_to_fs(self._path)
            if filesystem.exists(path):
                filesystem.rm_file(path)

    def _open(self) -> Any:  # noqa: ANN401 - what pyarrow takes as a file
        return fsspec.open(self._path, "rb").open() if "://" in self._path else pa.memory_map(self._path)

    def _json_batches(self, records: RecordSchema, compression: str | None) -> Iterator[pa.RecordBatch]:
        with fsspec.open(self._path, "rb", compression=compression) as lines:
            for first in count(1, _JSON_ROWS):
                if not (block := [msgspec.json.decode(line) for line in islice(lines, _JSON_ROWS)]):
                    break
                yield records.batch(block, first)

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Say of which file an error is."""
        try:
            yield
        except (TargetError, MissingKeyPropertiesError):
            raise
        except Exception as error:  # each kind of storage has its own
            raise TargetError(f"{self._url}: the file cannot be read: {shown(error)}") from error
