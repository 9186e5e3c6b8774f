"""The page of targets is made by `python -m docs.targets`; here only that it is not behind, and that it can be made."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from docs import targets
from docs.targets import CASES, TARGETS, Bench
from tests.support.postgres import Postgres

_ROWS = [line.strip("| ").split(" | ") for line in targets.PAGE.read_text().splitlines() if line.startswith("| ")]


@pytest.fixture(name="bench", scope="module")
def make_bench(tmp_path_factory: pytest.TempPathFactory, postgres_server: Postgres) -> Iterator[Bench]:
    bench = Bench.open(tmp_path_factory.mktemp("targets"), postgres_server)
    with bench.emulator:
        yield bench


def test_the_page_has_every_case_and_every_target() -> None:
    begin = next(number for number, row in enumerate(_ROWS) if "target-" in row[0])

    assert [re.sub("`", "", name) for name in _ROWS[begin]] == [each.distribution for each in TARGETS]
    assert [row[0] for row in _ROWS[begin + 1 : begin + 1 + len(CASES)]] == list(CASES)


@pytest.mark.parametrize("case", ["type integer", "a new version, with keys", "a new version, without keys"])
def test_a_cell_is_what_a_run_gives(bench: Bench, case: str) -> None:
    """Of the first column, target-postgres."""
    [cell] = [row[1] for row in _ROWS if row[0] == case]

    assert CASES[case](bench, TARGETS[0]) == cell
