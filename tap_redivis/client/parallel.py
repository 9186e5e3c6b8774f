"""Calls side by side in threads, as many at once as the server puts up with."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Generic, TypeVar

_IDLE_SECONDS = 2.0

T = TypeVar("T")
Argument = TypeVar("Argument")


class Allowance:
    """How many calls may be under way at once: a few at first, more while all is well, the few again after a complaint.

    Args:
        fewest: What is allowed always.
        most: What is allowed at most.
    """

    def __init__(self, fewest: int, most: int) -> None:
        self._lock = threading.Lock()
        self._fewest = min(fewest, most)
        self._most = most
        self._now = float(self._fewest)

    @property
    def now(self) -> int:
        """How many are allowed now."""
        return int(self._now)

    def grow(self) -> None:
        """All went well once: one more is allowed when as many as now have gone well."""
        with self._lock:
            self._now = min(self._now + 1 / self._now, self._most)

    def fall_back(self) -> None:
        """It was too much: allow the fewest from now on."""
        with self._lock:
            self._most = self._fewest
            self._now = float(self._fewest)


class Pending(Generic[T]):
    """A call that is under way, or waits for its turn.

    Args:
        call: What to do.
    """

    def __init__(self, call: Callable[[], T]) -> None:
        self._call: Callable[[], T] | None = call
        self._result: T | None = None
        self._error: BaseException | None = None
        self._ended: queue.SimpleQueue[None] = queue.SimpleQueue()

    def run(self) -> None:
        """Make the call; what it raises is raised where the result is taken."""
        call, self._call = self._call, None
        assert call is not None  # noqa: S101 - it runs once
        try:
            self._result = call()
        except BaseException as error:  # noqa: BLE001 - it is raised again in the thread that takes the result
            self._error = error

    def hand_over(self) -> None:
        """Let the result be taken."""
        self._ended.put(None)

    def take(self) -> T:
        """Wait for the result and take it, once.

        Raises:
            BaseException: What the call raised.
        """
        self._ended.get()
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value] # there was no error


class Workers:
    """Threads that make calls; they end when there have been none for a while.

    Args:
        allowance: How many calls may be under way at once.
        most: Threads at most.
    """

    def __init__(self, allowance: Allowance, most: int) -> None:
        self._allowance = allowance
        self._most = most
        self._change = threading.Condition()
        self._waiting: deque[Pending[Any]] = deque()
        self._busy = 0
        self._threads = 0

    @property
    def are_busy(self) -> bool:
        """Whether a call is under way or waits; else the threads hold nothing, and the process may be forked."""
        with self._change:
            return self._busy > 0 or len(self._waiting) > 0

    def begin(self, call: Callable[[], T]) -> Pending[T]:
        """Let a call be made as soon as there is room for it."""
        pending = Pending(call)
        with self._change:
            self._waiting.append(pending)
            is_short = self._threads < min(self._most, self._busy + len(self._waiting))
            self._threads += is_short
            self._change.notify()
        if is_short:
            threading.Thread(target=self._make_calls, daemon=True).start()
        return pending

    def forget(self, calls: Iterable[Pending[Any]]) -> None:
        """Do not begin with calls that still wait."""
        unwanted = set(calls)
        with self._change:
            self._waiting = deque(each for each in self._waiting if each not in unwanted)

    def map(self, call: Callable[[Argument], T], arguments: Sequence[Argument]) -> list[T]:
        """Call for all arguments.

        Returns:
            The results in the arguments' order.

        Raises:
            Exception: What the first of them raised, in their order.
        """
        if len(arguments) == 1:
            return [call(arguments[0])]
        calls = [self.begin(partial(call, argument)) for argument in arguments]
        try:
            return [each.take() for each in calls]
        finally:  # a signal or an error must not wait for the others
            self.forget(calls)

    def _make_calls(self) -> None:
        """Be a thread: make calls as long as there are some."""
        while (call := self._next()) is not None:
            call.run()
            with self._change:
                self._busy -= 1
                self._change.notify()
            call.hand_over()  # who takes the last result finds no thread at work
            del call  # its result may be large, and the next may be long in coming

    def _next(self) -> Pending[Any] | None:
        with self._change:
            while not self._waiting or self._busy >= self._allowance.now:
                if not self._change.wait(_IDLE_SECONDS) and not self._waiting:
                    self._threads -= 1
                    return None
            self._busy += 1
            return self._waiting.popleft()
