"""Object stores by fsspec: a file is an upload, which its transaction completes or aborts.

fsspec's file objects hold all that a transaction needs in a few attributes, which another process can set in a file
object of its own: so a file that a worker wrote is published by the tap.
"""

import base64
import hashlib
import logging
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import urlsplit

import fsspec
from fsspec.asyn import sync
from fsspec.spec import AbstractBufferedFile

from tap_redivis.batch.storage.common import Closed, FinishedFile, Storage
from tap_redivis.errors import ConfigError, StorageError
from tap_redivis.runtime.logs import logger

_ROOT = "batch_config.storage.root"
_ABANDONED_AFTER = timedelta(hours=24)  # of a load that goes on no upload is as old: a read session lives for six hours
_PART_BYTES = 8 * 1024 * 1024
_PARTS = 5000  # S3 has 10,000; a file may become larger than it should be by one block of rows
_NUMBERS = re.compile(r"-\d+-\d{2,}-\d{12}\.(?:jsonl|jsonl\.gz|parquet|arrow)$")
_TALKATIVE = ("aiobotocore", "azure", "boto3", "botocore", "fsspec", "gcsfs", "google", "s3fs")

# --- errors ----------------------------------------------------------------------------------------------------------

_CREDENTIALS = "Check the credentials in the environment or the profile"
_ACCESS = "Let the tap's credentials write there, or set batch_config.storage.root to another place"
_BUCKET = "Create it, or set batch_config.storage.root to another one"
_NETWORK = "Check the endpoint and the network, and run again: the load goes on after its last complete file"
_AGAIN = "Run again: the load goes on after its last complete file"
_OTHER_RUN = "End the other run that loads the same there, and run again"
_ACCOUNT = "Set AZURE_STORAGE_ACCOUNT_NAME, or AZURE_STORAGE_CONNECTION_STRING, and run again"
_CHECK = "Check batch_config.storage.root and the credentials, and run again"


class NoAccount(Exception):
    """The environment does not say which account of Azure it is."""


class NoSuchUpload(Exception):
    """The upload that should be completed is gone."""


_DENIED = "access is denied"
_KNOWN: list[tuple[str, str, str]] = [
    (_DENIED, _ACCESS, "AccessDenied AllAccessDisabled AuthorizationFailure AuthorizationPermissionMismatch"),
    (_DENIED, _ACCESS, "403 PermissionError"),
    ("the bucket does not exist", _BUCKET, "NoSuchBucket 404 FileNotFoundError"),
    ("the container does not exist", _BUCKET, "ContainerNotFound ContainerBeingDeleted"),
    ("that is no name of a bucket", _CHECK, "InvalidBucketName ParamValidationError"),
    ("the region is not valid", "Check AWS_DEFAULT_REGION", "InvalidRegionError"),
    ("the upload was aborted by another run", _OTHER_RUN, "NoSuchUpload 410"),
    ("the upload was overwritten by another run", _OTHER_RUN, "InvalidBlockList"),
    ("the credentials are not valid", _CREDENTIALS, "InvalidAccessKeyId SignatureDoesNotMatch InvalidToken 401"),
    ("the credentials are not valid", _CREDENTIALS, "AuthenticationFailed ClientAuthenticationError GoogleAuthError"),
    ("the credentials have expired", _CREDENTIALS, "ExpiredToken TokenRetrievalError RefreshError"),
    ("the credentials are not complete", _CREDENTIALS, "PartialCredentialsError"),
    ("the profile is not in the configuration of AWS", _CREDENTIALS, "ProfileNotFound"),
    ("there are no credentials", _CREDENTIALS, "NoCredentialsError DefaultCredentialsError CredentialUnavailableError"),
    ("no account is named, or the connection string is not valid", _ACCOUNT, "NoAccount"),
    ("the server is not able to answer", _AGAIN, "SlowDown ServiceUnavailable InternalError ServerBusy 429 500 503"),
    ("the server cannot be reached", _NETWORK, "ServiceRequestError EndpointConnectionError ClientConnectorError"),
    ("the server cannot be reached", _NETWORK, "ConnectTimeoutError ReadTimeoutError FSTimeoutError TimeoutError"),
    ("the server cannot be reached", _NETWORK, "ClientConnectorDNSError ServerDisconnectedError"),
]
"""What an error is, what to do, and its signs: codes of the stores, statuses, and names of exceptions."""

