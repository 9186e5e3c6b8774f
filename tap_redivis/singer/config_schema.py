"""The settings as JSON Schema, for Singer, Meltano and the docs, and their values in environment variables."""

import json
import os
from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import partial
from typing import Any

from singer_sdk.typing import DEFAULT_JSONSCHEMA_VALIDATOR

from tap_redivis.errors import ConfigError, did_you_mean
from tap_redivis.model.batch_settings import DEFAULT_BYTES, DEFAULT_PREFIX
from tap_redivis.model.file_settings import DEFAULT_FILE_NAME
from tap_redivis.model.settings import DEFAULT_ENDPOINT, Settings
from tap_redivis.runtime.logs import logger

_TEXT = {"type": ["string"]}
_MOST_SECONDS = 1_000_000  # what the system's clocks take, and more than anybody waits


def _value(kind: str, description: str, title: str = "", **facts: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON Schema
    """Describe a value; all may be null, as Meltano passes on settings that are not set."""
    named = {"title": title} if title else {}
    return {"type": [kind, "null"], **facts, **named, "description": description}


_text = partial(_value, "string")
_texts = partial(_value, "array", items=_TEXT)
_boolean = partial(_value, "boolean")
_count = partial(_value, "integer", minimum=1)
_seconds = partial(_value, "number", maximum=_MOST_SECONDS)


def _parts(**parts: dict[str, Any]) -> dict[str, Any]:
    return {"properties": parts, "additionalProperties": False}


def _map(description: str, title: str = "", **parts: dict[str, Any]) -> dict[str, Any]:
    return _value("object", description, title, **_parts(**parts))


_BATCH_CONFIG = _map(
    "Write tables to files, and BATCH messages that name them, instead of RECORD messages: "
    "{`encoding`: {`format`, `compression`}, `storage`: {`root`, `prefix`}, `batch_size`, `batch_bytes`, "
    "`version_columns`, `executor`, `scheduler`}",
    "BATCH",
    encoding=_map(
        "How the files are written",
        format=_text(
            "Format of the files; with it, tables go out as files in BATCH messages",
            "Batch encoding",
            enum=["jsonl", "parquet", "arrow"],
        ),
        compression=_text(
            "Of jsonl: gzip or none; of parquet: zstd, snappy, gzip, lz4 or none; of arrow: none, zstd or "
            "lz4. The first is the default",
            "Batch compression",
            enum=["none", "gzip", "zstd", "lz4", "snappy"],
        ),
    ),
    storage=_map(
        "Where the files are written",
        root=_text(
            "Where the files go: a folder, also as `file://` URL, or a bucket: `s3://`, `gs://` or `az://` "
            "with the extra `s3`, `gcs` or `azure`. Credentials come from the environment or from profiles",
            "Batch storage",
        ),
        prefix=_text(
            f"What the files' names begin with; `/` makes folders; `{DEFAULT_PREFIX}` by default. "
            "`{stream}`, `{version}`, `{table_version}` and `{date}` are filled in",
            "Batch file prefix",
        ),
    ),
    batch_size=_count("Most rows of a file: 100,000 by default with jsonl, else 1,000,000", "Batch rows"),
    batch_bytes=_count(f"A file of this size is complete: {DEFAULT_BYTES:,} bytes by default", "Batch bytes"),
    version_columns=_boolean(
        "Add `_sdc_table_version` and `_redivis_version` to the files and their SCHEMA, so that targets can "
        "tell loads apart; on by default. Without them no ACTIVATE_VERSION is written",
        "Batch version columns",
    ),
    executor=_text(
        "Where tables are read and files written: in `threads` of the tap, or by the workers of a `dask` "
        "cluster, with the extra `dask`",
        "Batch executor",
        enum=["threads", "dask"],
    ),
    scheduler=_text(
        "Address of the cluster's scheduler, such as `tls://host:8786`; over plain `tcp://` the token is sent "
        "to loopback addresses only, and workers take it from their own `REDIVIS_API_TOKEN`",
        "Dask scheduler",
    ),
)

_QUERY = _parts(
    name={"type": ["string"], "description": "Name of the stream"},
    sql={"type": ["string"], "description": "One SELECT in GoogleSQL"},
    default_dataset=_text("Where unqualified names are looked up"),
    default_workflow=_text("Where unqualified names are looked up"),
    key_properties=_texts("Columns that identify a row"),
    replication_key=_text("Column to load incrementally by"),
)
_TABLE_OPTIONS = _parts(
    key_properties=_texts("Variables that identify a row"),
    replication_key=_text("Variable to load incrementally by"),
    replication_method=_text("`LOG_BASED`: of a new version only what changed", enum=["FULL_TABLE", "LOG_BASED"]),
    variables=_texts("Read only these variables"),
    max_rows=_count("Read at most this many rows"),
    file_variable=_text("Variable with ids of files, whose contents are copied to `files.root`"),
)

_SETTINGS = {
    "api_token": _text(
        "Bearer token; without it `REDIVIS_API_TOKEN` is used; without either, public data only",
        "API token",
        secret=True,  # the SDK and Meltano look here
        writeOnly=True,  # and JSON Schema has this
    ),
    "api_endpoint": _text(
        f"Prefix of all requests; without it `REDIVIS_API_ENDPOINT` is used, then `{DEFAULT_ENDPOINT}`. "
        "A token goes over plain http to loopback addresses only",
        "API endpoint",
    ),
    "datasets": _texts(
        "`owner.dataset[:refid][:sample][:version]`, `*` and `?` allowed in the name: each table is a stream",
        "Datasets",
    ),
    "workflows": _texts("`owner.workflow[:refid]`: each table is a stream", "Workflows"),
    "tables": _texts(
        "`owner.dataset.table` with the same suffixes, `*` and `?` allowed in the name; `:sample` may follow it",
        "Tables",
    ),
    "queries": _texts(
        "List of {`name`, `sql`, `default_dataset` or `default_workflow`, `key_properties`, `replication_key`}: "
        "each is a stream, run on Redivis every time",
        "Queries",
        items={"type": "object", **_QUERY, "required": ["name", "sql"]},
    ),
    "uploads": _texts(
        "`owner.dataset:next.table.upload`, `*` and `?` allowed in the upload's name: each upload of a draft is a "
        "stream",
        "Uploads",
    ),
    "table_options": _value(
        "object",
        "Map of table name, `*` and `?` allowed, to {`key_properties`, `replication_key`, `replication_method`, "
        "`variables`, `max_rows`, `file_variable`}",
        "Table options",
        properties={},
        additionalProperties={"type": "object", **_TABLE_OPTIONS},
    ),
    "include_dictionary": _boolean(
        "Adds the streams `redivis_datasets`, `redivis_versions`, `redivis_tables`, `redivis_variables` and "
        "`redivis_value_labels`",
        "Data dictionary",
    ),
    "stream_name_format": _text(
        "Of `{owner}`, `{dataset}`, `{table}`, `{version}`; names longer than 63 characters are cut and hashed",
        "Stream name format",
    ),
    "wire_format": _text(
        "What the server is asked to send; the records are the same. If it refuses, `arrow` is used; Arrow and Parquet "
        "files (`batch_config`) are always made of `arrow`",
        "Wire format",
        enum=["jsonl", "arrow", "csv"],
    ),
    "max_streams": _count("Read streams asked for, and read at once, for a table", "Read streams", maximum=8),
    "max_requests": _count(
        "Requests under way at once in discovery, files fetched at once, and tables opened ahead while others are "
        "read, as long as the server does not mind; with 1 all is asked for one after another",
        "Requests at once",
        maximum=32,
    ),
    "max_rows": _count("Read at most this many rows of each table, for trying things out", "Row limit"),
    "skip_unchanged": _boolean(
        "Do not read a table again whose version was loaded completely", "Skip unchanged tables"
    ),
    "emit_activate_version_messages": _boolean(
        "After the last verified row, so that targets may remove the rows of earlier loads", "Emit ACTIVATE_VERSION"
    ),
    "row_key": _boolean(
        "Tables and queries without key properties get the column `_redivis_row_key` as their key: a target then "
        "holds each row once, also after interruptions",
        "Row key",
    ),
    "lineage": _boolean(
        "Adds the columns `_redivis_table` and `_redivis_version`: where each row was read from", "Lineage"
    ),
    "datetime_zone": _text(
        "`none`: as it is, without a zone; `utc`: `+00:00` is appended", "Time zone of dateTime", enum=["none", "utc"]
    ),
    "time_format": _text(
        "`string` leaves `format: time` out of SCHEMA, for targets whose checker refuses fractions of a second",
        "Format of times",
        enum=["time", "string"],
    ),
    "replace_invalid_characters": _boolean(
        "U+0000 and lone surrogates, which abort SQL targets, become U+FFFD; counted and warned of",
        "Replace invalid characters",
    ),
    "on_invalid_value": _text(
        "A value that cannot be read as its variable's type: an error, or null, counted and warned of",
        "Invalid values",
        enum=["fail", "null"],
    ),
    "on_schema_change": _text(
        "The catalog names a variable that the server no longer has, or has with another type",
        "Schema changes",
        enum=["fail", "warn"],
    ),
    "state_interval_rows": _count(
        "STATE is written after this many rows, or `state_interval_seconds`", "Rows between STATE messages"
    ),
    "state_interval_seconds": _seconds(
        "STATE is written after this many seconds, or `state_interval_rows`",
        "Seconds between STATE messages",
        exclusiveMinimum=0,
    ),
    "request_timeout_seconds": _seconds(
        "Longest silence of the server, in seconds, before a request counts as broken",
        "Request timeout",
        exclusiveMinimum=0,
    ),
    "max_retry_seconds": _seconds(
        "Seconds of retrying before a table fails; starts again whenever rows arrive", "Retry budget", minimum=0
    ),
    "batch_config": _BATCH_CONFIG,
    "files": _map(
        "Copy the contents of file-index tables too: {`root`, `tables`, `name`}; their rows get the column "
        "`_redivis_file_uri`",
        "Files",
        root=_text("Where the contents go: a folder or a bucket, as in `batch_config.storage.root`", "Files storage"),
        tables=_texts("Names of file-index tables, `*` and `?` allowed; without it, all", "Files tables"),
        name=_text(
            f"Name of each file below the root; `{DEFAULT_FILE_NAME}` by default. `{{owner}}`, `{{dataset}}`, "
            "`{table}`, `{version}`, `{file_id}` and `{file_name}` are filled in, and made safe",
            "File name",
        ),
    ),
}


def _with_default(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    default = getattr(Settings, name)
    # A default of the endpoint would hide its environment variable: the SDK fills defaults in.
    has_default = isinstance(default, (str, int, float)) and name != "api_endpoint"
    return {**schema, "default": default} if has_default else schema


CONFIG_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {name: _with_default(name, schema) for name, schema in _SETTINGS.items()},
    "$schema": "https://json-schema.org/draft/2020-12/schema",
}


def mistakes_in(config: Mapping[str, Any], schema: Mapping[str, Any]) -> list[str]:
    """Say what is wrong with the values of a config: the place of each and, where it is known, the right spelling."""
    return list(map(_mistake, DEFAULT_JSONSCHEMA_VALIDATOR(schema).iter_errors(config)))


def _mistake(error: Any) -> str:  # noqa: ANN401 - jsonschema's ValidationError
    value, place = error.instance, ".".join(map(str, error.absolute_path))
    expected = error.validator_value
    match error.validator:
        case "type" if isinstance(value, str) and "array" in expected:
            return f"{place}: it is a list: write {json.dumps([value], ensure_ascii=False)}"
        case "type":
            kinds = [kind for kind in ([expected] if isinstance(expected, str) else expected) if kind != "null"]
            return f"{place}: {value!r} is not of type {' or '.join(kinds)}"
        case "additionalProperties":
            known = error.schema.get("properties", {})
            names = [f"{name!r}{did_you_mean(name, known)}" for name in sorted(value.keys() - known.keys())]
            return f"{place}: there is no {', '.join(names)}"
        case "enum":
            known = [str(each) for each in expected if each is not None]
            return f"{place}: there is no {value!r}{did_you_mean(str(value), known)}, only {', '.join(known)}"
        case "anyOf" | "oneOf":
            return f"{place}: {value!r} is of another type than it should be"
    return f"{place}: {error.message}"


def warn_of_unread_variables(config: Mapping[str, Any], names: Iterable[str]) -> None:
    """Warn of variables that are set and not read; Meltano sets them beside a config with the same settings."""
    variables = [f"TAP_REDIVIS_{name.upper()}" for name in names if name not in config]
    if unread := [variable for variable in variables if os.environ.get(variable)]:
        logger.warning("environment: %s has no effect without --config=ENV", ", ".join(unread))


_BOOLEANS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


def settings_of_environment(schemas: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Read settings from environment variables, if not empty; a ``ConfigError`` names one that is not of its type."""
    found = {}
    for name, schema in schemas.items():
        variable = f"TAP_REDIVIS_{name.upper()}"
        try:
            text = os.fsencode(os.environ.get(variable, "")).decode().strip()  # UTF-8, whatever the locale
            if text:
                found[name] = _valid(text, schema)
        except (ValueError, RecursionError) as error:
            what = f"it cannot be read ({error})"
            raise ConfigError(what, where=variable, hint="Correct it, or unset it; see `tap-redivis --about`") from None
    return found


def _valid(text: str, schema: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any JSON value
    value: Any = text
    if "boolean" in schema["type"]:
        value = _BOOLEANS.get(text.lower(), text)
    elif "array" in schema["type"] and not text.startswith("["):
        value = [part.strip() for part in text.split(",")]
    elif "string" not in schema["type"]:
        value = json.loads(text, parse_float=Decimal, parse_constant=str)
        json.dumps(value, ensure_ascii=False, default=str).encode()  # fails for what is half of a character
    for error in DEFAULT_JSONSCHEMA_VALIDATOR(schema).iter_errors(value):
        raise ValueError(error.message)
    return value
