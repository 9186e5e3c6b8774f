"""The contents of the files that rows name → storage, by a pool of downloads; a row goes on when its file is there."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, wait
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from tap_redivis.batch.file_names import name_below_root
from tap_redivis.batch.storage import Closed, PendingFile, Storage, is_folder, storage_at
from tap_redivis.client.files import FileHead, head_of, open_file
from tap_redivis.client.http import Api
from tap_redivis.client.retry import BrokenAnswer, RetryBudget, TransientError, Watch
from tap_redivis.client.transport import pieces_of
from tap_redivis.errors import ApiError, ConfigError, NotFound, RedivisError, StorageError
from tap_redivis.model.file_settings import FileSettings
from tap_redivis.reading.jobs import Unwanted
from tap_redivis.reading.read_stream import ReadProgress
from tap_redivis.runtime.logs import logger
from tap_redivis.runtime.memory import ThreadPool
from tap_redivis.runtime.progress import Received
from tap_redivis.wire.rows import ArrowRows, Rows

_SECONDS_FOR_THE_NEXT = 0.2  # rows whose files are there do not wait longer for those that come after them
_MOST_ROWS = 1000  # whose files are asked for at once
_MOST_KNOWN = 10_000  # files that rows named before: where many rows name one file, it is looked for once
_MOST_COPIES = 3  # of a file that arrives whole, and is not what it should be
_BUFFERS_BYTES = 32 * 1024 * 1024  # of all downloads under way
_PIECE_BYTES = 512 * 1024  # twice those of rows, which takes an eighth less time: threads take turns for each piece
_BUFFER_BYTES = 2 * _PIECE_BYTES  # of one into a folder: a piece that is read, and what waits to be written
_UPLOAD_BYTES = 16 * 1024 * 1024  # of one into a bucket: a part, and the same while it is sent
_SMALL_BYTES = 1024 * 1024  # of larger files so few are uploaded at once as there is memory for


@dataclass(frozen=True)
class FileVariables:
    """Names of the variables that say which file a row names; None: none says it, and the server is asked."""

    id: str
    change: str | None  # the change column: rows that are gone name no file any more
    name: str | None = None
    size: str | None = None
    md5: str | None = None


@dataclass(frozen=True)
class SourceFile:
    """A file as a row names it; the size is in bytes, the MD5 in base64."""

    id: str
    name: str | None
    size: int | None
    md5: str | None


@dataclass(frozen=True)
class FileContents:
    """Copies the files of one table's rows; workers of a cluster get it pickled, and copy files too."""

    settings: FileSettings  # where files go; the root is absolute
    table: str  # reference, for errors
    load: str  # name of the load, which no other one has
    places: Mapping[str, str]  # what the template of names may hold of the table
    variables: FileVariables
    most: int  # downloads under way at once
    timeout: float  # seconds after which a body that trickles counts as broken

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what belongs to one process."""
        return {name: value for name, value in vars(self).items() if name in FileContents.__annotations__}

    @cached_property
    def storage(self) -> Storage:
        """Where the files go."""
        with _said_of_files():
            return storage_at(self.settings.root, f"{self.load}-files", 0, owns_root=True)

    @cached_property
    def buffers(self) -> "_Buffers":
        """The memory that all downloads of this process share."""
        return _Buffers(_BUFFERS_BYTES, _BUFFER_BYTES if is_folder(self.settings.root) else _UPLOAD_BYTES)

    @cached_property
    def known(self) -> dict[SourceFile, str]:
        """The URIs of files that are there."""
        return {}

    @cached_property
    def _pool(self) -> ThreadPool:
        return ThreadPool(self.most)

    @cached_property
    def _uploads(self) -> ThreadPool:
        """For large files into a bucket: glibc keeps for each thread what parts of files took, so there are few."""
        return ThreadPool(_BUFFERS_BYTES // _UPLOAD_BYTES)

    def _pool_for(self, source: SourceFile) -> ThreadPool:
        is_upload = not is_folder(self.settings.root) and (source.size or 0) > _SMALL_BYTES
        return self._uploads if is_upload else self._pool

    def _prepare(self) -> None:
        # Before several threads want them: Python 3.12 and later might make one for each.
        _ = self.storage, self.buffers, self.known, self._pool, self._uploads

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Make room for files; at the end remove those that are not whole.

        Raises:
            StorageError: There is no room, or another run writes for the same load.
        """
        self._prepare()
        with _said_of_files():
            self.storage.prepare()
        try:
            yield
        finally:
            for pool in (self._pool, self._uploads):
                pool.shutdown(wait=False, cancel_futures=True)
            self.storage.close(others=True)

    def copied(self, blocks: Iterator[Rows], api: Api, progress: ReadProgress, stop: threading.Event) -> Iterator[Rows]:
        """Give the rows in their order, each with the URI of its file, as soon as the file is there, whole.

        Raises:
            StorageError: A file cannot be written.
            ApiError: A file cannot be had; the rows before it have been given.
            Unwanted: Nobody takes rows any more.
        """
        self._prepare()
        for rows in _limited(blocks):
            sources = list(self._sources(rows))
            copies = {
                source: self._pool_for(source).submit(_Copy(self, api, source, progress, stop).run)
                for source in dict.fromkeys(sources)
                if source is not None
            }
            try:
                yield from _in_parts(rows, [None if source is None else copies[source] for source in sources])
            finally:
                for copy in copies.values():
                    copy.cancel()
            del rows  # it may be large, and must not be kept while the next one is awaited

    def _sources(self, rows: Rows) -> Iterator[SourceFile | None]:
        variables = self.variables
        names = (variables.id, variables.name, variables.size, variables.md5, variables.change)
        for file_id, name, size, md5, change in zip(*_columns(rows, names), strict=True):
            is_gone = change is not None and change[0] in "dg"
            yield None if file_id in {None, ""} or is_gone else SourceFile(str(file_id), name, size, md5)

    def name(self, source: SourceFile) -> str:
        """Name a file below the root."""
        return name_below_root(self.settings.name, self.places, source.id, source.name or "")

    def probe(self, rows: Rows, api: Api) -> None:
        """Ask for the first byte of the first file that rows name; raises what ``copied`` does."""
        source = next(filter(None, self._sources(rows)), None)
        if source is not None:
            with _said_of(source, self.table):
                answer = api.retried("", lambda: open_file(api, source.id, last=0))
            answer.close()  # an empty file has no first byte, which is told by another status only
            logger.info("%s: the file %s can be fetched", self.table, source.id)


