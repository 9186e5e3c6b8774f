"""CONTRIBUTING.md names what there is: each command of make, each folder of tests."""

from __future__ import annotations

import re
from pathlib import Path

import pytest


@pytest.fixture(name="root")
def find_root(pytestconfig: pytest.Config) -> Path:
    return pytestconfig.rootpath


def test_each_command_of_make_is_explained(root: Path) -> None:
    [targets] = re.findall(r"^\.PHONY: (.*)$", (root / "Makefile").read_text(), re.MULTILINE)

    assert _first_cells(root, "make ") == set(targets.split())


def test_each_folder_of_tests_is_explained(root: Path) -> None:
    folders = {path.parent.name for path in root.glob("tests/*/__init__.py")}

    assert _first_cells(root, "tests/") == {f"{folder}/" for folder in folders}


def _first_cells(root: Path, beginning: str) -> set[str]:
    """Return what follows a beginning in the first cells of the tables."""
    text = (root / "CONTRIBUTING.md").read_text()
    return set(re.findall(rf"^\| `{beginning}([^`]+)` \|", text, re.MULTILINE))
