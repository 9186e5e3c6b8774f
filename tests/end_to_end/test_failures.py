"""A failure of one table, whatever it is, is one line: the others are loaded, and STATE is the last message."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from redivis_emulator import DEFAULT_TOKEN, Emulator
from tests.end_to_end.conftest import UNLIMITED
from tests.support.pipes import Output, Program, run
from tests.support.served import Site, streams_of, visits, write_table

_TABLES = [visits(10 * number) for number in (1, 2, 3)]
_TO_DO = "Set TAP_REDIVIS_LOG_LEVEL=debug to see where, and please report it."
_FAILING = """
import builtins, {module} as module
from tap_redivis.__main__ import main

def is_second(value):
    names = [getattr(value, "name", ""), getattr(getattr(value, "stream", ""), "name", "")]
    request = getattr(getattr(value, "spec", None), "request", None)
    return any("visits2" in str(name) for name in [*names, getattr(request, "table", "")])

def failing(before):
    def fail(*arguments, **keywords):
        if any(map(is_second, arguments)):
            raise {error}
        return before(*arguments, **keywords)
    return fail

place = {place}
setattr(place, "{name}", failing(getattr(place, "{name}")))
main()
"""
_PLACES = {
    "before it": ("tap_redivis.singer.streams", "module.TableStream", "plan"),
    "when its session is opened": ("tap_redivis.singer.loader", "module", "open_writing"),
    "in a thread that reads": ("tap_redivis.reading.jobs", "module.LocalWorker", "run"),
    "where rows are written": ("tap_redivis.singer.outputs", "module.RecordWriting", "write"),
    "when it is tried": ("tap_redivis.singer.streams", "module.TableStream", "probe"),
    "at its end": ("tap_redivis.singer.loader", "module.TableLoad", "_complete"),
    "when its stream is made": ("tap_redivis.singer.discovery", "module.Discovery", "_table_stream"),
    "when SCHEMA is made": ("tap_redivis.singer.streams", "module.TableStream", "message_schema"),
}


@pytest.fixture(scope="module")
def _emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    folder = tmp_path_factory.mktemp("served")
    for number, table in enumerate(_TABLES, start=1):
        write_table(folder, f"demo/visits/v1.0/visits{number}", table)
    with Emulator(folder, rate_limit=UNLIMITED) as emulator:
        yield emulator


@pytest.fixture
def site(_emulator: Emulator, tmp_path: Path) -> Site:
    """A Redivis with three tables, of which the second fails."""
    return Site(_emulator, tmp_path, tmp_path, DEFAULT_TOKEN)


def _failing(program: Program, place: str, error: str) -> Program:
    module, owner, name = _PLACES[place]
    script = _FAILING.format(module=module, place=owner, name=name, error=error)
    return replace(program, argv=(sys.executable, "-c", script, *program.argv[1:]))


def test_a_mistake_of_ours_in_schema_messages_alone_is_one_too(site: Site) -> None:
    done = run(_failing(site.tap("--test=schema"), "when SCHEMA is made", "ZeroDivisionError()"))

    assert done.exit_code == 1
    assert streams_of(done) == {"visits__visits1", "visits__visits3"}
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("place", [place for place in _PLACES if place != "when it is tried"])
def test_a_mistake_of_ours_fails_its_table_only(site: Site, place: str) -> None:
    done = run(_failing(site.tap(), place, "ZeroDivisionError('of\\nours')"))

    assert [line.partition("| tap-redivis                    | ")[2] for line in _errors(done)] == [
        f"visits__visits2: unexpected ZeroDivisionError: of ours. {_TO_DO}",
        "1 of 3 streams failed: visits__visits2",
    ]
    _assert_others_came(done)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("MemoryError()", "there is no more memory. Raise"),
        ('RuntimeError("can\'t start new thread")', "the system starts no more threads. Raise"),
        ("OSError(24, 'Too many open files')", "too many open files. Raise the limits of the process (ulimit -n"),
        ("PermissionError(13, 'Permission denied', '/etc/x')", "/etc/x: permission denied. Check"),
        ("OSError('no bundle of certificates at /x')", "no bundle of certificates at /x. Check"),
        ("ImportError('libarrow.so: failed to map segment')", "a library fails (libarrow.so: failed to map segment)"),
    ],
)
@pytest.mark.parametrize("place", ["in a thread that reads"])
def test_what_the_system_refuses_is_no_mistake_of_ours(site: Site, place: str, error: str, words: str) -> None:
    done = run(_failing(site.tap(), place, error))

    assert f"| visits__visits2: {words}" in _errors(done)[0]
    assert "please report it" not in done.stderr
    _assert_others_came(done)


@pytest.mark.parametrize(
    ("argument", "place"),
    [("--plan=json", "before it"), ("--test", "when it is tried")],
)
def test_plans_and_tests_go_on_too(site: Site, argument: str, place: str) -> None:
    done = run(_failing(site.tap(argument), place, "ZeroDivisionError()"))

    assert done.exit_code == 1
    assert len(_errors(done)) == 2
    assert "visits3" in done.stderr + done.stdout.decode()
    assert "Traceback" not in done.stderr


def _errors(done: Output) -> list[str]:
    return [line for line in done.stderr.splitlines() if "| ERROR" in line]


def _assert_others_came(done: Output) -> None:
    assert done.exit_code == 1
    assert "Traceback" not in done.stderr
    assert streams_of(done) >= {"visits__visits1", "visits__visits3"}
    for number in (1, 3):
        assert len(done.records(f"visits__visits{number}")) == 10 * number
    assert done.messages[-1]["type"] == "STATE"
    bookmarks = done.state["bookmarks"]
    assert {name for name, bookmark in bookmarks.items() if "completed_at" in bookmark} == {
        "visits__visits1",
        "visits__visits3",
    }
