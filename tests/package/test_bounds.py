"""The oldest versions that pyproject.toml allows are those that are tested."""

from __future__ import annotations

import subprocess
import sys
import venv
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.package.conftest import Dist

pytestmark = pytest.mark.xdist_group("package")

_OLDEST = {"python_version": "3.10", "sys_platform": "linux"}
_DEMO_ROWS = {"airlines": 16, "airports": 1458, "flights": 336_776, "planes": 3325, "weather": 26_059}


def test_each_dependency_is_pinned_to_its_lower_bound(dist: Dist, pytestconfig: pytest.Config) -> None:
    """`constraints-lowest.txt` has a line for each dependency of users, and nothing else."""
    lines = (pytestconfig.rootpath / "constraints-lowest.txt").read_text().splitlines()
    pins = _versions([line.split(" #")[0] for line in lines if not line.startswith("#")], "==")

    assert pins == _versions(dist.metadata().get_all("Requires-Dist", []), ">=")


@pytest.mark.long
def test_with_the_oldest_dependencies_the_wheel_loads_the_demo(
    dist: Dist, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """In an environment that holds nothing but the wheel and its oldest dependencies, each row comes."""
    root = pytestconfig.rootpath
    programs = _install(f"{dist.wheel}[demo]", root / "constraints-lowest.txt", tmp_path / "environment")
    output = tmp_path / "output"
    command = [str(programs / "redivis-emulator"), "run", "--", str(programs / "tap-redivis")]

    with output.open("wb") as stdout:
        config = root / "sample_config.json"
        subprocess.run([*command, "--config", config], cwd=tmp_path, stdout=stdout, check=True, timeout=300)

    assert _records(output) == {f"nycflights13__{table}": rows for table, rows in _DEMO_ROWS.items()}


def _versions(requirements: list[str], operator: str) -> dict[str, Version]:
    """Return the versions that stand after an operator in what users install, on the oldest Python."""
    found = {}
    for requirement in map(Requirement, requirements):
        wanted = any(
            requirement.marker is None or requirement.marker.evaluate({**_OLDEST, "extra": extra})
            for extra in ("adbc", "emulator", "demo", "s3", "gcs", "azure", "dask")
        )
        if wanted and not requirement.extras:
            [found[requirement.name]] = [
                Version(each.version) for each in requirement.specifier if each.operator == operator
            ]
    return found


def _install(requirement: str, constraints: Path, folder: Path) -> Path:
    """Install into a new environment; return the folder of its programs."""
    venv.create(folder, symlinks=True)
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin/python")]
    options = ["--quiet", "--no-compile", "--use-pep517", "--constraint", str(constraints)]
    subprocess.run([*pip, "install", *options, requirement], check=True)
    subprocess.run([*pip, "check"], check=True)
    return folder / "bin"


def _records(output: Path) -> Counter[str]:
    """Count the records of each stream."""
    with output.open("rb") as lines:
        messages = map(msgspec.json.Decoder().decode, lines)
        return Counter(message["stream"] for message in messages if message["type"] == "RECORD")
