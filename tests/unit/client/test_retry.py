"""How long the server asks to wait is read in every spelling; how long we go on is a budget."""

from __future__ import annotations

import time
from collections.abc import Iterator
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_redivis.client.retry import (
    LONGEST_BACKOFF,
    LONGEST_WAIT,
    BrokenAnswer,
    RetryBudget,
    TransientError,
    Watch,
    retry_after,
)

_NOW = 1_800_000_000.0
_WAITS = st.floats(0, 100)


class _Clock:
    """Seconds that grow only when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def far_from_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The local time zone is not UTC."""
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    "spelling",
    ["30", "30.0", " 30 ", str(_NOW + 30), "1800000030", str(int(_NOW + 30) * 1000), formatdate(_NOW + 30, usegmt=True),
     "Fri, 15 Jan 2027 08:00:30 -0000", "Friday, 15-Jan-27 08:00:30 GMT", "Fri Jan 15 08:00:30 2027"],
)  # fmt: skip
@pytest.mark.usefixtures("far_from_utc")
def test_thirty_seconds_in_every_spelling(spelling: str) -> None:
    """Delta seconds, epoch seconds, epoch milliseconds, and the three forms of HTTP dates, which are always UTC."""
    assert retry_after({"Retry-After": spelling}, _NOW) == pytest.approx(30.0)


@given(_WAITS)
def test_the_three_kinds_of_numbers_mean_the_same(seconds: float) -> None:
    spellings = [f"{seconds:.3f}", f"{_NOW + seconds:.3f}", f"{(_NOW + seconds) * 1000:.0f}"]

    assert [pytest.approx(seconds, abs=0.01)] * 3 == [retry_after({"Retry-After": text}, _NOW) for text in spellings]


@pytest.mark.parametrize("spelling", ["0", str(_NOW - 5), "0.0", formatdate(0, usegmt=True)])
def test_a_moment_that_has_passed_is_no_wait(spelling: str) -> None:
    assert retry_after({"Retry-After": spelling}, _NOW) == 0.0


@pytest.mark.parametrize("spelling", ["3600", str(_NOW + 1e7), "1e14", formatdate(_NOW + 86400)])
def test_long_waits_are_capped(spelling: str) -> None:
    assert retry_after({"Retry-After": spelling}, _NOW) == LONGEST_WAIT


@pytest.mark.parametrize("spelling", ["", "soon", "-5", "nan", "inf", "-inf", "Fri, 32 Jan 2027 08:00:30 GMT"])
def test_what_cannot_be_read_is_no_answer(spelling: str) -> None:
    assert retry_after({"Retry-After": spelling}, _NOW) is None


def test_the_rate_limit_counts_where_there_is_no_other_answer() -> None:
    """redivis-api §1.7: fall back to X-Ratelimit-Reset."""
    assert retry_after({"X-Ratelimit-Reset": str(int(_NOW) + 12)}, _NOW) == 12.0
    assert retry_after({"Retry-After": "soon", "X-Ratelimit-Reset": str(int(_NOW) + 12)}, _NOW) == 12.0


def test_the_explicit_answer_counts_more_than_the_rate_limit() -> None:
    assert retry_after({"Retry-After": "3", "X-Ratelimit-Reset": str(int(_NOW) + 12)}, _NOW) == 3.0


@given(st.text() | st.from_regex(r"[A-Za-z]{3}, \d{1,2} [A-Za-z]{3} \d{1,5} [0-9:]{1,9} ([+-]\d{1,6}|[A-Z]{3})"))
def test_any_header_is_a_wait_within_bounds_or_none(text: str) -> None:
    """A server's nonsense is never a crash."""
    wait = retry_after({"Retry-After": text}, _NOW)

    assert wait is None or 0 <= wait <= LONGEST_WAIT


@given(st.floats(0, 1000), st.lists(st.none() | st.floats(0, 130), min_size=30, max_size=60))
def test_all_waits_together_fit_into_the_budget(seconds: float, asked: list[float | None]) -> None:
    """Each wait ends within the budget, or there is none."""
    clock = _Clock()
    budget = RetryBudget(seconds, clock)

    for wait in asked:
        delay = budget.next_delay(wait)
        if delay is None:
            break
        clock.now += delay

    assert clock.now <= 1000.0 + seconds


