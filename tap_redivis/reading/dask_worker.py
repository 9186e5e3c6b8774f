"""Jobs on a Dask cluster, for threads that wait for the files: only this process writes messages and state.

A worker that is lost takes with it what it had not returned: Dask gives its jobs to others, and each begins again
after the last file that the tap knows of. Two workers at the same job do not disturb each other: each writes files of
its own, which nobody sees before the tap publishes one of them.
"""

from __future__ import annotations

import functools
import logging
import os
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

from tap_redivis.batch.output import BatchFile
from tap_redivis.batch.storage import Closed
from tap_redivis.errors import ClusterError, ConfigError, RedivisError, one_line
from tap_redivis.model.reads import StreamPosition
from tap_redivis.reading.jobs import Job, Work, Written, do
from tap_redivis.runtime.logs import hide, redacted
from tap_redivis.wire.rows import Notices

logger = logging.getLogger("tap-redivis")

_CONNECT_SECONDS = 20.0
_SECONDS_BETWEEN_LOOKS = 0.5
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_TOKEN = "REDIVIS_API_TOKEN"  # noqa: S105 - the name of a variable


class Secret:
    """Something that may be sent, but not shown.

    Args:
        text: The secret.
    """

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        """Show nothing of it."""
        return "***"


class Cluster:
    """A Dask cluster.

    Args:
        address: Address of its scheduler.
        timeout: Seconds to wait for it.
    """

    def __init__(self, address: str, timeout: float) -> None:
        self.address = address
        self._client: Any = _connected(address, timeout)

    @property
    def is_private(self) -> bool:
        """Whether what is sent to it cannot be read on the way."""
        parts = urlsplit(self.address)
        return parts.scheme == "tls" or parts.hostname in _LOOPBACK

    @property
    def workers(self) -> int:
        """How many workers it has now."""
        return len(self._client.scheduler_info(n_workers=-1)["workers"])

    def submit(self, name: str, job: Job, secret: Secret | None) -> Any:  # noqa: ANN401 - a future of Dask
        """Let a job be done; what is returned holds it for as long as it is kept."""
        key = f"{name}-{uuid.uuid4().hex}"
        return self._client.submit(do_on_worker, job, secret, key=key, pure=False, retries=0)


@functools.cache
def cluster_at(address: str, max_retry_seconds: float) -> Cluster:
    """Find the cluster of a scheduler; connect to it only once in a run.

    Raises:
        ConfigError: The extra ``dask`` is not installed.
        ClusterError: It cannot be reached.
    """
    return Cluster(address, min(_CONNECT_SECONDS, max_retry_seconds))


def _connected(address: str, timeout: float) -> Any:  # noqa: ANN401 - a client of Dask
    try:
        from distributed import Client  # noqa: PLC0415 - a second, and only for who has a cluster
    except ImportError as error:
        raise ConfigError(
            f"executor dask needs the extra dask, which is not installed ({error})",
            where="batch_config.executor",
            todo="pip install 'tap-redivis[dask]'",
        ) from error
    for name in ("distributed", "tornado.application"):  # what matters of it, we say
        logging.getLogger(name).handlers = []
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        return cast("Any", Client)(address, timeout=timeout, set_as_default=False, name="tap-redivis")
    except Exception as error:
        raise ClusterError(
            f"the Dask scheduler cannot be reached ({type(error).__name__})",
            where=address,
            todo="Check batch_config.scheduler, and that the scheduler runs",
        ) from error


def do_on_worker(job: Job, secret: Secret | None) -> Written:
    """Do a job on a worker.

    Raises:
        ConfigError: There is no token, or this is another version of the tap.
        Closed: Nobody wants it any more.
    """
    from distributed import get_worker  # noqa: PLC0415 - it is there on workers

    token = secret.text if secret else os.environ.get(_TOKEN)
    hide(token)
    if token is None and not job.work.is_anonymous:
        raise ConfigError(
            "the token is not sent to a cluster over plain tcp, and a worker has none of its own",
            where="batch_config.scheduler",
            todo=f"Set {_TOKEN} for all workers, or use a scheduler with tls://",
        )
    worker = get_worker()
    key = worker.get_current_task()

    def is_cancelled() -> bool:
        task = worker.state.tasks.get(key)
        return task is None or task.state == "cancelled"

    return do(job, None if job.work.is_anonymous else token, is_cancelled)


@dataclass
class _Limit:
    """Rows that may still be written, where there is a limit: then only one job at a time is done.

    Attributes:
        rows: How many; None: all.
        turn: Held while a job is done.
    """

    rows: int | None
    turn: AbstractContextManager[Any]


