"""The lines that say how far a table is, where there is no terminal."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from tap_redivis.runtime import progress
from tap_redivis.runtime.progress import Received, Result, display, show_result, show_tables, summarize


@pytest.mark.parametrize(
    ("expected", "words"), [(1000, "visits: 250 of 1,000 rows (25 %), 5.0 MB/s"), (None, "visits: 250 rows, 5.0 MB/s")]
)
def test_a_line_every_five_seconds(
    expected: int | None, words: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Not more often; the rate is that of the whole reading."""
    caplog.set_level(logging.INFO)
    clock = iter([0.0, 4.9, 10.0, 14.9])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))

    with display("visits", expected, 4) as shown:
        for received in (100, 250, 500):
            shown.show(received, Received(bytes=50_000_000))

    assert [(record.name, record.getMessage()) for record in caplog.records] == [("tap-redivis", words)]


_LOADED = Result(
    "a",
    "v1.0",
    "full",
    "loaded",
    "first load",
    1000,
    Received(bytes=1_500_000),
    1.0,
    proof="proved by the count: 1,000 rows",
)
_LINES = [
    (_LOADED, "a: loaded 1,000 rows of v1.0 (first load), 1.5 MB, 1.0 s; proved by the count: 1,000 rows"),
    (
        replace(_LOADED, version="", received=Received(1_500_000, resumes=1), proof=""),
        "a: loaded 1,000 rows (first load), 1.5 MB, 1.0 s, 1 resume",
    ),
    (
        replace(_LOADED, received=Received(resumes=2), proof=""),
        "a: loaded 1,000 rows of v1.0 (first load), 1.0 s, 2 resumes",
    ),
    (Result("c", outcome="unchanged", reason="unchanged since yesterday", rows=9), "c: unchanged since yesterday"),
    (Result("d", outcome="left out", reason="a map removes all"), "d: left out: a map removes all"),
]


@pytest.mark.parametrize(("result", "words"), _LINES)
def test_each_table_has_a_line_at_its_end(result: Result, words: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    show_result(result)

    assert [record.getMessage() for record in caplog.records] == [words]


def test_what_failed_has_its_error_and_no_other_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    for outcome in ("failed", "stopped"):
        show_result(Result("a", outcome=outcome))

    assert not caplog.records


def test_the_summary_has_the_sums(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    summarize(
        [
            _LOADED,
            _LOADED,
            Result("c", outcome="unchanged", rows=99),
            Result("d", received=Received(bytes=500_000), seconds=0.5),
        ]
    )

    assert [record.getMessage() for record in caplog.records] == [
        "4 tables: 1 failed, 2 loaded, 1 unchanged; 2,000 rows loaded, 3.5 MB received, 2.5 s",
    ]


def test_a_run_without_tables_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    summarize([])

    assert not caplog.records


def test_names_of_the_server_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing in them steers the terminal, or is taken for marks of the library that draws the table."""
    show_tables([("s", "demo.[red]x[/b]\x1b[2J\u202e:wave:", "1", "2", "3", "readable", "yes")])

    assert r"demo.[red]x[/b]\x1b[2J\u202e:wave:" in capsys.readouterr().out