_SAID = {sign: (what, hint) for what, hint, signs in _KNOWN for sign in signs.split()}


@contextmanager
def bucket_errors(where: str) -> Iterator[None]:
    """Turn errors of an object store's library into one ``StorageError``, with nothing of credentials in it."""
    try:
        yield
    except (StorageError, Closed):
        raise
    except Exception as error:
        what, hint = _said(error)
        raise StorageError(f"a BATCH file cannot be written: {what}", where=where, hint=hint) from error


def _said(error: BaseException) -> tuple[str, str]:
    signs = [sign for each in _chain(error) for sign in _signs(each)]
    return next((_SAID[sign] for sign in signs if sign in _SAID), (signs[0], _CHECK))


def _chain(error: BaseException) -> Iterator[BaseException]:
    # The first error knows most: the libraries turn what the store says into what Python says.
    if (cause := error.__cause__ or (None if error.__suppress_context__ else error.__context__)) is not None:
        yield from _chain(cause)
    yield error


def _signs(error: BaseException) -> Iterator[str]:
    # Texts of errors are left out, since they may hold what was sent.
    response = getattr(error, "response", None)
    if isinstance(response, dict):  # botocore
        yield str(response.get("Error", {}).get("Code"))
    for name in ("error_code", "code", "status_code"):
        value = getattr(error, name, None)
        if isinstance(value, (str, int)):
            yield str(getattr(value, "value", value))  # Azure's codes are enums
    if str(error).startswith("Forbidden: "):  # gcsfs says 403 in no other way
        yield "403"
    yield from (kind.__name__ for kind in type(error).__mro__)


# --- buckets ---------------------------------------------------------------------------------------------------------


class Bucket(Storage):
    """A bucket, or a part of one; the libraries take credentials from the environment."""

    errors = staticmethod(bucket_errors)

    def __init__(self, root: str, prefix: str, file_bytes: int, *, owns_root: bool = False) -> None:
        super().__init__(prefix)
        self._root = root
        self._owns_root = owns_root
        self._bucket = urlsplit(root).netloc
        self._part_bytes = part_bytes(file_bytes)
        self._fs: Any = self._connect()

    def prepare(self) -> None:
        """Abort what killed runs left: of this load all, since only one run may load it; of others, what is old."""
        try:
            with self.errors(self._root):
                self._abort_unfinished(of_others=True)
        except StorageError as error:
            # Credentials that may write need not have the right to list; then a rule of the bucket has to abort them.
            if error.__cause__ is None or _said(error.__cause__)[0] != _DENIED:
                raise
            logger.debug("%s: unfinished uploads cannot be listed", self._root, exc_info=True)

    def holds(self, name: str, size: int, md5: str | None) -> bool:
        """Whether a file is there with so many bytes; and with this MD5, where the store tells it."""
        with self.errors(self.where(name)):
            try:
                found, is_same = self._look(self._path(name), md5)
            except FileNotFoundError:
                return False
        return found == size and is_same

    def _look(self, path: str, md5: str | None) -> tuple[int | None, bool]:
        """Find the size of a file, and whether it has this MD5, as far as the store tells."""
        info = self._fs.info(path, refresh=True)
        told = info.get("md5Hash")  # by Google only
        return info["size"] if info["type"] == "file" else None, None in {md5, told} or told == md5

    def url(self, name: str) -> str:
        """Return where a file is once it is published."""
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
        return fsspec.filesystem(urlsplit(self._root).scheme, skip_instance_cache=True)

    def _abort_unfinished(self, *, of_others: bool) -> None:
        """Abort unfinished uploads of the load, and old ones of others; where none are listed, ask for the bucket."""
        raise NotImplementedError


