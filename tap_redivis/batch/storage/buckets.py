"""Object stores by fsspec: a file is an upload, which its transaction completes or aborts.

fsspec's file objects hold all that a transaction needs in a few attributes, which another process can set in a file
object of its own: so a file that a worker wrote is published by the tap.
"""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from importlib import import_module
from typing import Any, ClassVar

import fsspec
from fsspec.asyn import sync
from fsspec.spec import AbstractBufferedFile

from tap_redivis.batch.storage.bucket_errors import NoAccount, NoSuchUpload, bucket_errors, is_denied
from tap_redivis.batch.storage.common import FinishedFile, Storage
from tap_redivis.errors import ConfigError, StorageError

logger = logging.getLogger("tap-redivis")

_ABANDONED_AFTER = timedelta(hours=24)
"""Age from which on an upload cannot be of a load that goes on: a read session lives for six hours."""

_PART_BYTES = 8 * 1024 * 1024
_PARTS = 5000  # S3 has 10,000; a file may become larger than it should be by one block of rows
_NUMBERS = re.compile(r"-\d+-\d{2,}-\d{12}\.(?:jsonl|jsonl\.gz|parquet|arrow)$")
_TALKATIVE = ("aiobotocore", "azure", "boto3", "botocore", "fsspec", "gcsfs", "google", "s3fs")


class Bucket(Storage):
    """A bucket, or a part of one; the libraries take credentials from the environment.

    Attributes:
        extra: The extra of this package that it needs.
        module: The module that the extra brings.
    """

    extra: ClassVar[str]
    module: ClassVar[str]
    errors = staticmethod(bucket_errors)

    def __init__(self, root: str, prefix: str, file_bytes: int) -> None:
        super().__init__(prefix)
        self._root = root
        self._bucket = root.partition("://")[2].partition("/")[0]
        self._part_bytes = part_bytes(file_bytes)
        self._fs: Any = self._connect()

    def prepare(self) -> None:
        """Abort what killed runs left: of this load all, since only one run may load it; of others, what is old.

        Raises:
            StorageError: The bucket is not there, or not for us.
        """
        try:
            with self.errors(self._root):
                self._abort_unfinished(of_others=True)
        except StorageError as error:
            if not is_denied(error.__cause__):
                raise
            logger.debug("%s: unfinished uploads cannot be listed", self._root, exc_info=True)

    def url(self, name: str) -> str:
        """Say where a file is once it is published."""
        return f"{self._root.rstrip('/')}/{name}"

    def _open(self, name: str) -> Any:  # noqa: ANN401 - a file of fsspec
        file = self._fs.open(self._path(name), "wb", block_size=self._part_bytes, autocommit=False)
        self._fs.transaction.files.clear()  # fsspec keeps each file there, with what it holds
        return file

    def _reopen(self, file: FinishedFile) -> Any:  # noqa: ANN401 - the same
        again = self._open(file.name)
        vars(again).update(file.state)
        again.closed = True  # else it would begin an upload of its own when it is forgotten
        return again

    def _commit(self, file: FinishedFile) -> None:
        try:
            super()._commit(file)
        except FileNotFoundError as error:  # where the answer to the first try was lost, the second finds no upload
            with suppress(FileNotFoundError):
                if self._fs.info(self._path(file.name), refresh=True)["size"] == file.size:
                    return
            raise NoSuchUpload from error.__cause__

    def _remove_rest(self, *, others: bool) -> None:
        if others:
            with suppress(StorageError), self.errors(self._root):
                self._abort_unfinished(of_others=False)

    def _path(self, name: str) -> str:
        return self.url(name).partition("://")[2]

    def _connect(self) -> Any:  # noqa: ANN401 - a file system of fsspec
        return fsspec.filesystem(self._root.partition("://")[0], skip_instance_cache=True)

    def _abort_unfinished(self, *, of_others: bool) -> None:
        """Abort unfinished uploads of the load, and old ones of others; where none are listed, ask for the bucket."""
        raise NotImplementedError


class S3(Bucket):
    """S3 and what speaks like it: a file is a multipart upload."""

    extra = "s3"
    module = "s3fs"
    kept = ("mpu", "parts", "loc")

    def _connect(self) -> Any:  # noqa: ANN401 - a file system of fsspec
        # By default the parts differ in size, which not all that speaks like S3 takes.
        return fsspec.filesystem("s3", skip_instance_cache=True, fixed_upload_size=True)

    def _abort_unfinished(self, *, of_others: bool) -> None:
        old = datetime.now(timezone.utc) - _ABANDONED_AFTER
        own = self._path(self.prefix).removeprefix(f"{self._bucket}/")
        for each in self._unfinished():
            key: str = each["Key"]
            if key.startswith(own) or (of_others and each["Initiated"] < old and is_a_file_of_ours(key)):
                with suppress(FileNotFoundError):  # it has been completed or aborted meanwhile
                    self._fs.abort_mpu(self._bucket, key, each["UploadId"])

    def _unfinished(self) -> Iterator[dict[str, Any]]:
        """List the uploads below the root; s3fs itself lists a thousand of the bucket."""
        folder = self._path("").removeprefix(f"{self._bucket}/")
        place: dict[str, str] = {}
        while True:
            page = self._fs.call_s3("list_multipart_uploads", Bucket=self._bucket, Prefix=folder, **place)
            yield from page.get("Uploads", ())
            if not page.get("IsTruncated"):
                return
            place = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}


