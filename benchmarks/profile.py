"""Where the time goes: the tap at full speed, by thread and line of code.

Run ``python -m benchmarks.profile``; with ``--write`` it goes into ``docs/speed.md``.
"""

from __future__ import annotations

import argparse
import linecache
import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import msgspec

import tap_redivis
from benchmarks.cases import Case, Place, tap_case
from benchmarks.measuring import RunFailed, memory_folder
from benchmarks.report import table
from benchmarks.sampler import Sample
from benchmarks.served import Server, served
from benchmarks.shapes import SHAPES, write_shape
from docs.generate import ROOT, filled
from tests.support.pipes import started

_PAGE = ROOT / "docs" / "speed.md"
_PACKAGE = Path(tap_redivis.__file__).parent
_RUNS = 5
_LEAST_SHARE = 0.01
_TICKS = os.sysconf("SC_CLK_TCK")

_Key = TypeVar("_Key")

MAIN, THREADS = "the tap, main thread", "the tap, other threads"
SERVER, SINK = "the server", "the reader at the end of the pipe"


@dataclass(frozen=True)
class Spent:
    """Processor time of some runs.

    Attributes:
        seconds: From the start of the runs to their end, in all.
        samples: Of the tap.
        server: Seconds of processor time that the server used.
        sink: The same of what reads at the end of the pipe.
    """

    seconds: float
    samples: Sequence[Sample]
    server: float
    sink: float


def watch(case: Case, rows: int, runs: int, place: Place) -> Spent:
    """Run the tap under the sampler.

    Raises:
        RunFailed: It failed, or not all rows arrived.
    """
    file = place.folder / "samples.jsonl"
    before = (time.monotonic(), _used(place.server), time.process_time())
    for _ in range(runs):
        program = case.program(place)
        argv = (sys.executable, "-m", "benchmarks.sampler", str(file), *program.argv[1:])
        program = replace(program, argv=argv, variables={**program.variables, "PYTHONPATH": str(ROOT)})
        with started(program) as process:
            arrived = case.sink.drain(process)
            output = process.end(b"")
        if output.exit_code or arrived.rows != rows:
            msg = f"{arrived.rows} rows of {rows}: {output.stderr}"
            raise RunFailed(msg)
    after = (time.monotonic(), _used(place.server), time.process_time())
    seconds, server, sink = (end - begin for begin, end in zip(before, after, strict=True))
    return Spent(seconds, [msgspec.json.decode(line, type=Sample) for line in file.open("rb")], server, sink)


def _used(server: Server) -> float:
    """Return how many seconds of processor time a server has used, its own and the system's for it."""
    fields = Path(f"/proc/{server.process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def as_markdown(spent: Spent) -> str:
    """Write two tables: who computes, and what it is that the tap computes."""
    totals: dict[str, float] = defaultdict(float, {SERVER: spent.server, SINK: spent.sink})
    places: dict[tuple[str, str], float] = defaultdict(float)
    for sample in spent.samples:
        totals[_role(sample)] += sample.seconds
        places[_role(sample), words_of(sample)] += sample.seconds
    processors = len(os.sched_getaffinity(0))
    share = sum(totals.values()) / (spent.seconds * processors)
    return "\n\n".join(
        [
            f"Of the time that {processors} processors have, {share:.0%} was used:",
            table(
                ["Who", "Share"], [[who, f"{used / sum(totals.values()):.0%}"] for who, used in _largest_first(totals)]
            ),
            "Of the tap's own:",
            table(["Thread", "What it does", "Share"], list(_rows(places))),
        ]
    )


def _role(sample: Sample) -> str:
    return MAIN if sample.is_main else THREADS


_WORDS = {
    "": "outside of the tap's code",
    "import": "imports, at the start",
    "native": "threads of libraries, and those that have ended",
}


def words_of(sample: Sample) -> str:
    """Say what was being done: module, function, and the line as it stands there."""
    if not sample.file:
        return _WORDS[sample.function]
    code = linecache.getline(str(_PACKAGE / sample.file), sample.line).strip()
    return f"`{sample.file}`, `{sample.function}`: `{code}`".replace("|", "\\|")


def _rows(places: Mapping[tuple[str, str], float]) -> Iterator[list[str]]:
    """Write the places with the largest shares, and the rest as one."""
    everything = sum(places.values())
    shown = [(place, used) for place, used in _largest_first(places) if used >= _LEAST_SHARE * everything]
    for (role, words), used in shown:
        yield [role, words, f"{used / everything:.0%}"]
    rest = 1 - sum(used for _, used in shown) / everything
    yield ["all", f"lines with less than {_LEAST_SHARE:.0%} each", f"{rest:.0%}"]


def _largest_first(shares: Mapping[_Key, float]) -> list[tuple[_Key, float]]:
    return sorted(shares.items(), key=lambda item: item[1], reverse=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="typical", help="of the table (default: %(default)s)")
    parser.add_argument("--format", choices=("jsonl", "arrow", "csv"), default="jsonl", help="on the wire")
    parser.add_argument("--rows", type=int, help="of the table (default: as in the benchmark)")
    parser.add_argument("--runs", type=int, default=_RUNS, help="how many (default: %(default)s)")
    parser.add_argument("--write", action="store_true", help="write the tables into docs/speed.md")
    options = parser.parse_args(arguments)
    shape = SHAPES[options.shape]
    rows = options.rows or shape.rows
    with memory_folder() as folder:
        write_shape(folder, shape, rows)
        case = replace(tap_case("profile", shape, wire_format=options.format), rows=rows)
        with served(folder) as server:
            server.render(shape.reference, options.format)
            text = as_markdown(watch(case, rows, options.runs, Place(server, folder)))
    if options.write:
        _PAGE.write_text(filled(_PAGE.read_text(), text, "benchmarks.profile"))
    print(text)  # noqa: T201 - this is what one runs it for
    return 0


if __name__ == "__main__":
    sys.exit(main())
