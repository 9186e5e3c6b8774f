"""The page of faults is made by `make faults`; here only that it is not behind the menu."""

from __future__ import annotations

from pathlib import Path

from tests.faults.menu import MENU

_PAGE = Path(__file__).parents[2] / "docs" / "faults.md"


def test_the_page_names_every_fault() -> None:
    """No row is missing, and none is left of a fault that is not on the menu any more."""
    rows = [line for line in _PAGE.read_text().splitlines() if line.startswith("| `")]
    items = [item for group in MENU.values() for item in group]

    assert [row.split(" | ")[0] for row in rows] == [f"| `{item.name}` {item.words}" for item in items]
