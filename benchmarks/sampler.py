"""Runs the tap, and writes down what each of its threads was doing, every few milliseconds of processor time.

``python -m benchmarks.sampler FILE …`` runs ``tap-redivis …``. A timer of the system counts the time that the process
computes, in its own code or in the kernel for it; what a thread waits for does not count. Each sample is a line of JSON
in the file; `profile` reads them.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import NoReturn

import msgspec

import tap_redivis

_SECONDS = 0.004
_LEAST_SECONDS = 0.0001
_PACKAGE = str(Path(tap_redivis.__file__).parent) + os.sep
_IMPORTS = "<frozen importlib._bootstrap>"


class Sample(msgspec.Struct, frozen=True, array_like=True):
    """What a thread was doing.

    Attributes:
        is_main: Whether it was the main thread of its process.
        seconds: Processor time that it used since the sample before.
        file: Module of the tap in which it was, relative to the package; empty: in none.
        function: Innermost function of the tap, `import`, or `native`: a thread that Python does not (any more) know.
        line: Where in the module.
    """

    is_main: bool
    seconds: float
    file: str
    function: str
    line: int


class Sampler:
    """Takes samples of this process.

    Args:
        path: Where they go.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._used: dict[int, float] = {}
        self._written = 0.0
        self._is_sampling = False
        self._end = os._exit

    def start(self) -> None:
        """Begin."""
        os._exit = self._exit  # how the tap ends
        threading.setprofile(_leave_signal_to_main_thread)
        atexit.register(self._stop)
        self._set_timer()

    def _stop(self) -> None:
        """Write what has been used since the last sample: the system may be late with the timer."""
        signal.setitimer(signal.ITIMER_PROF, 0)  # Python drops handlers at its end; the signal would kill
        self._sample()

    def _exit(self, status: int) -> NoReturn:
        self._stop()
        self._end(status)

    def _set_timer(self) -> None:
        signal.signal(signal.SIGPROF, self._sample)
        signal.setitimer(signal.ITIMER_PROF, _SECONDS, _SECONDS)

    def _sample(self, *_: object) -> None:
        if self._is_sampling:  # the timer can ring again before this has ended, on a processor that others use too
            return
        self._is_sampling = True
        used = time.process_time()
        main = threading.main_thread().ident
        frames = sys._current_frames()  # noqa: SLF001 - documented
        samples = [self._of_thread(thread, each, is_main=thread == main) for thread, each in frames.items()]
        others = used - self._written - sum(sample.seconds for sample in samples)
        samples.append(Sample(is_main=False, seconds=others, file="", function="native", line=0))
        written = [sample for sample in samples if sample.seconds > _LEAST_SECONDS]
        self._written += sum(sample.seconds for sample in written)
        os.write(self._file, b"".join(msgspec.json.encode(sample) + b"\n" for sample in written))
        self._is_sampling = False

    def _of_thread(self, thread: int, frame: FrameType, *, is_main: bool) -> Sample:
        used = time.clock_gettime(time.pthread_getcpuclockid(thread))
        before = self._used.get(thread, 0.0)
        spent = used if used < before else used - before  # less than before: a new thread of the same number
        self._used[thread] = used
        return Sample(is_main, spent, *_where(frame))


def _leave_signal_to_main_thread(*_: object) -> None:
    """Block the timer's signal in a new thread: it would not wake the main thread, which alone runs handlers."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPROF})
    sys.setprofile(None)


def _where(innermost: FrameType) -> tuple[str, str, int]:
    """Find the innermost place within the tap, or that something is being imported."""
    found = ("", "", 0)
    frame: FrameType | None = innermost
    while frame is not None:
        file = frame.f_code.co_filename
        if file == _IMPORTS:
            return ("", "import", 0)
        if not found[0] and file.startswith(_PACKAGE):
            found = (file.removeprefix(_PACKAGE), frame.f_code.co_name, frame.f_lineno or 0)
        frame = frame.f_back
    return found


def main() -> None:
    """Run the tap."""
    Sampler(Path(sys.argv.pop(1))).start()
    from tap_redivis.__main__ import main as tap  # noqa: PLC0415 - from here on it counts

    tap()


if __name__ == "__main__":
    main()
