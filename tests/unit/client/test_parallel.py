"""Calls side by side: their results in order, and never more at once than are allowed at the moment."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator

import pytest

from tap_redivis.client import parallel
from tap_redivis.client.parallel import Allowance, Workers
from tap_redivis.model.settings import MOST_PARALLEL_REQUESTS, PARALLEL_REQUESTS

_PATIENCE = 10.0  # seconds


def _workers(fewest: int = PARALLEL_REQUESTS, most: int = MOST_PARALLEL_REQUESTS) -> Workers:
    return Workers(Allowance(fewest, most), most)


# --- how many --------------------------------------------------------------------------------------------------------


def test_few_are_allowed_at_first() -> None:
    """redivis-api §1.7: 429s were met above four."""
    assert Allowance(PARALLEL_REQUESTS, MOST_PARALLEL_REQUESTS).now == PARALLEL_REQUESTS == 4


def test_more_are_allowed_while_all_is_well() -> None:
    """One more when as many as are allowed have gone well, up to the most."""
    allowance = Allowance(4, 6)
    seen = []
    for _ in range(20):
        allowance.grow()
        seen.append(allowance.now)

    assert seen[2:11] == [4, 4, 5, 5, 5, 5, 5, 6, 6]
    assert set(seen[9:]) == {6}


def test_after_a_complaint_the_fewest_are_allowed_for_good() -> None:
    allowance = Allowance(4, 16)
    for _ in range(100):
        allowance.grow()
    assert allowance.now > 10

    allowance.fall_back()
    assert allowance.now == 4

    for _ in range(100):
        allowance.grow()
    assert allowance.now == 4


def test_the_most_counts_where_it_is_less_than_the_fewest() -> None:
    allowance = Allowance(4, 1)
    allowance.grow()

    assert allowance.now == 1


@pytest.mark.parametrize(("fewest", "most", "growths"), [(1, 1, 0), (4, 16, 0), (4, 16, 100), (2, 3, 9)])
def test_no_more_calls_than_allowed_run_at_once(fewest: int, most: int, growths: int) -> None:
    """And as many as allowed do: each waits for all of these."""
    allowance = Allowance(fewest, most)
    for _ in range(growths):
        allowance.grow()
    allowed = allowance.now
    full, lock = threading.Barrier(allowed), threading.Lock()
    running = highest = 0

    def call(_number: int) -> None:
        nonlocal running, highest
        with lock:
            running += 1
            highest = max(highest, running)
        full.wait(_PATIENCE)
        with lock:
            running -= 1

    Workers(allowance, most).map(call, list(range(3 * allowed)))

    assert highest == allowed


def test_what_grows_counts_at_once() -> None:
    """A call that waits for room begins when another has ended and more are allowed by then."""
    allowance = Allowance(1, 2)
    workers = Workers(allowance, 2)
    both = threading.Barrier(2)
    first = workers.begin(allowance.grow)
    others = [workers.begin(lambda: both.wait(_PATIENCE)) for _ in range(2)]

    first.take()

    assert {other.take() for other in others} == {0, 1}


# --- results ---------------------------------------------------------------------------------------------------------


def test_results_come_in_the_order_of_the_arguments() -> None:
    """Whichever is ready first."""
    last_is_ready = threading.Event()

    def call(number: int) -> int:
        if number == 3:
            last_is_ready.set()
        assert last_is_ready.wait(_PATIENCE)
        return number * number

    assert _workers().map(call, [0, 1, 2, 3]) == [0, 1, 4, 9]


@pytest.mark.parametrize("arguments", [[], [7]])
def test_few_arguments_need_no_thread(arguments: list[int]) -> None:
    def call(number: int) -> tuple[int, threading.Thread]:
        return number, threading.current_thread()

    assert _workers().map(call, arguments) == [(number, threading.current_thread()) for number in arguments]


def test_the_first_error_is_raised_and_what_has_not_begun_does_not_begin() -> None:
    """The first in the arguments' order, whichever comes first."""
    called, later_failed, may_go_on = [], threading.Event(), threading.Event()

    def call(number: int) -> None:
        called.append(number)
        if number == 1:
            assert later_failed.wait(_PATIENCE)
            raise KeyError(number)
        if number == 3:
            later_failed.set()
            raise KeyError(number)
        if number > 3:
            assert may_go_on.wait(_PATIENCE)

    workers = _workers(fewest=4, most=4)
    with pytest.raises(KeyError, match="1"):
        workers.map(call, list(range(1000)))
    may_go_on.set()

    while workers.are_busy:
        time.sleep(0)
    assert len(called) < 10


@pytest.fixture
def _restless() -> Iterator[None]:
    """Let threads change as often as they can: what happens between two of their steps shows."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("_restless")
def test_who_takes_the_last_result_finds_nobody_at_work() -> None:
    """The process may be forked then."""
    workers = _workers()
    for _ in range(1000):
        begun = threading.Event()
        pending = workers.begin(begun.wait)
        assert workers.are_busy
        begun.set()

        pending.take()

        assert not workers.are_busy


def test_threads_end_when_there_is_nothing_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """And others begin when there is again."""
    monkeypatch.setattr(parallel, "_IDLE_SECONDS", 0.01)
    workers = _workers()
    for _ in range(3):
        threads = {workers.begin(threading.current_thread).take() for _ in range(8)}
        for thread in threads:
            thread.join(_PATIENCE)
        assert not any(thread.is_alive() for thread in threads)
