"""Meltano: the definition, the example and the page, with the wheel, real targets and Meltano's own state."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from jsonschema.validators import validator_for

from redivis_emulator import Emulator, Fault, demo
from redivis_emulator.service import Settings
from tests.package.conftest import Dist
from tests.support.environments import cache_folder, environment
from tests.support.pipes import Json, Output, Program, run, started
from tests.support.postgres import Postgres
from tests.support.served import assert_same_rows, records_of

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("meltano")]

_ROOT = Path(__file__).parents[2]
_PAGE = (_ROOT / "docs/meltano.md").read_text()
_PINS = {
    ("extractor", "tap-redivis"): _ROOT / "constraints.txt",
    ("loader", "target-jsonl"): _ROOT / "tests/support/constraints-target-jsonl.txt",
    ("loader", "target-postgres"): _ROOT / "tests/support/constraints-meltanolabs-target-postgres.txt",
}
_OF_HUB = (
    "maintenance_status",
    "quality",
    "domain_url",
    "keywords",
    "prereq",
    "settings_preamble",
    "next_steps",
    "usage",
    "supported_python_versions",
)
_PLANES = "nycflights13__planes"
_STALL = Fault(kind="stall", path="/readStreams/*", nth="every", at_row=500)


@dataclass(frozen=True)
class Project:
    """A clone of the repository with a Meltano project in its folder `loads`.

    Attributes:
        clone: Holds `meta.yml`, the example, and the project.
        served: Folder of the demo data.
        emulator: Serves it, tables in four read streams.
        variables: Environment of all programs.
    """

    clone: Path
    served: Path
    emulator: Emulator
    variables: Mapping[str, str] = field(repr=False)

    def program(self, *argv: str, **variables: str) -> Program:
        """Describe a program that runs as a user of the project would run it."""
        return Program(argv, {**self.variables, **variables}, self.emulator.token)

    def meltano(self, *arguments: str, **variables: str) -> Program:
        """Describe a command of Meltano in the project."""
        return self.program("meltano", "--cwd", str(self.clone / "loads"), *arguments, **variables)

    def sh(self, script: str, **variables: str) -> Output:
        """Run a script in the clone; it must succeed."""
        return succeeded(run(self.program("bash", "-euo", "pipefail", "-c", f"cd {self.clone}\n{script}", **variables)))

    def state(self, job: str) -> Json:
        """Return the bookmarks that Meltano keeps of a job."""
        done = succeeded(run(self.meltano("state", "get", job)))
        found: Json = json.loads(done.stdout)["singer_state"]["bookmarks"]
        return found

    def source(self) -> pa.Table:
        """Return the planes as the example selects them."""
        return pq.read_table(self.served / "demo/nycflights13/v1.1/planes.parquet").drop_columns(["speed"])

    def offsets_asked(self) -> list[int]:
        """Return the offsets that read streams of the planes were asked for, since the emulator forgot."""
        asked = [each for each in self.emulator.requests if each.path.startswith("/readStreams/")]
        return [int(each.query.get("offset", 0)) for each in asked]


def succeeded(done: Output) -> Output:
    """Check that a program has succeeded."""
    assert done.exit_code == 0, done.stderr
    return done


@pytest.fixture(name="project", scope="module")
def make_project(dist: Dist, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The project of the example, with its three plugins installed at the versions that the other tests use."""
    clone, served = tmp_path_factory.mktemp("clone"), tmp_path_factory.mktemp("served")
    (clone / "docs/examples").mkdir(parents=True)
    (clone / "loads").mkdir()
    for name in ("meta.yml", "docs/examples/meltano.yml"):
        shutil.copy(_ROOT / name, clone / name)
    shutil.copy(_ROOT / "docs/examples/meltano.yml", clone / "loads")
    demo.build(served)
    with Emulator(served, settings=Settings(streams=4)) as emulator:
        project = Project(clone, served, emulator, _variables(dist, emulator))
        for (kind, name), pins in _PINS.items():
            pinned = {"UV_CONSTRAINT": str(pins), "UV_BUILD_CONSTRAINT": str(pins)}
            succeeded(run(project.meltano("install", kind, name, **pinned)))
        yield project


@pytest.fixture(autouse=True)
def _forget(project: Project) -> Iterator[None]:
    project.emulator.forget_requests()
    yield
    project.emulator.faults.clear()


