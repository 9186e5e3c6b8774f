"""The plan of one load: what to read of a table, from where on and why, and what proves that all of it came. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from tap_redivis.errors import ConfigError, DataError, Forbidden, Incomplete
from tap_redivis.model.columns import DELETED_AT, KEY_TYPES, VERSION_COLUMNS, Column, KeyValue, ValueRules, WireFormat
from tap_redivis.model.reads import ChangeCounts, ReadRequest, ReadSession
from tap_redivis.model.settings import Settings
from tap_redivis.model.tables import ANONYMOUS_LIMIT_BYTES, TableInfo, Variable
from tap_redivis.planning.bookmarks import Bookmark, PartialLoad
from tap_redivis.planning.decision import (
    Decision,
    TableSnapshot,
    decide,
    known_key_value,
    reading_digest,
    selection_digest,
    why_all_rows,
)
from tap_redivis.planning.drift import Drift, drift_of, fitted_columns, names_to_transfer
from tap_redivis.planning.sql import Since

ONE_ANSWER_BYTES = 64 * 1024
"""Size of a table (as Redivis counts it) below which starting over costs no more than resuming."""


@dataclass(frozen=True)
class Selection:
    """What the catalog and the settings ask of one stream."""

    stream: str
    columns: tuple[Column, ...]  # in the order of the catalog
    added_columns: tuple[str, ...] = ()  # names of those that the tap adds
    replication_method: str = "FULL_TABLE"  # or INCREMENTAL, LOG_BASED
    replication_key: str | None = None  # of INCREMENTAL
    key_properties: tuple[str, ...] = ()
    max_rows: int | None = None
    file_variable: str | None = None  # with the ids of the files whose contents are copied
    known_names: tuple[str, ...] | None = None  # the catalog's, selected or not; None: there is no catalog


@dataclass(frozen=True)
class TablePlan:
    """What to do about a table now; a run does it, ``--plan`` shows it."""

    table: TableInfo
    selection: Selection
    bookmark: Bookmark
    decision: Decision
    request: ReadRequest
    columns: tuple[Column, ...]  # those selected; after ``apply_drift`` with what is known of how they arrive
    rules: ValueRules
    snapshot: TableSnapshot
    key: Column | None = None  # the replication key's
    since: Since | None = None  # where an incremental load goes on
    base: str | None = None  # reference of the version since which only changes are read
    query: str | None = None  # id of the query whose result is read instead of the table
    all_must_come: bool = False  # whether a body that lacks a column is an error
    warnings: tuple[str, ...] = ()  # what was wrong with the bookmark

    @property
    def partial(self) -> PartialLoad | None:
        """The interrupted load that is resumed, if one is."""
        return self.bookmark.reading if self.decision.action == "resume" else None

    @property
    def is_whole(self) -> bool:
        """Whether all rows are read, so that the target should have these rows and no others."""
        return self.since is None and self.base is None

    @property
    def mode(self) -> str:
        """How the table is read, in a word."""
        return "full" if self.is_whole else "incremental" if self.since else "changes"

    @property
    def rows_in_words(self) -> str:
        """Which rows are read, in words."""
        if self.base is not None:
            return "what changed since the last load"
        if self.since is None:
            return "all rows"
        return f"the rows whose {self.since.key.name!r} is {self.since.value!r} or higher, or missing"


def plan_table(
    table: TableInfo, selection: Selection, bookmark: Bookmark, settings: Settings, now: datetime
) -> TablePlan:
    """Decide what to read of a table; a run and ``--plan`` both ask this function."""
    _check_batch(selection, settings, table.pinned)
    key = _key_column(selection)
    rules = _rules(settings)
    wire_format: WireFormat = "arrow" if rules.for_arrow else settings.wire_format
    snapshot = _snapshot(table, selection, key, settings)
    since, warnings = _since(key, known_key_value(bookmark, snapshot), selection.stream)
    base, digests = _base(bookmark, snapshot, _digest_parts(table, key, since, settings), wire_format)
    snapshot = replace(snapshot, fingerprint=digests[wire_format], in_arrow=digests["arrow"])
    decision = decide(bookmark, snapshot, now=now, skip_unchanged=settings.skip_unchanged)
    if decision.action != "skip":
        require_access(table, settings)
    if decision.action == "resume" and bookmark.reading and bookmark.reading.changes is None:
        base = None  # when the load was opened, the versions turned out not to be comparable
    request = ReadRequest(
        table=table.pinned,
        table_uri=table.uri,
        wire_format=wire_format,
        max_streams=settings.max_streams,
        max_rows=selection.max_rows,
        variables=[column.name for column in selection.columns],
        timeout=settings.request_timeout_seconds,
        in_one_answer=decision.action == "start" and _is_one_answer(table, settings),
        anonymous=settings.api_token is None,
    )
    known = (table, selection, bookmark, decision, request, selection.columns, rules, snapshot)
    plan = TablePlan(*known, key=key, since=since, base=base, warnings=warnings)
    return in_arrow(plan) if plan.partial and plan.partial.fingerprint == snapshot.in_arrow else plan


def in_arrow(plan: TablePlan) -> TablePlan:
    """Read the table in Arrow, whatever the settings say."""
    request = replace(plan.request, wire_format="arrow")
    return replace(plan, request=request, snapshot=replace(plan.snapshot, fingerprint=plan.snapshot.in_arrow))


def _is_one_answer(table: TableInfo, settings: Settings) -> bool:
    # The count is the only proof that /rows gave all of it: it must be known, and of rows that do not change.
    if not table.is_released or table.upload or table.rows is None or table.bytes is None:
        return False
    is_elsewhere = settings.batch_config is not None and settings.batch_config.scheduler is not None
    has_sessions = settings.api_token is not None  # else /rows is the only way
    return max(table.rows, table.bytes) < ONE_ANSWER_BYTES and has_sessions and not is_elsewhere


def require_access(table: TableInfo, settings: Settings) -> None:
    """Raise an error if it is known, before rows are asked for, that they cannot be read."""
    if table.misfit:
        raise DataError(table.misfit, where=table.pinned, hint="Try again later; if it stays, tell Redivis")
    if table.unreadable:
        raise Forbidden(table.unreadable, where=table.pinned, hint="Ask the owner for access")
    if settings.api_token is None and (table.bytes or 0) >= ANONYMOUS_LIMIT_BYTES:
        raise Forbidden(
            f"without a token only tables below {ANONYMOUS_LIMIT_BYTES // 1_000_000} MB can be read",
            where=table.pinned,
            hint="Set api_token or REDIVIS_API_TOKEN",
        )


def plan_drift(plan: TablePlan, variables: Sequence[Variable]) -> Drift:
    """Compare a plan's columns with the variables that the server has now."""
    before, now = plan.bookmark.version_tag, plan.table.version_tag
    return drift_of(plan.columns, variables, known=plan.selection.known_names, before=before, now=now or "")


