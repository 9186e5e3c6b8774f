"""How many tests of each part of `.ci/run` passed, and how many in all.

`python -m tests.support.counts REPORTS PART=EXIT_CODE...`, with the folder of JUnit reports, fails if a part did.
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Counts:
    """What became of tests.

    Attributes:
        passed: How many passed.
        failed: How many failed, also before or after the test itself.
        skipped: How many were skipped.
    """

    passed: int
    failed: int
    skipped: int = 0


def count(report: Path, exit_code: int) -> Counts:
    """Count the tests of a part; a part without a report, such as a linter, is one test.

    A part that failed counts at least one failure: pytest reports none where it finds no test (exit code 5).
    """
    if not report.exists():
        return Counts(0, 1) if exit_code else Counts(1, 0)
    suites = list(ET.parse(report).iter("testsuite"))  # noqa: S314 - pytest wrote it
    tests, failures, errors, skipped = (
        sum(int(suite.get(name, 0)) for suite in suites) for name in ("tests", "failures", "errors", "skipped")
    )
    failed = failures + errors
    return Counts(tests - failed - skipped, max(failed, int(exit_code != 0)), skipped)


def main(reports: Path, ends: dict[str, int]) -> int:
    """Write a line for each part, and the total as the last one."""
    counts = {part: count(reports / f"{part}.xml", exit_code) for part, exit_code in ends.items()}
    lines = [
        f"{part}: {each.passed} passed, {each.failed} failed, {each.skipped} skipped" for part, each in counts.items()
    ]
    passed, failed = sum(each.passed for each in counts.values()), sum(each.failed for each in counts.values())
    sys.stdout.write("\n".join([*lines, f"{passed} passed, {failed} failed"]) + "\n")
    return int(any(ends.values()))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), {part: int(code) for part, code in (end.split("=") for end in sys.argv[2:])}))
