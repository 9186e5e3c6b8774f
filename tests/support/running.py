"""A tap that runs and can be killed: started as a program, or forked from a process that has imported everything."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from typing import IO

from tests.support.pipes import Output, Program, started

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    # pandas: where it is installed, pyarrow imports it at its first null.
    [__name__, "tap_redivis.tap", "tap_redivis.wire.arrow", "tap_redivis.wire.csv", "tap_redivis.batch", "pandas"]
)


@dataclass(frozen=True)
class Running:
    """A tap that runs.

    Attributes:
        pid: Its process.
        stdout: Descriptor to read its output from.
        end: Waits for its end, given what was read, and returns what it left.
    """

    pid: int
    stdout: int
    end: Callable[[bytes], Output]

    def kill(self, number: signal.Signals) -> None:
        """Send a signal, if the process is still there."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)


@contextmanager
def launched(program: Program) -> Iterator[Running]:
    """Start a program as a shell does."""
    with started(program) as process:
        yield Running(process.popen.pid, process.stdout.fileno(), process.end)


@contextmanager
def forked(program: Program, *, processes: bool = False) -> Iterator[Running]:
    """Fork the tap: half a second less for each run.

    Args:
        program: How the tap is called.
        processes: Whether tables of any size are read by processes.
    """
    reader, writer = _CONTEXT.Pipe(duplex=False)
    with tempfile.NamedTemporaryFile() as errors, reader:
        ready = _CONTEXT.Event()
        process = _CONTEXT.Process(target=_be_the_tap, args=(program, writer, errors.name, processes, ready))
        process.start()
        ready.wait()  # a signal before that would hit what is no tap yet
        writer.close()

        def end(stdout: bytes) -> Output:
            process.join()
            return _output(stdout, errors, process.exitcode or 0)

        try:
            yield Running(process.pid or 0, reader.fileno(), end)
        finally:
            process.kill()
            process.join()


def _output(stdout: bytes, errors: IO[bytes], exit_code: int) -> Output:
    return Output(stdout, errors.read().decode(), exit_code, 0.0)


def _be_the_tap(
    program: Program,
    stdout: Connection,
    stderr: str,
    processes: bool,  # noqa: FBT001 - of a process, whose arguments have no names
    ready: Event,
) -> None:
    os.dup2(stdout.fileno(), 1)
    os.dup2(os.open(stderr, os.O_WRONLY), 2)
    stdout.close()
    sys.argv = list(program.argv)
    os.environ.update(program.variables)
    from tap_redivis import streams  # noqa: PLC0415 - only in the process that was forked
    from tap_redivis.__main__ import main  # noqa: PLC0415 - the same
    from tap_redivis.shutdown import SHUTDOWN  # noqa: PLC0415 - the same

    SHUTDOWN.install()
    ready.set()
    if processes:
        streams.PROCESSES_FROM_BYTES = 0
    main()
