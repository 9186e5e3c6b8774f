"""Threads that make calls side by side."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar
from weakref import WeakSet

T = TypeVar("T")


class Workers(ThreadPoolExecutor):
    """A thread pool that knows whether it is at work: a process that is forked meanwhile would keep locked locks.

    Args:
        most: Threads at most.
    """

    def __init__(self, most: int) -> None:
        super().__init__(most)
        self._begun: WeakSet[Future[Any]] = WeakSet()

    @property
    def are_busy(self) -> bool:
        """Whether a call is under way or waits."""
        return not all(future.done() for future in self._begun)

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:  # noqa: ANN401 - as it is there
        """Begin with a call as soon as a thread is free."""
        future = super().submit(fn, *args, **kwargs)
        self._begun.add(future)
        return future
