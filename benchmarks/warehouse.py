"""How fast a table gets into a database: by each way that people have, side by side, and as the work grows.

Run ``python -m benchmarks.warehouse``; it takes six minutes on a quiet machine with two cores, two of them for
target-postgres as it comes. With ``--write`` the tables go into `docs/tuning.md`, and a picture
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.picture import ways_picture
from benchmarks.report import table
from benchmarks.shapes import write_growth
from benchmarks.ways import (
    ALONE,
    DEFAULT,
    DUCKDB,
    FLIGHTS,
    FROM_FILE,
    OURS,
    POSTGRESQL,
    RECORDS,
    WAYS,
    Place,
    by_target_adbc,
    peak,
)
from docs.generate import ROOT, filled
from redivis_emulator import DEFAULT_TOKEN, Emulator, demo
from tests.support.postgres import Postgres
from tests.support.served import Site

_PAGE, _PICTURE = ROOT / "docs/tuning.md", ROOT / "docs/warehouse.svg"
_ROWS, _REPEATS = 300_000, 3
_GROWTH_ROWS = 100_000
_MOST_MIB = 250
_PROMISES = (
    ("Arrow files into PostgreSQL, against target-postgres as it comes", POSTGRESQL, DEFAULT, OURS, 80.0),
    ("the same from the first file on, against ADBC alone", POSTGRESQL, ALONE, FROM_FILE, 0.7),
    ("into DuckDB from the first file on, against DuckDB alone", DUCKDB, ALONE, FROM_FILE, 0.5),
    ("records into PostgreSQL, against target-postgres as it comes", POSTGRESQL, DEFAULT, RECORDS, 10.0),
)


def measure_ways(place: Place, repeats: int) -> dict[tuple[str, str], float]:
    """Go all ways in turn; returns the median seconds of each, by kind of database and name."""
    found: dict[tuple[str, str], list[float]] = {}
    by_target_adbc("arrow")(replace(place, rows=1000), POSTGRESQL)  # so that all modules are compiled
    for number in range(repeats):
        for way in WAYS:
            if number == 0 or not way.is_slow:
                seconds = way.seconds(place, way.kind)
                found.setdefault((way.kind, way.name), []).append(seconds)
                _say(f"{way.name}, {way.kind}: {seconds:.2f} s")
    return {way: statistics.median(each) for way, each in found.items()}


def measure_growth(place: Place, rows: int) -> Iterator[tuple[str, float, float]]:
    """Let the work become ten times as much in each way, and read by more streams; gives seconds before and after."""
    few = replace(place, rows=rows, table="bench.growth.typical")
    for words, base, more in (
        (f"rows: {rows:,}, ten times as many", few, replace(few, rows=10 * rows)),
        ("columns: 10, ten times as many", few, replace(few, table="bench.growth.wide")),
    ):
        yield words, _ours(base), _ours(more)
    small = replace(place, rows=100)
    yield "tables of 100 rows: 10, ten times as many", *(_many(small, count) for count in (10, 100))
    for streams in (2, 4, 8):
        yield f"read streams: 1, then {streams}", *(_ours(few, max_streams=count) for count in (1, streams))


def _ours(place: Place, **settings: int) -> float:
    return by_target_adbc("arrow", **settings)(place, POSTGRESQL)


def _many(place: Place, tables: int) -> float:
    """Load some small tables of a dataset, the first of which is counted."""
    names = [f"bench.many.table_{number:04}" for number in range(tables)]
    return by_target_adbc("arrow", tables=names)(replace(place, table=names[0]), POSTGRESQL)


def report(rows: int, repeats: int, seconds: Mapping[tuple[str, str], float], memory: Mapping[str, float]) -> str:
    """Write the ways as tables, one for each database, and what is promised."""
    parts = [f"{rows:,} flights, 19 columns and the row key; medians of {repeats} rounds, one of the slow ways."]
    slowest = seconds[POSTGRESQL, DEFAULT]
    for kind in (POSTGRESQL, DUCKDB):
        ways = sorted((way for way in WAYS if way.kind == kind), key=lambda way: seconds[kind, way.name])
        lines = [
            [
                way.name + " (not a whole load)" * way.is_part,
                f"{each:.2f}",
                f"{rows / each:,.0f}",
                f"{slowest / each:.1f}",
            ]
            for way in ways
            for each in [seconds[kind, way.name]]
        ]
        parts.append(table([f"into {kind}", "seconds", "rows/s", "times target-postgres"], lines))
    lines = [
        [words, f"at least {least:g} times", f"{seconds[kind, slow] / seconds[kind, fast]:.2f} times"]
        for words, kind, slow, fast, least in _PROMISES
    ]
    lines += [[f"peak memory, {kind}", f"at most {_MOST_MIB} MiB", f"{mib:.0f} MiB"] for kind, mib in memory.items()]
    parts.append(table(["Promise", "", "measured"], lines))
    return "\n\n".join(parts)


def report_growth(found: Sequence[tuple[str, float, float]]) -> str:
    """Write what more work costs."""
    lines = [[words, f"{before:.2f}", f"{after:.2f}", f"{after / before:.2f}"] for words, before, after in found]
    heads = ["tap, Arrow files → target-adbc, postgresql, whole processes", "seconds", "then", "times"]
    return table(heads, lines)


def main() -> None:
    """Measure everything; ways take turns."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.warehouse", description=__doc__)
    parser.add_argument("--rows", type=int, default=_ROWS, help="at most those of the flights: 336,776")
    parser.add_argument("--repeats", type=int, default=_REPEATS)
    parser.add_argument("--write", action="store_true", help="write the results into docs/ too")
    options = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # as where the programs are installed
    with tempfile.TemporaryDirectory() as name, Postgres.start() as server:
        folder = Path(name)
        (folder / "served").mkdir()
        demo.build(folder / "served")
        rows = min(options.rows, pq.read_metadata(next(folder.rglob("flights.parquet"))).num_rows)
        growth_rows = min(_GROWTH_ROWS, rows)
        write_growth(folder / "served", growth_rows)
        with Emulator(folder / "served") as emulator:
            place = Place(Site(emulator, folder / "served", folder, DEFAULT_TOKEN), folder, server, rows, FLIGHTS)
            seconds = measure_ways(place, options.repeats)
            memory = {kind: peak(place, kind) for kind in (POSTGRESQL, DUCKDB)}
            growth = list(measure_growth(place, growth_rows))
    text = "\n\n".join([report(rows, options.repeats, seconds, memory), report_growth(growth)])
    if options.write:
        _PAGE.write_text(filled(_PAGE.read_text(), text, "benchmarks.warehouse"))
        whole = {
            (way.kind, way.name): (rows / seconds[way.kind, way.name], way.is_ours) for way in WAYS if not way.is_part
        }
        _PICTURE.write_text(ways_picture(whole))
    print(text)  # noqa: T201 - this is what one runs it for


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - how far it is


if __name__ == "__main__":
    main()