def _limited(blocks: Iterator[Rows]) -> Iterator[Rows]:
    """Cut blocks, so that few downloads wait for their turn."""
    for block in blocks:
        rest = block
        del block  # it may be large, and must not be kept while the next one is awaited
        while rest.count:
            yield rest.first(_MOST_ROWS)
            rest = rest.without_first(_MOST_ROWS)


def _columns(rows: Rows, names: tuple[str | None, ...]) -> list[list[Any]]:
    """Take the values of some columns; None where rows have no such column."""
    if isinstance(rows, ArrowRows):
        known = set(rows.batch.schema.names)
        return [rows.batch.column(name).to_pylist() if name in known else [None] * rows.count for name in names]
    decoded = [json.loads(line) for line in rows.lines.splitlines()]
    return [[row.get(name) for row in decoded] for name in names]


def _in_parts(rows: Rows, copies: list["Future[str] | None"]) -> Iterator[Rows]:
    """Give the rows whose files are there, in their order, without waiting long for the next ones."""
    uris: list[str | None] = []
    failure = None
    for copy in copies:
        if uris and copy is not None and wait([copy], _SECONDS_FOR_THE_NEXT).not_done:
            yield replace(rows.first(len(uris)), uris=tuple(uris))
            rows, uris = rows.without_first(len(uris)), []
        try:
            uris.append(None if copy is None else copy.result())
        except RedivisError as error:
            failure = error
            break
    if uris:
        yield replace(rows.first(len(uris)), uris=tuple(uris))
    if failure is not None:
        raise failure


@contextmanager
def _said_of(source: SourceFile, table: str) -> Iterator[None]:
    """Let an error of the server name the file, and the table whose row names it."""
    try:
        yield
    except ApiError as error:
        hint = error.hint
        if isinstance(error, NotFound):
            hint = "Ask the owner of the data for it, or leave the table out of files.tables"
        name = f" ({source.name!r})" if source.name else ""
        raise type(error)(f"the file {source.id}{name}: {error.what}", where=table, hint=hint) from error


@contextmanager
def _said_of_files() -> Iterator[None]:
    """Let an error of the storage name the setting ``files``."""
    try:
        yield
    except (StorageError, ConfigError) as error:
        what, where, hint = (
            text.replace("a BATCH file", "a file").replace("batch_config.storage.root", "files.root")
            for text in (error.what, error.where, error.hint)
        )
        raise type(error)(what, where=where, hint=hint) from error


class _Buffers:
    """The memory of downloads: those that would need more than there is wait."""

    def __init__(self, all_bytes: int, most_of_one: int) -> None:
        self._left = all_bytes
        self._most = most_of_one
        self._change = threading.Condition()

    @contextmanager
    def taken(self, file_bytes: int) -> Iterator[None]:
        """Take what the download of a file needs."""
        size = min(file_bytes, self._most)
        with self._change:
            self._change.wait_for(lambda: self._left >= size)
            self._left -= size
        try:
            yield
        finally:
            with self._change:
                self._left += size
                self._change.notify_all()


