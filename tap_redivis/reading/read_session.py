"""Open a read session, read its streams in parallel, and prove that all rows came.

Reader threads know HTTP and rows; what they give is a queue of ``Block`` and ``StreamEnd`` for the one who writes.
"""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, cast

from tap_redivis.client.http import Api, Body
from tap_redivis.errors import Incomplete
from tap_redivis.model.reads import ROWS_STREAM, ReadRequest, StreamPosition
from tap_redivis.reading.read_stream import Make, SessionGone, StreamReader, Through
from tap_redivis.wire.rows import Counted, Decoder, Lines, Notices, RowBlock

if TYPE_CHECKING:
    from tap_redivis.reading.stream_process import StreamProcess

logger = logging.getLogger("tap-redivis")


class Reader(Protocol):
    """Reads one read stream, wherever that is done.

    Attributes:
        bytes: Bytes received.
        resumes: Times that it was taken up again.
    """

    bytes: int
    resumes: int

    @property
    def marked(self) -> bool:
        """Whether the stream's end was proved by a mark."""
        ...

    def rows(self, position: StreamPosition) -> Iterator[Counted]:
        """Give all rows from a position on, or what is made of them."""
        ...


@dataclass(frozen=True)
class Way:
    """What is made of rows on their way, and where.

    Attributes:
        make: What is made of them where they are read, in the processes if there are any; None: nothing. What cannot be
            cut must not be made where there is a limit of rows.
        through: What is done with them before they are given; None: nothing.
        through_in_processes: Whether that is done in the processes too, if there are any; else in the threads.
        elsewhere: Makes the reader of a stream that is read, and made something of, on another machine; None: here.
    """

    make: Make | None = None
    through: Through | None = None
    through_in_processes: bool = False
    elsewhere: Callable[[str], Reader] | None = None


HERE = Way()
"""Rows are read here, and stay as they are."""

_WAITING_BYTES = 4 * 1024 * 1024
_LOOKS_FOR_MISSING_ROWS = 2  # in vain, one after another


@dataclass(frozen=True)
class Block:
    """Some rows of one read stream.

    Attributes:
        stream: Id of the read stream.
        rows: The rows, or what was made of them.
    """

    stream: str
    rows: Counted


@dataclass(frozen=True)
class StreamEnd:
    """A read stream ended properly.

    Attributes:
        stream: Id of the read stream.
        marked: Whether a mark proved the end; otherwise it is for the count to prove.
    """

    stream: str
    marked: bool


def has_processes() -> bool:
    """Whether processes can be forked here, and more than one can compute at a time."""
    return sys.platform == "linux" and len(os.sched_getaffinity(0)) > 1


