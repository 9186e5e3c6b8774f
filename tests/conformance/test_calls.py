"""How many calls of the official client pass, and that docs/emulator.md names all methods that cannot be called."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conformance.conftest import Session

# One client process for all tests of this folder, also with several workers.
pytestmark = pytest.mark.xdist_group("official client")

_PAGE = (Path(__file__).parents[2] / "docs" / "emulator.md").read_text()
_PASS = 150
# These are called, and show that the client itself fails.
_FAIL_IN_THE_CLIENT = {"Dataset.previous_version", "Dataset.next_version", "Version.dataset"}


def test_at_least_150_calls_pass(client: Session) -> None:
    """The same method with the same parameters counts once, whatever it is asked of."""
    calls = {call for answer in client.answers.values() for call in answer.get("calls", [])}
    passed = {call for call in calls if call.partition("(")[0] not in _FAIL_IN_THE_CLIENT}

    assert [name for name, answer in client.answers.items() if "error" in answer] == []
    assert len(passed) >= _PASS


def test_the_page_names_the_methods_that_cannot_be_called(client: Session) -> None:
    section = _PAGE.partition("## The official client")[2].partition("\n## ")[0]
    first_column = "".join(line.split("|")[1] for line in section.splitlines() if line.startswith("|"))
    used = {method for answer in client.answers.values() for method in answer.get("used", [])}

    groups = re.findall(r"`(\w+)\.([\w, ]+)`", first_column)
    named = {f"{kind}.{name}" for kind, names in groups for name in names.split(", ")}
    assert named == set(client.methods) - used | _FAIL_IN_THE_CLIENT
