"""Discovery: the settings → one stream for each table, upload and query, and those of the data dictionary."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial

from singer_sdk import Tap

from tap_redivis.client.metadata import MetadataClient, describe_variables
from tap_redivis.client.uploads import find_uploads
from tap_redivis.errors import ConfigError, Forbidden, NotFound, Unauthorized, did_you_mean
from tap_redivis.model.columns import ROW_KEY
from tap_redivis.model.json_schema import name_warnings, replication_keys, schema_of
from tap_redivis.model.references import STREAM_NAME_LIMIT, ContainerRef, escape_name, name_matches, stream_name
from tap_redivis.model.settings import PARALLEL_REQUESTS, QueryOptions, Settings, TableOptions
from tap_redivis.model.tables import Container, TableInfo, Variable
from tap_redivis.runtime.logs import logger
from tap_redivis.runtime.memory import ThreadPool
from tap_redivis.singer.added_columns import columns_named, properties_to_add
from tap_redivis.singer.run import RunContext
from tap_redivis.singer.sources import QuerySource, TableSource
from tap_redivis.singer.streams import TableStream

_MOST_DESCRIPTIONS = 500
_STREAM_NAME = re.compile(rf"[a-z0-9_]{{1,{STREAM_NAME_LIMIT}}}")


Failures = dict[str, Exception]
"""What could not be found out, by what the settings name, or by stream."""


@contextmanager
def _noting(failures: Failures, name: str) -> Iterator[None]:
    """Note that one thing fails: the others go on, but not with a setting that is wrong."""
    try:
        yield
    except ConfigError:
        raise
    except Exception as failure:  # noqa: BLE001 - whatever it is
        failures.setdefault(name, failure)


def find_named(
    metadata: MetadataClient, settings: Settings, failures: Failures
) -> tuple[list[Container], list[TableInfo]]:
    """Find the datasets and workflows that the settings name, and every table, each once; failures are noted."""
    datasets: list[ContainerRef] = []
    for pattern in settings.datasets:
        with _noting(failures, str(pattern)):
            datasets.extend(metadata.expand(pattern))
    references = [*datasets, *settings.workflows, *(table.container for table in settings.tables)]
    metadata.load(references, workflows=settings.workflows)
    containers: list[Container] = []
    for each in (*datasets, *settings.workflows):
        with _noting(failures, str(each)):
            containers.append(metadata.container(each))
    tables = [table for container in containers for table in container.tables]
    for reference in settings.tables:
        with _noting(failures, str(reference)):
            tables.extend(metadata.find(reference))
            with suppress(Unauthorized):  # without a token, a table may be public and its dataset not
                containers.append(metadata.container(reference.container))
    unique = {str(container.reference): container for container in containers}
    return list(unique.values()), list({table.pinned: table for table in tables}.values())


def warn_of_unmatched_options(settings: Settings, tables: Sequence[str]) -> None:
    """Warn of a pattern in ``table_options`` that matches no table: else nobody would notice."""
    for pattern, _ in settings.table_options:
        if tables and not any(name_matches(pattern, table) for table in tables):
            logger.warning("table_options: %r matches no table%s", pattern, did_you_mean(escape_name(pattern), tables))


def _warn_of_unmatched_files(settings: Settings, tables: Sequence[TableInfo]) -> None:
    indexes = [table.name for table in tables if table.is_file_index]
    for pattern in (settings.files.tables or ["*"]) if settings.files else ():
        if not any(name_matches(pattern, name) for name in indexes):
            logger.warning("files.tables: %r matches no file-index table", pattern)


def name_of_table(table: TableInfo, settings: Settings) -> str:
    """Give the name of a table's stream; a sample is another version, so that both can be loaded."""
    sample = " sample" if table.reference and table.reference.container.sample else ""
    return stream_name(
        settings.stream_name_format,
        owner=table.owner,
        dataset=table.container,
        table=table.name,
        version=f"{table.version_tag or ''}{sample}",
    )


def name_of_query(query: QueryOptions) -> str:
    """Give the name of a query's stream: that of the query, if it can be one."""
    if _STREAM_NAME.fullmatch(query.name):
        return query.name
    return stream_name("{table}", owner="", dataset="", table=query.name, version="")


