"""Taps and targets as real processes: run one, connect two by a pipe, stop one half-way.

All output that is collected here is also checked: it must not hold the token that the process was given.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Protocol

from tests.support.environments import environment

Json = dict[str, Any]
_PIECE = 64 * 1024
_TAP = str(Path(sys.executable).parent / "tap-redivis")
_TIME_LIMIT = 300  # seconds; more than any of our runs takes on a slow machine


class Service(Protocol):
    """A Redivis to read from, such as a running emulator."""

    @property
    def endpoint(self) -> str:
        """What `REDIVIS_API_ENDPOINT` is set to."""

    @property
    def token(self) -> str | None:
        """What `REDIVIS_API_TOKEN` is set to; None: not set, public data only."""


NO_BYTECODE = {"PYTHONDONTWRITEBYTECODE": "1"}
"""For programs that may only write small files: Python does not notice that a module's bytecode was cut off."""


@dataclass(frozen=True)
class Program:
    """A program and how it is called.

    Attributes:
        argv: The program's path and its arguments.
        variables: Environment variables beside those of this process.
        secret: What must appear in no output, if there is such a thing.
    """

    argv: tuple[str, ...]
    variables: Mapping[str, str]
    secret: str | None = None

    @property
    def can_be_forked(self) -> bool:
        """Whether it is the tap of this environment, and depends on nothing that Python reads at its start."""
        return self.argv[0] == _TAP and not any(name.startswith("PYTHON") for name in self.variables)


@dataclass(frozen=True)
class Output:
    """What a process left when it had ended.

    Attributes:
        stdout: All of it as bytes; empty where another process read it.
        stderr: All of it as text.
        exit_code: 0 to 255, or the negative number of the signal that killed it.
        seconds: From its start to its end; from the signal on where it was sent one.
    """

    stdout: bytes
    stderr: str
    exit_code: int
    seconds: float

    @cached_property
    def messages(self) -> list[Json]:
        """The Singer messages on stdout; every line must be one, but for the cut one that SIGKILL may leave."""
        lines = self.stdout.splitlines(keepends=True)
        if self.exit_code == -signal.SIGKILL and lines and not lines[-1].endswith(b"\n"):
            lines.pop()
        return [json.loads(line) for line in lines]

    @property
    def state(self) -> Json:
        """The value of the last STATE message of a tap, or the last line of a target."""
        last = [message for message in self.messages if message.get("type", "STATE") == "STATE"][-1]
        state: Json = last.get("value", last)
        return state

    def records(self, stream: str) -> list[Json]:
        """Return the records of a stream in the order in which they were written."""
        return [each["record"] for each in self.messages if each["type"] == "RECORD" and each["stream"] == stream]


def activated_records(stream: str, *runs: Output) -> list[Json]:
    """Return the records of the one Singer version that a load activated, in however many runs they came."""
    messages = [each for done in runs for each in done.messages if each.get("stream") == stream]
    [version] = [each["version"] for each in messages if each["type"] == "ACTIVATE_VERSION"]
    return [each["record"] for each in messages if each["type"] == "RECORD" and each["version"] == version]


@dataclass(frozen=True)
class Piped:
    """What two connected processes left.

    Attributes:
        tap: Of the process that wrote; its stdout is here only if it was sent a signal, since then it came through us.
        target: Of the process that read.
    """

    tap: Output
    target: Output


@dataclass(frozen=True)
class Stop:
    """When to send which signal.

    Attributes:
        signal: The signal.
        after_lines: How many lines the process must have written.
    """

    signal: signal.Signals
    after_lines: int


@dataclass(frozen=True)
class Process:
    """A running program.

    Attributes:
        popen: The process.
        errors: The file that takes its stderr, so that no thread has to read it.
        secret: What its output must not hold.
        started_at: Seconds on the monotonic clock.
    """

    popen: subprocess.Popen[bytes]
    errors: IO[bytes]
    secret: str | None
    started_at: float

    @property
    def stdin(self) -> IO[bytes]:
        """The open end of a pipe to it."""
        assert self.popen.stdin is not None
        return self.popen.stdin

    @property
    def stdout(self) -> IO[bytes]:
        """The open end of a pipe from it."""
        assert self.popen.stdout is not None
        return self.popen.stdout

    def end(self, stdout: bytes, secret: str | None = None) -> Output:
        """Wait for the end and check that no secret, its own or a given one, is in what it wrote."""
        exit_code = self.popen.wait(_TIME_LIMIT)
        return output_of(stdout, self.errors, exit_code, self.started_at, self.secret, secret)


def output_of(stdout: bytes, errors: IO[bytes], exit_code: int, started_at: float, *secrets: str | None) -> Output:
    """Make the output of a process that has ended just now, and check that no secret is in it."""
    seconds = time.monotonic() - started_at
    errors.seek(0)
    stderr = errors.read()
    for each in filter(None, secrets):
        assert each.encode() not in stdout, "the token is on stdout"
        assert each.encode() not in stderr, "the token is on stderr"
    return Output(stdout, stderr.decode(), exit_code, seconds)


Watch = Callable[[Process, int], None]


