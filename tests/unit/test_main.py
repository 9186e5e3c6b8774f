"""The process: a mistake of ours is one line, too; and it imports what it needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from redivis_emulator import DEFAULT_TOKEN, Emulator

_MISTAKE = """
from tap_redivis import tap
from tap_redivis.runtime.logs import register_secret
from tap_redivis.__main__ import main

def mistaken(tap):
    register_secret("secret-token")
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


# --- quick starts ----------------------------------------------------------------------------------------------------

_DICTIONARY = {"tap_redivis.singer.dictionary.dictionary", "tap_redivis.singer.dictionary.stream"}
_SOMETIMES = {
    "pyarrow",
    "tap_redivis.batch.output",
    "tap_redivis.singer.dictionary.dictionary",
    "tap_redivis.singer.dictionary.stream",
    "tap_redivis.singer.plan_report",
    "tap_redivis.wire.arrow",
    "tap_redivis.wire.csv",
}
"""What only files, the dictionary, plans and other wire formats need."""


def _started(emulator: Emulator, folder: Path, *arguments: str, **settings: object) -> tuple[str, set[str]]:
    """Run the tap; give what it wrote to stdout, and the names of the modules that it asked for."""
    (folder / "config.json").write_text(json.dumps({"datasets": ["demo.visits"], **settings}))
    unmeasured = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "tap_redivis", *arguments],
        env={**unmeasured, "REDIVIS_API_ENDPOINT": emulator.endpoint, "REDIVIS_API_TOKEN": DEFAULT_TOKEN},
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return done.stdout, {line.rpartition("|")[2].strip() for line in lines}


def test_the_settings_are_told_without_what_reads_tables(emulator: Emulator, tmp_path: Path) -> None:
    said, imported = _started(emulator, tmp_path, "--about", "--format=json")

    assert json.loads(said)["name"] == "tap-redivis"
    assert not imported & _SOMETIMES


@pytest.mark.parametrize("arguments", [["--discover"], ["--test"], []])
def test_a_run_imports_what_it_needs(emulator: Emulator, tmp_path: Path, arguments: list[str]) -> None:
    """JSON Lines to RECORDs, and nothing breaks: the rest is for those who ask for it."""
    said, imported = _started(emulator, tmp_path, "--config=config.json", *arguments)

    assert ("letter" in said) == (arguments != ["--test"])
    assert not imported & _SOMETIMES


@pytest.mark.parametrize(
    ("settings", "arguments", "names"),
    [
        ({"wire_format": "arrow"}, [], {"pyarrow", "tap_redivis.wire.arrow"}),
        ({"wire_format": "csv"}, [], {"pyarrow", "tap_redivis.wire.csv"}),
        (
            {"batch_config": {"encoding": {"format": "arrow"}, "storage": {"root": "files"}}},
            [],
            {"pyarrow", "tap_redivis.batch.output"},
        ),
        (
            {"include_dictionary": True},
            [],
            {"tap_redivis.singer.dictionary.dictionary", "tap_redivis.singer.dictionary.stream"},
        ),
        (
            {},
            ["--plan=json"],
            {
                "tap_redivis.singer.plan_report",
                "tap_redivis.singer.dictionary.dictionary",
                "tap_redivis.singer.dictionary.stream",
            },
        ),
    ],
)
def test_what_is_asked_for_is_imported(
    emulator: Emulator, tmp_path: Path, settings: dict[str, object], arguments: list[str], names: set[str]
) -> None:
    """Else the names above would prove nothing."""
    _, imported = _started(emulator, tmp_path, "--config=config.json", *arguments, **settings)

    assert names <= _SOMETIMES & imported
