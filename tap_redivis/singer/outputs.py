"""What becomes of the rows of one load: RECORD lines, or files and BATCH messages."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, cast

from tap_redivis.client.http import Body
from tap_redivis.model.added_columns import DELETED_AT
from tap_redivis.model.batch_settings import BatchSettings
from tap_redivis.model.columns import Column
from tap_redivis.model.reads import ROWS_STREAM, ChangeCounts
from tap_redivis.model.settings import Settings
from tap_redivis.planning.bookmarks import PartialLoad
from tap_redivis.planning.table_plan import TablePlan
from tap_redivis.planning.version_diff import change_column
from tap_redivis.reading.counting import ReadProgress, RowBudget
from tap_redivis.reading.jobs import Chunk, JobSpec, LocalWorker, Server, Worker
from tap_redivis.singer.messages import batch_message
from tap_redivis.singer.run import RunContext
from tap_redivis.wire.codec import RowCodec
from tap_redivis.wire.json_lines import ColumnAppender, DeletionMarker, RecordLines, column_appender
from tap_redivis.wire.rows import JsonRows, Parts, ValueIssues

if TYPE_CHECKING:  # Parquet takes a moment to import, and RECORD messages do not need it
    from typing_extensions import Self

    from tap_redivis.batch.output import FileOutput


class Outlet(Protocol):
    """A stream, as far as its messages need it.

    Attributes:
        name: The stream's name.
    """

    name: str

    @property
    def is_left_out(self) -> bool:
        """Whether a stream map removes all records."""
        ...

    @property
    def added_columns(self) -> list[str]:
        """Names of the columns that the tap adds to the variables."""
        ...

    @property
    def file_columns(self) -> list[str]:
        """Names of the added columns that stream maps leave in files."""
        ...

    @property
    def file_alias(self) -> str:
        """The stream's name in BATCH messages; an error where a stream map would have to change rows."""
        ...

    def plan(self) -> TablePlan:
        """Decide what to read now."""
        ...

    def record_lines(self, version: int | None) -> RecordLines:
        """Make what writes rows as RECORD lines.

        Args:
            version: Singer version of the records; None to leave it out.
        """
        ...

    def write_activate_version(self, version: int) -> None:
        """Write ACTIVATE_VERSION."""
        ...


class Writing(Protocol):
    """Writes the chunks of one load; a context manager that makes room for them and cleans up.

    Attributes:
        worker: Runs the jobs that give the chunks.
        spec: What these jobs have in common.
        issues: What had to be changed on the way.
    """

    worker: Worker
    spec: JobSpec
    issues: ValueIssues

    def __enter__(self) -> object:
        """Make room."""
        ...

    def __exit__(self, *error: object) -> object:
        """Clean up."""
        ...

    def write(self, chunk: Chunk, offset: int) -> ChangeCounts | None:
        """Write the messages of a chunk.

        Args:
            chunk: The chunk.
            offset: Offset of its first row in the read stream.

        Returns:
            Which changes its rows are, where only changes are read.
        """
        ...


def open_writing(  # noqa: PLR0913, PLR0917 - what a load consists of
    run: RunContext,
    outlet: Outlet,
    plan: TablePlan,
    partial: PartialLoad,
    progress: ReadProgress,
    bodies: dict[str, Body],
) -> Writing:
    """Prepare the reading and writing of one load.

    Args:
        run: The run.
        outlet: The stream.
        plan: What to read.
        partial: The load as it was opened or resumed.
        progress: Where it is counted what is received.
        bodies: Answers that were opened ahead, by read stream.

    Raises:
        ConfigError: The storage or the cluster needs an extra that is not installed.
        ClusterError: The cluster cannot be reached.
    """
    issues = ValueIssues()
    columns = (*plan.columns, _change_column(plan)) if plan.base else plan.columns
    codec = RowCodec(plan.table.pinned, columns, plan.rules, issues).fitted(columns, all_must_come=plan.all_must_come)
    limit = plan.request.max_rows
    budget = RowBudget(None if limit is None else limit - partial.rows)
    local = LocalWorker(run.api, codec, budget, progress, bodies)
    spec = JobSpec(server_of(run.settings), plan.request, columns, plan.rules, plan.all_must_come, plan.key)
    batch = run.settings.batch_config
    if batch is None:
        return RecordWriting(run, local, spec, issues, _RecordMaker(outlet, plan, partial, run))
    output = _file_output(batch, outlet, plan, partial)
    spec = replace(spec, output=output)
    worker = _dask_worker(run, local, output, issues) if batch.scheduler and _has_streams(partial) else local
    version = partial.table_version if run.settings.activates_versions else None
    return FileWriting(run, worker, spec, issues, output, version)


def server_of(settings: Settings) -> Server:
    """Give what a worker needs to know to reach the server."""
    return Server(
        endpoint=settings.api_endpoint,
        is_anonymous=settings.api_token is None,
        timeout=settings.request_timeout_seconds,
        max_retry_seconds=settings.max_retry_seconds,
    )