def _variables(dist: Dist, emulator: Emulator) -> dict[str, str]:
    folders = [environment("meltano").bin, Path(sys.executable).parent]
    variables = {
        "PATH": os.pathsep.join([*map(str, folders), os.environ["PATH"]]),
        "REDIVIS_API_ENDPOINT": emulator.endpoint,
        "REDIVIS_API_TOKEN": emulator.token or "",
        "MELTANO_SEND_ANONYMOUS_USAGE_STATS": "false",
        "MELTANO_CLI_DISABLE_VERSION_CHECK": "true",
        "UV_FIND_LINKS": str(dist.wheel.parent),
        "UV_CACHE_DIR": str(cache_folder().parent / "uv"),
    }
    if registry := os.environ.get("PIP_INDEX_URL"):  # which the other environments are made from
        variables["UV_DEFAULT_INDEX"] = registry
    return variables


def test_the_page_makes_a_new_project(project: Project, dist: Dist, tmp_path: Path) -> None:
    """A wheel of one's own, `meltano add --from-ref meta.yml`, selection and `config test`; no token is shown."""
    new = replace(project, clone=dist.clone(tmp_path))
    pins = {"UV_CONSTRAINT": str(_ROOT / "constraints.txt"), "UV_FIND_LINKS": ""}
    hatchling = str(_ROOT / "tests/support/constraints-hatchling.txt")
    pins |= {"PIP_CONSTRAINT": hatchling, "PIP_BUILD_CONSTRAINT": hatchling}

    done = new.sh(f"{_block('')}\n{_block('A new project')}\nmeltano config list --all tap-redivis", **pins)
    printed = done.stdout.decode()

    [added] = yaml.safe_load((new.clone / "loads/meltano.yml").read_text())["plugins"]["extractors"]
    defined = yaml.safe_load((new.clone / "meta.yml").read_text())["settings"]
    assert "Plugin configuration is valid" in done.stderr + printed
    assert not [part for part in defined if f"TAP_REDIVIS_{part['name'].replace('.', '_').upper()}]" not in printed]
    assert added["select"] == ["nycflights13__airlines.*"]  # the definition's own is none of the project's rules


def test_the_definition_is_one_in_meltanos_schema() -> None:
    """And the example's project too; what only the Hub keeps of a definition has the Hub's words."""
    [path] = environment("meltano").path.glob("lib/*/site-packages/meltano/schemas/meltano.schema.json")
    schema = json.loads(path.read_text())
    meta = yaml.safe_load((_ROOT / "meta.yml").read_text())
    of_hub = {name: meta.pop(name) for name in _OF_HUB}
    example = yaml.safe_load((_ROOT / "docs/examples/meltano.yml").read_text())
    validator = validator_for(schema)(schema)

    for project in (example, {"version": 1, "plugins": {"extractors": [meta]}}):
        assert [error.message for error in validator.iter_errors(project)] == []
    assert of_hub["maintenance_status"] in {"active", "beta", "development", "inactive", "unknown"}
    assert of_hub["domain_url"].startswith("https://")
    assert {type(value) for value in of_hub.values()} == {str, list}


def test_the_older_spelling_adds_the_same(project: Project, tmp_path: Path) -> None:
    """`meltano add extractor tap-redivis`, as before Meltano 4, gives the definition that the example holds."""
    new = replace(project, clone=tmp_path)
    shutil.copy(_ROOT / "meta.yml", tmp_path)

    new.sh(
        "meltano init loads --no-usage-stats; cd loads\n"
        "meltano add extractor tap-redivis --from-ref ../meta.yml --no-install"
    )

    [added] = yaml.safe_load((tmp_path / "loads/meltano.yml").read_text())["plugins"]["extractors"]
    [ready] = yaml.safe_load((_ROOT / "docs/examples/meltano.yml").read_text())["plugins"]["extractors"]
    kept = {name: part for name, part in added.items() if name not in {"settings", *_OF_HUB}}
    assert kept.items() <= ready.items()
    assert [part["name"] for part in added["settings"]] == [part["name"] for part in ready["settings"]]


def test_the_page_loads_the_example(project: Project) -> None:
    """Install, test, list and run as printed: the files hold the rows of the source, without what is not selected."""
    done = project.sh(_block("A project that is ready"))
    listed = done.stdout.decode()

    assert "[automatic  ] nycflights13__planes.tailnum" in listed
    assert "[excluded   ] nycflights13__planes.speed" in listed
    assert "[excluded   ] nycflights13__airports.faa" in listed
    assert {path.name for path in (project.clone / "loads/output").glob("*.jsonl")} == {
        "nycflights13__airlines.jsonl",
        "nycflights13__planes.jsonl",
    }
    assert_same_rows(_landed(project.clone / "loads/output"), records_of(project.source()))
    assert json.loads(listed.splitlines()[-1])["singer_state"]["bookmarks"][_PLANES]["rows"] == 3325