class SessionReader:
    """Reads the streams of one session.

    Args:
        api: The server.
        request: What to read.
        positions: Where each stream stands, by id, in the session's order.
        expected: Rows that there are in all; None if nobody says.
        decoder: Makes the decoder of one stream.
        notices: What the decoders count.
        processes: How many processes read at most, each one stream at a time; threads read what is left.
        way: What is made of the rows on their way, and where.
        bodies: Answers of which the rows have not been read, by read stream.
    """

    def __init__(  # noqa: PLR0913 - what it needs to know
        self,
        api: Api,
        request: ReadRequest,
        positions: Mapping[str, StreamPosition],
        expected: int | None,
        decoder: Callable[[], Decoder],
        *,
        notices: Notices | None = None,
        processes: int = 0,
        way: Way = HERE,
        bodies: Mapping[str, Body] | None = None,
    ) -> None:
        self._api = api
        self._request = request
        self._positions = dict(positions)
        self._expected = expected
        self._decoder = decoder
        self._stop = threading.Event()
        self._queue = _BlockQueue(self._stop)
        self._notices = notices or Notices()
        self._most_processes = processes
        self._way = way
        self._bodies = dict(bodies or {})
        self._readers: list[Reader] = []
        self._ends: Counter[bool] = Counter()

    @property
    def bytes(self) -> int:
        """Bytes received in this run."""
        return sum(reader.bytes for reader in self._readers)

    @property
    def resumes(self) -> int:
        """Times that a broken read stream was taken up again."""
        return sum(reader.resumes for reader in self._readers)

    @property
    def received(self) -> int:
        """Rows given so far, those of earlier runs included."""
        return sum(position.offset for position in self._positions.values())

    @property
    def proof(self) -> str:
        """Say in words what proves that all rows came."""
        marked = f"{self._ends[True]} of {self._ends.total()} streams ended with a sentinel"
        return f"{marked}, {'nobody said how many rows' if self._expected is None else 'the count agrees'}"

    def read(self) -> Generator[Block | StreamEnd, None, None]:
        """Give all rows and the end of each stream; close it to stop the reading.

        Raises:
            SessionGone: The session has expired, or is not ours.
            Incomplete: All streams ended, but the rows do not add up.
            ApiError: The server refused, or the retries are used up.
            DataError: A row is damaged twice, too large, or not of its type.
        """
        try:
            yield from self._read([stream for stream, position in self._positions.items() if not position.done])
            looks = 0
            while self._expected is not None and self.received < self._expected and looks < _LOOKS_FOR_MISSING_ROWS:
                # A body that ends cleanly, but too early, shows only in the count (redivis-api §8.1.6).
                if ROWS_STREAM in self._positions:
                    raise SessionGone("/rows ended too early, and cannot resume")
                logger.warning("%s: rows are missing; looking for them at each stream's end", self._request.table)
                before = self.received
                yield from self._read(list(self._positions))
                looks = looks + 1 if self.received == before else 0
            self._prove()
        finally:
            self._stop.set()

    def _full(self) -> bool:
        return self._request.max_rows is not None and self.received >= self._request.max_rows

    def _prove(self) -> None:
        if self._expected is not None and self.received != self._expected:
            raise Incomplete(
                f"{self.received:,} rows arrived of {self._expected:,}",
                where=self._request.table,
                todo="Run again: the table will be read anew; what was loaded before stays",
            )

    def _read(self, streams: list[str]) -> Iterator[Block | StreamEnd]:
        waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
        for stream in streams:
            waiting.put(stream)
        at_once = min(self._request.max_streams, len(streams))
        processes = self._processes(min(self._most_processes, at_once))
        for process in [*processes, *[None] * (at_once - len(processes))]:
            threading.Thread(target=self._work, args=(waiting, process), daemon=True).start()
        ended = 0
        try:
            while ended < len(streams) and not self._full():
                message = self._queue.get()
                if isinstance(message, BaseException):
                    raise message
                if isinstance(message, StreamEnd):
                    ended += 1
                    self._ends[message.marked] += 1
                    yield message
                else:
                    message = self._count(message)
                    yield message
                del message  # its rows may be large, and the next may be long in coming
        finally:
            for process in processes:
                process.kill()

    def _processes(self, count: int) -> list[StreamProcess]:
        """Fork processes that read streams, as many as the system allows."""
        if count:
            self._decoder()  # what it imports, all of them have from the begin
        processes: list[StreamProcess] = []
        try:
            for _ in range(count):
                processes.append(self._process())  # noqa: PERF401 - those that there are, are good
        except OSError as error:
            logger.warning("%s: no process can be started (%s); a thread reads instead", self._request.table, error)
        return processes

    def _process(self) -> StreamProcess:
        from tap_redivis.reading.stream_process import StreamProcess  # noqa: PLC0415 - only for large tables

        api = self._api.for_another_process()
        through = self._way.through if self._way.through_in_processes else None
        return StreamProcess(
            self._request.table, lambda stream: self._stream_reader(api, stream, through), self._notices
        )

    def _count(self, block: Block) -> Block:
        if self._request.max_rows is not None:
            # The server may send a little more than was asked for (redivis-api §8.1.14).
            block = replace(block, rows=block.rows.first(self._request.max_rows - self.received))
        position = self._positions[block.stream]
        self._positions[block.stream] = position.advance(block.rows.count, block.rows.last_digest)
        return block

    def _work(self, waiting: queue.SimpleQueue[str], process: StreamProcess | None) -> None:
        """Read waiting streams, one after another, in a thread of its own."""
        try:
            with closing(process) if process else nullcontext():
                while not self._stop.is_set():
                    stream = waiting.get_nowait()
                    self._read_stream(stream, process)
        except queue.Empty:
            return
        except BaseException as error:  # noqa: BLE001 - it is raised again in the thread that writes
            if not self._stop.is_set():  # else nobody hears of it, and it would keep the body open
                self._queue.put(error)

    def _reader(self, stream: str, process: StreamProcess | None) -> Reader:
        if self._way.elsewhere is not None:
            return self._way.elsewhere(stream)
        return process.reader(stream) if process else self._stream_reader(self._api, stream)

    def _stream_reader(self, api: Api, stream: str, through: Through | None = None) -> StreamReader:
        make, body = self._way.make, self._bodies.pop(stream, None)
        decoder = self._decoder()
        return StreamReader(api, self._request, stream, decoder, self._stop, make=make, through=through, body=body)

    def _read_stream(self, stream: str, process: StreamProcess | None) -> None:
        reader = self._reader(stream, process)
        self._readers.append(reader)
        position = self._positions[stream]
        given = self._wanted(reader.rows(position))
        is_through = process is not None and self._way.through_in_processes
        if self._way.through is not None and not is_through:  # then nothing has been made of them before
            given = self._way.through(stream, position.offset, cast("Iterator[RowBlock]", given))
        for rows in given:
            self._queue.put(Block(stream, rows))
            del rows  # it may be large, and the next may be long in coming
        self._queue.put(StreamEnd(stream, reader.marked))

    def _wanted(self, blocks: Iterator[Counted]) -> Iterator[Counted]:
        """Pass rows on for as long as anybody takes them.

        Raises:
            _Unwanted: Nobody does: the table failed, or has as many rows as it may have.
        """
        for rows in blocks:
            if self._stop.is_set():
                raise _Unwanted
            yield rows
            del rows  # it may be large, and the next may be long in coming


