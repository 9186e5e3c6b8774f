"""Whenever the tap is killed, the next run goes on from the last STATE, and in the end the table is whole.

More kills than the suite has time for: `TAP_REDIVIS_KILL_ROUNDS=2000 pytest tests/kill/test_kill.py`.
"""

from __future__ import annotations

import os
import random
import select
import signal
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from redivis_emulator import DEFAULT_TOKEN, Emulator
from redivis_emulator.access import RateLimit
from redivis_emulator.service import Settings
from tests.kill.loads import FileLoads, Loads, Table, table_of
from tests.support.batches import ENCODINGS, batch_config, records_of_files
from tests.support.pipes import Output, Program
from tests.support.running import Running, forked, launched
from tests.support.samples import sampled
from tests.support.served import Site, records_of, visits, write_table

_KILLS = int(os.environ.get("TAP_REDIVIS_KILL_ROUNDS", "200"))
_KILLS_A_TEST = 10
_ROWS = 24_000
_BYTES = 7_000_000  # about what the tap writes for one version
_FILE_KILLS = int(os.environ.get("TAP_REDIVIS_KILL_ROUNDS", "50"))  # for each encoding
_FILE_ROWS = 6000
_FILE_BYTES = 40_000  # about what the tap writes for one version whose rows are in files
_VERSIONS = {f"v1.{number}": visits(_ROWS, first=number * _ROWS) for number in range(3)}
_FILE_VERSIONS = {f"v1.{number}": visits(_FILE_ROWS, first=number * _FILE_ROWS) for number in range(3)}
_FORMATS = ["jsonl", "arrow", "jsonl", "csv"]
_SEVEN_HOURS = 7 * 3600.0
_STREAM = "visits__visits"
_FILE_STREAM = "stays__stays"

Moment = Callable[[int], bool]
"""Whether it is time, given the bytes that the tap has written."""


@pytest.fixture(scope="module")
def tables() -> dict[str, Table]:
    """The rows of each version."""
    return {tag: table_of(records_of(table)) for tag, table in _VERSIONS.items()}


@pytest.fixture(scope="module")
def small_tables() -> dict[str, Table]:
    """The rows of each version of the table that goes to files."""
    return {tag: table_of(records_of(table)) for tag, table in _FILE_VERSIONS.items()}


@pytest.fixture(scope="module")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    for tag, table in _VERSIONS.items():
        write_table(folder, f"demo/visits/{tag}/visits", table)
        write_table(folder, f"demo/stays/{tag}/stays", _FILE_VERSIONS[tag])
    return folder


@pytest.fixture(scope="module")
def _emulator(_folder: Path) -> Iterator[Emulator]:
    with Emulator(_folder, rate_limit=RateLimit(10**9), settings=Settings(streams=4)) as emulator:
        yield emulator


@pytest.fixture
def site(_emulator: Emulator, _folder: Path, tmp_path: Path) -> Site:
    """A Redivis whose table has 24,000 rows in four read streams, in three versions, of which the first is released."""
    _emulator.release("demo.visits", "v1.0")
    _emulator.release("demo.stays", "v1.0")
    _emulator.forget_requests()
    return Site(_emulator, _folder, tmp_path, DEFAULT_TOKEN)


