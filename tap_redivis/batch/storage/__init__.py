"""Where BATCH files go: a folder or a bucket; each file appears complete, at once, or not at all."""

from tap_redivis.batch.storage.common import Closed, FinishedFile, PendingFile, Storage, storage_at

__all__ = ["Closed", "FinishedFile", "PendingFile", "Storage", "storage_at"]
