"""Files that BATCH messages name → record batches, and where their rows are from.

Arrow and Parquet files may say in their schema's metadata, by the key ``tap_redivis``, which rows of which read stream
they hold. Other files are known by their names.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import fsspec
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from target_adbc.errors import InputError, shown
from target_adbc.records import RecordSchema

if TYPE_CHECKING:
    from typing_extensions import Self

PROVENANCE = b"tap_redivis"
VERSION_COLUMN = "_sdc_table_version"
_PARQUET_ROWS = 16_384
_JSON_ROWS = 10_000


class Provenance(msgspec.Struct, frozen=True):
    """Where the rows of a file are from.

    Attributes:
        stream: As the tap names it.
        table_version: Singer version of the load.
        session: Read session; the rows of one of its read streams are always the same.
        ordinal: Place of the read stream in its session.
        offset: Of the file's first row in the read stream.
    """

    stream: str
    table_version: int
    session: str
    ordinal: int
    offset: int


class BatchFile:
    """A file, open for as long as the context lasts.

    Attributes:
        schema: Names and types of its columns.
        rows: How many; None: nobody knows before all are read.
        provenance: None: it is known by its URL.
        version: Singer version of its rows; None: it does not say.
    """

    def __init__(self, url: str, kind: str, compression: str | None, records: RecordSchema) -> None:
        self.url = url
        self._kind = kind
        self._compression = compression
        self._records = records
        self._stack = ExitStack()
        self._read: Callable[[], Iterator[pa.RecordBatch]] = self._json_batches
        self.rows: int | None = None
        self.provenance: Provenance | None = None
        self.version: int | None = None

    def __enter__(self) -> Self:
        """Open the file.

        Raises:
            InputError: It is not there, or damaged.
        """
        with _of_file(self.url):
            opened: dict[str, Any] = {"arrow": self._arrow, "parquet": self._parquet, "jsonl": self._json_lines}
            if self._kind not in opened:
                raise InputError(f"{self.url}: the encoding {self._kind!r} is none of {', '.join(opened)}")
            self.schema: pa.Schema = opened[self._kind]()
            said = (self.schema.metadata or {}).get(PROVENANCE)
            if said is not None:
                self.provenance = msgspec.json.decode(said, type=Provenance)
                self.version = self.provenance.table_version
            elif VERSION_COLUMN in self.schema.names:
                self.version = next((batch.column(VERSION_COLUMN)[0].as_py() for batch in self.batches(0)), None)
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self._stack.close()

    def batches(self, skip: int) -> Iterator[pa.RecordBatch]:
        """Read all rows but the first ones.

        Raises:
            InputError: The file is damaged.
        """
        with _of_file(self.url):
            for batch in self._read():
                if skip < batch.num_rows:
                    yield batch.slice(skip)
                skip = max(0, skip - batch.num_rows)

    def remove(self) -> None:
        """Delete the file, if it is still there."""
        with _of_file(self.url):
            filesystem, path = fsspec.core.url_to_fs(_plain(self.url))
            if filesystem.exists(path):
                filesystem.rm_file(path)

    def _open(self) -> Any:  # noqa: ANN401 - what pyarrow takes as a file
        url = _plain(self.url)
        if "://" not in url:
            return self._stack.enter_context(pa.memory_map(url))
        return self._stack.enter_context(fsspec.open(url, "rb"))

    def _arrow(self) -> pa.Schema:
        reader = self._stack.enter_context(pa.ipc.open_file(self._open()))
        numbers = range(reader.num_record_batches)
        self.rows = sum(reader.get_batch(number).num_rows for number in numbers)
        self._read = lambda: map(reader.get_batch, numbers)
        return reader.schema

    def _parquet(self) -> pa.Schema:
        file = pq.ParquetFile(self._open())
        self.rows = file.metadata.num_rows
        self._read = lambda: file.iter_batches(_PARQUET_ROWS)
        return file.schema_arrow

    def _json_lines(self) -> pa.Schema:
        return self._records.arrow

    def _json_batches(self) -> Iterator[pa.RecordBatch]:
        with fsspec.open(_plain(self.url), "rb") as raw:
            lines = iter(gzip.GzipFile(fileobj=raw) if self._compression == "gzip" else raw)
            first = 1
            while block := [msgspec.json.decode(line) for line in islice(lines, _JSON_ROWS)]:
                yield self._records.batch(block, first)
                first += len(block)


@contextmanager
def _of_file(url: str) -> Iterator[None]:
    """Say of which file an error is."""
    try:
        yield
    except (OSError, EOFError, pa.ArrowException, msgspec.MsgspecError, ImportError) as error:
        raise InputError(f"{url}: the file cannot be read: {shown(error)}") from error


def _plain(url: str) -> str:
    """Make a path of the URL of a local file."""
    parts = urlsplit(url)
    return unquote(parts.path) if parts.scheme == "file" else url
