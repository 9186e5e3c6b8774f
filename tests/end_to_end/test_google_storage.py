"""BATCH files in Google Cloud Storage: what is promised of a folder's files holds for them, proved by a local one."""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from redivis_emulator import Fault
from tap_redivis.batch.storage import Closed, Storage, storage_at
from tap_redivis.errors import StorageError
from tests.end_to_end.conftest import VISITS
from tests.support.batches import ENCODINGS
from tests.support.google_storage import GoogleStorage, serving_google_storage
from tests.support.lakes import Lake, assert_several_parts_make_a_file, error_of, urls_of
from tests.support.pipes import Stop, run_stopped
from tests.support.served import Site, assert_same_rows, records_of

_STREAM = "visits__visits"
_FILE = "visits-7-00-000000000000.jsonl"


@dataclass(frozen=True)
class _Lake(Lake):
    """A bucket of Google Cloud Storage, and the tap that writes to it."""

    store: GoogleStorage

    def unfinished(self) -> set[str]:
        """List the names of the objects that uploads are under way of."""
        return self.store.unfinished(self.bucket)


@pytest.fixture(scope="module")
def shared_google(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GoogleStorage]:
    """One server for the tests of this file; each has a bucket of its own."""
    with serving_google_storage(tmp_path_factory.mktemp("google")) as server:
        yield server


@pytest.fixture
def google(shared_google: GoogleStorage) -> Iterator[GoogleStorage]:
    """The server, with all rights for everybody whom it knows."""
    yield shared_google
    shared_google.denied.clear()


@pytest.fixture
def lake(google: GoogleStorage, site: Site) -> _Lake:
    """A bucket of the test's own."""
    return _Lake(google, site, google.bucket())


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_files_in_the_bucket_hold_the_table(lake: _Lake, encoding: str) -> None:
    """All rows, in files of as many rows as were allowed, and nothing else, under whatever name."""
    done = lake.run(lake.tap(encoding, batch_size=300))

    assert done.exit_code == 0, done.stderr
    assert_same_rows(lake.rows(done), records_of(VISITS))
    assert set(urls_of(done)) == lake.files()
    assert len(urls_of(done)) >= 8
    assert all(url.startswith(f"gs://{lake.bucket}/lake/{_STREAM}/") for url in urls_of(done))


@pytest.mark.parametrize("path", ["", "/a b/č/", "/a[b]*c"])
def test_a_root_is_a_bucket_or_a_part_of_one(lake: _Lake, path: str) -> None:
    """Whatever its name: nothing in it is a pattern."""
    done = lake.run(lake.tap("jsonl", path))

    assert done.exit_code == 0, done.stderr
    assert_same_rows(lake.rows(done), records_of(VISITS))
    assert set(urls_of(done)) == lake.files()
    assert all(url.startswith(f"gs://{lake.bucket}{path.rstrip('/')}/{_STREAM}/") for url in urls_of(done))


def test_files_of_several_parts_are_whole(lake: _Lake) -> None:
    """A part has 8 MiB."""
    assert_several_parts_make_a_file(lake)


# --- what is interrupted ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_stopped_load_leaves_nothing_unfinished_and_goes_on(lake: _Lake, encoding: str) -> None:
    """SIGTERM: only what messages name is there; the second run brings the rest, and each row once."""
    lake.site.emulator.faults.add(Fault(kind="stall", path="/readStreams/*", nth="every", at_row=250))

    first = lake.checked(run_stopped(lake.tap(encoding, batch_size=100), Stop(signal.SIGTERM, after_lines=17)))
    lake.site.emulator.faults.clear()
    assert not lake.unfinished()
    second = lake.run(lake.tap(encoding, batch_size=100, state=first.state))

    assert (first.exit_code, second.exit_code) == (143, 0), second.stderr
    assert_same_rows(lake.rows(first, second), records_of(VISITS))
    assert lake.files() == {*urls_of(first), *urls_of(second)}


def test_a_killed_load_leaves_nothing_that_can_be_seen_and_goes_on(lake: _Lake) -> None:
    """Kill -9 in the middle: Google forgets the uploads; what others put there is left alone."""
    lake.store.put(lake.bucket, "lake/of-somebody-else.parquet")
    lake.site.emulator.faults.add(Fault(kind="stall", path="/readStreams/*", nth="every", at_row=250))

    first = run_stopped(lake.tap("jsonl", batch_size=100), Stop(signal.SIGKILL, after_lines=5))
    lake.site.emulator.faults.clear()
    second = lake.run(lake.tap("jsonl", batch_size=100, state=first.state))

    assert second.exit_code == 0, second.stderr
    assert_same_rows(lake.rows(first, second), records_of(VISITS))
    theirs = f"gs://{lake.bucket}/lake/of-somebody-else.parquet"
    assert lake.files() == {*urls_of(first), *urls_of(second), theirs}


def test_a_failed_table_leaves_nothing_unfinished(lake: _Lake) -> None:
    lake.site.emulator.faults.add(Fault(kind="status", path="/readStreams/*", nth="every", status=400))

    done = lake.run(lake.tap())

    assert done.exit_code == 1
    assert lake.files() == set(urls_of(done))
    assert not lake.unfinished()


