"""Shows how far a load is, and stops one half-way."""

from __future__ import annotations

import signal
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.pipes import Process

_WIDTH = 40
_SECONDS_BETWEEN = 0.1


@dataclass
class Progress:
    """Draws a bar that moves on a terminal; elsewhere only its end is written.

    Attributes:
        rows: How many there are in all.
        before: How many of them earlier runs have loaded.
        drawn_at: When the bar was last drawn, on the monotonic clock.
    """

    rows: int
    before: int = 0
    drawn_at: float = 0

    def __call__(self, _: Process, lines: int) -> None:
        """Draw, now that some lines are through; few of them are no rows."""
        if sys.stdout.isatty() and time.monotonic() - self.drawn_at > _SECONDS_BETWEEN:
            self.drawn_at = time.monotonic()
            self._draw(min(self.before + lines, self.rows))

    def _draw(self, done: int) -> None:
        bar = ("#" * (_WIDTH * done // self.rows)).ljust(_WIDTH, ".")
        start = "\r" if sys.stdout.isatty() else ""
        sys.stdout.write(f"{start}   [{bar}] {done:,} of {self.rows:,} rows ")
        sys.stdout.flush()

    def end(self, done: int) -> None:
        """Draw for the last time, and then also elsewhere."""
        self._draw(done)
        sys.stdout.write("\n")


@dataclass
class StopHalfWay:
    """Sends SIGTERM to the tap when half of the rows are through.

    Attributes:
        progress: Shows how far it is.
        stopped: Whether the signal was sent.
    """

    progress: Progress
    stopped: bool = False

    def __call__(self, process: Process, lines: int) -> None:
        """Look whether it is time."""
        self.progress(process, lines)
        if not self.stopped and lines > self.progress.rows // 2:
            process.popen.send_signal(signal.SIGTERM)
            self.stopped = True
