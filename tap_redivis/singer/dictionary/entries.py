"""What the data dictionary describes: everything that the settings name, selected or not, with its bookmarks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tap_redivis.client.metadata import Metadata
from tap_redivis.errors import Forbidden, NotFound, Unauthorized
from tap_redivis.model.json_schema import columns_of
from tap_redivis.model.references import ContainerRef, TableRef
from tap_redivis.model.settings import Settings
from tap_redivis.model.tables import Container, TableInfo, Variable
from tap_redivis.planning.bookmarks import Bookmark, from_state
from tap_redivis.singer.dictionary.dictionary import Dictionary, leaving_out
from tap_redivis.singer.dictionary.rows import Entry
from tap_redivis.singer.query_stream import QueryStream
from tap_redivis.singer.upload_stream import UploadStream

if TYPE_CHECKING:
    from tap_redivis.tap import TapRedivis


def dictionary_of(tap: TapRedivis) -> Dictionary:
    """Make the dictionary of all that the settings name.

    Raises:
        ApiError: The server refused, for another reason than that this token may not see something.
    """
    catalogue = tap.catalogue
    containers, tables = _visible(catalogue, tap.settings)
    entries = [_table_entry(tap, table) for table in tables]
    for stream in tap.streams.values():
        if isinstance(stream, UploadStream) and stream.table:
            draft = catalogue.container(stream.upload.table.container)
            containers[str(draft.reference)] = draft
            name, loaded = _name_and_bookmark(tap, stream.name)
            entries.append(Entry(name, "upload", stream.table, draft, stream.variables, loaded=loaded))
    queries = [stream for stream in tap.streams.values() if isinstance(stream, QueryStream)]
    entries += [_query_entry(tap, stream) for stream in queries]
    return Dictionary(catalogue, list(containers.values()), entries)


def _visible(catalogue: Metadata, settings: Settings) -> tuple[dict[str, Container], Iterable[TableInfo]]:
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


def _table_entry(tap: TapRedivis, table: TableInfo) -> Entry:
    container = tap.catalogue.container(table.reference.container) if table.reference else None
    name, loaded = _name_and_bookmark(tap, tap.name_of(table))
    return Entry(name, "table", table, container, loaded=loaded)


def _query_entry(tap: TapRedivis, stream: QueryStream) -> Entry:
    """Take a query's columns from its stream: the server would have to run the query."""
    properties: Mapping[str, Mapping[str, Any]] = stream.effective_schema.get("properties", {})
    columns = columns_of(properties, (name for name in properties if name not in stream.added_columns))
    variables = [Variable(column.name, column.type) for column in columns]
    name, loaded = _name_and_bookmark(tap, stream.name)
    return Entry(name, "query", stream.query_table, None, variables, stream.query.sql, loaded)


def _name_and_bookmark(tap: TapRedivis, name: str) -> tuple[str, Bookmark]:
    """Give the name that a stream has in the target, where a stream map may rename it, and its bookmark."""
    maps = tap.mapper.stream_maps.get(name)
    return maps[0].stream_alias if maps else name, from_state(tap.state.get("bookmarks", {}).get(name, {}))
