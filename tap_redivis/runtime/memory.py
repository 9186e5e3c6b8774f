"""Memory goes back to the system in large blocks only: those add up over threads, and small ones cost time."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD = -1  # as in malloc.h
_M_TOP_PAD = -2
_M_MMAP_THRESHOLD = -3
_LARGE_BYTES = 512 * 1024
_KEPT_BYTES = 2 * 1024 * 1024


def give_back_large_blocks() -> None:
    """Let the C library give back large blocks as soon as they are freed, and keep small ones.

    By itself glibc keeps freed blocks of up to 32 MiB, for each thread apart: four streams of large rows held twice
    what they used. But once told what is large, it gives back every 128 KiB, only to ask for them again: that took a
    third of the time of a load.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
        if mallopt is not None:
            mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
            mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
            mallopt(_M_TOP_PAD, _LARGE_BYTES)
