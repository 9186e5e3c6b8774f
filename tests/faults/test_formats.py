"""The wire format is nobody's business: the same rows make the same RECORD lines."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from redivis_emulator import Emulator, Fault, RateLimit, Readings, Settings, demo
from tests.faults import made
from tests.faults.tap import FORMATS
from tests.support.pipes import Output, run, tap

_OF_A_RUN = re.compile(rb'(,"version":\d+|,"time_extracted":"[^"]*"){1,2}}$')
_MOST_OF_A_RUN = 128  # bytes that it may take at a line's end: a search of the whole line takes seconds
_MADE = ["demo.made", "demo.drafts:next"]
_MAPS = {
    "*": {"__filter__": "True", "stars": "'*' * 2"},
    "made__names": {"__alias__": "renamed", "__else__": "__NULL__", "mixed": "record['Mixed']"},
    "made__many": {"twice": "cost and cost * 2", "clinic": "__NULL__"},
    "types__all_types": {"text": "string", "row": "row + 1"},
}
_CASES: dict[str, dict[str, Any]] = {
    "demo data": {"datasets": ["demo.nycflights13", "demo.types"]},
    "made data": {"datasets": _MADE, "on_invalid_value": "null"},
    "other rules": {
        "datasets": [*_MADE, "demo.types"],
        "on_invalid_value": "null",
        "replace_invalid_characters": False,
        "datetime_zone": "utc",
    },
    "stream maps": {
        "datasets": [*_MADE, "demo.types"],
        "tables": ["demo.nycflights13.airports", "demo.nycflights13.planes"],
        "on_invalid_value": "null",
        "stream_maps": _MAPS,
    },
    "flattening": {
        "datasets": _MADE,
        "on_invalid_value": "null",
        "flattening_enabled": True,
        "flattening_max_depth": 1,
    },
}


_SPELLINGS: dict[str, tuple[str, Readings]] = {
    "csv, the names in the first body of a stream only": ("csv", Readings(csv_header="first")),
    "csv without names": ("csv", Readings(csv_header="none")),
    "csv, quotes where they are needed": ("csv", Readings(csv_quotes="needed")),
    "csv, everything in quotes": ("csv", Readings(csv_quotes="all")),
    "csv, lines that end otherwise": ("csv", Readings(csv_quotes="needed", csv_line_ends="lf")),
    "json lines, integers in quotes": ("jsonl", Readings(jsonl_integers="string")),
    "json lines, NaN in quotes": ("jsonl", Readings(jsonl_non_finite="string")),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo data and the made tables."""
    folder = tmp_path_factory.mktemp("served")
    demo.build(folder)
    made.build(folder)
    return folder


@pytest.fixture(scope="module")
def emulator(folder: Path) -> Iterator[Emulator]:
    """Serves them as Redivis does, as far as that is known."""
    with Emulator(folder, settings=Settings(streams=4), rate_limit=RateLimit(requests=10**9)) as emulator:
        yield emulator


@pytest.fixture(scope="module")
def expected(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Counter[bytes]:
    """The RECORD lines of what is read in every spelling."""
    return _record_lines(run(tap(emulator, tmp_path_factory.mktemp("files"), _spelled("jsonl"))))


@pytest.mark.parametrize("config", _CASES.values(), ids=_CASES)
def test_all_formats_give_the_same_records(emulator: Emulator, config: dict[str, Any], tmp_path: Path) -> None:
    """Letter by letter, but for order, `time_extracted` and `version`."""
    done = {name: run(tap(emulator, tmp_path, {**config, "row_key": False, "wire_format": name})) for name in FORMATS}

    assert [each.exit_code for each in done.values()] == [0, 0, 0], [each.stderr for each in done.values()]
    first, *others = (_record_lines(each) for each in done.values())
    assert first
    for lines in others:
        assert (_some(first - lines), _some(lines - first)) == ([], [])


@pytest.mark.parametrize(("wire_format", "readings"), _SPELLINGS.values(), ids=_SPELLINGS)
def test_every_spelling_of_a_format_gives_the_same_records(
    folder: Path, expected: Counter[bytes], wire_format: str, readings: Readings, tmp_path: Path
) -> None:
    """Where it is open how Redivis writes (redivis-api §11), also when each read stream has broken and goes on."""
    with Emulator(folder, settings=Settings(streams=4), readings=readings) as emulator:
        emulator.faults.add(Fault(kind="close", path="/readStreams/*", per_path=True, at_row=2))
        done = run(tap(emulator, tmp_path, _spelled(wire_format)))

    assert done.exit_code == 0, done.stderr
    assert "goes on at row 2" in done.stderr
    lines = _record_lines(done)
    assert (_some(expected - lines), _some(lines - expected)) == ([], [])


def _spelled(wire_format: str) -> dict[str, Any]:
    """Give the settings for all released tables; without names, a column that an upload lacks would be any other."""
    datasets = ["demo.made", "demo.types"]
    return {"datasets": datasets, "on_invalid_value": "null", "row_key": False, "wire_format": wire_format}


def _record_lines(done: Output) -> Counter[bytes]:
    return Counter(map(_lasting, filter(_is_record, done.stdout.splitlines())))


def _is_record(line: bytes) -> bool:
    return line.startswith(b'{"type":"RECORD"')


def _lasting(line: bytes) -> bytes:
    """Leave out of a RECORD line what differs from run to run."""
    lasting, found = _OF_A_RUN.subn(b"}", line[-_MOST_OF_A_RUN:])
    assert found, line
    return line[:-_MOST_OF_A_RUN] + lasting


def _some(lines: Counter[bytes]) -> list[bytes]:
    return [line[:300] for line in sorted(lines)[:20]]
