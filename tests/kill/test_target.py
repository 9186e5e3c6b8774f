"""Tap, target and database killed again and again: the warehouse equals the source, and nobody sees half a table."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from redivis_emulator import DEFAULT_TOKEN, Emulator
from redivis_emulator.access import RateLimit
from redivis_emulator.service import Settings
from tests.support.batches import batch_config
from tests.support.pipes import Json, Output, started
from tests.support.postgres import Crashing, crashing
from tests.support.running import forked
from tests.support.samples import sampled
from tests.support.served import Site, visits, write_table
from tests.target.conftest import Warehouse

_TABLE = "visits__visits"
_COLUMNS = ("id", "clinic", "cost", "seen_at")
_OLD = visits(4000)


# The first hundred are gone, some are new, and all others cost something else.
_CHANGED = visits(4900, first=100).set_column(2, "cost", pa.array([number / 3 for number in range(4900)]))


@dataclass(frozen=True)
class _Load:
    """A way to load, of which a version is live already.

    Attributes:
        kills: How many runs are killed.
        victims: Who is killed, in turn.
        files: Whether the tap writes files.
        options: Settings of the table.
        row_key: Whether rows without keys get one.
    """

    name: str
    kind: str
    kills: int
    victims: tuple[str, ...]
    files: bool
    options: Json
    row_key: bool

    def next(self, release: int) -> pa.Table:
        """Make the table's next version, all rows of which must be in the warehouse in the end."""
        if "replication_key" in self.options:
            return visits(12_000 + 4000 * release)
        return _OLD if release % 2 else _CHANGED


_LOG_BASED = {"key_properties": ["id"], "replication_method": "LOG_BASED"}
_INCREMENTAL = {"key_properties": ["id"], "replication_key": "seen_at"}
_BOTH = ("target", "tap", "target")
_LOADS = [
    _Load(f"{kind}, {name}", kind, kills, victims, files, options, row_key)
    for kind, name, kills, victims, files, options, row_key in (
        ("postgresql", "files without keys", 20, _BOTH, True, {}, False),
        ("postgresql", "files, and the server", 16, ("server",), True, {}, False),
        ("postgresql", "records with the row key", 10, _BOTH, False, {}, True),
        ("postgresql", "incremental files", 8, _BOTH, True, _INCREMENTAL, False),
        ("postgresql", "log based records", 8, _BOTH, False, _LOG_BASED, False),
        ("postgresql", "log based, and the server", 6, ("server",), False, _LOG_BASED, False),
        ("duckdb", "files without keys", 14, _BOTH, True, {}, False),
        ("duckdb", "records with the row key", 6, _BOTH, False, {}, True),
        ("duckdb", "incremental files", 6, _BOTH, True, _INCREMENTAL, False),
        ("duckdb", "log based records", 6, _BOTH, False, _LOG_BASED, False),
    )
]
_SAMPLE = replace(_LOADS[0], name="a sample", kills=3)


@pytest.mark.parametrize("load", sampled([_SAMPLE, *_LOADS], [_SAMPLE], name=lambda load: load.name))
def test_the_warehouse_equals_the_source_after_kill_9(load: _Load, tmp_path: Path) -> None:
    """Resumed from the last STATE that the target printed, whoever was killed and whenever."""
    with _surroundings(load, tmp_path) as (site, warehouse, server), _looking_on(server) as seen:
        chance = random.Random(load.name)  # noqa: S311 - the same in every run
        state = _run(site, warehouse, load, None)[1].state
        source, release, cut = load.next(0), 1, 0
        site.release("demo/visits/v1.1/visits", source)
        for turn in range(load.kills):
            victim = load.victims[turn % len(load.victims)]
            states = chance.randrange(1, 10)
            tap, loaded = _run(site, warehouse, load, state, (victim, states, server))
            ended = (tap.exit_code, loaded.exit_code) == (0, 0)
            cut += not ended or "the connection to the database was lost" in loaded.stderr
            state = loaded.state if loaded.stdout.endswith(b"\n") else state
            if ended:  # it was quicker, or survived: there is a new version
                source, release = load.next(release), release + 1
                site.release(f"demo/visits/v1.{release}/visits", source)
        tap, loaded = _run(site, warehouse, load, state)
        assert (tap.exit_code, loaded.exit_code) == (0, 0), tap.stderr + loaded.stderr
        found = sorted(warehouse.rows(_TABLE, *_COLUMNS))

    assert cut >= load.kills // 3, "too few runs were cut, so too little was tried"
    assert found == sorted(zip(*(source[name].to_pylist() for name in _COLUMNS), strict=True))
    if not load.options:  # full loads: a count is that of one version or of the other
        assert seen <= {_OLD.num_rows, _CHANGED.num_rows}


