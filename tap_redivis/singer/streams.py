"""Singer semantics of one table: what to read and from where, RECORDs and STATE, and when it counts as done."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, cast

from singer_sdk import Stream, metrics
from singer_sdk.mapper import RemoveRecordTransform, SameRecordTransform
from singer_sdk.singerlib import Catalog, CatalogEntry, Metadata, MetadataMapping, RecordMessage, SchemaMessage
from singer_sdk.singerlib.catalog import StreamMetadata

from tap_redivis.batch.columns import FileColumns, check_names, file_columns, with_version_columns
from tap_redivis.batch.storage.common import absolute
from tap_redivis.client.metadata import ANONYMOUS_LIMIT_BYTES
from tap_redivis.client.queries import Query, QueryResult, completed_query, run_query
from tap_redivis.client.read_sessions import open_session
from tap_redivis.errors import (
    ConfigError,
    Forbidden,
    Incomplete,
    NotFound,
    QueryFailed,
    RedivisError,
    Refused,
    Unauthorized,
    Unavailable,
    one_line,
)
from tap_redivis.model.added_columns import DELETED_AT
from tap_redivis.model.batch_settings import BatchSettings
from tap_redivis.model.columns import KEY_TYPES, Column, KeyValue, ValueRules, WireFormat
from tap_redivis.model.json_schema import columns_of
from tap_redivis.model.reads import ROWS_STREAM, ChangeCounts, ReadRequest, ReadSession, StreamPosition
from tap_redivis.model.references import parse_table, pinned
from tap_redivis.model.tables import TableInfo, Variable
from tap_redivis.planning.bookmarks import (
    Bookmark,
    Decision,
    Reading,
    Source,
    complete,
    decide,
    from_state,
    known_key_value,
    next_table_version,
    reading_digest,
    same_table,
    selection_digest,
    to_state,
    versions_between,
    why_all_rows,
)
from tap_redivis.planning.changes import AMBIGUOUS, Comparison, mark_of, why_not_comparable
from tap_redivis.planning.drift import Drift, drift_of, fitted_columns, names_to_transfer
from tap_redivis.planning.replication import Since, rows_since
from tap_redivis.reading.read_session import HERE, Block, SessionReader, StreamEnd, Way, has_processes
from tap_redivis.reading.read_stream import Make, SessionGone
from tap_redivis.runtime.progress import Result, display
from tap_redivis.runtime.shutdown import SHUTDOWN
from tap_redivis.singer.added_columns import added
from tap_redivis.singer.batch_maps import stream_alias
from tap_redivis.singer.prefetch import SMALL_BYTES, Foreseen, Opened, Opening
from tap_redivis.singer.records import by_sdk
from tap_redivis.wire import decoder_for
from tap_redivis.wire.codec import RowCodec
from tap_redivis.wire.json_lines import Extension, HighestKey, Marking, RecordLines, extension, splicing
from tap_redivis.wire.rows import Lines, Notices, RowBlock, Rows

if TYPE_CHECKING:
    from collections.abc import Generator

    from tap_redivis.batch.output import BatchFile, BatchOutput
    from tap_redivis.client.http import Body
    from tap_redivis.client.parallel import Pending
    from tap_redivis.model.references import ContainerRef, TableRef
    from tap_redivis.reading.dask_worker import ClusterLoad
    from tap_redivis.tap import TapRedivis

logger = logging.getLogger("tap-redivis")

_ARROW_PROCESSES = 4
"""Processes that read Arrow or CSV: each holds some 18 MiB, twice as much as one that reads JSON Lines."""

PROCESSES_FROM_BYTES = 16 * 1024 * 1024
"""Size of a table (as Redivis counts it) from which on its read streams are read by processes of their own."""

Emit = Callable[[Block], "KeyValue | None"]
"""Writes the messages of a block, and gives its highest replication key."""

_SESSIONS_A_LOAD = 3
_SHORTEST_MEASURED_SECONDS = 1.0


@dataclass(slots=True)
class TableMetadata(StreamMetadata):
    """A stream's catalog metadata with the reason why it is not selected.

    Attributes:
        unreadable: Why this token cannot read the table, or None.
    """

    unreadable: str | None = None


@dataclass(frozen=True)
class Load:
    """All that one load of one table needs to know.

    Attributes:
        table: The table as the server has it now.
        request: What to read.
        source: The same, as bookmarks compare it.
        codec: Columns and value rules.
        notices: What had to be changed on the way.
        since: Where an incremental load goes on, or None.
        base: Reference of the version since which only what changed is read, or None.
        query: Id of the query whose result is read, if the rows are not read from a table.
    """

    table: TableInfo
    request: ReadRequest
    source: Source
    codec: RowCodec
    notices: Notices
    since: Since | None = None
    base: str | None = None
    query: str | None = None

    @property
    def is_whole(self) -> bool:
        """Whether all rows are read, which then are all that the target should have."""
        return self.since is None and self.base is None

    @property
    def mode(self) -> str:
        """Say in a word what is read."""
        return "full" if self.is_whole else "incremental" if self.since else "changes"

    @property
    def what(self) -> str:
        """Which rows are read, in words."""
        if self.base is not None:
            return "what changed since the last load"
        if self.since is None:
            return "all rows"
        return f"the rows whose {self.since.key.name!r} is {self.since.value!r} or higher, or missing"


@dataclass(frozen=True)
class _Run:
    """One run of a load, which may have been interrupted before.

    Attributes:
        reader: Reads its session.
        before: Rows that earlier runs have written.
        started: When it began, on the monotonic clock.
    """

    reader: SessionReader
    before: int
    started: float

    @property
    def seconds(self) -> float:
        """How long it has taken until now."""
        return time.monotonic() - self.started


@dataclass(frozen=True)
class Step:
    """What is to be done about a stream now: a run does it, a plan tells it.

    Attributes:
        bookmark: What STATE has of the stream.
        load: What would be read.
        decision: Whether to read it, and why.
    """

    bookmark: Bookmark
    load: Load
    decision: Decision

    @property
    def reading(self) -> Reading | None:
        """The load that goes on, if one does."""
        return self.bookmark.reading if self.decision.action == "resume" else None


class TableStream(Stream):
    """One Redivis table.

    Args:
        tap: The tap.
        name: The stream's name.
        schema: JSON Schema of its records.
        reference: The table, or None for a query; what is unpinned follows the current version.
    """

    replication_methods: ClassVar[Sequence[str]] = ("FULL_TABLE", "INCREMENTAL", "LOG_BASED")
    turn: ClassVar[int] = 0
    """When it is its turn; those of one number in the order of their names."""
    opens_ahead: ClassVar[bool] = True
    """Whether it is known without a request what would have to be asked for."""

    def __init__(self, tap: TapRedivis, name: str, schema: Mapping[str, Any], reference: TableRef | None) -> None:
        super().__init__(tap, schema=dict(schema), name=name)
        self.tap: TapRedivis = tap
        self.reference = reference
        self.table: TableInfo | None = None
        self.variables: Sequence[Variable] | None = None
        self.valid_replication_keys: list[str] = []
        self._reading: Reading | None = None
        self._foreseen: Step | None = None
        self._ahead: Pending[Opened] | None = None
        self._bodies: Mapping[str, Body] = {}
        self._last_state = time.monotonic()
        self._rows_since_state = 0
        self._highest: HighestKey | None = None
        self._marking: Marking | None = None
        self._extend: Extension = extension((), table="", version_tag=None, table_version=0)

    @property
    def added_columns(self) -> list[str]:
        """Names of the columns that are no variables: the tap adds them."""
        return added(self.effective_schema.get("properties", {}))

    @property
    def without_columns(self) -> bool:
        """Whether only running a query, which a plan does not, would tell the columns."""
        return False

    @property
    def source(self) -> str:
        """What the catalog calls the source of the rows."""
        return str(self.reference)

    @property
    def containers(self) -> tuple[ContainerRef, ...]:
        """The dataset or workflow whose tables must be known to find this one; what a query reads, the server finds."""
        return (self.reference.container,) if self.reference else ()

    @property
    def is_log_based(self) -> bool:
        """Whether of a new version only what changed is to be read."""
        return self.replication_method == "LOG_BASED"

    # --- what the SDK asks -------------------------------------------------------------------------------------------

    @property
    def emit_activate_version_messages(self) -> bool:
        """Keep the SDK from sending ACTIVATE_VERSION before the rows: ours goes out after the last, proved one."""
        return False

    @property
    def metadata(self) -> MetadataMapping:
        """The catalog's metadata, or the standard one with what Redivis adds."""
        if self._metadata is None:
            mapping = super().metadata
            if self._tap_input_catalog is None:
                reason = self.table.unreadable if self.table else None
                mapping[()] = TableMetadata(**asdict(mapping.root), unreadable=reason)
                mapping.root.valid_replication_keys = self.valid_replication_keys or None
                for name in self.added_columns:
                    mapping["properties", name].inclusion = Metadata.InclusionType.AUTOMATIC
        return super().metadata

    @property
    def _singer_catalog_entry(self) -> CatalogEntry:
        """Add the table's reference and row count; overridden because the SDK has no hook for them."""
        entry = super()._singer_catalog_entry
        entry.table = self.source
        entry.row_count = self.table.rows if self.table else None
        return entry

    def apply_catalog(self, catalog: Catalog) -> None:
        """Apply a catalog.

        Raises:
            ConfigError: It asks for a replication method that this tap does not have.
        """
        super().apply_catalog(catalog)
        if self.selected and self.replication_method not in self.replication_methods:
            raise ConfigError(
                f"replication method {self.replication_method} is not available",
                where=f"catalog, stream {self.name}",
                todo=f"Use {' or '.join(self.replication_methods)}; tables whose version did not change are skipped",
            )

    def get_replication_key_signpost(self, context: Mapping[str, Any] | None = None) -> None:
        """Set no limit to the key: a version is a limit already."""

    def get_batch_config(self, config: Mapping[str, Any]) -> None:
        """Keep the SDK from writing BATCH record by record: ``_sync_records`` does that too."""

    def _generate_schema_messages(self) -> Generator[SchemaMessage, None, None]:
        """Add what BATCH adds to the columns; overridden because the SDK has no hook between maps and messages."""
        for message in super()._generate_schema_messages():
            if batch := self.tap.settings.batch_config:
                message.schema = with_version_columns(batch, message.schema)
            yield message

    def get_records(self, context: Mapping[str, Any] | None) -> NoReturn:
        """Not used: rows go out in blocks, without a Python object each (see ``_sync_records``)."""
        raise NotImplementedError(str(context))

    def _sync_records(
        self,
        context: Mapping[str, Any] | None = None,  # noqa: ARG002 - the SDK's signature
        *,
        write_messages: bool = True,  # noqa: ARG002 - the SDK's signature
    ) -> Generator[dict[str, Any], Any, Any]:
        """Load the table; overridden because the SDK's own writes record by record (20,000 a second)."""
        try:
            with self.get_record_counter() as counter, self.get_sync_timer():
                self.tap.results.append(self._load(counter))
        except RedivisError as error:
            self.logger.debug("the table failed", exc_info=True)
            self.tap.note_failure(self.name, error)
            self.tap.results.append(Result(self.name, version=self._version, outcome="failed"))
            self._write_state()
        yield from ()

    # --- one load ----------------------------------------------------------------------------------------------------

    @property
    def _version(self) -> str:
        return (self.table and self.table.version_tag) or ""

    def _load(self, counter: metrics.Counter) -> Result:
        if self.is_left_out:
            self.logger.info("not read: a stream map removes all its records")
            return Result(self.name, outcome="left out")
        step = self._step_of_this_turn()
        self.logger.info("%s: %s", step.load.table.pinned, step.decision.reason)
        if step.decision.action == "skip":
            return Result(self.name, version=self._version, outcome="unchanged", rows=step.bookmark.rows or 0)
        load = step.load
        if step.reading and self.tap.settings.on_schema_change == "warn":
            load = self._fitted_again(load, step.reading)  # what arrives otherwise than the catalog says, and is cast
        return self._read_until_proved(load, step.bookmark, step.reading, counter)

    def _step_of_this_turn(self) -> Step:
        """Find out what is to be done, and let those who come next be opened meanwhile."""
        self._ahead = self.tap.look_ahead.take(self)
        step, self._foreseen = self._foreseen or self.next_step(), None
        if self.opens_ahead and _is_passable(step):
            self.tap.look_ahead.go_on(self)
        return step

    def foresee(self) -> Foreseen:
        """Find out before this stream's turn what can be done ahead; what is wrong with it is said at its turn."""
        if not self.selected or self.is_left_out:
            return Foreseen(None, is_passable=True)
        if not self.opens_ahead:
            return Foreseen(None, is_passable=False)
        try:
            step = self.next_step()
        except RedivisError:
            return Foreseen(None, is_passable=False)
        if step.decision.action != "start" or not step.load.is_whole:
            return Foreseen(None, _is_passable(step))
        self._foreseen = step
        return Foreseen(self._opening(step.load), _is_passable(step))

    def _opening(self, load: Load) -> Opening:
        return Opening(
            table=load.table,
            request=load.request,
            columns=load.codec.columns,
            variables=self.variables,
            must_fit=self.tap.settings.on_schema_change == "fail",
            is_small=_is_small(load),
        )

    @property
    def is_left_out(self) -> bool:
        """Whether a stream map removes all records, so that none need be read."""
        return all(isinstance(stream_map, RemoveRecordTransform) for stream_map in self.stream_maps)

    def next_step(self) -> Step:
        """Find out what is to be done, for a run as for a plan; costs nothing if the dataset was asked for already.

        Raises:
            RedivisError: The table is not there, or cannot be read, or not in the way that the catalog asks for.
        """
        bookmark = self._bookmark()
        load = self._prepare(bookmark)
        now = datetime.now(timezone.utc)
        decision = decide(bookmark, load.source, now=now, skip_unchanged=self.tap.settings.skip_unchanged)
        if decision.action != "skip":
            self._require_access(load)
        if decision.action == "resume" and bookmark.reading and bookmark.reading.changes is None:
            load = replace(load, base=None)  # it turned out that all rows had to be read
        return Step(bookmark, load, decision)

    def foreseen(self, step: Step) -> Step:
        """Find out for a plan what shows only when a load begins, as far as metadata tell."""
        if step.decision.action != "start" or step.load.base is None:
            return step
        load, reason = self._comparing(step.load, step.bookmark, self.variables or ())
        if load.base is not None:
            return step
        change = step.decision.reason.partition(";")[0]
        decision = replace(step.decision, reason=f"{change}; all rows are read, since {reason}")
        return replace(step, load=load, decision=decision)

    def _require_access(self, load: Load) -> None:
        """Check what is known of the access before rows are asked for.

        Raises:
            Forbidden: It is not enough.
        """
        if load.table.unreadable:
            raise Forbidden(load.table.unreadable, where=load.table.pinned, todo="Ask the owner for access")
        if self.tap.api.anonymous and (load.table.bytes or 0) >= ANONYMOUS_LIMIT_BYTES:
            raise Forbidden(
                f"without a token only tables below {ANONYMOUS_LIMIT_BYTES // 1_000_000} MB can be read",
                where=load.table.pinned,
                todo="Set api_token or REDIVIS_API_TOKEN",
            )

    def _read_until_proved(
        self, load: Load, bookmark: Bookmark, reading: Reading | None, counter: metrics.Counter
    ) -> Result:
        """Read the table in one session; a session that is gone means all rows again, under a new table version."""
        words = ""
        for _ in range(_SESSIONS_A_LOAD):
            is_new = reading is None
            if reading is None:
                load, reading = self._open(load, bookmark)
                self._note_opening(reading, bookmark)
            try:
                return self._read(load, bookmark, reading, counter)
            except SessionGone as gone:
                if is_new and isinstance(gone.__cause__, Forbidden):
                    raise gone.__cause__ from None  # the session is ours, so another one would be refused too
                self.logger.warning("%s: the read session is gone (%s); reading all rows anew", load.table.pinned, gone)
                bookmark, reading, words = replace(bookmark, reading=reading), None, str(gone)
        raise Unavailable(
            f"the read session was lost {_SESSIONS_A_LOAD} times, at last by: {words}",
            where=load.table.pinned,
            todo="Try again later",
        )

    def _prepare(self, bookmark: Bookmark) -> Load:
        """Ask what the table is now; costs nothing if its dataset was asked for already."""
        table = self.tap.current_table(self)
        self.table = table
        columns = self._columns()
        if batch := self.tap.settings.batch_config:
            self._check_batch(batch, table, columns)
        limits = [self._row_limit(), self.ABORT_AT_RECORD_COUNT]
        max_rows = min((limit for limit in limits if limit is not None), default=None)
        selection = selection_digest(columns, max_rows, [name for name in self.added_columns if name != DELETED_AT])
        settings, notices = self.tap.settings, Notices()
        rules = ValueRules(
            invalid_as_null=settings.on_invalid_value == "null",
            replace_characters=settings.replace_invalid_characters,
            append_utc=settings.datetime_zone == "utc",
            for_arrow=batch is not None and batch.encoding != "jsonl",
        )
        wire_format: WireFormat = "arrow" if rules.for_arrow else settings.wire_format
        key = self._key_column(columns)
        source = Source(
            table=table.pinned,
            version_tag=table.version_tag,
            hash=table.hash,
            updated_at=table.updated_at,
            rows=table.rows,
            selection=selection,
            fingerprint="",
            replication_key=key.name if key else None,
            key_properties=tuple(sorted(self.primary_keys)) or None,
            log_based=self._is_comparable(table, columns),
            is_limited=max_rows is not None,
            hash_proves=table.is_upload and table.hash is not None,
        )
        since = self._since(key, known_key_value(bookmark, source))
        base = bookmark.table if source.log_based and why_all_rows(bookmark, source) is None else None
        parts: tuple[object, ...] = (key.name, since.value if since else None) if key else _content_signs(table)
        if batch is not None:
            parts += ("batch", batch.encoding, batch.version_columns)
        digest = partial(reading_digest, table.pinned, table.version_tag, selection, wire_format)
        fingerprint = digest("LOG_BASED", base) if base else digest(*parts)
        if base and bookmark.reading and bookmark.reading.fingerprint != fingerprint:
            # What an interrupted load of another kind has left in the target, only a whole load takes away.
            base, fingerprint = None, digest(*parts)
        self._highest = HighestKey(key) if key else None
        return Load(
            table=table,
            request=ReadRequest(
                table=table.pinned,
                table_uri=table.uri,
                wire_format=wire_format,
                max_streams=settings.max_streams,
                max_rows=max_rows,
                variables=[column.name for column in columns],
                timeout=settings.request_timeout_seconds,
            ),
            source=replace(source, fingerprint=fingerprint),
            since=since,
            base=base,
            codec=RowCodec(table.pinned, columns, rules, notices),
            notices=notices,
        )

    def _key_column(self, columns: Sequence[Column]) -> Column | None:
        """Find the replication key's column; None where all rows are read.

        Raises:
            ConfigError: There is none that can be gone by, or no key properties: rows at the border come twice.
        """
        if self.replication_method != "INCREMENTAL":
            return None
        where = f"stream {self.name}"
        key = next((column for column in columns if column.name == self.replication_key), None)
        if key is None or key.type not in KEY_TYPES:
            raise ConfigError(
                f"the replication key {self.replication_key!r} is no selected variable whose values have an order",
                where=where,
                todo="Name another one, or use FULL_TABLE",
            )
        if not self.primary_keys:
            raise ConfigError(
                "INCREMENTAL needs key properties: some rows come twice, and the target must know them again",
                where=where,
                todo="Name them in table_options or the catalog, or use FULL_TABLE",
            )
        return key

    def _is_comparable(self, table: TableInfo, columns: Sequence[Column]) -> bool:
        """Whether versions are to be compared.

        Raises:
            ConfigError: They are, but there are none, or no key properties.
        """
        if not self.is_log_based:
            return False
        if not set(self.primary_keys) or set(self.primary_keys) - {column.name for column in columns}:
            raise ConfigError(
                "LOG_BASED needs key properties, which are variables of the table: rows are compared by them",
                where=f"stream {self.name}",
                todo="Name them in table_options or the catalog, or use FULL_TABLE",
            )
        if table.version_tag is None:
            raise ConfigError(
                "LOG_BASED compares versions, and the tables of a workflow have none",
                where=f"stream {self.name}",
                todo="Use FULL_TABLE",
            )
        return True

    def _since(self, key: Column | None, value: KeyValue | None) -> Since | None:
        if key is None or value is None:
            return None
        since = Since(key, value)
        try:
            since.condition()
        except ValueError as error:
            self.logger.warning("state, stream %s: the replication key's value is damaged (%s)", self.name, error)
            return None
        return since

    def _row_limit(self) -> int | None:
        return self.tap.settings.options_for(self.table.name).max_rows if self.table else None

    def _columns(self) -> tuple[Column, ...]:
        properties = self.effective_schema.get("properties", {})
        variables = [name for name in properties if name not in self.added_columns]
        selected = {name for name in variables if self.mask["properties", name]}
        if self.tap.settings.batch_config is not None:
            selected &= self.stream_maps[0].transformed_schema["properties"].keys()
        columns = columns_of(properties, (name for name in variables if name in selected))
        if not columns:
            raise ConfigError(
                "no variable is selected", where=self.name, todo="Select at least one, or deselect the stream"
            )
        return columns

    def _open(self, load: Load, bookmark: Bookmark) -> tuple[Load, Reading]:
        """Open a read session after comparing the catalog with the table as it is."""
        ahead = self._opened_ahead()
        load = self._located(load, bookmark)
        session, opened_at = ahead.session, ahead.opened_at
        if session is None:
            session, opened_at = open_session(self.tap.api, load.request), datetime.now(timezone.utc)
        self._bodies = ahead.bodies
        expected = _expected_rows(load, session)
        now = datetime.now(timezone.utc)
        return load, Reading(
            session=session.id,
            query=load.query,
            opened_at=opened_at,
            wire_format=load.request.wire_format,
            fingerprint=load.source.fingerprint,
            version_tag=load.source.version_tag,
            # An incremental load adds to the rows of the one before: its rows have the same version.
            table_version=(not load.is_whole and bookmark.table_version) or next_table_version(bookmark, now),
            expected_rows=expected,
            streams={stream: StreamPosition() for stream in session.streams},
            changes=ChangeCounts() if load.base else None,
        )

    def _opened_ahead(self) -> Opened:
        """Take over what was asked for ahead.

        Raises:
            RedivisError: What went wrong then.
        """
        pending, self._ahead = self._ahead, None
        if pending is None:
            return Opened(self.variables or ())
        opened = pending.take().fresh()
        self.variables = opened.variables
        return opened

    def _note_opening(self, reading: Reading, bookmark: Bookmark) -> None:
        """Write STATE before the first row: after a kill -9 no other load may have the same table version."""
        if reading.expected_rows != 0 and ROWS_STREAM not in reading.streams:
            self._reading = reading
            self._keep(bookmark)
            self._write_state()

    def _located(self, load: Load, bookmark: Bookmark) -> Load:
        """Find where the rows are to be read and which variables to transfer.

        Raises:
            SchemaChanged: The catalog does not fit, and ``on_schema_change`` is ``fail``.
        """
        if self.variables is None:
            self.variables = self.tap.catalogue.variables(load.table)
        load = self._fitted(load, self.variables)
        if self.is_log_based:
            load, sql = self._comparing(load, bookmark, self.variables)
        elif load.since is not None:
            names = load.request.variables or [variable.name for variable in self.variables]
            sql = rows_since(load.table.pinned, names, load.since)
        if load.is_whole:
            return load
        try:
            return self._through_query(load, Query(load.table.pinned, sql), bookmark)[0]
        except (Unauthorized, Forbidden, Refused, QueryFailed) as error:
            todo = "Use replication method FULL_TABLE for it, which needs no query, or try again later"
            if AMBIGUOUS in error.what:
                todo = "Name other key properties, or use replication method FULL_TABLE"
            raise type(error)(error.what, where=load.table.pinned, todo=todo) from error

    def drift(self, load: Load) -> Drift:
        """Compare the catalog with the table's variables, before any row is read."""
        if self.variables is None:
            self.variables = self.tap.catalogue.variables(load.table)
        return self._drift(load, self.variables)

    def refuse(self, load: Load, drift: Drift) -> None:
        """Stop a load whose catalog does not fit.

        Raises:
            SchemaChanged: It does not, and ``on_schema_change`` is ``fail``.
        """
        refusal = drift.refusal(load.table.pinned)
        if refusal is not None and self.tap.settings.on_schema_change == "fail":
            raise refusal

    def _drift(self, load: Load, variables: Sequence[Variable]) -> Drift:
        before = self._bookmark().version_tag
        return drift_of(load.codec.columns, variables, known=self._known_names(), before=before, now=self._version)

    def _known_names(self) -> Collection[str] | None:
        """Give the names that are not new; None where no catalog could lack some, or they were left out on purpose."""
        if self._tap_input_catalog is None:
            return None
        if self.reference and self.tap.settings.options_for(self.reference.name).variables:
            return None
        return list(self.schema["properties"])

    def _fitted(self, load: Load, variables: Sequence[Variable]) -> Load:
        """Say which variables to transfer, and as what they arrive.

        Raises:
            SchemaChanged: The catalog does not fit, and ``on_schema_change`` is ``fail``.
        """
        drift = self._drift(load, variables)
        self.refuse(load, drift)
        for change in drift.breaking:
            self.logger.warning("%s: %s", load.table.pinned, change.words)
        if drift.added:
            self.logger.info("%s: %s", load.table.pinned, drift.news)
        if drift.verdict:
            self.logger.info("%s: %s", load.table.pinned, drift.verdict)
        names = names_to_transfer(load.codec.columns, variables)
        columns = fitted_columns(load.codec.columns, variables)
        codec = load.codec.fitted(columns, all_must_come=load.table.is_released)
        return replace(load, request=replace(load.request, variables=names), codec=codec)

    def _fitted_again(self, load: Load, reading: Reading) -> Load:  # noqa: ARG002 - others need it
        """Find out for an interrupted load what was found out when it began."""
        if self.variables is None:
            self.variables = self.tap.catalogue.variables(load.table)
        return self._fitted(load, self.variables)

    def _comparing(self, load: Load, bookmark: Bookmark, variables: Sequence[Variable]) -> tuple[Load, str]:
        """Make the query for what changed since the last load; all rows are read where there can be none.

        Returns:
            The load and the query, or the reason why there can be none.

        Raises:
            ConfigError: The table has a variable of the name that is ours.
        """
        if DELETED_AT in {variable.name.lower() for variable in variables}:
            raise ConfigError(
                f"the table has a variable {DELETED_AT}, which LOG_BASED needs for itself",
                where=load.table.pinned,
                todo="Use FULL_TABLE",
            )
        if load.base is None:
            return load, ""
        earlier = self._earlier(load, load.base, bookmark, variables)
        if isinstance(earlier, str):
            self.logger.info("%s: all rows are read, since %s", load.table.pinned, earlier)
            return replace(load, base=None), earlier
        by_name = {variable.name.lower(): variable for variable in variables}
        compared = [by_name[column.name.lower()] for column in load.codec.columns]
        references = [table.pinned for table in earlier]
        comparison = Comparison(references, load.table.pinned, compared, self.primary_keys)
        names = [*(variable.name for variable in compared), comparison.mark.name]
        return replace(load, request=replace(load.request, variables=names)), comparison.query()

    def _earlier(
        self, load: Load, base: str, bookmark: Bookmark, variables: Sequence[Variable]
    ) -> list[TableInfo] | str:
        """Ask the server for the version that was loaded and those between it and this one.

        Returns:
            The tables of these versions; or, in words, why they cannot be compared with this one.
        """
        catalogue, earlier = self.tap.catalogue, []
        tags = [str(bookmark.version_tag), *versions_between(bookmark.version_tag, load.source.version_tag)]
        for tag in tags:
            try:
                reference = parse_table(base, f"state, stream {self.name}")
                [table] = catalogue.find(replace(reference, container=pinned(reference.container, tag)))
                listed = catalogue.variables(table)
            except (ConfigError, NotFound, Forbidden, Refused) as error:
                return f"{tag} cannot be read ({error.what})"
            reason = table.unreadable or why_not_comparable(load.codec.columns, listed, variables)
            if reason is not None:
                return f"{tag} cannot be compared with it ({reason})"
            earlier.append(table)
        if earlier[0].rows != bookmark.rows or not same_table(base, earlier[0].pinned):
            return f"{tags[0]} is not what was loaded"
        return earlier

    def _through_query(self, load: Load, query: Query, bookmark: Bookmark) -> tuple[Load, QueryResult]:
        """Run a query, to load its result; one that was run for the same reading is not run again.

        Raises:
            ApiError: The query was refused.
            QueryFailed: It failed, was cancelled, or took too long.
        """
        api, before, result = self.tap.api, bookmark.reading, None
        if before and before.query and before.fingerprint == load.source.fingerprint:
            result = completed_query(api, query, before.query)
        if result is None:
            result = run_query(api, query, timeout=load.request.timeout)
        load = replace(
            load,
            query=result.id,
            table=replace(load.table, uri=result.uri, rows=result.rows, bytes=result.bytes),
            request=replace(load.request, table_uri=result.uri),
        )
        return load, result

    def _read(self, load: Load, bookmark: Bookmark, reading: Reading, counter: metrics.Counter) -> Result:
        """Write all rows and, after the proof, the end of the load."""
        self._marking = Marking(_mark(load), reading.opened_at, load.codec.zone) if load.base else None
        self._extend = extension(
            [name for name in self.added_columns if name != DELETED_AT or self._marking is None],
            table=load.table.pinned,
            version_tag=load.table.version_tag,
            table_version=reading.table_version,
        )
        batch = self._batch_output(load, reading)
        cluster = self._cluster_load(load, reading, batch.columns) if batch else None
        make = None if batch else self._make(load, reading)
        emit = self._files(batch) if batch else self._records(reading.table_version)
        through = batch.through if batch and not cluster else None
        way = Way(
            make, through, batch is not None and batch.is_for_processes, elsewhere=cluster.reader if cluster else None
        )
        reader = self._reader(load, reading.streams, reading.expected_rows, way)
        run = _Run(reader, before=reading.rows, started=time.monotonic())
        self._reading = reading
        try:
            with (
                batch.writing() if batch else nullcontext(),
                closing(cluster) if cluster else nullcontext(),
                closing(reader.read()) as events,
                display(self.name, reading.expected_rows, len(reading.streams)) as bar,
            ):
                for event in events:
                    self._write(event, emit, bookmark)
                    if isinstance(event, Block):
                        counter.increment(event.rows.count)
                        bar.show(reader)
                    del event  # its rows may be large, and the next may be long in coming
            _prove_changes(load, bookmark, self._reading)
        except RedivisError as error:
            self._say_how_it_went("not complete", load, self._reading or reading, run)
            if isinstance(error, Incomplete):
                self._reading = None
            raise
        finally:
            self._keep(bookmark)
            self._warn_of(load)
        reading = self._reading
        measured = _rate(reading.rows - run.before, run.seconds)
        self._finish(load, bookmark, reading, measured or bookmark.rows_per_second)
        self._say_how_it_went(f"complete: {reader.proof}", load, reading, run)
        return Result(
            self.name,
            version=self._version,
            mode="resumed" if run.before else load.mode,
            outcome="loaded",
            rows=reading.rows,
            bytes=reader.bytes,
            seconds=run.seconds,
            resumes=reader.resumes,
        )

    def _say_how_it_went(self, words: str, load: Load, reading: Reading, run: _Run) -> None:
        self.logger.info(
            "%s: %s; %s rows expected, %d received, %d of them now; %d streams, %d resumes, %d bytes, %.1f s",
            load.table.pinned,
            words,
            "unknown" if reading.expected_rows is None else reading.expected_rows,
            reading.rows,
            reading.rows - run.before,
            len(reading.streams),
            run.reader.resumes,
            run.reader.bytes,
            run.seconds,
        )

    def _reader(
        self,
        load: Load,
        positions: Mapping[str, StreamPosition],
        expected: int | None,
        way: Way = HERE,
    ) -> SessionReader:
        codec, names = load.codec, load.request.variables or [column.name for column in load.codec.columns]
        if load.base:
            codec = codec.with_column(_mark(load))
            names = [column.name for column in codec.columns]
        # No process may be forked beside threads that are at work.
        here = way.elsewhere is None and not self.tap.api.workers.are_busy
        processes = _processes_for(load, way) if here else 0
        return SessionReader(
            self.tap.api,
            load.request,
            positions,
            expected,
            lambda: decoder_for(load.request.wire_format, codec, names),
            notices=load.notices,
            processes=processes,
            way=way,
            bodies=self._take_bodies(),
        )

    def _take_bodies(self) -> Mapping[str, Body]:
        bodies, self._bodies = self._bodies, {}
        return bodies

    def _write(self, event: Block | StreamEnd, emit: Emit, bookmark: Bookmark) -> None:
        """Write a block and advance its offset, as one: the only place where an offset becomes a bookmark."""
        assert self._reading is not None  # noqa: S101 - only called while reading
        with SHUTDOWN.whole():
            if isinstance(event, Block):
                highest = emit(event)
                self._reading = self._reading.advance(event.stream, event.rows.count, event.rows.last_digest)
                self._reading = self._reading.saw(highest)
                self._rows_since_state += event.rows.count
            else:
                self._reading = self._reading.end(event.stream)
            if self._state_is_due():
                self._keep(bookmark)
                self._write_state()

    def _extended(self, stream: str, rows: Rows, reading: Reading) -> Rows:
        """Add the row key, the lineage and the like to rows that are to be written next."""
        return self._extend(rows, reading.ordinal(stream), reading.streams[stream].offset)

    def _finish(self, load: Load, bookmark: Bookmark, reading: Reading, rows_per_second: int | None) -> None:
        now = datetime.now(timezone.utc)
        done = complete(
            bookmark,
            load.source,
            rows=reading.rows if load.is_whole else load.source.rows or reading.rows,
            table_version=reading.table_version,
            now=now,
            key_value=reading.saw(load.since.value if load.since else None).replication_key_value,
            rows_per_second=rows_per_second,
        )
        if load.is_whole and self.tap.settings.batch_config is not None:
            self._say_version(reading.table_version)
        with SHUTDOWN.whole():
            if load.is_whole and self.tap.settings.activates_versions:
                self._write_activate_version_message(reading.table_version)
            self._reading = None
            self._keep(done)
            self._write_state()

    def _say_version(self, table_version: int) -> None:
        """Say what becomes of the rows of earlier loads in the target."""
        if self.tap.settings.activates_versions:
            self.logger.info("load %d is in _sdc_table_version; ACTIVATE_VERSION drops other rows", table_version)
        else:
            self.logger.warning(
                "load %d: no ACTIVATE_VERSION is written: the rows of earlier loads stay in the target", table_version
            )

    def _make(self, load: Load, reading: Reading) -> Make | None:
        """Say what is made of rows where they are read: RECORD lines, unless something must see the rows before."""
        if not self._is_spliced or self._marking or load.request.max_rows is not None:
            return _noting(self._highest) if self._highest else None
        record_lines = self._record_lines(reading.table_version)
        ordinals = {stream: reading.ordinal(stream) for stream in reading.streams}
        highest, extend = self._highest, self._extend

        def make(stream: str, offset: int, rows: RowBlock) -> Lines:
            assert isinstance(rows, Rows)  # noqa: S101 - there is no BATCH
            lines = record_lines(extend(rows, ordinals[stream], offset))
            return Lines(rows.count, lines, rows.last_digest, highest.of(rows.lines) if highest else None)

        return make

    def _records(self, table_version: int) -> Emit:
        """Write rows as RECORD lines, or the lines that were made of them."""
        record_lines = self._record_lines(table_version)

        def emit(block: Block) -> KeyValue | None:
            assert self._reading is not None  # noqa: S101 - only called while reading
            if isinstance(block.rows, Lines):
                self.tap.writer.write_parts(block.rows.parts, "RECORD")
                return block.rows.highest
            given = cast("Rows", block.rows)  # there is no BATCH
            rows, changes = self._marking.of(given) if self._marking else (given, None)
            self.tap.writer.write_parts(record_lines(self._extended(block.stream, rows, self._reading)), "RECORD")
            if changes:
                self._reading = self._reading.count(changes)
            return given.highest

        return emit

    def _files(self, batch: BatchOutput) -> Emit:
        """Write messages of files that are complete."""

        def emit(block: Block) -> KeyValue | None:
            file = cast("BatchFile", block.rows)
            self.tap.writer.write_lines(batch.publish(file), "BATCH")
            return file.highest

        return emit

    def _check_batch(self, batch: BatchSettings, table: TableInfo, columns: Sequence[Column]) -> None:
        """Refuse what files cannot say.

        Raises:
            ConfigError: A stream map changes rows, a column has the name of ours, or deleted rows are to be told.
        """
        _ = self._alias
        check_names(batch, columns, table.pinned)
        if self.is_log_based:
            raise ConfigError(
                "LOG_BASED and BATCH do not go together: deleted rows are told in RECORD messages",
                where=table.pinned,
                todo="Use FULL_TABLE or INCREMENTAL for it, or leave batch_config out",
            )

    def _file_columns(self, load: Load, reading: Reading) -> FileColumns:
        batch, mapped = self.tap.settings.batch_config, self.stream_maps[0].transformed_schema["properties"]
        names = [name for name in self.added_columns if name in mapped]
        return file_columns(names, load.table.pinned, reading, versions=batch is not None and batch.version_columns)

    @property
    def _alias(self) -> str:
        """The stream's name in messages of files; an error where a map would have to change rows."""
        return stream_alias(self.name, self.stream_maps, self.tap.config.get("stream_maps") or {})

    def _batch_output(self, load: Load, reading: Reading) -> BatchOutput | None:
        if (settings := self.tap.settings.batch_config) is None:
            return None
        from tap_redivis.batch.output import BatchOutput  # noqa: PLC0415 - Parquet takes a moment, and RECORD needs none

        return BatchOutput(
            settings,
            self._alias,
            load.codec,
            reading,
            self._file_columns(load, reading),
            self._highest,
            rows_left=_rows_left(load, reading),
            versioned=self.tap.settings.activates_versions,
        )

    def _cluster_load(self, load: Load, reading: Reading, added: FileColumns) -> ClusterLoad | None:
        """Find out who writes the files; ``/rows`` has no streams that others could read a part of.

        Raises:
            ConfigError: The cluster's extra is not installed.
            ClusterError: It cannot be reached.
        """
        settings = self.tap.settings
        batch = settings.batch_config
        if batch is None or batch.scheduler is None or ROWS_STREAM in reading.streams:
            return None
        from tap_redivis.reading.dask_worker import ClusterLoad, cluster_at  # noqa: PLC0415 - only for who has one
        from tap_redivis.reading.jobs import TAP_VERSION, Work  # noqa: PLC0415 - the same

        work = Work(
            tap_version=TAP_VERSION,
            endpoint=settings.api_endpoint,
            is_anonymous=settings.api_token is None,
            timeout=settings.request_timeout_seconds,
            max_retry_seconds=settings.max_retry_seconds,
            request=load.request,
            settings=replace(batch, root=absolute(batch.root)),
            name=self._alias,
            columns=load.codec.columns,
            rules=load.codec.rules,
            all_must_come=load.codec.all_must_come,
            reading=reading,
            added=added,
            key=self._highest.column if self._highest else None,
        )
        left = _rows_left(load, reading)
        cluster = cluster_at(batch.scheduler, settings.max_retry_seconds)
        return ClusterLoad(cluster, work, settings.api_token, left, load.notices)

    def _record_lines(self, table_version: int) -> RecordLines:
        self._stream_version = table_version if self.tap.settings.emit_activate_version_messages else None
        if self._is_spliced:
            return splicing(self.stream_maps[0].stream_alias, self._stream_version)
        return by_sdk(self._mapped, self.tap.writer.format_message)

    @property
    def _is_spliced(self) -> bool:
        """Whether a record is the row as it is."""
        first, *others = self.stream_maps
        return not others and type(first) is SameRecordTransform and not first.flattening_enabled

    def _mapped(self, record: dict[str, Any]) -> Iterator[RecordMessage]:
        """Make the RECORD messages of one record through the stream maps.

        Raises:
            ConfigError: An expression of theirs fails.
        """
        try:
            yield from self._generate_record_messages(record)
        except Exception as error:
            words = one_line(f"{type(error).__name__}: {error.__cause__ or error}", 200).rstrip(".")
            raise ConfigError(
                f"a stream map fails on a record ({words})",
                where=f"stream_maps, stream {self.name}",
                todo="Correct its expressions: is a value null, or of another type?",
            ) from error

    # --- bookmark and STATE ------------------------------------------------------------------------------------------

    def _bookmark(self) -> Bookmark:
        return from_state(self.tap_state.get("bookmarks", {}).get(self.name, {}))

    def _keep(self, bookmark: Bookmark) -> None:
        """Put a bookmark into the state, with the reading under way unless it cannot resume."""
        reading = self._reading
        if reading is not None and ROWS_STREAM in reading.streams:
            reading = None
        self.tap_state.setdefault("bookmarks", {})[self.name] = to_state(replace(bookmark, reading=reading))

    def _state_is_due(self) -> bool:
        settings = self.tap.settings
        if settings.batch_config is not None:
            return self._rows_since_state > 0  # after each file
        age = time.monotonic() - self._last_state
        return self._rows_since_state >= settings.state_interval_rows or age >= settings.state_interval_seconds

    def _write_state(self) -> None:
        self._rows_since_state = 0
        self._last_state = time.monotonic()
        self.tap.state_writer.write_state(self.tap_state)

    def _warn_of(self, load: Load) -> None:
        for kind, count in load.notices.counts.items():
            self.logger.warning("%s: %d %s", load.table.pinned, count, kind)

    # --- test --------------------------------------------------------------------------------------------------------

    def probe(self) -> None:
        """Check token, scope and access by reading one row at most.

        Raises:
            RedivisError: The table cannot be read.
        """
        load = self._prepare(Bookmark())
        self._require_access(load)
        load = replace(load, request=replace(load.request, max_rows=1, max_streams=1))
        session = open_session(self.tap.api, load.request)
        positions = {stream: StreamPosition() for stream in session.streams}
        try:
            events = list(self._reader(load, positions, None).read())
        except SessionGone as gone:
            raise Unavailable(str(gone), where=load.table.pinned, todo="Try again later") from gone
        rows = sum(event.rows.count for event in events if isinstance(event, Block))
        self.logger.info("%s: readable (%d row read for the test)", load.table.pinned, rows)


