"""Runs jobs on a Dask cluster; the tap's threads wait for the files, and only the tap writes messages and STATE.

When a worker is lost, Dask gives its jobs to another one, which starts after the last file that the tap knows of. Two
workers at the same job do not disturb each other: each writes files of its own, which nobody sees before the tap
publishes one of them.
"""

import functools
import logging
import os
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlsplit

from tap_redivis.client.http import Api
from tap_redivis.errors import ClusterError, ConfigError, RedivisError, one_line
from tap_redivis.reading.jobs import TAP_VERSION, Chunk, LocalWorker, ReadJob, RowBudget, StreamEnd, Unwanted, Worker
from tap_redivis.reading.read_stream import ReadProgress, SessionGone
from tap_redivis.runtime.logs import logger, redacted, register_secret
from tap_redivis.runtime.memory import start_thread
from tap_redivis.runtime.progress import Received
from tap_redivis.wire.rows import ValueIssues

_CONNECT_SECONDS = 20.0
_SECONDS_BETWEEN_LOOKS = 0.5
_SECONDS_A_JOB = 2.0  # then it ends with the next complete file, so that its files get their messages
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_TOKEN = "REDIVIS_API_TOKEN"  # noqa: S105 - the name of a variable


@dataclass(frozen=True)
class Secret:
    """A text that may be sent, but not shown: workers log the arguments of jobs that fail."""

    text: str = field(repr=False)


@dataclass
class JobResult:
    """What came of a job."""

    chunks: list[Chunk] = field(default_factory=list)  # its files, in the stream's order, complete and not published
    end: StreamEnd | None = None  # of the read stream; None where there are more rows
    received: Received = field(default_factory=Received)
    issues: Counter[str] = field(default_factory=Counter)  # how many values had to be changed, by the kind of change
    logged: list[tuple[int, str]] = field(default_factory=list)  # lines for the tap's log, with their levels
    error: Exception | None = None  # what ended the job after these files
    cause: BaseException | None = None  # of the error, since pickle would lose it


# --- in the tap ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cluster:
    """A Dask cluster, by the address of its scheduler and Dask's client."""

    address: str
    client: Any = field(repr=False)

    @property
    def is_private(self) -> bool:
        """Whether the network cannot read what is sent to the cluster."""
        parts = urlsplit(self.address)
        return parts.scheme == "tls" or parts.hostname in _LOOPBACK

    @property
    def workers(self) -> int:
        """How many workers it has now."""
        return len(self.client.scheduler_info(n_workers=-1)["workers"])


@functools.cache
def cluster_at(address: str, max_retry_seconds: float) -> Cluster:
    """Connect to the cluster of a scheduler, once in a run; a ``ClusterError`` says that it cannot be reached."""
    from distributed import Client  # noqa: PLC0415 - takes a second, and few users have a cluster

    # Dask logs lost connections and failed jobs with tracebacks; the tap reports them as errors of its own.
    for name in ("distributed", "tornado.application"):
        logging.getLogger(name).handlers = []
        logging.getLogger(name).setLevel(logging.CRITICAL)
    timeout = min(_CONNECT_SECONDS, max_retry_seconds)
    try:
        client = cast("Any", Client)(address, timeout=timeout, set_as_default=False, name="tap-redivis")
    except Exception as error:
        raise ClusterError(
            f"the Dask scheduler cannot be reached ({type(error).__name__})",
            where=address,
            hint="Check batch_config.scheduler, and that the scheduler runs",
        ) from error
    return Cluster(address, client)


