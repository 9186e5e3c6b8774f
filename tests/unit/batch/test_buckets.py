"""Object stores: what is aborted when, parts of one size, and what the libraries' errors become."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import IO

import pytest

from tap_redivis.batch.storage import Closed, Sealed
from tap_redivis.batch.storage.azure import NoAccount
from tap_redivis.batch.storage.bucket_errors import bucket_errors
from tap_redivis.batch.storage.buckets import Bucket, Unfinished
from tap_redivis.batch.storage.common import Place, is_a_file_of_ours
from tap_redivis.batch.storage.parts import PartsUpload, part_bytes
from tap_redivis.errors import StorageError

_PLACE = Place("s3://bucket/lake", "visits/7/visits-7-", 1)
_NOW = datetime.now(timezone.utc)
_NAME = "visits/7/visits-7-00-000000000000.parquet"


class _Upload:
    """Keeps what is written."""

    def __init__(self, number: int) -> None:
        self.id = f"upload {number}"
        self.sink: IO[bytes] = io.BytesIO()

    def end(self) -> tuple[str, ...]:
        return ("part",)


class _Store:
    """An object store that remembers what is asked of it."""

    def __init__(self, *unfinished: Unfinished, error: OSError | None = None) -> None:
        self.left = list(unfinished)
        self.error = error
        self.begun: list[str] = []
        self.aborted: list[tuple[str, str]] = []
        self.completed: list[str] = []

    def begin(self, path: str) -> _Upload:
        self.begun.append(path)
        return _Upload(len(self.begun))

    def complete(self, path: str, file: Sealed) -> None:
        self.completed.append(f"{path} {file.upload}")

    def abort(self, path: str, upload: str) -> None:
        self.aborted.append((path, upload))

    def unfinished(self) -> Iterator[Unfinished]:
        if self.error:
            raise self.error
        return iter(self.left)


def _left(name: str, hours: float) -> Unfinished:
    return Unfinished(f"bucket/lake/{name}", name, _NOW - timedelta(hours=hours))


def test_what_killed_runs_left_is_aborted_and_nothing_else() -> None:
    """Of this load all; of others of ours, what is older than any session; nothing that others named."""
    own, old = _left("visits/7/visits-7-03-000000001000.parquet", 0), _left("calls/9/calls-9-00-000000000000.arrow", 25)
    kept = [_left("calls/9/calls-9-01-000000000000.arrow", 23), _left("theirs.parquet", 999), _left("x-1-2.arrow", 999)]
    store = _Store(own, old, *kept)

    Bucket(_PLACE, store).prepare()

    assert store.aborted == [(own.path, own.upload), (old.path, old.upload)]


@pytest.mark.parametrize("denied", [PermissionError("AccessDenied"), OSError("Forbidden: b/{}/o\nno access")])
def test_without_the_right_to_list_uploads_a_load_goes_on(denied: OSError) -> None:
    """Other errors are errors: they would come at the first file anyway."""
    Bucket(_PLACE, _Store(error=denied)).prepare()

    with pytest.raises(StorageError, match="the bucket does not exist"):
        Bucket(_PLACE, _Store(error=FileNotFoundError("no bucket"))).prepare()


def test_at_the_end_only_what_is_not_published_is_aborted() -> None:
    store = _Store()
    bucket = Bucket(_PLACE, store)
    first, _, sealed = (bucket.draft(_NAME) for _ in range(3))
    bucket.publish(first.seal())
    sealed.seal()

    bucket.close(others=False)

    path = f"bucket/lake/{_NAME}"
    assert store.completed == [f"{path} upload 1"]
    assert store.aborted == [(path, "upload 2"), (path, "upload 3")]


def test_what_is_begun_after_the_end_is_aborted_at_once() -> None:
    store = _Store()
    bucket = Bucket(_PLACE, store)
    bucket.close(others=False)

    with pytest.raises(Closed):
        bucket.draft(_NAME)

    assert store.aborted == [(f"bucket/lake/{_NAME}", "upload 1")]


def test_what_other_processes_of_the_load_left_is_aborted_at_the_end() -> None:
    """But not what other loads have under way, however old."""
    own, other = _left(_NAME, 0), _left("calls/9/calls-9-00-000000000000.arrow", 999)
    store = _Store(own, other)

    Bucket(_PLACE, store).close(others=True)

    assert store.aborted == [(own.path, own.upload)]


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


@pytest.mark.parametrize("pieces", [[b"x" * 25], [b"x"] * 25, [b"x" * 10, b"x" * 10, b"x" * 5], [b"x" * 9, b"x" * 16]])
def test_parts_have_one_size_but_the_last(pieces: list[bytes]) -> None:
    """However the bytes come; a part is sent as soon as it is whole."""
    sent: list[bytes] = []
    upload = PartsUpload("upload", lambda number, data: sent.append(data) or str(number), 10)

    for piece in pieces:
        assert upload.sink.write(memoryview(piece)) == len(piece)
    before = len(sent)

    assert (upload.sink.tell(), before) == (25, 2)
    assert upload.end() == ("1", "2", "3")
    assert list(map(len, sent)) == [10, 10, 5]


def test_an_empty_file_has_one_part() -> None:
    assert PartsUpload("upload", lambda number, _: str(number), 10).end() == ("1",)


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