@dataclass
class _Copy:
    """One file on its way; what has arrived of it goes on by ``Range`` after every break."""

    contents: FileContents
    api: Api
    source: SourceFile
    progress: ReadProgress
    stop: threading.Event
    _file: PendingFile | None = field(default=None, init=False)

    def run(self) -> str:
        """Bring the file to the storage, unless it is there; gives its URI."""
        source, known = self.source, self.contents.known
        if (uri := known.get(source)) is None:
            try:
                with _said_of(source, self.contents.table), _said_of_files():
                    uri = self._run()
            except Closed:
                raise Unwanted from None
            finally:
                if self._file is not None:
                    self._file.discard()
            if len(known) >= _MOST_KNOWN:
                known.clear()  # other threads look and write too
            known[source] = uri
        return uri

    def _run(self) -> str:
        self._storage = self.contents.storage
        self._looked_for = ""
        source = self.source
        if source.name and source.size is not None and source.md5 and self._is_there(source.size, {source.md5}):
            return self._storage.url(self._name)
        budget = RetryBudget(self.api.max_retry_seconds)
        self._begin_anew()
        failure: TransientError
        copies = 0
        while not self.stop.is_set():
            before = self._received
            try:
                self._read()
            except BrokenAnswer as error:  # it came whole, and damaged, or does not fit what is there of it
                copies, failure = copies + 1, error
                self._begin_anew()
            except TransientError as error:
                failure = error
            else:
                return self._storage.url(self._name)
            if self._received > before:
                budget.progress()
            delay = None if copies == _MOST_COPIES else budget.delay_after(failure)
            if delay is None:
                raise self.api.unavailable("", failure)
            text = "%s: file %s: %s; it goes on at byte %d in %.1f s"
            logger.warning(text, self.contents.table, source.id, failure, self._received, delay)
            self.stop.wait(delay)
        raise Unwanted

    def _begin_anew(self) -> None:
        if self._file is not None:
            self._file.discard()
        self._file = None
        self._digest = hashlib.md5(usedforsecurity=False)
        self._received = 0

    def _is_there(self, size: int, md5s: set[str]) -> bool:
        """Look once for each name whether a file is there that needs no copy."""
        self._name = self.contents.name(self.source)
        is_new, self._looked_for = self._name != self._looked_for, self._name
        is_there = is_new and self._storage.holds(self._name, size, next(iter(md5s), None))
        self.progress.add(Received(files_there=int(is_there)))
        return is_there

    def _read(self) -> None:
        """Read what has not arrived yet, and let the file appear; a ``BrokenAnswer`` says that it came damaged."""
        if self._file is not None and self._received == self._size:  # only the end of the body was lost
            self._publish()
            return
        with closing(open_file(self.api, self.source.id, self._received)) as answer:
            head = head_of(answer)
            if self._file is None:
                self._expect(head)
                if self._is_there(self._size, self._md5s):
                    return
                self._file = self._storage.create(self._name)
            elif (
                head.begin > self._received
                or head.size not in {self._size, None}
                or head.md5 not in {*self._md5s, None}
            ):
                raise BrokenAnswer("the server goes on with another part, or another file, than was asked for")
            skip = self._received - head.begin
            watch = Watch(self.contents.timeout, bytes_for_a_row=self._size + skip + 1)
            with self.contents.buffers.taken(self._size):
                for piece in watch.over(pieces_of(answer, _PIECE_BYTES)):
                    self._take(piece[skip:])
                    skip = max(skip - len(piece), 0)
                    if self.stop.is_set():
                        raise Unwanted
                    if self._received > self._size:
                        break
                self._publish()

    def _expect(self, head: FileHead) -> None:
        """Note what the file must be: its name, its size, and its MD5, as far as they are known."""
        source = self.source = replace(self.source, name=self.source.name or head.name)
        size = head.size if source.size is None else source.size
        if size is None:
            raise BrokenAnswer("neither its row nor the server says how large it is")
        self._size, self._md5s = size, {md5 for md5 in (source.md5, head.md5) if md5}

    def _take(self, data: bytes) -> None:
        assert self._file is not None  # noqa: S101 - it is made before
        self._file.write(data)
        self._digest.update(data)
        self._received += len(data)

    def _publish(self) -> None:
        assert self._file is not None  # noqa: S101 - the same
        md5 = base64.b64encode(self._digest.digest()).decode()
        if self._received != self._size or self._md5s - {md5}:
            damage = f"it has {self._received:,} bytes with the MD5 {md5}, and should have {self._size:,}"
            raise BrokenAnswer(f"{damage} with {' and '.join(sorted(self._md5s))}" if self._md5s else damage)
        finished, self._file = self._file.finish(), None
        self._storage.publish(finished)
        self.progress.add(Received(files=1, file_bytes=self._received))
