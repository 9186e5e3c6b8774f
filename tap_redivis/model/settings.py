"""The settings as one frozen value: a Singer config and environment variables → ``Settings``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from tap_redivis.errors import ConfigError
from tap_redivis.model.batch_settings import BatchSettings, batch_settings
from tap_redivis.model.columns import WireFormat
from tap_redivis.model.references import (
    ContainerRef,
    TableRef,
    UploadRef,
    name_matches,
    parse_container,
    parse_table,
    parse_upload,
)

DEFAULT_ENDPOINT = "https://redivis.com/api/v1"
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}

PARALLEL_REQUESTS = 4
"""Requests under way at once to begin with, and after a 429: 429s were met above four (redivis-api §1.7)."""

MOST_PARALLEL_REQUESTS = 16
"""Requests under way at once if the server does not mind and no setting says otherwise."""

SOURCES = ("datasets", "workflows", "tables", "queries", "uploads")
"""Settings that say what to read; at least one must."""


@dataclass(frozen=True)
class TableOptions:
    """What ``table_options`` says of one table.

    Attributes:
        key_properties: Variables that identify a row.
        variables: The only variables to read; None for all.
        max_rows: Most rows to read; None for all.
        replication_key: Variable to load incrementally by; None: all rows of each new version are read.
        replication_method: ``LOG_BASED`` or ``FULL_TABLE``; None if nothing is said.
    """

    key_properties: tuple[str, ...] = ()
    variables: tuple[str, ...] | None = None
    max_rows: int | None = None
    replication_key: str | None = None
    replication_method: str | None = None


@dataclass(frozen=True)
class QueryOptions:
    """One of ``queries``.

    Attributes:
        name: As it was given; the stream's name is made of it.
        sql: One SELECT.
        default_dataset: Where unqualified names are looked up, or None.
        default_workflow: Where unqualified names are looked up, or None.
        key_properties: Columns that identify a row.
        replication_key: Column to load incrementally by; None: all rows are read every time.
    """

    name: str
    sql: str
    default_dataset: str | None = None
    default_workflow: str | None = None
    key_properties: tuple[str, ...] = ()
    replication_key: str | None = None

    def __str__(self) -> str:
        """Name it, as a catalog does."""
        return f"query {self.name}"


@dataclass(frozen=True)
class Settings:
    """The settings with defaults and environment variables filled in; names as in the schema above."""

    api_token: str | None = field(default=None, repr=False)
    api_endpoint: str = DEFAULT_ENDPOINT
    datasets: tuple[ContainerRef, ...] = ()
    workflows: tuple[ContainerRef, ...] = ()
    tables: tuple[TableRef, ...] = ()
    queries: tuple[QueryOptions, ...] = ()
    uploads: tuple[UploadRef, ...] = ()
    table_options: tuple[tuple[str, TableOptions], ...] = ()
    include_dictionary: bool = False
    stream_name_format: str = "{dataset}__{table}"
    wire_format: WireFormat = "jsonl"
    max_streams: int = 4
    max_requests: int = MOST_PARALLEL_REQUESTS
    max_rows: int | None = None
    skip_unchanged: bool = True
    emit_activate_version_messages: bool = True
    row_key: bool = True
    lineage: bool = False
    datetime_zone: str = "none"
    replace_invalid_characters: bool = True
    on_invalid_value: str = "fail"
    on_schema_change: str = "fail"
    state_interval_rows: int = 100_000
    state_interval_seconds: float = 10
    request_timeout_seconds: float = 120
    max_retry_seconds: float = 600
    batch_config: BatchSettings | None = None

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Settings:
        """Build the settings from a validated Singer config.

        Raises:
            ConfigError: A reference is malformed, or a token would go over plain http to another host.
        """
        values = {name: _plain(value) for name, value in config.items() if value is not None}
        token = values.get("api_token") or os.environ.get("REDIVIS_API_TOKEN") or None
        endpoint = values.get("api_endpoint") or os.environ.get("REDIVIS_API_ENDPOINT") or DEFAULT_ENDPOINT
        parsed = {
            "api_token": _checked_token(token),
            "api_endpoint": _checked_endpoint(endpoint.rstrip("/"), token),
            "datasets": tuple(parse_container(text, "datasets") for text in values.get("datasets", ())),
            "workflows": tuple(map(_workflow, values.get("workflows", ()))),
            "tables": tuple(parse_table(text, "tables") for text in values.get("tables", ())),
            "queries": tuple(map(_query_options, values.get("queries", ()))),
            "uploads": tuple(parse_upload(text, "uploads") for text in values.get("uploads", ())),
            "table_options": tuple(
                (pattern, _table_options(options)) for pattern, options in values.get("table_options", {}).items()
            ),
            "batch_config": batch_settings(values.get("batch_config")),
        }
        plain = {each.name: values[each.name] for each in fields(cls) if each.name in values}
        return cls(**{**plain, **parsed})

    @property
    def activates_versions(self) -> bool:
        """Whether ACTIVATE_VERSION is written: where the rows do not say their version, it would remove them all."""
        return self.emit_activate_version_messages and (self.batch_config is None or self.batch_config.version_columns)

    def require_source(self) -> None:
        """Check that there is something to read.

        Raises:
            ConfigError: Neither datasets, workflows, tables, queries nor uploads are named.
        """
        if not any(getattr(self, name) for name in SOURCES):
            raise ConfigError(
                "there is nothing to read: none of datasets, workflows, tables, queries and uploads is set",
                where="config",
                hint='Name a dataset, such as {"datasets": ["demo.nycflights13"]}',
            )

    def options_for(self, table: str) -> TableOptions:
        """Merge the options whose pattern matches a table's name; later patterns win."""
        merged = TableOptions(max_rows=self.max_rows)
        for pattern, options in self.table_options:
            if name_matches(pattern, table):
                way = options if options.replication_key or options.replication_method else merged
                merged = TableOptions(
                    key_properties=options.key_properties or merged.key_properties,
                    variables=options.variables or merged.variables,
                    max_rows=options.max_rows or merged.max_rows,
                    replication_key=way.replication_key,
                    replication_method=way.replication_method,
                )
        return merged


