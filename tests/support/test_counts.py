"""The last lines of `.ci/run`: what each part counted, and a total that a CI reader finds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_REPORT = """<?xml version="1.0" encoding="utf-8"?>
<testsuites><testsuite name="pytest" errors="1" failures="2" skipped="3" tests="10" time="1.5" /></testsuites>"""
_NONE = '<testsuites><testsuite name="pytest" errors="0" failures="0" skipped="0" tests="0" /></testsuites>'
_GOOD = '<testsuites><testsuite name="pytest" errors="0" failures="0" skipped="1" tests="5" /></testsuites>'


@pytest.mark.parametrize(
    ("reports", "ends", "exit_code", "lines"),
    [
        pytest.param(
            {"test": _GOOD},
            ["check=0", "test=0"],
            0,
            ["check: 1 passed, 0 failed, 0 skipped", "test: 4 passed, 0 failed, 1 skipped", "5 passed, 0 failed"],
            id="all is well",
        ),
        pytest.param(
            {"test": _REPORT},
            ["test=2"],
            1,
            ["test: 4 passed, 3 failed, 3 skipped", "4 passed, 3 failed"],
            id="tests fail",
        ),
        pytest.param(
            {"test": _NONE},
            ["test=5"],
            1,
            ["test: 0 passed, 1 failed, 0 skipped", "0 passed, 1 failed"],
            id="no test is found",
        ),
        pytest.param(
            {},
            ["check=2"],
            1,
            ["check: 0 passed, 1 failed, 0 skipped", "0 passed, 1 failed"],
            id="a linter fails",
        ),
    ],
)
def test_the_last_line_is_the_total(
    tmp_path: Path, reports: dict[str, str], ends: list[str], exit_code: int, lines: list[str]
) -> None:
    """And the exit code is 0 only if every part passed."""
    for part, text in reports.items():
        (tmp_path / f"{part}.xml").write_text(text)

    command = [sys.executable, "-m", "tests.support.counts", tmp_path, *ends]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout.splitlines()) == (exit_code, lines)
