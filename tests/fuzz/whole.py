"""Whole runs of the tap on JSON that is changed by chance: in its files, or in what the server answers."""

from __future__ import annotations

import copy
import json
import os
import select
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests
from hypothesis import strategies as st

from redivis_emulator import DEFAULT_TOKEN, Emulator, RateLimit, Settings
from tests.fuzz.bodies import TABLE, Edit
from tests.fuzz.served import Answer, Asked, serving
from tests.support.pipes import Json, Output, Program, tap
from tests.support.running import forked
from tests.support.served import records_of, write_note, write_table

_ROWS = {json.dumps(record) for record in records_of(TABLE)}
_LIMIT_SECONDS = 60.0
_TIMEOUT = 30.0
_HEADERS = {"Authorization": f"Bearer {DEFAULT_TOKEN}"}
_TABLE_NOTE = {"description": "Awkward", "variables": {"id": {"label": "No"}}}
CONFIG: Json = {
    "datasets": ["demo.fuzz"],
    "max_streams": 2,
    "max_retry_seconds": 0.1,
    "request_timeout_seconds": 5,
    "row_key": False,
}


@dataclass
class Site:
    """An emulator behind a proxy that may change its answers.

    Attributes:
        endpoint: Where the proxy listens.
        files: Where config, catalog and state of the tap are written.
        token: What the tap is given.
        asked: All requests so far, by method and path.
        edits: What to change now, by method and path.
    """

    endpoint: str
    files: Path
    token: str = DEFAULT_TOKEN
    asked: set[tuple[str, str]] = field(default_factory=set, repr=False)
    edits: dict[tuple[str, str], Edit] = field(default_factory=dict)

    def tap(self, *arguments: str, config: Any = CONFIG, **files: Any) -> Program:
        """Describe a call of the tap, with a table of two read streams to read."""
        return tap(self, self.files, config, *arguments, **files)


@contextmanager
def served(folder: Path, **said: int) -> Iterator[Site]:
    """Serve a dataset with one table; its metadata may say something else than what is there."""
    write_table(folder / "served", "demo/fuzz/v1.0/t", TABLE)
    write_note(folder / "served", "demo/fuzz/dataset.yml", {"tables": {"t": {**_TABLE_NOTE, **said}}})
    files = folder / "files"
    files.mkdir()
    site = Site("", files)
    with (
        Emulator(folder / "served", rate_limit=RateLimit(10**9), settings=Settings(streams=2)) as emulator,
        requests.Session() as upstream,
        serving(lambda asked: _answer(site, emulator, upstream, asked)) as address,
    ):
        site.endpoint = f"{address}/api/v1"
        yield site


def _answer(site: Site, emulator: Emulator, upstream: requests.Session, asked: Asked) -> Answer:
    path = asked.path.removeprefix("/api/v1")
    url = f"{emulator.endpoint}{quote(path)}"
    sound = upstream.request(asked.method, url, params=asked.query, data=asked.body, headers=_HEADERS, timeout=_TIMEOUT)
    site.asked.add((asked.method, path))
    edit = site.edits.get((asked.method, path))
    return Answer(edit(sound.content) if edit else sound.content, sound.status_code)


def finished(program: Program) -> Output:
    """Run the tap to its end.

    Raises:
        AssertionError: It hangs.
    """
    until = time.monotonic() + _LIMIT_SECONDS
    written = bytearray()
    with forked(program) as process:
        while select.select([process.stdout], [], [], max(0.0, until - time.monotonic()))[0]:
            piece = os.read(process.stdout, 64 * 1024)
            if not piece:
                return process.end(bytes(written))
            written += piece
    raise AssertionError("the tap hangs")


def check(done: Output) -> None:
    """Check that a run ended well, or with clear words.

    Raises:
        AssertionError: It ended otherwise.
    """
    assert done.exit_code in {0, 1, 2}, done.stderr  # 2: of the command line
    assert "Traceback" not in done.stderr
    assert "please report it" not in done.stderr, done.stderr
    assert done.exit_code == 0 or "ERROR" in done.stderr or "Error" in done.stderr
    assert done.stdout == b"" or done.stdout.endswith(b"\n")


def check_rows(done: Output) -> None:
    """Check that each record is a row of the table, and in one version none comes twice.

    Raises:
        AssertionError: It is not.
    """
    rows = [(each["version"], json.dumps(each["record"])) for each in done.messages if each["type"] == "RECORD"]
    assert {row for _, row in rows} <= _ROWS
    assert len(set(rows)) == len(rows)


Change = Callable[[Any], Any]
"""Changes some JSON."""

_LEAVES = (
    st.none()
    | st.booleans()
    | st.sampled_from([-1, 0, 1, 2, 25, 2**31, 2**63, 2**64, -(2**63), 0.5, 1e308, float("nan"), float("inf")])
    | st.sampled_from(["", " ", "x", "*", "?", "..", "/", "a/b", "demo.fuzz", "demo.fuzz.t", "v1.0", "next", "\x00"])
    | st.sampled_from(
        ["\ud800", "é", "x" * 300, "{", "2020-01-01", "2026-11-20T12:00:00Z", "integer", "[", "%s", "null"]
    )
    | st.text(max_size=4)
)
JSON = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


def changes() -> st.SearchStrategy[Change]:
    """Choose a change of one place: another value, none, twice the same, or one more key."""
    return st.builds(_change, st.integers(0, 10_000), st.sampled_from(sorted(_KINDS)), JSON)


def _change(place: int, kind: str, value: Any) -> Change:
    def change(whole: Any) -> Any:
        root = [copy.deepcopy(whole)]
        all_places = list(places(root))
        container, key = all_places[place % len(all_places)]
        _KINDS[kind](container, key, value)
        return root[0] if root else None

    return change


def places(container: Any) -> Iterator[tuple[Any, Any]]:
    """Give each container with each of its keys, from the outermost on."""
    for key in range(len(container)) if isinstance(container, list) else list(container):
        yield container, key
        if isinstance(container[key], list | dict):
            yield from places(container[key])


def _replace(container: Any, key: Any, value: Any) -> None:
    container[key] = value


def _remove(container: Any, key: Any, _: Any) -> None:
    del container[key]


def _add(container: Any, key: Any, value: Any) -> None:
    if isinstance(container, list):
        container.insert(key, value)
    else:
        container[f"{key}{key}"] = value


def _repeat(container: Any, key: Any, _: Any) -> None:
    _add(container, key, copy.deepcopy(container[key]))


_KINDS = {"add": _add, "remove": _remove, "repeat": _repeat, "replace": _replace}
