"""The profile: processor time goes to the thread, process and line that used it."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import msgspec
import pytest

from benchmarks.profile import MAIN, SERVER, SINK, THREADS, Spent, as_markdown, main
from benchmarks.sampler import Sample

_BURN = """
import os, sys, threading, time
from pathlib import Path
from benchmarks.sampler import Sampler

def burn(seconds):
    while time.thread_time() < seconds:
        pass

Sampler(Path(sys.argv[1])).start()
burn(0.4)
for seconds in [0.1] + [0.002] * 50:
    thread = threading.Thread(target=burn, args=[seconds])
    thread.start()
    thread.join()
"""


def test_processor_time_goes_to_the_thread_that_used_it(tmp_path: Path) -> None:
    """What is waited for, here threads, does not count; short threads, which hardly anybody sees, do."""
    subprocess.run([sys.executable, "-c", _BURN, tmp_path / "samples"], check=True, cwd=Path(__file__).parents[2])

    used: dict[bool, float] = defaultdict(float)
    for line in (tmp_path / "samples").read_bytes().splitlines():
        sample = msgspec.json.decode(line, type=Sample)
        used[sample.is_main] += sample.seconds

    assert used == {
        True: pytest.approx(0.4, rel=0.3),
        False: pytest.approx(0.2, rel=0.3),
    }


def test_the_tables_say_who_computes_and_what() -> None:
    """The largest share first, a line of code as it stands there; what is hardly there as one."""
    line = next(
        number
        for number, text in enumerate(Path("tap_redivis/errors.py").read_text().splitlines(), 1)
        if text.startswith("class RedivisError")
    )
    samples = [
        Sample(is_main=False, seconds=6.0, file="errors.py", function="f", line=line),
        Sample(is_main=True, seconds=0.96, file="", function="import", line=0),
        Sample(is_main=False, seconds=0.03, file="", function="", line=0),
        Sample(is_main=False, seconds=0.01, file="retry.py", function="g", line=1),
    ]

    rows = as_markdown(Spent(seconds=5.0, samples=samples, server=2.0, sink=1.0)).splitlines()

    assert [row for row in rows if row.startswith("| ")] == [
        "| Who | Share |",
        "| --- | --- |",
        f"| {THREADS} | 60% |",
        f"| {SERVER} | 20% |",
        f"| {SINK} | 10% |",
        f"| {MAIN} | 10% |",
        "| Thread | What it does | Share |",
        "| --- | --- | --- |",
        f"| {THREADS} | `errors.py`, `f`: `class RedivisError(Exception):` | 86% |",
        f"| {MAIN} | imports, at the start | 14% |",
        "| all | lines with less than 1% each | 1% |",
    ]


def test_a_run_of_the_tap_is_profiled(capsys: pytest.CaptureFixture[str]) -> None:
    """Of few rows, the imports take most."""
    assert main(["--rows", "200", "--runs", "1"]) == 0

    shown = [line for line in capsys.readouterr().out.splitlines() if line.startswith(f"| {MAIN} | ")]
    assert shown[1].startswith(f"| {MAIN} | imports, at the start | ")