def test_target_adbc_loads_the_example(project: Project, postgres: Postgres, tmp_path: Path) -> None:
    """Added by its definition; Arrow files go into PostgreSQL, Meltano keeps STATE, and the next run reads nothing."""
    (project.clone / "target_adbc").mkdir()
    shutil.copy(_ROOT / "target_adbc/meta.yml", project.clone / "target_adbc")
    variables = {
        "UV_CONSTRAINT": str(_ROOT / "constraints.txt"),
        "TARGET_ADBC_URI": postgres.url,
        "TAP_REDIVIS_BATCH_CONFIG_ENCODING_FORMAT": "arrow",
        "TAP_REDIVIS_BATCH_CONFIG_STORAGE_ROOT": str(tmp_path / "lake"),
    }
    load = "cd loads\nmeltano run tap-redivis target-adbc"
    project.sh(f"cd loads\nmeltano add loader target-adbc --from-ref ../target_adbc/meta.yml\n{load[9:]}", **variables)

    source = project.source()
    found = postgres.query(f"SELECT {', '.join(source.column_names)} FROM {_PLANES} ORDER BY tailnum")  # noqa: S608
    assert found == sorted(zip(*(source[name].to_pylist() for name in source.column_names), strict=True))
    assert [path for path in (tmp_path / "lake").rglob("*") if path.is_file()] == []
    assert project.state("dev:tap-redivis-to-target-adbc")[_PLANES]["rows"] == 3325
    project.emulator.forget_requests()
    project.sh(load, **variables)
    assert project.offsets_asked() == []


def test_the_page_plans_the_next_run(project: Project) -> None:
    """By the state that Meltano keeps: after a run nothing is left to read."""
    project.sh("cd loads\nmeltano run tap-redivis target-jsonl")
    project.emulator.forget_requests()

    planned = project.sh(f"cd loads\n{_block('What tonight would read')}").stdout.decode()

    assert "0 to read (0 rows, 0.0 MB, about 0.0 minutes), 2 to skip, 0 would stop" in planned
    assert project.offsets_asked() == []


def test_a_wrong_token_is_told(project: Project) -> None:
    """`config test` fails, with the line that says what to do."""
    done = run(project.meltano("config", "test", "tap-redivis", TAP_REDIVIS_API_TOKEN="wrong"))  # noqa: S106 - that is its point

    assert done.exit_code == 1
    assert "Check" in done.stderr


def test_an_interrupted_run_is_resumed(project: Project, tmp_path: Path) -> None:
    """The tap is told to end in the middle: the next run asks for what is missing, and no row comes twice."""
    job = "dev:tap-redivis-to-target-jsonl:resumed"
    command = ("run", "--state-id-suffix", "resumed", "tap-redivis", "target-jsonl")
    program = project.meltano(*command, TARGET_JSONL_DESTINATION_PATH=str(tmp_path))

    project.emulator.faults.add(_STALL)
    first = _interrupted(program, lambda: bool(_landed(tmp_path)), _terminate_tap)
    kept, before = project.state(job)[_PLANES], _landed(tmp_path)
    project.emulator.faults.clear()
    project.emulator.forget_requests()
    second = run(program)

    offsets = [stream["offset"] for stream in kept["reading"]["streams"].values()]
    assert first.exit_code == 1
    assert sum(offsets) == len(before) < 3325
    assert second.exit_code == 0, second.stderr
    # The row before an offset is asked for too: it must be the row that was written last.
    assert sorted(project.offsets_asked()) == sorted(max(offset - 1, 0) for offset in offsets)
    assert_same_rows(_landed(tmp_path), records_of(project.source()))
    assert project.state(job)[_PLANES]["table_version"] == kept["reading"]["table_version"]