@dataclass
class _Life:
    """Chance, from a seed: when a tap is killed and how, and what happens to the data meanwhile."""

    chance: random.Random
    site: Site
    released: int = 0
    bytes: int = _BYTES
    dataset: str = "demo.visits"
    kinds: Sequence[signal.Signals] = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)

    @property
    def current(self) -> str:
        """Tag of the version that is released."""
        return f"v1.{self.released}"

    def moment(self) -> Moment:
        """Choose when to kill: mostly after some output, else during start-up, metadata or the opening of streams."""
        kind = self.chance.choices(["bytes", "seconds", "requests"], [6, 1, 1])[0]
        if kind == "bytes":
            after_bytes = self.chance.randrange(1, self.bytes // 4)
            return lambda written: written >= after_bytes
        if kind == "requests":
            requests = len(self.site.emulator.requests) + self.chance.randint(1, 5)
            return lambda _: len(self.site.emulator.requests) >= requests
        moment = time.monotonic() + self.chance.uniform(0.02, 0.4)
        return lambda _: time.monotonic() >= moment

    def begin(self, program: Program) -> AbstractContextManager[Running]:
        """Start a run: now and then from the very beginning."""
        if self.chance.randrange(7):
            return forked(program)
        return launched(program)

    def signals(self) -> list[signal.Signals]:
        """Choose what to kill with: one signal, or two at once from somebody impatient."""
        return [self.chance.choice(self.kinds) for _ in range(self.chance.choice([1, 1, 1, 2]))]

    def go_on(self) -> None:
        """Let something happen meanwhile: mostly nothing, else all sessions expire or a version is released."""
        event = self.chance.choices(["nothing", "expiry", "release"], [8, 1, 1])[0]
        if event == "expiry":
            self.site.emulator.pass_time(_SEVEN_HOURS)
        elif event == "release" and self.released + 1 < len(_VERSIONS):
            self.released += 1
            self.site.emulator.release(self.dataset, self.current)


@pytest.mark.parametrize("seed", sampled(range(max(1, _KILLS // _KILLS_A_TEST)), range(len(_FORMATS))))
def test_a_tap_that_is_killed_again_and_again_loads_the_table(site: Site, tables: dict[str, Table], seed: int) -> None:
    """Whole lines, a STATE that is neither ahead nor behind, each acknowledged row once, and the table in the end."""
    chance = random.Random(seed)  # noqa: S311 - the same in every run
    wire_format = _FORMATS[seed % len(_FORMATS)]
    kills = 0
    while kills < _KILLS_A_TEST:
        life, loads = _Life(chance, site), Loads(tables, _STREAM)
        site.emulator.release("demo.visits", life.current)
        while loads.done != life.current:
            program = site.tap(state=loads.state, wire_format=wire_format, state_interval_rows=500, row_key=True)
            if kills < _KILLS_A_TEST:
                kills += _killed(program, life, loads)
            else:
                _take(_finished(program), loads)


@pytest.mark.parametrize("seed", sampled(range(max(1, _FILE_KILLS // _KILLS_A_TEST)), range(1)))
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_files_of_a_tap_that_is_killed_again_and_again_hold_the_table(
    site: Site, small_tables: dict[str, Table], encoding: str, seed: int
) -> None:
    """Each row of the table is once in the files that STATE speaks of, and those of the load are all that is there."""
    chance = random.Random(f"{encoding} {seed}")  # noqa: S311 - the same in every run
    kills = 0
    while kills < _KILLS_A_TEST:
        life = _Life(chance, site, bytes=_FILE_BYTES, dataset="demo.stays", kinds=[signal.SIGKILL])
        loads, root = FileLoads(small_tables, _FILE_STREAM), site.files / f"out after {kills} kills"
        settings = {"datasets": ["demo.stays"], "batch_config": batch_config(encoding, root, batch_size=300)}
        site.emulator.release(life.dataset, life.current)
        while loads.done != life.current:
            program = site.tap(state=loads.state, row_key=True, **settings)
            if kills < _KILLS_A_TEST:
                kills += _killed(program, life, loads)
            else:
                _take(_finished(program), loads)
        assert loads.state is not None
        load = loads.state["bookmarks"][_FILE_STREAM]["table_version"]
        there = (root / _FILE_STREAM / str(load)).iterdir()
        assert table_of(records_of_files(there)) == small_tables[life.current]
        assert not list((root / ".partial").iterdir())


@pytest.mark.parametrize("wire_format", ["jsonl", "arrow", "csv"])
def test_a_tap_that_is_killed_between_the_last_two_messages_says_the_end_again(
    site: Site, tables: dict[str, Table], wire_format: str
) -> None:
    """What STATE does not speak of happens again: not one row, and ACTIVATE_VERSION of the same version."""
    loads = Loads(tables, _STREAM)
    *messages, activated, _ = site.sync(wire_format=wire_format, state_interval_rows=1, row_key=True).messages

    loads.take([*messages, activated])
    second = site.sync(wire_format=wire_format, state=loads.state, row_key=True)
    loads.take(second.messages)

    assert not second.records(_STREAM)
    assert activated in second.messages
    assert loads.done == "v1.0"


def _killed(program: Program, life: _Life, loads: Loads) -> bool:
    """Kill a run; say whether it had not ended before."""
    signals = life.signals()
    with life.begin(program) as process:
        written = until(process.stdout, life.moment())
        life.go_on()
        written += until(process.stdout, life.moment())
        for number in signals:
            process.kill(number)
        written += until(process.stdout, lambda _: False)
        done = process.end(written)
    _take(done, loads, signals)
    return done.exit_code != 0


def _finished(program: Program) -> Output:
    with forked(program) as process:
        return process.end(until(process.stdout, lambda _: False))


def until(stdout: int, is_time: Moment) -> bytes:
    """Read what a process writes until it is time, or the process has ended."""
    written = bytearray()
    while not is_time(len(written)):
        if select.select([stdout], [], [], 0.001)[0]:
            piece = os.read(stdout, 64 * 1024)
            if not piece:
                break
            written += piece
    return bytes(written)


def _take(done: Output, loads: Loads, signals: Collection[signal.Signals] = ()) -> None:
    """Check how a run ended, and what it wrote."""
    messages = done.messages  # a line that is no message, but the last one after SIGKILL, is an error here
    unacknowledged = loads.take(messages)
    if done.exit_code == -signal.SIGKILL:
        return
    assert _as_shells_say(done.exit_code) in {0, *(128 + number for number in signals)}, done.stderr
    # Python dies of the signal itself, with the same code for shells, where it hits its own start or end.
    assert "Traceback" not in done.stderr or done.exit_code == -signal.SIGINT, done.stderr
    assert unacknowledged == 0
    assert not messages or messages[-1]["type"] == "STATE"


def _as_shells_say(exit_code: int) -> int:
    return exit_code if exit_code >= 0 else 128 - exit_code
