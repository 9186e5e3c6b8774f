"""The setting ``batch_config``: files instead of RECORD lines, in which encoding, how large, and where."""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from singer_sdk import typing as th

from tap_redivis.errors import ConfigError

Encoding = Literal["jsonl", "parquet", "arrow"]
Executor = Literal["threads", "dask"]

COMPRESSIONS: dict[str, tuple[str, ...]] = {
    "jsonl": ("gzip", "none"),
    "parquet": ("zstd", "snappy", "gzip", "lz4", "none"),
    "arrow": ("none", "zstd", "lz4"),
}
"""What each encoding can be compressed with; the first is the default."""

DEFAULT_ROWS: dict[str, int] = {"jsonl": 100_000, "parquet": 1_000_000, "arrow": 1_000_000}
"""Rows of a file: targets hold one of JSON Lines in memory as a whole."""

DEFAULT_PREFIX = "{stream}/{table_version}/"
_DEFAULT_BYTES = 128 * 1024 * 1024
_PLACES = ("stream", "version", "table_version", "date")

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
            description=f"A file of this size is complete: {_DEFAULT_BYTES:,} bytes by default",
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


@dataclass(frozen=True)
class BatchSettings:
    """``batch_config`` with its defaults.

    Attributes:
        encoding: Format of the files.
        compression: What they are compressed with; None: nothing.
        root: Folder or bucket, as path or URL.
        prefix: Template of what the names begin with.
        rows: Most rows of a file.
        bytes: Bytes from which on a file is complete.
        version_columns: Whether the files say which load their rows are of.
        executor: Where files are written.
        scheduler: Address of the cluster that writes them.
    """

    encoding: Encoding
    compression: str | None
    root: str
    prefix: str = DEFAULT_PREFIX
    rows: int = DEFAULT_ROWS["arrow"]
    bytes: int = _DEFAULT_BYTES
    version_columns: bool = True
    executor: Executor = "threads"
    scheduler: str | None = None

    @property
    def described(self) -> dict[str, str]:
        """The encoding as a BATCH message has it."""
        outside = self.compression is not None and self.encoding != "arrow"  # Arrow files say it themselves
        return {"format": self.encoding, **({"compression": str(self.compression)} if outside else {})}


def batch_settings(config: Mapping[str, Any] | None) -> BatchSettings | None:
    """Read ``batch_config``; None if it is not set.

    Raises:
        ConfigError: Something is missing, or does not go together.
    """
    parts = {name: value for name, value in (config or {}).items() if value not in (None, {})}
    encoding = {name: value for name, value in parts.pop("encoding", {}).items() if value is not None}
    storage = {name: value for name, value in parts.pop("storage", {}).items() if value is not None}
    if not (parts or encoding or storage):
        return None
    kind = encoding.get("format")
    if kind is None:
        raise _bad("format", "is not set", "Set it to jsonl, parquet or arrow; or leave batch_config out", "encoding")
    if not storage.get("root"):
        raise _bad("root", "is not set", "Name a folder or a bucket", "storage")
    return BatchSettings(
        encoding=kind,
        compression=_compression(kind, encoding.get("compression")),
        root=storage["root"],
        prefix=_checked_prefix(storage.get("prefix", DEFAULT_PREFIX)),
        rows=parts.get("batch_size", DEFAULT_ROWS[kind]),
        bytes=parts.get("batch_bytes", _DEFAULT_BYTES),
        version_columns=parts.get("version_columns", True),
        executor=_executor(parts),
        scheduler=parts.get("scheduler"),
    )


def _compression(kind: str, named: str | None) -> str | None:
    known = COMPRESSIONS[kind]
    chosen = named or known[0]
    if chosen not in known:
        raise _bad("compression", f"{kind} files have no {chosen}", f"Use {', '.join(known)}", "encoding")
    return None if chosen == "none" else chosen


def _executor(parts: Mapping[str, Any]) -> Executor:
    executor: Executor = parts.get("executor", "threads")
    scheduler = parts.get("scheduler")
    if executor == "dask" and not scheduler:
        raise ConfigError(
            "executor dask needs the address of a scheduler",
            where="batch_config.scheduler",
            todo="Set it, such as to tcp://host:8786, or leave batch_config.executor out",
        )
    if executor == "threads" and scheduler:
        raise ConfigError(
            "a scheduler is of use to executor dask only",
            where="batch_config.scheduler",
            todo="Set batch_config.executor to dask, or leave it out",
        )
    return executor


def _checked_prefix(prefix: str) -> str:
    try:
        fields = [name for _, name, _, _ in string.Formatter().parse(prefix) if name is not None]
    except ValueError as error:
        raise _bad("prefix", f"{prefix!r} is no template ({error})", _PREFIX_TODO, "storage") from None
    if not set(fields) <= set(_PLACES):
        raise _bad("prefix", f"{prefix!r} has other names than those known", _PREFIX_TODO, "storage")
    if ".." in prefix.split("/") or prefix.startswith("/"):
        raise _bad("prefix", f"{prefix!r} leads out of the root", "Name folders below the root only", "storage")
    return prefix


_PREFIX_TODO = "Use " + ", ".join(f"{{{name}}}" for name in _PLACES)


def _bad(name: str, what: str, todo: str, part: str) -> ConfigError:
    return ConfigError(what, where=f"batch_config.{part}.{name}", todo=todo)
