"""Counts that the threads of one table share."""

from __future__ import annotations

from tap_redivis.reading.jobs import RowBudget
from tap_redivis.reading.read_stream import ReadProgress
from tap_redivis.runtime.progress import Received
from tap_redivis.wire.rows import JsonRows


def _rows(count: int) -> JsonRows:
    return JsonRows(count, b"{}\n" * count)


def test_read_streams_share_what_is_allowed() -> None:
    """More rows than are allowed are neither in a message nor in a file, which cannot be cut."""
    budget = RowBudget(5)

    taken = [budget.take(_rows(count)).count for count in (3, 3, 1)]

    assert (taken, budget.is_used_up) == ([3, 2, 0], True)


def test_without_a_limit_all_rows_are_taken() -> None:
    budget = RowBudget(None)

    assert (budget.take(_rows(3)).count, budget.is_used_up) == (3, False)


def test_bytes_and_resumes_add_up() -> None:
    progress = ReadProgress()

    progress.add(Received(bytes=3))
    progress.add(Received(bytes=4, resumes=1))

    assert (progress.received, progress.rows) == (Received(bytes=7, resumes=1), 0)
