"""Memory is looked for before what would not say that there is none, but crash, or wait for ever.

C libraries crash while they are imported. ``Thread.start`` waits for ever for a thread that has no room for its first
objects.
"""

import mmap
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

_THREAD_BYTES = 16 * 1024 * 1024  # address space: a stack, usually of 8 MiB, and some to begin with

P = ParamSpec("P")
T = TypeVar("T")


class ThreadPool(ThreadPoolExecutor):
    """A pool of threads; ``submit`` and ``map`` raise a ``MemoryError`` where a thread would have no room."""

    def submit(self, call: Callable[P, T], /, *args: P.args, **keywords: P.kwargs) -> Future[T]:
        """Let a thread call something."""
        require_room(_THREAD_BYTES)
        return super().submit(call, *args, **keywords)


def start_thread(call: Callable[..., object], *args: Any) -> None:  # noqa: ANN401 - those of the call
    """Start a thread that does not keep the process alive; a ``MemoryError`` says that it would have no room."""
    require_room(_THREAD_BYTES)
    threading.Thread(target=call, args=args, daemon=True).start()


def require_room(size: int) -> None:
    """Raise a ``MemoryError`` if a number of bytes cannot be had."""
    try:
        mmap.mmap(-1, size).close()
    except OSError:
        raise MemoryError from None
