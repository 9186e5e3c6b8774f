"""Read streams in a process of its own, for a thread that waits for the rows: Python's threads compute in turn.

The process is forked, so it knows all that this one knows, and reads with the same ``StreamReader``. What it has comes
back through a pipe: rows, log lines and, at last, how the stream ended. Lines that are ready to be written lie in
memory that both share, and only their place comes through the pipe. The process ends when this one ends, however that
does.
"""

from __future__ import annotations

import gc
import logging
import os
import pickle
import queue
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, NoReturn

from tap_redivis.errors import Unavailable
from tap_redivis.model.columns import KeyValue, highest_of
from tap_redivis.model.reads import StreamPosition
from tap_redivis.reading.read_stream import StreamReader
from tap_redivis.reading.shared_memory import PLACE_BYTES, SharedMemory
from tap_redivis.runtime.shutdown import SHUTDOWN, SIGNALS
from tap_redivis.wire.rows import LARGE_ROW_BYTES, Counted, Lines, Notices

if sys.platform == "linux":
    import fcntl

_PIPE_BYTES = 512 * 1024


@dataclass(frozen=True)
class _Given:
    rows: Counted
    bytes: int
    resumes: int


@dataclass(frozen=True)
class _Shared:
    """Lines that lie in shared memory.

    Attributes:
        place: The place in it.
        length: Their bytes, from the begin of the place.
        count, last_digest, highest: What ``Lines`` says of them.
        bytes: Bytes that the reader has received.
        resumes: Times that it was taken up again.
    """

    place: int
    length: int
    count: int
    last_digest: str
    highest: KeyValue | None
    bytes: int
    resumes: int


@dataclass(frozen=True)
class _SharedLines(Lines):
    memory: SharedMemory | None = None

    def release(self) -> None:
        """Let the process put others in their place."""
        assert self.memory is not None  # noqa: S101 - lines have always one
        self.memory.release()


@dataclass(frozen=True)
class _Logged:
    name: str
    level: int
    text: str


@dataclass(frozen=True)
class _Ended:
    error: BaseException | None
    cause: BaseException | None
    marked: bool
    bytes: int
    resumes: int
    notices: Counter[str]


class StreamProcess:
    """A process that reads streams, one after another, for one thread.

    Args:
        table: The table's reference, for messages.
        reader: Makes the reader of a stream; called in the process.
        notices: What the reader's codec counts; here, what comes from the process is added.
    """

    def __init__(self, table: str, reader: Callable[[str], StreamReader], notices: Notices) -> None:
        self.table = table
        self.notices = notices
        self.memory = SharedMemory()
        self._lock = threading.Lock()
        requests, theirs = _pipe()
        answers, ours = _pipe()
        # A signal between the fork and the process's own handlers would make it go on as if it were the tap.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            self._pid: int | None = os.fork()
            if not self._pid:
                theirs.close()
                answers.close()
                _serve(requests, ours, reader, notices, self.memory)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        requests.close()
        ours.close()
        self._requests, self._answers = theirs, answers

    def reader(self, stream: str) -> RemoteReader:
        """Make the reader of one stream."""
        return RemoteReader(self, stream)

    def send(self, message: object) -> None:
        """Tell the process something."""
        with suppress(BrokenPipeError):  # receive() says that it has ended
            pickle.dump(message, self._requests)
            self._requests.flush()

    def receive(self) -> Any:  # noqa: ANN401 - one of three kinds
        """Take what the process has, as soon as there is something.

        Raises:
            Unavailable: It has ended.
        """
        try:
            return pickle.load(self._answers)  # noqa: S301 - from our own process
        except (EOFError, pickle.UnpicklingError):
            raise Unavailable(
                "the process that reads a read stream was ended", where=self.table, todo="Run again; is memory short?"
            ) from None

    def kill(self) -> None:
        """End the process; who waits for it gets an error."""
        with self._lock:
            if self._pid is not None:
                os.kill(self._pid, signal.SIGKILL)
                os.waitpid(self._pid, 0)
                self._pid = None

    def close(self) -> None:
        """End the process; only the thread that uses it may do this."""
        self.kill()
        self._answers.close()
        with suppress(BrokenPipeError):
            self._requests.close()


class RemoteReader:
    """Reads one read stream in another process: used like a ``StreamReader``.

    Args:
        process: The process.
        stream: The stream's id.

    Attributes:
        bytes: Bytes received.
        resumes: Times that it was taken up again.
        marked: Whether the stream's end was proved by a mark.
    """

    def __init__(self, process: StreamProcess, stream: str) -> None:
        self.bytes = 0
        self.resumes = 0
        self.marked = False
        self._process = process
        self._stream = stream

    def rows(self, position: StreamPosition) -> Iterator[Counted]:
        """Give all rows from a position on, or what is made of them (see ``StreamReader``).

        Raises:
            SessionGone, ApiError, DataError: As ``StreamReader`` does.
            Unavailable: The process has ended.
        """
        self._process.send((self._stream, position))
        while True:
            message = self._process.receive()
            if isinstance(message, _Logged):
                logging.getLogger(message.name).log(message.level, "%s", message.text)
                continue
            self.bytes, self.resumes = message.bytes, message.resumes
            if isinstance(message, _Ended):
                break
            rows = self._found(message) if isinstance(message, _Shared) else message.rows
            is_large = rows.size > LARGE_ROW_BYTES
            del message
            yield rows
            del rows  # it may be large, and the next may be long in coming
            if is_large:
                self._process.send(None)
        self.marked = message.marked
        for kind, count in message.notices.items():
            self._process.notices.add(kind, count)
        if message.error is not None:
            raise message.error from message.cause

    def _found(self, shared: _Shared) -> Lines:
        memory = self._process.memory
        part = memory.at(shared.place)[: shared.length]
        return _SharedLines(shared.count, (part,), shared.last_digest, shared.highest, memory)


