"""Each error says in one line what happened, where, and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tap_redivis import errors
from tap_redivis.errors import ConfigError, RedivisError, one_line


def test_an_error_has_three_parts() -> None:
    error = ConfigError("it is no list", where="datasets", hint="Write a list")

    assert str(error) == "datasets: it is no list. Write a list."


def test_an_error_without_a_place_begins_with_what_happened() -> None:
    assert str(ConfigError("it is empty", hint="Fill it")) == "it is empty. Fill it."


def test_an_error_is_one_line() -> None:
    """Servers' words may have several."""
    assert str(ConfigError("two\nlines", where=" a\tb ", hint="x\r\n")) == "a b : two lines. x ."


def test_what_would_steer_a_terminal_is_written_out() -> None:
    """Errors are shown in plans too, which are no log lines."""
    error = ConfigError("\x1b]0;x\x07 \x9b2J \u202e \ud800", where="a\u200bb", hint="Read it")

    assert str(error) == r"a\u200bb: \x1b]0;x\x07 \x9b2J \u202e \ud800. Read it."


@pytest.mark.parametrize(("text", "limit", "expected"), [("a b c", 5, "a b c"), ("a b cd", 5, "a b …"), ("", 5, "")])
def test_long_texts_are_cut(text: str, limit: int, expected: str) -> None:
    """To the limit, the mark of the cut included."""
    assert one_line(text, limit) == expected


def test_the_tree_in_the_docstring_is_the_real_one() -> None:
    """Every kind that is drawn there exists, below the one that it is drawn below."""
    drawn = re.findall(r"^([│ ├└─]*)(\w+)(?:  |$)", errors.__doc__ or "", re.MULTILINE)
    tree = [(len(branch) // 4, name) for branch, name in drawn if name[0].isupper() and hasattr(errors, name)]
    parents: dict[int, type[Exception]] = {-1: Exception}
    for depth, name in tree:
        kind = getattr(errors, name)
        assert kind.__bases__ == (parents[depth - 1],)
        parents[depth] = kind

    assert {name for _, name in tree} == {kind.__name__ for kind in _kinds(RedivisError)} - {"QuotaExceeded"}


def _kinds(kind: type[Exception]) -> Iterator[type[Exception]]:
    if kind.__module__ == errors.__name__:
        yield kind
    for child in kind.__subclasses__():
        yield from _kinds(child)
