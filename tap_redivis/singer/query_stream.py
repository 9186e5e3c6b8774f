"""Singer semantics of one query: it is run on the server, and its result is loaded as a table is."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tap_redivis.client.queries import (
    Query,
    check_versions,
    completed_query,
    query_columns,
    result_columns,
    selection_from,
)
from tap_redivis.model.settings import QueryOptions
from tap_redivis.model.tables import TableInfo
from tap_redivis.planning.bookmarks import Bookmark, PartialLoad
from tap_redivis.planning.drift import Drift
from tap_redivis.singer.streams import Load, TableStream

if TYPE_CHECKING:
    from tap_redivis.tap import TapRedivis


class QueryStream(TableStream):
    """The result of one query, which is run anew for each load: whether it changed, only running it can tell.

    Args:
        tap: The tap.
        name: The stream's name.
        schema: JSON Schema of its records.
        query: The query.
    """

    replication_methods = ("FULL_TABLE", "INCREMENTAL")
    opens_ahead = False

    def __init__(self, tap: TapRedivis, name: str, schema: Mapping[str, Any], query: QueryOptions) -> None:
        self.query_table = _table_of(query)
        super().__init__(tap, name, schema, None)
        self.query = query_of(query)
        self.table = self.query_table

    @property
    def without_columns(self) -> bool:
        """Whether nobody has told the columns, as in a plan without a catalog."""
        return self.tap.plans and self._tap_input_catalog is None

    @property
    def source(self) -> str:
        """What the catalog calls the query."""
        return self.query.name

    def _prepare(self, bookmark: Bookmark) -> Load:
        check_versions(self.tap.catalogue, self.query)
        return super()._prepare(bookmark)

    def _located(self, load: Load, bookmark: Bookmark) -> Load:
        query = self.query
        if load.since is not None:
            query = replace(query, sql=selection_from(query.sql, load.since.condition()))
        load, result = self._through_query(load, query, bookmark)
        variables = result_columns(self.tap.api, result)
        return self._fitted(load, variables)

    def drift(self, load: Load) -> Drift:  # noqa: ARG002 - the signature of all streams
        """Say nothing yet: what columns the result has, only running the query can tell."""
        return Drift()

    def _fitted_again(self, load: Load, reading: PartialLoad) -> Load:
        result = completed_query(self.tap.api, self.query, reading.query or "")
        return load if result is None else self._fitted(load, result_columns(self.tap.api, result))

    def _row_limit(self) -> int | None:
        return self.tap.settings.max_rows

    def probe(self) -> None:
        """Check token, scope and SQL; no row is read.

        Raises:
            RedivisError: The query cannot be run.
        """
        check_versions(self.tap.catalogue, self.query)
        query_columns(self.tap.api, self.query, timeout=self.tap.settings.request_timeout_seconds)
        self.logger.info("%s: can be run", self.query.name)


def query_of(options: QueryOptions) -> Query:
    """Make the query of the settings."""
    return Query(str(options), options.sql, options.default_dataset, options.default_workflow)


def _table_of(query: QueryOptions) -> TableInfo:
    """Speak of a query as of a table without a version; its SQL is part of its name, since it is part of what it is."""
    said = "\n".join([query.sql, query.default_dataset or "", query.default_workflow or ""])
    digest = hashlib.sha256(said.encode()).hexdigest()[:8]
    return TableInfo(
        reference=None,
        pinned=f"{query} ({digest})",
        uri="",
        owner="",
        container="",
        name=query.name,
        description=None,
        version_tag=None,
        rows=None,
        bytes=None,
        hash=None,
        updated_at=None,
        unreadable=None,
    )
