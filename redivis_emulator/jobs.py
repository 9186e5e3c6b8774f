"""Work that takes a while, begun by POST and asked after by GET: what queries and exports have in common."""

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
# As many as a user of Redivis may run at once; more are queued (redivis-api §4.9).
_RUNNING_JOBS = 5


@dataclass(frozen=True)
class Job(Generic[Result]):
    """Something being worked on.

    Args:
        id: Its id.
        user: The user who alone may see it.
        created_at: Seconds on the emulator's clock.
        about: What it is about: the path of a table that is exported, the format.
        future: What comes out.
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
        """Return what went wrong."""
        return str(self.future.exception()) if self.status == "failed" else None

    def result(self) -> Result:
        """Return what came out.

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
        """Begin to work on something."""
        job = Job(uuid.uuid4().hex, user, now, about, self._executor.submit(work))
        self._jobs[job.id] = job
        return job

    def find(self, caller: Token | None, job_id: str) -> Job[Result]:
        """Return a job of the caller.

        Raises:
            ApiError: There is none with this id.
        """
        job = self._jobs.get(job_id)
        if job is None or caller is None or job.user != caller.user:
            raise not_found("The job")
        return job

    def close(self) -> None:
        """Begin nothing more, and wait for what is running."""
        self._executor.shutdown(cancel_futures=True)
