"""Parameters of which `make test` runs a sample, and `make test-long` the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable

    from _pytest.mark import ParameterSet

T = TypeVar("T")


def sampled(values: Iterable[T], sample: Container[T], name: Callable[[T], str] = str) -> list[ParameterSet]:
    """Give each value its name as id, and those outside the sample the mark `long`."""
    return [pytest.param(each, id=name(each), marks=() if each in sample else pytest.mark.long) for each in values]
