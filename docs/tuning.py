"""Measure what settings of target-postgres are worth; write the figures into `docs/tuning.md`.

Run ``python -m docs.tuning`` on a machine that does nothing else; it takes four minutes.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from docs.generate import ROOT, filled
from docs.targets import TARGETS, Place, Target
from redivis_emulator import Emulator
from tests.support.pipes import Json, pipe, tap, target
from tests.support.postgres import Postgres
from tests.support.served import visits, write_table

PAGE = ROOT / "docs/tuning.md"
_ROWS, _ROUNDS = 20_000, 3
_SDK, _PIPELINEWISE = TARGETS[:2]
_KEYS: Json = {"table_options": {"visits": {"key_properties": ["id"]}}}
_FILES: Json = {"batch_config": {"encoding": {"format": "jsonl"}}}
_BARE: Json = {"add_record_metadata": False, "activate_version": False}

CASES: Mapping[str, tuple[Target, Json, Json]] = {
    "as it comes": (_SDK, _KEYS, {}),
    "`batch_size_rows: 100000`": (_SDK, _KEYS, {"batch_size_rows": 100_000}),
    "`use_copy`": (_SDK, _KEYS, {"use_copy": True}),
    "`validate_records: false`": (_SDK, _KEYS, {"validate_records": False}),
    "`use_copy`, `validate_records: false`": (_SDK, _KEYS, {"use_copy": True, "validate_records": False}),
    "the same, without keys": (_SDK, {"row_key": False}, {"use_copy": True, "validate_records": False}),
    "the same, with keys, and without `add_record_metadata` and `activate_version`": (
        _SDK,
        _KEYS,
        {"use_copy": True, "validate_records": False, **_BARE},
    ),
    "files (`batch_config`, `jsonl`)": (_SDK, {**_KEYS, **_FILES}, {}),
    "files, `use_copy`": (_SDK, {**_KEYS, **_FILES}, {"use_copy": True}),
    "`pipelinewise-target-postgres` as it comes": (_PIPELINEWISE, _KEYS, {}),
}
"""By name: the target, settings of the tap, and settings of the target beside its place."""


def seconds(emulator: Emulator, database: Postgres, case: tuple[Target, Json, Json]) -> float:
    """Load the table once; return the wall time of the pipe, from start to end."""
    into, tap_settings, target_settings = case
    with tempfile.TemporaryDirectory() as name:
        place = Place(Path(name), database.new_database())
        settings = {"datasets": ["demo.visits"], **deepcopy(tap_settings)}
        if "batch_config" in settings:
            settings["batch_config"]["storage"] = {"root": str(place.folder / "files")}
        source = tap(emulator, place.folder, settings)
        sink = target(into.distribution, place.folder, {**into.config(place), **target_settings})
        began = time.monotonic()
        done = pipe(source, sink)
        took = time.monotonic() - began
        [(rows,)] = place.database.query("SELECT count(*) FROM visits__visits")
    if (done.tap.exit_code, done.target.exit_code, rows) != (0, 0, _ROWS):
        raise RuntimeError(done.target.stderr)
    return took


def rows(found: Mapping[str, Sequence[float]]) -> Iterator[str]:
    """Write the medians as Markdown."""
    yield "| target-postgres | seconds | rows/s | times as fast |"
    yield "|---|---|---|---|"
    medians = {name: statistics.median(times) for name, times in found.items()}
    first = next(iter(medians.values()))
    for name, median in medians.items():
        yield f"| {name} | {median:.1f} | {_ROWS / median:,.0f} | {first / median:.1f} |"


def main() -> None:
    """Measure all, one after the other in each round, and write the page."""
    found: dict[str, list[Any]] = {name: [] for name in CASES}
    with tempfile.TemporaryDirectory() as name, Postgres.start() as server:
        write_table(Path(name), "demo/visits/v1.0/visits", visits(_ROWS))
        with Emulator(Path(name)) as emulator:
            for _ in range(_ROUNDS):
                for case, parts in CASES.items():
                    found[case].append(seconds(emulator, server, parts))
    PAGE.write_text(filled(PAGE.read_text(), "\n".join(rows(found)), "docs.tuning"))


if __name__ == "__main__":
    main()