def _noting(highest: HighestKey) -> Make:
    """Note the highest replication key of rows."""

    def make(_stream: str, _offset: int, rows: RowBlock) -> Rows:
        assert isinstance(rows, Rows)  # noqa: S101 - there is no BATCH
        return replace(rows, highest=highest.of(rows.lines))

    return make


def _mark(load: Load) -> Column:
    return mark_of(column.name for column in load.codec.columns)


def _prove_changes(load: Load, bookmark: Bookmark, reading: Reading) -> None:
    """Check that what changed makes the earlier version the later one, by the number of rows.

    Raises:
        Incomplete: It does not.
    """
    if reading.changes is None or bookmark.rows is None or load.source.rows is None:
        return
    logger.info("%s: %s since %s", load.table.pinned, reading.changes, bookmark.version_tag)
    if bookmark.rows + reading.changes.growth != load.source.rows:
        raise Incomplete(
            f"{bookmark.version_tag} had {bookmark.rows:,} rows, {load.source.version_tag} has {load.source.rows:,}, "
            f"and this does not fit: {reading.changes}",
            where=load.table.pinned,
            todo="Use replication method FULL_TABLE for it",
        )


def _rows_left(load: Load, reading: Reading) -> int | None:
    """Say how many rows may still be written; None for all."""
    limit = load.request.max_rows
    return None if limit is None else limit - reading.rows


