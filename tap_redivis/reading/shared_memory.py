"""Memory that a forked process fills and this one empties: a pipe would copy all of it twice more."""

from __future__ import annotations

import mmap
from multiprocessing import get_context

PLACE_BYTES = 512 * 1024
"""Bytes that fit into one place."""

_PLACES = 3  # one is filled, one waits, one is written


class SharedMemory:
    """A few places, filled in turn and emptied in the same order; made before the fork.

    Raises:
        OSError: The system has no memory, or no semaphore, to share.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _PLACES * PLACE_BYTES)
        self._free = get_context("fork").Semaphore(_PLACES)
        self._next = 0

    def claim(self) -> int:
        """Take the next place, as soon as it is free, to fill it."""
        self._free.acquire()
        place, self._next = self._next, (self._next + 1) % _PLACES
        return place

    def at(self, place: int) -> memoryview:
        """Look at a place; what lies there stays until it is released."""
        return memoryview(self._memory)[place * PLACE_BYTES : (place + 1) * PLACE_BYTES]

    def release(self) -> None:
        """Let the place that was filled first be filled anew."""
        self._free.release()
