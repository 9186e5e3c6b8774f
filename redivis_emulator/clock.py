"""The emulator's own clock: it can be put forward, so that sessions expire without anybody sleeping."""

from __future__ import annotations

import time


class Clock:
    """The real time, plus what has been passed by hand. All times in seconds since 1970."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def now(self) -> float:
        """Return the time."""
        return time.time() + self._ahead

    def pass_time(self, seconds: float) -> None:
        """Put the clock forward."""
        self._ahead += seconds
