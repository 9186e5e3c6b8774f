"""The recipes: the script that keeps the state, as it stands on the page, with the emulator and target-jsonl."""

from __future__ import annotations

import ast
import json
import os
import re
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from redivis_emulator import Emulator, Fault
from tests.support.environments import environment
from tests.support.pipes import Json, Output, Program, run
from tests.support.readers import interrupted_when
from tests.support.served import visits, write_table

_ROWS = 2000
_RECIPES = Path(__file__).parents[2] / "docs/recipes"


@dataclass(frozen=True)
class _Job:
    """The script with its files.

    Attributes:
        folder: Holds the script, the configs, the state, and what the target writes.
        emulator: Serves `demo.visits` with 2,000 rows.
    """

    folder: Path
    emulator: Emulator

    @property
    def state_file(self) -> Path:
        return self.folder / "state.json"

    def program(self, *target: str, starter: tuple[str, ...] = (), token: str | None = None) -> Program:
        """Describe a run of the script.

        Args:
            *target: The target's command; without it target-jsonl's.
            starter: The command that starts the script.
            token: Another than the emulator's.
        """
        command = target or ("target-jsonl", "--config", str(self.folder / "target.json"))
        script = (str(self.folder / "load.sh"), str(self.folder / "tap.json"), str(self.state_file))
        folders = [Path(sys.executable).parent, environment("target-jsonl").bin]
        variables = {
            "PATH": os.pathsep.join([*map(str, folders), os.environ["PATH"]]),
            "REDIVIS_API_ENDPOINT": self.emulator.endpoint,
            "REDIVIS_API_TOKEN": token or self.emulator.token or "",
        }
        return Program((*starter, *script, *command), variables, self.emulator.token)

    def bookmark(self) -> Json:
        """Return the bookmark that is kept."""
        found: Json = json.loads(self.state_file.read_text())["bookmarks"]["visits__visits"]
        return found

    def loaded(self) -> list[int]:
        """Return the ids that the target has written, in order; with target-jsonl each load adds to the file."""
        file = self.folder / "visits__visits.jsonl"
        return sorted(json.loads(line)["id"] for line in file.read_text().splitlines()) if file.exists() else []

    def has_begun(self) -> bool:
        """Tell whether the target has written anything."""
        return (self.folder / "visits__visits.jsonl").exists()

    def sessions(self) -> int:
        """Return how many read sessions were asked for since the emulator forgot."""
        return sum(request.path.endswith("/readSessions") for request in self.emulator.requests)


@pytest.fixture(name="job")
def make_job(tmp_path: Path) -> Iterator[_Job]:
    folder = tmp_path / "loads"
    folder.mkdir()
    script = folder / "load.sh"
    script.write_text(_block("airflow.md", "bash"))
    script.chmod(0o755)
    (folder / "tap.json").write_text('{"datasets": ["demo.visits"]}')
    (folder / "target.json").write_text(json.dumps({"destination_path": str(folder), "do_timestamp_file": False}))
    write_table(tmp_path / "served", "demo/visits/v1.0/visits", visits(_ROWS))
    with Emulator(tmp_path / "served") as emulator:
        yield _Job(folder, emulator)


def test_the_first_run_loads_and_the_second_reads_nothing(job: _Job) -> None:
    first = run(job.program())
    job.emulator.forget_requests()
    second = run(job.program())

    assert (first.exit_code, second.exit_code) == (0, 0), first.stderr + second.stderr
    assert job.bookmark()["rows"] == _ROWS
    assert job.sessions() == 0
    assert job.loaded() == list(range(_ROWS))


@pytest.mark.parametrize("starter", [(), ("timeout", "300")], ids=["one process", "process group"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_run_is_resumed(job: _Job, number: signal.Signals, starter: tuple[str, ...]) -> None:
    """The script alone is told, as by a container engine, or all processes are, as by `timeout`: no row comes twice."""
    job.emulator.faults.add(Fault(kind="stall", path="/readStreams/*", nth="every", at_row=300))
    first = interrupted_when(job.program(starter=starter), number, job.has_begun)
    kept, before = job.bookmark(), job.loaded()
    job.emulator.faults.clear()
    second = run(job.program())

    assert first.exit_code in {130, 143}
    assert sum(stream["offset"] for stream in kept["reading"]["streams"].values()) == len(before)
    assert second.exit_code == 0, second.stderr
    assert job.loaded() == list(range(_ROWS))


def test_the_exit_code_is_the_taps(job: _Job) -> None:
    """The state of before stays where the tap does not even begin."""
    run(job.program())
    before = job.state_file.read_bytes()

    assert run(job.program(token="wrong")).exit_code == 1  # noqa: S106 - that is its point
    assert job.state_file.read_bytes() == before


def test_the_exit_code_is_the_targets(job: _Job) -> None:
    assert _with_target(job, "exit 7").exit_code == 7
    assert not job.state_file.exists()


def test_only_whole_states_are_kept(job: _Job) -> None:
    """The last whole line counts; neither the half one of a target that died nor an empty state does."""
    _with_target(job, """printf '{"bookmarks": 1}\n{"bookmarks": 2}\n{}\n{"book'""")

    assert json.loads(job.state_file.read_text()) == {"bookmarks": 2}


@pytest.mark.parametrize("page", ["airflow.md", "dagster.md"])
def test_the_pythons_of_the_pages_can_be_read(page: str) -> None:
    """`python -m docs.schedulers` runs them in both products, and says so below; here that they can be, and did."""
    code, text = _block(page, "python"), (_RECIPES / page).read_text()

    assert ast.parse(code)
    assert "/opt/loads/load.sh" in code
    assert re.search(
        r"^Tried with [\w-]+ [\d.]+: the first run loaded 2,000 rows, the next one none\.$", text, re.MULTILINE
    )


def _with_target(job: _Job, command: str) -> Output:
    """Run the script with a shell command, which reads all, as the target."""
    return run(job.program("sh", "-c", f"cat > /dev/null; {command}"))


def _block(page: str, language: str) -> str:
    """Return the one block of code in a language on a page."""
    [block] = re.findall(rf"^```{language}\n(.*?)^```$", (_RECIPES / page).read_text(), re.MULTILINE | re.DOTALL)
    return str(block)