@given(st.integers(1, 20))
def test_our_own_waits_grow_to_a_cap(failures: int) -> None:
    """Exponential with full jitter: the n-th wait is at most 2ⁿ⁻² seconds."""
    budget = RetryBudget(1e9, _Clock())

    delays = [budget.next_delay() for _ in range(failures)]

    for number, delay in enumerate(delays):
        assert delay is not None
        assert 0 <= delay <= min(0.5 * 2**number, LONGEST_BACKOFF)


@given(_WAITS)
def test_what_the_server_asks_is_waited_at_least(asked: float) -> None:
    """And at most a second longer, so that parallel streams do not come back at one moment."""
    delay = RetryBudget(1e9, _Clock()).next_delay(asked)

    assert delay is not None
    assert asked <= delay <= asked + 1.0


@pytest.mark.parametrize("asked", [None, 3.0])
def test_streams_that_break_at_one_moment_come_back_at_many(asked: float | None) -> None:
    """Full jitter: spread over all of the half second that the first wait may take, after what the server asks."""
    delays = [RetryBudget(1e9, _Clock()).next_delay(asked) or 0.0 for _ in range(200)]

    assert len(set(delays)) == 200
    assert min(delays) < (asked or 0.0) + 0.05
    assert max(delays) > (asked or 0.0) + 0.45


def test_a_wait_beyond_the_budget_is_not_begun() -> None:
    assert RetryBudget(5.0, _Clock()).next_delay(6.0) is None


def test_a_budget_of_nothing_is_used_up_at_once() -> None:
    clock = _Clock()
    budget = RetryBudget(0.0, clock)
    clock.now += 1.0

    assert budget.next_delay(0.1) is None


def test_the_budget_begins_with_the_first_failure() -> None:
    """Time that passed without failures does not count."""
    clock = _Clock()
    budget = RetryBudget(10.0, clock)
    clock.now += 3600.0

    assert budget.next_delay(5.0) is not None


def test_the_budget_ends_though_each_wait_is_short() -> None:
    clock = _Clock()
    budget = RetryBudget(10.0, clock)
    budget.next_delay()
    clock.now += 10.1

    assert budget.next_delay() is None


def test_progress_starts_the_budget_again() -> None:
    clock = _Clock()
    budget = RetryBudget(10.0, clock)
    budget.next_delay()
    clock.now += 10.1

    budget.progress()

    first = budget.next_delay()
    assert first is not None
    assert first <= 0.5


# --- bodies that are open, and give next to nothing ------------------------------------------------------------------


def _timed(clock: _Clock, pieces: list[tuple[float, int]]) -> Iterator[bytes]:
    """Give pieces, each so many bytes after so many seconds."""
    for seconds, size in pieces:
        clock.now += seconds
        yield b"x" * size


def _watched(pieces: list[tuple[float, int]], seconds: float = 10.0) -> int:
    """Count the pieces that pass before a failure, or all."""
    clock, passed = _Clock(), 0
    try:
        for _ in Watch(seconds, clock).over(_timed(clock, pieces)):
            passed += 1
    except TransientError:
        return passed
    return passed


def test_a_trickle_is_a_failure_when_its_time_is_over() -> None:
    assert _watched([(1.0, 1)] * 100) == 10


def test_a_body_that_is_slow_but_steady_passes() -> None:
    """A kilobyte a second is little, and not next to nothing."""
    assert _watched([(1.0, 1100)] * 1000) == 1000


def test_a_trickle_after_a_fast_part_is_a_failure_too() -> None:
    """However much came before."""
    assert _watched([(0.01, 10**6)] * 1000 + [(1.0, 1)] * 100) < 1000 + 25


def test_bytes_that_are_steady_and_no_row_are_a_failure() -> None:
    """Fast enough to be no trickle, but not for longer than a row may be awaited."""
    clock = _Clock()

    with pytest.raises(BrokenAnswer, match="60,000 bytes, and no row in them"):
        list(Watch(10.0, clock, for_a_row=11.0).over(_timed(clock, [(1.0, 5000)] * 100)))


def test_time_in_which_nobody_took_rows_does_not_count() -> None:
    """The reader of our output may be slow; whoever waits for him starts the watch again."""
    clock = _Clock()
    watch = Watch(10.0, clock)
    passed = 0
    for _ in watch.over(_timed(clock, [(1.0, 1)] * 100)):
        clock.now += 60.0
        watch.restart()
        passed += 1

    assert passed == 100