class ClusterLoad:
    """One load whose files a cluster writes.

    Args:
        cluster: The cluster.
        work: What its jobs have in common.
        token: The bearer token; None: for public data.
        rows_left: Most rows to write; None: all.
        notices: What had to be changed on the way is counted here.
    """

    def __init__(
        self, cluster: Cluster, work: Work, token: str | None, rows_left: int | None, notices: Notices
    ) -> None:
        self.notices = notices
        self._cluster = cluster
        self._work = work
        self._secret = Secret(token) if token and cluster.is_private else None
        self._limit = _Limit(rows_left, nullcontext() if rows_left is None else threading.Lock())
        self._stopped = threading.Event()
        if not cluster.workers:
            logger.warning("%s: the cluster has no workers yet; waiting for some", cluster.address)

    def reader(self, stream: str) -> ClusterReader:
        """Make the reader of one read stream."""
        return ClusterReader(self, stream)

    def do(self, stream: str, position: StreamPosition) -> Written:
        """Let the next files of a read stream be written, and wait for them.

        Raises:
            ClusterError: The cluster has lost the job, or could not do it.
            ConfigError: The workers are not fit for it.
            Closed: Nobody wants files any more.
        """
        with self._limit.turn:
            left = self._limit.rows
            job = Job(self._work, stream, position, left)
            ordinal = self._work.reading.ordinal(stream)
            name = f"{self._work.name}-{ordinal:02}-{position.offset:012}"
            written = self._result(self._cluster.submit(name, job, self._secret))
            if left is not None:
                self._limit.rows = left - sum(file.count for file in written.files)
        for level, text in written.logged:
            logger.log(level, "%s", text)
        for kind, count in written.notices.items():
            self.notices.add(kind, count)
        return written

    def close(self) -> None:
        """Give up the jobs that are under way."""
        self._stopped.set()

    def _result(self, future: Any) -> Written:  # noqa: ANN401 - a future of Dask
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        patience = self._work.max_retry_seconds
        until = time.monotonic() + patience
        try:
            while not done.wait(_SECONDS_BETWEEN_LOOKS):
                if self._stopped.is_set():
                    raise Closed
                if self._cluster.workers:
                    until = time.monotonic() + patience
                elif time.monotonic() > until:
                    raise self._failed(f"it has had no workers for {patience:.0f} seconds", "Start workers")
            return self._given(future)
        finally:
            future.release()

    def _given(self, future: Any) -> Written:  # noqa: ANN401 - a future of Dask
        from concurrent.futures import CancelledError  # noqa: PLC0415 - only for who has a cluster

        from distributed import KilledWorker  # noqa: PLC0415 - the same

        try:
            written: Written = future.result()
        except RedivisError:
            raise
        except CancelledError as error:
            raise self._failed("the connection to the scheduler was lost", "Run again: the load goes on") from error
        except KilledWorker as error:
            todo = "Look at the workers' logs: is their memory short? Then run again: the load goes on"
            raise self._failed("the workers that had a job were ended, one after another", todo) from error
        except Exception as error:
            words = one_line(redacted(f"{type(error).__name__}: {error}"), 300).rstrip(".")
            todo = "Are scheduler and workers of the same versions of Python, Dask and tap-redivis as the tap?"
            raise self._failed(f"a job failed on it ({words})", todo) from error
        return written

    def _failed(self, what: str, todo: str) -> ClusterError:
        return ClusterError(f"the Dask cluster: {what}", where=self._cluster.address, todo=todo)


class ClusterReader:
    """Lets a cluster read one read stream: used like a ``StreamReader`` whose rows are files already.

    Args:
        load: The load.
        stream: Id of the read stream.

    Attributes:
        bytes: Bytes received.
        resumes: Times that the stream was taken up again.
        marked: Whether the stream's end was proved by a mark.
    """

    def __init__(self, load: ClusterLoad, stream: str) -> None:
        self.bytes = 0
        self.resumes = 0
        self.marked = False
        self._load = load
        self._stream = stream

    def rows(self, position: StreamPosition) -> Iterator[BatchFile]:
        """Give the files of all rows from a position on.

        Raises:
            SessionGone, RedivisError: As ``StreamReader`` and ``BatchOutput`` do; what was written before was given.
            ClusterError: The cluster has lost a job, or could not do it.
        """
        has_ended = False
        while not has_ended:
            written = self._load.do(self._stream, position)
            self.bytes += written.bytes
            self.resumes += written.resumes
            for file in written.files:
                yield file
                position = position.advance(file.count, file.last_digest)
            if written.error is not None:
                raise written.error from written.cause
            has_ended, self.marked = written.has_ended, written.marked
