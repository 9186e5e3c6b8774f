"""BATCH files in Azure Blob Storage: what is promised of a folder's files holds for them, proved by a local one."""

from __future__ import annotations

import pickle
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from redivis_emulator import Fault
from tap_redivis.batch.storage import Storage, storage_at
from tap_redivis.errors import StorageError
from tests.end_to_end.conftest import VISITS
from tests.support.azure_storage import AzureStorage, serving_azure_storage
from tests.support.batches import ENCODINGS
from tests.support.lakes import Lake, assert_several_parts_make_a_file, error_of, urls_of
from tests.support.pipes import Stop, run_stopped
from tests.support.served import Site, assert_same_rows, records_of

_STREAM = "visits__visits"
_FILE = "visits-7-00-000000000000.jsonl"


@dataclass(frozen=True)
class _Lake(Lake):
    """A container, and the tap that writes to it."""

    store: AzureStorage


@pytest.fixture
def azure() -> Iterator[AzureStorage]:
    with serving_azure_storage() as server:
        yield server


@pytest.fixture
def lake(azure: AzureStorage, site: Site) -> _Lake:
    return _Lake(azure, site, azure.bucket())


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_files_in_the_container_hold_the_table(lake: _Lake, encoding: str) -> None:
    """All rows, in files of as many rows as were allowed, and nothing else."""
    done = lake.run(lake.tap(encoding, batch_size=300))

    assert done.exit_code == 0, done.stderr
    assert_same_rows(lake.rows(done), records_of(VISITS))
    assert set(urls_of(done)) == lake.files()
    assert len(urls_of(done)) >= 8


@pytest.mark.parametrize("path", ["", "/a b/č/", "/a[b]*c"])
def test_a_root_is_a_container_or_a_part_of_one(lake: _Lake, path: str) -> None:
    """Whatever its name: nothing in it is a pattern."""
    done = lake.run(lake.tap("jsonl", path))

    assert done.exit_code == 0, done.stderr
    assert_same_rows(lake.rows(done), records_of(VISITS))
    assert set(urls_of(done)) == lake.files()
    assert all(url.startswith(f"az://{lake.bucket}{path.rstrip('/')}/{_STREAM}/") for url in urls_of(done))


def test_files_of_several_blocks_are_whole(lake: _Lake) -> None:
    """A block has 8 MiB."""
    assert_several_parts_make_a_file(lake)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_load_goes_on(lake: _Lake, encoding: str, number: signal.Signals) -> None:
    """The second run brings the rest, and each row once; what messages name is all that is there."""
    lake.site.emulator.faults.add(Fault(kind="stall", path="/readStreams/*", nth="every", at_row=250))

    first = lake.checked(run_stopped(lake.tap(encoding, batch_size=100), Stop(number, after_lines=5)))
    lake.site.emulator.faults.clear()
    second = lake.run(lake.tap(encoding, batch_size=100, state=first.state))

    assert (first.exit_code, second.exit_code) == (143 if number == signal.SIGTERM else -9, 0), second.stderr
    assert_same_rows(lake.rows(first, second), records_of(VISITS))
    assert lake.files() == {*urls_of(first), *urls_of(second)}


# --- what goes wrong -------------------------------------------------------------------------------------------------


def test_a_container_that_is_not_there_is_an_error_before_anything_is_read(lake: _Lake) -> None:
    done = lake.run(lake.tap(bucket="no-such-container"))

    assert "az://no-such-container/lake: a BATCH file cannot be written: the container does not exist" in error_of(done)
    assert not lake.site.asked("/readStreams/")


def test_whom_the_server_does_not_know_gets_an_error_in_one_line(lake: _Lake) -> None:
    """A signature that is not valid; it is not shown either."""
    program = lake.tap()
    connection = program.variables["AZURE_STORAGE_CONNECTION_STRING"].replace(lake.store.secret, "WRONG")

    done = lake.run(replace(program, variables={**program.variables, "AZURE_STORAGE_CONNECTION_STRING": connection}))

    assert "the credentials are not valid. Check the credentials" in error_of(done)
    assert "WRONG" not in done.stderr


@pytest.mark.parametrize("denied", ["comp=block&", "comp=blocklist"])
def test_without_the_right_to_write_there_is_an_error_in_one_line(lake: _Lake, denied: str) -> None:
    """At the first block, or when the file should appear."""
    lake.store.denied.append(("PUT", denied))

    done = lake.run(lake.tap())

    assert "access is denied. Let the tap's credentials write there" in error_of(done)


def test_without_the_right_to_ask_for_the_container_a_load_goes_on(lake: _Lake) -> None:
    """As one who may do nothing but write blobs."""
    lake.store.denied.append(("GET", "restype=container"))

    done = lake.run(lake.tap())

    assert done.exit_code == 0, done.stderr
    assert_same_rows(lake.rows(done), records_of(VISITS))


@pytest.mark.parametrize("connection", ["", "SECRET"])
def test_where_no_account_is_named_an_error_says_how_to(lake: _Lake, connection: str) -> None:
    program = lake.tap()

    done = lake.run(replace(program, variables={**program.variables, "AZURE_STORAGE_CONNECTION_STRING": connection}))

    assert "no account is named, or the connection string is not valid. Set AZURE_STORAGE_ACCOUNT_NAME" in error_of(
        done
    )
    assert "SECRET" not in done.stderr


def test_debug_lines_show_no_credentials(lake: _Lake) -> None:
    """The libraries say at that level what they send: ``run`` looks for the signature."""
    program = lake.tap()

    done = lake.run(replace(program, variables={**program.variables, "TAP_REDIVIS_LOG_LEVEL": "debug"}))

    assert done.exit_code == 0
    assert "| DEBUG " in done.stderr
    assert "/tests/" not in done.stderr  # URLs of the account


# --- one process ------------------------------------------------------------------------------------------------------


@pytest.fixture
def root(azure: AzureStorage, monkeypatch: pytest.MonkeyPatch) -> str:
    """The part of a new container that a load writes to."""
    for name, value in azure.variables.items():
        monkeypatch.setenv(name, value)
    return f"az://{azure.bucket()}/lake"


def _storage(root: str) -> Storage:
    return storage_at(root, "visits-7-", 1)


def _files(root: str, azure: AzureStorage) -> dict[str, int]:
    return azure.files(root.split("/")[2])


def test_a_finished_file_is_published_by_another_process_and_again_if_the_answer_was_lost(
    root: str, azure: AzureStorage
) -> None:
    """The second time its blocks are committed already."""
    tap, worker = _storage(root), _storage(root)
    file = worker.create(_FILE)
    file.write(b"rows")
    finished = pickle.loads(pickle.dumps(file.finish()))  # noqa: S301 - what this test is about
    assert not _files(root, azure)

    tap.publish(finished)
    tap.publish(finished)

    assert _files(root, azure) == {f"lake/{_FILE}": 4}


def test_a_file_that_another_run_has_overwritten_is_an_error(root: str) -> None:
    """It took the blocks with it."""
    first, second = _storage(root), _storage(root)
    files = [storage.create(_FILE) for storage in (first, second)]
    for file in files:
        file.write(b"rows")
    mine, theirs = (file.finish() for file in files)
    second.publish(theirs)

    with pytest.raises(StorageError, match=r"the upload was overwritten by another run\. End the other run"):
        first.publish(mine)