class _Unwanted(Exception):
    """Nobody takes rows any more."""


class _BlockQueue:
    """What reader threads have for the one who writes: at most ``_WAITING_BYTES``, or one block that is larger.

    The block that is being written counts too.

    Args:
        stop: Set when nobody takes any more.
    """

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._messages: queue.SimpleQueue[Block | StreamEnd | BaseException] = queue.SimpleQueue()
        self._room = threading.Condition()
        self._waiting = 0
        self._taken = 0
        self._release: Callable[[], None] | None = None

    def put(self, message: Block | StreamEnd | BaseException) -> None:
        """Add a message, as soon as there is room; wait for one that is larger than that until it has been written."""
        size = _size(message)
        with self._room:
            self._wait_while(lambda: self._waiting and self._waiting + size > _WAITING_BYTES)
            self._waiting += size
        self._messages.put(message)
        del message
        if size > _WAITING_BYTES:
            with self._room:
                self._wait_while(lambda: self._waiting)

    def _wait_while(self, condition: Callable[[], object]) -> None:
        while condition() and not self._stop.is_set():
            self._room.wait(0.2)  # seconds until the next look whether anybody still takes

    def get(self) -> Block | StreamEnd | BaseException:
        """Take a message, as soon as there is one."""
        with self._room:
            self._waiting -= self._taken  # what was taken before has been written by now
            self._room.notify_all()
        if self._release is not None:
            self._release()
        message = self._messages.get()
        self._taken = _size(message)
        self._release = _release_of(message)
        return message


def _release_of(message: Block | StreamEnd | BaseException) -> Callable[[], None] | None:
    """Give what is to be called when a message has been written."""
    return message.rows.release if isinstance(message, Block) and isinstance(message.rows, Lines) else None


def _size(message: Block | StreamEnd | BaseException) -> int:
    return message.rows.size if isinstance(message, Block) else 0
