"""Whatever the process finds around it: the work is done, or one line names the cause."""

from __future__ import annotations

import os
import resource
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from redivis_emulator import Fault
from tests.end_to_end.conftest import VISITS
from tests.support.batches import batch_config
from tests.support.pipes import NO_BYTECODE, Output, Program, run
from tests.support.readers import fast, interrupted, interrupted_when
from tests.support.samples import sampled
from tests.support.served import Site, assert_same_rows, records_of

# --- settings in the environment -------------------------------------------------------------------------------------


def _by_environment(site: Site, *arguments: str, **variables: str) -> Output:
    settings = {f"TAP_REDIVIS_{name}": value for name, value in {"DATASETS": '["demo.visits"]', **variables}.items()}
    program = site.tap()
    argv = (program.argv[0], "--config=ENV", *arguments)
    return run(replace(program, argv=argv, variables={**program.variables, **settings}))


@pytest.mark.parametrize(
    "variables",
    [
        {"REQUEST_TIMEOUT_SECONDS": "30", "MAX_RETRY_SECONDS": "0.5", "STATE_INTERVAL_SECONDS": " 1e1 "},
        {"MAX_STREAMS": "2", "MAX_ROWS": "", "ROW_KEY": "", "QUERIES": "", "TABLE_OPTIONS": " ", "API_TOKEN": ""},
        {"DATASETS": "demo.visits", "TABLES": "demo.visits.visits, demo.visits.visits"},
        {"ROW_KEY": "No", "LINEAGE": "off", "STREAM_MAPS": '{"visits__visits": {"__alias__": "visits__visits"}}'},
    ],
)
def test_every_setting_can_come_from_the_environment(site: Site, variables: dict[str, str]) -> None:
    """Numbers with a fraction too; an empty variable counts as unset."""
    done = _by_environment(site, **variables)

    assert done.exit_code == 0, done.stderr
    assert len(done.records("visits__visits")) == VISITS.num_rows


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("REQUEST_TIMEOUT_SECONDS", "half an hour", "Expecting value"),
        ("REQUEST_TIMEOUT_SECONDS", "NaN", "'NaN' is not of type 'number'"),
        ("REQUEST_TIMEOUT_SECONDS", "-1", "-1 is less"),
        ("REQUEST_TIMEOUT_SECONDS", "1e999", "maximum"),
        ("MAX_STREAMS", "many", "Expecting value"),
        ("MAX_STREAMS", "2.5", "not of type 'integer'"),
        ("MAX_STREAMS", "99", "99 is greater than the maximum of 8"),
        ("MAX_STREAMS", "null!", "Extra data"),
        ("ROW_KEY", "maybe", "'maybe' is not of type 'boolean'"),
        ("WIRE_FORMAT", "xml", "'xml' is not one of"),
        ("DATASETS", '["demo.visits"', "delimiter"),
        ("DATASETS", r'["demo.\ud800"]', "surrogates not allowed"),
        ("DATASETS", "[1]", "1 is not of type 'string'"),
        ("DATASETS", "[" * 100_000, "recursion"),
        ("QUERIES", "SELECT 1", "'SELECT 1' is not of type 'object'"),
        ("TABLE_OPTIONS", "visits", "Expecting value"),
        ("TABLE_OPTIONS", "[]", "[] is not of type 'object'"),
        ("TABLE_OPTIONS", '{"visits": {"max_rows": Infinity}}', "'Infinity' is not of type 'integer'"),
        ("BATCH_CONFIG", '{"encoding": {"format": "arrow"}', "delimiter"),
        ("STREAM_NAME_FORMAT", "\udcff", "utf-8"),
    ],
)
def test_a_variable_that_cannot_be_used_is_one_line_with_its_name(
    site: Site, name: str, value: str, words: str
) -> None:
    done = _by_environment(site, "--discover", **{name: value})

    assert f"| TAP_REDIVIS_{name}: " in _only_error(done)
    assert words in _only_error(done)


@pytest.mark.parametrize("name", ["request_timeout_seconds", "max_retry_seconds", "state_interval_seconds"])
def test_more_seconds_than_clocks_have_are_refused(site: Site, name: str) -> None:
    assert "maximum" in _only_error(run(site.tap(**{name: 1e300})))


