"""The command: what it sets, how it ends, what it says."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from tests.emulator.conftest import write

EMULATOR = [sys.executable, "-c", "import sys; from redivis_emulator.cli import main; sys.exit(main())"]


def call(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run([*EMULATOR, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)


def test_run_sets_the_environment(folder: Path) -> None:
    """The command finds the API, and its exit code is ours."""
    script = (
        "import os, sys, urllib.request as u; e = os.environ;"
        "r = u.Request(e['REDIVIS_API_ENDPOINT'] + '/datasets/acme.numbers',"
        " headers={'Authorization': 'Bearer ' + e['REDIVIS_API_TOKEN']});"
        "print(u.urlopen(r).status); sys.exit(7)"
    )
    done = call("run", folder, "--", sys.executable, "-c", script)
    assert (done.returncode, done.stdout, done.stderr) == (7, "200\n", "")


def test_run_without_a_folder_serves_the_demo_data() -> None:
    script = (
        "import os, urllib.request as u;"
        "print(u.urlopen(os.environ['REDIVIS_API_ENDPOINT'] + '/datasets/demo.nycflights13').status)"
    )
    assert call("run", "--", sys.executable, "-c", script).stdout == "200\n"


@pytest.mark.parametrize(("name", "code"), [("SIGKILL", 137), ("SIGTERM", 143)])
def test_a_signalled_command(folder: Path, name: str, code: int) -> None:
    """The exit code is 128 and the signal, as in a shell."""
    script = f"import os, signal; os.kill(os.getpid(), signal.{name})"
    assert call("run", folder, "--", sys.executable, "-c", script).returncode == code


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_are_passed_on(folder: Path, number: signal.Signals) -> None:
    """The command decides what becomes of them."""
    script = (
        "import signal, sys\n"
        f"signal.signal({int(number)}, lambda *_: sys.exit(9))\n"
        "print('ready', flush=True)\n"
        "signal.pause()"
    )
    command = [*EMULATOR, "run", str(folder), "--", sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.wait(20) == 9


def test_serve_until_interrupted(folder: Path, tmp_path: Path) -> None:
    """It says where, obeys faults from a file, and leaves no temporary files."""
    write(tmp_path, "faults.yml", "- {kind: status, status: 418}")
    command = [*EMULATOR, "serve", str(folder), "--port", "0", "--faults", str(tmp_path / "faults.yml")]
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    environment = {**os.environ, "TMPDIR": str(scratch)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        endpoint = process.stderr.readline().split()[-1]
        assert [requests.get(f"{endpoint}/users/me", timeout=20).status_code for _ in range(2)] == [418, 401]
        process.terminate()
        assert process.wait(20) == 0
    assert list(scratch.iterdir()) == []


def test_errors_are_one_line(folder: Path, tmp_path: Path) -> None:
    """No traceback, exit code 1, and the place where it is wrong."""
    write(tmp_path, "bad.yml", "- kind: [")
    write(tmp_path, "broken/acme/bad/t.parquet", "PAR1")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        calls = {
            "no such folder": call("serve", tmp_path / "nowhere"),
            "t.parquet": call("serve", tmp_path / "broken"),
            "bad.yml: broken YAML, line": call("serve", folder, "--faults", tmp_path / "bad.yml"),
            "none.yml: no such file": call("serve", folder, "--faults", tmp_path / "none.yml"),
            "in use": call("serve", folder, "--port", str(taken.getsockname()[1])),
            "no command": call("run", folder),
        }
    for message, done in calls.items():
        assert message in done.stderr
        assert done.stderr.startswith("redivis-emulator: ")
        assert done.stderr.count("\n") == 1
        assert done.returncode == 1


def test_a_command_that_is_not_there(folder: Path) -> None:
    command = folder / "no-such-command"
    done = call("run", folder, "--", command)
    assert (done.returncode, done.stderr) == (
        127,
        f"redivis-emulator: cannot run {command}: No such file or directory\n",
    )


def test_help_needs_only_the_standard_library() -> None:
    """It comes at once: what the emulator needs takes a second to import."""
    script = "import sys; from redivis_emulator.cli import main\ntry: main()\nfinally: print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script, "--help"], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("usage: redivis-emulator")
    assert not {"pyarrow", "msgspec", "starlette", "yaml", "duckdb"} & set(done.stdout.split())


def test_duckdb_is_loaded_at_the_first_query(folder: Path) -> None:
    script = (
        "import sys, pathlib, requests; from redivis_emulator import Emulator\n"
        "with Emulator(pathlib.Path(sys.argv[1])) as e:\n"
        "    ask = lambda method, path, **body: requests.request(\n"
        "        method, e.endpoint + path, headers={'Authorization': 'Bearer ' + e.token}, **body).status_code\n"
        "    print(ask('GET', '/tables/acme.numbers.numbers/rows'), 'duckdb' in sys.modules)\n"
        "    print(ask('POST', '/queries', json={'query': 'SELECT 1'}), 'duckdb' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(folder)], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["200 False", "200 True"], done.stderr


@pytest.mark.parametrize("module", ["duckdb", "httptools", "sqlglot", "starlette", "uvicorn", "uvloop", "yaml"])
def test_without_the_extra(module: str) -> None:
    """One line says what to install, whichever package of the extra is missing."""
    script = f"import sys; sys.modules[{module!r}] = None; from redivis_emulator.cli import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", script, "serve"], capture_output=True, text=True, check=False)
    message = "The emulator needs an extra: pip install 'tap-redivis[emulator]'\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", message)


def test_an_interrupt_while_the_folder_is_read(tmp_path: Path) -> None:
    """No traceback: the folder holds a pipe, which takes for ever to read."""
    fifo = tmp_path / "served" / "acme" / "slow" / "dataset.yml"
    fifo.parent.mkdir(parents=True)
    os.mkfifo(fifo)
    with subprocess.Popen([*EMULATOR, "serve", str(tmp_path / "served")], stderr=subprocess.PIPE, text=True) as process:
        with fifo.open("w"):
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=20)
        assert (process.returncode, said) == (130, "")
