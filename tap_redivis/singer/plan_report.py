"""What a run would do with each stream, and why, found out without asking for a row: a table for people, or JSON."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Literal

from tap_redivis.errors import ConfigError, Forbidden, RedivisError, SchemaChanged
from tap_redivis.singer.dictionary.topics import TABLES
from tap_redivis.singer.dictionary_stream import DictionaryStream
from tap_redivis.singer.streams import Step, TableStream

if TYPE_CHECKING:
    from tap_redivis.planning.drift import Drift

_RATE = re.compile(r"(\d+(?:\.\d+)?) ?(MB)?(?:/s)?", re.IGNORECASE)


@dataclass(frozen=True)
class Rate:
    """How fast a stream is loaded.

    Attributes:
        amount: A second.
        unit: Of the amount; megabytes are those that Redivis counts.
        origin: Where the figure comes from.
    """

    amount: float
    unit: Literal["rows", "MB"]
    origin: Literal["given", "measured", "assumed"]

    def minutes(self, rows: int | None, size: int | None) -> float | None:
        """Estimate how long some rows take; None if what the rate goes by is not known."""
        megabytes = None if size is None else size / 1e6
        amount = rows if self.unit == "rows" else megabytes
        return None if amount is None else round(amount / self.amount / 60, 2)


ASSUMED_RATE = Rate(5000.0, "rows", "assumed")
"""What target-postgres takes (docs/tuning.md): targets are nearly always slower than the tap."""


@dataclass(frozen=True)
class Planned:
    """What a run would do with one stream; in JSON an object with these keys.

    Attributes:
        stream: The stream's name.
        table: The table's pinned reference, or the query's name.
        action: Whether it would be read, be skipped, or stop with an error.
        mode: How it would be read, such as ``full`` or ``incremental``; ``resumed`` if an interrupted load goes on.
        what: Which rows, in words.
        reason: Why, in words.
        version_before: Version tag of the last complete load, or None.
        version: Version tag that the server has now; ``next`` for a draft, None where there are no versions.
        rows: Rows to read; None if nobody knows before.
        rows_are: Whether their number is sure, the most that there can be, or a draft's, which may be wrong.
        bytes: Size of these rows as Redivis counts, all variables included; None if it is not known.
        access: ``readable``, or why it is not.
        rate: What the estimate goes by; None where nothing would be read.
        minutes: Estimate; None if there is nothing to go by.
        changes: Where the catalog and the table's variables differ, in words.
        verdict: What the version tags say of these differences; empty if there is nothing to say.
    """

    stream: str
    table: str
    action: Literal["read", "skip", "stop"]
    mode: str = ""
    what: str = "nothing"
    reason: str = ""
    version_before: str | None = None
    version: str | None = None
    rows: int | None = 0
    rows_are: Literal["exact", "at most", "unverified"] = "exact"
    bytes: int | None = 0
    access: str = "readable"
    rate: Rate | None = None
    minutes: float | None = 0.0
    changes: tuple[str, ...] = ()
    verdict: str = ""


def rate_of(text: str | None) -> Rate | None:
    """Read the option ``--rate``: rows a second, or megabytes a second with ``MB``.

    Raises:
        ConfigError: It is neither.
    """
    if text is None:
        return None
    match = _RATE.fullmatch(text.strip())
    if not match or not float(match[1]):
        raise ConfigError(f"{text!r} is no rate", where="--rate", todo="Write rows a second, as 20000, or 12MB")
    return Rate(float(match[1]), "MB" if match[2] else "rows", "given")


def plan_of(stream: TableStream | DictionaryStream, given: Rate | None, earlier: Iterable[Planned]) -> Planned | None:
    """Ask a stream what a run would ask it before the first row.

    Args:
        stream: The stream.
        given: The rate that the user gave, if one.
        earlier: The plans of the streams before it.

    Returns:
        The plan; None for a stream that is not selected, unless that is since it cannot be read.

    Raises:
        RedivisError: That cannot be found out: something named is not there, cannot be asked for, or makes no sense.
    """
    if isinstance(stream, DictionaryStream):
        return _of_dictionary(stream, earlier) if stream.selected else None
    return _of_table(stream, given) if stream.selected else _unselected(stream)


def _of_table(stream: TableStream, given: Rate | None) -> Planned:
    plan = Planned(stream.name, stream.source, "skip")
    if stream.is_left_out:
        return replace(plan, reason="a stream map removes all its records")
    if stream.without_columns:
        return _without_columns(plan, given)
    step: Step | None = None
    drift: Drift | None = None
    try:
        step = stream.next_step()
        drift = stream.drift(step.load) if step.decision.action == "start" else None
        if drift:
            stream.refuse(step.load, drift)
        step = stream.foreseen(step)
    except (Forbidden, SchemaChanged) as error:
        if stream.table is None:
            raise
        return _stopped(_told(plan, stream, drift), error)
    return _of_step(_told(plan, stream, drift), step, given)


def _told(plan: Planned, stream: TableStream, drift: Drift | None) -> Planned:
    """Add what is known of the table."""
    if stream.table is None:
        return plan
    changes = tuple(change.words for change in drift.changes) if drift else ()
    verdict = drift.verdict if drift else ""
    table = stream.table
    return replace(plan, table=table.pinned, version=table.version_tag, changes=changes, verdict=verdict)


def _of_step(plan: Planned, step: Step, given: Rate | None) -> Planned:
    plan = replace(plan, version_before=step.bookmark.version_tag, reason=step.decision.reason)
    if step.decision.action == "skip":
        return plan
    rows = _rows(step)
    size = _bytes(step, rows)
    measured = step.bookmark.rows_per_second
    rate = given or (Rate(measured, "rows", "measured") if measured else ASSUMED_RATE)
    return replace(
        plan,
        action="read",
        mode="resumed" if step.reading else step.load.mode,
        what=_what(step),
        rows=rows,
        rows_are="unverified" if step.load.table.is_draft else "exact" if step.load.mode == "full" else "at most",
        bytes=size,
        rate=rate,
        minutes=rate.minutes(rows, size),
    )


def _what(step: Step) -> str:
    if step.reading is None:
        return step.load.what
    return f"{step.load.what}, from row {step.reading.rows:,} on; all if the read session is gone"


def _rows(step: Step) -> int | None:
    limit, reading = step.load.request.max_rows, step.reading
    if reading is not None and reading.expected_rows is not None:
        return max(reading.expected_rows - reading.rows, 0)
    rows = step.load.table.rows
    if rows is None:
        return None
    if step.load.base is not None:
        rows += step.bookmark.rows or 0  # what is gone is told too
    return rows if limit is None else min(rows, limit)


def _bytes(step: Step, rows: int | None) -> int | None:
    """Take the rows' part of the table's size."""
    table = step.load.table
    if table.bytes is None or rows is None or table.rows is None:
        return None
    return round(table.bytes * rows / table.rows) if table.rows else 0


def _without_columns(plan: Planned, given: Rate | None) -> Planned:
    """Plan a query of the settings where there is no catalog: only running it would tell its columns."""
    return replace(
        plan,
        action="read",
        mode="full",
        what="its result",
        reason="a query is run every time; with --catalog, which has its columns, the plan says more",
        rows=None,
        bytes=None,
        rate=given or ASSUMED_RATE,
        minutes=None,
    )


def _stopped(plan: Planned, error: RedivisError) -> Planned:
    access = error.what if isinstance(error, Forbidden) else "readable"
    return replace(plan, action="stop", reason=f"{error.what}. {error.todo}", access=access)


def _of_dictionary(stream: DictionaryStream, loads: Iterable[Planned]) -> Planned:
    """Tell what would be written of the data dictionary, which speaks of the loads before it too."""
    plan = Planned(stream.name, stream.source, "skip")
    if stream.is_left_out:
        return replace(plan, reason="a stream map removes all its records")
    step = stream.next_step()
    tells_of_loads = stream.topic is TABLES and any(load.action == "read" for load in loads)
    if step.decision.action == "skip" and not tells_of_loads:
        return replace(plan, reason=step.decision.reason)
    is_whole = step.changed is None
    return replace(
        plan,
        action="read",
        mode="full" if is_whole else "incremental",
        what="all metadata" if is_whole else "metadata that changed",
        reason=step.decision.reason if step.decision.action == "start" else "it tells of the loads of this run",
        rows=None,
        bytes=None,
        minutes=None,
    )


def failed(stream: TableStream | DictionaryStream, error: RedivisError) -> Planned:
    """Tell of a stream of which nothing could be found out."""
    return replace(_stopped(Planned(stream.name, stream.source, "skip"), error), access="not known")


def _unselected(stream: TableStream) -> Planned | None:
    """Tell of a table that is not selected because it cannot be read; of others a plan says nothing."""
    if stream.table is None or stream.table.unreadable is None:
        return None
    plan = _told(Planned(stream.name, stream.source, "skip"), stream, None)
    return replace(plan, reason="it cannot be read, and is not selected", access=stream.table.unreadable)


def show_plan(plans: Sequence[Planned], *, as_json: bool) -> None:
    """Write a plan to stdout, as a table for people or as JSON."""
    if as_json:
        _show_json(plans)
    else:
        _show_text(plans)


def _show_json(plans: Sequence[Planned]) -> None:
    made_at = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    value: dict[str, Any] = {"made_at": made_at, "total": _total(plans), "streams": [asdict(plan) for plan in plans]}
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def _show_text(plans: Sequence[Planned]) -> None:
    from rich.console import Console  # noqa: PLC0415 - only people need it
    from rich.table import Table  # noqa: PLC0415 - the same

    console = Console(width=None if sys.stdout.isatty() else 200, markup=False, highlight=False, emoji=False)
    table = Table("stream", "reads", "why")
    for head in ("rows", "MB", "minutes"):
        table.add_column(head, justify="right")
    table.add_column("access")
    for plan in plans:
        table.add_row(plan.stream, plan.what, plan.reason, *_numbers(plan), plan.access)
    console.print(table)
    for line in (*_change_lines(plans), _total_line(plans), *_rate_lines(plans)):
        console.print(line)


def _numbers(plan: Planned) -> tuple[str, str, str]:
    sign = {"exact": "", "at most": "≤ ", "unverified": "~ "}[plan.rows_are]
    rows = "?" if plan.rows is None else f"{sign}{plan.rows:,}"
    size = "?" if plan.bytes is None else f"{sign}{plan.bytes / 1e6:,.1f}"
    return rows, size, "?" if plan.minutes is None else f"{sign}{plan.minutes:,.1f}"


def _change_lines(plans: Iterable[Planned]) -> list[str]:
    lines = []
    for plan in plans:
        lines += [f"{plan.stream}: {words}" for words in (*plan.changes, *filter(None, [plan.verdict]))]
    return lines


def _total(plans: Sequence[Planned]) -> dict[str, Any]:
    counts = {action: sum(plan.action == action for plan in plans) for action in ("read", "skip", "stop")}
    return {
        **counts,
        "rows": sum(plan.rows or 0 for plan in plans),
        "bytes": sum(plan.bytes or 0 for plan in plans),
        "minutes": round(sum(plan.minutes or 0 for plan in plans), 2),
        "of_unknown_size": sum(plan.rows is None for plan in plans),
    }


def _total_line(plans: Sequence[Planned]) -> str:
    total = _total(plans)
    unknown = f", and {total['of_unknown_size']} of unknown size" if total["of_unknown_size"] else ""
    size = f"{total['rows']:,} rows, {total['bytes'] / 1e6:,.1f} MB, about {total['minutes']:,.1f} minutes"
    return f"{total['read']} to read ({size}{unknown}), {total['skip']} to skip, {total['stop']} would stop"


def _rate_lines(plans: Iterable[Planned]) -> list[str]:
    rates = {plan.rate.origin: plan.rate for plan in plans if plan.rate}
    lines = []
    if given := rates.get("given"):
        lines.append(f"Minutes go by {given.amount:,.6g} {given.unit} a second, as --rate says.")
    if "measured" in rates:
        lines.append("Minutes go by the rows a second of each table's last load, as STATE has them.")
    if assumed := rates.get("assumed"):
        lines.append(
            f"Where no load was measured, they go by {assumed.amount:,.0f} rows a second, about what target-postgres "
            "takes; --rate gives another figure."
        )
    return lines
