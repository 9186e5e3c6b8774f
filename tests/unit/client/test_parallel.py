"""Calls side by side: their results in order, and whether one is under way."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator

import pytest

from tap_redivis.client.parallel import Workers

_PATIENCE = 10.0  # seconds


def test_results_come_in_the_order_of_the_arguments() -> None:
    """Whichever is ready first."""
    last_is_ready = threading.Event()

    def call(number: int) -> int:
        if number == 3:
            last_is_ready.set()
        assert last_is_ready.wait(_PATIENCE)
        return number * number

    assert list(Workers(4).map(call, [0, 1, 2, 3])) == [0, 1, 4, 9]


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

    workers = Workers(4)
    with pytest.raises(KeyError, match="1"):
        list(workers.map(call, range(1000)))
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
    workers = Workers(4)
    for _ in range(1000):
        begun = threading.Event()
        pending = workers.submit(begun.wait)
        assert workers.are_busy
        begun.set()

        pending.result()

        assert not workers.are_busy