class S3(Bucket):
    """S3 and servers with its protocol: a file is a multipart upload."""

    kept = ("mpu", "parts", "loc")

    def _look(self, path: str, md5: str | None) -> tuple[int | None, bool]:
        head = self._fs.call_s3("head_object", Bucket=self._bucket, Key=path.removeprefix(f"{self._bucket}/"))
        tag, is_by_kms = str(head.get("ETag")).strip('"'), "kms" in head.get("ServerSideEncryption", "")
        # The tag is made of the MD5s of the parts, unless KMS encrypts the file: it says something only of one part.
        if md5 is None or is_by_kms or not tag.endswith("-1"):
            return head["ContentLength"], True
        one_part = hashlib.md5(base64.b64decode(md5), usedforsecurity=False).hexdigest()
        return head["ContentLength"], tag == f"{one_part}-1"

    def _connect(self) -> Any:  # noqa: ANN401 - a file system of fsspec
        # By default the parts differ in size, which not all servers with S3's protocol take.
        return fsspec.filesystem("s3", skip_instance_cache=True, fixed_upload_size=True)

    def _abort_unfinished(self, *, of_others: bool) -> None:
        old = datetime.now(timezone.utc) - _ABANDONED_AFTER
        own = self._path(self.prefix).removeprefix(f"{self._bucket}/")
        for each in self._unfinished():
            key: str = each["Key"]
            if key.startswith(own) or (of_others and each["Initiated"] < old and self._is_ours(key)):
                with suppress(FileNotFoundError):  # it has been completed or aborted meanwhile
                    self._fs.abort_mpu(self._bucket, key, each["UploadId"])

    def _is_ours(self, key: str) -> bool:
        return self._owns_root or is_a_file_of_ours(key)

    def _unfinished(self) -> Iterator[dict[str, Any]]:
        # s3fs itself lists no more than a thousand, of the whole bucket.
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

    kept = ("location", "offset", "buffer")  # what does not fill 256 KiB is sent by commit() only

    def _connect(self) -> Any:  # noqa: ANN401 - a file system of fsspec
        # The class that "gs" means asks for the kind of bucket before each file, which takes one more right.
        from gcsfs.core import GCSFileSystem  # noqa: PLC0415 - it may not be installed

        return GCSFileSystem(skip_instance_cache=True, use_listings_cache=False)

    def _abort_unfinished(self, *, of_others: bool) -> None:  # noqa: ARG002 - it cannot be done
        self._fs.call("GET", "b/{}/o", self._bucket, maxResults=1)


class Azure(Bucket):
    """Azure Blob Storage: a file is blocks, which Azure forgets after a week; there is no other way to remove them."""

    kept = ("blocks",)

    def _connect(self) -> Any:  # noqa: ANN401 - a file system of fsspec
        try:
            return super()._connect()
        except ValueError as error:  # adlfs has no other error for a setting that is missing or not valid
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
        self._of_blob("commit_block_list", self.blocks)

    def _of_blob(self, method: str, *arguments: object) -> None:
        container, _, name = self.path.partition("/")
        _call(self.fs, self.fs.service_client.get_blob_client(container, name), method, *arguments)


def _call(azure: Any, client: Any, method: str, *arguments: object) -> None:  # noqa: ANN401 - adlfs and its clients
    # The clients are bound to the event loop that adlfs runs in a thread.
    async def call() -> None:
        async with client:
            await getattr(client, method)(*arguments)

    sync(azure.loop, call)


_KINDS = {"s3": S3, "gs": GoogleStorage, "az": Azure}


def bucket_at(root: str, prefix: str, file_bytes: int, *, owns_root: bool = False) -> Bucket:
    """Find the bucket that a URL means (see ``storage_at``)."""
    parts = urlsplit(root)
    if parts.scheme not in _KINDS:
        raise ConfigError(
            f"{parts.scheme}:// is no storage that this tap knows",
            where=_ROOT,
            hint=f"Name a folder, or a URL that begins with {', '.join(f'{each}://' for each in _KINDS)}",
        )
    if parts.query or parts.username or parts.password or not parts.netloc:
        raise ConfigError(
            "it must be a bucket and a path, without credentials",
            where=_ROOT,
            hint="Credentials come from the environment or from profiles",
        )
    for name in _TALKATIVE:  # their lines about requests may hold credentials; gcsfs also logs what it raises
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with bucket_errors(root):
        return _KINDS[parts.scheme](root, prefix, file_bytes, owns_root=owns_root)


def part_bytes(file_bytes: int) -> int:
    """Return the bytes of the parts of a file."""
    return max(_PART_BYTES, file_bytes // _PARTS)


def is_a_file_of_ours(name: str) -> bool:
    """Whether a name ends as this tap ends those of files: with load, read stream and row."""
    return _NUMBERS.search(name) is not None
