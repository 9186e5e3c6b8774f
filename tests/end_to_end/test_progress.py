"""What people see: on a terminal a bar and a table, else lines; a list of tables on request."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import threading
from dataclasses import dataclass, replace

import pytest

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
    """While rows come: how many of how many, streams and resumes; at the end, a row. Warnings stand above."""
    site.emulator.faults.add(Fault(kind="stall", path="/readStreams/*", at_row=300))

    seen = _on_terminal(site.tap(request_timeout_seconds=0.5))

    assert seen.exit_code == 0
    assert [
        line for line in seen.lines if re.search(r"visits .*% .*[1-9]\d* of 2,000 rows .*MB/s .*4 .*, 1 resume", line)
    ]
    assert [
        line for line in seen.lines if re.search(r"visits +│ v1.0 +│ full +│ 2,000 │.*│ +1 │ loaded │ proved", line)
    ]
    assert [line for line in seen.lines if "WARNING" in line]
    assert not [line for line in seen.lines if "WARNING" in line and "4 read streams" in line]
    assert set(re.findall(rb'^{"type":"(\w+)"', seen.stdout, re.MULTILINE)) == _TYPES
    assert seen.stdout.count(b"\n") == seen.stdout.count(b'{"type":"')


def test_a_terminal_shows_nothing_but_bars_and_the_table(site: Site) -> None:
    """No line of the log, ours or the SDK's; with the level debug they are there."""
    seen = _on_terminal(site.tap())
    more = _on_terminal(site.tap(), TAP_REDIVIS_LOG_LEVEL="debug")

    drawn = [line for line in seen.lines if re.match(r"visits__visits +\d+% |[┏┃┡│└]", line)]
    assert seen.lines == drawn
    assert [line for line in more.lines if "METRIC" in line]
    assert [line for line in more.lines if "first load" in line]


@pytest.mark.parametrize("columns", [80, 40])
def test_a_narrow_terminal_keeps_name_and_percentage(site: Site, columns: int) -> None:
    """And the result, in the table: nothing is cut, nothing is wider than the terminal, and less telling columns go."""
    seen = _on_terminal(site.tap(), columns)

    bars = [line.rstrip() for line in seen.lines if "%" in line]
    rows = [line for line in seen.lines if line.startswith("│")]
    assert max(map(len, map(str.rstrip, seen.lines))) <= columns
    assert bars
    assert all(re.match(r"visits__visits +\d+% ━|visits__visits +\d+% ╸", bar) for bar in bars)
    assert [re.sub(" +", " ", row) for row in rows if "visits__visits" in row and row.endswith("│ loaded │")] != []
    assert "…" not in "".join(seen.lines)
    assert ("2,000 rows" in bars[0]) == (columns == 80)


def test_a_name_longer_than_the_terminal_is_folded(site: Site) -> None:
    """63 characters on 40 columns: all of it, and the percentage."""
    name = "v" * 55
    write_table(site.folder, f"demo/visits/v1.0/{name}", visits(2000))
    site.emulator.reload()

    seen = _on_terminal(site.tap(datasets=[], tables=[f"demo.visits.{name}"]), 40)

    bar = next(number for number, line in enumerate(seen.lines) if "%" in line)
    assert "".join(line.split()[0] for line in seen.lines[bar : bar + 2]) == f"visits__{name}"
    table = "".join(line.split("│")[1].strip() for line in seen.lines if line.startswith("│"))
    assert table == f"visits__{name}"


def test_messages_and_bars_do_not_share_a_screen(site: Site) -> None:
    """Where the messages go to the terminal too: they, and the table at the end."""
    seen = _on_terminal(site.tap(max_rows=3), both=True)

    assert not [line for line in seen.lines if "%" in line]
    assert [line for line in seen.lines if line.startswith('{"type":"RECORD"')]
    assert [line for line in seen.lines if line.startswith("│ visits__visits")]


def test_a_log_has_a_line_a_table_and_one_at_the_end(site: Site) -> None:
    """Where there is no terminal; the SDK's lines are there with the level debug."""
    write_table(site.folder, "demo/visits/v1.0/doctors", visits(5))
    site.emulator.reload()

    done = run(site.tap())
    program = site.tap()
    more = run(replace(program, variables={**program.variables, "TAP_REDIVIS_LOG_LEVEL": "debug"}))

    lines = [line.split("|", 3)[-1].strip() for line in done.stderr.splitlines()]
    assert [line.split(" rows")[0] for line in lines] == [
        "visits__doctors: loaded 5",
        "visits__visits: loaded 2,000",
        "2 tables: 2 loaded; 2,005",
    ]
    assert "METRIC" in more.stderr


def test_a_terminal_is_left_alone_on_request(site: Site) -> None:
    """`TAP_REDIVIS_LOG_LEVEL=warning`: neither bar nor table nor lines."""
    seen = _on_terminal(site.tap(), TAP_REDIVIS_LOG_LEVEL="warning")

    assert (seen.exit_code, seen.lines) == (0, [])


def _on_terminal(program: Program, columns: int = 200, *, both: bool = False, **variables: str) -> _Seen:
    """Run a program whose stderr is a terminal; with ``both`` its stdout is the same one."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    written = bytearray()

    def watch() -> None:
        try:
            while piece := os.read(ours, 4096):
                written.extend(piece)
        except OSError:  # the other end is closed
            pass

    shown = {"TERM": "xterm", "COLUMNS": str(columns)}
    environment = {**os.environ, **program.variables, **shown, **variables}
    stdout = theirs if both else subprocess.PIPE
    process = subprocess.Popen(program.argv, stdout=stdout, stderr=theirs, env=environment)
    os.close(theirs)
    watcher = threading.Thread(target=watch)
    watcher.start()
    messages, _ = process.communicate(timeout=300)
    watcher.join()
    os.close(ours)
    screen = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written.decode())
    assert program.secret is None or program.secret not in screen
    return _Seen(messages or b"", list(filter(None, re.split("[\r\n]+", screen))), process.returncode)


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
