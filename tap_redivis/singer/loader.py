"""Load one table: plan it, read its session, write RECORDs or files and STATE, and complete it once all is proved.

Or probe it, for ``--test``: read one row at most, and write nothing.
"""

import secrets
import time
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone

from requests import Response
from singer_sdk import metrics

from tap_redivis.client.read_sessions import note_refusal, open_session
from tap_redivis.errors import DataError, Forbidden, Incomplete, InvalidValue, RedivisError, Refused, Unavailable
from tap_redivis.model.reads import ChangeCounts, ReadSession, StreamPosition
from tap_redivis.planning.bookmarks import PartialLoad
from tap_redivis.planning.decision import complete, next_table_version
from tap_redivis.planning.table_plan import (
    TablePlan,
    contradiction,
    expected_rows,
    in_arrow,
    prove_changes,
    require_access,
)
from tap_redivis.reading.jobs import Chunk, JobSpec, LocalWorker, RowBudget, StreamEnd
from tap_redivis.reading.read_session import SessionReader
from tap_redivis.reading.read_stream import ReadProgress, SessionGone
from tap_redivis.runtime.logs import logger
from tap_redivis.runtime.progress import Outcome, Result, bytes_in_words, display
from tap_redivis.runtime.shutdown import SHUTDOWN, Termination
from tap_redivis.singer.outputs import Writing, file_contents, open_writing, server_of
from tap_redivis.singer.prefetch import Prefetched
from tap_redivis.singer.run import RunContext
from tap_redivis.singer.sdk import SdkStream
from tap_redivis.singer.sources import Source
from tap_redivis.singer.state import StateKeeper
from tap_redivis.wire.rows import ValueIssues

_SESSIONS_A_LOAD = 3
_SHORTEST_MEASURED_SECONDS = 1.0  # of shorter loads the time is that of the requests, whatever the rows


class _NotAsText(Exception):
    """What came in a text format is not what was promised: Arrow may be."""


