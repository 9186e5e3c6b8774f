"""Object stores: what is aborted when, parts of one size, and what the libraries' errors become."""

from __future__ import annotations

import base64
import hashlib
import threading
from collections import deque
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from fsspec.spec import AbstractBufferedFile

from tap_redivis.batch.storage import Closed
from tap_redivis.batch.storage.buckets import S3, NoAccount, bucket_errors, is_a_file_of_ours, part_bytes
from tap_redivis.errors import StorageError

_NOW = datetime.now(timezone.utc)
_NAME = "visits/7/visits-7-00-000000000000.parquet"
_KEY = f"lake/{_NAME}"


class _File(AbstractBufferedFile):  # type: ignore[misc]  # fsspec has no types
    """A multipart upload as s3fs has it."""

    mpu: dict[str, str] | None = None
    fails = False

    def _initiate_upload(self) -> None:
        self.mpu = {"UploadId": self.fs.begin()}
        self.parts: list[int] = []

    def _upload_chunk(self, final: bool = False) -> bool:  # noqa: ARG002, FBT001, FBT002 - as fsspec calls it
        if self.fs.fails:
            raise PermissionError("AccessDenied")
        self.parts.append(len(self.buffer.getvalue()))
        self.fs.during_a_part()
        return True

    def commit(self) -> None:
        assert self.mpu is not None
        self.fs.completed.append(f"{self.path} {self.mpu['UploadId']} {self.parts}")

    def discard(self) -> None:
        if self.mpu:
            self.fs.abort_mpu(*self.path.split("/", 1), self.mpu["UploadId"])


class _Store:
    """What s3fs can do, and what it was asked for."""

    def __init__(self, *unfinished: dict[str, Any], error: OSError | None = None) -> None:
        self.unfinished = unfinished
        self.error = error
        self.fails = False
        self.begun: list[str] = []
        self.aborted: list[tuple[str, str]] = []
        self.completed: list[str] = []
        self.transaction = SimpleNamespace(files=deque[_File]())
        self.during_a_part = lambda: None

    def open(self, path: str, mode: str, *, block_size: int, autocommit: bool) -> _File:
        file = _File(self, path, mode, block_size, autocommit)
        self.transaction.files.append(file)
        return file

    def begin(self) -> str:
        self.begun.append(f"upload {len(self.begun) + 1}")
        return self.begun[-1]

    def call_s3(self, method: str, **parameters: str) -> dict[str, Any]:
        assert (method, parameters) == ("list_multipart_uploads", {"Bucket": "bucket", "Prefix": "lake/"})
        if self.error:
            raise self.error
        return {"Uploads": self.unfinished}

    def abort_mpu(self, bucket: str, key: str, upload: str) -> None:
        assert bucket == "bucket"
        self.aborted.append((key, upload))

    def invalidate_cache(self, path: str | None = None) -> None:
        """Have none."""

    def _parent(self, path: str) -> str:
        return path


class _Bucket(S3):
    """The bucket ``bucket`` of a store."""

    def __init__(self, store: _Store) -> None:
        self._store = store
        super().__init__("s3://bucket/lake", "visits/7/visits-7-", 1)

    def _connect(self) -> _Store:
        return self._store


def _left(name: str, hours: float) -> dict[str, Any]:
    return {"Key": f"lake/{name}", "UploadId": name, "Initiated": _NOW - timedelta(hours=hours)}


def test_what_killed_runs_left_is_aborted_and_nothing_else() -> None:
    """Of this load all; of others of ours, what is older than any session; nothing that others named."""
    own, old = _left("visits/7/visits-7-03-000000001000.parquet", 0), _left("calls/9/calls-9-00-000000000000.arrow", 25)
    kept = [_left("calls/9/calls-9-01-000000000000.arrow", 23), _left("theirs.parquet", 999), _left("x-1-2.arrow", 999)]
    store = _Store(own, old, *kept)

    _Bucket(store).prepare()

    assert store.aborted == [(own["Key"], own["UploadId"]), (old["Key"], old["UploadId"])]


