"""How many rows must come, and what proves that the changes between two versions are complete. Pure."""

from __future__ import annotations

from tap_redivis.errors import Incomplete
from tap_redivis.model.reads import ChangeCounts, ReadSession
from tap_redivis.planning.table_plan import TablePlan


def expected_rows(plan: TablePlan, session: ReadSession) -> int | None:
    """Find how many rows must come; an ``Incomplete`` says that the session and the table contradict each other."""
    # A draft's row count is not to be trusted (redivis-api §5).
    known = None if plan.table.is_draft else plan.table.rows
    limit = plan.request.max_rows
    if limit is None and None not in {known, session.rows} and known != session.rows:
        raise Incomplete(
            f"the read session promises {session.rows:,} rows, and the table has {known:,}",
            where=plan.table.pinned,
            hint="Run again; if it stays, tell Redivis",
        )
    rows = session.rows if known is None else known
    if rows is None and plan.table.is_upload:  # its own count is that of a file, which does not change
        rows = plan.table.rows
    return rows if rows is None or limit is None else min(rows, limit)


def prove_changes(plan: TablePlan, changes: ChangeCounts) -> None:
    """Raise an ``Incomplete`` if, by their number, the changes do not turn the earlier version into the later one."""
    before, now = plan.bookmark, plan.snapshot
    if before.rows is None or now.rows is None or before.rows + changes.inserted - changes.deleted == now.rows:
        return
    raise Incomplete(
        f"{before.version_tag} had {before.rows:,} rows, {now.version_tag} has {now.rows:,}, "
        f"and this does not fit: {changes}",
        where=plan.table.pinned,
        hint="Use replication method FULL_TABLE for it",
    )
