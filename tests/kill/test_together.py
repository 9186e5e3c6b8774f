"""Two taps that load one table in the same second into one database: no row is lost, and in the end none is twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from redivis_emulator import DEFAULT_TOKEN, Emulator
from redivis_emulator.access import RateLimit
from redivis_emulator.service import Settings
from tests.kill.test_database import sink
from tests.support.pipes import Json, Piped, pipe
from tests.support.postgres import Postgres
from tests.support.samples import sampled
from tests.support.served import Site, visits, write_table

_STREAM = "visits__visits"
_ROWS = 600
_FIRST_VERSION = 2_000_000_000  # of the loads; higher than any that the clock gives


@pytest.fixture(name="site")
def make_site(tmp_path: Path) -> Iterator[Site]:
    """A Redivis whose sessions have as many read streams as are asked for; nobody knows a key of the table."""
    folder, files = tmp_path / "served", tmp_path / "files"
    files.mkdir()
    write_table(folder, "demo/visits/v1.0/visits", visits(_ROWS))
    with Emulator(folder, rate_limit=RateLimit(10**9), settings=Settings(streams=4)) as emulator:
        yield Site(emulator, folder, files, DEFAULT_TOKEN)


@pytest.mark.parametrize("times", sampled([2, 50], [2]))
def test_two_taps_at_once_lose_no_row(site: Site, postgres: Postgres, times: int) -> None:
    """Their sessions order the rows differently, and their rows have one Singer version: only the key tells them apart.

    The next load leaves each row once.
    """
    _load(site, postgres, 0, streams=1)  # makes the table, which two targets at once would not survive

    for number in range(1, times + 1):
        with ThreadPoolExecutor(2) as pool:
            loads = [pool.submit(_load, site, postgres, number, streams=streams) for streams in (2, 3)]
        states = [load.result().target.state["bookmarks"][_STREAM] for load in loads]

        assert {state["table_version"] for state in states} == {_FIRST_VERSION + number}
        assert Counter(_ids(postgres)) == dict.fromkeys(range(_ROWS), 2)

    _load(site, postgres, times + 1, streams=2)
    assert _ids(postgres) == list(range(_ROWS))


def _load(site: Site, postgres: Postgres, number: int, *, streams: int) -> Piped:
    """Load the table without a bookmark of it but for its Singer version, which two clocks may give too."""
    folder = site.files / f"{number}-{streams}"
    folder.mkdir()
    state: Json = {"bookmarks": {_STREAM: {"table_version": _FIRST_VERSION + number - 1}}}
    program = Site(site.emulator, site.folder, folder, site.token).tap(state=state, row_key=True, max_streams=streams)
    done = pipe(program, sink(folder, postgres))
    assert (done.tap.exit_code, done.target.exit_code) == (0, 0), done.tap.stderr + done.target.stderr
    return done


def _ids(postgres: Postgres) -> list[int]:
    return [number for (number,) in postgres.query(f"SELECT id FROM {_STREAM} ORDER BY id")]  # noqa: S608 - our own name