def _has_streams(partial: PartialLoad) -> bool:
    """Whether a session was opened: /rows has no streams of which a job elsewhere could read a part."""
    return ROWS_STREAM not in partial.streams


def _change_column(plan: TablePlan) -> Column:
    return change_column(column.name for column in plan.columns)


# --- RECORD messages -------------------------------------------------------------------------------------------------


class _RecordMaker:
    """Turns rows into RECORD lines: marks, added columns, envelope.

    Args:
        outlet: The stream.
        plan: What is read.
        partial: The load.
        run: The run.
    """

    def __init__(self, outlet: Outlet, plan: TablePlan, partial: PartialLoad, run: RunContext) -> None:
        zone = "+00:00" if plan.rules.append_utc else ""
        self._marker = DeletionMarker(_change_column(plan), partial.opened_at, zone) if plan.base else None
        # The mark of deleted rows is put in by the marker; without one, all rows are there.
        names = [name for name in outlet.added_columns if name != DELETED_AT or self._marker is None]
        self._extend: ColumnAppender = column_appender(
            names, table=plan.table.pinned, version_tag=plan.table.version_tag, table_version=partial.table_version
        )
        self._ordinals = {stream: place for place, stream in enumerate(partial.streams)}
        has_version = run.settings.emit_activate_version_messages
        self._lines = outlet.record_lines(partial.table_version if has_version else None)

    def lines(self, chunk: Chunk, offset: int) -> tuple[Parts, ChangeCounts | None]:
        """Make the lines of a chunk, and count the changes in it."""
        rows, changes = cast("JsonRows", chunk.content), None
        if self._marker is not None:
            rows, changes = self._marker.of(rows)
        return self._lines(self._extend(rows, self._ordinals[chunk.stream], offset)), changes


class RecordWriting(AbstractContextManager["RecordWriting"]):
    """Writes rows as RECORD messages (see ``Writing``)."""

    def __init__(
        self, run: RunContext, worker: LocalWorker, spec: JobSpec, issues: ValueIssues, maker: _RecordMaker
    ) -> None:
        self.worker: Worker = worker
        self.spec = spec
        self.issues = issues
        self._writer = run.writer
        self._maker = maker

    def __exit__(self, *error: object) -> None:
        """Clean nothing up."""

    def write(self, chunk: Chunk, offset: int) -> ChangeCounts | None:
        """Write the RECORD messages of a chunk."""
        parts, changes = self._maker.lines(chunk, offset)
        self._writer.write_parts(parts, "RECORD")
        return changes


# --- BATCH messages --------------------------------------------------------------------------------------------------


class FileWriting(AbstractContextManager["FileWriting"]):
    """Publishes files, and writes BATCH messages that name them (see ``Writing``)."""

    def __init__(  # noqa: PLR0913, PLR0917 - what a load consists of
        self,
        run: RunContext,
        worker: Worker,
        spec: JobSpec,
        issues: ValueIssues,
        output: FileOutput,
        version: int | None,
    ) -> None:
        self.worker = worker
        self.spec = spec
        self.issues = issues
        self._writer = run.writer
        self._output = output
        self._version = version
        self._open = ExitStack()

    def __enter__(self) -> Self:
        """Make room for files."""
        self._open.enter_context(self._output.writing())
        return self

    def __exit__(self, *error: object) -> None:
        """Remove files that are not complete, or that no message names."""
        self._open.close()

    def write(self, chunk: Chunk, offset: int) -> None:  # noqa: ARG002 - as in ``Writing``
        """Let the file of a chunk appear, and write its BATCH message."""
        url = self._output.publish(chunk)
        line = batch_message(self._output.stream, self._output.settings.described, url, self._version)
        self._writer.write_lines(line, "BATCH")


def _file_output(batch: BatchSettings, outlet: Outlet, plan: TablePlan, partial: PartialLoad) -> FileOutput:
    from tap_redivis.batch.columns import file_columns  # noqa: PLC0415 - RECORD messages do without Parquet
    from tap_redivis.batch.output import FileOutput  # noqa: PLC0415 - the same
    from tap_redivis.batch.storage.common import absolute  # noqa: PLC0415 - the same

    output = FileOutput(
        settings=replace(batch, root=absolute(batch.root)),
        stream=outlet.file_alias,
        table=plan.table.pinned,
        columns=plan.columns,
        rules=plan.rules,
        load=partial,
        added=file_columns(outlet.file_columns, plan.table.pinned, partial, versions=batch.version_columns),
        key=plan.key,
    )
    _ = output.storage  # what is missing for it is an error before the first row
    return output


def _dask_worker(run: RunContext, local: LocalWorker, output: FileOutput, issues: ValueIssues) -> Worker:
    from tap_redivis.reading.dask_worker import DaskWorker, cluster_at  # noqa: PLC0415 - few users have a cluster

    settings, batch = run.settings, output.settings
    cluster = cluster_at(batch.scheduler or "", settings.max_retry_seconds)
    return DaskWorker(cluster, output.stream, settings.api_token, issues, local.budget, local.progress)
