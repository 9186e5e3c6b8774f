"""Figures → Markdown for people, JSON for programs."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

from benchmarks.checks import Verdict
from benchmarks.measuring import Measured, Result
from benchmarks.scenes import AGAIN, JSONL


@dataclass(frozen=True)
class Machine:
    """Where the figures are from.

    Attributes:
        processors: How many this process may use.
        system: The operating system.
        versions: Of Python and of what was measured, by name.
    """

    processors: int
    system: str
    versions: Mapping[str, str]

    @classmethod
    def here(cls, client: str) -> Machine:
        """Describe this one; the version of the official client is given, since it lives elsewhere."""
        names = ("tap-redivis", "singer-sdk", "msgspec", "pyarrow")
        versions = {"Python": platform.python_version(), **{name: version(name) for name in names}, "redivis": client}
        return cls(len(os.sched_getaffinity(0)), platform.system(), versions)

    @property
    def words(self) -> str:
        """Say it for people."""
        versions = ", ".join(f"{name} {number}" for name, number in self.versions.items())
        return f"{self.processors} processors, {self.system}; {versions}"


@dataclass(frozen=True)
class Report:
    """All that one run of the benchmark found out.

    Attributes:
        machine: Where.
        repeats: Runs of each case.
        scenes: What was measured.
        verdicts: What was promised, and whether it holds.
    """

    machine: Machine
    repeats: int
    scenes: Sequence[Measured]
    verdicts: Sequence[Verdict]


def as_markdown(report: Report) -> str:
    """Write all tables."""
    parts = [f"On {report.machine.words}; medians of {report.repeats} runs.", _verdicts(report.verdicts)]
    parts += filter(None, map(_noise, report.scenes))
    for scene in report.scenes:
        words = f"{scene.words[:1].upper()}{scene.words[1:]}. `python -m benchmarks --only {scene.name}`"
        parts += [f"### {scene.name}", words, _scene(scene)]
    return "\n\n".join(parts)


def as_data(report: Report) -> dict[str, Any]:
    """Make what goes into the JSON file: each run's seconds, and the figures that the tables show."""
    return {
        "machine": asdict(report.machine),
        "repeats": report.repeats,
        "promises": [
            {
                "path": each.words,
                "at_least": each.at_least,
                "at_most": each.at_most,
                "measured": each.measured,
                "holds": each.holds,
            }
            for each in report.verdicts
        ],
        "scenes": [
            {"name": scene.name, "words": scene.words, "paths": [_path(result) for result in scene.results]}
            for scene in report.scenes
        ],
    }


def _path(result: Result) -> dict[str, Any]:
    return {
        "name": result.name,
        "rows": result.rows,
        "seconds": result.seconds,
        "seconds_to_first_row": result.first,
        "seconds_to_last_row": result.last,
        "only_time_between_counts": result.only_rows,
        "rows_per_second": result.rate,
        "rows_per_second_first_to_last": result.rate_of_rows,
        "bytes_read_per_second": result.bytes_rate,
        "bytes_written": result.written,
        "requests": result.requests,
        "peak_mib": result.peak_mib,
    }


def table(heads: Sequence[str], rows: Iterator[Sequence[str]] | Sequence[Sequence[str]]) -> str:
    """Write a table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _verdicts(verdicts: Sequence[Verdict]) -> str:
    rows = [
        [
            each.words,
            each.promised,
            each.found,
            "yes" if each.holds else "**no**",
            "" if each.of_rows is None else f"{each.of_rows:.1f} times",
        ]
        for each in verdicts
    ]
    return table(["Path", "Promised", "Measured", "Holds", "First row to last, both"], rows)


def _noise(scene: Measured) -> str:
    """Say how much two runs of the same differ: what is less than that means nothing."""
    if scene.name != "typical":
        return ""
    one, same = scene.find(JSONL), scene.find(AGAIN)
    pairs = sorted(second / first for first, second in zip(one.seconds, same.seconds, strict=True))
    return (
        f"The noise: the same path under a second name, “{AGAIN}”, took {same.median / one.median:.2f} times as long "
        f"by medians, {pairs[0]:.2f} to {pairs[-1]:.2f} times run by run."
    )


def _scene(scene: Measured) -> str:
    baseline = scene.find(scene.baseline)
    heads = [
        "Path",
        "rows",
        "seconds",
        "to the first row",
        "rows/s",
        "MB/s read",
        f"times {scene.baseline}",
        "peak MiB",
    ]
    return table(heads, [_row(result, baseline) for result in scene.results])


def _row(result: Result, baseline: Result) -> list[str]:
    return [
        result.name,
        f"{result.rows:,}",
        f"{result.median:.2f} ({min(result.seconds):.2f} to {max(result.seconds):.2f})",
        f"{statistics.median(result.first):.2f}" if result.first else "",
        f"{result.rate:,.0f}",
        "" if result.bytes_rate is None else f"{result.bytes_rate / 1e6:,.0f}",
        f"{result.rate / baseline.rate:,.2f}",
        f"{result.peak_mib:,.0f}",
    ]
