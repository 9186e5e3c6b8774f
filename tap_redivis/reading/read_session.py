"""The read streams of one session, read side by side → chunks for the thread that writes, and the proof of all rows.

Reading threads put chunks into a bounded queue, so that memory stays flat however slowly the target takes them.
"""

import math
import queue
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass

from tap_redivis.errors import Incomplete
from tap_redivis.model.reads import ROWS_STREAM, StreamPosition
from tap_redivis.reading.jobs import Chunk, JobSpec, ReadJob, StreamEnd, Unwanted, Worker
from tap_redivis.reading.read_stream import SessionGone
from tap_redivis.runtime.logs import logger
from tap_redivis.runtime.memory import start_thread

_LOOKS_FOR_MISSING_ROWS = 2  # without a new row, one after another: then the table fails (design §7.11)
_MOST_UNCOUNTED = 10_000  # rows, beyond twice the count: where sentinels are the proof, a count may be an estimate
_WAITING_BYTES = 4 * 1024 * 1024
_SECONDS_BETWEEN_LOOKS = 0.2

_Message = Chunk | StreamEnd | BaseException


@dataclass
class SessionReader:
    """Reads the streams of one session."""

    worker: Worker
    spec: JobSpec
    positions: Mapping[str, StreamPosition]  # where each stream stands at first, by id, in the session's order
    expected: int | None  # number of all rows; None if the server does not say

    def __post_init__(self) -> None:
        """Begin with the rows of earlier runs."""
        self._positions = dict(self.positions)
        self._queue = _ChunkQueue(self.worker.stop)
        self._ends: dict[str, bool] = {}  # whether a read stream has ended with a sentinel
        self.worker.progress.rows = self._received

    @property
    def proof(self) -> str:
        """What proves that all rows came, in words."""
        streams = len(self._ends)
        if streams and self._all_ended:
            return f"proved: {streams} of {streams} streams ended with the sentinel"
        if self.expected is None:
            return f"each of {streams} streams came to its end, and nobody said how many rows there are"
        return f"proved by the count: {self.expected:,} rows"

    @property
    def _all_ended(self) -> bool:
        return bool(self._positions) and all(self._ends.get(stream) for stream in self._positions)

    @property
    def _most(self) -> float:
        """How many rows may come: the server may send rows for ever."""
        if self.expected is None:
            return math.inf
        has_sentinels = self.spec.request.wire_format == "arrow" and ROWS_STREAM not in self._positions
        return 2 * self.expected + _MOST_UNCOUNTED if has_sentinels else self.expected

    def read(self) -> Generator[Chunk | StreamEnd, None, None]:
        """Give all rows and the end of each stream; close the generator to stop the reading.

        Raises:
            SessionGone: The session has expired, or is not ours.
            Incomplete: All streams ended, but the rows do not add up.
            ApiError: The server refused, or the retries are used up.
            DataError: A row is damaged twice, too large, or not of its type.
        """
        try:
            yield from self._read([stream for stream, position in self._positions.items() if not position.done])
            yield from self._look_for_missing_rows()
            self._prove()
        finally:
            self.worker.stop.set()

    def _look_for_missing_rows(self) -> Iterator[Chunk | StreamEnd]:
        # redivis-api §8.1.6: a body without a sentinel that ends early, at a row's end, shows only in the count.
        # A stream that ended in an earlier run shows its sentinel again.
        looks = 0
        while self.expected not in {None, self._received} and looks < _LOOKS_FOR_MISSING_ROWS:
            if self._is_full or self._all_ended:
                return
            if ROWS_STREAM in self._positions:
                raise SessionGone(f"/rows cannot resume; {self._incomplete(self._received).what}")
            logger.warning("%s: the rows do not add up; looking for more at each stream's end", self.spec.request.table)
            before = self._received
            yield from self._read(list(self._positions))
            looks = looks + 1 if self._received == before else 0

    @property
    def _received(self) -> int:
        return sum(position.offset for position in self._positions.values())

    @property
    def _is_full(self) -> bool:
        limit = self.spec.request.max_rows
        return limit is not None and self._received >= limit

    def _prove(self) -> None:
        received, expected = self._received, self.expected
        if expected in {None, received} or self._is_full:
            return
        if not self._all_ended:
            raise self._incomplete(received)
        text = "%s: %d rows arrived, and the server had counted %d: sentinels prove that these are all"
        logger.warning(text, self.spec.request.table, received, expected)

    def _incomplete(self, received: int) -> Incomplete:
        sentinels = f"{sum(self._ends.values())} of {len(self._ends)} streams ended with a sentinel"
        return Incomplete(
            f"{received:,} rows arrived of {self.expected:,} ({sentinels})",
            where=self.spec.request.table,
            hint="Run again: all is read anew, what was loaded before stays; `make live` shows how the server counts",
        )

    def _read(self, streams: list[str]) -> Iterator[Chunk | StreamEnd]:
        waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
        for stream in streams:
            waiting.put(stream)
        for _ in range(min(self.spec.request.max_streams, len(streams))):
            start_thread(self._work, waiting)
        ended = 0
        while ended < len(streams) and not self._is_full:
            message = self._queue.get()
            if isinstance(message, BaseException):
                raise message
            if isinstance(message, StreamEnd):
                ended += 1
                self._ends[message.stream] = message.has_sentinel
            else:
                if (received := self._received + message.count) > self._most:
                    raise self._incomplete(received)
                position = self._positions[message.stream]
                self._positions[message.stream] = position.advance(message.count, message.last_digest)
                self.worker.progress.rows += message.count
            yield message
            del message  # it may be large, and must not be kept while the next one is awaited

    def _work(self, waiting: queue.SimpleQueue[str]) -> None:
        try:
            while not self.worker.stop.is_set():
                stream = waiting.get_nowait()
                for message in self.worker.run(ReadJob(self.spec, stream, self._positions[stream])):
                    self._queue.put(message)
                    del message
        except (queue.Empty, Unwanted):
            return
        except BaseException as error:  # noqa: BLE001 - it is raised again in the thread that writes
            if not self.worker.stop.is_set():  # else no thread takes it, and it would keep the body open
                self._queue.put(error)


class _ChunkQueue:
    """Holds at most ``_WAITING_BYTES``, or one chunk that is larger; the chunk that is being written counts too."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._messages: queue.SimpleQueue[_Message] = queue.SimpleQueue()
        self._room = threading.Condition()
        self._waiting = 0
        self._taken = 0

    def put(self, message: _Message) -> None:
        size = _size(message)
        with self._room:
            self._wait_while(lambda: self._waiting and self._waiting + size > _WAITING_BYTES)
            self._waiting += size
        self._messages.put(message)
        del message  # a large chunk must not be kept by the thread that waits below
        if size > _WAITING_BYTES:  # the thread would decode its next rows beside the large chunk
            with self._room:
                self._wait_while(lambda: self._waiting)
                self._room.notify()  # there is room for another thread too

    def get(self) -> _Message:
        with self._room:
            self._waiting -= self._taken  # the thread that asks for the next message has written the one before
            self._room.notify()  # one thread: all of them would only fight for the room of one chunk
        message = self._messages.get()
        self._taken = _size(message)
        return message

    def _wait_while(self, condition: Callable[[], object]) -> None:
        while condition() and not self._stop.is_set():
            self._room.wait(_SECONDS_BETWEEN_LOOKS)


def _size(message: _Message) -> int:
    return message.content.size if isinstance(message, Chunk) else 0