@dataclass
class DaskWorker(Worker):
    """Runs the jobs of one load on a cluster."""

    cluster: Cluster
    name: str  # of the load, for the names of its jobs
    token: str | None = field(repr=False)  # None: public data only
    issues: ValueIssues

    def __post_init__(self) -> None:
        """Warn if no worker could run a job now."""
        self._secret = Secret(self.token) if self.token and self.cluster.is_private else None
        # Files cannot be cut once they are written: with a limit of rows only one job runs at a time.
        self._turn = nullcontext() if self.budget.left is None else threading.Lock()
        if not self.cluster.workers:
            logger.warning("%s: the cluster has no workers yet; waiting for some", self.cluster.address)

    def run(self, job: ReadJob) -> Iterator[Chunk | StreamEnd]:
        """Run a job, some seconds of it at a time; a ``ClusterError`` says that the cluster lost or cannot run it."""
        position = job.position
        while True:
            result = self._run_some(ReadJob(job.spec, job.stream, position))
            for chunk in result.chunks:
                position = position.advance(chunk.count, chunk.last_digest)
                yield chunk
            if result.error is not None:
                raise result.error from result.cause
            if self.budget.is_used_up:
                return
            if result.end is not None:
                yield result.end
                return

    def _run_some(self, job: ReadJob) -> JobResult:
        key = f"{self.name}-{job.position.offset:012}-{uuid.uuid4().hex}"
        with self._turn:
            # Not pure: else Dask would answer a job that is repeated with the files of the first.
            future = self.cluster.client.submit(
                run_on_worker, job, self.budget.left, self._secret, key=key, pure=False, retries=0
            )
            result = self._result(future, job.spec.server.max_retry_seconds)
            if self.budget.left is not None:
                self.budget.left -= sum(chunk.count for chunk in result.chunks)
        self.progress.add(result.received)
        for level, text in result.logged:
            logger.log(level, "%s", text)
        for kind, count in result.issues.items():
            self.issues.add(kind, count)
        return result

    def _result(self, future: Any, patience: float) -> JobResult:  # noqa: ANN401 - a future of Dask
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        until = time.monotonic() + patience
        try:
            while not done.wait(_SECONDS_BETWEEN_LOOKS):
                if self.stop.is_set():
                    raise Unwanted
                if self.cluster.workers:
                    until = time.monotonic() + patience
                elif time.monotonic() > until:
                    raise self._failed(f"it has had no workers for {patience:.0f} seconds", "Start workers")
            return self._taken(future)
        finally:
            future.release()  # Dask goes on with the job, and keeps the result, while a client holds the future

    def _taken(self, future: Any) -> JobResult:  # noqa: ANN401 - a future of Dask
        from distributed import KilledWorker  # noqa: PLC0415 - few users have a cluster

        try:
            return cast("JobResult", future.result())
        except RedivisError:
            raise
        except CancelledError as error:
            raise self._failed("the connection to the scheduler was lost", "Run again: the load goes on") from error
        except KilledWorker as error:
            hint = "Look at the workers' logs: is their memory short? Then run again: the load goes on"
            raise self._failed("the workers that had a job were ended, one after another", hint) from error
        except Exception as error:
            words = one_line(redacted(f"{type(error).__name__}: {error}"), 300).rstrip(".")
            hint = "Are scheduler and workers of the same versions of Python, Dask and tap-redivis as the tap?"
            raise self._failed(f"a job failed on it ({words})", hint) from error

    def _failed(self, what: str, hint: str) -> ClusterError:
        return ClusterError(f"the Dask cluster: {what}", where=self.cluster.address, hint=hint)


# --- on a worker of the cluster --------------------------------------------------------------------------------------


def run_on_worker(job: ReadJob, max_rows: int | None, secret: Secret | None) -> JobResult:
    """Run a job on a worker of the cluster (see ``run_job``); a ``ConfigError`` says that it has no token."""
    from distributed import get_worker  # noqa: PLC0415 - installed where this runs

    token = secret.text if secret else os.environ.get(_TOKEN)
    register_secret(token)
    if token is None and not job.spec.server.is_anonymous:
        raise ConfigError(
            "the token is not sent to a cluster over plain tcp, and a worker has none of its own",
            where="batch_config.scheduler",
            hint=f"Set {_TOKEN} for all workers, or use a scheduler with tls://",
        )
    worker = get_worker()
    key = worker.get_current_task()

    def is_cancelled() -> bool:
        task = worker.state.tasks.get(key)
        return task is None or task.state == "cancelled"

    return run_job(job, max_rows, None if job.spec.server.is_anonymous else token, is_cancelled)


def run_job(job: ReadJob, max_rows: int | None, token: str | None, is_cancelled: Callable[[], bool]) -> JobResult:
    """Run a job for some seconds.

    Raises:
        ConfigError: This is another version of the tap than the one that submitted the job.
        Unwanted: The tap has cancelled the job.
    """
    spec, server, issues = job.spec, job.spec.server, ValueIssues()
    if server.tap_version != TAP_VERSION:
        raise ConfigError(
            f"a worker has tap-redivis {TAP_VERSION}, and the tap is {server.tap_version}",
            where="batch_config.scheduler",
            hint="Install the same version on all workers",
        )
    api = Api(server.endpoint, token, timeout=server.timeout, max_retry_seconds=server.max_retry_seconds)
    worker = LocalWorker(RowBudget(max_rows), ReadProgress(), api, spec.codec(issues))
    result = JobResult(issues=issues.counts)
    with _collected(result.logged), _set_when(worker.stop, is_cancelled):
        try:
            until = time.monotonic() + _SECONDS_A_JOB
            for message in worker.run(job):
                if isinstance(message, StreamEnd):
                    result.end = message
                    break
                result.chunks.append(message)
                if time.monotonic() >= until:
                    break  # the generator is closed when it is forgotten: it removes the file under way
        except (RedivisError, SessionGone) as error:
            result.error, result.cause = error, error.__cause__  # the files before it are good
        except BaseException:
            for chunk in result.chunks:
                if spec.output:
                    spec.output.discard(chunk)  # the tap does not know of it
            raise
    result.received = worker.progress.received
    return result


@contextmanager
def _set_when(stop: threading.Event, condition: Callable[[], bool]) -> Iterator[None]:
    # A reader that waits before another try looks at the event only.
    done = threading.Event()

    def look() -> None:
        while not done.wait(_SECONDS_BETWEEN_LOOKS):
            if condition():
                stop.set()
                return

    start_thread(look)
    try:
        yield
    finally:
        done.set()


@contextmanager
def _collected(lines: list[tuple[int, str]]) -> Iterator[None]:
    # A worker may run other jobs in other threads: only this one's lines are for the tap.
    thread = threading.get_ident()

    def keep(record: logging.LogRecord) -> bool:
        if record.thread == thread:
            lines.append((record.levelno, record.getMessage()))
        return True

    logger.addFilter(keep)
    try:
        yield
    finally:
        logger.removeFilter(keep)
