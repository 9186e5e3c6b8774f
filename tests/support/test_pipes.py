"""Processes are run, connected and stopped as the tests that rely on it say."""

from __future__ import annotations

import signal
import sys
import textwrap
import time
from pathlib import Path

import pytest

from tests.support.pipes import Program, Stop, pipe, pipe_stopped, run, run_stopped, run_unread, target

_SECRET = "abc123"  # noqa: S105 - stands for a token


def _python(code: str, secret: str | None = None) -> Program:
    return Program((sys.executable, "-c", textwrap.dedent(code)), {}, secret)


_COUNT = _python("""
    import itertools, os
    for n in itertools.count():
        os.write(1, b'{"type": "STATE", "value": {"n": %d}}\\n' % n)
""")


def test_output_exit_code_and_state_of_a_program_are_kept() -> None:
    done = run(
        _python("""
            import sys
            print('{"type": "SCHEMA", "stream": "a"}\\n{"type": "RECORD", "stream": "a", "record": {"id": 1}}')
            print('{"type": "STATE", "value": {"bookmarks": {}}}')
            sys.exit("went wrong")
        """)
    )

    assert (done.records("a"), done.state) == ([{"id": 1}], {"bookmarks": {}})
    assert (done.stderr, done.exit_code) == ("went wrong\n", 1)


@pytest.mark.parametrize("place", ["stdout", "stderr"])
def test_a_secret_in_an_output_is_found(place: str) -> None:
    with pytest.raises(AssertionError, match=f"token is on {place}"):
        run(_python(f"import sys; print('token: {_SECRET}', file=sys.{place})", secret=_SECRET))


def test_a_secret_that_the_writer_hands_to_the_reader_is_found() -> None:
    with pytest.raises(AssertionError, match="token is on stdout"):
        pipe(_python(f"print('{_SECRET}')", secret=_SECRET), Program(("cat",), {}))


def test_a_program_is_stopped_after_some_lines_by_a_signal() -> None:
    done = run_stopped(_COUNT, Stop(signal.SIGTERM, after_lines=1000))

    assert done.exit_code == -signal.SIGTERM
    assert done.state["n"] == len(done.messages) - 1 >= 999


def test_a_program_that_ends_too_early_to_be_stopped_is_told_of() -> None:
    with pytest.raises(AssertionError, match="ended before it could be stopped"):
        run_stopped(_python("print()"), Stop(signal.SIGTERM, after_lines=2))


def test_the_seconds_of_a_stopped_program_count_from_the_signal() -> None:
    wait = _python("import time; time.sleep(1); print(flush=True); time.sleep(60)")
    begin = time.monotonic()

    done = run_stopped(wait, Stop(signal.SIGTERM, after_lines=1))

    assert done.seconds <= time.monotonic() - begin - 1


def test_a_program_whose_reader_goes_away_is_not_read_on() -> None:
    done = run_unread(_COUNT, after_lines=3)

    assert done.exit_code == 1
    assert "BrokenPipeError" in done.stderr


def test_both_ends_of_a_pipe_are_reported() -> None:
    done = pipe(_python("print('hello')"), _python("import sys; print(input()); sys.exit(3)"))

    assert (done.tap.exit_code, done.target.exit_code, done.target.stdout) == (0, 3, b"hello\n")


def test_the_pipe_breaks_when_the_reader_ends_first() -> None:
    done = pipe(_COUNT, _python("input()"))

    assert (done.tap.exit_code, done.target.exit_code) == (1, 0)
    assert "BrokenPipeError" in done.tap.stderr


def test_a_target_gets_all_that_a_stopped_tap_wrote(tmp_path: Path) -> None:
    sink = target("target-jsonl", tmp_path, {"destination_path": str(tmp_path)})

    done = pipe_stopped(_COUNT, sink, Stop(signal.SIGKILL, after_lines=1000))

    assert done.tap.exit_code == -signal.SIGKILL
    assert (done.target.exit_code, done.target.state) == (0, done.tap.state)
