"""The official client while something goes wrong: run it, and say how it ended."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from importlib.metadata import distributions
from pathlib import Path

import pyarrow as pa

from tests.faults.menu import Item
from tests.faults.served import SESSION_BYTES, VERSIONS, served
from tests.faults.tap import check_rows
from tests.support.environments import environment
from tests.support.served import records_of

LIMIT_SECONDS = 300
"""The client waits 125 seconds for a silent server (redivis-api §1.5): long enough for that to happen twice."""

EXACT = "exact rows"

_DISTRIBUTION = "redivis"
_SCRIPT = Path(__file__).parent / "client_script.py"


def version() -> str:
    """Return the version that is installed."""
    folders = environment(_DISTRIBUTION).path.glob("lib/python*/site-packages")
    [found] = distributions(name=_DISTRIBUTION, path=[str(folder) for folder in folders])
    return found.version


def outcome(item: Item, streams: int, folder: Path) -> str:
    """Let the client read the table while something goes wrong; return in a few words what came of it."""
    table = folder / "table.arrow"
    command = [environment(_DISTRIBUTION).python, _SCRIPT, table]
    limit = [] if item.max_rows is None else [str(item.max_rows)]
    with served(item, streams, folder / "served", SESSION_BYTES) as emulator:
        variables = {"REDIVIS_API_ENDPOINT": emulator.endpoint, "REDIVIS_API_TOKEN": emulator.token or ""}
        environ = {**os.environ, **variables, "REDIVIS_TMPDIR": str(folder)}
        try:
            done = subprocess.run(
                [*command, *limit], env=environ, capture_output=True, text=True, check=False, timeout=LIMIT_SECONDS
            )
        except subprocess.TimeoutExpired:
            return f"no end within {LIMIT_SECONDS} s"
    if done.returncode:
        return f"error ({_kind_of_error(done.stderr)})"
    return _judged(item, table)


def _kind_of_error(stderr: str) -> str:
    """Return the name of the exception that ended the process: `NetworkError` of `redivis.….NetworkError: words`."""
    last = next(line for line in reversed(stderr.splitlines()) if line and not line.startswith(" "))
    return last.partition(":")[0].rpartition(".")[2]


def _judged(item: Item, path: Path) -> str:
    with pa.OSFile(str(path)) as file:
        rows = records_of(pa.ipc.open_file(file).read_all())
    wanted = item.max_rows or item.declared_rows or item.rows
    if len(rows) != wanted:
        return f"{len(rows):,} rows instead of {wanted:,}, no error"
    for tag in VERSIONS:
        with suppress(AssertionError):
            check_rows(item, rows, tag)
            return EXACT
    return "wrong values, no error"
