"""The tap's settings: their JSON schema for Singer and Meltano, and one frozen value that the other rooms read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from singer_sdk import typing as th

from tap_redivis.client.parallel import MOST_PARALLEL_REQUESTS
from tap_redivis.errors import ConfigError
from tap_redivis.model.batch_settings import BATCH_CONFIG, BatchSettings, batch_settings
from tap_redivis.model.references import (
    ContainerRef,
    TableRef,
    UploadRef,
    name_matches,
    parse_container,
    parse_table,
    parse_upload,
)
from tap_redivis.wire import WireFormat

DEFAULT_ENDPOINT = "https://redivis.com/api/v1"
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}

SOURCES = ("datasets", "workflows", "tables", "queries", "uploads")
"""Settings that say what to read; at least one must."""

CONFIG_SCHEMA: dict[str, Any] = th.PropertiesList(
    th.Property(
        "api_token",
        th.StringType,
        secret=True,
        title="API token",
        description="Bearer token; without it `REDIVIS_API_TOKEN` is used; without either, public data only",
    ),
    th.Property(
        "api_endpoint",
        th.StringType,
        title="API endpoint",
        description=(
            f"Prefix of all requests; without it `REDIVIS_API_ENDPOINT` is used, then `{DEFAULT_ENDPOINT}`. "
            "A token goes over plain http to loopback addresses only"
        ),
    ),
    th.Property(
        "datasets",
        th.ArrayType(th.StringType),
        title="Datasets",
        description=(
            "`owner.dataset[:refid][:sample][:version]`, `*` and `?` allowed in the name: each table is a stream"
        ),
    ),
    th.Property(
        "workflows",
        th.ArrayType(th.StringType),
        title="Workflows",
        description="`owner.workflow[:refid]`: each table is a stream",
    ),
    th.Property(
        "tables",
        th.ArrayType(th.StringType),
        title="Tables",
        description="`owner.dataset.table` with the same suffixes, `*` and `?` allowed in the table's name",
    ),
    th.Property(
        "queries",
        th.ArrayType(
            th.ObjectType(
                th.Property("name", th.StringType, required=True, description="Name of the stream"),
                th.Property("sql", th.StringType, required=True, description="One SELECT in GoogleSQL"),
                th.Property("default_dataset", th.StringType, description="Where unqualified names are looked up"),
                th.Property("default_workflow", th.StringType, description="Where unqualified names are looked up"),
                th.Property("key_properties", th.ArrayType(th.StringType), description="Columns that identify a row"),
                th.Property("replication_key", th.StringType, description="Column to load incrementally by"),
                additional_properties=False,
            ),
        ),
        title="Queries",
        description=(
            "List of {`name`, `sql`, `default_dataset` or `default_workflow`, `key_properties`, `replication_key`}: "
            "each is a stream, run on Redivis every time"
        ),
    ),
    th.Property(
        "uploads",
        th.ArrayType(th.StringType),
        title="Uploads",
        description=(
            "`owner.dataset:next.table.upload`, `*` and `?` allowed in the upload's name: each upload of a draft is a "
            "stream"
        ),
    ),
    th.Property(
        "table_options",
        th.ObjectType(
            additional_properties=th.ObjectType(
                th.Property("key_properties", th.ArrayType(th.StringType), description="Variables that identify a row"),
                th.Property("replication_key", th.StringType, description="Variable to load incrementally by"),
                th.Property(
                    "replication_method",
                    th.StringType(allowed_values=["FULL_TABLE", "LOG_BASED"]),
                    description="`LOG_BASED`: of a new version only what changed",
                ),
                th.Property("variables", th.ArrayType(th.StringType), description="Read only these variables"),
                th.Property("max_rows", th.IntegerType(minimum=1), description="Read at most this many rows"),
                additional_properties=False,
            ),
        ),
        title="Table options",
        description=(
            "Map of table name, `*` and `?` allowed, to {`key_properties`, `replication_key`, `replication_method`, "
            "`variables`, `max_rows`}"
        ),
    ),
    th.Property(
        "include_dictionary",
        th.BooleanType,
        default=False,
        title="Data dictionary",
        description=(
            "Adds the streams `redivis_datasets`, `redivis_versions`, `redivis_tables`, `redivis_variables` and "
            "`redivis_value_labels`"
        ),
    ),
    th.Property(
        "stream_name_format",
        th.StringType,
        default="{dataset}__{table}",
        title="Stream name format",
        description=(
            "Of `{owner}`, `{dataset}`, `{table}`, `{version}`; names longer than 63 characters are cut and hashed"
        ),
    ),
    th.Property(
        "wire_format",
        th.StringType(allowed_values=["jsonl", "arrow", "csv"]),
        default="jsonl",
        title="Wire format",
        description=(
            "What the server is asked to send; the records are the same. Arrow and Parquet files (`batch_config`) are "
            "always made of `arrow`"
        ),
    ),
    th.Property(
        "max_streams",
        th.IntegerType(minimum=1, maximum=8),
        default=4,
        title="Read streams",
        description="Read streams asked for, and read at once, for a table",
    ),
    th.Property(
        "max_requests",
        th.IntegerType(minimum=1, maximum=32),
        default=MOST_PARALLEL_REQUESTS,
        title="Requests at once",
        description=(
            "Requests under way at once in discovery, and tables opened ahead while others are read, as long as the "
            "server does not mind; with 1 all is asked for one after another"
        ),
    ),
    th.Property(
        "max_rows",
        th.IntegerType(minimum=1),
        title="Row limit",
        description="Read at most this many rows of each table, for trying things out",
    ),
    th.Property(
        "skip_unchanged",
        th.BooleanType,
        default=True,
        title="Skip unchanged tables",
        description="Do not read a table again whose version was loaded completely",
    ),
    th.Property(
        "emit_activate_version_messages",
        th.BooleanType,
        default=True,
        title="Emit ACTIVATE_VERSION",
        description="After the last verified row, so that targets may remove the rows of earlier loads",
    ),
    th.Property(
        "row_key",
        th.BooleanType,
        default=True,
        title="Row key",
        description=(
            "Tables and queries without key properties get the column `_redivis_row_key` as their key: a target then "
            "holds each row once, also after interruptions"
        ),
    ),
    th.Property(
        "lineage",
        th.BooleanType,
        default=False,
        title="Lineage",
        description="Adds the columns `_redivis_table` and `_redivis_version`: where each row was read from",
    ),
    th.Property(
        "datetime_zone",
        th.StringType(allowed_values=["none", "utc"]),
        default="none",
        title="Time zone of dateTime",
        description="`none`: as it is, without a zone; `utc`: `+00:00` is appended",
    ),
    th.Property(
        "replace_invalid_characters",
        th.BooleanType,
        default=True,
        title="Replace invalid characters",
        description="U+0000 and lone surrogates, which abort SQL targets, become U+FFFD; counted and warned of",
    ),
    th.Property(
        "on_invalid_value",
        th.StringType(allowed_values=["fail", "null"]),
        default="fail",
        title="Invalid values",
        description="A value that cannot be read as its variable's type: an error, or null, counted and warned of",
    ),
    th.Property(
        "on_schema_change",
        th.StringType(allowed_values=["fail", "warn"]),
        default="fail",
        title="Schema changes",
        description="The catalog names a variable that the server no longer has, or has with another type",
    ),
    th.Property(
        "state_interval_rows",
        th.IntegerType(minimum=1),
        default=100_000,
        title="Rows between STATE messages",
        description="STATE is written after this many rows of a table, or `state_interval_seconds`",
    ),
    th.Property(
        "state_interval_seconds",
        th.NumberType(exclusive_minimum=0),
        default=10,
        title="Seconds between STATE messages",
        description="STATE is written after this many seconds, or `state_interval_rows`",
    ),
    th.Property(
        "request_timeout_seconds",
        th.NumberType(exclusive_minimum=0),
        default=120,
        title="Request timeout",
        description="Longest silence of the server, in seconds, before a request counts as broken",
    ),
    th.Property(
        "max_retry_seconds",
        th.NumberType(minimum=0),
        default=600,
        title="Retry budget",
        description="Seconds of retrying before a table fails; starts again whenever rows arrive",
    ),
    BATCH_CONFIG,
).to_dict()

# Read now: the SDK adds settings of its own to the schema when a tap is made.
_DEFAULTS = {name: schema["default"] for name, schema in CONFIG_SCHEMA["properties"].items() if "default" in schema}


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

    api_token: str | None = field(repr=False)
    api_endpoint: str
    datasets: tuple[ContainerRef, ...]
    workflows: tuple[ContainerRef, ...]
    tables: tuple[TableRef, ...]
    queries: tuple[QueryOptions, ...]
    uploads: tuple[UploadRef, ...]
    table_options: tuple[tuple[str, TableOptions], ...]
    include_dictionary: bool
    stream_name_format: str
    wire_format: WireFormat
    max_streams: int
    max_requests: int
    max_rows: int | None
    skip_unchanged: bool
    emit_activate_version_messages: bool
    row_key: bool
    lineage: bool
    datetime_zone: str
    replace_invalid_characters: bool
    on_invalid_value: str
    on_schema_change: str
    state_interval_rows: int
    state_interval_seconds: float
    request_timeout_seconds: float
    max_retry_seconds: float
    batch_config: BatchSettings | None

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Settings:
        """Build the settings from a validated Singer config.

        Raises:
            ConfigError: A reference is malformed, or a token would go over plain http to another host.
        """
        values = {**_DEFAULTS, **{key: _plain(value) for key, value in config.items() if value is not None}}
        token = values.get("api_token") or os.environ.get("REDIVIS_API_TOKEN") or None
        endpoint = values.get("api_endpoint") or os.environ.get("REDIVIS_API_ENDPOINT") or DEFAULT_ENDPOINT
        return cls(
            api_token=_checked_token(token),
            api_endpoint=_checked_endpoint(endpoint.rstrip("/"), token),
            datasets=tuple(parse_container(text, "datasets") for text in values.get("datasets", ())),
            workflows=tuple(map(_workflow, values.get("workflows", ()))),
            tables=tuple(parse_table(text, "tables") for text in values.get("tables", ())),
            queries=tuple(map(_query_options, values.get("queries", ()))),
            uploads=tuple(parse_upload(text, "uploads") for text in values.get("uploads", ())),
            table_options=tuple(
                (pattern, _table_options(options)) for pattern, options in values.get("table_options", {}).items()
            ),
            max_rows=values.get("max_rows"),
            batch_config=batch_settings(values.get("batch_config")),
            **{name: values[name] for name in _DEFAULTS},
        )

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
                todo='Name a dataset, such as {"datasets": ["demo.nycflights13"]}',
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
            todo="Write owner.workflow, or name a dataset in datasets",
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
        raise ConfigError(f"a query has no {missing[0]}", where="queries", todo="Give it a name, and one SELECT as sql")
    query = QueryOptions(**{**values, "key_properties": tuple(values.get("key_properties", ()))})
    if query.default_dataset and query.default_workflow:
        raise ConfigError(
            "it has both a default dataset and a default workflow", where=f"queries, {query.name}", todo="Name one"
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
            todo="Copy it again from your Redivis workspace",
        )
    return token


def _checked_endpoint(endpoint: str, token: str | None) -> str:
    scheme, host = _scheme_and_host(endpoint)
    if scheme not in {"http", "https"} or not host:
        raise ConfigError(f"{endpoint!r} is no http(s) address", where="api_endpoint", todo=f"Use {DEFAULT_ENDPOINT}")
    if token and scheme == "http" and host not in _LOOPBACK:
        raise ConfigError(
            f"the token would be sent unencrypted to {host}",
            where="api_endpoint",
            todo="Use https, or leave the token out",
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
