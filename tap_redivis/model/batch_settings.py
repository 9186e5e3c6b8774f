"""The setting ``batch_config``: files instead of RECORD lines, in which encoding, how large, and where."""

import string
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal
from urllib.parse import urlsplit

from tap_redivis.errors import ConfigError

Encoding = Literal["jsonl", "parquet", "arrow"]
Executor = Literal["threads", "dask"]

# What each encoding can be compressed with; the first is the default.
COMPRESSIONS: dict[str, tuple[str, ...]] = {
    "jsonl": ("gzip", "none"),
    "parquet": ("zstd", "snappy", "gzip", "lz4", "none"),
    "arrow": ("none", "zstd", "lz4"),
}
# Rows of a file. Few in JSON Lines: targets hold all rows of such a file in memory.
DEFAULT_ROWS: dict[str, int] = {"jsonl": 100_000, "parquet": 1_000_000, "arrow": 1_000_000}
DEFAULT_PREFIX = "{stream}/{table_version}/"
DEFAULT_BYTES = 128 * 1024 * 1024
_PLACES: dict[str, str | int] = {"stream": "x", "version": "x", "table_version": 0, "date": "x"}
# Of this package, with the module that each brings, by the scheme of a storage or the name of an executor.
_EXTRAS = {
    "s3://": ("s3", "s3fs"),
    "gs://": ("gcs", "gcsfs"),
    "az://": ("azure", "adlfs"),
    "dask": ("dask", "distributed"),
}


@dataclass(frozen=True)
class BatchSettings:
    """``batch_config`` with its defaults."""

    encoding: Encoding
    compression: str | None
    root: str  # folder or bucket, as path or URL
    prefix: str = DEFAULT_PREFIX  # template of what the names begin with
    rows: int = DEFAULT_ROWS["arrow"]
    bytes: int = DEFAULT_BYTES  # a file that has as many is complete
    version_columns: bool = True  # whether the rows say which load they are of
    executor: Executor = "threads"
    scheduler: str | None = None  # address of the Dask cluster

    def require_extras(self) -> None:
        """Check that the extras for storage and executor are installed; a ``ConfigError`` names one that is not."""
        require_extra_of_storage(self.root, "batch_config.storage.root")
        _require_extra(self.executor, "batch_config.executor")

    @property
    def described(self) -> dict[str, str]:
        """The encoding as a BATCH message has it."""
        outside = self.compression is not None and self.encoding != "arrow"  # Arrow files say it themselves
        return {"format": self.encoding, **({"compression": str(self.compression)} if outside else {})}


def batch_settings(config: Mapping[str, Any] | None) -> BatchSettings | None:
    """Read ``batch_config``; None if it is not set."""
    parts = {name: value for name, value in (config or {}).items() if value not in (None, {})}
    encoding = {name: value for name, value in parts.pop("encoding", {}).items() if value is not None}
    storage = {name: value for name, value in parts.pop("storage", {}).items() if value is not None}
    # --config=ENV gives an object of empty values where no variable is set.
    if not (parts or encoding or storage):
        return None
    kind = encoding.get("format")
    if kind is None:
        raise _bad("encoding.format", "is not set", "Set it to jsonl, parquet or arrow; or leave batch_config out")
    if not storage.get("root"):
        raise _bad("storage.root", "is not set", "Name a folder or a bucket")
    if "\0" in storage["root"]:
        raise _bad("storage.root", "has a null character, which no name has", "Name a folder or a bucket")
    return BatchSettings(
        encoding=kind,
        compression=_compression(kind, encoding.get("compression")),
        root=storage["root"],
        prefix=checked_template(storage.get("prefix", DEFAULT_PREFIX), _PLACES, "batch_config.storage.prefix"),
        rows=parts.get("batch_size", DEFAULT_ROWS[kind]),
        bytes=parts.get("batch_bytes", DEFAULT_BYTES),
        version_columns=parts.get("version_columns", True),
        executor=_executor(parts),
        scheduler=parts.get("scheduler"),
    )


def _compression(kind: str, named: str | None) -> str | None:
    known = COMPRESSIONS[kind]
    chosen = named or known[0]
    if chosen not in known:
        raise _bad("encoding.compression", f"{kind} files have no {chosen}", f"Use {', '.join(known)}")
    return None if chosen == "none" else chosen


def _executor(parts: Mapping[str, Any]) -> Executor:
    executor: Executor = parts.get("executor", "threads")
    if executor == "dask" and not parts.get("scheduler"):
        raise _bad(
            "scheduler",
            "executor dask needs the address of a scheduler",
            "Set it, such as to tcp://host:8786, or leave batch_config.executor out",
        )
    if executor == "threads" and parts.get("scheduler"):
        raise _bad(
            "scheduler",
            "a scheduler is of use to executor dask only",
            "Set batch_config.executor to dask, or leave it out",
        )
    return executor


def checked_template(template: str, places: Mapping[str, str | int], where: str) -> str:
    """Check a template of names below a root with a value for each place; a ``ConfigError`` says what is wrong."""
    hint = f"Use {', '.join(f'{{{name}}}' for name in places)}"
    try:
        fields = {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}
        if fields <= set(places):
            template.format(**places)
    except (ValueError, LookupError) as error:
        raise ConfigError(f"{template!r} is no template ({error})", where=where, hint=hint) from None
    if not fields <= set(places):
        raise ConfigError(f"{template!r} has other names than those known", where=where, hint=hint)
    if ".." in template.split("/") or template.startswith("/"):
        raise ConfigError(f"{template!r} leads out of the root", where=where, hint="Name folders below the root only")
    return template


def require_extra_of_storage(root: str, where: str) -> None:
    """Check that the extra is installed which a folder or bucket needs; a ``ConfigError`` says that it is not."""
    _require_extra(f"{urlsplit(root).scheme}://", where)


def _require_extra(user: str, where: str) -> None:
    extra, module = _EXTRAS.get(user, ("", "sys"))
    try:
        import_module(module)
    except ImportError as error:
        what = f"{user} needs the extra {extra}, which is not installed ({error})"
        raise ConfigError(what, where=where, hint=f"pip install 'tap-redivis[{extra}]'") from error


def _bad(place: str, what: str, hint: str) -> ConfigError:
    return ConfigError(what, where=f"batch_config.{place}", hint=hint)
