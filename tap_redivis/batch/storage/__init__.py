"""Where BATCH files go: a folder or a bucket; each file appears complete, at once, or not at all."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from tap_redivis.batch.storage.common import Closed, FinishedFile, PendingFile, Storage
from tap_redivis.errors import ConfigError

__all__ = ["Closed", "FinishedFile", "PendingFile", "Storage", "storage_at"]

_ROOT = "batch_config.storage.root"


def storage_at(root: str, prefix: str, file_bytes: int) -> Storage:
    """Find the storage that a root means.

    Args:
        root: Folder or URL.
        prefix: What the names of the load's files begin with, and no others.
        file_bytes: Bytes that a file has about, at most.

    Raises:
        ConfigError: There is none, or it needs something that is not installed.
    """
    parts = urlsplit(root)
    if parts.scheme == "file" or "://" not in root:
        from tap_redivis.batch.storage.folder import Folder  # noqa: PLC0415 - one kind is enough

        return Folder(Path(unquote(parts.path) if parts.scheme == "file" else root), prefix)
    from tap_redivis.batch.storage.buckets import KINDS, bucket_at  # noqa: PLC0415 - one kind is enough

    if parts.scheme not in KINDS:
        raise ConfigError(
            f"{parts.scheme}:// is no storage that this tap knows",
            where=_ROOT,
            hint=f"Name a folder, or a URL that begins with {', '.join(f'{kind}://' for kind in KINDS)}",
        )
    if parts.query or parts.username or parts.password or not parts.netloc:
        raise ConfigError(
            "it must be a bucket and a path, without credentials",
            where=_ROOT,
            hint="Credentials come from the environment or from profiles",
        )
    return bucket_at(root, prefix, file_bytes)
