"""What a run would do with each stream, and why, found out without asking for a row: a table for people, or JSON."""

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from typing import Any, Literal

from tap_redivis.errors import ApiError, Forbidden, RedivisError, SchemaChanged, escaped
from tap_redivis.model.tables import TableInfo
from tap_redivis.planning.drift import Drift
from tap_redivis.planning.table_plan import TablePlan
from tap_redivis.runtime.logs import logger
from tap_redivis.runtime.progress import bytes_in_words, counted, print_table
from tap_redivis.singer.command_line import Rate
from tap_redivis.singer.dictionary.stream import DictionaryStream
from tap_redivis.singer.dictionary.topics import TABLES
from tap_redivis.singer.outputs import file_contents
from tap_redivis.singer.run import RunContext
from tap_redivis.singer.streams import TableStream

ASSUMED_RATE = Rate(5000.0, "rows", "assumed")
"""What target-postgres takes (docs/tuning.md): targets are nearly always slower than the tap."""


@dataclass(frozen=True)
class PlanRow:
    """What a run would do with one stream; in JSON an object with these keys, which docs/plan.md explains."""

    stream: str
    table: str  # pinned reference, or the name of the query
    action: Literal["read", "skip", "stop"]
    mode: str = ""  # such as ``full``; ``resumed`` if an interrupted load goes on
    what: str = "nothing"
    reason: str = ""
    version_before: str | None = None
    version: str | None = None  # ``next`` for a draft, None where there are no versions
    rows: int | None = 0  # None: not known before the run
    rows_are: Literal["exact", "at most", "unverified"] = "exact"
    bytes: int | None = 0  # as Redivis counts, all variables included
    access: str = "readable"  # or why it is not
    rate: Rate | None = None
    minutes: float | None = 0.0
    files: int | None = 0  # to fetch, at most, beside the rows; None: the server does not tell
    file_bytes: int | None = 0
    changes: tuple[str, ...] = ()
    verdict: str = ""


def plans_of(streams: Iterable[TableStream | DictionaryStream], run: RunContext, given: Rate | None) -> list[PlanRow]:
    """Ask each stream what a run would ask it before the first row; what cannot be found out counts as a failure."""
    rows: list[PlanRow] = []
    for stream in streams:
        try:
            if isinstance(stream, TableStream):
                rows += filter(None, [_of_table(stream, given) if stream.selected else _unselected(stream)])
            elif stream.selected:
                rows.append(_of_dictionary(stream, rows))
        except Exception as failure:  # noqa: BLE001 - of this stream, whatever it is; the others go on
            error = run.note_failure(stream.name, failure)
            rows.append(replace(_stopped(_row_of(stream), error), access="not known"))
    return rows


def _row_of(stream: TableStream | DictionaryStream) -> PlanRow:
    return PlanRow(stream.name, stream.source_name, "skip")


def _of_table(stream: TableStream, given: Rate | None) -> PlanRow:
    row, source = _row_of(stream), stream.source
    if stream.is_left_out:
        return replace(row, reason="a stream map removes all its records")
    if not stream.schema["properties"]:
        return _without_columns(row, given)
    drift: Drift | None = None
    try:
        plan = stream.plan()
        if plan.decision.action == "start":
            drift = source.drift(plan)
            if stream.run.settings.on_schema_change == "fail":
                drift.require_fit(plan.table.pinned)
        plan = source.preview(plan)
    except (Forbidden, SchemaChanged) as error:
        if source.table is None:  # not even the table was found: there is nothing to show of it
            raise
        return _stopped(_with_table(row, source.table, drift), error)
    return _with_files(_of_plan(_with_table(row, plan.table, drift), plan, given), plan, stream.run)


def _with_table(row: PlanRow, table: TableInfo, drift: Drift | None) -> PlanRow:
    """Add what is known of the table."""
    row = replace(row, table=table.pinned, version=table.version_tag)
    return replace(row, changes=(*drift.breaking, *drift.added), verdict=drift.verdict) if drift else row


def _of_plan(row: PlanRow, plan: TablePlan, given: Rate | None) -> PlanRow:
    row = replace(row, version_before=plan.bookmark.version_tag, reason=plan.decision.reason)
    if plan.decision.action == "skip":
        return row
    rows = _rows(plan)
    size = _bytes(plan, rows)
    resumed = f", from row {plan.partial.rows:,} on; all if the read session is gone" if plan.partial else ""
    measured = plan.bookmark.rows_per_second
    rate = given or (Rate(measured, "rows", "measured") if measured else ASSUMED_RATE)
    return replace(
        row,
        action="read",
        mode="resumed" if plan.partial else plan.mode,
        what=f"{plan.rows_in_words}{resumed}",
        rows=rows,
        rows_are="unverified" if plan.table.is_draft else "exact" if plan.mode == "full" else "at most",
        bytes=size,
        rate=rate,
        minutes=rate.minutes(rows, size),
    )