def _processes_for(load: Load, way: Way) -> int:
    """Say how many processes a table is worth: threads compute in turn."""
    is_text = load.request.wire_format == "jsonl"
    if not _is_large(load) or not has_processes():
        return 0
    if way.through is not None and not way.through_in_processes and not is_text:
        return 0  # record batches would be copied from process to process
    return load.request.max_streams if is_text else _ARROW_PROCESSES


def _is_large(load: Load) -> bool:
    return not load.request.max_rows and (load.table.bytes or 0) >= PROCESSES_FROM_BYTES


def _is_small(load: Load) -> bool:
    """Whether the rows to read are known to be few bytes."""
    rows, size, limit = load.table.rows, load.table.bytes, load.request.max_rows
    if size is None:
        return False
    return (size * min(limit / rows, 1) if rows and limit else size) <= SMALL_BYTES


def _is_passable(step: Step) -> bool:
    """Whether other tables may be opened before this one has been read: it will not take long, nor any process."""
    return step.decision.action == "skip" or (step.load.is_whole and not _is_large(step.load))


def _content_signs(table: TableInfo) -> tuple[object, ...]:
    """Give what tells the content of a table that no version fixes: what was begun on another is not gone on with."""
    if table.version_tag is not None and not table.is_upload:
        return ()
    signs = (table.hash, table.rows, table.updated_at)
    return () if set(signs) == {None} else signs


def _expected_rows(load: Load, session: ReadSession) -> int | None:
    """Compare what the session promises with the released table, and say how many rows must come.

    Raises:
        Incomplete: They contradict each other.
    """
    # A draft's row count is not to be trusted (redivis-api §5).
    known = None if load.table.is_draft else load.table.rows
    limit = load.request.max_rows
    if limit is None and None not in {known, session.rows} and known != session.rows:
        raise Incomplete(
            f"the read session promises {session.rows:,} rows, and the table has {known:,}",
            where=load.table.pinned,
            todo="Run again; if it stays, tell Redivis",
        )
    rows = session.rows if known is None else known
    if rows is None and load.table.is_upload:
        rows = load.table.rows
    return rows if rows is None or limit is None else min(rows, limit)


def _rate(rows: int, seconds: float) -> int | None:
    """Measure the rows a second, the target's time included; None for a load that is too short to tell."""
    return max(round(rows / seconds), 1) if rows and seconds >= _SHORTEST_MEASURED_SECONDS else None
