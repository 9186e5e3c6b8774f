"""A tap that runs and can be killed: started as a program, or forked from a process that has imported everything."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path

from tests.support.pipes import Output, Program, output_of, started

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.support.preloaded", __name__])


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
def forked(program: Program) -> Iterator[Running]:
    """Fork the tap: half a second less for each run."""
    reader, writer = _CONTEXT.Pipe(duplex=False)
    with tempfile.NamedTemporaryFile() as errors, reader:
        ready = _CONTEXT.Event()
        surroundings = _Surroundings(Path.cwd(), {**os.environ, **program.variables}, errors.name)
        process = _CONTEXT.Process(target=_be_the_tap, args=(program.argv, surroundings, writer, ready))
        started_at = time.monotonic()
        process.start()
        while not ready.wait(1.0):  # a signal before that would hit what is no tap yet
            assert process.is_alive(), "the tap could not be forked"
        writer.close()

        def end(stdout: bytes) -> Output:
            process.join()
            return output_of(stdout, errors, process.exitcode or 0, started_at, program.secret)

        try:
            yield Running(process.pid or 0, reader.fileno(), end)
        finally:
            process.kill()
            process.join()


@dataclass(frozen=True)
class _Surroundings:
    """Where a forked tap finds itself.

    Attributes:
        folder: Its working directory.
        variables: All of its environment.
        stderr: The file that takes its stderr.
    """

    folder: Path
    variables: Mapping[str, str]
    stderr: str


def _be_the_tap(argv: Sequence[str], surroundings: _Surroundings, stdout: Connection, ready: Event) -> None:
    os.dup2(stdout.fileno(), 1)
    os.dup2(os.open(surroundings.stderr, os.O_WRONLY), 2)
    stdout.close()
    os.chdir(surroundings.folder)
    sys.argv = list(argv)
    os.environ.clear()
    os.environ.update(surroundings.variables)
    from tap_redivis.__main__ import main  # noqa: PLC0415 - only in the process that was forked
    from tap_redivis.runtime.shutdown import SHUTDOWN  # noqa: PLC0415 - the same

    SHUTDOWN.install()
    ready.set()
    main()
