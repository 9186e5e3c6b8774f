"""A job: read one read stream from an offset on, write some files, and say what was written.

Jobs know nothing of Singer and need nothing of the process that wants them, so they run on any machine that reaches the
server and the storage. The files have not appeared yet: whoever wants the job publishes them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import cast

from tap_redivis.batch.columns import FileColumns
from tap_redivis.batch.output import BatchFile, BatchOutput
from tap_redivis.batch.storage import Closed
from tap_redivis.client.http import Api
from tap_redivis.errors import ConfigError, RedivisError
from tap_redivis.model.batch_settings import BatchSettings
from tap_redivis.model.columns import Column, ValueRules
from tap_redivis.model.reads import ReadRequest, StreamPosition
from tap_redivis.planning.bookmarks import Reading
from tap_redivis.reading.read_stream import SessionGone, StreamReader
from tap_redivis.wire import decoder_for
from tap_redivis.wire.codec import RowCodec
from tap_redivis.wire.json_lines import HighestKey
from tap_redivis.wire.rows import Notices, RowBlock

_SECONDS_A_JOB = 2.0
"""A job ends with the first file that is complete after so many seconds, so that its files get their messages."""

_SECONDS_BETWEEN_LOOKS = 0.5

TAP_VERSION = version("tap-redivis")


@dataclass(frozen=True)
class Work:
    """What all jobs of a load have in common; it holds no secret.

    Attributes:
        tap_version: Version of the tap that wants it.
        endpoint: The server.
        is_anonymous: Whether it is asked without a token.
        timeout: Seconds of silence before a request counts as broken.
        max_retry_seconds: Budget of each request's retries.
        request: What is read.
        settings: What kind of files, how large, and where.
        name: Name of the stream, as messages have it.
        columns: The table's columns.
        rules: What to do with values that targets cannot take.
        all_must_come: Whether it is an error if a body lacks a column.
        reading: The load, as it was when it was begun or taken up.
        added: What is added to the table's columns.
        key: The replication key; None: there is none.
    """

    tap_version: str
    endpoint: str
    is_anonymous: bool
    timeout: float
    max_retry_seconds: float
    request: ReadRequest
    settings: BatchSettings
    name: str
    columns: tuple[Column, ...]
    rules: ValueRules
    all_must_come: bool
    reading: Reading
    added: FileColumns
    key: Column | None


@dataclass(frozen=True)
class Job:
    """Some files of one read stream.

    Attributes:
        work: The load.
        stream: Id of the read stream.
        position: Where it is to be read from.
        max_rows: Most rows to write; None: all.
    """

    work: Work
    stream: str
    position: StreamPosition
    max_rows: int | None


@dataclass(frozen=True)
class Written:
    """What came of a job.

    Attributes:
        files: Its files, in the stream's order, which are whole and not published.
        has_ended: Whether the stream has no more rows.
        marked: Whether a mark proved the stream's end.
        bytes: Bytes received.
        resumes: Times that the stream was taken up again.
        notices: What had to be changed on the way, by words.
        logged: Lines for the log, by level.
        error: What ended it, after these files.
        cause: What that came of.
    """

    files: tuple[BatchFile, ...]
    has_ended: bool
    marked: bool
    bytes: int
    resumes: int
    notices: Counter[str]
    logged: tuple[tuple[int, str], ...]
    error: Exception | None
    cause: BaseException | None


def do(job: Job, token: str | None, is_cancelled: Callable[[], bool]) -> Written:
    """Do a job.

    Args:
        job: The job.
        token: Bearer token; None: for public data.
        is_cancelled: Says whether nobody wants it any more.

    Raises:
        ConfigError: This is another version of the tap than the one that wants the job.
        Closed: Nobody wants it any more.
    """
    work = job.work
    if work.tap_version != TAP_VERSION:
        raise ConfigError(
            f"a worker has tap-redivis {TAP_VERSION}, and the tap is {work.tap_version}",
            where="batch_config.scheduler",
            todo="Install the same version on all workers",
        )
    api = Api(work.endpoint, token, timeout=work.timeout, max_retry_seconds=work.max_retry_seconds)
    notices = Notices()
    codec = RowCodec(work.request.table, work.columns, work.rules, notices).fitted(
        work.columns, all_must_come=work.all_must_come
    )
    key = HighestKey(work.key) if work.key else None
    output = BatchOutput(work.settings, work.name, codec, work.reading, work.added, key, rows_left=job.max_rows)
    names = work.request.variables or [column.name for column in work.columns]
    decoder = decoder_for(work.request.wire_format, codec, names)
    stop = threading.Event()
    reader = StreamReader(api, work.request, job.stream, decoder, stop)
    rows = cast("Iterator[RowBlock]", reader.rows(job.position))  # nothing is made of them
    blocks = _wanted(rows, is_cancelled)
    files: list[BatchFile] = []
    has_ended, error = False, None
    with _logged() as lines, _set_when(stop, is_cancelled):
        try:
            has_ended = _write(output.through(job.stream, job.position.offset, blocks), files)
        except (RedivisError, SessionGone) as caught:
            error = caught
        except BaseException:
            for file in files:
                output.storage.discard(file.sealed)
            raise
    return Written(
        files=tuple(files),
        has_ended=has_ended,
        marked=reader.marked,
        bytes=reader.bytes,
        resumes=reader.resumes,
        notices=notices.counts,
        logged=tuple(lines),
        error=error,
        cause=error and error.__cause__,
    )


def _write(given: Iterator[BatchFile], files: list[BatchFile]) -> bool:
    """Take files for a while; say whether there are no more."""
    until = time.monotonic() + _SECONDS_A_JOB
    for file in given:
        files.append(file)
        if time.monotonic() >= until:
            return False  # the generator is forgotten, and so closed: it removes the file under way
    return True


def _wanted(blocks: Iterator[RowBlock], is_cancelled: Callable[[], bool]) -> Iterator[RowBlock]:
    """Pass rows on for as long as anybody wants them."""
    for rows in blocks:
        if is_cancelled():
            raise Closed
        yield rows
        del rows  # it may be large, and the next may be long in coming
    if is_cancelled():  # which may be why there are no more
        raise Closed


@contextmanager
def _set_when(stop: threading.Event, condition: Callable[[], bool]) -> Iterator[None]:
    """Look now and then whether something holds, and set an event then: who waits to try again hears of it."""
    done = threading.Event()

    def look() -> None:
        while not done.wait(_SECONDS_BETWEEN_LOOKS):
            if condition():
                stop.set()
                return

    threading.Thread(target=look, daemon=True).start()
    try:
        yield
    finally:
        done.set()


@contextmanager
def _logged() -> Iterator[list[tuple[int, str]]]:
    """Keep what this thread says in the tap's log, for the tap to say it."""
    lines: list[tuple[int, str]] = []
    thread = threading.get_ident()

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == thread:
                lines.append((record.levelno, record.getMessage()))

    logger, handler = logging.getLogger("tap-redivis"), Keep()
    logger.addHandler(handler)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
