"""Signals → ``Termination`` in the main thread: the process ends within two seconds, with 128 + their number.

It is raised at once where the main thread waits, and at the end of a ``defer_signals()`` section where it writes.

The main thread handles a signal only when it is back in Python. A signal just before a system call does not interrupt
that call, so this may never happen. The C library tells a watch-dog thread of each signal at once; the thread
interrupts the main thread again, enlarges a pipe that nobody reads, and in the end ends the process.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from tap_redivis.runtime.memory import start_thread

if sys.platform == "linux":
    import fcntl

# Windows has no SIGHUP.
SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name))

_PATIENCE_SECONDS = 0.7  # waited twice, before and after the pipe is enlarged: less than two seconds in all
_SECONDS_BETWEEN_INTERRUPTIONS = 0.1
_MOST_PIPE_BYTES = 1024 * 1024  # what Linux allows users who are not root (pipe-max-size)


class Termination(BaseException):  # not an Exception: nothing that catches errors may catch it
    """The process was asked to end; ``exit_code`` is 128 + the signal's number, ``words`` are for people."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.exit_code = 128 + signum
        self.words = signal.Signals(signum).name


class Shutdown:
    """Turns signals into ``Termination`` where that breaks nothing."""

    def __init__(self) -> None:
        self._sections = 0
        self._received: int | None = None
        self._is_watched = False

    def install(self) -> None:
        """Handle signals from now on, except those already ignored, as under nohup; only the main thread can."""
        if threading.current_thread() is not threading.main_thread():
            return
        if not self._is_watched:
            self._is_watched = True
            heard, told = os.pipe()
            os.set_blocking(told, False)  # set_wakeup_fd takes no other
            # Started now: a handler that starts a thread hangs if it interrupts the start of another thread.
            start_thread(self._watch, heard)
            signal.set_wakeup_fd(told, warn_on_full_buffer=False)
        sys.unraisablehook = _report_errors_only
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._handle)

    def ignore(self) -> None:
        """Ignore signals from now on: the process is ending."""
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                signal.signal(number, signal.SIG_IGN)

    @contextmanager
    def defer_signals(self) -> Iterator[None]:
        """Raise ``Termination`` only at the end of the section: its lines and its bookmark belong together."""
        self._sections += 1
        try:
            yield
        finally:
            self._sections -= 1
        if self._received is not None and not self._sections:
            raise Termination(self._received)

    @contextmanager
    def signals_win(self) -> Iterator[None]:
        """Raise ``Termination`` instead of an error that comes after a signal."""
        try:
            yield
        except Exception as error:
            # A lock fails if the signal interrupts the thread that takes it.
            if self._received is None:
                raise
            raise Termination(self._received) from error

    def _handle(self, signum: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the signature of handlers
        if self._received is not None:
            return  # the first signal decides; the watch-dog ends the process if the main thread does not
        self._received = signum
        if not self._sections:
            raise Termination(signum)

    def _watch(self, heard: int) -> None:
        """Interrupt the main thread until it ends the process; end the process if it does not."""
        signum = 0
        while signum not in SIGNALS:  # signals that others handle arrive here too
            [signum] = os.read(heard, 1)
        patience = threading.Event()
        until = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < until:
            patience.wait(_SECONDS_BETWEEN_INTERRUPTIONS)
            if self._received is None:
                signal.pthread_kill(threading.main_thread().ident or 0, signum)
        widen_pipe(_MOST_PIPE_BYTES)  # room for the line that the main thread is writing
        patience.wait(_PATIENCE_SECONDS)
        os._exit(128 + signum)  # sys.exit would end only this thread


def _report_errors_only(unraisable: "sys.UnraisableHookArgs") -> None:
    # Nothing can be raised from a finalizer; the next section raises the Termination of a signal that came there.
    if unraisable.exc_type is not Termination:
        sys.__unraisablehook__(unraisable)


def widen_pipe(size: int) -> None:
    """Let stdout hold more bytes that nobody has read, if it is a pipe and the system can do so."""
    if sys.platform == "linux":
        with suppress(AttributeError, OSError):  # F_SETPIPE_SZ may be missing; stdout may be no pipe
            fcntl.fcntl(1, fcntl.F_SETPIPE_SZ, size)


SHUTDOWN = Shutdown()
"""The only one: signals belong to the process."""