def apply_drift(plan: TablePlan, variables: Sequence[Variable]) -> TablePlan:
    """Ask for the variables as the server spells them, and note as what they arrive."""
    request = replace(plan.request, variables=names_to_transfer(plan.columns, variables))
    if not request.fits_address:
        # Without a token there is only /rows: all variables come, and those that are not wanted are left out here.
        names = [variable.name for variable in variables] if request.anonymous else request.variables
        request = replace(request, variables=names, in_one_answer=False)
    columns = fitted_columns(plan.columns, variables)
    # redivis-api §8.1.12: the read streams of a draft may lack columns.
    return replace(plan, request=request, columns=columns, all_must_come=plan.table.is_released)


def expected_rows(plan: TablePlan, session: ReadSession) -> int | None:
    """Find how many rows must come: as the session says, else as the table does."""
    # A draft's row count is not to be trusted (redivis-api §5); that of an upload is of a file, which does not change.
    known = None if plan.table.is_draft and plan.table.upload is None else plan.table.rows
    counted = session.rows if session.streams else None  # without a read stream it has counted nothing
    rows, limit = known if counted is None else counted, plan.request.max_rows
    return rows if rows is None or limit is None else min(rows, limit)


def contradiction(plan: TablePlan, session: ReadSession) -> str | None:
    """Say that the counts of the session and of the table differ; None if they do not."""
    known = plan.table.rows
    if plan.table.is_draft or plan.request.max_rows is not None or None in {known, session.rows}:
        return None
    words = f"the read session promises {session.rows:,} rows, and the table has {known:,}: the session counts"
    return None if known == session.rows else words


def prove_changes(plan: TablePlan, changes: ChangeCounts) -> None:
    """Raise an ``Incomplete`` if, by their number, the changes do not turn the earlier version into the later one."""
    before, now = plan.bookmark, plan.snapshot
    if before.rows is None or now.rows is None or before.rows + changes.inserted - changes.deleted == now.rows:
        return
    raise Incomplete(
        f"{before.version_tag} had {before.rows:,} rows, {now.version_tag} has {now.rows:,}, "
        f"and this does not fit: {changes}",
        where=plan.table.pinned,
        hint="Use replication method FULL_TABLE for it, or let `make live` show how the server counts",
    )


def _check_batch(selection: Selection, settings: Settings, where: str) -> None:
    batch = settings.batch_config
    if batch is None:
        return
    taken = [column.name for column in selection.columns if column.name.lower() in VERSION_COLUMNS]
    if batch.version_columns and taken:
        raise ConfigError(
            f"the table has a column {taken[0]!r} of its own, as BATCH adds it",
            where=where,
            hint="Deselect that variable, or set batch_config.version_columns to false",
        )
    if selection.replication_method == "LOG_BASED":
        raise ConfigError(
            "LOG_BASED and BATCH do not go together: deleted rows are told in RECORD messages",
            where=where,
            hint="Use FULL_TABLE or INCREMENTAL for it, or leave batch_config out",
        )


