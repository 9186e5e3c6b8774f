"""The rows of one read stream → files, each of some rows in the stream's order.

The thread that reads the rows writes files under temporary names. The thread that owns stdout publishes each file,
writes its BATCH message, and only then advances the bookmark.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from tap_redivis.batch.encodings import FileColumns, encoder_for
from tap_redivis.batch.storage import Storage, storage_at
from tap_redivis.errors import RedivisError, StorageError
from tap_redivis.model.batch_settings import BatchSettings
from tap_redivis.model.columns import KeyValue, ValueRules, highest_of
from tap_redivis.planning.bookmarks import PartialLoad
from tap_redivis.reading.jobs import Chunk, JobSpec
from tap_redivis.wire.arrays import rows_of
from tap_redivis.wire.codec import RowCodec
from tap_redivis.wire.json_lines import HighestKey
from tap_redivis.wire.rows import ArrowRows, JsonRows, Rows, ValueIssues


@dataclass(frozen=True)
class FileOutput:
    """Writes the rows of one load as files; workers of a cluster get it pickled, and write files of the load too."""

    settings: BatchSettings  # kind, size and place of the files; the root is absolute
    stream: str  # the name that BATCH messages have
    spec: JobSpec  # what is read of the table
    load: PartialLoad  # as it was when it was opened or resumed
    added: FileColumns  # the columns of the files beside the table's

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
        return self.spec.codec(ValueIssues())

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
        file: _File | None = None
        failure: RedivisError | None = None
        try:
            try:
                for block in blocks:
                    rest: Rows | None = block
                    del block  # it may be large, and must not be kept while the next one is awaited
                    while rest:
                        file = file or _File(self, stream, offset)
                        rest = file.write(rest)
                        if file.is_full:
                            offset += file.count
                            chunk, file = file.finish(), None  # from here on the file is the caller's
                            yield chunk
            except StorageError:
                raise
            except RedivisError as error:
                failure = error  # of the reading: the rows before it are good, and a resumed load goes on behind them
            if file is not None:
                chunk, file = file.finish(), None
                yield chunk
            if failure is not None:
                raise failure
        finally:
            if file is not None:
                file.pending.discard()

    def publish(self, chunk: Chunk) -> str:
        """Let the file of a chunk appear under its name; returns its URL. A ``StorageError`` says that it cannot."""
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
        if self.spec.key is None:
            return None
        key = HighestKey(self.spec.key)
        if isinstance(rows, JsonRows):
            return key.of(rows.lines)
        assert isinstance(rows, ArrowRows)  # noqa: S101 - there is no third kind
        # The value must be the one that a RECORD would have, so the column is encoded as JSON.
        codec = RowCodec(self.codec.table, [key.column], ValueRules(), ValueIssues())
        encoded = rows_of([rows.batch.column(key.column.name)], rows.count, codec, 0)
        return highest_of(key.of(some.lines) for some in encoded)  # type: ignore[union-attr] # these rules give JSON


class _File:
    """One file under way, with the rows of a read stream from an offset on, and what its chunk will say of them."""

    def __init__(self, output: FileOutput, stream: str, offset: int) -> None:
        self.count = 0
        self.pending = output.storage.create(output.name(stream, offset))
        self._output = output
        self._stream = stream
        self._ordinal = output.load.ordinal(stream)
        self._offset = offset
        self._last_digest = ""
        self._highest: KeyValue | None = None
        load = output.load
        # It says where its rows are from, so that a target knows those that it has.
        origin: dict[str, str | int] = {"stream": output.stream, "table_version": load.table_version}
        origin |= {"session": load.session, "ordinal": self._ordinal, "offset": offset}
        columns = replace(output.added, origin=origin)
        self._encoder = encoder_for(output.settings, output.codec, columns, self.pending, files=len(load.streams))

    @property
    def is_full(self) -> bool:
        settings = self._output.settings
        return self.count >= settings.rows or self._encoder.size >= settings.bytes

    def write(self, rows: Rows) -> Rows | None:
        """Write as many rows as there is room for; gives the others, if there are any."""
        part = rows.first(self._output.settings.rows - self.count)
        self._encoder.write(part, self._ordinal, self._offset + self.count)
        self.count += part.count
        self._last_digest = part.last_digest
        self._highest = highest_of((self._highest, self._output.highest(part)))
        return None if part.count == rows.count else rows.without_first(part.count)

    def finish(self) -> Chunk:
        self._encoder.close()
        return Chunk(self._stream, self.count, self._last_digest, self.pending.finish(), self._highest)