@pytest.mark.parametrize("denied", [PermissionError("AccessDenied"), OSError("Forbidden: b/{}/o\nno access")])
def test_without_the_right_to_list_uploads_a_load_goes_on(denied: OSError) -> None:
    """Other errors are errors: they would come at the first file anyway."""
    _Bucket(_Store(error=denied)).prepare()

    with pytest.raises(StorageError, match="the bucket does not exist"):
        _Bucket(_Store(error=FileNotFoundError("no bucket"))).prepare()


def test_at_the_end_only_what_is_not_published_is_aborted() -> None:
    """Files that are finished, under way, or not yet begun in the store."""
    store = _Store()
    bucket = _Bucket(store)
    first, written, finished, _ = (bucket.create(_NAME) for _ in range(4))
    first.write(b"rows")
    bucket.publish(first.finish())
    written.write(b"x" * part_bytes(1))
    finished.write(b"rows")
    finished.finish()

    bucket.close(others=False)

    assert store.completed == [f"bucket/{_KEY} upload 1 [4]"]
    assert store.aborted == [(_KEY, "upload 2"), (_KEY, "upload 3")]


def test_nothing_is_begun_after_the_end() -> None:
    store = _Store()
    bucket = _Bucket(store)
    bucket.close(others=False)

    with pytest.raises(Closed):
        bucket.create(_NAME)

    assert not store.begun


@pytest.mark.parametrize("step", ["write", "finish"])
def test_a_file_of_a_thread_that_has_not_heard_of_the_end_is_aborted(step: str) -> None:
    """It is not gone on with either: nobody would abort it then."""
    store = _Store()
    bucket = _Bucket(store)
    file = bucket.create(_NAME)
    file.write(b"x" * part_bytes(1))
    bucket.close(others=False)

    with pytest.raises(Closed):
        file.write(b"x" * part_bytes(1)) if step == "write" else file.finish()
    del file

    assert (store.begun, store.aborted, store.completed) == (["upload 1"], [(_KEY, "upload 1")], [])


def test_an_upload_that_begins_while_its_file_is_discarded_is_aborted() -> None:
    """The store knows it first when a part of it is sent."""
    store = _Store()
    bucket = _Bucket(store)
    file = bucket.create(_NAME)
    closing = threading.Thread(target=bucket.close, kwargs={"others": False})

    def end() -> None:
        closing.start()
        closing.join(0.1)  # as far as it comes

    store.during_a_part = end
    file.write(b"x" * part_bytes(1))
    closing.join()

    assert store.aborted == [(_KEY, "upload 1")]


def test_a_file_that_cannot_be_written_is_aborted() -> None:
    store = _Store()
    file = _Bucket(store).create(_NAME)
    file.write(b"rows")
    store.fails = True

    with pytest.raises(StorageError, match="access is denied"):
        file.finish()
    file.discard()

    assert store.aborted == [(_KEY, "upload 1")]


def test_a_discarded_file_of_another_process_is_aborted() -> None:
    store = _Store()
    file = _Bucket(store).create(_NAME)
    file.write(b"rows")

    _Bucket(store).discard(file.finish())

    assert store.aborted == [(_KEY, "upload 1")]


def test_what_other_processes_of_the_load_left_is_aborted_at_the_end() -> None:
    """But not what other loads have under way, however old."""
    own, other = _left(_NAME, 0), _left("calls/9/calls-9-00-000000000000.arrow", 999)
    store = _Store(own, other)

    _Bucket(store).close(others=True)

    assert store.aborted == [(own["Key"], own["UploadId"])]


def test_files_are_not_kept_by_fsspec() -> None:
    """It would keep all files of a load until the end, with what they hold."""
    store = _Store()

    _Bucket(store).create(_NAME)

    assert not store.transaction.files


@pytest.mark.parametrize(
    ("name", "is_ours"),
    [
        ("lake/visits-1763900000-02-000000250000.parquet", True),
        ("visits-1763900000-102-000000250000.jsonl.gz", True),
        ("visits-1763900000-02-000000250000.parquet.tmp", False),
        ("visits-02-000000250000.arrow", False),
        ("2024-01-01.parquet", False),
    ],
)
def test_names_of_ours_are_told_from_others(name: str, *, is_ours: bool) -> None:
    assert is_a_file_of_ours(name) == is_ours


