"""The tap, or the target too, killed again and again during loads into a PostgreSQL: no row is lost, none is twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from redivis_emulator import DEFAULT_TOKEN, Emulator
from redivis_emulator.access import RateLimit
from redivis_emulator.service import Settings
from tests.support.pipes import Json, Output, Program, started, target
from tests.support.postgres import Postgres
from tests.support.running import forked
from tests.support.samples import sampled
from tests.support.served import Site, visits, write_table

_KILLS, _LOADS = 20, 4
_ROWS = 6000  # more than a pipe holds, so that the tap is still at work when it is killed
_VISITS = visits(_ROWS)
_COLUMNS = ("id", "clinic", "seen_at")
_TABLE = "visits__visits"


@pytest.fixture(name="site", scope="module")
def make_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A Redivis whose table has four read streams; nobody knows a key of it."""
    folder, files = tmp_path_factory.mktemp("served"), tmp_path_factory.mktemp("files")
    write_table(folder, "demo/visits/v1.0/visits", _VISITS)
    with Emulator(folder, rate_limit=RateLimit(10**9), settings=Settings(streams=4)) as emulator:
        yield Site(emulator, folder, files, DEFAULT_TOKEN)


@pytest.mark.parametrize("seed", sampled(range(_LOADS), range(1)))
def test_a_database_holds_each_row_once_after_kill_9(site: Site, postgres: Postgres, seed: int) -> None:
    """The target commits rows that it never acknowledges: they come again, and take the place of themselves."""
    chance = random.Random(seed)  # noqa: S311 - the same in every run
    state: Json | None = None
    sent = 0
    for _ in range(_KILLS // _LOADS):
        tap, loaded = _run(site, postgres, state, kill_after=chance.randrange(100, 350), both=chance.random() < 0.2)
        assert tap.exit_code == -signal.SIGKILL, tap.stderr
        state = loaded.state if loaded.stdout else state
        sent += _whole_records(tap)
    last, loaded = _run(site, postgres, state)
    sent += _whole_records(last)

    assert (last.exit_code, loaded.exit_code) == (0, 0), last.stderr + loaded.stderr
    assert sent > _ROWS, "nothing was sent twice, so nothing was tried"
    columns = ", ".join(_COLUMNS)
    found = postgres.query(f"SELECT {columns} FROM {_TABLE} ORDER BY id")  # noqa: S608 - our own names
    assert found == list(zip(*(_VISITS[name].to_pylist() for name in _COLUMNS), strict=True))
    assert postgres.query(f"SELECT count(DISTINCT _redivis_row_key) FROM {_TABLE}") == [(_ROWS,)]  # noqa: S608


def _run(
    site: Site, database: Postgres, state: Json | None, *, kill_after: int | None = None, both: bool = False
) -> tuple[Output, Output]:
    """Run `tap | target`; kill the tap, or both, when some lines are through."""
    program = site.tap(state=state, row_key=True, state_interval_rows=150)
    with forked(program) as tap, started(sink(site.files, database), subprocess.PIPE) as loader:
        written = bytearray()
        with suppress(BrokenPipeError):  # of a target that was killed
            while piece := os.read(tap.stdout, 4096):
                written += piece
                loader.stdin.write(piece)
                if kill_after is not None and written.count(b"\n") >= kill_after:
                    tap.kill(signal.SIGKILL)
                    kill_after = None
                    if both:
                        loader.popen.kill()
            loader.stdin.close()
        done = tap.end(bytes(written))
        return done, loader.end(loader.stdout.read())


def sink(folder: Path, database: Postgres) -> Program:
    url = database.url.replace("postgresql://", "postgresql+psycopg://")
    config = {"sqlalchemy_url": url, "default_target_schema": "public", "hard_delete": True, "batch_size_rows": 100}
    return target("meltanolabs-target-postgres", folder, config)


def _whole_records(done: Output) -> int:
    return sum(message["type"] == "RECORD" for message in done.messages)
