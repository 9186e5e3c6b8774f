"""Measure everything in one run; print the tables, and write them with JSON and a picture into a folder."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec

from benchmarks.checks import verdicts
from benchmarks.measuring import Measured, RunFailed, measure
from benchmarks.picture import picture
from benchmarks.report import Machine, Report, as_data, as_markdown
from benchmarks.scenes import scenes
from docs.generate import ROOT, filled
from tests.faults import client

_PAGE = ROOT / "docs" / "speed.md"
_OUTPUT = ROOT / ".cache" / "benchmarks"
_EMPTY = "<!-- made by benchmarks -->\n<!-- end of what is made -->\n"
_REPEATS = 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.write and (options.scale, options.only) != (1.0, ["*"]):
        parser.error("only a whole run is for the docs: --write goes with neither --scale nor --only")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # as where the programs are installed
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that the emulator is ended too
    chosen = [scene for scene in scenes(options.scale) if any(fnmatchcase(scene.name, only) for only in options.only)]
    if not chosen:
        parser.error(f"there is no such scene; there are {', '.join(scene.name for scene in scenes(1))}")
    options.output.mkdir(parents=True, exist_ok=True)
    machine = Machine.here(client.version())
    found: list[Measured] = []
    report = Report(machine, options.repeats, found, [])
    for scene in chosen:
        try:
            found.append(measure(scene, options.repeats, _say))
        except (RunFailed, FileNotFoundError) as error:
            sys.exit(f"{scene.name}: {error}")
        report = replace(report, scenes=found, verdicts=verdicts(found))
        _write(report, options.output)  # what has been measured so far is there, whatever comes
    if options.write:
        _write(report, _PAGE.parent)
    print(as_markdown(report))  # noqa: T201 - this is what one runs it for
    return int(options.check and not all(verdict.holds for verdict in report.verdicts))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    add = parser.add_argument
    add("--repeats", type=int, default=_REPEATS, help="runs of each path after a first one (default: %(default)s)")
    add("--scale", type=float, default=1.0, help="multiplies all numbers of rows; 0.01 is a quick try")
    add("--only", nargs="+", default=["*"], metavar="SCENE", help="names of scenes, with * and ? (default: all)")
    add("--write", action="store_true", help="write the results into docs/ too")
    add("--check", action="store_true", help="exit code 1 if a promise does not hold")
    add("--output", type=Path, default=_OUTPUT, metavar="FOLDER", help="for speed.md, speed.json and speed.svg")
    return parser


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - how far it is


def _write(report: Report, folder: Path) -> None:
    """Write all that there is into a folder; a page that is there already keeps what stands around the tables."""
    page = folder / _PAGE.name
    page.write_text(filled(page.read_text() if page == _PAGE else _EMPTY, as_markdown(report), "benchmarks"))
    page.with_suffix(".json").write_bytes(msgspec.json.format(msgspec.json.encode(as_data(report))) + b"\n")
    page.with_suffix(".svg").write_text(picture(report.scenes))


if __name__ == "__main__":
    sys.exit(main())
