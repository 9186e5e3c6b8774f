"""What the command `redivis-emulator` does: serve a folder, or run another command while a folder is served."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from redivis_emulator import demo
from redivis_emulator.emulator import Emulator
from redivis_emulator.errors import EmulatorError, FolderError
from redivis_emulator.faults import Fault
from redivis_emulator.notes import read_yaml

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

_CANNOT_RUN = 127
_SIGNALLED = 128
# Python runs signal handlers in the main thread, which wakes up by itself only if the signal was sent to that thread.
_POLL_SECONDS = 0.2


def execute(options: argparse.Namespace, command: list[str]) -> int:
    """Serve the folder of `options`, or run a command meanwhile; return the exit code."""
    try:
        with _folder(options.folder) as folder:
            faults = _faults(options.faults)
            emulator = Emulator(folder, port=options.port, token=options.token)
            emulator.read_as(*options.reading)
            emulator.faults.add(*faults)
            return _run(emulator, command) if options.runs else _serve(emulator, folder)
    except EmulatorError as error:
        _say(str(error))
        return 1
    except KeyboardInterrupt:
        return _SIGNALLED + signal.SIGINT


def _faults(path: Path | None) -> list[Fault]:
    if path is None:
        return []
    if not path.exists():
        raise FolderError(path, "no such file")
    return read_yaml(path, list[Fault])


@contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    """Yield the folder to serve: the given one, or a temporary folder with the demo data."""
    if given is not None:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="redivis-demo-") as made:
        demo.build(Path(made))
        yield Path(made)


def _serve(emulator: Emulator, folder: Path) -> int:
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with emulator:
        _say(f"serving {folder} at {emulator.endpoint}")
        _say(f"export REDIVIS_API_ENDPOINT={emulator.endpoint} REDIVIS_API_TOKEN={emulator.token}")
        while not stop.wait(_POLL_SECONDS):
            pass
    return 0


def _run(emulator: Emulator, command: list[str]) -> int:
    """Run a command while the emulator serves; return its exit code, or 128 + the signal that ended it."""
    if not command:
        msg = "there is no command to run: redivis-emulator run [FOLDER] -- COMMAND ..."
        raise EmulatorError(msg)
    with emulator:
        variables = {"REDIVIS_API_ENDPOINT": emulator.endpoint, "REDIVIS_API_TOKEN": emulator.token or ""}
        try:
            child = subprocess.Popen(command, env=os.environ | variables)  # noqa: S603 - the user's own command
        except OSError as error:
            _say(f"cannot run {command[0]}: {error.strerror}")
            return _CANNOT_RUN
        _pass_on_signals(child)
        while child.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                child.wait(_POLL_SECONDS)
        code = child.returncode
    return code if code >= 0 else _SIGNALLED - code


def _pass_on_signals(child: subprocess.Popen[bytes]) -> None:
    signal.signal(signal.SIGTERM, lambda number, _: child.send_signal(number))
    if sys.stdin is not None and sys.stdin.isatty():
        # The terminal sends an interrupt to the command too: passing it on would send it twice.
        signal.signal(signal.SIGINT, lambda *_: None)
    else:
        signal.signal(signal.SIGINT, lambda number, _: child.send_signal(number))


def _say(text: str) -> None:
    print(f"redivis-emulator: {text}", file=sys.stderr, flush=True)  # noqa: T201 - the command's output
