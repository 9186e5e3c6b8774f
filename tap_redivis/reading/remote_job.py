"""Run a job away from the tap: its files for some seconds, what had to be changed, its log lines, and its error."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tap_redivis.client.http import Api
from tap_redivis.errors import ConfigError, RedivisError
from tap_redivis.reading.counting import ReadProgress, RowBudget
from tap_redivis.reading.jobs import TAP_VERSION, Chunk, LocalWorker, ReadJob, StreamEnd
from tap_redivis.reading.read_stream import SessionGone
from tap_redivis.wire.codec import RowCodec
from tap_redivis.wire.rows import ValueIssues

_SECONDS_A_JOB = 2.0
"""A job ends with the first file that is complete after so many seconds, so that its files get their messages."""

_SECONDS_BETWEEN_LOOKS = 0.5


@dataclass(frozen=True)
class JobResult:
    """What came of a job.

    Attributes:
        chunks: Its files, in the stream's order, complete and not published.
        end: The end of the read stream; None where there are more rows.
        bytes: Bytes received.
        resumes: How often the read stream was resumed.
        issues: What had to be changed, by words.
        logged: Lines for the log, by level.
        error: What ended the job after these files.
        cause: The cause of the error, which pickle would lose.
    """

    chunks: tuple[Chunk, ...]
    end: StreamEnd | None
    bytes: int
    resumes: int
    issues: Counter[str]
    logged: tuple[tuple[int, str], ...]
    error: Exception | None
    cause: BaseException | None


def run_job(job: ReadJob, max_rows: int | None, token: str | None, is_cancelled: Callable[[], bool]) -> JobResult:
    """Run a job for some seconds.

    Args:
        job: The job.
        max_rows: How many rows may be read; None: no limit.
        token: Bearer token; None: for public data.
        is_cancelled: Says whether the tap has given the job up.

    Raises:
        ConfigError: This is another version of the tap than the one that submitted the job.
        Unwanted: The tap has given the job up.
    """
    spec = job.spec
    if spec.server.tap_version != TAP_VERSION:
        raise ConfigError(
            f"a worker has tap-redivis {TAP_VERSION}, and the tap is {spec.server.tap_version}",
            where="batch_config.scheduler",
            hint="Install the same version on all workers",
        )
    server, issues = spec.server, ValueIssues()
    api = Api(server.endpoint, token, timeout=server.timeout, max_retry_seconds=server.max_retry_seconds)
    codec = RowCodec(spec.request.table, spec.columns, spec.rules, issues).fitted(
        spec.columns, all_must_come=spec.all_must_come
    )
    worker = LocalWorker(api, codec, RowBudget(max_rows), ReadProgress())
    messages: list[Chunk | StreamEnd] = []
    error: Exception | None = None
    with _logged() as lines, _set_when(worker.stop, is_cancelled):
        try:
            _take_for_a_while(worker.run(job), messages)
        except (RedivisError, SessionGone) as caught:
            error = caught
        except BaseException:
            for message in messages:
                if isinstance(message, Chunk) and spec.output:
                    spec.output.discard(message)
            raise
    return JobResult(
        chunks=tuple(message for message in messages if isinstance(message, Chunk)),
        end=next((message for message in messages if isinstance(message, StreamEnd)), None),
        bytes=worker.progress.bytes,
        resumes=worker.progress.resumes,
        issues=issues.counts,
        logged=tuple(lines),
        error=error,
        cause=error and error.__cause__,
    )


def _take_for_a_while(given: Iterator[Chunk | StreamEnd], messages: list[Chunk | StreamEnd]) -> None:
    until = time.monotonic() + _SECONDS_A_JOB
    for message in given:
        messages.append(message)
        if time.monotonic() >= until:
            return  # the generator is closed when it is forgotten: it removes the file under way


@contextmanager
def _set_when(stop: threading.Event, condition: Callable[[], bool]) -> Iterator[None]:
    """Set an event once a condition holds, so that a reader that waits before another try ends too."""
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
    """Keep what this thread logs, for the tap to log it."""
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
