"""Branches are counted by themselves: lines that are reached make up for none that is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.branches import verdict


@pytest.mark.parametrize(("reached", "is_enough"), [(949, False), (950, True), (1000, True)])
def test_branches_alone_decide(tmp_path: Path, reached: int, is_enough: bool) -> None:  # noqa: FBT001 - a table's column
    report = tmp_path / "report.json"
    totals = {"covered_branches": reached, "num_branches": 1000, "percent_covered": 99.9}
    report.write_text(json.dumps({"totals": totals}))

    assert verdict(report) == (
        is_enough,
        f"{reached:,} of 1,000 branches were reached: {reached / 10:.1f} %, and 95 % are wanted",
    )
