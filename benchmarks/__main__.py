"""Measure everything in one run; print the tables, and write them with JSON and a picture into a folder."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec

from benchmarks.checks import verdicts
from benchmarks.measuring import Measured, measure
from benchmarks.picture import picture
from benchmarks.report import Machine, Report, as_data, as_markdown
from benchmarks.scenes import Scene, scenes
from docs.generate import ROOT, filled
from tests.faults import client

_PAGE = ROOT / "docs" / "speed.md"
_OUTPUT = ROOT / ".cache" / "benchmarks"
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
    options.output.mkdir(parents=True, exist_ok=True)
    report = _report(chosen, options.repeats)
    text, drawn = as_markdown(report), picture(report.scenes)
    data = msgspec.json.format(msgspec.json.encode(as_data(report)))
    _write(options.output, "speed", text, data, drawn)
    if options.write:
        _PAGE.write_text(filled(_PAGE.read_text(), text, "benchmarks"))
        _PAGE.with_suffix(".svg").write_text(drawn)
        _PAGE.with_suffix(".json").write_bytes(data + b"\n")
    print(text)  # noqa: T201 - this is what one runs it for
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    add = parser.add_argument
    add("--repeats", type=int, default=_REPEATS, help="runs of each path after a first one (default: %(default)s)")
    add("--scale", type=float, default=1.0, help="multiplies all numbers of rows; 0.01 is a quick try")
    add("--only", nargs="+", default=["*"], metavar="SCENE", help="names of scenes, with * and ? (default: all)")
    add("--write", action="store_true", help="write the results into docs/ too")
    add("--output", type=Path, default=_OUTPUT, metavar="FOLDER", help="for speed.md, speed.json and speed.svg")
    return parser


def _report(chosen: Sequence[Scene], repeats: int) -> Report:
    found: list[Measured] = [measure(scene, repeats, _say) for scene in chosen]
    return Report(Machine.here(client.version()), repeats, found, verdicts(found))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - how far it is


def _write(folder: Path, name: str, text: str, data: bytes, drawn: str) -> None:
    (folder / f"{name}.md").write_text(text + "\n")
    (folder / f"{name}.json").write_bytes(data + b"\n")
    (folder / f"{name}.svg").write_text(drawn)


if __name__ == "__main__":
    sys.exit(main())
