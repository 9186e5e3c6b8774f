"""Each command that a page prints is run by a test as it stands there; those that cannot be are named here."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from jsonschema import Draft7Validator

from docs import tuning
from tap_redivis.model.settings import SOURCES, Settings
from tap_redivis.singer.config_schema import CONFIG_SCHEMA
from tests.support.environments import environment

_ROOT = Path(__file__).parents[2]
_PAGES = [_ROOT / "README.md", _ROOT / "CONTRIBUTING.md", *sorted((_ROOT / "docs").rglob("*.md"))]
_TARGET = "meltanolabs-target-postgres"
_RUN_BY = {
    "README.md": "package/test_quick_start.py, and below",
    "docs/batch.md": "below",
    "docs/dictionary.md": "docs/test_dictionary.py",
    "docs/emulator.md": "emulator/test_docs.py",
    "docs/index.md": "package/test_quick_start.py",
    "docs/meltano.md": "package/test_meltano.py",
    "docs/plan.md": "below",
    "docs/recipes/airflow.md": "package/test_recipes.py",
    "docs/replication.md": "below",
    "docs/target-adbc.md": "below",
    "docs/targets.md": "below",
}
_NOT_RUN = {
    "tap-redivis | target-postgres": "shows the shape of a load, not a command",
    "meltano add loader target-adbc --from-ref target_adbc/meta.yml": "it needs a project of Meltano",
    "pip install 'tap-redivis[adbc]'": "is not published yet",
    "pip install adbc-driver-snowflake": "needs an account of Snowflake",
    "make demo": "tests/demo/test_story.py tells its story",
    "make test": "it runs this",
    "make bench": "takes minutes",
    "pip install 'tap-redivis[emulator]'     # or [demo], to have the demo data as well": "is not published yet",
    "redivis-emulator serve [FOLDER] [--port 8080] [--token TOKEN] [--faults FILE] [--reading N=V]": "a synopsis",
    "set -o pipefail": "needs an account of BigQuery",
}
_COMMAND = re.compile(r"(?:\S*/)?(?:tap-redivis|redivis-emulator|meltano|make|pip|python3?|set|export|echo|curl)\b")


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


def test_the_sample_config_is_shown(tmp_path: Path) -> None:
    [command] = [block for block in _blocks(_ROOT / "README.md", "sh") if "sample_config" in block]
    (tmp_path / "sample_config.json").write_bytes((_ROOT / "sample_config.json").read_bytes())
    (tmp_path / "tap").mkdir()
    (tmp_path / "tap/bin").symlink_to(Path(sys.executable).parent)  # as the quick start leaves it

    assert "nycflights13__flights" in _run(command, tmp_path)


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


def test_flights_get_into_duckdb_by_target_adbc(tmp_path: Path) -> None:
    [command] = _blocks(_ROOT / "docs/target-adbc.md", "sh")

    assert "1458" in _run(command, tmp_path)
    assert not [path for path in (tmp_path / "lake").rglob("*") if path.is_file()]


def _blocks(page: Path, language: str) -> list[str]:
    """Return the blocks of code in a language; those in other languages are skipped whole."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    return [block for name, block in found if re.fullmatch(language, name)]


def _run(command: str, folder: Path) -> str:
    """Run a block of a page; return what it wrote to stdout."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
