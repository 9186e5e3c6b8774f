"""The report of `make live`: a table of facts that holds no token, no data and no names of data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.contract.facts import FACTS, Fact
from tests.contract.service import NotSeen, Service
from tests.contract.table import Table, find
from tests.contract.tap import LIMITS

# The answers that pages came with are looked at last.
_AT_THE_END = ("retry_after", "limit_answer", "query_rows")


@dataclass(frozen=True)
class Line:
    """What was seen of one fact; ``seen`` is None where it cannot be known, for the reason in ``words``."""

    fact: Fact
    seen: str | None
    words: str = ""

    @property
    def is_surprise(self) -> bool:
        """Whether another value than the likely one was seen."""
        return self.seen not in {None, self.fact.values[0]}

    @property
    def cells(self) -> Sequence[str]:
        """The cells of the line."""
        fact, seen = self.fact, self.seen
        if seen is None:
            return str(fact.question), fact.words, fact.values[0], f"not seen: {self.words}", "", ""
        reading = f"{fact.name}={seen}"
        is_known = seen in fact.values
        emulator = "yes" if not self.is_surprise else f"with {reading}" if is_known else "no"
        tap = LIMITS.get(reading, "yes") if is_known else "not known"
        return (
            str(fact.question),
            fact.words,
            fact.values[0],
            f"SURPRISE: {seen}" if self.is_surprise else seen,
            emulator,
            tap,
        )


def look(service: Service) -> list[Line]:
    """Check all facts; a ``NotSeen`` says that there is no table to look at."""
    table = find(service)
    facts = sorted(FACTS, key=lambda fact: (fact.name in _AT_THE_END, fact.question))
    return sorted((_look_at(fact, table) for fact in facts), key=lambda line: line.fact.question)


def _look_at(fact: Fact, table: Table) -> Line:
    try:
        return Line(fact, fact.see(table))
    except NotSeen as reason:
        return Line(fact, None, str(reason))
    except Exception as error:  # noqa: BLE001 - what a server sends may be anything; its words are not for the report
        return Line(fact, None, f"an answer of a form that is not known ({type(error).__name__})")


def text_of(lines: Iterable[Line], service: Service) -> str:
    """Write the report."""
    lines = list(lines)
    rows = [("", "fact", "likely", "seen", "emulator agrees", "tap loads"), *(line.cells for line in lines)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    surprises = [line for line in lines if line.is_surprise]
    seen = [line for line in lines if line.seen is not None]
    end = (
        f"{len(lines)} facts: {len(seen) - len(surprises)} as likely, {len(surprises)} surprises, "
        f"{len(lines) - len(seen)} not seen; {service.requests} requests, {service.seconds:.0f} s"
    )
    news = [
        f"SURPRISE, question {line.fact.question}: {line.fact.words} is {line.seen!r}, "
        f"{line.fact.values[0]!r} was likely (reading {line.fact.name})"
        for line in surprises
    ]
    return "\n".join(
        [*table, "", *news, end, "The questions are in docs/api.md. Nothing here is secret: paste it into an issue."]
    )
