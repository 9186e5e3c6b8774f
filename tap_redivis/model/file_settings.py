"""The setting ``files``: where the contents of files go, of which tables, and under which names."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tap_redivis.errors import ConfigError
from tap_redivis.model.batch_settings import checked_template, require_extra_of_storage

DEFAULT_FILE_NAME = "{table}/{file_id}/{file_name}"
# Variables of a file-index table (redivis-api §6.3).
FILE_ID, FILE_NAME, FILE_SIZE, FILE_MD5 = "file_id", "file_name", "size", "md5_hash"
_PLACES = dict.fromkeys(("owner", "dataset", "table", "version", "file_id", "file_name"), "x")
_WHERE = "files.root"


@dataclass(frozen=True)
class FileSettings:
    """``files`` with its defaults."""

    root: str  # folder or bucket, as path or URL
    tables: tuple[str, ...] | None = None  # patterns of the names of file-index tables; None: all of them
    name: str = DEFAULT_FILE_NAME  # template of the files' names below the root

    def require_extras(self) -> None:
        """Check that the extra is installed which the root needs; a ``ConfigError`` says that it is not."""
        require_extra_of_storage(self.root, _WHERE)


def file_settings(config: Mapping[str, Any] | None) -> FileSettings | None:
    """Read ``files``; None if it is not set."""
    parts = {name: value for name, value in (config or {}).items() if value not in (None, "", [])}
    if not parts:
        return None
    root = parts.get("root", "")
    if not root or "\0" in root:
        raise ConfigError("it is no folder and no bucket", where=_WHERE, hint="Name one, such as /data/files")
    tables = parts.get("tables")
    return FileSettings(
        root=root,
        tables=tables and tuple(tables),
        name=checked_template(parts.get("name", DEFAULT_FILE_NAME), _PLACES, "files.name"),
    )