def tap(
    service: Service,
    folder: Path,
    config: Json,
    *arguments: str,
    catalog: Json | None = None,
    state: Json | None = None,
) -> Program:
    """Describe a call of `tap-redivis` of this environment.

    Args:
        service: Where it reads; endpoint and token are handed over as environment variables.
        folder: Where `config.json`, `catalog.json` and `state.json` are written.
        config: The tap's settings.
        *arguments: More arguments, such as `--discover`.
        catalog: Given to the tap as `--catalog`.
        state: Given to the tap as `--state`.
    """
    files = {"config": config, "catalog": catalog, "state": state}
    options = [part for name, value in files.items() if value is not None for part in _as_option(folder, name, value)]
    variables = {"REDIVIS_API_ENDPOINT": service.endpoint, "REDIVIS_API_TOKEN": service.token or ""}
    return Program((_TAP, *options, *arguments), variables, service.token)


def target(distribution: str, folder: Path, config: Json) -> Program:
    """Describe a call of a target that lives in an environment of its own.

    Args:
        distribution: As `environment` takes it, such as `meltanolabs-target-postgres`.
        folder: Where `target.json` is written, with the target's settings.
        config: The target's settings.
    """
    executable = distribution[distribution.index("target-") :]
    (folder / "target.json").write_text(json.dumps(config))
    argv = (str(environment(distribution).executable(executable)), "--config", str(folder / "target.json"))
    return Program(argv, {})


def run(program: Program) -> Output:
    """Run a program to its end; the tap is forked, which spares a thousand starts."""
    if program.can_be_forked:
        from tests.support.running import forked  # noqa: PLC0415 - it imports this module

        with forked(program) as running, open(running.stdout, "rb", closefd=False) as stdout:
            return running.end(stdout.read())
    with started(program) as process:
        return process.end(process.stdout.read())


def run_stopped(program: Program, stop: Stop) -> Output:
    """Run a program, send it a signal, and read what it still writes."""
    with started(program) as process:
        written, stopper = bytearray(), _Stopper(stop)
        _pump(process, written.extend, stopper)
        return stopper.since(process.end(bytes(written)))


def run_unread(program: Program, after_lines: int) -> Output:
    """Run a program whose reader goes away after some lines; its stdout is not kept."""
    with started(program) as process:
        for _ in range(after_lines):
            process.stdout.readline()
        process.stdout.close()
        return process.end(b"")


def pipe(source: Program, sink: Program) -> Piped:
    """Run `source | sink`, connected by a pipe of the system that no third process holds open."""
    with started(source) as writer, started(sink, writer.stdout) as reader:
        writer.stdout.close()
        loaded = reader.end(reader.stdout.read(), source.secret)
        return Piped(writer.end(b""), loaded)


def pipe_watched(source: Program, sink: Program, watch: Watch) -> Piped:
    """Run `source | sink` so that all passes through this process, which looks on.

    Args:
        source: Writes.
        sink: Reads.
        watch: Called with the source and the number of its lines, whenever some of them were handed on.
    """
    with started(source) as writer, started(sink, subprocess.PIPE) as reader:
        written = bytearray()

        def forward(piece: bytes) -> None:
            written.extend(piece)
            reader.stdin.write(piece)

        _pump(writer, forward, watch)
        tapped = writer.end(bytes(written))
        reader.stdin.close()
        return Piped(tapped, reader.end(reader.stdout.read(), source.secret))


def pipe_stopped(source: Program, sink: Program, stop: Stop) -> Piped:
    """Run `source | sink` and send the source a signal; the sink gets all that the source wrote."""
    stopper = _Stopper(stop)
    piped = pipe_watched(source, sink, stopper)
    return replace(piped, tap=stopper.since(piped.tap))


@dataclass
class _Stopper:
    """Sends a signal once and remembers when."""

    stop: Stop
    sent_after: float | None = None

    def __call__(self, process: Process, lines: int) -> None:
        if self.sent_after is None and lines >= self.stop.after_lines:
            process.popen.send_signal(self.stop.signal)
            self.sent_after = time.monotonic() - process.started_at

    def since(self, output: Output) -> Output:
        """Let an output's seconds begin at the signal.

        Raises:
            AssertionError: No signal was sent, since the process had ended before it had written the lines.
        """
        assert self.sent_after is not None, f"ended before it could be stopped: {output.stderr}"
        return replace(output, seconds=output.seconds - self.sent_after)


@contextmanager
def started(program: Program, stdin: IO[bytes] | int = subprocess.DEVNULL) -> Iterator[Process]:
    """Start a program and see to it that it has ended when the block does."""
    with tempfile.TemporaryFile() as errors:
        started_at = time.monotonic()
        process = subprocess.Popen(
            program.argv, stdin=stdin, stdout=subprocess.PIPE, stderr=errors, env={**os.environ, **program.variables}
        )
        try:
            yield Process(process, errors, program.secret, started_at)
        finally:
            process.kill()
            process.wait()


def _pump(process: Process, take: Callable[[bytes], None], watch: Watch) -> None:
    """Hand on all that a process writes, piece by piece."""
    lines = 0
    while piece := os.read(process.stdout.fileno(), _PIECE):
        take(piece)
        lines += piece.count(b"\n")
        watch(process, lines)


def _as_option(folder: Path, name: str, value: Json) -> tuple[str, str]:
    path = folder / f"{name}.json"
    path.write_text(json.dumps(value))
    return f"--{name}", str(path)
