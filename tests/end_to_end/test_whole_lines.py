"""What is on stdout at any moment: whole lines, and no STATE that is ahead of its rows (promises 2 and 3)."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import requests

from redivis_emulator import DEFAULT_TOKEN, Emulator, Fault
from redivis_emulator.service import Settings
from tests.end_to_end.conftest import UNLIMITED
from tests.support.pipes import Json, Output, Stop, run_stopped, run_unread
from tests.support.readers import Reader, fast, interrupted, interrupted_unread, interrupted_when, slow
from tests.support.served import Site, assert_same_rows, records_of, visits, write_table

_LARGE = visits(60_000)
_SIGNALS = [signal.SIGTERM, signal.SIGINT]
_SOON = 10  # seconds; the promise is two (tests/unit/test_shutdown.py), the rest is for a machine that is slow and busy
_MOMENTS = random.Random(20121221)  # noqa: S311 - chance, but the same in every run


@pytest.fixture(scope="module")
def _large_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("large")
    write_table(folder, "demo/visits/v1.0/visits", _LARGE)
    return folder


@pytest.fixture(scope="module")
def _large_emulator(_large_folder: Path) -> Iterator[Emulator]:
    with Emulator(_large_folder, rate_limit=UNLIMITED, settings=Settings(streams=4)) as emulator:
        yield emulator


@pytest.fixture
def large_site(_large_emulator: Emulator, _large_folder: Path, tmp_path: Path) -> Iterator[Site]:
    """A Redivis whose table `demo.visits.visits` has 60,000 rows, 9 MB, in four read streams."""
    _large_emulator.forget_requests()
    yield Site(_large_emulator, _large_folder, tmp_path, DEFAULT_TOKEN)
    _large_emulator.faults.clear()


def test_state_never_runs_ahead_of_its_rows(large_site: Site) -> None:
    """Whenever STATE is written, the rows up to each stream's offset have been written before (promise 2)."""
    messages = large_site.sync(state_interval_rows=1).messages

    ids = _ids_by_stream(large_site, messages)
    written: set[int] = set()
    offsets = dict.fromkeys(ids, 0)
    states = 0
    for message in messages:
        if message["type"] == "RECORD":
            written.add(message["record"]["id"])
        for stream, offset in _offsets(message).items():
            assert written.issuperset(ids[stream][offsets[stream] : offset])
            offsets[stream] = offset
            states += 1
    assert states > 100
    assert sum(offsets.values()) > 50_000


def test_state_never_falls_behind_either(large_site: Site) -> None:
    """The offsets of a STATE add up to the rows that were written before it."""
    messages = large_site.sync(state_interval_rows=1).messages

    rows = 0
    for message in messages:
        rows += message["type"] == "RECORD"
        if offsets := _offsets(message):
            assert sum(offsets.values()) == rows


_READERS = [
    *[(fast, _MOMENTS.randrange(1, 8_000_000)) for _ in range(5)],
    *[(slow, _MOMENTS.randrange(1, 300_000)) for _ in range(4)],
]


@pytest.mark.parametrize("number", _SIGNALS)
@pytest.mark.parametrize(("reader", "after_bytes"), _READERS)
def test_a_signal_leaves_whole_lines(
    large_site: Site, number: signal.Signals, reader: Reader, after_bytes: int
) -> None:
    """At any moment, with a fast and a slow reader: whole lines, STATE last, and the end within two seconds."""
    done = interrupted(large_site.tap(), number, after_bytes, reader)

    _assert_ended_well(done, number)


@pytest.mark.parametrize("number", _SIGNALS)
@pytest.mark.parametrize("after_bytes", [_MOMENTS.randrange(1, 50_000) for _ in range(4)])
def test_a_signal_leaves_whole_lines_though_nobody_reads(
    large_site: Site, number: signal.Signals, after_bytes: int
) -> None:
    """The same while the pipe fills up, or is full."""
    done = interrupted_unread(large_site.tap(), number, after_bytes)

    _assert_ended_well(done, number)


