"""What the demo shows, told beside a running emulator: `python -m demo.story SERVED LOADED`."""

from __future__ import annotations

import json
import os
import sys
import textwrap
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.figures import Figures, compare, read_database, read_lines, read_source
from demo.progress import Progress, StopHalfWay
from tests.support.environments import environment
from tests.support.pipes import Piped, Process, Watch, pipe, pipe_watched, run, tap, target
from tests.support.postgres import Postgres

_DATASET = "demo.nycflights13"
_SMALL_TABLES = ("airlines", "airports", "planes")
_STOPPED = 143  # what a shell calls the end by SIGTERM
_HIGHEST = "SELECT faa, name, alt, location FROM redivis.nycflights13__airports ORDER BY alt DESC LIMIT 3"


@dataclass(frozen=True)
class Redivis:
    """Where the emulator listens, as it told this process."""

    endpoint: str
    token: str


@dataclass(frozen=True)
class Places:
    """Folders and service of the demo.

    Attributes:
        redivis: The emulator.
        served: What it serves.
        loaded: Where settings and loaded rows are written.
    """

    redivis: Redivis
    served: Path
    loaded: Path

    def source(self, table: str) -> Path:
        """Return the served file of a table, in the current version."""
        return self.served / "demo" / "nycflights13" / "v1.1" / f"{table}.parquet"


def main() -> int:
    """Tell the story; 0 only if the figures agree."""
    redivis = Redivis(os.environ["REDIVIS_API_ENDPOINT"], os.environ["REDIVIS_API_TOKEN"])
    places = Places(redivis, *map(Path, sys.argv[1:]))
    _say("Installing target-jsonl and target-postgres, each into an environment of its own: a minute, once")
    environment("target-jsonl")
    environment("meltanolabs-target-postgres")
    started_at = time.monotonic()
    figures = [_load_flights(places), *_load_small_tables(places)]
    are_same = _copy_files(places)
    _show_figures(figures)
    agree = are_same and all(each.agree for each in figures)
    _say(f"{'Every row arrived once' if agree else 'THE FIGURES DO NOT AGREE'}; {time.monotonic() - started_at:.0f} s")
    return 0 if agree else 1


def _load_flights(places: Places) -> Figures:
    """Load the flights into a file in three runs: one is stopped, one goes on, one finds nothing to do."""
    source = read_source(places.source("flights"))
    path = places.loaded / "nycflights13__flights.jsonl"

    _say(f"1. tap-redivis | target-jsonl: {source.num_rows:,} flights, and SIGTERM to the tap half-way")
    progress = Progress(source.num_rows)
    first = _run(places, StopHalfWay(progress))
    progress.end(_lines(path))
    _insist(first.tap.exit_code == _STOPPED, first)
    _tell(f"the tap ended with exit code {first.tap.exit_code}; this STATE came out of the target:")
    _tell(json.dumps(first.target.state, indent=2))

    _say("2. The same with that STATE: it goes on where it stopped")
    progress = Progress(source.num_rows, before=_lines(path))
    second = _run(places, progress, first.target.state)
    progress.end(_lines(path))
    _insist(second.tap.exit_code == 0, second)

    _say("3. Once more: nothing has changed, so nothing is read")
    third = _run(places, _look_away, second.target.state)
    _tell(f"{len(third.tap.records('nycflights13__flights'))} rows; the tap wrote {_kinds(third)} and ended")
    _insist(third.tap.exit_code == 0, third)
    return compare("flights", "target-jsonl", source, read_lines(path, source.schema))


def _run(places: Places, watch: Watch, state: dict[str, Any] | None = None) -> Piped:
    config = {"tables": [f"{_DATASET}.flights"]}
    sink = target("target-jsonl", places.loaded, {"destination_path": str(places.loaded), "do_timestamp_file": False})
    return pipe_watched(tap(places.redivis, places.loaded, config, state=state), sink, watch)


def _look_away(_: Process, __: int) -> None:
    """Watch nothing: there is nothing to draw."""


def _load_small_tables(places: Places) -> list[Figures]:
    """Load three tables into a PostgreSQL that lives as long as this takes."""
    _say("4. tap-redivis | target-postgres: airlines, airports and planes into a PostgreSQL")
    config = {"tables": [f"{_DATASET}.{table}" for table in _SMALL_TABLES]}
    with Postgres.start() as database:
        settings = {"sqlalchemy_url": database.url.replace("postgresql:", "postgresql+psycopg:")}
        settings["default_target_schema"] = "redivis"
        sink = target("meltanolabs-target-postgres", places.loaded, settings)
        done = pipe(tap(places.redivis, places.loaded, config), sink)
        _insist((done.tap.exit_code, done.target.exit_code) == (0, 0), done)
        _tell(_HIGHEST)
        for row in database.query(_HIGHEST):
            _tell("   ".join(map(str, row)))
        return [_compare_in_database(places, database, table) for table in _SMALL_TABLES]


def _compare_in_database(places: Places, database: Postgres, table: str) -> Figures:
    source = read_source(places.source(table))
    loaded = read_database(database, f"redivis.nycflights13__{table}", source.schema)
    return compare(table, "target-postgres", source, loaded)


def _copy_files(places: Places) -> bool:
    """Copy the files that rows name; say whether each is the same as at the source."""
    _say("5. tap-redivis with the setting files: what three of these tables were made of, each file beside its row")
    config = {"tables": ["demo.sources.files"], "files": {"root": str(places.loaded / "originals")}}
    done = run(tap(places.redivis, places.loaded, config))
    source = places.served / "demo" / "sources" / "files.files"
    copies = {
        row["file_name"]: Path(row["_redivis_file_uri"].removeprefix("file://"))
        for row in done.records("sources__files")
    }
    for name, path in copies.items():
        _tell(f"{name:16} {path.stat().st_size:9,} bytes   {path.relative_to(places.loaded)}")
    return {name: path.read_bytes() for name, path in copies.items()} == {
        path.name: path.read_bytes() for path in source.iterdir()
    }


def _lines(path: Path) -> int:
    with path.open("rb") as lines:
        return sum(1 for _ in lines)


def _kinds(piped: Piped) -> str:
    return ", ".join(message["type"] for message in piped.tap.messages)


def _show_figures(figures: list[Figures]) -> None:
    _say(f"   {'table':10} {'loaded by':16} {'rows at the source':>20} {'rows loaded':>12} {'rows read twice':>16}")
    for each in figures:
        _tell(f"{each.table:10} {each.target:16} {each.at_source:20,} {each.loaded:12,} {each.twice:16,}")


def _insist(fine: bool, piped: Piped) -> None:  # noqa: FBT001 - like assert
    """End the demo with what the processes said, if something is not fine."""
    if not fine:
        ends = {"tap": piped.tap, "target": piped.target}
        sys.exit("\n".join(f"{name} (exit code {end.exit_code}):\n{end.stderr}" for name, end in ends.items()))


def _say(text: str) -> None:
    sys.stdout.write(f"\n{text}\n")
    sys.stdout.flush()


def _tell(text: str) -> None:
    sys.stdout.write(textwrap.indent(f"{text}\n", "   "))
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
