"""Whether enough branches were reached, lines apart: coverage's own limit is for both together.

`python -m tests.support.branches REPORT`, with a report of `coverage json`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

WANTED = 95.0
"""Per cent."""


def verdict(report: Path) -> tuple[bool, str]:
    """Say whether enough of a report's branches were reached, and how many, in words."""
    totals = json.loads(report.read_text())["totals"]
    reached, there = totals["covered_branches"], totals["num_branches"]
    share = 100 * reached / there
    return (
        share >= WANTED,
        f"{reached:,} of {there:,} branches were reached: {share:.1f} %, and {WANTED:.0f} % are wanted",
    )


if __name__ == "__main__":
    is_enough, words = verdict(Path(sys.argv[1]))
    sys.stdout.write(f"{words}\n")
    sys.exit(not is_enough)
