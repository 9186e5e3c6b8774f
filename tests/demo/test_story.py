"""`make demo`, with fewer flights: what it shows, and that its exit code is 0 only if the figures agree."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from demo import story
from demo.figures import Figures
from redivis_emulator import demo

pytestmark = pytest.mark.xdist_group("demo")  # the story is told once

_FLIGHTS = 20_000
_FIGURES = Figures("flights", "target-jsonl", at_source=2, loaded=2, missing=0, twice=0)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """The story, told beside an emulator."""
    folder = tmp_path_factory.mktemp("demo")
    served, loaded = folder / "served", folder / "loaded"
    loaded.mkdir()
    demo.build(served)
    flights = served / "demo/nycflights13/v1.1/flights.parquet"
    pq.write_table(pq.read_table(flights).slice(0, _FLIGHTS), flights)
    emulator = str(Path(sys.executable).parent / "redivis-emulator")
    tell = [sys.executable, "-m", "demo.story", str(served), str(loaded)]
    return subprocess.run([emulator, "run", served, "--", *tell], capture_output=True, text=True, check=False)


def test_it_ends_well(told: subprocess.CompletedProcess[str]) -> None:
    assert told.returncode == 0, told.stdout + told.stderr
    assert re.search(r"^Every row arrived once; \d+ s$", told.stdout, re.MULTILINE)
    assert "emulator-token" not in told.stdout + told.stderr


def test_a_load_is_stopped_half_way_and_shows_its_state(told: subprocess.CompletedProcess[str]) -> None:
    """By SIGTERM, and with offsets that add up to the rows that the target has."""
    first, _, _ = told.stdout.partition("\n2. ")

    assert "the tap ended with exit code 143" in first
    [rows] = re.findall(r"\] ([\d,]+) of 20,000 rows", first)
    offsets = map(int, re.findall(r'"offset": (\d+)', first))
    assert _FLIGHTS // 2 < sum(offsets) == int(rows.replace(",", "")) < _FLIGHTS


def test_the_next_run_goes_on_and_the_one_after_it_reads_nothing(told: subprocess.CompletedProcess[str]) -> None:
    _, _, rest = told.stdout.partition("\n2. ")

    assert "] 20,000 of 20,000 rows" in rest
    assert "0 rows; the tap wrote STATE, SCHEMA, STATE and ended" in rest


def test_the_figures_of_each_table_are_shown(told: subprocess.CompletedProcess[str]) -> None:
    """Rows at the source, rows loaded, rows read twice."""
    figures = {name: line for line in told.stdout.splitlines() if (name := line.split()[0] if line.split() else "")}

    assert figures["flights"].split() == ["flights", "target-jsonl", "20,000", "20,000", "0"]
    assert figures["airlines"].split() == ["airlines", "target-postgres", "16", "16", "0"]
    assert figures["airports"].split() == ["airports", "target-postgres", "1,458", "1,458", "0"]
    assert figures["planes"].split() == ["planes", "target-postgres", "3,325", "3,325", "0"]


def test_files_lie_beside_their_rows(told: subprocess.CompletedProcess[str]) -> None:
    """As large as they are, in a folder with their id."""
    assert re.search(r"^ +airlines\.csv +386 bytes +originals/files/[\w.-]+/airlines\.csv$", told.stdout, re.MULTILINE)


@pytest.mark.parametrize(
    ("change", "are_same", "code"),
    [
        pytest.param({}, True, 0, id="they agree"),
        pytest.param({"loaded": 1, "missing": 1}, True, 1, id="a row short"),
        pytest.param({"loaded": 3, "twice": 1}, True, 1, id="a row too many"),
        pytest.param({"missing": 1, "twice": 1}, True, 1, id="another value"),
        pytest.param({}, False, 1, id="another file"),
    ],
)
def test_the_exit_code_is_0_only_if_the_figures_agree(
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, int],
    are_same: bool,  # noqa: FBT001 - a case
    code: int,
) -> None:
    """Of every table: here the last one of several differs."""
    variables = {"REDIVIS_API_ENDPOINT": "http://127.0.0.1:9/api/v1", "REDIVIS_API_TOKEN": "none"}
    monkeypatch.setattr(os, "environ", {**os.environ, **variables})
    monkeypatch.setattr(sys, "argv", ["story", "served", "loaded"])
    monkeypatch.setattr(story, "environment", lambda _: None)
    monkeypatch.setattr(story, "_load_flights", lambda _: _FIGURES)
    monkeypatch.setattr(story, "_copy_files", lambda _: are_same)
    monkeypatch.setattr(story, "_load_small_tables", lambda _: [_FIGURES, replace(_FIGURES, **change)])

    assert story.main() == code
