"""Rows → files: one file covers some rows of one read stream, in its order.

The thread that reads the rows writes files under temporary names. The thread that owns stdout publishes each file,
writes its BATCH message, and only then notes its rows in the bookmark.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

from tap_redivis.batch.columns import FileColumns
from tap_redivis.batch.encodings import Encoder, Sink, encoder_for, file_suffix
from tap_redivis.batch.storage import FinishedFile, PendingFile, Storage, storage_at
from tap_redivis.errors import RedivisError, StorageError
from tap_redivis.model.batch_settings import BatchSettings
from tap_redivis.model.columns import Column, KeyValue, ValueRules, highest_of, is_higher
from tap_redivis.planning.bookmarks import PartialLoad
from tap_redivis.reading.jobs import Chunk
from tap_redivis.wire.arrays import rows_of
from tap_redivis.wire.batches import ArrowRows
from tap_redivis.wire.codec import RowCodec
from tap_redivis.wire.json_lines import HighestKey
from tap_redivis.wire.rows import JsonRows, Rows, ValueIssues


@dataclass(frozen=True)
class FileOutput:
    """Writes the rows of one load as files; it can be pickled, so that workers elsewhere write files of the load too.

    Attributes:
        settings: What kind of files, how large, and where; the root is absolute.
        stream: Name of the stream in messages.
        table: The table's reference, for errors.
        columns: The table's columns.
        rules: What to do with values that targets cannot take.
        load: The load as it was when it was opened or resumed.
        added: What files hold beside the table's columns.
        key: The replication key; None if there is none.
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
        """Leave the storage out: it has locks and connections, and each process opens its own."""
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
        """Make room for files; at the end remove those that are not complete, or that no message names.

        Raises:
            StorageError: There is no room.
        """
        self.storage.prepare()
        try:
            yield
        finally:
            self.storage.close(others=self.settings.executor != "threads")

    def chunks(self, stream: str, offset: int, blocks: Iterator[Rows]) -> Iterator[Chunk]:
        """Write the rows of one read stream; gives each file that is complete.

        Args:
            stream: Id of the read stream.
            offset: Offset of its first row.
            blocks: The rows.

        Raises:
            StorageError: A file cannot be written.
            RedivisError: The reading failed; the rows before that have been given.
        """
        files = _Files(self, stream, offset)
        try:
            for rows in blocks:
                yield from files.write(rows)
                del rows  # it may be large, and must not be kept while the next one is awaited
        except StorageError:
            files.discard()
            raise
        except RedivisError:  # the rows before the error are good
            yield from files.end()
            raise
        except BaseException:  # nobody wants more
            files.discard()
            raise
        yield from files.end()

    def publish(self, chunk: Chunk) -> str:
        """Let the file of a chunk appear under its name; give its URL.

        Raises:
            StorageError: It cannot appear.
        """
        file = cast("FinishedFile", chunk.content)
        self.storage.publish(file)
        return file.url

    def discard(self, chunk: Chunk) -> None:
        """Remove the file of a chunk that no message will name."""
        self.storage.discard(cast("FinishedFile", chunk.content))

    def name(self, stream: str, offset: int) -> str:
        """Name the file of a read stream's rows from an offset on.

        A run that resumes at the offset gives the same name, so it replaces what an earlier run left without a STATE.
        """
        return f"{self._prefix}{self.load.ordinal(stream):02}-{offset:012}{file_suffix(self.settings)}"

    @property
    def _prefix(self) -> str:
        """What the names of all files of the load begin with."""
        prefix = self.settings.prefix.format(
            stream=self.stream,
            version=self.load.version_tag or "current",
            table_version=self.load.table_version,
            date=f"{self.load.opened_at:%Y-%m-%d}",
        )
        return f"{prefix}{self.stream}-{self.load.table_version}-"

    def highest(self, rows: Rows) -> KeyValue | None:
        """Find the highest replication key of some rows."""
        if self.key is None:
            return None
        key = HighestKey(self.key)
        if isinstance(rows, JsonRows):
            return key.of(rows.lines)
        assert isinstance(rows, ArrowRows)  # noqa: S101 - there is no third kind
        # Encoded as JSON, so that the value is the one that a RECORD would have.
        column = rows.batch.column(self.key.name)
        encoded = rows_of(rows.batch, [column], RowCodec(self.table, [self.key], ValueRules(), ValueIssues()), 0)
        return highest_of(key.of(some.lines) for some in encoded)


class _Files:
    """The files of one read stream, one after another.

    Args:
        output: The load that they are part of.
        stream: Id of the read stream.
        offset: Offset of the first row.
    """

    def __init__(self, output: FileOutput, stream: str, offset: int) -> None:
        self._output = output
        self._stream = stream
        self._ordinal = output.load.ordinal(stream)
        self._offset = offset
        self._file: _File | None = None

    def write(self, rows: Rows) -> Iterator[Chunk]:
        """Write rows; give the files that are complete then."""
        while rows.count:
            if self._file is None:
                self._file = _File(self._output, self._output.name(self._stream, self._offset))
            part = rows.first(self._output.settings.rows - self._file.count)
            self._file.write(part, self._ordinal, self._offset)
            self._offset += part.count
            if self._file.is_full:
                yield from self.end()
            if part.count == rows.count:
                break
            rows = rows.without_first(part.count)

    def end(self) -> Iterator[Chunk]:
        """Complete the file under way, if there is one."""
        if self._file is None:
            return
        file = self._file
        try:
            finished = file.finish()
        except BaseException:
            self.discard()
            raise
        self._file = None
        yield Chunk(self._stream, file.count, file.last_digest, finished, file.highest)

    def discard(self) -> None:
        """Remove the file under way, if there is one."""
        if self._file is not None:
            self._file.discard()


class _File:
    """One file under way."""

    def __init__(self, output: FileOutput, name: str) -> None:
        self.count = 0
        self.last_digest = ""
        self.highest: KeyValue | None = None
        self._output = output
        self._pending: PendingFile = output.storage.create(name)
        self._sink = Sink(self._pending)
        self._encoder: Encoder = encoder_for(
            output.settings, output.codec, output.added, self._sink, files=len(output.load.streams)
        )

    @property
    def is_full(self) -> bool:
        """Whether it has as many rows or bytes as a file may have."""
        settings = self._output.settings
        return self.count >= settings.rows or self._encoder.size >= settings.bytes

    def write(self, rows: Rows, ordinal: int, offset: int) -> None:
        self._encoder.write(rows, ordinal, offset)
        self.count += rows.count
        self.last_digest = rows.last_digest
        highest = self._output.highest(rows)
        if highest is not None and is_higher(highest, self.highest):
            self.highest = highest

    def finish(self) -> FinishedFile:
        self._encoder.close()
        return self._pending.finish()

    def discard(self) -> None:
        self._sink.is_wanted = False
        self._pending.discard()
