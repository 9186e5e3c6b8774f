"""Where BATCH files go, found by its URL: a folder or a bucket; each file appears complete, at once, or not at all."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from tap_redivis.batch.storage.common import Closed, FinishedFile, PendingFile, Storage

__all__ = ["Closed", "FinishedFile", "PendingFile", "Storage", "storage_at"]


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
    # Each kind imports what the others do without: locks of Unix, or fsspec.
    if parts.scheme == "file" or "://" not in root:
        from tap_redivis.batch.storage.folder import Folder  # noqa: PLC0415 - see above

        return Folder(Path(unquote(parts.path) if parts.scheme == "file" else root), prefix)
    from tap_redivis.batch.storage.buckets import bucket_at  # noqa: PLC0415 - see above

    return bucket_at(root, prefix, file_bytes)
