"""Tables in which all facts can be seen."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pyarrow as pa
import pytest

from redivis_emulator import Emulator, RateLimit, Readings
from tests.support.served import write_note, write_table

ROWS = 2500
CELL = "Nobody may read this"


def _facts(rows: int = ROWS) -> pa.Table:
    ids = range(rows)
    return pa.table(
        {
            "id": pa.array(ids, pa.int64()),
            "text": pa.array([[CELL, "", None, "two words"][n % 4] for n in ids], pa.string()),
            "share": pa.array([math.nan if n % 50 == 0 else n / 7 for n in ids]),
            "flag": pa.array([n % 2 == 0 for n in ids]),
            "at": pa.array([1_000_001 * n for n in ids], pa.timestamp("us")),
            "place": pa.array([f"POINT({n} 1)" for n in ids]),
        }
    )


@pytest.fixture(scope="package")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """A dataset with two equal versions, a deleted one, a draft and samples; one that is large; one that is closed."""
    folder = tmp_path_factory.mktemp("facts")
    for version in ("v0.9", "v1.0", "v1.1"):
        write_table(folder, f"demo/facts/{version}/facts", _facts())
        write_table(folder, f"demo/facts/{version}/large", _facts(3))
    write_table(folder, "demo/facts/next/facts/part", _facts(40))
    tables = {"facts": {"variables": {"place": {"type": "geography"}}}, "large": {"num_bytes": 200_000_000}}
    note = {
        "public_access_level": "data",
        "sample_ratio": 0.1,
        "versions": {"v0.9": {"is_deleted": True}},
        "tables": tables,
    }
    write_note(folder, "demo/facts/dataset.yml", note)
    write_table(folder, "demo/closed/v1.0/closed", _facts(3))
    write_note(folder, "demo/closed/dataset.yml", {"access_level": "metadata"})
    with Emulator(folder, rate_limit=RateLimit(requests=10**6)) as served:
        yield served


@pytest.fixture
def facts(emulator: Emulator) -> Iterator[Emulator]:
    """The emulator with all questions read as likely until a test says otherwise."""
    emulator.readings = Readings()
    emulator.forget_requests()
    yield emulator
    emulator.faults.clear()
