"""Whatever the standard streams are: the work is done, or one line says why not (promise 3)."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import resource
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from redivis_emulator import DEFAULT_TOKEN, Emulator
from redivis_emulator.service import Settings
from tests.end_to_end.conftest import UNLIMITED, VISITS
from tests.support.pipes import NO_BYTECODE, Program, run
from tests.support.samples import sampled
from tests.support.served import Site, assert_same_rows, records_of, write_table

_COMMANDS: dict[str, list[str]] = {
    "sync": [],
    "discover": ["--discover"],
    "discover for people": ["--discover=table"],
    "plan": ["--plan"],
    "plan as JSON": ["--plan=json"],
    "schemas": ["--test=schema"],
    "about": ["--about"],
    "about as JSON": ["--about", "--format=json"],
    "version": ["--version"],
    "help": ["--help"],
}
"""All that write to stdout."""

commands = pytest.mark.parametrize("command", sampled(_COMMANDS, ["sync", "discover", "help"]))


@pytest.fixture(scope="module")
def _emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    folder = tmp_path_factory.mktemp("served")
    write_table(folder, "demo/visits/v1.0/visits", VISITS)
    write_table(folder, "demo/visits/v1.0/sizes", pa.table({"größe": ["č 🛫"]}))
    with Emulator(folder, rate_limit=UNLIMITED, settings=Settings(streams=4)) as emulator:
        yield emulator


@pytest.fixture
def site(_emulator: Emulator, tmp_path: Path) -> Site:
    """A Redivis with two tables, that of all other tests and one of a row."""
    return Site(_emulator, tmp_path, tmp_path, DEFAULT_TOKEN)


def _redirected(program: Program, redirection: str) -> Program:
    return replace(program, argv=("sh", "-c", f'exec "$@" {redirection}', "sh", *program.argv))


def _lines(stdout: bytes) -> int:
    return len(stdout.splitlines())


@commands
@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full", "0<&-", "0<&- 2>&-"])
def test_without_stderr_or_stdin_the_work_is_done(site: Site, command: str, redirection: str) -> None:
    program = site.tap(*_COMMANDS[command])
    expected = run(program)

    done = run(_redirected(program, redirection))

    assert (done.exit_code, _lines(done.stdout)) == (0, _lines(expected.stdout))
    assert _lines(done.stdout) > 0


def test_all_records_come_without_stderr(site: Site) -> None:
    done = run(_redirected(site.tap(), "2>&-"))

    assert_same_rows(done.records("visits__visits"), records_of(VISITS))
    assert done.messages[-1]["type"] == "STATE"


def test_all_records_come_though_nobody_reads_stderr(site: Site) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    program = site.tap()

    done = subprocess.run(
        program.argv, env={**os.environ, **program.variables}, stdout=subprocess.PIPE, stderr=writer, check=False
    )
    os.close(writer)

    assert done.returncode == 0
    assert done.stdout.count(b'"type":"RECORD"') == VISITS.num_rows + 1


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full"])
def test_a_wrong_call_keeps_its_exit_code_without_stderr(site: Site, redirection: str) -> None:
    done = run(_redirected(site.tap("--nonsense"), redirection))

    assert (done.exit_code, done.stdout) == (2, b"")


def test_a_non_blocking_stderr_gets_all_log_lines(site: Site) -> None:
    """As where it shares its pipe with a program that made it so: it is full for a moment, again and again."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writer, False)
    program = site.tap()
    variables = {**program.variables, "TAP_REDIVIS_LOG_LEVEL": "debug"}
    process = subprocess.Popen(program.argv, env={**os.environ, **variables}, stdout=subprocess.DEVNULL, stderr=writer)
    os.close(writer)

    with os.fdopen(reader, "rb", buffering=0) as output:
        lines = b"".join(iter(lambda: output.read(500), b"")).splitlines()

    assert process.wait(60) == 0
    assert sum(map(len, lines)) > 4096
    assert not [line for line in lines if b" | " not in line]


@commands
@pytest.mark.parametrize(
    ("redirection", "words"), [(">&-", "stdout: it is closed"), (">/dev/full", "stdout: no space left on device")]
)
def test_an_output_that_takes_nothing_is_one_line(site: Site, command: str, redirection: str, words: str) -> None:
    done = run(_redirected(site.tap(*_COMMANDS[command]), redirection))

    [error] = [line for line in done.stderr.splitlines() if "stdout" in line]
    assert done.exit_code == 1
    assert words in error
    assert not [word for word in ("Traceback", "unexpected", "please report it") if word in done.stderr]


def test_a_closed_output_and_no_stderr_is_an_exit_code(site: Site) -> None:
    done = run(_redirected(site.tap(), ">&- 2>&-"))

    assert (done.exit_code, done.stdout) == (1, b"")


def test_a_state_from_a_closed_stdin_is_one_line(site: Site) -> None:
    done = run(_redirected(site.tap("--state", "-"), "0<&-"))

    assert done.exit_code == 1
    assert "--state" in done.stderr
    assert not [word for word in ("Traceback", "unexpected") if word in done.stderr]


# --- readers that are gone -------------------------------------------------------------------------------------------


def _gone_pipe() -> int:
    reader, writer = os.pipe()
    os.close(reader)
    return writer


def _gone_socket() -> int:
    ours, theirs = socket.socketpair()
    ours.close()
    return theirs.detach()