def _key_column(selection: Selection) -> Column | None:
    if selection.replication_method != "INCREMENTAL":
        return None
    where = f"stream {selection.stream}"
    key = next((column for column in selection.columns if column.name == selection.replication_key), None)
    if key is None or key.type not in KEY_TYPES:
        raise ConfigError(
            f"the replication key {selection.replication_key!r} is no selected variable whose values have an order",
            where=where,
            hint="Name another one, or use FULL_TABLE",
        )
    if not selection.key_properties:
        raise ConfigError(
            "INCREMENTAL needs key properties: some rows come twice, and the target must know them again",
            where=where,
            hint="Name them in table_options or the catalog, or use FULL_TABLE",
        )
    return key


def _rules(settings: Settings) -> ValueRules:
    batch = settings.batch_config
    return ValueRules(
        invalid_as_null=settings.on_invalid_value == "null",
        replace_characters=settings.replace_invalid_characters,
        append_utc=settings.datetime_zone == "utc",
        for_arrow=batch is not None and batch.encoding != "jsonl",
    )


def _snapshot(table: TableInfo, selection: Selection, key: Column | None, settings: Settings) -> TableSnapshot:
    # The mark of deleted rows is no part of the digest: FULL_TABLE and LOG_BASED loads read the same columns.
    added = [name for name in selection.added_columns if name != DELETED_AT]
    if selection.file_variable and settings.files:  # files that shall lie elsewhere have to be copied
        added += [selection.file_variable, settings.files.root, settings.files.name]
    return TableSnapshot(
        table=table.pinned,
        version_tag=table.version_tag,
        hash=table.hash,
        updated_at=table.updated_at,
        rows=table.rows,
        selection=selection_digest(selection.columns, selection.max_rows, added),
        fingerprint="",
        replication_key=key.name if key else None,
        key_properties=tuple(sorted(selection.key_properties)) or None,
        log_based=_is_comparable(table, selection),
        is_limited=selection.max_rows is not None,
        hash_proves=None not in {table.upload, table.hash},
    )


def _is_comparable(table: TableInfo, selection: Selection) -> bool:
    if selection.replication_method != "LOG_BASED":
        return False
    keys, where = set(selection.key_properties), f"stream {selection.stream}"
    if not keys or keys - {column.name for column in selection.columns}:
        raise ConfigError(
            "LOG_BASED needs key properties, which are variables of the table: rows are compared by them",
            where=where,
            hint="Name them in table_options or the catalog, or use FULL_TABLE",
        )
    if table.version_tag is None:
        raise ConfigError(
            "LOG_BASED compares versions, and the tables of a workflow have none", where=where, hint="Use FULL_TABLE"
        )
    return True


def _since(key: Column | None, value: KeyValue | None, stream: str) -> tuple[Since | None, tuple[str, ...]]:
    if key is None or value is None:
        return None, ()
    since = Since(key, value)
    try:
        since.condition()
    except ValueError as error:
        return None, (f"state, stream {stream}: the replication key's value is damaged ({error})",)
    return since, ()


def _digest_parts(table: TableInfo, key: Column | None, since: Since | None, settings: Settings) -> tuple[object, ...]:
    signs, batch = (table.hash, table.rows, table.updated_at), settings.batch_config
    parts: tuple[object, ...] = ()
    if key:
        parts = (key.name, since.value if since else None)
    # No version fixes the content of an upload or a workflow's table: a load must not resume on other content.
    elif (table.version_tag is None or table.upload is not None) and set(signs) != {None}:
        parts = signs
    return parts if batch is None else (*parts, "batch", batch.encoding, batch.version_columns)


def _base(
    bookmark: Bookmark, snapshot: TableSnapshot, parts: tuple[object, ...], wire_format: WireFormat
) -> tuple[str | None, dict[str, str]]:
    """Find the version since which changes are read, and the fingerprint of the reading by wire format."""

    def digests(*more: object) -> dict[str, str]:
        same = (snapshot.table, snapshot.version_tag, snapshot.selection)
        return {each: reading_digest(*same, each, *more) for each in (wire_format, "arrow")}

    if not snapshot.log_based or why_all_rows(bookmark, snapshot) is not None:
        return None, digests(*parts)
    base = bookmark.table
    fingerprints = digests("LOG_BASED", base)
    if bookmark.reading and bookmark.reading.fingerprint not in fingerprints.values():
        # An interrupted load of another kind has left rows in the target that only a whole load removes.
        return None, digests(*parts)
    return base, fingerprints