@dataclass(frozen=True)
class Discovery:
    """Makes the streams that the settings name."""

    tap: Tap
    run: RunContext
    with_descriptions: bool = False  # they cost a request for each variable
    runs_queries: bool = True  # without their rows, to know their columns

    def streams(self) -> list[TableStream]:
        """Make the streams of all tables, uploads and queries.

        Where some fail, the run goes on with the others; where nothing is left, the first error is raised.
        """
        run, failures = self.run, Failures()
        tables = [*find_named(run.metadata, run.settings, failures)[1], *self._uploads(failures)]
        if not failures:
            warn_of_unmatched_options(run.settings, [table.name for table in tables])
            _warn_of_unmatched_files(run.settings, tables)
        streams = [*self._table_streams(tables, failures), *self._query_streams(failures)]
        if failures and not streams:
            raise next(iter(failures.values()))
        for name, failure in failures.items():
            run.note_failure(name, failure)
        return streams

    def _uploads(self, failures: Failures) -> list[TableInfo]:
        found: list[TableInfo] = []
        for wanted in self.run.settings.uploads:
            with _noting(failures, str(wanted)):
                found.extend(find_uploads(self.run.api, self.run.metadata, wanted))
        return list({each.pinned: each for each in found}.values())

    def _table_streams(self, tables: Sequence[TableInfo], failures: Failures) -> list[TableStream]:
        run, streams = self.run, []
        listed = list(run.api.workers.map(partial(self._variables, failures), tables))
        describes = self.with_descriptions
        if describes and sum(map(len, filter(None, listed))) > _MOST_DESCRIPTIONS:  # that would use up the rate limit
            logger.warning("descriptions of variables are left out: there are more than %d", _MOST_DESCRIPTIONS)
            describes = False
        for table, variables in zip(tables, listed, strict=True):
            with _noting(failures, name_of_table(table, run.settings)):
                if variables is not None:
                    known = describe_variables(run.api, table, variables) if describes else variables
                    streams.append(self._table_stream(table, known))
        return streams

    def _variables(self, failures: Failures, table: TableInfo) -> list[Variable] | None:
        """List the variables; None where the server cannot tell them."""
        with _noting(failures, name_of_table(table, self.run.settings)):
            try:
                return self.run.metadata.variables(table)
            except (Forbidden, NotFound):  # a token may see that a table is there, and no more
                if table.unreadable is None:
                    raise
                return []
        return None

    def _table_stream(self, table: TableInfo, variables: Sequence[Variable]) -> TableStream:
        assert table.reference is not None  # noqa: S101 - only the result of a query has none
        options = self.run.settings.options_for(table.name)
        file_variable = None
        if table.upload is None and variables:
            file_variable = self.run.settings.file_variable_of(table.name, is_index=table.is_file_index)
        variables = _wanted(table, variables, options, file_variable)
        known = variables if options.variables is None else None
        source = TableSource(self.run, table.reference, table.upload, table=table, variables=known)
        name = name_of_table(table, self.run.settings)
        stream = TableStream(self.tap, self.run, name, schema_of(variables, table.description), source)
        method = _method_of(options, f"table_options for {table.pinned}")
        can_choose = bool(variables) and table.upload is None
        names = [variable.name for variable in variables]
        stream.primary_keys = columns_named(options.key_properties if names else (), names, "table_options")
        stream.forced_replication_method = method if can_choose else "FULL_TABLE"
        if options.replication_key and can_choose:
            [stream.replication_key] = columns_named([options.replication_key], names, "table_options")
        stream.row_count, stream.unreadable = table.rows, table.unreadable
        stream.selected_by_default = table.unreadable is None
        if table.unreadable:
            logger.warning("%s is not selected: %s", table.pinned, table.unreadable)
        return self._completed(stream, variables, table.pinned, file_variable)

    def _query_streams(self, failures: Failures) -> list[TableStream]:
        """Make the streams of the queries; each is run without its rows, to know its columns, but not for a plan."""
        settings = self.run.settings
        few = min(PARALLEL_REQUESTS, settings.max_requests)  # Redivis runs five at once (redivis-api §1.7)
        return list(filter(None, ThreadPool(few).map(partial(self._query_stream, failures), settings.queries)))

    def _query_stream(self, failures: Failures, query: QueryOptions) -> TableStream | None:
        name, source = name_of_query(query), QuerySource(self.run, query)
        with _noting(failures, name):
            variables = source.columns() if self.runs_queries else []
            stream = TableStream(self.tap, self.run, name, schema_of(variables, None), source)
            if not self.runs_queries:
                return stream
            names, where = [variable.name for variable in variables], f"queries, {query.name}"
            stream.primary_keys = columns_named(query.key_properties, names, where)
            stream.forced_replication_method = "FULL_TABLE"
            if query.replication_key:
                [stream.replication_key] = columns_named([query.replication_key], names, where)
                stream.forced_replication_method = "INCREMENTAL"
            return self._completed(stream, variables, str(query))
        return None

    def _completed(
        self, stream: TableStream, variables: Sequence[Variable], where: str, file_variable: str | None = None
    ) -> TableStream:
        """Warn of names that targets cannot hold, and add the tap's own columns."""
        stream.ordered_columns = replication_keys(variables)
        for warning in name_warnings(variables):
            logger.warning("%s: %s", where, warning)
        properties, settings = stream.schema["properties"], self.run.settings
        keys, method = stream.primary_keys, stream.replication_method
        new, taken = properties_to_add(properties, settings, keys=keys, method=method, files=file_variable is not None)
        properties.update(new)
        file_variables = columns_named(filter(None, [file_variable]), properties, where)
        stream.automatic_columns = [*new, *file_variables]
        if ROW_KEY in new:
            stream.primary_keys = [ROW_KEY]
        for name in taken:
            logger.warning(
                "%s has a variable %r of its own: the tap's column of that name is left out", stream.source.name, name
            )
        return stream


def _method_of(options: TableOptions, where: str) -> str:
    """Find out how a table is to be loaded; naming two ways is an error."""
    if options.replication_key is None:
        return options.replication_method or "FULL_TABLE"
    if options.replication_method is None:
        return "INCREMENTAL"
    raise ConfigError(
        f"there are both a replication_key and the replication_method {options.replication_method}",
        where=where,
        hint="Leave one of them out",
    )


def _wanted(
    table: TableInfo, variables: Sequence[Variable], options: TableOptions, file_variable: str | None
) -> Sequence[Variable]:
    """Take the variables that ``table_options`` names; one that is not there is an error."""
    by_name = {variable.name.lower(): variable for variable in variables}
    others = filter(None, [options.replication_key, file_variable])
    named = [*(options.variables or ()), *options.key_properties, *others]
    missing = [name for name in named if name.lower() not in by_name]
    if missing and variables:
        raise ConfigError(
            f"there is no variable {', '.join(f'{name}{did_you_mean(name, by_name)}' for name in missing)}",
            where=f"table_options for {table.pinned}",
            hint="Check the names; `tap-redivis --discover` lists them",
        )
    if options.variables is None:
        return variables
    return [variable for variable in variables if variable.name.lower() in {name.lower() for name in named}]
