"""`make live`, tried with an emulator that holds surprises."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from redivis_emulator import DEFAULT_TOKEN, Emulator, readings
from tests.contract.conftest import CELL
from tests.contract.facts import FACTS
from tests.contract.tap import LIMITS

_ROOT = Path(__file__).parents[2]
_SURPRISES = {
    "text_formats": "refused",
    "session_rows": "high",
    "table_rows": "absent",
    "gone_status": "410",
    "errors": "nested",
    "sample": "dataset",
    "limit_headers": "delta",
    "name_lists": "commas",
}


def _live(**variables: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("REDIVIS_")}
    command = [sys.executable, "-m", "tests.contract"]
    return subprocess.run(command, cwd=_ROOT, env={**clean, **variables}, capture_output=True, text=True, check=False)


def test_the_report_names_each_surprise(facts: Emulator) -> None:
    """And only these; within two minutes and a hundred requests; with neither token nor data nor names of data."""
    facts.read_as(*(f"{name}={value}" for name, value in _SURPRISES.items()))
    done = _live(REDIVIS_API_TOKEN=DEFAULT_TOKEN, REDIVIS_API_ENDPOINT=facts.endpoint)

    assert done.returncode == 0, done.stderr
    assert _pairs(done.stdout) == _SURPRISES
    requests, seconds = map(int, re.findall(r"(\d+) requests, (\d+) s", done.stdout)[0])
    assert requests <= 100
    assert seconds < 120
    assert done.stderr == ""
    for secret in (DEFAULT_TOKEN, CELL, "two words", "demo.", "POINT", "127.0.0.1"):
        assert secret not in done.stdout


def _pairs(report: str) -> dict[str, str]:
    found = re.findall(r"^SURPRISE, question \d+: .* is '(\w+)'.*\(reading (\w+)\)$", report, re.MULTILINE)
    return {name: value for value, name in found}


def test_a_table_can_be_named(facts: Emulator) -> None:
    variables = {"REDIVIS_API_TOKEN": DEFAULT_TOKEN, "REDIVIS_API_ENDPOINT": facts.endpoint}
    done = _live(**variables, REDIVIS_LIVE_TABLE="demo.facts.facts")
    absent = _live(**variables, REDIVIS_LIVE_TABLE="demo.facts.nothing")

    assert done.returncode == 0
    assert " 0 surprises" in done.stdout
    assert (absent.returncode, absent.stdout) == (1, "")
    assert "REDIVIS_LIVE_TABLE: refused with 404" in absent.stderr


def test_without_a_token_nothing_is_asked(facts: Emulator) -> None:
    done = _live(REDIVIS_API_ENDPOINT=facts.endpoint)

    assert (done.returncode, done.stdout) == (1, "")
    assert "REDIVIS_API_TOKEN" in done.stderr
    assert not facts.requests


def test_the_page_has_each_question() -> None:
    """docs/api.md has the number, the words of the switch, and no switch that is not there."""
    page = (_ROOT / "docs" / "api.md").read_text()
    rows = dict(re.findall(r"^\| (\d+) \| .* \|([^|]*)\|$", page, re.MULTILINE))
    assert list(map(int, rows)) == list(range(1, 45))
    named = {name for cell in rows.values() for name in re.findall(r"`(\w+)`", cell)}
    assert named == set(readings.values())
    assert all(f"`{fact.name}`" in rows[str(fact.question)] for fact in FACTS)


def test_limits_are_of_readings() -> None:
    known = {f"{name}={value}" for name, values in readings.values().items() for value in values}
    assert set(LIMITS) <= known