def test_a_database_is_filled_kept_and_refreshed(project: Project, postgres: Postgres) -> None:
    """Interrupted, resumed, unchanged, `--full-refresh`: after each whole run the table is what it is at the source."""
    job = "dev:tap-redivis-to-target-postgres"
    program = project.meltano("run", "tap-redivis", "target-postgres", **_in(postgres))
    refresh = project.meltano("run", "--full-refresh", "tap-redivis", "target-postgres", **_in(postgres))

    project.emulator.faults.add(_STALL)
    first = _interrupted(program, lambda: _count(postgres) > 0, _terminate_tap)
    kept, before = project.state(job)[_PLANES], _count(postgres)
    project.emulator.faults.clear()
    project.emulator.forget_requests()
    second = run(program)
    asked, stored = project.offsets_asked(), _stored(postgres)
    project.emulator.forget_requests()
    third = run(program)
    asked_again = [each for each in project.emulator.requests if "read" in each.path]
    fourth = run(refresh)

    offsets = [stream["offset"] for stream in kept["reading"]["streams"].values()]
    expected = _tuples(project.source())
    assert [done.exit_code for done in (first, second, third, fourth)] == [1, 0, 0, 0], second.stderr
    assert sum(offsets) == before < 3325
    assert sorted(asked) == sorted(max(offset - 1, 0) for offset in offsets)
    assert stored == expected
    assert asked_again == []
    assert project.offsets_asked() == [0] * 4  # four read streams; the other table is small enough for one answer
    assert _stored(postgres) == expected


def test_after_ctrl_c_nothing_is_lost_and_nothing_is_twice(project: Project, postgres: Postgres) -> None:
    """Meltano drops the state of the run that it was told to end: the next run reads anew, and its rows alone stay."""
    command = ("run", "--state-id-suffix", "ctrl-c", "tap-redivis", "target-postgres")
    program = project.meltano(*command, **_in(postgres))

    project.emulator.faults.add(_STALL)
    first = _interrupted(program, lambda: _count(postgres) > 0, lambda pid: os.kill(pid, signal.SIGINT))
    project.emulator.faults.clear()
    second = run(program)

    assert first.exit_code != 0
    assert second.exit_code == 0, second.stderr
    assert _stored(postgres) == _tuples(project.source())


def test_files_reach_a_database(project: Project, postgres: Postgres, tmp_path: Path) -> None:
    """BATCH as printed, each part of its setting under a name of its own."""
    script = _block("Files instead of records").replace("/var/tmp/loads", str(tmp_path))  # noqa: S108 - of the page

    project.sh(f"cd loads\n{script}", **_in(postgres))

    assert len(list(tmp_path.rglob(f"{_PLANES}*.jsonl.gz"))) == 4  # a file for each read stream
    assert _stored(postgres) == _tuples(project.source())


def _block(title: str) -> str:
    """Return the first shell block under a heading of the page, or at its begin."""
    section = (_PAGE.split(f"\n## {title}\n")[1] if title else _PAGE).split("\n## ")[0]
    return re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)[0]


def _interrupted(program: Program, is_time: Callable[[], bool], interrupt: Callable[[int], None]) -> Output:
    """Run Meltano and interrupt it, given its process id, when it is time."""
    with started(program) as process:
        while not is_time():
            assert process.popen.poll() is None, "Meltano ended before it could be interrupted"
            time.sleep(0.02)
        interrupt(process.popen.pid)
        return process.end(process.stdout.read())


def _terminate_tap(meltano: int) -> None:
    """Send SIGTERM to the tap that Meltano has started."""
    children = [
        int(pid) for file in Path(f"/proc/{meltano}/task").glob("*/children") for pid in file.read_text().split()
    ]
    [tap] = [pid for pid in children if b"/bin/tap-redivis" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(tap, signal.SIGTERM)


def _landed(folder: Path) -> list[Json]:
    """Return the planes that target-jsonl has written whole."""
    file = folder / f"{_PLANES}.jsonl"
    lines = file.read_bytes().splitlines(keepends=True) if file.exists() else []
    return [json.loads(line) for line in lines if line.endswith(b"\n")]


def _in(database: Postgres) -> dict[str, str]:
    place = {name: str(getattr(database, name)) for name in ("host", "port", "user", "password", "database")}
    return {f"TARGET_POSTGRES_{name.upper()}": value for name, value in {**place, "batch_size_rows": "500"}.items()}


def _count(database: Postgres) -> int:
    """Return how many planes are stored; the table may not be there yet."""
    [(table,)] = database.query(f"SELECT to_regclass('redivis.{_PLANES}')::text")
    [(rows,)] = database.query(f"SELECT count(*) FROM {table}") if table else [(0,)]  # noqa: S608 - the same
    return int(rows)


def _stored(database: Postgres) -> list[tuple[object, ...]]:
    columns = "tailnum, year, type, manufacturer, model, engines, seats, engine"
    return database.query(f'SELECT {columns} FROM redivis.{_PLANES} ORDER BY tailnum COLLATE "C"')  # noqa: S608


def _tuples(source: pa.Table) -> list[tuple[object, ...]]:
    return sorted(zip(*(column.to_pylist() for column in source.columns), strict=True))
