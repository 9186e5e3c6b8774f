"""Read streams in a process of its own, for a thread that waits for the rows: Python's threads compute in turn.

The process is forked, so it knows all that this one knows, and reads with the same ``StreamReader``. What it has comes
back through a pipe: rows, log lines and, at last, how the stream ended. It ends when this process ends, however that
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
from dataclasses import dataclass
from typing import Any, BinaryIO, NoReturn

from tap_redivis.bookmarks import StreamPosition
from tap_redivis.errors import Unavailable
from tap_redivis.read_stream import StreamReader
from tap_redivis.shutdown import SHUTDOWN, SIGNALS
from tap_redivis.wire.rows import LARGE_ROW_BYTES, Notices, RowBlock

if sys.platform == "linux":
    import fcntl

_PIPE_BYTES = 512 * 1024


@dataclass(frozen=True)
class _Given:
    rows: RowBlock
    bytes: int
    resumes: int


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


def is_possible() -> bool:
    """Whether processes can be forked here, and more than one can compute at a time."""
    return sys.platform == "linux" and len(os.sched_getaffinity(0)) > 1


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
                _serve(requests, ours, reader, notices)
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

    def rows(self, position: StreamPosition) -> Iterator[RowBlock]:
        """Give all rows from a position on (see ``StreamReader``).

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
            rows = message.rows
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


def _pipe() -> tuple[BinaryIO, BinaryIO]:
    """Make a pipe that takes a few blocks of rows."""
    reader, writer = os.pipe()
    if sys.platform == "linux":
        with suppress(AttributeError, OSError):  # F_SETPIPE_SZ is new in Python 3.10's fcntl
            fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    return os.fdopen(reader, "rb"), os.fdopen(writer, "wb")


def _serve(requests: BinaryIO, answers: BinaryIO, reader: Callable[[str], StreamReader], notices: Notices) -> NoReturn:
    """Be the process: read what is asked for, until nobody asks any more."""
    try:
        SHUTDOWN.ignore()  # signals are for the tap, which ends this process
        gc.freeze()  # what was there before stays, and stays shared
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 0)
        os.dup2(nothing, 1)  # the target must not wait for this process
        _forward_logs(answers)
        asked: queue.SimpleQueue[tuple[str, StreamPosition] | None] = queue.SimpleQueue()
        threading.Thread(target=_listen, args=(requests, asked), daemon=True).start()
        while request := asked.get():
            _give(reader(request[0]), request[1], notices, answers, asked)
    finally:
        os._exit(0)


def _listen(requests: BinaryIO, asked: queue.SimpleQueue[Any]) -> None:
    """Pass on what is asked for; the end of the pipe is the end of the tap, and so of this process."""
    with suppress(EOFError, pickle.UnpicklingError, OSError):
        while True:
            asked.put(pickle.load(requests))  # noqa: S301 - from our own process
    os._exit(0)


def _give(
    stream: StreamReader,
    position: StreamPosition,
    notices: Notices,
    answers: BinaryIO,
    asked: queue.SimpleQueue[Any],
) -> None:
    """Send all rows of a stream, and how it ended."""
    error: Exception | None = None
    try:
        for rows in stream.rows(position):
            is_large = rows.size > LARGE_ROW_BYTES
            _ = rows.last_digest  # to be sent with them
            _send(answers, _Given(rows, stream.bytes, stream.resumes))
            del rows
            if is_large:
                asked.get()  # only one large row may be held at a time, and it is held until it is written
    except Exception as caught:  # noqa: BLE001 - it is raised again in the thread that waits
        error = caught
    counts, notices.counts = notices.counts, Counter()
    cause = None if error is None else error.__cause__
    _send(answers, _Ended(error, cause, stream.marked, stream.bytes, stream.resumes, counts))


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