@pytest.mark.parametrize("number", _SIGNALS)
def test_what_a_signal_leaves_can_be_resumed(large_site: Site, number: signal.Signals) -> None:
    """The rows before the signal and those of the next run are the table, each once."""
    first = interrupted(large_site.tap(), number, _MOMENTS.randrange(3_000_000, 6_000_000), fast)

    second = large_site.sync(state=first.state)

    assert_same_rows([*first.records("visits__visits"), *second.records("visits__visits")], records_of(_LARGE))


_WAITS = {
    "for metadata": Fault(kind="stall", path="/datasets/*"),
    "for a session": Fault(kind="stall", path="*/readSessions"),
    "for the first row": Fault(kind="stall", path="/readStreams/*", nth="every"),
    "for another try": Fault(kind="status", status=503, retry_after=60, path="*/readSessions"),
}


@pytest.mark.parametrize("number", _SIGNALS)
@pytest.mark.parametrize("fault", _WAITS.values(), ids=_WAITS)
def test_a_signal_ends_every_wait(large_site: Site, number: signal.Signals, fault: Fault) -> None:
    """A tap that waits for a silent server ends as quickly as one that writes."""
    large_site.emulator.faults.add(fault)
    part = fault.path.strip("*/")

    done = interrupted_when(large_site.tap(), number, lambda: bool(large_site.asked(part)))

    assert done.exit_code == 128 + number
    assert done.seconds < _SOON
    assert "Traceback" not in done.stderr
    assert {message["type"] for message in done.messages} <= {"SCHEMA", "STATE"}


def test_a_reader_that_goes_away_ends_the_tap_quietly(large_site: Site) -> None:
    """Like `tap-redivis | head -1`: a non-zero exit code, and no fuss."""
    done = run_unread(large_site.tap(), after_lines=1)

    assert done.exit_code > 0
    assert not [word for word in ("Traceback", "BrokenPipe", "Exception ignored", "ERROR") if word in done.stderr]


def test_a_killed_tap_goes_on_from_its_last_state(large_site: Site) -> None:
    """After kill -9 the next run resumes at the last STATE: the rows before it and the next run's are the table."""
    first = run_stopped(large_site.tap(state_interval_rows=5000), Stop(signal.SIGKILL, after_lines=30_000))

    second = large_site.sync(state=first.state)

    before = _records_before_last_state(first.messages)
    assert 20_000 < len(before) < 50_000
    assert_same_rows([*before, *second.records("visits__visits")], records_of(_LARGE))
    assert _versions(first) == _versions(second)


def _assert_ended_well(done: Output, number: signal.Signals) -> None:
    """Check the exit code, the time, that each line is a message, and that STATE is last and says what is out."""
    assert done.exit_code == 128 + number
    assert done.seconds < _SOON
    assert "Traceback" not in done.stderr
    assert done.stdout.endswith(b"\n")
    assert done.messages[-1]["type"] == "STATE"
    assert sum(_offsets(done.messages[-1]).values()) == len(done.records("visits__visits"))


def _offsets(message: Json) -> dict[str, int]:
    """Return the offset of each read stream in a STATE message; nothing for other messages, or if none is read."""
    bookmark = message.get("value", {}).get("bookmarks", {}).get("visits__visits", {})
    streams = bookmark.get("reading", {}).get("streams", {})
    return {stream: position["offset"] for stream, position in streams.items()}


def _ids_by_stream(site: Site, messages: list[Json]) -> dict[str, list[int]]:
    """Ask the server which rows its read streams hold, in which order."""
    streams = {stream for message in messages for stream in _offsets(message)}
    return {stream: [row["id"] for row in _rows_of_stream(site, stream)] for stream in streams}


def _rows_of_stream(site: Site, stream: str) -> list[Json]:
    headers = {"Authorization": f"Bearer {site.token}"}
    body = requests.get(f"{site.endpoint}/readStreams/{stream}", headers=headers, timeout=30)
    rows: list[Json] = msgspec.json.Decoder().decode_lines(body.content)
    return rows


def _records_before_last_state(messages: list[Json]) -> list[Json]:
    last = max(number for number, message in enumerate(messages) if message["type"] == "STATE")
    return [message["record"] for message in messages[:last] if message["type"] == "RECORD"]


def _versions(done: Output) -> set[int]:
    return {message["version"] for message in done.messages if message["type"] == "RECORD"}