@pytest.mark.parametrize("variable", ["TAP_REDIVIS_LOG_LEVEL", "TAP_REDIVIS_LOGLEVEL", "LOGLEVEL"])
def test_a_log_level_that_is_none_is_one_line(site: Site, variable: str) -> None:
    program = site.tap("--version")

    done = run(replace(program, variables={**program.variables, variable: "loud"}))

    assert done.exit_code == 1
    assert "environment: the log cannot be set up (Unknown level: 'LOUD'). Correct TAP_REDIVIS_LOG_LEVEL" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_empty_log_level_is_none(site: Site) -> None:
    program = site.tap()

    done = run(replace(program, variables={**program.variables, "LOGLEVEL": "", "TAP_REDIVIS_LOGLEVEL": ""}))

    assert done.exit_code == 0
    assert "| INFO" in done.stderr


def test_a_log_config_that_is_none_is_one_line(site: Site, tmp_path: Path) -> None:
    (tmp_path / "log.yml").write_text("version: [")
    program = site.tap()

    done = run(replace(program, variables={**program.variables, "SINGER_SDK_LOG_CONFIG": str(tmp_path / "log.yml")}))

    assert "environment: the log cannot be set up (while parsing" in _only_error(done)


def test_a_log_config_that_is_a_pipe_is_not_waited_for(site: Site, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log.yml")
    program = site.tap()

    done = run(replace(program, variables={**program.variables, "SINGER_SDK_LOG_CONFIG": str(tmp_path / "log.yml")}))

    assert "environment: the log cannot be set up (its config is a pipe" in done.stderr
    assert done.exit_code == 1


def _only_error(done: Output) -> str:
    """Return the one ERROR line, of a run that failed without a traceback."""
    assert done.exit_code == 1
    assert "Traceback" not in done.stderr
    [error] = _errors(done)
    assert "please report it" not in error
    return error


# --- signals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_is_said_with_what_it_stopped(site: Site, number: signal.Signals) -> None:
    """How far the table was, and what to do; then STATE, and the summary with that table, have been written."""
    site.emulator.faults.add(Fault(kind="stall", path="/readStreams/*", at_row=300, nth="every"))

    done = interrupted(site.tap(), number, 20_000, fast)

    rows = len(done.records("visits__visits"))
    words = f"visits__visits at {rows:,} of 2,000 rows; run again with the last STATE"
    assert done.exit_code == 128 + number
    assert done.stderr.splitlines()[-1].endswith(f"stopped by {number.name}: {words}")
    assert "1 table: 1 stopped; 0 rows loaded, " in done.stderr
    assert done.messages[-1]["type"] == "STATE"
    site.emulator.faults.clear()
    second = site.sync(state=done.state)
    assert_same_rows(
        [*done.records("visits__visits"), *second.records("visits__visits")],
        records_of(VISITS),
    )


@pytest.mark.parametrize("arguments", [["--discover"], []])
def test_a_signal_is_said_where_no_table_is_read(site: Site, arguments: list[str]) -> None:
    site.emulator.faults.add(Fault(kind="stall", path="/datasets/*", nth="every"))

    done = interrupted_when(site.tap(*arguments), signal.SIGTERM, lambda: bool(site.asked("/datasets/")))

    assert done.exit_code == 143
    assert done.stderr.splitlines()[-1].endswith("stopped by SIGTERM")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGTERM])
def test_a_signal_that_is_ignored_at_the_start_stays_ignored(site: Site, number: signal.Signals) -> None:
    """As SIGHUP is under nohup, and SIGINT in the background of a shell."""
    site.emulator.faults.add(Fault(kind="stall", path="/readStreams/*", at_row=300))
    program = site.tap(request_timeout_seconds=1)
    ignoring = replace(program, argv=("sh", "-c", f'trap "" {number.name[3:]}; exec "$@"', "sh", *program.argv))

    done = interrupted(ignoring, number, 20_000, fast)

    assert done.exit_code == 0, done.stderr
    assert_same_rows(done.records("visits__visits"), records_of(VISITS))


# --- limits of the system --------------------------------------------------------------------------------------------

_MEGABYTE = 1024 * 1024
# A C library ends the process itself, with a line of its own: the loader (127), or Arrow's allocator (a fault).
_C_LIBRARY_GAVE_UP = {127, -signal.SIGSEGV}
_LINES = (
    "there is no more memory",
    "the system starts no more threads",
    "a library fails (",
    "too many open files",
    "cannot allocate memory",
    "OpenBLAS error: Memory allocation still failed",
    "MemoryError",  # there is no room for the tap's first modules
)


def _limited(program: Program, *limits: tuple[int, int]) -> Output:
    """Run a program under limits of resources."""
    options = [f"{number}={limit}" for number, limit in limits]
    argv = (sys.executable, "-c", _LIMITED, *options, "--", *program.argv)
    return run(replace(program, argv=argv, variables={**program.variables, **NO_BYTECODE}))


