"""The lines that say how far a table is, where there is no terminal."""

from __future__ import annotations

import logging

import pytest

from tap_redivis.runtime import progress
from tap_redivis.runtime.progress import Result, display, show_tables, summarize


@pytest.mark.parametrize(
    ("expected", "words"), [(1000, "250 of 1000 rows (25 %), 5.0 MB/s"), (None, "250 rows, 5.0 MB/s")]
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
            shown.show(received, 50_000_000, 0)

    assert [(record.name, record.getMessage()) for record in caplog.records] == [("tap-redivis.visits", words)]


def test_the_summary_tells_what_became_of_the_tables(caplog: pytest.LogCaptureFixture) -> None:
    """What the table on a terminal tells: a line for each, and the sums."""
    caplog.set_level(logging.INFO)
    loaded = Result("a", "v1.0", "full", "loaded", rows=10, bytes=1_500_000, seconds=1.0)
    again = Result("b", "v1.0", "resumed", "loaded", rows=10, bytes=1_500_000, seconds=1.0, resumes=2)

    summarize([loaded, again, Result("c", outcome="unchanged", rows=99), Result("d", bytes=500_000, seconds=0.5)])

    assert [record.getMessage() for record in caplog.records] == [
        "a: loaded; version v1.0, mode full, 10 rows, 1.5 MB, 1.0 s, 0 resumes",
        "b: loaded; version v1.0, mode resumed, 10 rows, 1.5 MB, 1.0 s, 2 resumes",
        "c: unchanged; version -, mode -, 99 rows, 0.0 MB, 0.0 s, 0 resumes",
        "d: failed; version -, mode -, 0 rows, 0.5 MB, 0.5 s, 0 resumes",
        "4 tables: 1 failed, 2 loaded, 1 unchanged; 20 rows loaded, 3.5 MB received, 2.5 s",
    ]


def test_a_run_without_tables_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    summarize([])

    assert not caplog.records


def test_names_of_the_server_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing in them steers the terminal, or is taken for marks of the library that draws the table."""
    show_tables([("s", "demo.[red]x[/b]\x1b[2J\u202e:wave:", "1", "2", "3", "readable", "yes")])

    assert r"demo.[red]x[/b]\x1b[2J\u202e:wave:" in capsys.readouterr().out
