"""The emulator's own clock: tests can advance it, so that sessions expire without waiting."""

from __future__ import annotations

import time


class Clock:
    """The real time plus the seconds that `pass_time` added. All times in seconds since 1970."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def now(self) -> float:
        """Return the time."""
        return time.time() + self._ahead

    def pass_time(self, seconds: float) -> None:
        """Advance the clock."""
        self._ahead += seconds
