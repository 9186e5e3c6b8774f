"""Object stores, by way of fsspec: a file is an upload that is completed when it is published, or aborted."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from importlib import import_module
from typing import IO, Protocol

from tap_redivis.batch.storage.bucket_errors import bucket_errors, is_denied
from tap_redivis.batch.storage.common import Closed, Place, Sealed, is_a_file_of_ours
from tap_redivis.errors import ConfigError, StorageError

logger = logging.getLogger("tap-redivis")

_ABANDONED_AFTER = timedelta(hours=24)
"""Age from which on an upload cannot be of a load that goes on: a read session lives for six hours."""

_TALKATIVE = ("aiobotocore", "azure", "boto3", "botocore", "fsspec", "gcsfs", "google", "s3fs")


@dataclass(frozen=True)
class Kind:
    """A kind of object store.

    Attributes:
        extra: The extra of this package that it needs.
        module: The module that the extra brings.
        uploads: Module and class of its ``Uploads``.
    """

    extra: str
    module: str
    uploads: tuple[str, str]


_S3 = Kind("s3", "s3fs", ("tap_redivis.batch.storage.s3", "S3Uploads"))
_GCS = Kind("gcs", "gcsfs", ("tap_redivis.batch.storage.gcs", "GcsUploads"))
_AZURE = Kind("azure", "adlfs", ("tap_redivis.batch.storage.azure", "AzureUploads"))
KINDS = {"s3": _S3, "gs": _GCS, "az": _AZURE}
"""Object stores by the scheme of their URLs."""


class Upload(Protocol):
    """A file on its way.

    Attributes:
        id: What the store knows it by.
        sink: What to write to.
    """

    id: str

    @property
    def sink(self) -> IO[bytes]:
        """What to write to."""
        ...

    def end(self) -> tuple[str, ...]:
        """Send what is left.

        Returns:
            What the store has said to each part, where there are parts.
        """
        ...


@dataclass(frozen=True)
class Unfinished:
    """An upload that was begun and neither completed nor aborted.

    Attributes:
        path: Bucket and name that its file would have.
        upload: What the store knows it by.
        begun_at: When it began.
    """

    path: str
    upload: str
    begun_at: datetime


class Uploads(Protocol):
    """What an object store can do with files on their way; all paths begin with the bucket."""

    def begin(self, path: str) -> Upload:
        """Begin a file."""
        ...

    def complete(self, path: str, file: Sealed) -> None:
        """Let a file appear."""
        ...

    def abort(self, path: str, upload: str) -> None:
        """Remove what was sent of a file."""
        ...

    def unfinished(self) -> Iterator[Unfinished]:
        """List the uploads below the root that are neither completed nor aborted, where the store keeps them."""
        ...


class BucketDraft:
    """A file on its way to a bucket.

    Args:
        bucket: Where it goes.
        name: Name that it will have.
        upload: The upload.
    """

    def __init__(self, bucket: Bucket, name: str, upload: Upload) -> None:
        self._bucket = bucket
        self._name = name
        self._upload = upload

    @property
    def sink(self) -> IO[bytes]:
        """What to write to."""
        return self._upload.sink

    def seal(self) -> Sealed:
        """Send what is left (see ``Draft``)."""
        with self.guarded():
            size = self.sink.tell()
            parts = self._upload.end()
        return Sealed(self._bucket.url(self._name), self._name, self._upload.id, parts, size)

    def discard(self) -> None:
        """Remove what was sent."""
        self._bucket.abort(self._name, self._upload.id)

    def guarded(self) -> AbstractContextManager[None]:
        """Turn errors of the store into one clear line.

        Raises:
            StorageError: There was one.
        """
        return bucket_errors(self._bucket.url(self._name))


class Bucket:
    """A bucket, or a part of one.

    Args:
        place: Root and names.
        uploads: What the store can do.

    Attributes:
        can_be_forked: No: the store's client has a thread of its own, which a fork does not take along.
    """

    can_be_forked = False

    def __init__(self, place: Place, uploads: Uploads) -> None:
        self._place = place
        self._uploads = uploads
        self._begun: dict[str, str] = {}  # names by upload
        self._lock = threading.Lock()
        self._is_closed = False

    def url(self, name: str) -> str:
        """Where a file is once it is published."""
        return f"{self._place.root.rstrip('/')}/{name}"

    def prepare(self) -> None:
        """Abort what killed runs left: of this load all, since only one run may load it; of others, what is old.

        Raises:
            StorageError: The bucket is not there, or not for us.
        """
        try:
            with bucket_errors(self._place.root):
                self._abort_unfinished(of_others=True)
        except StorageError as error:
            if not is_denied(error.__cause__):
                raise
            logger.debug("%s: unfinished uploads cannot be listed", self._place.root, exc_info=True)

    def draft(self, name: str) -> BucketDraft:
        """Begin a file (see ``Storage``)."""
        with bucket_errors(self.url(name)):
            upload = self._uploads.begin(self._path(name))
        with self._lock:
            is_closed = self._is_closed
            self._begun[upload.id] = name
        if is_closed:
            self.abort(name, upload.id)
            raise Closed
        return BucketDraft(self, name, upload)

    def publish(self, file: Sealed) -> None:
        """Let a file appear under its name, in the place of one that is there already.

        Raises:
            StorageError: It cannot.
        """
        with bucket_errors(file.url):
            self._uploads.complete(self._path(file.name), file)
        self._forget(file.upload)

    def abort(self, name: str, upload: str) -> None:
        """Remove what was sent of a file, as far as that is possible."""
        with suppress(StorageError), bucket_errors(self.url(name)):
            self._uploads.abort(self._path(name), upload)
        self._forget(upload)

    def discard(self, file: Sealed) -> None:
        """Remove a file that nobody was told of, as far as that is possible."""
        self.abort(file.name, file.upload)

    def close(self, *, others: bool) -> None:
        """Abort all that is not complete, or that nobody was told of; nothing can be begun any more."""
        with self._lock:
            self._is_closed = True
            begun = dict(self._begun)
        for upload, name in begun.items():
            self.abort(name, upload)
        if others:
            with suppress(StorageError), bucket_errors(self._place.root):
                self._abort_unfinished(of_others=False)

    def _abort_unfinished(self, *, of_others: bool) -> None:
        old = datetime.now(timezone.utc) - _ABANDONED_AFTER
        for each in self._uploads.unfinished():
            is_ours = each.path.startswith(self._path(self._place.prefix))
            if is_ours or (of_others and each.begun_at < old and is_a_file_of_ours(each.path)):
                with suppress(FileNotFoundError):  # it has been completed or aborted meanwhile
                    self._uploads.abort(each.path, each.upload)

    def _forget(self, upload: str) -> None:
        with self._lock:
            self._begun.pop(upload, None)

    def _path(self, name: str) -> str:
        return self.url(name).partition("://")[2]


def bucket_at(place: Place) -> Bucket:
    """Find the bucket that a URL means.

    Raises:
        ConfigError: What it needs is not installed.
    """
    scheme = place.root.partition("://")[0]
    kind = KINDS[scheme]
    try:
        import_module(kind.module)
    except ImportError as error:
        raise ConfigError(
            f"{scheme}:// needs the extra {kind.extra}, which is not installed ({error})",
            where="batch_config.storage.root",
            todo=f"pip install 'tap-redivis[{kind.extra}]'",
        ) from error
    for name in _TALKATIVE:  # what they say of requests may hold credentials; gcsfs tells errors too that it raises
        logging.getLogger(name).setLevel(logging.CRITICAL)
    module, name = kind.uploads
    with bucket_errors(place.root):
        return Bucket(place, getattr(import_module(module), name)(place))
