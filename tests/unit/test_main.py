"""The last resort: a mistake of ours is one line, too."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

_MISTAKE = """
from tap_redivis import tap
from tap_redivis.logs import hide
from tap_redivis.__main__ import main

def mistaken(tap):
    hide("secret-token")
    raise ZeroDivisionError("something\\nwith secret-token")

tap.TapRedivis.discover_streams = mistaken
main()
"""


@pytest.mark.parametrize("level", ["info", "debug"])
def test_a_mistake_of_ours_is_one_line(level: str) -> None:
    """It says what to do, and no secret; the traceback is for those who ask for it."""
    done = subprocess.run(
        [sys.executable, "-c", _MISTAKE, "--config=ENV", "--discover"],
        env={**os.environ, "TAP_REDIVIS_LOG_LEVEL": level},
        capture_output=True,
        text=True,
        check=False,
    )
    [line] = [line for line in done.stderr.splitlines() if "unexpected" in line]

    assert done.returncode == 1
    assert "ZeroDivisionError: something with ***. Set TAP_REDIVIS_LOG_LEVEL=debug" in line
    assert "secret-token" not in done.stdout + done.stderr
    assert ("Traceback" in done.stderr) == (level == "debug")


@pytest.mark.parametrize(
    ("ends", "code", "said"), [("sys.exit('in words')", 1, "in words\n"), ("sys.exit()", 0, ""), ("sys.exit(3)", 3, "")]
)
def test_an_end_of_pythons_own_is_shown(ends: str, code: int, said: str) -> None:
    """Its words too, since the process ends without Python's own way of ending."""
    script = f"""
import sys
from tap_redivis import tap
from tap_redivis.__main__ import main

def end(tap):
    {ends}

tap.TapRedivis.discover_streams = end
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", script, "--config=ENV", "--discover"],
        env={**os.environ, "TAP_REDIVIS_LOG_LEVEL": "error"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr) == (code, "", said)


def test_it_is_a_module_to_be_run() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tap_redivis", "--version"], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("tap-redivis v")
