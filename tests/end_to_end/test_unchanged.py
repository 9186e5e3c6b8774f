"""A scheduled run over many tables of which none changed: what it costs, also with the state of an older version."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import pytest

from redivis_emulator import DEFAULT_TOKEN, Emulator, Fault
from tests.end_to_end.conftest import UNLIMITED
from tests.support.pipes import Json, run
from tests.support.served import Site, assert_same_rows, records_of, visits, write_note, write_table

_DATASETS, _TABLES = 4, 25
_WAYS: list[Json] = [
    {"datasets": [f"demo.set{number}" for number in range(_DATASETS)]},
    {"datasets": ["demo.set*"]},
    {"tables": [f"demo.set{number}.t{table}" for number in range(_DATASETS) for table in range(_TABLES)]},
    {"tables": [f"demo.set{number}.t*" for number in range(_DATASETS)]},
]


def test_two_requests_a_dataset_are_enough(tmp_path: Path) -> None:
    """The dataset, which has the version, and its tables; none for variables, and none for data."""
    folder, files = tmp_path / "served", tmp_path / "files"
    files.mkdir()
    for number in range(_DATASETS):
        for table in range(_TABLES):
            write_table(folder, f"demo/set{number}/v1.0/t{table}", visits(5))
    with Emulator(folder, rate_limit=UNLIMITED) as emulator:
        site = Site(emulator, folder, files, DEFAULT_TOKEN)
        catalog = {"streams": list(site.discover(**_WAYS[0]).values())}
        state = site.sync(catalog=catalog, **_WAYS[0]).state
        assert len(state["bookmarks"]) == _DATASETS * _TABLES
        for way in _WAYS:
            emulator.forget_requests()

            done = site.sync(catalog=catalog, state=state, **way)

            assert done.state == state
            assert len(emulator.requests) <= 2 * _DATASETS
            assert not [request for request in emulator.requests if request.method != "GET"]
            assert not site.asked("data", "variables", "/queries")


_DIGEST = "9ee5b94735618546"
_COMPLETE: Json = {
    "study__result": {
        "table": "demo.study:6f0b.result:5trk",
        "hash": "0123456789abcdef0123456789abcdef",
        "updated_at": 1763820000000,
        "rows": 10,
        "selection": _DIGEST,
        "completed_at": "2025-11-24T03:41:29Z",
        "table_version": 1763955689,
    },
    "visits__visits": {
        "table": "demo.visits:69w6:v1_0.visits:22oh",
        "version_tag": "v1.0",
        "hash": "432b003da372097382d1ae20181f7295",
        "rows": 1200,
        "selection": _DIGEST,
        "completed_at": "2025-11-24T03:41:29Z",
        "table_version": 1763955689,
    },
}
"""Bookmarks as the first version of the tap wrote them, word for word."""

_UNDER_WAY: Json = {
    "wire_format": "jsonl",
    "fingerprint": "600fe802a36ceefe",
    "version_tag": "v1.0",
    "table_version": 1763955689,
    "expected_rows": 1200,
}
"""What it wrote of a load under way, but for what is the session's own."""


@pytest.fixture(name="old")
def serve_what_the_first_version_loaded(tmp_path: Path) -> Iterator[Site]:
    folder, files = tmp_path / "served", tmp_path / "files"
    files.mkdir()
    write_table(folder, "demo/visits/v1.0/visits", visits(1200))
    note = {
        "name": "study",
        "tables": {"result": {"hash": "0123456789abcdef0123456789abcdef", "updated_at": 1763820000000}},
    }
    write_note(folder, "demo/study/workflow.yml", note)
    write_table(folder, "demo/study/result", visits(10))
    with Emulator(folder, rate_limit=UNLIMITED) as emulator:
        yield Site(emulator, folder, files, DEFAULT_TOKEN)


_BOTH: Json = {"datasets": ["demo.visits"], "workflows": ["demo.study"]}


def test_what_the_first_version_loaded_is_not_read_again(old: Site) -> None:
    done = old.sync(state={"bookmarks": deepcopy(_COMPLETE)}, **_BOTH)

    assert done.state == {"bookmarks": _COMPLETE}
    assert not old.asked("data")


def test_what_the_first_version_began_is_resumed(old: Site) -> None:
    """In its session, from its offsets, under its version."""
    interrupted, rows = _interrupted(old)
    old.emulator.forget_requests()

    done = old.sync(state={"bookmarks": {"visits__visits": interrupted}})

    assert not old.asked("/readSessions")
    assert_same_rows([*rows, *done.records("visits__visits")], records_of(visits(1200)))
    assert done.state["bookmarks"]["visits__visits"]["table_version"] == 1763955689


def test_what_the_first_version_loaded_gets_a_row_key_by_being_read_anew(old: Site) -> None:
    """Under a higher version, so that the rows without the key go."""
    done = old.sync(state={"bookmarks": deepcopy(_COMPLETE)}, row_key=True, **_BOTH)

    for stream, before in _COMPLETE.items():
        assert len(done.records(stream)) == before["rows"]
        assert done.state["bookmarks"][stream]["table_version"] > before["table_version"]


def _interrupted(site: Site) -> tuple[Json, list[Json]]:
    """Begin a load, break it, and tell of it as the first version did."""
    site.emulator.faults.add(
        Fault(kind="close", path="/readStreams/*", at_row=300),
        Fault(kind="status", path="/readStreams/*", nth=2, times=None),
    )
    done = run(site.tap(max_retry_seconds=0.01))
    site.emulator.faults.clear()
    reading = done.state["bookmarks"]["visits__visits"]["reading"]
    streams = {
        stream: {key: position[key] for key in ("offset", "done", "last")}
        for stream, position in reading["streams"].items()
    }
    own = {"session": reading["session"], "opened_at": reading["opened_at"], "streams": streams}
    return {"reading": {**own, **_UNDER_WAY}}, done.records("visits__visits")
