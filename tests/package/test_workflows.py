"""The workflows: actions pinned, few rights, the Pythons that are promised, and a release of what was tested."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.package.conftest import Dist
from tests.support.environments import environment

pytestmark = pytest.mark.xdist_group("package")

_PINNED = re.compile(r"uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
_WORKFLOWS = ["ci.yml", "release.yml"]


@pytest.fixture(name="folder")
def find_folder(pytestconfig: pytest.Config) -> Path:
    return pytestconfig.rootpath / ".github/workflows"


def test_all_workflows_are_looked_at(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == _WORKFLOWS


@pytest.mark.parametrize("name", _WORKFLOWS)
def test_actions_are_pinned_to_a_commit(folder: Path, name: str) -> None:
    """A tag can be moved to other code, a commit cannot; the version stands beside it for people."""
    uses = [line for line in (folder / name).read_text().splitlines() if "uses:" in line]

    assert uses
    assert not [line for line in uses if not _PINNED.search(line)]


@pytest.mark.parametrize("name", _WORKFLOWS)
def test_jobs_may_only_read_and_publish(folder: Path, name: str) -> None:
    """No right by default; the one to publish has the one job that does nothing else."""
    workflow = _load(folder / name)
    rights = {job: content["permissions"] for job, content in workflow["jobs"].items()}

    assert workflow["permissions"] == {}
    assert rights.pop("publish", {"id-token": "write"}) == {"id-token": "write"}
    assert all(right == {"contents": "read"} for right in rights.values())


@pytest.mark.parametrize("name", _WORKFLOWS)
def test_the_promised_pythons_are_tested(folder: Path, name: str, dist: Dist) -> None:
    assert _load(folder / name)["jobs"]["test"]["strategy"]["matrix"]["python"] == dist.pythons()


def test_a_release_publishes_what_was_built_once_and_tested(folder: Path) -> None:
    """The jobs hand on one artifact; the one that publishes has neither the sources nor a way to build."""
    jobs = _load(folder / "release.yml")["jobs"]
    artifacts = {job: _artifacts(content) for job, content in jobs.items()}

    assert (jobs["test"]["needs"], jobs["publish"]["needs"]) == ("build", "test")
    assert artifacts == {"build": ["dist"], "test": ["dist"], "publish": ["dist"]}
    assert [step.get("run") for step in jobs["publish"]["steps"]] == [None, None]
    assert not [step for step in jobs["publish"]["steps"] if "checkout" in step["uses"]]


def test_zizmor_finds_nothing(folder: Path) -> None:
    """Neither an expression that runs strangers' text, nor a kept credential, nor a right too many."""
    zizmor = environment("zizmor").executable("zizmor")
    options = ["--offline", "--persona=pedantic", "--quiet"]
    done = subprocess.run([zizmor, *options, folder.parent], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


def _load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def _artifacts(job: Any) -> list[str]:
    return [step["with"]["name"] for step in job["steps"] if "-artifact@" in step.get("uses", "")]