# --- what goes wrong -------------------------------------------------------------------------------------------------


def test_a_bucket_that_is_not_there_is_an_error_before_anything_is_read(lake: _Lake) -> None:
    done = lake.run(lake.tap(bucket="no-such-bucket"))

    assert "gs://no-such-bucket/lake: a BATCH file cannot be written: the bucket does not exist" in error_of(done)
    assert not lake.site.asked("/readStreams/")


def test_whom_the_server_does_not_know_gets_an_error_in_one_line(lake: _Lake, tmp_path: Path) -> None:
    """401: without credentials all is asked for anonymously."""
    program = lake.tap()
    nobody = {"GOOGLE_APPLICATION_CREDENTIALS": "", "NO_GCE_CHECK": "true", "HOME": str(tmp_path)}

    done = lake.run(replace(program, variables={**program.variables, **nobody}))

    assert "the credentials are not valid. Check the credentials" in error_of(done)


@pytest.mark.parametrize("denied", [("POST", "/upload/"), ("POST", "upload_id=")])
def test_without_the_right_to_write_there_is_an_error_in_one_line(lake: _Lake, denied: tuple[str, str]) -> None:
    """403: when an upload is begun, or when it should be completed."""
    lake.store.denied.append(denied)

    done = lake.run(lake.tap())

    assert "access is denied. Let the tap's credentials write there" in error_of(done)


def test_without_the_right_to_list_objects_a_load_goes_on(lake: _Lake) -> None:
    lake.store.denied.append(("GET", "/storage/v1/b/"))

    done = lake.run(lake.tap())

    assert done.exit_code == 0, done.stderr
    assert_same_rows(lake.rows(done), records_of(VISITS))


def test_debug_lines_show_no_credentials(lake: _Lake) -> None:
    """The libraries say at that level what they send: ``run`` looks for the token."""
    program = lake.tap()

    done = lake.run(replace(program, variables={**program.variables, "TAP_REDIVIS_LOG_LEVEL": "debug"}))

    assert done.exit_code == 0
    assert "| DEBUG " in done.stderr
    assert "PRIVATE KEY" not in done.stderr
    assert "upload_id=" not in done.stderr  # who knows it may write


# --- one process ------------------------------------------------------------------------------------------------------


@pytest.fixture
def root(google: GoogleStorage, monkeypatch: pytest.MonkeyPatch) -> str:
    """The part of a new bucket that a load writes to."""
    for name, value in google.variables.items():
        monkeypatch.setenv(name, value)
    return f"gs://{google.bucket()}/lake"


def _storage(root: str) -> Storage:
    return storage_at(root, "visits-7-", 1)


def _bucket(root: str) -> str:
    return root.split("/")[2]


@pytest.mark.parametrize("size", [4, 256 * 1024, 9 * 1024 * 1024, 16 * 1024 * 1024])
def test_a_finished_file_is_published_by_another_process_and_again_if_the_answer_was_lost(
    root: str, google: GoogleStorage, size: int
) -> None:
    """Whatever is left for the last request; the second time the upload has been completed already."""
    tap, worker = _storage(root), _storage(root)
    file = worker.create(_FILE)
    data = os.urandom(size)
    file.write(data)
    finished = pickle.loads(pickle.dumps(file.finish()))  # noqa: S301 - what this test is about
    assert not google.files(_bucket(root))

    tap.publish(finished)
    tap.publish(finished)

    assert google.files(_bucket(root)) == {f"lake/{_FILE}": size}
    assert google.read(_bucket(root), f"lake/{_FILE}") == data
    with pytest.raises(StorageError, match=r"the upload was aborted by another run\. End the other run"):
        tap.publish(replace(finished, size=5))


def test_a_file_of_a_thread_that_has_not_heard_of_the_end_leaves_nothing(root: str, google: GoogleStorage) -> None:
    """A thread that writes may not know yet that no file is wanted any more."""
    storage = _storage(root)
    file = storage.create(_FILE)
    file.write(b"x" * (9 * 1024 * 1024))
    assert google.unfinished(_bucket(root)) == {f"lake/{_FILE}"}

    storage.close(others=False)

    with pytest.raises(Closed):
        file.finish()
    assert not google.files(_bucket(root))
    assert not google.unfinished(_bucket(root))


def test_a_finished_file_that_is_not_published_is_cancelled(root: str, google: GoogleStorage) -> None:
    """By the process that wrote it at the end, or by any at once."""
    storage = _storage(root)
    kept, discarded = (storage.create(f"visits-7-0{number}-000000000000.jsonl") for number in range(2))
    kept.write(b"rows")
    discarded.write(b"rows")
    kept.finish()

    _storage(root).discard(discarded.finish())
    assert google.unfinished(_bucket(root)) == {f"lake/{kept.name}"}
    storage.close(others=False)

    assert not google.unfinished(_bucket(root))
    assert not google.files(_bucket(root))
