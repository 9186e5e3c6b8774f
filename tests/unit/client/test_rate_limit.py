"""Never more requests at once than are allowed at the moment, and none while the rate limit is used up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from tap_redivis.client.rate_limit import ConcurrencyLimit
from tap_redivis.model.settings import MOST_PARALLEL_REQUESTS, PARALLEL_REQUESTS

_PATIENCE = 10.0  # seconds


def _grown(limit: ConcurrencyLimit, growths: int) -> ConcurrencyLimit:
    for _ in range(growths):
        limit.grow()
    return limit


def _in_threads(number: int, call: Callable[[], None]) -> list[threading.Thread]:
    threads = [threading.Thread(target=call) for _ in range(number)]
    for thread in threads:
        thread.start()
    return threads


# --- how many --------------------------------------------------------------------------------------------------------


def test_few_are_allowed_at_first() -> None:
    """redivis-api §1.7: 429s were met above four."""
    assert ConcurrencyLimit(PARALLEL_REQUESTS, MOST_PARALLEL_REQUESTS).now == PARALLEL_REQUESTS == 4


def test_more_are_allowed_while_all_is_well() -> None:
    """One more when as many as are allowed have gone well, up to the most."""
    limit = ConcurrencyLimit(4, 6)
    seen = []
    for _ in range(20):
        limit.grow()
        seen.append(limit.now)

    assert seen[2:11] == [4, 4, 5, 5, 5, 5, 5, 6, 6]
    assert set(seen[9:]) == {6}


def test_after_a_complaint_the_fewest_are_allowed_for_good() -> None:
    limit = ConcurrencyLimit(4, 16)
    for _ in range(100):
        limit.grow()
    assert limit.now > 10

    limit.fall_back()
    assert limit.now == 4

    for _ in range(100):
        limit.grow()
    assert limit.now == 4


def test_the_most_counts_where_it_is_less_than_the_fewest() -> None:
    limit = ConcurrencyLimit(4, 1)
    limit.grow()

    assert limit.now == 1


@pytest.mark.parametrize(("fewest", "most", "growths"), [(1, 1, 0), (4, 16, 0), (4, 16, 100), (2, 3, 9)])
def test_no_more_requests_than_allowed_are_under_way(fewest: int, most: int, growths: int) -> None:
    """And as many as allowed are: each waits for all of these."""
    limit = _grown(ConcurrencyLimit(fewest, most), growths)
    allowed = limit.now
    full, lock = threading.Barrier(allowed), threading.Lock()
    running = highest = 0

    def ask() -> None:
        nonlocal running, highest
        with limit.request():
            with lock:
                running += 1
                highest = max(highest, running)
            full.wait(_PATIENCE)
            with lock:
                running -= 1

    for thread in _in_threads(3 * allowed, ask):
        thread.join(_PATIENCE)

    assert highest == allowed
    assert not full.broken


def test_what_grows_counts_at_once() -> None:
    """A request that waits begins when more are allowed."""
    limit = ConcurrencyLimit(1, 2)
    both, passed = threading.Barrier(2), []

    def ask() -> None:
        with limit.request():
            both.wait(_PATIENCE)
            passed.append(1)

    with limit.request() as note:
        threads = _in_threads(2, ask)
        note(200, {})
    for thread in threads:
        thread.join(_PATIENCE)

    assert passed == [1, 1]


# --- pauses ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("under_way", "pauses"), [(9, 0), (10, 1)])
def test_requests_pause_while_others_may_use_up_what_is_left(waits: list[float], under_way: int, pauses: int) -> None:
    """An answer's count is older than the requests that were under way when it came."""
    headers = {"X-Ratelimit-Remaining": "9", "X-Ratelimit-Reset": str(time.time() + 30)}
    limit = _grown(ConcurrencyLimit(4, 16), 100)
    with ExitStack() as requests:
        notes = [requests.enter_context(limit.request()) for _ in range(under_way)]
        notes[0](429, headers)

    with limit.request():
        pass

    assert waits == [pytest.approx(30, abs=5)] * pauses


@pytest.mark.parametrize(("most", "remaining", "pauses"), [(4, 4, 1), (4, 5, 0), (1, 4, 1), (1, 5, 0)])
def test_requests_pause_while_as_many_are_left_as_may_be_under_way(
    waits: list[float], most: int, remaining: int, pauses: int
) -> None:
    """Other processes may use the same token, also where this one asks for one thing after another."""
    limit = ConcurrencyLimit(4, most)
    with limit.request() as note:
        note(200, {"X-Ratelimit-Remaining": str(remaining), "X-Ratelimit-Reset": str(time.time() + 30)})

    with limit.request():
        pass

    assert len(waits) == pauses