def _gone_connection() -> int:
    """A TCP connection that was reset."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        theirs = socket.create_connection(server.getsockname())
        ours, _ = server.accept()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        ours.close()
    return theirs.detach()


def _gone_terminal() -> int:
    ours, theirs = pty.openpty()
    os.close(ours)
    return theirs


@commands
@pytest.mark.parametrize("gone", [_gone_pipe, _gone_socket, _gone_connection, _gone_terminal])
def test_a_reader_that_is_gone_is_exit_code_141(site: Site, command: str, gone: object) -> None:
    """Whatever it was; there is nothing to say: its own error is the one to read."""
    output = gone()  # type: ignore[operator]
    program = site.tap(*_COMMANDS[command])

    done = subprocess.run(
        program.argv, env={**os.environ, **program.variables}, stdout=output, stderr=subprocess.PIPE, check=False
    )
    os.close(output)

    assert done.returncode == 141
    assert not [word for word in (b"Traceback", b"BrokenPipe", b"ERROR") if word in done.stderr]


# --- outputs that take some ------------------------------------------------------------------------------------------


def test_a_non_blocking_pipe_gets_whole_lines(site: Site) -> None:
    """It is full for a moment, again and again."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writer, False)
    program = site.tap()
    process = subprocess.Popen(program.argv, env={**os.environ, **program.variables}, stdout=writer)
    os.close(writer)

    with os.fdopen(reader, "rb", buffering=0) as output:
        messages = [json.loads(line) for line in b"".join(iter(lambda: output.read(3000), b"")).splitlines()]

    assert process.wait(60) == 0
    assert sum(each["type"] == "RECORD" for each in messages) == VISITS.num_rows + 1
    assert messages[-1]["type"] == "STATE"


@pytest.mark.parametrize("command", ["discover", "about"])
def test_a_non_blocking_pipe_gets_all_that_people_read(site: Site, command: str) -> None:
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writer, False)
    program = site.tap(*_COMMANDS[command])
    process = subprocess.Popen(program.argv, env={**os.environ, **program.variables}, stdout=writer)
    os.close(writer)

    with os.fdopen(reader, "rb", buffering=0) as output:
        written = b"".join(iter(lambda: output.read(500), b""))

    assert process.wait(60) == 0
    assert written == run(program).stdout


@pytest.mark.parametrize("mode", ["wb", "ab"])
@pytest.mark.parametrize("limit", [3000, 100_000, 150_000, "within the last STATE"])
def test_a_file_that_gets_full_has_whole_lines_and_state_last(
    site: Site, tmp_path: Path, mode: str, limit: int | str
) -> None:
    """Wherever the room ends, also within STATE: what came after the last STATE is taken back, and comes again."""
    path = tmp_path / "output.jsonl"
    settings = {"tables": ["demo.visits.visits"], "state_interval_rows": 1, "max_streams": 2}
    program = site.tap(**settings)
    size = limit if isinstance(limit, int) else len(run(program).stdout) - 100

    with path.open(mode) as output:
        done = subprocess.run(
            program.argv,
            env={**os.environ, **program.variables, **NO_BYTECODE},
            stdout=output,
            stderr=subprocess.PIPE,
            check=False,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
        )
    messages = [json.loads(line) for line in path.read_bytes().splitlines(keepends=True)]

    assert done.returncode == 1
    assert b"stdout: file too large" in done.stderr
    assert b"unexpected" not in done.stderr
    assert path.read_bytes().endswith(b"\n")
    assert messages[-1]["type"] == "STATE"
    second = site.sync(state=messages[-1]["value"], **settings)
    records = [each["record"] for each in messages if each["type"] == "RECORD"]
    assert_same_rows([*records, *second.records("visits__visits")], records_of(VISITS))


def test_what_others_wrote_into_the_file_stays(site: Site, tmp_path: Path) -> None:
    """Two programs may share one file: what the tap takes back is its own."""
    path = tmp_path / "output.jsonl"
    path.write_bytes(b"x" * 2900 + b"\n")

    with path.open("ab") as output:
        subprocess.run(
            site.tap("--discover").argv,
            env={**os.environ, **site.tap("--discover").variables, **NO_BYTECODE},
            stdout=output,
            check=False,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000)),
        )

    assert path.read_bytes() == b"x" * 2900 + b"\n"


# --- what people read ------------------------------------------------------------------------------------------------


_LOCALES = [{"PYTHONIOENCODING": "ascii:strict"}, {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}]


@pytest.mark.parametrize("variables", _LOCALES)
@pytest.mark.parametrize("command", ["sync", "discover", "discover for people", "plan", "plan as JSON"])
def test_a_locale_without_letters_is_enough(site: Site, command: str, variables: dict[str, str]) -> None:
    """Names that it cannot spell are escaped; messages and JSON hold them."""
    program = site.tap(*_COMMANDS[command])

    done = run(replace(program, variables={**program.variables, **variables}))

    assert done.exit_code == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout
    if command == "discover":
        assert "größe" in str(json.loads(done.stdout))
    if command == "sync":
        assert done.records("visits__sizes") == [{"größe": "č 🛫"}]


@pytest.mark.parametrize("variables", _LOCALES)
def test_what_people_read_is_escaped_where_the_locale_cannot_spell_it(site: Site, variables: dict[str, str]) -> None:
    catalog = {"streams": list(site.discover().values())}
    for stream in catalog["streams"]:
        stream["schema"]["properties"]["länge"] = {"type": ["string", "null"]}
    program = site.tap("--plan", catalog=catalog)

    done = run(replace(program, variables={**program.variables, **variables}))

    assert done.exit_code == 0, done.stderr
    assert b"variable 'l\\xe4nge' is gone" in done.stdout
