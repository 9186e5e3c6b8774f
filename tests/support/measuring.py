"""The most memory that a program held, measured from outside."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from tests.support.pipes import Output, Process, Program, started

# A small process in between: the system counts what a process held before it became another program, and a test
# process that starts a program holds much.
_MEASURE = """
import os, sys
pid = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(pid, 0)
with open(sys.argv[1], "w") as file:
    file.write(str(usage.ru_maxrss))
os._exit(os.waitstatus_to_exitcode(status) & 255)
"""

_SAMPLE_SECONDS = 0.02

Drain = Callable[[Process], bytes]
"""Reads a process's stdout to its end, and returns what is to be kept of it."""


@dataclass(frozen=True)
class Measured:
    """A finished run.

    Attributes:
        output: What it left; stdout is what the reader kept.
        peak_mib: The most memory that was resident at once, in MiB: of the program itself exactly, or, if that is more,
            of it and its processes together as seen every 20 ms; pages that they share count once (Pss).
    """

    output: Output
    peak_mib: float


def measured(program: Program, folder: Path, drain: Drain) -> Measured:
    """Run a program to its end and measure it.

    Args:
        program: The program.
        folder: Where the figure is put down.
        drain: Reads its stdout.
    """
    figure = folder / "maxrss"
    small = (sys.executable, "-S", "-E", "-c", _MEASURE, str(figure))
    with (
        started(replace(program, argv=(*small, *program.argv))) as process,
        _watched(process.popen.pid) as seen,
    ):
        output = process.end(drain(process))
    return Measured(output, max(int(figure.read_text()), seen[0]) / 1024)


@contextmanager
def _watched(pid: int) -> Iterator[list[int]]:
    """Give a list whose first item is the most kilobytes that a process and those below it held together."""
    seen = [0]

    def look() -> None:
        seen[0] = max(seen[0], sum(map(_kilobytes, _below(pid))))

    with repeated(look, _SAMPLE_SECONDS):
        yield seen


@contextmanager
def repeated(look: Callable[[], None], seconds: float) -> Iterator[None]:
    """Call something again and again in a thread of its own, so many seconds apart, while the context lasts."""
    over = threading.Event()

    def repeat() -> None:
        while not over.wait(seconds):
            look()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _below(pid: int) -> Iterator[int]:
    """Give the processes that a process, or one of these, has started; those that end meanwhile are left out."""
    found: list[int] = []
    with suppress(OSError):  # the process has ended
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            with suppress(OSError):  # the thread has
                found += map(int, children.read_text().split())
    for child in found:
        yield child
        yield from _below(child)


def _kilobytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
