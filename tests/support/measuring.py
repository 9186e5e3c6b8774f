"""The most memory that a program held, measured from outside."""

from __future__ import annotations

import sys
from collections.abc import Callable
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

Drain = Callable[[Process], bytes]
"""Reads a process's stdout to its end, and returns what is to be kept of it."""


@dataclass(frozen=True)
class Measured:
    """A finished run.

    Attributes:
        output: What it left; stdout is what the reader kept.
        peak_mib: The most memory that was resident at once, in MiB.
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
    with started(replace(program, argv=(*small, *program.argv))) as process:
        output = process.end(drain(process))
    return Measured(output, int(figure.read_text()) / 1024)