def _with_files(row: PlanRow, plan: TablePlan, run: RunContext) -> PlanRow:
    """Add how many files would be fetched; of a part of the rows, what the server tells is of all of them."""
    contents = file_contents(run, plan, "plan") if row.action == "read" else None
    if contents is None:
        return row
    from tap_redivis.batch.file_index import count_missing  # noqa: PLC0415 - few tables name files

    try:
        missing = count_missing(contents, run.api, plan.table.uri)
    except ApiError as error:
        logger.warning("%s: how many files there are is not known: %s", row.stream, error)
        return replace(row, files=None, file_bytes=None)
    files = missing.files if row.rows is None else min(missing.files, row.rows)
    return replace(row, files=files, file_bytes=missing.bytes)


def _rows(plan: TablePlan) -> int | None:
    limit, partial = plan.request.max_rows, plan.partial
    if partial is not None and partial.expected_rows is not None:
        return max(partial.expected_rows - partial.rows, 0)
    rows = plan.table.rows
    if rows is None:
        return None
    if plan.base is not None:
        rows += plan.bookmark.rows or 0  # deleted rows are read too
    return rows if limit is None else min(rows, limit)


def _bytes(plan: TablePlan, rows: int | None) -> int | None:
    """Take the rows' part of the table's size."""
    table = plan.table
    if table.bytes is None or rows is None or table.rows is None:
        return None
    return round(table.bytes * rows / table.rows) if table.rows else 0


def _without_columns(plan: PlanRow, given: Rate | None) -> PlanRow:
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


def _stopped(plan: PlanRow, error: RedivisError) -> PlanRow:
    access = error.what if isinstance(error, Forbidden) else "readable"
    return replace(plan, action="stop", reason=f"{error.what}. {error.hint}", access=access)


def _of_dictionary(stream: DictionaryStream, loads: Iterable[PlanRow]) -> PlanRow:
    """Tell what would be written of the data dictionary, which speaks of the loads before it too."""
    plan = _row_of(stream)
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


def _unselected(stream: TableStream) -> PlanRow | None:
    """Tell of a table that is not selected because it cannot be read; of others a plan says nothing."""
    table = stream.source.table
    if table is None or table.unreadable is None:
        return None
    row = _with_table(_row_of(stream), table, None)
    return replace(row, reason="it cannot be read, and is not selected", access=table.unreadable)


def show_plan(plans: Sequence[PlanRow], *, as_json: bool) -> None:
    """Write a plan to stdout, as a table for people or as JSON."""
    if not as_json:
        _show_text(plans)
        return
    made_at = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    value: dict[str, Any] = {"made_at": made_at, "total": _total(plans), "streams": [asdict(plan) for plan in plans]}
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def _show_text(plans: Sequence[PlanRow]) -> None:
    rows = [(plan.stream, plan.what, plan.reason, *_numbers(plan), plan.access) for plan in plans]
    print_table(["stream", "reads", "why", "rows", "MB", "minutes", "access"], rows, least=["access", "MB", "minutes"])
    changes = [f"{plan.stream}: {words}" for plan in plans for words in (*plan.changes, plan.verdict) if words]
    for line in (*changes, *_file_lines(plans), _total_line(plans), *_rate_lines(plans)):
        sys.stdout.write(f"{escaped(line)}\n")


def _numbers(plan: PlanRow) -> tuple[str, str, str]:
    sign = {"exact": "", "at most": "≤ ", "unverified": "~ "}[plan.rows_are]
    rows = "?" if plan.rows is None else f"{sign}{plan.rows:,}"
    size = "?" if plan.bytes is None else f"{sign}{plan.bytes / 1e6:,.1f}"
    return rows, size, "?" if plan.minutes is None else f"{sign}{plan.minutes:,.1f}"


def _file_lines(plans: Iterable[PlanRow]) -> list[str]:
    return [
        f"{plan.stream}: at most {counted(plan.files, 'file')} to fetch, {bytes_in_words(plan.file_bytes or 0)}"
        for plan in plans
        if plan.files
    ]


def _total(plans: Sequence[PlanRow]) -> dict[str, Any]:
    counts = {action: sum(plan.action == action for plan in plans) for action in ("read", "skip", "stop")}
    return {
        **counts,
        "rows": sum(plan.rows or 0 for plan in plans),
        "bytes": sum(plan.bytes or 0 for plan in plans),
        "minutes": round(sum(plan.minutes or 0 for plan in plans), 2),
        "of_unknown_size": sum(plan.rows is None for plan in plans),
    }


def _total_line(plans: Sequence[PlanRow]) -> str:
    total = _total(plans)
    unknown = f", and {total['of_unknown_size']} of unknown size" if total["of_unknown_size"] else ""
    size = f"{total['rows']:,} rows, {total['bytes'] / 1e6:,.1f} MB, about {total['minutes']:,.1f} minutes"
    return f"{total['read']} to read ({size}{unknown}), {total['skip']} to skip, {total['stop']} would stop"


def _rate_lines(plans: Iterable[PlanRow]) -> list[str]:
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
