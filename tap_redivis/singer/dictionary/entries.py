"""What the data dictionary describes: everything that the settings name, selected or not, with its bookmarks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tap_redivis.client.metadata import MetadataClient
from tap_redivis.errors import Forbidden, NotFound, Unauthorized
from tap_redivis.model.json_schema import columns_of
from tap_redivis.model.references import ContainerRef, TableRef
from tap_redivis.model.settings import Settings
from tap_redivis.model.tables import Container, TableInfo, Variable
from tap_redivis.planning.bookmarks import Bookmark
from tap_redivis.singer.dictionary.dictionary import Dictionary, leaving_out
from tap_redivis.singer.dictionary.rows import Entry
from tap_redivis.singer.discovery import name_of_table
from tap_redivis.singer.run import RunContext
from tap_redivis.singer.sources import QuerySource, TableSource
from tap_redivis.singer.streams import TableStream


@dataclass(frozen=True)
class Described:
    """What the dictionary needs of the run.

    Attributes:
        run: The run.
        streams: Gives the streams of all tables, uploads and queries.
        name_in_target: Gives the name that a stream has in the target, where a stream map may rename it.
    """

    run: RunContext
    streams: Callable[[], Iterable[TableStream]]
    name_in_target: Callable[[str], str]

    def dictionary(self) -> Dictionary:
        """Make the dictionary of all that the settings name.

        Raises:
            ApiError: The server refused, for another reason than that this token may not see something.
        """
        metadata = self.run.metadata
        containers, tables = _visible(metadata, self.run.settings)
        entries = [self._table_entry(table) for table in tables]
        streams = list(self.streams())
        for stream in streams:
            source = stream.source
            if isinstance(source, TableSource) and source.upload and source.table:
                draft = metadata.container(source.reference.container)
                containers[str(draft.reference)] = draft
                name, loaded = self._name_and_bookmark(stream.name)
                entries.append(Entry(name, "upload", source.table, draft, source.variables, loaded=loaded))
        entries += [self._query_entry(each, each.source) for each in streams if isinstance(each.source, QuerySource)]
        return Dictionary(metadata, list(containers.values()), entries)

    def _table_entry(self, table: TableInfo) -> Entry:
        container = self.run.metadata.container(table.reference.container) if table.reference else None
        name, loaded = self._name_and_bookmark(name_of_table(table, self.run.settings))
        return Entry(name, "table", table, container, loaded=loaded)

    def _query_entry(self, stream: TableStream, source: QuerySource) -> Entry:
        """Take a query's columns from its stream: the server would have to run the query."""
        properties: Mapping[str, Mapping[str, Any]] = stream.effective_schema.get("properties", {})
        columns = columns_of(properties, (name for name in properties if name not in stream.added_columns))
        variables = [Variable(column.name, column.type) for column in columns]
        name, loaded = self._name_and_bookmark(stream.name)
        return Entry(name, "query", source.result_table, None, variables, source.query.sql, loaded)

    def _name_and_bookmark(self, name: str) -> tuple[str, Bookmark]:
        return self.name_in_target(name), self.run.states.bookmark(name)


def _visible(catalogue: MetadataClient, settings: Settings) -> tuple[dict[str, Container], Iterable[TableInfo]]:
    """Find the containers and tables that the settings name, except those that this token may not see."""
    datasets: list[ContainerRef] = []
    for pattern in settings.datasets:
        with leaving_out(str(pattern)):
            datasets.extend(catalogue.expand(pattern))
    wanted: list[ContainerRef | TableRef] = [*datasets, *settings.workflows, *settings.tables]
    with suppress(NotFound, Forbidden, Unauthorized):  # each is asked for again, and logged, below
        catalogue.load(map(_container_of, wanted), settings.workflows)
    containers: dict[str, Container] = {}
    tables: dict[str, TableInfo] = {}
    for reference in wanted:
        with leaving_out(str(reference)):
            container = catalogue.container(_container_of(reference))
            containers[str(container.reference)] = container
            found = catalogue.find(reference) if isinstance(reference, TableRef) else container.tables
            tables.update((table.pinned, table) for table in found)
    return containers, tables.values()


def _container_of(reference: ContainerRef | TableRef) -> ContainerRef:
    return reference.container if isinstance(reference, TableRef) else reference