def _pipe() -> tuple[BinaryIO, BinaryIO]:
    """Make a pipe that takes a few blocks of rows."""
    reader, writer = os.pipe()
    if sys.platform == "linux":
        with suppress(AttributeError, OSError):  # F_SETPIPE_SZ is new in Python 3.10's fcntl
            fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    return os.fdopen(reader, "rb"), os.fdopen(writer, "wb")


def _serve(
    requests: BinaryIO,
    answers: BinaryIO,
    reader: Callable[[str], StreamReader],
    notices: Notices,
    memory: SharedMemory,
) -> NoReturn:
    """Be the process: read what is asked for, until nobody asks any more."""
    try:
        SHUTDOWN.ignore()  # signals are for the tap, which ends this process
        gc.freeze()  # what was there before stays, and stays shared
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 0)
        os.dup2(nothing, 1)  # the target must not wait for this process
        out = _Out(answers, memory)
        _forward_logs(answers)
        asked: queue.SimpleQueue[tuple[str, StreamPosition] | None] = queue.SimpleQueue()
        threading.Thread(target=_listen, args=(requests, asked), daemon=True).start()
        while request := asked.get():
            _give(reader(request[0]), request[1], notices, out, asked)
    finally:
        os._exit(0)


def _listen(requests: BinaryIO, asked: queue.SimpleQueue[Any]) -> None:
    """Pass on what is asked for; the end of the pipe is the end of the tap, and so of this process."""
    with suppress(EOFError, pickle.UnpicklingError, OSError):
        while True:
            asked.put(pickle.load(requests))  # noqa: S301 - from our own process
    os._exit(0)


def _give(
    stream: StreamReader, position: StreamPosition, notices: Notices, out: _Out, asked: queue.SimpleQueue[Any]
) -> None:
    """Send all rows of a stream, and how it ended."""
    error: Exception | None = None
    out.stream = stream
    if stream.makes:  # what is made is gathered
        stream.before_waiting = out.flush
    try:
        for rows in stream.rows(position):
            is_large = rows.size > LARGE_ROW_BYTES
            out.put(rows)
            del rows
            if is_large:
                asked.get()  # only one large row may be held at a time, and it is held until it is written
    except Exception as caught:  # noqa: BLE001 - it is raised again in the thread that waits
        error = caught
    out.flush()
    counts, notices.counts = notices.counts, Counter()
    cause = None if error is None else error.__cause__
    _send(out.answers, _Ended(error, cause, stream.marked, stream.bytes, stream.resumes, counts))


class _Out:
    """What goes to the tap: lines by way of the shared memory, in which they are gathered, and all else by the pipe.

    Gathered are as many as there are without waiting: each message costs the tap as much as writing a thousand rows.

    Args:
        answers: The pipe.
        memory: The memory.

    Attributes:
        stream: What is read now.
    """

    def __init__(self, answers: BinaryIO, memory: SharedMemory) -> None:
        self.answers = answers
        self.stream: StreamReader | None = None
        self._memory = memory
        self._place = 0
        self._length = 0
        self._gathered: list[Lines] = []

    def put(self, rows: Counted) -> None:
        """Send rows, sooner or later."""
        if self._length + rows.size > PLACE_BYTES:
            self.flush()
        if not isinstance(rows, Lines) or rows.size > PLACE_BYTES:
            assert self.stream  # noqa: S101 - its rows these are
            _send(self.answers, _Given(_picklable(rows), self.stream.bytes, self.stream.resumes))
            return
        if not self._length:
            self._place = self._memory.claim()
        room = self._memory.at(self._place)
        for part in rows.parts:
            room[self._length : self._length + len(part)] = part
            self._length += len(part)
        self._gathered.append(replace(rows, parts=()))

    def flush(self) -> None:
        """Send what has been gathered."""
        if not self._length:
            return
        assert self.stream  # noqa: S101 - its rows these are
        shared = _Shared(
            place=self._place,
            length=self._length,
            count=sum(lines.count for lines in self._gathered),
            last_digest=self._gathered[-1].last_digest,
            highest=highest_of(lines.highest for lines in self._gathered),
            bytes=self.stream.bytes,
            resumes=self.stream.resumes,
        )
        self._length, self._gathered = 0, []
        _send(self.answers, shared)


def _picklable(rows: Counted) -> Counted:
    """Let parts be pickled without a copy."""
    if isinstance(rows, Lines):
        buffers: Any = tuple(map(pickle.PickleBuffer, rows.parts))
        return replace(rows, parts=buffers)
    _ = rows.last_digest  # to be sent with them
    return rows


def _send(answers: BinaryIO, message: object) -> None:
    pickle.dump(message, answers, protocol=5)
    answers.flush()


def _forward_logs(answers: BinaryIO) -> None:
    """Send log lines to the tap, which writes them as it writes its own."""

    class Forward(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            _send(answers, _Logged(record.name, record.levelno, record.getMessage()))

    logging.root.handlers = [Forward()]
    for name in logging.root.manager.loggerDict:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], True
