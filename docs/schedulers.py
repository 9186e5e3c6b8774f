"""Run the recipes for Airflow and Dagster as their pages print them; write what came of it below them.

Run ``python -m docs.schedulers``; it takes a minute, and some more the first time, when both are installed.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

from docs.generate import ROOT, filled
from redivis_emulator import Emulator
from tests.support.environments import environment
from tests.support.pipes import Program, run
from tests.support.served import visits, write_table

_PAGES = ROOT / "docs/recipes"
_PLACE = "/opt/loads"
_ROWS = 2000


@dataclass(frozen=True)
class Scheduler:
    """One of the two.

    Attributes:
        page: Name of the page with its code.
        distribution: What is installed.
        file: Where the code goes, below the working folder.
        variables: Its environment, given the working folder and the token.
        commands: Its commands; the last one runs the load once.
    """

    page: str
    distribution: str
    file: str
    variables: Callable[[Path, str], Mapping[str, str]]
    commands: tuple[tuple[str, ...], ...]

    @property
    def version(self) -> str:
        """The version that is installed."""
        [folder] = environment(self.distribution).path.glob("lib/python*/site-packages")
        [found] = [each for each in distributions(path=[str(folder)]) if each.name == self.distribution]
        return found.version


def _airflow(folder: Path, token: str) -> Mapping[str, str]:
    return {
        "AIRFLOW_HOME": str(folder / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(folder / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW_CONN_REDIVIS": json.dumps({"conn_type": "generic", "password": token}),
    }


def _dagster(folder: Path, token: str) -> Mapping[str, str]:
    return {"DAGSTER_HOME": str(folder), "REDIVIS_API_TOKEN": token}


SCHEDULERS = (
    Scheduler(
        "airflow.md",
        "apache-airflow",
        "dags/nightly.py",
        _airflow,
        (("airflow", "db", "migrate"), ("airflow", "dags", "test", "redivis_nightly")),
    ),
    Scheduler(
        "dagster.md",
        "dagster",
        "nightly.py",
        _dagster,
        (("dagster", "job", "execute", "-f", "nightly.py", "-j", "redivis_nightly"),),
    ),
)


def code(page: str, language: str) -> str:
    """Return the one block of code in a language on a page."""
    [block] = re.findall(rf"^```{language}\n(.*?)^```$", (_PAGES / page).read_text(), re.MULTILINE | re.DOTALL)
    return str(block)


def tried(scheduler: Scheduler, folder: Path) -> str:
    """Run the recipe twice; say what came of it.

    Raises:
        RuntimeError: It failed, or did something else than the page says.
    """
    loads, served = folder / "loads", folder / "served"
    for path in (loads, (folder / scheduler.file).parent):
        path.mkdir(parents=True, exist_ok=True)
    (loads / "load.sh").write_text(code("airflow.md", "bash"))
    (loads / "load.sh").chmod(0o755)
    (loads / "redivis.json").write_text('{"datasets": ["demo.visits"]}')
    (loads / "target.json").write_text(json.dumps({"destination_path": str(loads), "do_timestamp_file": False}))
    (folder / scheduler.file).write_text(code(scheduler.page, "python").replace(_PLACE, str(loads)))
    write_table(served, "demo/visits/v1.0/visits", visits(_ROWS))
    with Emulator(served) as emulator:
        *before, load = (_program(scheduler, folder, emulator, command) for command in scheduler.commands)
        for program in (*before, load):
            _succeed(program)
        emulator.forget_requests()
        _succeed(load)
        again = [request.path for request in emulator.requests if "read" in request.path]
    rows = len((loads / "visits__visits.jsonl").read_text().splitlines())
    if (rows, again) != (_ROWS, []):
        raise RuntimeError(f"{rows} rows are there, and the second run asked for {again}")
    name = f"{scheduler.distribution} {scheduler.version}"
    return f"Tried with {name}: the first run loaded {rows:,} rows, the next one none."


def _program(scheduler: Scheduler, folder: Path, emulator: Emulator, command: tuple[str, ...]) -> Program:
    own = environment(scheduler.distribution)
    folders = [Path(sys.executable).parent, environment("target-jsonl").bin, own.bin]
    variables = {
        "PATH": os.pathsep.join([*map(str, folders), os.environ["PATH"]]),
        "REDIVIS_API_ENDPOINT": emulator.endpoint,
        **scheduler.variables(folder, emulator.token or ""),
    }
    name, *arguments = command
    shell = ("sh", "-c", 'cd "$0" && exec "$@"', str(folder), str(own.executable(name)), *arguments)
    return Program(shell, variables)


def _succeed(program: Program) -> None:
    done = run(program)
    if done.exit_code:
        raise RuntimeError(done.stdout.decode() + done.stderr)


def main() -> None:
    """Try both, and write the pages."""
    for scheduler in SCHEDULERS:
        with tempfile.TemporaryDirectory() as name:
            words = tried(scheduler, Path(name))
        page = _PAGES / scheduler.page
        page.write_text(filled(page.read_text(), words, "docs.schedulers"))


if __name__ == "__main__":
    main()
