"""The settings as one frozen value: a Singer config and environment variables → ``Settings``."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from tap_redivis.errors import ConfigError
from tap_redivis.model import references
from tap_redivis.model.batch_settings import BatchSettings, batch_settings
from tap_redivis.model.columns import WireFormat
from tap_redivis.model.file_settings import FILE_ID, FileSettings, file_settings
from tap_redivis.model.references import ContainerRef, TableRef, UploadRef

DEFAULT_ENDPOINT = "https://redivis.com/api/v1"
PARALLEL_REQUESTS = 4  # at first, and after a 429, which some users got above four (redivis-api §1.7)
MOST_PARALLEL_REQUESTS = 16
SOURCES = ("datasets", "workflows", "tables", "queries", "uploads")
LOOPBACK = {"localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True)
class TableOptions:
    """What ``table_options`` says of one table."""

    key_properties: tuple[str, ...] = ()
    variables: tuple[str, ...] | None = None
    max_rows: int | None = None
    file_variable: str | None = None
    replication_key: str | None = None
    replication_method: str | None = None  # LOG_BASED or FULL_TABLE: a replication key alone means INCREMENTAL


@dataclass(frozen=True)
class QueryOptions:
    """One of ``queries``; unqualified names in its SQL are of the default dataset or workflow."""

    name: str
    sql: str
    default_dataset: str | None = None
    default_workflow: str | None = None
    key_properties: tuple[str, ...] = ()
    replication_key: str | None = None

    def __str__(self) -> str:
        """Return what the catalog calls it."""
        return f"query {self.name}"


@dataclass(frozen=True)
class Settings:
    """The settings with defaults and environment variables filled in; ``singer.config_schema`` describes each."""

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
    time_format: str = "time"
    replace_invalid_characters: bool = True
    on_invalid_value: str = "fail"
    on_schema_change: str = "fail"
    state_interval_rows: int = 100_000
    state_interval_seconds: float = 10
    request_timeout_seconds: float = 120
    max_retry_seconds: float = 600
    batch_config: BatchSettings | None = None
    files: FileSettings | None = None

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Settings":
        """Build the settings from a Singer config that fits the schema; a ``ConfigError`` says what is still wrong."""
        values = {name: _plain(value) for name, value in config.items() if value is not None}
        token = values.get("api_token") or os.environ.get("REDIVIS_API_TOKEN") or None
        endpoint = values.get("api_endpoint") or os.environ.get("REDIVIS_API_ENDPOINT") or DEFAULT_ENDPOINT
        parsed = {
            "api_token": _checked_token(token),
            "api_endpoint": _checked_endpoint(endpoint.rstrip("/"), token),
            "datasets": tuple(references.parse_container(text, "datasets") for text in values.get("datasets", ())),
            "workflows": tuple(_workflow(text) for text in values.get("workflows", ())),
            "tables": tuple(references.parse_table(text, "tables") for text in values.get("tables", ())),
            "queries": tuple(_query_options(options) for options in values.get("queries", ())),
            "uploads": tuple(references.parse_upload(text, "uploads") for text in values.get("uploads", ())),
            "table_options": tuple(
                (pattern, _table_options(options)) for pattern, options in values.get("table_options", {}).items()
            ),
            "batch_config": batch_settings(values.get("batch_config")),
            "files": file_settings(values.get("files")),
        }
        plain = {each.name: values[each.name] for each in fields(cls) if each.name in values}
        return cls(**{**plain, **parsed})

    @property
    def activates_versions(self) -> bool:
        """Whether ACTIVATE_VERSION is written."""
        # Targets remove rows of other versions: where files do not say the version of their rows, that is all rows.
        return self.emit_activate_version_messages and (self.batch_config is None or self.batch_config.version_columns)

    def require_source(self) -> None:
        """Raise a ``ConfigError`` if no setting names anything to read."""
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
            if references.name_matches(pattern, table):
                way = options if options.replication_key or options.replication_method else merged
                merged = TableOptions(
                    key_properties=options.key_properties or merged.key_properties,
                    variables=options.variables or merged.variables,
                    max_rows=options.max_rows or merged.max_rows,
                    replication_key=way.replication_key,
                    replication_method=way.replication_method,
                )
        return merged

    def file_variable_of(self, table: str, *, is_index: bool) -> str | None:
        """Find the variable with the ids of the files to copy; None if no contents of a table's files are wanted.

        Raises:
            ConfigError: Two variables are named, or there is no place for the contents.
        """
        patterns = (
            options.file_variable for pattern, options in self.table_options if references.name_matches(pattern, table)
        )
        named = {name.lower(): name for name in patterns if name}
        if self.files and is_index and any(references.name_matches(each, table) for each in self.files.tables or ["*"]):
            named.setdefault(FILE_ID, FILE_ID)
        where = f"table_options for {table}, file_variable"
        if named and self.files is None:
            raise ConfigError("there is no place for the files", where=where, hint="Set files.root too")
        if len(named) > 1:
            what = f"both {' and '.join(sorted(named.values()))} would name the files, and a row has one file"
            raise ConfigError(what, where=where, hint="Name one of them, or leave the table out of files.tables")
        return next(iter(named.values()), None)


def _plain(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    # The SDK reads a fraction as a Decimal, and a timeout must be a float.
    return float(value) if isinstance(value, Decimal) else value


def _workflow(text: str) -> ContainerRef:
    workflow = references.parse_container(text, "workflows")
    if workflow.version or workflow.sample:
        raise ConfigError(
            f"{text!r} names a version or a sample, which a workflow has not",
            where="workflows",
            hint="Write owner.workflow, or name a dataset in datasets",
        )
    return workflow


def _table_options(options: Mapping[str, Any]) -> TableOptions:
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
    return TableOptions(**{key: value for key, value in values.items() if value})


def _query_options(options: Mapping[str, Any]) -> QueryOptions:
    values = {key: value for key, value in options.items() if value}
    if missing := [name for name in ("name", "sql") if name not in values]:
        raise ConfigError(f"a query has no {missing[0]}", where="queries", hint="Give it a name, and one SELECT as sql")
    query = QueryOptions(**{**values, "key_properties": tuple(values.get("key_properties", ()))})
    if query.default_dataset and query.default_workflow:
        raise ConfigError(
            "it has both a default dataset and a default workflow", where=f"queries, {query.name}", hint="Name one"
        )
    for name in ("default_dataset", "default_workflow"):
        if reference := getattr(query, name):
            references.parse_container(reference, f"queries, {query.name}, {name}")
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
    if token and scheme == "http" and host not in LOOPBACK:
        raise ConfigError(
            f"the token would be sent unencrypted to {host}",
            where="api_endpoint",
            hint="Use https, or leave the token out",
        )
    return endpoint


def _scheme_and_host(endpoint: str) -> tuple[str, str]:
    """Split an address; empty if it is malformed, as an IPv6 address without its bracket is, or has no valid port."""
    try:
        parts = urlsplit(endpoint)
        has_port = parts.port != 0
    except ValueError:
        return "", ""
    return parts.scheme, (parts.hostname or "") if has_port else ""
