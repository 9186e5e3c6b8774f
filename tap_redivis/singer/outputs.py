"""What becomes of the rows of one load: RECORD lines, or files and BATCH messages."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import msgspec
from requests import Response

from tap_redivis.model.batch_settings import BatchSettings
from tap_redivis.model.columns import DELETED_AT, FILE_URI, LOAD, ROW_KEY, TABLE, VERSION, Column
from tap_redivis.model.file_settings import FILE_MD5, FILE_NAME, FILE_SIZE
from tap_redivis.model.reads import ROWS_STREAM, ChangeCounts
from tap_redivis.model.settings import Settings
from tap_redivis.planning.bookmarks import PartialLoad
from tap_redivis.planning.sql import change_column
from tap_redivis.planning.table_plan import TablePlan
from tap_redivis.reading.jobs import Chunk, JobSpec, LocalWorker, RowBudget, Server, Worker
from tap_redivis.reading.read_stream import ReadProgress
from tap_redivis.singer.run import RunContext
from tap_redivis.singer.sdk import SdkStream
from tap_redivis.singer.stream_maps import alias_in_files, columns_in_files, record_lines
from tap_redivis.wire.json_lines import DeletionMarker, column_appender
from tap_redivis.wire.rows import JsonRows, ValueIssues

if TYPE_CHECKING:  # Parquet takes a moment to import, and RECORD messages do not need it
    from tap_redivis.batch.contents import FileContents
    from tap_redivis.batch.output import FileOutput


@dataclass
class Writing:
    """Writes the chunks of one load."""

    run: RunContext
    worker: Worker
    spec: JobSpec
    issues: ValueIssues  # what had to be changed on the way

    def write(self, chunk: Chunk, offset: int) -> ChangeCounts | None:
        """Write the messages of a chunk, whose first row has this offset in its read stream.

        Returns:
            Which changes its rows are, where only changes are read.
        """
        raise NotImplementedError

    @contextmanager
    def room(self) -> Iterator[None]:
        """Make room for files; at the end those are removed that are not complete, or that no message names."""
        with ExitStack() as places:
            for place in (self.spec.contents, self.spec.output):
                if place is not None:
                    places.enter_context(place.writing())
            yield


def open_writing(  # noqa: PLR0913, PLR0917 - what a load consists of
    run: RunContext,
    stream: SdkStream,
    plan: TablePlan,
    partial: PartialLoad,
    progress: ReadProgress,
    bodies: dict[str, Response],  # answers that were opened ahead, by read stream
) -> Writing:
    """Prepare the reading and writing of one load; a ``ClusterError`` says that the cluster cannot be reached."""
    issues = ValueIssues()
    columns = (*plan.columns, _change_column(plan)) if plan.base else plan.columns
    limit = plan.request.max_rows
    budget = RowBudget(None if limit is None else limit - partial.rows)
    known = (server_of(run.settings), plan.request, columns, plan.rules, plan.all_must_come, plan.key)
    spec = JobSpec(*known, contents=file_contents(run, plan, partial.key))
    local = LocalWorker(budget, progress, run.api, spec.codec(issues), bodies)
    batch = run.settings.batch_config
    if batch is None:
        return RecordWriting(run, local, spec, issues, stream, plan, partial)
    output = _file_output(batch, stream, plan, partial, spec)
    # /rows has no streams of which a job elsewhere could read a part (redivis-api §4.5).
    is_elsewhere = batch.scheduler and ROWS_STREAM not in partial.streams
    worker = _dask_worker(run, local, output, issues) if is_elsewhere else local
    return FileWriting(run, worker, replace(spec, output=output), issues, output, partial.table_version)


def server_of(settings: Settings) -> Server:
    """Give what a worker needs to know to reach the server."""
    return Server(
        endpoint=settings.api_endpoint,
        is_anonymous=settings.api_token is None,
        timeout=settings.request_timeout_seconds,
        max_retry_seconds=settings.max_retry_seconds,
    )


def _change_column(plan: TablePlan) -> Column:
    return change_column(column.name for column in plan.columns)


def _added_values(
    names: Sequence[str], plan: TablePlan, partial: PartialLoad
) -> tuple[str | None, dict[str, str | int | None]]:
    """Give what the row keys begin with, None without such a column, and the added columns that all rows share."""
    # Unless only changes are read, all rows are there.
    values = {TABLE: plan.table.pinned, VERSION: plan.table.version_tag, DELETED_AT: None}
    return partial.key if ROW_KEY in names else None, {name: values[name] for name in names if name in values}


@dataclass
class RecordWriting(Writing):
    """Writes rows as RECORD messages: marks of deleted rows, added columns, envelope."""

    stream: SdkStream
    plan: TablePlan
    partial: PartialLoad

    def __post_init__(self) -> None:
        """Prepare what all chunks have in common."""
        plan, partial = self.plan, self.partial
        zone = "+00:00" if plan.rules.append_utc else ""
        self._marker = DeletionMarker(_change_column(plan), partial.opened_at, zone) if plan.base else None
        load, constants = _added_values(plan.selection.added_columns, plan, partial)
        if self._marker is not None:  # it puts in the mark of deleted rows
            constants.pop(DELETED_AT, None)
        self._extend = column_appender(load, constants)
        has_version = self.run.settings.emit_activate_version_messages
        self._lines = record_lines(self.stream, partial.table_version if has_version else None, self.run.writer)

    def write(self, chunk: Chunk, offset: int) -> ChangeCounts | None:
        """Write the RECORD messages of a chunk."""
        rows, changes = cast("JsonRows", chunk.content), None
        if self._marker is not None:
            rows, changes = self._marker.of(rows)
        # The row key holds the ordinal, not the id: it stays the same when a load is resumed (design.md §7.10).
        parts = self._lines(self._extend(rows, self.partial.ordinal(chunk.stream), offset))
        self.run.writer.write_lines(parts, "RECORD")
        return changes


@dataclass
class FileWriting(Writing):
    """Publishes files, and writes BATCH messages that name them."""

    output: "FileOutput"
    table_version: int

    def write(self, chunk: Chunk, offset: int) -> None:  # noqa: ARG002 - as in ``Writing``
        """Let the file of a chunk appear, and write its BATCH message."""
        output = self.output
        message: dict[str, Any] = {
            "type": "BATCH",
            "stream": output.stream,
            "encoding": dict(output.settings.described),
            "manifest": [output.publish(chunk)],
        }
        if self.run.settings.activates_versions:  # the SDK's own message has no version
            message["version"] = self.table_version
        self.run.writer.write_lines(msgspec.json.encode(message) + b"\n", "BATCH")


def _file_output(
    batch: BatchSettings, stream: SdkStream, plan: TablePlan, partial: PartialLoad, spec: JobSpec
) -> "FileOutput":
    from tap_redivis.batch.encodings import FileColumns  # noqa: PLC0415 - RECORD messages do without Parquet
    from tap_redivis.batch.output import FileOutput  # noqa: PLC0415 - the same
    from tap_redivis.batch.storage.common import absolute  # noqa: PLC0415 - the same

    kept = columns_in_files(stream)
    added = [name for name in plan.selection.added_columns if name in kept]
    load, constants = _added_values(added, plan, partial)
    if batch.version_columns:
        constants |= {LOAD: partial.table_version, VERSION: partial.version_tag}
    # A worker of a cluster has another working directory.
    settings = replace(batch, root=absolute(batch.root))
    output = FileOutput(
        settings, alias_in_files(stream), spec, partial, FileColumns(load, constants, file_uri=FILE_URI in added)
    )
    _ = output.storage  # what is missing for it is an error before the first row
    return output


def file_contents(run: RunContext, plan: TablePlan, load: str) -> "FileContents | None":
    """Make what copies the files that a table's rows name; None if they name none, or those are not wanted."""
    variable, files, table = plan.selection.file_variable, run.settings.files, plan.table
    if variable is None or files is None:
        return None
    from tap_redivis.batch.contents import FileContents, FileVariables  # noqa: PLC0415 - few tables name files
    from tap_redivis.batch.storage.common import absolute  # noqa: PLC0415 - the same

    names = {column.name.lower(): column.name for column in plan.columns}
    known = [names.get(name) if table.is_file_index else None for name in (FILE_NAME, FILE_SIZE, FILE_MD5)]
    version = table.version_tag or "current"
    return FileContents(
        settings=replace(files, root=absolute(files.root)),
        table=table.pinned,
        load=load,
        places={"owner": table.owner, "dataset": table.container, "table": table.name, "version": version},
        variables=FileVariables(variable, _change_column(plan).name if plan.base else None, *known),
        most=run.settings.max_requests,
        timeout=plan.request.timeout,
    )


def _dask_worker(run: RunContext, local: LocalWorker, output: "FileOutput", issues: ValueIssues) -> Worker:
    from tap_redivis.reading.dask_worker import DaskWorker, cluster_at  # noqa: PLC0415 - few users have a cluster

    settings = run.settings
    cluster = cluster_at(output.settings.scheduler or "", settings.max_retry_seconds)
    return DaskWorker(local.budget, local.progress, cluster, output.stream, settings.api_token, issues)
