"""How many requests may be under way at once, and when none may: what the server answers decides."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus

from tap_redivis.client.retry import moment_of
from tap_redivis.runtime.logs import logger

LONGEST_PAUSE = 60.0  # seconds: how long a window of the rate limit lasts (redivis-api §1.7)


class ConcurrencyLimit:
    """Bounds the requests that are under way, and pauses all of them while the server's rate limit is used up.

    The fewest are allowed at first, and more, up to the most, while all goes well; after a 429 the fewest, for good.
    """

    def __init__(self, fewest: int, most: int, longest_pause: float = LONGEST_PAUSE) -> None:
        self._change = threading.Condition()
        self._spare = fewest
        self._fewest = min(fewest, most)
        self._most = most
        self._longest_pause = longest_pause
        self._now = float(self._fewest)
        self._under_way = 0
        self._resume_at = 0.0
        self._logged = 0.0

    @property
    def now(self) -> int:
        """How many requests are allowed now."""
        return int(self._now)

    @contextmanager
    def request(self) -> Iterator[Callable[[int, Mapping[str, str]], None]]:
        """Wait until a request is allowed; yield a function to call with the status and headers of the response."""
        waited_until = 0.0
        while (resume_at := self._enter(waited_until)) is not None:
            time.sleep(max(resume_at - time.time(), 0))
            waited_until = resume_at
        try:
            yield self._note
        finally:
            with self._change:
                self._under_way -= 1
                self._change.notify_all()

    def grow(self) -> None:
        """Count a request that went well: one more is allowed after as many as are allowed now."""
        with self._change:
            self._now = min(self._now + 1 / self._now, self._most)
            self._change.notify_all()

    def fall_back(self) -> None:
        """Allow the fewest from now on."""
        with self._change:
            self._most = self._fewest
            self._now = float(self._fewest)

    def _note(self, status: int, headers: Mapping[str, str]) -> None:
        self.fall_back() if status == HTTPStatus.TOO_MANY_REQUESTS else self.grow()
        now = time.time()
        reset = moment_of(headers.get("X-Ratelimit-Reset", ""), now)
        try:
            remaining = int(headers["X-Ratelimit-Remaining"])
        except (KeyError, ValueError):
            return
        with self._change:
            # The server may not have counted yet all other requests that are under way, or soon will be.
            if reset is not None and remaining <= max(self._spare, self.now, self._under_way - 1):
                self._resume_at = min(reset, now + self._longest_pause)

    def _enter(self, waited_until: float) -> float | None:
        """Count a request as under way if it is allowed; else return when to ask again, in seconds since the epoch."""
        with self._change:
            self._change.wait_for(lambda: self._under_way < self.now)
            seconds = self._resume_at - time.time()
            # One pause is enough: other processes that use the token may have used up the next window too, and then
            # 429 and its Retry-After say how long to wait.
            if seconds <= 0 or self._resume_at == waited_until:
                self._under_way += 1
                return None
            if self._logged != self._resume_at:
                self._logged = self._resume_at
                logger.info("the rate limit is nearly used up; going on in %.0f s", seconds)
            return self._resume_at
