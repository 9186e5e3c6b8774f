"""Where BATCH files go, found by its URL: a folder or a bucket; each file appears complete, at once, or not at all."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from tap_redivis.batch.storage.common import Closed, FinishedFile, PendingFile, Storage

__all__ = ["Closed", "FinishedFile", "PendingFile", "Storage", "is_folder", "storage_at"]


def is_folder(root: str) -> bool:
    """Whether a root is a folder, and not a bucket."""
    return "://" not in root or urlsplit(root).scheme == "file"


def storage_at(
    root: str,  # folder or URL
    prefix: str,  # what the names of the load's files begin with, and no others
    file_bytes: int,  # most bytes of a file, about
    *,
    owns_root: bool = False,  # whether all files there are the tap's, so that it may end old uploads of any name
) -> Storage:
    """Find the storage that a root means; a ``ConfigError`` says that there is none, or what it needs is missing."""
    # Each kind imports what the others do without: locks of Unix, or fsspec.
    if is_folder(root):
        from tap_redivis.batch.storage.folder import Folder  # noqa: PLC0415 - see above

        return Folder(Path(unquote(urlsplit(root).path) if "://" in root else root), prefix)
    from tap_redivis.batch.storage.buckets import bucket_at  # noqa: PLC0415 - see above

    return bucket_at(root, prefix, file_bytes, owns_root=owns_root)