def _run(
    site: Site,
    warehouse: Warehouse,
    load: _Load,
    state: Json | None,
    kill: tuple[str, int, Crashing | None] | None = None,
) -> tuple[Output, Output]:
    """Run `tap | target`; kill one of them, or the server, when the target has printed some STATEs."""
    settings: dict[str, Any] = {"row_key": load.row_key, "table_options": {"visits": load.options}}
    if load.files:
        settings["batch_config"] = batch_config("arrow", site.files / "lake", batch_size=100)
    program = site.tap(state=state, state_interval_rows=150, **settings)
    victim, states, server = kill or ("nobody", 0, None)
    with forked(program) as tap, started(warehouse.program(batch_size_rows=200), subprocess.PIPE) as loader:
        kills = {"tap": lambda: tap.kill(signal.SIGKILL), "target": loader.popen.kill, "nobody": lambda: None}
        said: list[bytes] = []

        def listen() -> None:
            for line in loader.stdout:
                said.append(line)
                if len(said) == states:  # it is at work on what comes next
                    server.crash() if server and victim == "server" else kills[victim]()

        listener = threading.Thread(target=listen)
        listener.start()
        written = bytearray()
        with suppress(BrokenPipeError):  # of a target that was killed
            while piece := os.read(tap.stdout, 2048):
                written += piece
                loader.stdin.write(piece)
                loader.stdin.flush()
        with suppress(BrokenPipeError):
            loader.stdin.close()
        listener.join()
        if loader.popen.wait():  # nobody reads what the tap still writes
            tap.kill(signal.SIGKILL)
        printed = b"".join(said)
        return tap.end(bytes(written)), loader.end(printed[: printed.rfind(b"\n") + 1])


@contextmanager
def _surroundings(load: _Load, folder: Path) -> Iterator[tuple[Site, Warehouse, Crashing | None]]:
    served, files = folder / "served", folder / "files"
    served.mkdir()
    files.mkdir()
    write_table(served, "demo/visits/v1.0/visits", _OLD)
    with Emulator(served, rate_limit=RateLimit(10**9), settings=Settings(streams=4)) as emulator:
        site = Site(emulator, served, files, DEFAULT_TOKEN)
        if load.kind == "duckdb":
            yield site, Warehouse(f"duckdb:///{folder}/data.duckdb", files), None
            return
        with crashing() as server:
            yield site, Warehouse(server.database.url, files, server.database.password), server


@contextmanager
def _looking_on(server: Crashing | None) -> Iterator[set[int]]:
    """Count the rows of the table all the while."""
    seen: set[int] = set()
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            with (
                suppress(psycopg.OperationalError),
                psycopg.connect(server.database.url, autocommit=True) as connection,
            ):
                while not done.wait(0.005):
                    with suppress(psycopg.errors.UndefinedTable):  # before the first load
                        seen.add(connection.execute(f"SELECT count(*) FROM {_TABLE}").fetchone()[0])  # type: ignore[index]  # noqa: S608
            done.wait(0.05)

    thread = threading.Thread(target=look)
    if server is not None:
        thread.start()
    try:
        yield seen
    finally:
        done.set()
        if server is not None:
            thread.join()
            assert seen, "nobody looked"
