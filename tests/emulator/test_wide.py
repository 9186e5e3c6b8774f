"""Tables of thousands of columns: the work grows with the number of columns, not with its square."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.emulator.conftest import Client, write

_NARROW, _WIDE = 500, 4000
# Few enough for one block of either table (sessions.View.block_rows): two blocks cost twice as much.
_ROWS = 16
# Eight times the columns may take eight times as long, and some more on a busy machine; the square is 64 times.
_AT_MOST = 20

_TABLE = "/tables/acme.wide_{n}.wide"


def _rows(form: str) -> Callable[[Client, int], object]:
    return lambda client, n: client.get(f"{_TABLE.format(n=n)}/rows", format=form)


def _stream(form: str) -> Callable[[Client, int], object]:
    names = [f"c{i}" for i in range(_WIDE)]
    return lambda client, n: client.stream(
        client.session(f"acme.wide_{n}.wide", format=form, selectedVariables=names[:n])
    )


def _query(text: str) -> Callable[[Client, int], object]:
    def run(client: Client, n: int) -> object:
        names = ", ".join(f"c{i}" for i in range(n))
        calls = ", ".join(f"UPPER(c{i})" for i in range(n))
        query = client.query(text.format(n=n, names=names, calls=calls))
        assert query["status"] == "completed"
        return client.get(f"{query['uri']}/rows")

    return run


WORK: dict[str, Callable[[Client, int], object]] = {
    "jsonl": _rows("jsonl"),
    "csv": _rows("csv"),
    "arrow": _rows("arrow"),
    "stream": _stream("csv"),
    "absent nulls": lambda client, n: client.get(f"/tables/acme.absent_{n}.wide/rows"),
    "variables": lambda client, n: client.get(f"{_TABLE.format(n=n)}/variables", maxResults=10_000),
    "statistics": lambda client, n: client.get(f"{_TABLE.format(n=n)}/variables/c{n - 1}/statistics"),
    "all of a query": _query("SELECT * FROM `acme.wide_{n}.wide`"),
    "names of a query": _query("SELECT {names} FROM `acme.wide_{n}.wide`"),
    "calls of a query": _query("SELECT {calls} FROM `acme.wide_{n}.wide`"),
    "upload": lambda client, n: client.get(f"/uploads/acme.draft_{n}:next.wide.part_csv/rows"),
    "draft": lambda client, n: client.session(f"acme.draft_{n}:next.wide"),
}


@pytest.mark.parametrize("kind", WORK)
def test_work_grows_with_the_columns(folder: Path, client: Client, kind: str) -> None:
    """By the processor time of emulator and client together: the machine may be busy with other tests."""
    for n in (_NARROW, _WIDE):
        names = [f"c{i}" for i in range(n)]
        csv = "\n".join([",".join(names), *[",".join(f"{row} {i}" for i in range(n)) for row in range(_ROWS)], ""])
        for path in (f"wide_{n}/wide.csv", f"absent_{n}/wide.csv", f"draft_{n}/next/wide/part.csv"):
            write(folder, f"acme/{path}", csv)
        write(folder, f"acme/absent_{n}/dataset.yml", "tables: {wide: {jsonl_nulls: absent}}")
    client.emulator.reload()
    narrow = _cost(client, kind, _NARROW)
    assert _cost(client, kind, _WIDE) < _AT_MOST * narrow


def _cost(client: Client, kind: str, n: int) -> float:
    """The least of several runs: the first one imports modules, and any may be disturbed."""
    seconds = []
    for _ in range(3):
        begin = time.process_time()
        WORK[kind](client, n)
        seconds.append(time.process_time() - begin)
    return min(seconds)