@dataclass
class TableLoad:
    """One load of one table; all that changes while it runs is in here and in its ``StateKeeper``."""

    run: RunContext
    stream: SdkStream
    source: Source
    plan: TablePlan
    counter: metrics.Counter
    bodies: dict[str, Response] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begin with the bookmark that the plan is made of."""
        self._keeper = StateKeeper(self.run.states, self.stream.name, self.plan.bookmark)

    def load(self, pending: Future[Prefetched] | None) -> Result:
        """Read the table in one session; when a session is gone, all rows are read again under a new table version.

        A small table is read by /rows first.

        Raises:
            RedivisError: The table is not loaded; STATE has what can be resumed.
        """
        words = text_failed = ""
        wire_format = self.plan.request.wire_format
        partial = self.plan.partial
        if partial is not None:
            if self.run.settings.on_schema_change == "warn":
                self.plan = self.source.relocate(self.plan)  # finds which values have to be cast
            self._keeper.partial = partial
        lost = 0
        while lost < _SESSIONS_A_LOAD:
            is_new = self._keeper.partial is None
            if is_new:
                self._open(pending)
                pending = None  # what was opened ahead belongs to the first session
            try:
                result = self._read()
            except _NotAsText as failure:
                text_failed = str(failure)
                logger.warning("%s: %s; reading all rows once more, in arrow", self._table, failure)
                self._keeper.give_up()
                self.plan = replace(in_arrow(self.plan), bookmark=self._keeper.bookmark)
            except SessionGone as gone:
                words = str(gone)
                lost += not self.plan.request.in_one_answer
                self._begin_anew(gone, is_new=is_new, is_first=lost <= 1)
            else:
                if text_failed:
                    note_refusal(self.run.api, f"{wire_format} was not as promised ({text_failed}), and arrow was")
                return result
        raise Unavailable(
            f"the read session was lost {_SESSIONS_A_LOAD} times, at last by: {words}",
            where=self._table,
            hint="Try again later; if it stays, `make live` shows how the server differs",
        )

    def _begin_anew(self, gone: SessionGone, *, is_new: bool, is_first: bool) -> None:
        """Choose how all rows are read again, since what was begun cannot go on."""
        request = self.plan.request
        is_text = request.wire_format != "arrow" and self.run.api.anonymous
        if is_text and (isinstance(gone.__cause__, Refused) or not is_first):
            note_refusal(self.run.api, f"the server does not serve {request.wire_format} properly ({gone})")
        elif request.in_one_answer:
            logger.warning("%s: /rows failed (%s); reading all rows by a session", self._table, gone)
            request = replace(request, in_one_answer=False)
        # Only the user who opened a session may read it (redivis-api §1.3). Where this run did, a new session would be
        # refused too.
        elif is_new and isinstance(gone.__cause__, Forbidden):
            raise gone.__cause__ from None
        else:
            logger.warning("%s: the read session is gone (%s); reading all rows anew", self._table, gone)
        self._keeper.give_up()
        self.plan = replace(self.plan, request=request, bookmark=self._keeper.bookmark)

    @property
    def _table(self) -> str:
        return self.plan.table.pinned

    def _open(self, pending: Future[Prefetched] | None) -> None:
        opened = None if pending is None else pending.result().fresh()
        if opened is not None:
            self.source.variables = opened.variables
        self.plan = self.source.locate(self.plan)
        if opened is not None and opened.session is not None:
            session, opened_at, self.bodies = opened.session, opened.opened_at, dict(opened.bodies)
        else:
            session, opened_at = open_session(self.run.api, self.plan.request), datetime.now(timezone.utc)
        self.plan = in_arrow(self.plan) if session.wire_format == "arrow" else self.plan
        if words := contradiction(self.plan, session):
            logger.warning("%s: %s", self._table, words)
        self._keeper.open(_partial(self.plan, session, opened_at))

    def _read(self) -> Result:
        keeper, partial, progress = self._keeper, self._keeper.loading, ReadProgress()
        writing = open_writing(self.run, self.stream, self.plan, partial, progress, self.bodies)
        reader = SessionReader(writing.worker, writing.spec, partial.streams, partial.expected_rows)
        measure = _Measure(self.plan, partial.rows, progress)
        try:
            with (
                writing.room(),
                closing(reader.read()) as messages,
                display(self.stream.name, partial.expected_rows, len(partial.streams)) as bar,
            ):
                for message in messages:
                    self._write(message, writing)
                    if isinstance(message, Chunk):
                        self.counter.increment(message.count)
                        bar.show(progress.rows, progress.received)
                    del message  # it may be large, and must not be kept while the next one is awaited
            self._prove_changes()
        except RedivisError as error:
            measure.log(keeper.loading)
            if self.plan.request.in_one_answer and isinstance(error, DataError) and not isinstance(error, InvalidValue):
                raise SessionGone(error.what) from error
            if self._is_worth_arrow(error):
                raise _NotAsText(error.what) from error
            if isinstance(error, Incomplete):  # its rows would not add up if it were resumed
                keeper.partial = None
            raise
        except Termination as end:
            of = "" if partial.expected_rows is None else f" of {partial.expected_rows:,}"
            end.words += f": {self.stream.name} at {keeper.loading.rows:,}{of} rows"
            self.run.note_result(measure.result(self.stream.name, keeper.loading, "stopped"))
            raise
        finally:
            keeper.save()
            for kind, count in writing.issues.warnings().items():
                logger.warning("%s: %d %s", self._table, count, kind)
        self._tell_vanished()
        partial = keeper.loading
        self._complete(partial, measure.rows_per_second(partial))
        return measure.result(self.stream.name, partial, "loaded", reader.proof)

    def _is_worth_arrow(self, error: RedivisError) -> bool:
        """Whether text that came may be what is wrong: only Arrow's sentinels prove that rows are all (design §7.1)."""
        if self.plan.request.wire_format == "arrow" or self.plan.base is not None:
            return False
        # A server that knows no formats would send Arrow, whatever it is asked for: no row of it can be read.
        return isinstance(error, Incomplete) or (type(error) is DataError and not self._keeper.loading.rows)

    def _write(self, message: Chunk | StreamEnd, writing: Writing) -> None:
        keeper = self._keeper
        # A signal waits for both: rows that were written without their offset in STATE would be sent again.
        with SHUTDOWN.defer_signals():
            if isinstance(message, Chunk):
                offset = keeper.loading.streams[message.stream].offset
                changes = writing.write(message, offset)
                keeper.advance(message, changes)
            else:
                keeper.end_stream(message.stream)
            keeper.write_if_due()

    def _tell_vanished(self) -> None:
        """Write the keys that a load of all rows does not have any more, for targets without ACTIVATE_VERSION."""
        plan = self.source.locate_vanished(self.plan)
        if plan is None or plan.table.rows == 0:
            return
        session, now = open_session(self.run.api, plan.request), datetime.now(timezone.utc)
        plan = in_arrow(plan) if session.wire_format == "arrow" else plan
        # Under the version of the last load: ACTIVATE_VERSION then removes these rows with the others of that load.
        before = _partial(plan, session, now)
        writing = open_writing(self.run, self.stream, plan, before, ReadProgress(), {})
        reader = SessionReader(writing.worker, writing.spec, before.streams, before.expected_rows)
        count = 0
        try:
            with closing(reader.read()) as messages:
                for chunk in (message for message in messages if isinstance(message, Chunk)):
                    with SHUTDOWN.defer_signals():
                        writing.write(chunk, 0)
                    self.counter.increment(chunk.count)
                    count += chunk.count
        except SessionGone as gone:
            raise Unavailable(str(gone), where=self._table, hint="Run again") from gone
        logger.info("%s: %d rows deleted since %s", self._table, count, plan.bookmark.version_tag)

    def _prove_changes(self) -> None:
        changes = self._keeper.loading.changes
        if changes is not None and None not in {self.plan.bookmark.rows, self.plan.snapshot.rows}:
            logger.info("%s: %s since %s", self._table, changes, self.plan.bookmark.version_tag)
            prove_changes(self.plan, changes)

    def _complete(self, partial: PartialLoad, rows_per_second: int | None) -> None:
        plan, settings = self.plan, self.run.settings
        done = complete(
            plan.bookmark,
            plan.snapshot,
            rows=partial.rows if plan.is_whole else plan.snapshot.rows or partial.rows,
            table_version=partial.table_version,
            now=datetime.now(timezone.utc),
            key_value=partial.saw(plan.since.value if plan.since else None).replication_key_value,
            rows_per_second=rows_per_second or plan.bookmark.rows_per_second,
        )
        if plan.is_whole and settings.batch_config is not None:
            _log_version(partial.table_version, will_drop=settings.activates_versions)
        with SHUTDOWN.defer_signals():
            if plan.is_whole and settings.activates_versions:
                self.stream.write_activate_version(partial.table_version)
            self._keeper.complete(done)


