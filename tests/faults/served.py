"""The table that is read while things go wrong, and the emulator that serves it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pyarrow as pa

from redivis_emulator import Emulator, Fault, Settings
from redivis_emulator.log import Request
from tests.faults.menu import Item
from tests.support.pipes import Json
from tests.support.served import records_of, visits, write_note, write_table

VERSIONS = {"v1.0": 0, "v1.1": 100}
"""The first id of the table in each version of its dataset."""

SESSION_BYTES = 900_000_000
"""Size of tables for which the official client opens read sessions (redivis-api §10)."""


@contextmanager
def served(item: Item, streams: int, folder: Path, size: int | None = None) -> Iterator[Emulator]:
    """Serve `demo.visits.visits`, of which v1.0 is the current version, with an item's faults.

    Args:
        item: What goes wrong.
        streams: Read streams of a session.
        folder: Empty, or not there yet.
        size: Bytes that the table is said to have; None: the truth, which is so few that the tap reads it by threads.
    """
    for version in VERSIONS:
        write_table(folder, f"demo/visits/{version}/visits", _table(version, item.rows))
    note = {"num_rows": item.declared_rows or item.rows, **({"num_bytes": size} if size else {})}
    write_note(folder, "demo/visits/dataset.yml", {"tables": {"visits": note}})
    with Emulator(folder, settings=Settings(streams=streams), rate_limit=item.rate_limit) as emulator:
        emulator.release("demo.visits", "v1.0")
        emulator.faults.add(*item.faults)
        yield emulator


@cache
def rows_of(version: str, rows: int) -> Sequence[Json]:
    """Return the records of one version of the table, if it has so many rows."""
    return records_of(_table(version, rows))


@cache
def _table(version: str, rows: int) -> pa.Table:
    return visits(rows, first=VERSIONS[version])


def has_happened(fault: Fault, requests: Sequence[Request]) -> bool:
    """Return whether a fault hit one of the requests."""
    counts: Counter[str] = Counter()
    for request in requests:
        if fault.matches(request.method, request.path, request.query):
            key = request.path if fault.per_path else ""
            counts[key] += 1
            if fault.hits(counts[key]):
                return True
    return False
