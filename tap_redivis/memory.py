"""Freed memory goes back to the system: blocks that threads use in turns would otherwise add up."""

from __future__ import annotations

import ctypes
import sys

_M_MMAP_THRESHOLD = -3  # as in malloc.h
_LARGE_BYTES = 1024 * 1024


def give_back_large_blocks() -> None:
    """Let the C library take each large block from the system, and give it back as soon as it is freed.

    By itself glibc keeps freed blocks of up to 32 MiB, for each thread apart: four streams of large rows held twice
    what they used.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
        if mallopt is not None:
            mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
