"""Where memory is short, a thread is an error and not waited for."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from tap_redivis.runtime.memory import ThreadPool, require_room, start_thread

_SHORT = """
import resource
from tap_redivis.runtime.memory import ThreadPool, start_thread

used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 12_000_000,) * 2)
for start in (lambda: start_thread(print, "ran"), lambda: ThreadPool(1).submit(print, "ran")):
    try:
        start()
    except MemoryError:
        print("no room")
"""


def test_room_is_there_or_an_error() -> None:
    require_room(1024)

    with pytest.raises(MemoryError):
        require_room(2**62)


def test_threads_run_where_there_is_room() -> None:
    with ThreadPool(1) as pool:
        assert pool.submit(sum, [1, 2]).result(timeout=20) == 3
    has_run = threading.Event()
    start_thread(has_run.set)
    assert has_run.wait(timeout=20)


def test_a_thread_without_room_is_an_error() -> None:
    """Room for a stack of 8 MiB, and too little beside it."""
    done = subprocess.run([sys.executable, "-c", _SHORT], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout == "no room\nno room\n"
