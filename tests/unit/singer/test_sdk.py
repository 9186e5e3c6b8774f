"""The tap passes the tests that singer-sdk has for every tap.

They are not to be trusted alone: two of them, `primary_keys` and `valid_final_state`, cannot fail, and BATCH and
ACTIVATE_VERSION they do not see.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from redivis_emulator import DEFAULT_TOKEN, Emulator, demo
from tests.support.served import visits, write_note, write_table

_SUITE = Path(__file__).with_name("sdk_suite.py")


def test_the_suite_of_the_sdk_passes(tmp_path: Path) -> None:
    """For a table of all types at their extremes, and for one of 200 rows, of which it reads 150."""
    write_table(tmp_path, "demo/visits/v1.0/all_types", demo.all_types())
    write_table(tmp_path, "demo/visits/v1.0/visits", visits(200))
    geography = {"tables": {"all_types": {"variables": {"geography": {"type": "geography"}}}}}
    write_note(tmp_path, "demo/visits/dataset.yml", geography)
    with Emulator(tmp_path) as emulator:
        place = {"REDIVIS_API_ENDPOINT": emulator.endpoint, "REDIVIS_API_TOKEN": DEFAULT_TOKEN}
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(_SUITE)],
            env={**os.environ, **place},
            cwd=_SUITE.parents[3],
            capture_output=True,
            text=True,
            check=False,
        )

    assert done.returncode == 0, done.stdout
    passed = re.search(r"^(\d+) passed in ", done.stdout, re.MULTILINE)
    assert passed, done.stdout
    assert int(passed[1]) >= 20  # for each stream four, and for each column some
    assert DEFAULT_TOKEN not in done.stdout + done.stderr
