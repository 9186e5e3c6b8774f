"""A signal ends the process at the next place where that breaks nothing, and within two seconds in any case."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from tap_redivis.runtime import shutdown
from tap_redivis.runtime.shutdown import Shutdown

_FRAME = """
import os, signal, sys, threading
from tap_redivis.runtime.shutdown import SHUTDOWN, Termination

def receive(signum):
    os.kill(os.getpid(), signum)

def say(word):
    print(word, flush=True)

SHUTDOWN.install()
try:
    {body}
    say("went on")
except Termination as termination:
    say("ended")
    os._exit(termination.exit_code)
"""
_WRITES = """
    with SHUTDOWN.defer_signals():
        rest = b"x" * 200_000 + bytes([10])
        while rest:
            rest = rest[os.write(1, rest):]
"""


def _start(body: str) -> subprocess.Popen[bytes]:
    code = _FRAME.format(body=body.strip())
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, bufsize=0)


def _completed(body: str) -> subprocess.CompletedProcess[str]:
    """Run code under signal handling to its end."""
    argv = [sys.executable, "-c", _FRAME.format(body=body.strip())]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=20)


def _ended(body: str) -> tuple[int, list[str]]:
    """Run code under signal handling; give exit code and what it said."""
    process = _start(body)
    out, _ = process.communicate(timeout=20)
    return process.returncode, out.decode().split()


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_what_waits(signum: int, code: int) -> None:
    """At once, with 128 + the signal's number."""
    body = f"""
    threading.Timer(0, receive, [{signum}]).start()
    threading.Event().wait(10)
    """

    assert (code, ["ended"]) == _ended(body)


def test_a_section_is_finished_first() -> None:
    """Also the one around it: a line and its bookmark belong together."""
    body = """
    with SHUTDOWN.defer_signals():
        with SHUTDOWN.defer_signals():
            receive(signal.SIGTERM)
            say("line")
        say("bookmark")
    """

    assert _ended(body) == (143, ["line", "bookmark", "ended"])


def test_the_first_signal_decides() -> None:
    """A second one hurries nothing and changes no exit code."""
    body = """
    with SHUTDOWN.defer_signals():
        receive(signal.SIGTERM)
        receive(signal.SIGINT)
        say("line")
    """

    assert _ended(body) == (143, ["line", "ended"])


def test_nothing_that_catches_errors_catches_the_end() -> None:
    body = """
    try:
        receive(signal.SIGTERM)
    except Exception:
        say("caught")
    """

    assert _ended(body) == (143, ["ended"])


def test_a_signal_that_hits_a_finalizer_ends_the_next_section() -> None:
    """Python takes no exception from a finalizer, and would write about it."""
    body = """
    import weakref
    thing = threading.Event()
    reference = weakref.ref(thing, lambda _: receive(signal.SIGTERM))
    del thing
    with SHUTDOWN.defer_signals():
        say("line")
    """
    process = _completed(body)

    assert (process.returncode, process.stdout.split(), process.stderr) == (143, ["line", "ended"], "")


_UNSEEN = """
    # As where a signal comes just before a system call: the main thread is not interrupted by it.
    def receive_elsewhere():
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

    threading.Timer(0.2, receive_elsewhere).start()
"""


def test_a_signal_that_interrupts_nothing_ends_what_waits() -> None:
    """And does not wait for the server either."""
    body = f"""
    {_UNSEEN.strip()}
    os.read(os.pipe()[0], 1)
    """
    begin = time.monotonic()

    assert _ended(body) == (143, ["ended"])
    assert time.monotonic() - begin < 20


@pytest.mark.skipif(sys.platform != "linux", reason="the size of a pipe cannot be changed")
def test_a_signal_that_interrupts_nothing_ends_what_writes() -> None:
    """Whole, though nobody reads."""
    process = _start(f"{_UNSEEN.strip()}\n{_WRITES}")
    assert process.stdout is not None

    assert process.wait(20) == 143
    assert process.stdout.read() == b"x" * 200_000 + b"\nended\n"
    process.stdout.close()


def test_a_section_that_does_not_end_is_ended() -> None:
    """Within two seconds: the limits of the code add up to less, and this machine may be slow."""
    body = """
    with SHUTDOWN.defer_signals():
        receive(signal.SIGTERM)
        say("line")
        threading.Event().wait(30)
    """
    begin = time.monotonic()

    assert _ended(body) == (143, ["line"])
    assert time.monotonic() - begin < 20
    assert 2 * shutdown._PATIENCE_SECONDS < 2  # noqa: SLF001 - once for the line, once for the rest


@pytest.mark.skipif(sys.platform != "linux", reason="the size of a pipe cannot be changed")
def test_a_line_that_nobody_reads_is_still_written_whole() -> None:
    """There is made room for it in the pipe."""
    process = _start(_WRITES)
    assert process.stdout is not None
    first = process.stdout.read(1)  # the write has begun, and is stuck: a pipe holds 64 KiB
    process.send_signal(signal.SIGTERM)

    assert process.wait(20) == 143
    assert first + process.stdout.read() == b"x" * 200_000 + b"\nended\n"
    process.stdout.close()


def test_other_errors_in_a_finalizer_are_said_as_ever() -> None:
    body = """
    import weakref
    thing = threading.Event()
    reference = weakref.ref(thing, lambda _: 1 / 0)
    del thing
    """
    process = _completed(body)

    assert (process.returncode, process.stdout.split()) == (0, ["went", "on"])
    assert "ZeroDivisionError" in process.stderr


def test_a_signal_that_others_handle_ends_nothing() -> None:
    """Its number comes the way that ours do."""
    body = """
    signal.signal(signal.SIGUSR1, lambda *_: say("handled"))
    receive(signal.SIGUSR1)
    threading.Timer(0, receive, [signal.SIGTERM]).start()
    threading.Event().wait(10)
    """

    assert _ended(body) == (143, ["handled", "ended"])


def test_threads_handle_no_signals() -> None:
    """Only the main thread can; whoever uses the tap as a library in another keeps their own handlers."""
    before = [signal.getsignal(number) for number in shutdown.SIGNALS]
    of_nobody = Shutdown()
    thread = threading.Thread(target=lambda: (of_nobody.install(), of_nobody.ignore()))

    thread.start()
    thread.join()

    assert [signal.getsignal(number) for number in shutdown.SIGNALS] == before


def test_an_error_without_a_signal_stays_what_it_is() -> None:
    with pytest.raises(ZeroDivisionError), Shutdown().signals_win():
        raise ZeroDivisionError


def test_a_message_is_written_whole_where_nothing_else_belongs_to_it() -> None:
    """Such as a SCHEMA: its writing is a section of its own."""
    body = """
    from tap_redivis.singer.messages import MessageWriter
    MessageWriter().write_lines(b"x" * 200_000 + bytes([10]), "SCHEMA")
    """
    process = _start(body)
    assert process.stdout is not None
    first = process.stdout.read(1)  # the write has begun, and is stuck: a pipe holds 64 KiB
    process.send_signal(signal.SIGTERM)
    rest = b"".join(iter(lambda: os.read(process.stdout.fileno(), 50_000), b""))  # type: ignore[union-attr] # see above

    assert process.wait(20) == 143
    assert first + rest == b"x" * 200_000 + b"\nended\n"
    process.stdout.close()


def test_sections_without_a_signal_are_nothing() -> None:
    of_nobody = Shutdown()

    with of_nobody.defer_signals(), of_nobody.defer_signals():
        pass