def _partial(plan: TablePlan, session: ReadSession, opened_at: datetime) -> PartialLoad:
    """Make the load that begins with a session."""
    before = plan.bookmark
    now = datetime.now(timezone.utc)
    # An incremental load adds to the rows of the one before: its rows have the same table version.
    table_version = (not plan.is_whole and before.table_version) or next_table_version(before, now)
    return PartialLoad(
        session=session.id,
        query=plan.query,
        opened_at=opened_at.replace(microsecond=0),
        wire_format=plan.request.wire_format,
        fingerprint=plan.snapshot.fingerprint,
        version_tag=plan.snapshot.version_tag,
        table_version=table_version,
        expected_rows=expected_rows(plan, session),
        streams={stream: StreamPosition() for stream in session.streams},
        changes=ChangeCounts(0, 0, 0, 0) if plan.base else None,
        # Not of the session's id: /rows has none, and nothing says that the server never gives one twice.
        row_key=f"{table_version}-{secrets.token_hex(6)}",
    )


def _log_version(table_version: int, *, will_drop: bool) -> None:
    if will_drop:
        logger.debug("load %d is in _sdc_table_version; ACTIVATE_VERSION drops other rows", table_version)
    else:
        logger.warning(
            "load %d: no ACTIVATE_VERSION is written: the rows of earlier loads stay in the target", table_version
        )


@dataclass(frozen=True)
class _Measure:
    """What one run of a load did, for the log, the summary and the estimate of the next plan."""

    plan: TablePlan
    before: int  # rows that earlier runs of the load have written
    progress: ReadProgress
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def rows_per_second(self, partial: PartialLoad) -> int | None:
        # The pipe to the target is full most of the time, so the target's time is part of it.
        rows, seconds = partial.rows - self.before, self.seconds
        return max(round(rows / seconds), 1) if rows and seconds >= _SHORTEST_MEASURED_SECONDS else None

    def log(self, partial: PartialLoad) -> None:
        of = "" if partial.expected_rows is None else f" of {partial.expected_rows:,}"
        size, resumes = bytes_in_words(self.progress.received.bytes), self.progress.received.resumes
        words = "%s: not complete; %s%s rows arrived, %s, %.1f s, %d resumes"
        logger.info(words, self.plan.table.pinned, f"{partial.rows:,}", of, size, self.seconds, resumes)

    def result(self, stream: str, partial: PartialLoad, outcome: Outcome, proof: str = "") -> Result:
        return Result(
            stream,
            version=self.plan.table.version_tag or "",
            mode="resumed" if self.before else self.plan.mode,
            outcome=outcome,
            reason=self.plan.decision.reason,
            rows=partial.rows,
            received=self.progress.received,
            seconds=self.seconds,
            proof=proof,
        )


def probe_table(run: RunContext, source: Source, plan: TablePlan) -> None:
    """Check token, scope and access of a stream by reading one row at most; the error says why it cannot be read."""
    require_access(plan.table, run.settings)
    if not source.probe(plan):
        return
    request = replace(plan.request, max_rows=1, max_streams=1, in_one_answer=False)
    session = open_session(run.api, request)
    request = replace(request, wire_format=session.wire_format)
    progress = ReadProgress()
    spec = JobSpec(server_of(run.settings), request, plan.columns, plan.rules)
    worker = LocalWorker(RowBudget(1), progress, run.api, spec.codec(ValueIssues()))
    contents = file_contents(run, plan, "test")
    # No number of rows is expected: one row of many proves nothing but that rows can be read.
    reader = SessionReader(worker, spec, {stream: StreamPosition() for stream in session.streams}, None)
    try:
        for message in reader.read():
            if contents is not None and isinstance(message, Chunk):
                contents.probe(message.content, run.api)
    except SessionGone as gone:
        raise Unavailable(str(gone), where=request.table, hint="Try again later") from gone
    logger.info("%s: readable (%d row read for the test)", request.table, progress.rows)