def _plain(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Turn the Decimal that the SDK reads fractions as into a float, which timeouts must be."""
    return float(value) if isinstance(value, Decimal) else value


def _workflow(text: str) -> ContainerRef:
    workflow = parse_container(text, "workflows")
    if workflow.version or workflow.sample:
        raise ConfigError(
            f"{text!r} names a version or a sample, which a workflow has not",
            where="workflows",
            hint="Write owner.workflow, or name a dataset in datasets",
        )
    return workflow


def _table_options(options: Mapping[str, Any]) -> TableOptions:
    variables = options.get("variables")
    return TableOptions(
        key_properties=tuple(options.get("key_properties") or ()),
        variables=tuple(variables) if variables else None,
        max_rows=options.get("max_rows"),
        replication_key=options.get("replication_key"),
        replication_method=options.get("replication_method"),
    )


def _query_options(options: Mapping[str, Any]) -> QueryOptions:
    values = {key: value for key, value in options.items() if value}
    if missing := [name for name in ("name", "sql") if name not in values]:
        raise ConfigError(f"a query has no {missing[0]}", where="queries", hint="Give it a name, and one SELECT as sql")
    query = QueryOptions(**{**values, "key_properties": tuple(values.get("key_properties", ()))})
    if query.default_dataset and query.default_workflow:
        raise ConfigError(
            "it has both a default dataset and a default workflow", where=f"queries, {query.name}", hint="Name one"
        )
    if query.default_dataset:
        parse_container(query.default_dataset, f"queries, {query.name}, default_dataset")
    if query.default_workflow:
        parse_container(query.default_workflow, f"queries, {query.name}, default_workflow")
    return query


def _checked_token(token: str | None) -> str | None:
    if token is not None and not (token.isascii() and token.isprintable() and " " not in token):
        raise ConfigError(
            "the token has characters that no token has (a space, a line end, a quote of another alphabet?)",
            where="api_token",
            hint="Copy it again from your Redivis workspace",
        )
    return token


def _checked_endpoint(endpoint: str, token: str | None) -> str:
    scheme, host = _scheme_and_host(endpoint)
    if scheme not in {"http", "https"} or not host:
        raise ConfigError(f"{endpoint!r} is no http(s) address", where="api_endpoint", hint=f"Use {DEFAULT_ENDPOINT}")
    if token and scheme == "http" and host not in _LOOPBACK:
        raise ConfigError(
            f"the token would be sent unencrypted to {host}",
            where="api_endpoint",
            hint="Use https, or leave the token out",
        )
    return endpoint


def _scheme_and_host(endpoint: str) -> tuple[str, str]:
    """Cut an address; what cannot be cut, or has a port that is no number, has neither scheme nor host."""
    try:
        parts = urlsplit(endpoint)
        has_port = parts.port != 0
    except ValueError:
        return "", ""
    return parts.scheme, (parts.hostname or "") if has_port else ""
