"""What people see: on a terminal a bar and a table, else lines; a list of tables on request."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import threading
from dataclasses import dataclass

from redivis_emulator import Fault
from tests.support.pipes import Program, run
from tests.support.served import Site, visits, write_table

_TYPES = {b"SCHEMA", b"RECORD", b"ACTIVATE_VERSION", b"STATE"}


@dataclass(frozen=True)
class _Seen:
    """What a run on a terminal left.

    Attributes:
        stdout: What was piped away.
        lines: What went to the terminal, without its control sequences.
        exit_code: Of the process.
    """

    stdout: bytes
    lines: list[str]
    exit_code: int


def test_a_terminal_shows_a_bar_and_a_table(site: Site) -> None:
    """While rows come: how many of how many, streams and resumes; at the end, a row. Log lines stand above."""
    site.emulator.faults.add(Fault(kind="stall", path="/readStreams/*", at_row=300))

    seen = _on_terminal(site.tap(request_timeout_seconds=0.5))

    assert seen.exit_code == 0
    assert [line for line in seen.lines if re.search(r"visits [^/]*[1-9]\d*/2000 .*MB/s .*4 streams, 1 resumes", line)]
    assert [line for line in seen.lines if re.search(r"visits +│ v1.0 +│ full +│ 2,000 │.*│ 1 +│ loaded", line)]
    assert [line for line in seen.lines if "WARNING" in line]
    assert not [line for line in seen.lines if "WARNING" in line and "4 streams" in line]
    assert set(re.findall(rb'^{"type":"(\w+)"', seen.stdout, re.MULTILINE)) == _TYPES
    assert seen.stdout.count(b"\n") == seen.stdout.count(b'{"type":"')


def test_a_terminal_is_left_alone_on_request(site: Site) -> None:
    """`TAP_REDIVIS_LOG_LEVEL=warning`: neither bar nor table nor lines."""
    seen = _on_terminal(site.tap(), TAP_REDIVIS_LOG_LEVEL="warning")

    assert (seen.exit_code, seen.lines) == (0, [])


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
    return _Seen(stdout, list(filter(None, re.split("[\r\n]+", screen))), process.returncode)


def test_tables_are_listed_for_people(site: Site) -> None:
    """`--discover=table`: a row a table with what one wants to know before loading it."""
    write_table(site.folder, "demo/visits/v1.0/empty", visits(0).select(["id"]))
    site.emulator.reload()

    done = run(site.tap("--discover=table"))

    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in done.stdout.decode().splitlines()]
    listed = {row[0]: row for row in rows if row[0].startswith("visits__")}
    assert done.exit_code == 0
    assert listed["visits__visits"][2] == "2,000"
    assert [row[4:] for row in listed.values()] == [["1", "readable", "yes"], ["6", "readable", "yes"]]
