"""Programs whose output is read fast, slowly or not at all when a signal reaches them."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from tests.support.pipes import Output, Process, Program, started

_CHECK_SECONDS = 0.001
_TIME_LIMIT = 60  # seconds; more than any of these runs takes on a slow machine

Reader = Callable[[Process], Iterator[bytes]]
"""Gives what a process writes, piece by piece, to its end."""


def fast(process: Process) -> Iterator[bytes]:
    """Read whatever is there, at once."""
    while piece := os.read(process.stdout.fileno(), 64 * 1024):
        yield piece


def slow(process: Process) -> Iterator[bytes]:
    """Read at most 2 MB a second, as a target does that has much to do."""
    while piece := os.read(process.stdout.fileno(), 2048):
        yield piece
        time.sleep(_CHECK_SECONDS)


def interrupted(program: Program, number: signal.Signals, after_bytes: int, reader: Reader) -> Output:
    """Run a program, send it a signal once its reader has some bytes, and read on to the end.

    Returns:
        What it wrote; `seconds` count from the signal.
    """
    with started(program) as process, _limited(process):
        written, sent_at = bytearray(), 0.0
        for piece in reader(process):
            written.extend(piece)
            if not sent_at and len(written) >= after_bytes:
                process.popen.send_signal(number)
                sent_at = time.monotonic()
        process.popen.wait()
        seconds = time.monotonic() - sent_at
        assert sent_at, "ended before it could be stopped"
        return replace(process.end(bytes(written)), seconds=seconds)


def interrupted_unread(program: Program, number: signal.Signals, after_bytes: int) -> Output:
    """Run a program, send it a signal once some bytes wait for a reader, and read nothing before it has ended.

    Returns:
        What it wrote; `seconds` count from the signal.
    """
    with started(program) as process, _limited(process):
        select.select([process.stdout], [], [])
        _wait_for(lambda: _waiting_bytes(process) >= after_bytes)
        return _signalled(process, number)


def interrupted_when(program: Program, number: signal.Signals, is_time: Callable[[], bool]) -> Output:
    """Run a program and send it a signal as soon as a condition holds; read what it wrote when it has ended.

    Returns:
        What it wrote; `seconds` count from the signal.
    """
    with started(program) as process, _limited(process):
        _wait_for(is_time)
        return _signalled(process, number)


@contextmanager
def _limited(process: Process) -> Iterator[None]:
    """Kill a process that does not end, so that nobody waits for what it never writes."""
    timer = threading.Timer(_TIME_LIMIT, process.popen.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _signalled(process: Process, number: signal.Signals) -> Output:
    process.popen.send_signal(number)
    sent_at = time.monotonic()
    process.popen.wait()
    seconds = time.monotonic() - sent_at
    return replace(process.end(process.stdout.read()), seconds=seconds)


def _wait_for(is_time: Callable[[], bool]) -> None:
    while not is_time():
        time.sleep(_CHECK_SECONDS)


def _waiting_bytes(process: Process) -> int:
    """Return how many bytes wait in the pipe."""
    return int.from_bytes(fcntl.ioctl(process.stdout, termios.FIONREAD, bytes(4)), sys.byteorder)