_LIMITED = """
import os, resource, sys

place = sys.argv.index("--")
for option in sys.argv[1:place]:
    number, limit = map(int, option.split("="))
    resource.setrlimit(number, (limit, limit))
os.execv(sys.argv[place + 1], sys.argv[place + 1:])
"""


@pytest.mark.parametrize("megabytes", sampled([*range(80, 400, 20), 500, 700, 1000], [100, 300, 1000]))
@pytest.mark.parametrize("wire_format", ["jsonl", "arrow"])
def test_little_memory_is_enough_or_one_line(site: Site, megabytes: int, wire_format: str) -> None:
    """`ulimit -v`: whatever finds no room first, a thread, a library or a value."""
    done = _limited(site.tap(wire_format=wire_format), (resource.RLIMIT_AS, megabytes * _MEGABYTE))

    _assert_done_or_said(done)


@pytest.mark.parametrize("megabytes", sampled([600, 650, 700, *range(750, 4500, 250)], [600, 650, 700, 1500, 2250]))
def test_few_threads_are_enough_or_one_line(site: Site, megabytes: int) -> None:
    """Threads of 256 MB each, so that only some can be started."""
    stack = (resource.RLIMIT_STACK, 256 * _MEGABYTE)

    _assert_done_or_said(_limited(site.tap(), stack, (resource.RLIMIT_AS, megabytes * _MEGABYTE)))


@pytest.mark.parametrize("files", sampled([5, 6, 7, 8, 9, 10, 12, 14, 16, 20], [5, 7, 10, 20]))
def test_few_open_files_are_enough_or_one_line(site: Site, files: int) -> None:
    """`ulimit -n`."""
    _assert_done_or_said(_limited(site.tap(max_retry_seconds=1), (resource.RLIMIT_NOFILE, files)))


def _assert_done_or_said(done: Output) -> None:
    assert not [words for words in ("Traceback", "unexpected", "please report it") if words in done.stderr]
    if done.exit_code in _C_LIBRARY_GAVE_UP:
        assert "cannot allocate memory" in done.stderr.lower()
        return
    if done.exit_code == 0:
        assert_same_rows(done.records("visits__visits"), records_of(VISITS))
    else:
        assert done.exit_code == 1, done.stderr
        assert [words for words in _LINES if words in done.stderr], done.stderr
    assert not done.messages or done.messages[-1]["type"] == "STATE"


# --- folders ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [[], ["--discover"], ["--plan"], ["--test"], ["--version"]])
def test_a_working_directory_that_is_gone_is_not_missed(site: Site, tmp_path: Path, arguments: list[str]) -> None:
    done = run(_without_folder(site.tap(*arguments), tmp_path))

    assert done.exit_code == 0, done.stderr


def test_files_need_a_working_directory_or_an_absolute_root(site: Site, tmp_path: Path) -> None:
    near = {**batch_config("arrow", tmp_path), "storage": {"root": "out"}}

    done = run(_without_folder(site.tap(batch_config=near), tmp_path))

    assert "visits__visits: out: the working directory is gone. Set batch_config.storage.root to" in _errors(done)[0]
    assert run(_without_folder(site.tap(batch_config=batch_config("arrow", tmp_path)), tmp_path)).exit_code == 0


@pytest.mark.parametrize("encoding", ["arrow", "parquet", "jsonl"])
def test_no_home_and_no_temporary_folder_are_needed(site: Site, tmp_path: Path, encoding: str) -> None:
    program = site.tap(batch_config=batch_config(encoding, tmp_path / "out"))

    done = run(replace(program, argv=("env", "-u", "HOME", "TMPDIR=/nowhere", *program.argv)))

    assert done.exit_code == 0, done.stderr


@pytest.mark.parametrize("encoding", ["arrow", "parquet", "jsonl"])
def test_no_room_for_files_is_one_line(site: Site, tmp_path: Path, encoding: str) -> None:
    program = site.tap(batch_config=batch_config(encoding, tmp_path / "out"))

    done = _limited(program, (resource.RLIMIT_FSIZE, 4096))

    assert "a BATCH file cannot be written: file too large. Make room" in _errors(done)[0]
    assert done.messages[-1]["type"] == "STATE"
    assert not list((tmp_path / "out/.partial").iterdir())


def _without_folder(program: Program, tmp_path: Path) -> Program:
    folder = tmp_path / "gone"
    enter = f'mkdir {folder}; cd {folder}; rmdir {folder}; exec "$@"'
    return replace(program, argv=("sh", "-c", enter, "sh", *program.argv))


def _errors(done: Output) -> list[str]:
    return [line for line in done.stderr.splitlines() if "| ERROR" in line]
