"""The rows of one read stream → files, each of some rows in the stream's order.

The thread that reads the rows writes files under temporary names. The thread that owns stdout publishes each file,
writes its BATCH message, and only then advances the bookmark.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from tap_redivis.batch.encodings import FileColumns, encoder_for
from tap_redivis.batch.storage import Storage, storage_at
from tap_redivis.errors import RedivisError, StorageError
from tap_redivis.model.batch_settings import BatchSettings
from tap_redivis.model.columns import LOAD, ROW_KEY, TABLE, VERSION, Column, KeyValue, ValueRules, highest_of
from tap_redivis.planning.bookmarks import PartialLoad
from tap_redivis.reading.jobs import Chunk
from tap_redivis.wire.arrays import rows_of
from tap_redivis.wire.codec import RowCodec
from tap_redivis.wire.json_lines import HighestKey
from tap_redivis.wire.rows import ArrowRows, JsonRows, Rows, ValueIssues


def file_columns(names: Sequence[str], table: str, reading: PartialLoad, *, versions: bool) -> FileColumns:
    """Choose the columns of a load's files.

    Args:
        names: Columns that RECORD messages would have too.
        table: Reference of the table, pinned to its version.
        reading: The load.
        versions: Whether the files hold the version columns.
    """
    values: dict[str, str | int | None] = {TABLE: table, VERSION: reading.version_tag}
    constants = {name: values[name] for name in names if name in values}
    if versions:
        constants |= {LOAD: reading.table_version, VERSION: reading.version_tag}
    return FileColumns(reading.key if ROW_KEY in names else None, constants)


@dataclass(frozen=True)
class FileOutput:
    """Writes the rows of one load as files; workers of a cluster get it pickled, and write files of the load too.

    Attributes:
        settings: Kind, size and place of the files; the root is absolute.
        table: The table's reference, for errors.
        load: The load as it was when it was opened or resumed.
        added: The columns of the files beside the table's.
    """

    settings: BatchSettings
    stream: str
    table: str
    columns: tuple[Column, ...]
    rules: ValueRules
    load: PartialLoad
    added: FileColumns
    key: Column | None

    def __getstate__(self) -> dict[str, Any]:
        """Leave the storage out: its locks and connections belong to one process."""
        return {name: value for name, value in vars(self).items() if name not in {"storage", "codec"}}

    @cached_property
    def storage(self) -> Storage:
        """Where the files go."""
        return storage_at(self.settings.root, self._prefix, self.settings.bytes)

    @cached_property
    def codec(self) -> RowCodec:
        """The table's columns and rules, as encoders know them."""
        return RowCodec(self.table, self.columns, self.rules, ValueIssues())

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Make room for files; at the end remove those that are not published.

        Raises:
            StorageError: There is no room, or another run writes the same load.
        """
        self.storage.prepare()
        try:
            yield
        finally:
            self.storage.close(others=self.settings.executor != "threads")

    def chunks(self, stream: str, offset: int, blocks: Iterator[Rows]) -> Iterator[Chunk]:
        """Write the rows of one read stream from an offset on; gives each file that is complete.

        Raises:
            StorageError: A file cannot be written.
            RedivisError: The reading failed; the rows before that have been given.
        """
        files = _StreamFiles(self, stream, offset)
        try:
            for rows in blocks:
                yield from files.write(rows)
                del rows  # it may be large, and must not be kept while the next one is awaited
        except RedivisError as error:
            # The rows before an error of the reading are good: a resumed load goes on behind them.
            if not isinstance(error, StorageError):
                yield from files.end()
            raise
        else:
            yield from files.end()
        finally:
            files.discard()

    def publish(self, chunk: Chunk) -> str:
        """Let the file of a chunk appear under its name; returns its URL.

        Raises:
            StorageError: It cannot appear.
        """
        self.storage.publish(chunk.content)
        return self.storage.url(chunk.content.name)

    def discard(self, chunk: Chunk) -> None:
        """Remove the file of a chunk that no message will name."""
        self.storage.discard(chunk.content)

    def name(self, stream: str, offset: int) -> str:
        """Name the file of a read stream's rows from an offset on.

        A run that resumes at the offset gives the same name, so it replaces what an earlier run left without a STATE.
        """
        gzip = ".gz" if self.settings.described.get("compression") == "gzip" else ""
        return f"{self._prefix}{self.load.ordinal(stream):02}-{offset:012}.{self.settings.encoding}{gzip}"

    def origin(self, stream: str, offset: int) -> dict[str, str | int]:
        """Say where the rows of a file are from, so that a target knows those that it has."""
        origin: dict[str, str | int] = {"stream": self.stream, "table_version": self.load.table_version}
        return origin | {"session": self.load.session, "ordinal": self.load.ordinal(stream), "offset": offset}

    @property
    def _prefix(self) -> str:
        prefix = self.settings.prefix.format(
            stream=self.stream,
            version=self.load.version_tag or "current",
            table_version=self.load.table_version,
            date=f"{self.load.opened_at:%Y-%m-%d}",
        )
        return f"{prefix}{self.stream}-{self.load.key}-"

    def highest(self, rows: Rows) -> KeyValue | None:
        """Find the highest replication key of some rows."""
        if self.key is None:
            return None
        key = HighestKey(self.key)
        if isinstance(rows, JsonRows):
            return key.of(rows.lines)
        assert isinstance(rows, ArrowRows)  # noqa: S101 - there is no third kind
        # The value must be the one that a RECORD would have, so the column is encoded as JSON.
        column = rows.batch.column(self.key.name)
        encoded = rows_of([column], rows.count, RowCodec(self.table, [self.key], ValueRules(), ValueIssues()), 0)
        return highest_of(key.of(some.lines) for some in encoded)  # type: ignore[union-attr] # these rules give JSON


class _StreamFiles:
    """The files of one read stream, one after another."""

    def __init__(self, output: FileOutput, stream: str, offset: int) -> None:
        self._output = output
        self._stream = stream
        self._ordinal = output.load.ordinal(stream)
        self._offset = offset
        self._file: _File | None = None

    def write(self, rows: Rows) -> Iterator[Chunk]:
        settings = self._output.settings
        while rows.count:
            file = self._file = self._file or _File(self._output, self._stream, self._offset)
            part = rows.first(settings.rows - file.count)
            file.write(part, self._ordinal, self._offset)
            self._offset += part.count
            if file.count >= settings.rows or file.encoder.size >= settings.bytes:
                yield from self.end()
            if part.count == rows.count:
                break
            rows = rows.without_first(part.count)

    def end(self) -> Iterator[Chunk]:
        if (file := self._file) is not None:
            file.encoder.close()
            finished = file.pending.finish()
            self._file = None  # from here on the file is the caller's
            yield Chunk(self._stream, file.count, file.last_digest, finished, file.highest)

    def discard(self) -> None:
        if self._file is not None:
            self._file.pending.discard()


class _File:
    """One file under way, and what its chunk will say of its rows."""

    def __init__(self, output: FileOutput, stream: str, offset: int) -> None:
        self.count = 0
        self.last_digest = ""
        self.highest: KeyValue | None = None
        self._output = output
        self.pending = output.storage.create(output.name(stream, offset))
        added = replace(output.added, origin=output.origin(stream, offset))
        self.encoder = encoder_for(output.settings, output.codec, added, self.pending, files=len(output.load.streams))

    def write(self, rows: Rows, ordinal: int, offset: int) -> None:
        self.encoder.write(rows, ordinal, offset)
        self.count += rows.count
        self.last_digest = rows.last_digest
        self.highest = highest_of((self.highest, self._output.highest(rows)))