class GoogleStorage(Bucket):
    """Google Cloud Storage: a file is a resumable upload, which Google forgets after a week and does not list."""

    extra = "gcs"
    module = "gcsfs"
    kept = ("location", "offset", "buffer")  # what does not fill 256 KiB is sent by commit() only

    def _connect(self) -> Any:  # noqa: ANN401 - a file system of fsspec
        # The class that "gs" means asks for the kind of bucket before each file, which takes one more right.
        from gcsfs.core import GCSFileSystem  # noqa: PLC0415 - it may not be installed

        return GCSFileSystem(skip_instance_cache=True, use_listings_cache=False)

    def _abort_unfinished(self, *, of_others: bool) -> None:  # noqa: ARG002 - it cannot be done
        self._fs.call("GET", "b/{}/o", self._bucket, maxResults=1)


class Azure(Bucket):
    """Azure Blob Storage: a file is blocks, which Azure forgets after a week; there is no other way to remove them."""

    extra = "azure"
    module = "adlfs"
    kept = ("blocks",)

    def _connect(self) -> Any:  # noqa: ANN401 - a file system of fsspec
        try:
            return super()._connect()
        except ValueError as error:  # all that adlfs says of what is missing, and of what cannot be understood
            raise NoAccount from error

    def _open(self, name: str) -> Any:  # noqa: ANN401 - a file of fsspec
        return _AzureFile(self._fs, self._path(name), "wb", self._part_bytes, autocommit=False)

    def _abort_unfinished(self, *, of_others: bool) -> None:  # noqa: ARG002 - it cannot be done
        client = self._fs.service_client.get_container_client(self._bucket)
        _call(self._fs, client, "get_container_properties")


class _AzureFile(AbstractBufferedFile):  # type: ignore[misc]  # fsspec has no types
    """A blob with fsspec's transaction, by hand: a file of adlfs commits its blocks as soon as it is closed."""

    def _initiate_upload(self) -> None:
        self.blocks: list[str] = []

    def _upload_chunk(self, final: bool = False) -> bool:  # noqa: ARG002, FBT001, FBT002 - as fsspec calls it
        if data := self.buffer.getvalue():
            block = uuid.uuid4().hex  # all of a blob must be of one length
            self._of_blob("stage_block", block, data)
            self.blocks.append(block)
        return True

    def commit(self) -> None:
        """Let the blob appear."""
        self._of_blob("commit_block_list", self.blocks)

    def _of_blob(self, method: str, *arguments: object) -> None:
        container, _, name = self.path.partition("/")
        _call(self.fs, self.fs.service_client.get_blob_client(container, name), method, *arguments)


def _call(azure: Any, client: Any, method: str, *arguments: object) -> None:  # noqa: ANN401 - adlfs and its clients
    """Let a client of Azure do something, in the thread of adlfs."""

    async def call() -> None:
        async with client:
            await getattr(client, method)(*arguments)

    sync(azure.loop, call)


KINDS: dict[str, type[Bucket]] = {"s3": S3, "gs": GoogleStorage, "az": Azure}
"""Object stores by the scheme of their URLs."""


def bucket_at(root: str, prefix: str, file_bytes: int) -> Bucket:
    """Find the bucket that a URL means (see ``storage_at``).

    Raises:
        ConfigError: What it needs is not installed.
    """
    scheme = root.partition("://")[0]
    kind = KINDS[scheme]
    try:
        import_module(kind.module)
    except ImportError as error:
        raise ConfigError(
            f"{scheme}:// needs the extra {kind.extra}, which is not installed ({error})",
            where="batch_config.storage.root",
            hint=f"pip install 'tap-redivis[{kind.extra}]'",
        ) from error
    for name in _TALKATIVE:  # what they say of requests may hold credentials; gcsfs tells errors too that it raises
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with bucket_errors(root):
        return kind(root, prefix, file_bytes)


def part_bytes(file_bytes: int) -> int:
    """Say how large the parts of files of some size are."""
    return max(_PART_BYTES, file_bytes // _PARTS)


def is_a_file_of_ours(name: str) -> bool:
    """Whether a name is one that this tap gives to files: it ends with load, read stream and row."""
    return _NUMBERS.search(name) is not None
