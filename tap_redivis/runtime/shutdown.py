"""SIGTERM and SIGINT: finish the line, write STATE, end within two seconds with 128 + the signal's number.

Signals belong to the process, so there is one ``SHUTDOWN`` of it. A signal raises ``Termination`` in the main thread:
at once where that thread waits or asks for metadata, at the end of a ``defer_signals()`` section where it writes.

A watch-dog helps where that does not come to pass. It hears of a signal from the C library, at once; the main thread
only when it is back in Python, and that can be never: a signal just before a system call does not interrupt it. So
the watch-dog interrupts it again. A section that cannot end because nobody reads our output gets more room in the
pipe, and in the end the end.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

if sys.platform == "linux":
    import fcntl

SIGNALS = (signal.SIGTERM, signal.SIGINT)
"""What asks the process to end."""

_PATIENCE_SECONDS = 0.7
_SECONDS_BETWEEN_INTERRUPTIONS = 0.1
_MOST_PIPE_BYTES = 1024 * 1024


class Termination(BaseException):  # no error, and nothing that catches errors may catch it
    """The process was asked to end.

    Attributes:
        exit_code: 128 + the signal's number.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.exit_code = 128 + signum


class Shutdown:
    """Turns signals into ``Termination`` where that breaks nothing."""

    def __init__(self) -> None:
        self._sections = 0
        self._received: int | None = None
        self._is_watched = False

    def install(self) -> None:
        """Handle SIGTERM and SIGINT from now on; only the main thread can."""
        if threading.current_thread() is not threading.main_thread():
            return
        if not self._is_watched:
            self._is_watched = True
            heard, told = os.pipe()
            os.set_blocking(told, False)
            # It waits from the beginning: a handler that starts a thread hangs where the main thread is starting one.
            threading.Thread(target=self._watch, args=[heard], daemon=True).start()
            signal.set_wakeup_fd(told, warn_on_full_buffer=False)
        sys.unraisablehook = _said_of_errors_only
        for number in SIGNALS:
            signal.signal(number, self._handle)

    def ignore(self) -> None:
        """Ignore signals from now on: the process is ending."""
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                signal.signal(number, signal.SIG_IGN)

    @contextmanager
    def defer_signals(self) -> Iterator[None]:
        """Hold a signal back until the section is done: its lines and its bookmark belong together.

        Raises:
            Termination: A signal came meanwhile.
        """
        self._sections += 1
        try:
            yield
        finally:
            self._sections -= 1
        if self._received is not None and not self._sections:
            raise Termination(self._received)

    @contextmanager
    def signals_win(self) -> Iterator[None]:
        """Take errors after a signal for the end that it asked for: where it hit a lock being taken, the lock fails.

        Raises:
            Termination: A signal came, and an error after it.
        """
        try:
            yield
        except Exception as error:
            if self._received is None:
                raise
            raise Termination(self._received) from error

    def _handle(self, signum: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the signature of handlers
        if self._received is not None:
            return  # we are ending, and the watch-dog sees to it
        self._received = signum
        if not self._sections:
            raise Termination(signum)

    def _watch(self, heard: int) -> None:
        """End the process if the main thread does not; the process ends under this thread if it does."""
        signum = _next_signal(heard)
        patience = threading.Event()
        until = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < until:
            patience.wait(_SECONDS_BETWEEN_INTERRUPTIONS)
            if self._received is None:
                signal.pthread_kill(threading.main_thread().ident or 0, signum)
        _widen_pipe()
        patience.wait(_PATIENCE_SECONDS)
        os._exit(128 + signum)


def _said_of_errors_only(unraisable: sys.UnraisableHookArgs) -> None:
    """Say nothing of a signal that hit a finalizer, where nothing can be raised: the next section raises it."""
    if unraisable.exc_type is not Termination:
        sys.__unraisablehook__(unraisable)


def _next_signal(heard: int) -> int:
    """Wait for one of our signals; what others have handlers for comes the same way."""
    while True:
        [number] = os.read(heard, 1)
        if number in SIGNALS:
            return number


def _widen_pipe() -> None:
    """Make room for what the main thread is writing to a pipe that nobody reads: it need not leave half a line."""
    if sys.platform == "linux":
        try:
            fcntl.fcntl(1, fcntl.F_SETPIPE_SZ, _MOST_PIPE_BYTES)
        except (AttributeError, OSError):  # F_SETPIPE_SZ is new in Python 3.10's fcntl; stdout may be no pipe
            return


SHUTDOWN = Shutdown()
"""The one of this process."""
