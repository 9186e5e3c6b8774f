"""The stream of one table, upload or query: what the SDK and the catalog say of it, for those who load it."""

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from singer_sdk import Tap, metrics

from tap_redivis.errors import ConfigError
from tap_redivis.model.columns import FILE_URI, Column
from tap_redivis.model.json_schema import columns_of, without_times
from tap_redivis.model.tables import TableInfo
from tap_redivis.planning.bookmarks import Bookmark
from tap_redivis.planning.table_plan import Selection, TablePlan, plan_table
from tap_redivis.runtime.logs import logger
from tap_redivis.runtime.progress import Result
from tap_redivis.singer.added_columns import added, columns_named, with_version_columns
from tap_redivis.singer.loader import TableLoad, probe_table
from tap_redivis.singer.prefetch import PrefetchRequest, Preview, is_short
from tap_redivis.singer.run import RunContext
from tap_redivis.singer.sdk import SdkStream
from tap_redivis.singer.sources import Source, TableSource
from tap_redivis.singer.stream_maps import alias_in_files, columns_in_files


class TableStream(SdkStream):
    """One table, upload or query."""

    def __init__(self, tap: Tap, run: RunContext, name: str, schema: Mapping[str, Any], source: Source) -> None:
        super().__init__(tap, name, schema, source.name)
        self.run = run
        self.source = source
        self.replication_methods = source.replication_methods

    @property
    def added_columns(self) -> list[str]:
        """Names of the columns that the tap adds to the variables."""
        return added(self.effective_schema.get("properties", {}))

    def message_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Add the columns that BATCH adds, and leave out formats that targets should not check."""
        settings = self.run.settings
        if settings.time_format == "string":
            schema = without_times(schema)
        return schema if settings.batch_config is None else with_version_columns(settings.batch_config, schema)

    def plan(self, bookmark: Bookmark | None = None) -> TablePlan:
        """Decide what to read now, by STATE's bookmark or another; costs nothing if the dataset is known already."""
        bookmark = bookmark or self.run.states.bookmark(self.name)
        table, now = self.source.describe(), datetime.now(timezone.utc)
        return plan_table(table, self._selection(table), bookmark, self.run.settings, now)

    def _selection(self, table: TableInfo) -> Selection:
        if self.run.settings.batch_config is not None:
            alias_in_files(self)  # an error where stream maps cannot be honoured in files
        settings, is_query = self.run.settings, table.reference is None
        limit = settings.max_rows if is_query else settings.options_for(table.name).max_rows
        limits = [limit, self.ABORT_AT_RECORD_COUNT]
        return Selection(
            stream=self.name,
            columns=self._columns(),
            added_columns=tuple(self.added_columns),
            replication_method=self.replication_method,
            replication_key=self.replication_key,
            key_properties=tuple(self.primary_keys),
            max_rows=min((limit for limit in limits if limit is not None), default=None),
            file_variable=self._file_variable(table),
            known_names=self._known_names(table),
        )

    def _columns(self) -> tuple[Column, ...]:
        properties = self.effective_schema.get("properties", {})
        variables = [name for name in properties if name not in self.added_columns]
        selected = {name for name in variables if self.mask["properties", name]}
        if self.run.settings.batch_config is not None:
            selected &= columns_in_files(self)
        columns = columns_of(properties, (name for name in variables if name in selected))
        if not columns:
            raise ConfigError(
                "no variable is selected", where=self.name, hint="Select at least one, or deselect the stream"
            )
        return columns

    def _file_variable(self, table: TableInfo) -> str | None:
        """Find the variable with the ids of the files to copy."""
        is_table = isinstance(self.source, TableSource) and self.source.upload is None
        named = self.run.settings.file_variable_of(table.name, is_index=table.is_file_index) if is_table else None
        if (named is not None) != (FILE_URI in self.added_columns):
            raise ConfigError(
                f"settings, catalog and server differ in whether rows name files ({FILE_URI})",
                where=self.name,
                hint="Discover again, with the settings of the run",
            )
        names = [column.name for column in self._columns()]
        return columns_named([named], names, f"stream {self.name}, files")[0] if named else None

    def _known_names(self, table: TableInfo) -> tuple[str, ...] | None:
        """Give the names that are not new; None where no catalog could lack some, or they were left out on purpose."""
        if not self.has_input_catalog or self.run.settings.options_for(table.name).variables:
            return None
        return tuple(self.schema["properties"])

    def load(self, counter: metrics.Counter) -> None:
        """Load the table."""
        self.run.note_result(self._load(counter))

    def _load(self, counter: metrics.Counter) -> Result:
        if self.is_left_out:
            return Result(self.name, outcome="left out", reason="a stream map removes all its records")
        pending = self.run.prefetcher.take(self.name)
        plan = self.plan()
        for warning in plan.warnings:
            logger.warning("%s", warning)
        logger.debug("%s: %s", plan.table.pinned, plan.decision.reason)
        if self.source.can_prefetch and is_short(plan):
            self.run.prefetcher.advance(self.name)
        if plan.decision.action == "skip":
            version = plan.table.version_tag or ""
            reason, rows = plan.decision.reason, plan.bookmark.rows or 0
            return Result(self.name, version=version, outcome="unchanged", reason=reason, rows=rows)
        return TableLoad(self.run, self, self.source, plan, counter).load(pending)

    def fail(self, failure: Exception) -> None:
        """Note that the table is not loaded."""
        self.run.note_failure(self.name, failure)
        version = self.source.table.version_tag if self.source.table else None
        self.run.note_result(Result(self.name, version=version or "", outcome="failed"))

    def preview(self) -> Preview:
        """Find out before this stream's turn what can be opened ahead; errors are raised at its turn."""
        if not self.selected or self.is_left_out:
            return Preview(None, is_short=True)
        if not self.source.can_prefetch:
            return Preview(None, is_short=False)
        try:
            plan = self.plan()
        except Exception:  # noqa: BLE001 - it is raised again at the stream's turn
            return Preview(None, is_short=False)
        if plan.decision.action != "start" or not plan.is_whole:
            return Preview(None, is_short(plan))
        must_fit = self.run.settings.on_schema_change == "fail"
        return Preview(PrefetchRequest(plan, self.source.variables, must_fit), is_short(plan))

    def probe(self) -> None:
        """Check token, scope and access by reading one row at most."""
        probe_table(self.run, self.source, self.plan(Bookmark()))
