"""What people see: on a terminal a bar and a table, else lines; never anything on stdout but messages."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import threading
from dataclasses import dataclass

from tests.support.pipes import Program
from tests.support.served import Site

_ROWS = 300_000
_FLIGHTS = {"tables": ["demo.nycflights13.flights"], "max_rows": _ROWS}


@dataclass(frozen=True)
class _Seen:
    """What a run on a terminal left.

    Attributes:
        stdout: What was piped away.
        screen: What went to the terminal, without its control sequences.
        exit_code: Of the process.
    """

    stdout: bytes
    screen: str
    exit_code: int


def test_a_terminal_shows_a_bar_and_a_table(demo_site: Site) -> None:
    """While rows come: how many of how many, streams and resumes; at the end, a row for the table."""
    seen = _on_terminal(demo_site.tap(**_FLIGHTS))

    assert seen.exit_code == 0
    assert re.search(rf"nycflights13__flights .*[1-9]\d*/{_ROWS} .*MB/s .*4 streams, 0 resumes", seen.screen)
    assert re.search(r"nycflights13__flights\s*│ v1.1\s*│ full\s*│ 300,000 │.*│ loaded", seen.screen)
    assert {json.loads(line)["type"] for line in seen.stdout.splitlines()} == {
        "SCHEMA",
        "RECORD",
        "ACTIVATE_VERSION",
        "STATE",
    }


def test_a_terminal_is_left_alone_on_request(demo_site: Site) -> None:
    """`TAP_REDIVIS_LOG_LEVEL=warning`: neither bar nor table nor lines."""
    seen = _on_terminal(demo_site.tap(tables=["demo.nycflights13.airlines"]), TAP_REDIVIS_LOG_LEVEL="warning")

    assert (seen.exit_code, seen.screen) == (0, "")


def _on_terminal(program: Program, **variables: str) -> _Seen:
    """Run a program whose stderr is a terminal of 200 columns."""
    ours, theirs = pty.openpty()
    written = bytearray()

    def watch() -> None:
        try:
            while piece := os.read(ours, 4096):
                written.extend(piece)
        except OSError:  # the other end is closed
            pass

    environment = {**os.environ, **program.variables, "TERM": "xterm", "COLUMNS": "200", **variables}
    process = subprocess.Popen(program.argv, stdout=subprocess.PIPE, stderr=theirs, env=environment)
    os.close(theirs)
    watcher = threading.Thread(target=watch)
    watcher.start()
    stdout, _ = process.communicate(timeout=300)
    watcher.join()
    os.close(ours)
    screen = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written.decode())
    assert program.secret is None or program.secret not in screen
    return _Seen(stdout, screen, process.returncode)
