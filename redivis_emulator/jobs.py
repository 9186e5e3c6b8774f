"""Jobs: work that a POST starts and a GET polls; queries and exports are jobs."""

from __future__ import annotations

import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from redivis_emulator.errors import invalid, not_found

if TYPE_CHECKING:
    from collections.abc import Callable

    from redivis_emulator.access import Token

Result = TypeVar("Result")
# Redivis runs this number of jobs of a user at once, and queues the others (redivis-api §4.9).
_RUNNING_JOBS = 5


@dataclass(frozen=True)
class Job(Generic[Result]):
    """A job.

    Args:
        id: Id of the job.
        user: The only user who may see the job.
        created_at: Seconds on the emulator's clock.
        about: The path of the exported table and the format; empty for a query.
        future: The result.
    """

    id: str
    user: str
    created_at: float
    about: tuple[str, ...]
    future: Future[Result]

    @property
    def status(self) -> str:
        """Return `queued`, `running`, `completed`, `failed` or `cancelled`."""
        if self.future.cancelled():
            return "cancelled"
        if not self.future.done():
            return "running" if self.future.running() else "queued"
        return "failed" if self.future.exception() else "completed"

    @property
    def error(self) -> str | None:
        """Return the error message of a failed job, else None."""
        return str(self.future.exception()) if self.status == "failed" else None

    def result(self) -> Result:
        """Return the result.

        Raises:
            ApiError: The job is not completed.
        """
        if self.status != "completed":
            msg = f"The job is {self.status}: {self.error or 'it has no result yet.'}"
            raise invalid(msg)
        return self.future.result()


class Jobs(Generic[Result]):
    """All jobs of one kind."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(_RUNNING_JOBS)
        self._jobs: dict[str, Job[Result]] = {}

    def begin(self, user: str, now: float, about: tuple[str, ...], work: Callable[[], Result]) -> Job[Result]:
        """Start a job."""
        job = Job(uuid.uuid4().hex, user, now, about, self._executor.submit(work))
        self._jobs[job.id] = job
        return job

    def find(self, caller: Token | None, job_id: str) -> Job[Result]:
        """Return a job of the caller.

        Raises:
            ApiError: The caller has no job with this id.
        """
        job = self._jobs.get(job_id)
        if job is None or caller is None or job.user != caller.user:
            raise not_found("The job")
        return job

    def close(self) -> None:
        """Cancel queued jobs, and wait for running ones."""
        self._executor.shutdown(cancel_futures=True)
