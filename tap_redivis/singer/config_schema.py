"""The settings as JSON schema, for Singer, Meltano and the docs; defaults are those of ``Settings``."""

from __future__ import annotations

from typing import Any

from singer_sdk import typing as th

from tap_redivis.model.batch_settings import DEFAULT_BYTES, DEFAULT_PREFIX
from tap_redivis.model.settings import DEFAULT_ENDPOINT, Settings

BATCH_CONFIG = th.Property(
    "batch_config",
    th.ObjectType(
        th.Property(
            "encoding",
            th.ObjectType(
                th.Property(
                    "format",
                    th.StringType(allowed_values=["jsonl", "parquet", "arrow"]),
                    title="Batch encoding",
                    description="Format of the files; with it, tables go out as files in BATCH messages",
                ),
                th.Property(
                    "compression",
                    th.StringType(allowed_values=["none", "gzip", "zstd", "lz4", "snappy"]),
                    title="Batch compression",
                    description=(
                        "Of jsonl: gzip or none; of parquet: zstd, snappy, gzip, lz4 or none; of arrow: none, zstd or "
                        "lz4. The first is the default"
                    ),
                ),
                additional_properties=False,
            ),
            description="How the files are written",
        ),
        th.Property(
            "storage",
            th.ObjectType(
                th.Property(
                    "root",
                    th.StringType,
                    title="Batch storage",
                    description=(
                        "Where the files go: a folder, also as `file://` URL, or a bucket: `s3://`, `gs://` or `az://` "
                        "with the extra `s3`, `gcs` or `azure`. Credentials come from the environment or from profiles"
                    ),
                ),
                th.Property(
                    "prefix",
                    th.StringType,
                    title="Batch file prefix",
                    description=(
                        f"What the files' names begin with; `/` makes folders; `{DEFAULT_PREFIX}` by default. "
                        "`{stream}`, `{version}`, `{table_version}` and `{date}` are filled in"
                    ),
                ),
                additional_properties=False,
            ),
            description="Where the files are written",
        ),
        th.Property(
            "batch_size",
            th.IntegerType(minimum=1),
            title="Batch rows",
            description="Most rows of a file: 100,000 by default with jsonl, else 1,000,000",
        ),
        th.Property(
            "batch_bytes",
            th.IntegerType(minimum=1),
            title="Batch bytes",
            description=f"A file of this size is complete: {DEFAULT_BYTES:,} bytes by default",
        ),
        th.Property(
            "version_columns",
            th.BooleanType,
            title="Batch version columns",
            description=(
                "Add `_sdc_table_version` and `_redivis_version` to the files and their SCHEMA, so that targets can "
                "tell loads apart; on by default. Without them no ACTIVATE_VERSION is written"
            ),
        ),
        th.Property(
            "executor",
            th.StringType(allowed_values=["threads", "dask"]),
            title="Batch executor",
            description=(
                "Where tables are read and files written: in `threads` of the tap, or by the workers of a `dask` "
                "cluster, with the extra `dask`"
            ),
        ),
        th.Property(
            "scheduler",
            th.StringType,
            title="Dask scheduler",
            description=(
                "Address of the cluster's scheduler, such as `tls://host:8786`; over plain `tcp://` the token is sent "
                "to loopback addresses only, and workers take it from their own `REDIVIS_API_TOKEN`"
            ),
        ),
        additional_properties=False,
    ),
    title="BATCH",
    description=(
        "Write tables to files, and BATCH messages that name them, instead of RECORD messages: "
        "{`encoding`: {`format`, `compression`}, `storage`: {`root`, `prefix`}, `batch_size`, `batch_bytes`, "
        "`version_columns`, `executor`, `scheduler`}"
    ),
)

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
        default=Settings.include_dictionary,
        title="Data dictionary",
        description=(
            "Adds the streams `redivis_datasets`, `redivis_versions`, `redivis_tables`, `redivis_variables` and "
            "`redivis_value_labels`"
        ),
    ),
    th.Property(
        "stream_name_format",
        th.StringType,
        default=Settings.stream_name_format,
        title="Stream name format",
        description=(
            "Of `{owner}`, `{dataset}`, `{table}`, `{version}`; names longer than 63 characters are cut and hashed"
        ),
    ),
    th.Property(
        "wire_format",
        th.StringType(allowed_values=["jsonl", "arrow", "csv"]),
        default=Settings.wire_format,
        title="Wire format",
        description=(
            "What the server is asked to send; the records are the same. Arrow and Parquet files (`batch_config`) are "
            "always made of `arrow`"
        ),
    ),
    th.Property(
        "max_streams",
        th.IntegerType(minimum=1, maximum=8),
        default=Settings.max_streams,
        title="Read streams",
        description="Read streams asked for, and read at once, for a table",
    ),
    th.Property(
        "max_requests",
        th.IntegerType(minimum=1, maximum=32),
        default=Settings.max_requests,
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
        default=Settings.skip_unchanged,
        title="Skip unchanged tables",
        description="Do not read a table again whose version was loaded completely",
    ),
    th.Property(
        "emit_activate_version_messages",
        th.BooleanType,
        default=Settings.emit_activate_version_messages,
        title="Emit ACTIVATE_VERSION",
        description="After the last verified row, so that targets may remove the rows of earlier loads",
    ),
    th.Property(
        "row_key",
        th.BooleanType,
        default=Settings.row_key,
        title="Row key",
        description=(
            "Tables and queries without key properties get the column `_redivis_row_key` as their key: a target then "
            "holds each row once, also after interruptions"
        ),
    ),
    th.Property(
        "lineage",
        th.BooleanType,
        default=Settings.lineage,
        title="Lineage",
        description="Adds the columns `_redivis_table` and `_redivis_version`: where each row was read from",
    ),
    th.Property(
        "datetime_zone",
        th.StringType(allowed_values=["none", "utc"]),
        default=Settings.datetime_zone,
        title="Time zone of dateTime",
        description="`none`: as it is, without a zone; `utc`: `+00:00` is appended",
    ),
    th.Property(
        "replace_invalid_characters",
        th.BooleanType,
        default=Settings.replace_invalid_characters,
        title="Replace invalid characters",
        description="U+0000 and lone surrogates, which abort SQL targets, become U+FFFD; counted and warned of",
    ),
    th.Property(
        "on_invalid_value",
        th.StringType(allowed_values=["fail", "null"]),
        default=Settings.on_invalid_value,
        title="Invalid values",
        description="A value that cannot be read as its variable's type: an error, or null, counted and warned of",
    ),
    th.Property(
        "on_schema_change",
        th.StringType(allowed_values=["fail", "warn"]),
        default=Settings.on_schema_change,
        title="Schema changes",
        description="The catalog names a variable that the server no longer has, or has with another type",
    ),
    th.Property(
        "state_interval_rows",
        th.IntegerType(minimum=1),
        default=Settings.state_interval_rows,
        title="Rows between STATE messages",
        description="STATE is written after this many rows of a table, or `state_interval_seconds`",
    ),
    th.Property(
        "state_interval_seconds",
        th.NumberType(exclusive_minimum=0),
        default=Settings.state_interval_seconds,
        title="Seconds between STATE messages",
        description="STATE is written after this many seconds, or `state_interval_rows`",
    ),
    th.Property(
        "request_timeout_seconds",
        th.NumberType(exclusive_minimum=0),
        default=Settings.request_timeout_seconds,
        title="Request timeout",
        description="Longest silence of the server, in seconds, before a request counts as broken",
    ),
    th.Property(
        "max_retry_seconds",
        th.NumberType(minimum=0),
        default=Settings.max_retry_seconds,
        title="Retry budget",
        description="Seconds of retrying before a table fails; starts again whenever rows arrive",
    ),
    BATCH_CONFIG,
).to_dict()