def test_large_files_have_large_parts() -> None:
    """S3 takes 10,000 of a file."""
    assert part_bytes(128 * 1024 * 1024) == 8 * 1024 * 1024
    assert 1024**4 / part_bytes(1024**4) <= 5001


class _ClientError(Exception):
    def __init__(self, code: str) -> None:
        super().__init__(f"{code} for key AKIA-SECRET")
        self.response = {"Error": {"Code": code}}


class _HttpError(Exception):
    def __init__(self, code: int) -> None:
        super().__init__("with the token SECRET")
        self.code = code


class NoCredentialsError(Exception):
    """Named as botocore names it."""


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (_ClientError("NoSuchBucket"), "the bucket does not exist. Create it"),
        (_ClientError("SignatureDoesNotMatch"), "the credentials are not valid. Check the credentials"),
        (_ClientError("Strange"), "a BATCH file cannot be written: Strange. Check batch_config.storage.root"),
        (_HttpError(403), "access is denied. Let the tap's credentials write there"),
        (NoCredentialsError(), "there are no credentials. Check the credentials"),
        (PermissionError("Forbidden SECRET"), "access is denied"),
        (OSError("Forbidden: https://server/b/SECRET"), "access is denied"),
        (NoAccount(), "no account is named, or the connection string is not valid. Set AZURE_STORAGE_"),
        (KeyError("SECRET"), "a BATCH file cannot be written: KeyError. Check"),
    ],
)
def test_errors_say_what_to_do_and_nothing_of_what_was_sent(error: Exception, words: str) -> None:
    with pytest.raises(StorageError) as caught, bucket_errors("s3://bucket/file"):
        raise error

    assert words in str(caught.value)
    assert "SECRET" not in str(caught.value)


def test_that_nobody_wants_files_any_more_is_no_error_of_the_store() -> None:
    with pytest.raises(Closed), bucket_errors("s3://bucket/file"):
        raise Closed


def test_the_first_error_of_a_chain_knows_most() -> None:
    """The libraries turn what the store says into what Python says."""
    error = PermissionError("denied")
    error.__cause__ = _ClientError("ExpiredToken")

    with pytest.raises(StorageError, match="the credentials have expired"), bucket_errors("s3://bucket/file"):
        raise error


def test_an_error_that_another_one_took_the_place_of_says_nothing() -> None:
    """Azure's library knows the status first, and then the code, which tells more."""
    error = _ClientError("AuthenticationFailed")
    error.__context__, error.__suppress_context__ = _HttpError(403), True  # raised from None

    with pytest.raises(StorageError, match="the credentials are not valid"), bucket_errors("az://container/file"):
        raise error


# --- what is there already -------------------------------------------------------------------------------------------

_MD5 = base64.b64encode(hashlib.md5(b"content", usedforsecurity=False).digest()).decode()
_PART = hashlib.md5(base64.b64decode(_MD5), usedforsecurity=False).hexdigest()


@pytest.mark.parametrize(
    ("head", "is_held"),
    [
        ({"ETag": f'"{_PART}-1"'}, True),
        ({"ETag": f'"{"0" * 32}-1"'}, False),
        ({"ETag": f'"{_PART}-1"', "ContentLength": 8}, False),
        ({"ETag": f'"{"0" * 32}-2"'}, True),  # of two parts: only the size tells
        ({"ETag": f'"{"0" * 32}-1"', "ServerSideEncryption": "aws:kms"}, True),  # the tag is no MD5
        ({"ETag": f'"{"0" * 32}-1"', "ServerSideEncryption": "AES256"}, False),
    ],
)
def test_s3_tells_the_md5_of_a_file_of_one_part(*, head: dict[str, Any], is_held: bool) -> None:
    class Store(_Store):
        def call_s3(self, method: str, **parameters: str) -> dict[str, Any]:
            assert (method, parameters) == ("head_object", {"Bucket": "bucket", "Key": "lake/a.png"})
            return {"ContentLength": 7, **head}

    assert _Bucket(Store()).holds("a.png", 7, _MD5) == is_held
