"""The page of newcomers' mistakes says what the tap says."""

from __future__ import annotations

import pytest

from docs import mistakes


def test_there_are_twenty_each_typed_differently() -> None:
    assert len({mistake.typed for mistake in mistakes.MISTAKES}) == len(mistakes.MISTAKES) == 20


@pytest.mark.long
def test_each_line_is_what_comes_now() -> None:
    """Each mistake is made again."""
    assert f"\n{mistakes.table()}\n" in mistakes.PAGE.read_text()
