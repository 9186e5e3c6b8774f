"""Where BATCH files go: a folder or a bucket; each file appears whole, at once, or not at all."""

from tap_redivis.batch.storage.common import Closed, Draft, Sealed, Storage, storage_at

__all__ = ["Closed", "Draft", "Sealed", "Storage", "storage_at"]
