"""Rows → files, and the BATCH messages that name them: one file covers some rows of one read stream, in its order.

Reader threads write files under temporary names; the thread that owns stdout lets each appear, writes its message, and
only then notes its rows in the bookmark.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec

from tap_redivis.batch.columns import FileColumns
from tap_redivis.batch.encodings import Encoder, Sink, encoder_for, extension
from tap_redivis.batch.storage import Draft, Sealed, Storage, storage_at
from tap_redivis.batch.storage.common import Place, absolute
from tap_redivis.errors import RedivisError, StorageError
from tap_redivis.model.batch_settings import BatchSettings
from tap_redivis.model.columns import KeyValue, ValueRules, is_higher
from tap_redivis.planning.bookmarks import Reading
from tap_redivis.wire.arrays import rows_of
from tap_redivis.wire.batches import ArrowRows
from tap_redivis.wire.codec import RowCodec
from tap_redivis.wire.json_lines import HighestKey
from tap_redivis.wire.rows import Notices, RowBlock, Rows


@dataclass(frozen=True)
class BatchFile:
    """A file that is whole, and waits for its message.

    Attributes:
        sealed: The file.
        count: Rows in it.
        last_digest: Digest of its last row.
        highest: Highest replication key in it; None if there is none, or nobody asks.
    """

    sealed: Sealed
    count: int
    last_digest: str
    highest: KeyValue | None

    @property
    def size(self) -> int:
        """Bytes of it: a read stream goes on when a large file has its message."""
        return self.sealed.size

    def first(self, count: int) -> BatchFile:
        """Take all rows: files are not cut, so the rows were counted when they were written."""
        assert count >= self.count  # noqa: S101 - see _Allowance
        return self


class BatchOutput:
    """Writes the rows of one load as files.

    Args:
        settings: What kind of files, how large, and where.
        stream: Name of the stream, as messages have it.
        codec: The table's columns.
        reading: The load.
        columns: What is added to the table's columns.
        key: Finds the highest replication key, where there is one.
        rows_left: Most rows to write; None for all.
        versioned: Whether messages carry the load's version.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what it needs to know
        self,
        settings: BatchSettings,
        stream: str,
        codec: RowCodec,
        reading: Reading,
        columns: FileColumns,
        key: HighestKey | None,
        *,
        rows_left: int | None,
        versioned: bool = False,
    ) -> None:
        self.settings = settings
        self.codec = codec
        self.columns = columns
        self.files_at_once = len(reading.streams)
        self._stream = stream
        self._reading = reading
        self._key = key
        self._key_codec = RowCodec(codec.table, [key.column], ValueRules(), Notices()) if key else None
        self._allowance = _Allowance(rows_left)
        self._version = reading.table_version if versioned else None
        self.storage: Storage = storage_at(Place(absolute(settings.root), self._names, settings.bytes))

    @property
    def is_for_processes(self) -> bool:
        """Whether processes that are forked should write the files, each those of the streams that it reads.

        Parquet takes turns in encoding, for its memory's sake, and does so without Python.
        """
        return self.storage.can_be_forked and self.settings.encoding != "parquet"

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Make room for files; at the end remove those that are not complete, or that nobody was told of.

        Raises:
            StorageError: There is no room.
        """
        self.storage.prepare()
        try:
            yield
        finally:
            self.storage.close(others=self.settings.executor != "threads")

    def name(self, stream: str, offset: int) -> str:
        """Name the file of a read stream's rows from an offset on.

        A run that resumes at the offset gives the same name: what an earlier one left without a STATE is replaced.
        """
        return f"{self._names}{self._reading.ordinal(stream):02}-{offset:012}{extension(self.settings)}"

    @property
    def _names(self) -> str:
        """What the names of all files of the load begin with."""
        prefix = self.settings.prefix.format(
            stream=self._stream,
            version=self._reading.version_tag or "current",
            table_version=self._reading.table_version,
            date=f"{self._reading.opened_at:%Y-%m-%d}",
        )
        return f"{prefix}{self._stream}-{self._reading.table_version}-"

    def through(self, stream: str, offset: int, blocks: Iterator[RowBlock]) -> Iterator[BatchFile]:
        """Write the rows of one read stream; runs in the thread that reads it.

        Args:
            stream: Id of the read stream.
            offset: Offset of its first row.
            blocks: The rows.

        Raises:
            StorageError: A file cannot be written.
            RedivisError: The reading failed; the rows before that have been given.
        """
        files = _Files(self, stream, self._reading.ordinal(stream), offset)
        try:
            for rows in blocks:
                yield from files.write(self._allowance.take(rows))
                del rows  # it may be large, and the next may be long in coming
                if self._allowance.is_used_up:
                    break
        except StorageError:
            files.discard()
            raise
        except RedivisError:  # what came before is good
            yield from files.end()
            raise
        except BaseException:  # nobody wants more
            files.discard()
            raise
        yield from files.end()

    def publish(self, file: BatchFile) -> bytes:
        """Let a file appear, and write the line of its message.

        Raises:
            StorageError: It cannot.
        """
        self.storage.publish(file.sealed)
        message: dict[str, Any] = {
            "type": "BATCH",
            "stream": self._stream,
            "encoding": self.settings.described,
            "manifest": [file.sealed.url],
        }
        if self._version is not None:
            message["version"] = self._version
        return msgspec.json.encode(message) + b"\n"

    def highest(self, rows: RowBlock) -> KeyValue | None:
        """Find the highest replication key of some rows."""
        if self._key is None or self._key_codec is None:
            return None
        if isinstance(rows, Rows):
            return self._key.of(rows.lines)
        assert isinstance(rows, ArrowRows)  # noqa: S101 - there is no third kind
        column = rows.batch.column(self._key.column.name)
        spelled = rows_of(rows.batch, [column], self._key_codec, 0)
        values: list[Any] = [value for some in spelled if (value := self._key.of(some.lines)) is not None]
        return max(values, default=None)


class _Files:
    """The files of one read stream, one after another.

    Args:
        output: What they are of.
        stream: Id of the read stream.
        ordinal: Its place in the session.
        offset: Offset of the first row.
    """

    def __init__(self, output: BatchOutput, stream: str, ordinal: int, offset: int) -> None:
        self._output = output
        self._stream = stream
        self._ordinal = ordinal
        self._offset = offset
        self._file: _File | None = None

    def write(self, rows: RowBlock) -> Iterator[BatchFile]:
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

    def end(self) -> Iterator[BatchFile]:
        """Complete the file under way, if there is one."""
        if self._file is not None:
            try:
                file = self._file.finish()
            except BaseException:
                self.discard()
                raise
            self._file = None
            yield file

    def discard(self) -> None:
        """Remove the file under way, if there is one."""
        if self._file is not None:
            self._file.discard()


class _File:
    """One file under way."""

    def __init__(self, output: BatchOutput, name: str) -> None:
        self.count = 0
        self._output = output
        self._draft: Draft = output.storage.draft(name)
        self._sink = Sink(self._draft.sink)
        self._encoder: Encoder = encoder_for(
            output.settings, output.codec, output.columns, self._sink, files=output.files_at_once
        )
        self._digest = ""
        self._highest: KeyValue | None = None

    @property
    def is_full(self) -> bool:
        """Whether it has as many rows or bytes as a file may have."""
        settings = self._output.settings
        return self.count >= settings.rows or self._encoder.size >= settings.bytes

    def write(self, rows: RowBlock, ordinal: int, offset: int) -> None:
        with self._draft.guarded():
            self._encoder.write(rows, ordinal, offset)
        self.count += rows.count
        self._digest = rows.last_digest
        if (highest := self._output.highest(rows)) is not None and is_higher(highest, self._highest):
            self._highest = highest

    def finish(self) -> BatchFile:
        with self._draft.guarded():
            self._encoder.close()
        return BatchFile(self._draft.seal(), self.count, self._digest, self._highest)

    def discard(self) -> None:
        self._sink.is_wanted = False
        self._draft.discard()


class _Allowance:
    """Rows that may still be written, where there is a limit: files cannot be cut when they are there.

    Args:
        rows: How many; None for all.
    """

    def __init__(self, rows: int | None) -> None:
        self._left = rows
        self._lock = threading.Lock()

    @property
    def is_used_up(self) -> bool:
        """Whether no row may be written any more."""
        return self._left == 0

    def take(self, rows: RowBlock) -> RowBlock:
        """Take as many rows of a block as may still be written."""
        if self._left is None:
            return rows
        with self._lock:
            rows = rows.first(self._left)
            self._left -= rows.count
        return rows
