"""BATCH files in an object store: what is promised of a folder's files holds for them, proved by a local S3."""

from __future__ import annotations

import pickle
import signal
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from botocore.exceptions import ClientError
from s3fs import S3FileSystem

from redivis_emulator import Fault
from tap_redivis.batch.storage import storage_at
from tap_redivis.errors import StorageError
from tests.end_to_end.conftest import VISITS
from tests.support.batches import ENCODINGS, batch_config, table_in
from tests.support.buckets import S3, serving_s3
from tests.support.lakes import Lake, assert_several_parts_make_a_file, error_of, urls_of
from tests.support.pipes import Stop, run, run_stopped
from tests.support.served import Site, assert_same_rows, records_of

_STREAM = "visits__visits"


@dataclass(frozen=True)
class _Lake(Lake):
    """A bucket of S3, and the tap that writes to it."""

    store: S3


@pytest.fixture
def lake(s3: S3, site: Site) -> _Lake:
    """A bucket of the test's own."""
    return _Lake(s3, site, s3.bucket())


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_files_in_the_bucket_hold_the_table(
    lake: _Lake,
    encoding: str,
) -> None:
    """All rows, in files of as many rows as were allowed, and nothing else; no upload is left."""
    done = lake.run(lake.tap(encoding, batch_size=300))

    assert done.exit_code == 0, done.stderr
    assert_same_rows(lake.rows(done), records_of(VISITS))
    assert set(urls_of(done)) == lake.files()
    assert len(urls_of(done)) >= 8
    assert all(url.startswith(f"s3://{lake.bucket}/lake/{_STREAM}/") for url in urls_of(done))
    assert not lake.store.unfinished(lake.bucket)


@pytest.mark.parametrize("path", ["", "/", "/a b/č/"])
def test_a_root_is_a_bucket_or_a_part_of_one(lake: _Lake, path: str) -> None:
    done = lake.run(lake.tap("jsonl", path))

    assert done.exit_code == 0, done.stderr
    assert_same_rows(lake.rows(done), records_of(VISITS))
    assert all(url.startswith(f"s3://{lake.bucket}{path.rstrip('/')}/{_STREAM}/") for url in urls_of(done))


def test_files_of_several_parts_are_whole(lake: _Lake) -> None:
    """A part has 8 MiB."""
    assert_several_parts_make_a_file(lake)


def test_types_and_values_are_those_of_the_source(s3: S3, demo_site: Site) -> None:
    lake = _Lake(s3, demo_site, s3.bucket())
    source = pq.read_table(demo_site.folder / "demo/types/all_types.parquet")

    done = lake.run(lake.tap("parquet", tables=["demo.types.all_types"]))

    [path] = [s3.download(url, demo_site.files) for url in urls_of(done)]
    assert table_in(path).select(source.column_names).sort_by("row").equals(source)


# --- what is interrupted ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_stopped_load_leaves_no_upload_and_goes_on(lake: _Lake, encoding: str) -> None:
    """SIGTERM: what is under way is aborted; the second run brings the rest, and each row once."""
    lake.site.emulator.faults.add(Fault(kind="stall", path="/readStreams/*", nth="every", at_row=250))

    stopped = run_stopped(lake.tap(encoding, batch_size=100), Stop(signal.SIGTERM, after_lines=17))
    first = lake.checked(stopped)
    lake.site.emulator.faults.clear()
    assert not lake.store.unfinished(lake.bucket)
    second = lake.run(lake.tap(encoding, batch_size=100, state=first.state))

    assert (first.exit_code, second.exit_code) == (143, 0), second.stderr
    assert_same_rows(lake.rows(first, second), records_of(VISITS))
    assert len(lake.store.files(lake.bucket)) == len({*urls_of(first), *urls_of(second)})


def test_what_a_killed_run_left_is_aborted_by_the_next_one(lake: _Lake) -> None:
    """Kill -9 in the middle: uploads stay, and are aborted; those that are not the tap's are left alone."""
    lake.site.emulator.faults.add(Fault(kind="stall", path="/readStreams/*", nth="every", at_row=250))
    lake.store.begin_upload(lake.bucket, "lake/of-somebody-else.parquet")

    first = run_stopped(lake.tap("jsonl", batch_size=100), Stop(signal.SIGKILL, after_lines=17))
    lake.site.emulator.faults.clear()
    name = urls_of(first)[0].removeprefix(f"s3://{lake.bucket}/")
    lake.store.begin_upload(lake.bucket, name)  # whether there is another one is left to chance
    left = lake.store.unfinished(lake.bucket)
    second = lake.run(lake.tap("jsonl", batch_size=100, state=first.state))

    assert len(left) > 1
    assert lake.store.unfinished(lake.bucket) == ["lake/of-somebody-else.parquet"]
    assert_same_rows(lake.rows(first, second), records_of(VISITS))


def test_uploads_of_a_load_that_does_not_go_on_are_aborted_too(lake: _Lake) -> None:
    """They are old (in this server all are), and have names that the tap gives."""
    lake.store.begin_upload(lake.bucket, f"lake/{_STREAM}/1600000000/{_STREAM}-1600000000-00-000000000000.parquet")

    lake.run(lake.tap())

    assert not lake.store.unfinished(lake.bucket)


def test_a_failed_table_leaves_no_upload(lake: _Lake) -> None:
    lake.site.emulator.faults.add(Fault(kind="status", path="/readStreams/*", nth="every", status=400))

    done = lake.run(lake.tap())

    assert done.exit_code == 1
    assert not lake.store.unfinished(lake.bucket)


def test_a_finished_file_is_published_by_another_process_and_again_if_the_answer_was_lost(
    s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the answer to the first try was lost, the upload is gone, and the file is there."""
    for name, value in s3.variables.items():
        monkeypatch.setenv(name, value)
    bucket = s3.bucket()
    tap, worker = (storage_at(f"s3://{bucket}/lake", "visits-7-", 1) for _ in range(2))
    file = worker.create("visits-7-00-000000000000.jsonl")
    file.write(b"rows")
    finished = pickle.loads(pickle.dumps(file.finish()))  # noqa: S301 - what this test is about
    assert not s3.files(bucket)

    tap.publish(finished)
    _let_uploads_be_gone(monkeypatch)
    tap.publish(finished)

    assert s3.files(bucket) == {"lake/visits-7-00-000000000000.jsonl": 4}
    with pytest.raises(StorageError, match=r"the upload was aborted by another run\. End the other run"):
        tap.publish(replace(finished, size=5))


def _let_uploads_be_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answer as S3 does to who completes an upload that is not there; the server of the tests breaks then."""
    call = S3FileSystem.call_s3

    def answer(self: S3FileSystem, method: str, *defaults: object, **parameters: object) -> object:
        if method == "complete_multipart_upload":
            raise FileNotFoundError from ClientError({"Error": {"Code": "NoSuchUpload"}}, method)
        return call(self, method, *defaults, **parameters)

    monkeypatch.setattr(S3FileSystem, "call_s3", answer)


# --- what goes wrong -------------------------------------------------------------------------------------------------


def test_a_bucket_that_is_not_there_is_an_error_before_anything_is_read(lake: _Lake) -> None:
    done = lake.run(lake.tap(bucket="no-such-bucket"))

    assert "s3://no-such-bucket/lake: a BATCH file cannot be written: the bucket does not exist. Create it" in error_of(
        done
    )
    assert not lake.site.asked("/readStreams/")


def test_a_server_that_is_not_there_is_an_error_in_one_line(lake: _Lake) -> None:
    program = lake.tap()
    nowhere = {**program.variables, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}

    done = lake.run(replace(program, variables=nowhere))

    assert "the server cannot be reached" in error_of(done)


def test_without_credentials_there_is_an_error_in_one_line(lake: _Lake, tmp_path: Path) -> None:
    program = lake.tap()
    nobody = {**program.variables, "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "HOME": str(tmp_path)}

    done = lake.run(replace(program, variables=nobody))

    assert "there are no credentials. Check the credentials in the environment or the profile" in error_of(done)


def test_a_profile_names_the_credentials_and_the_server(lake: _Lake, tmp_path: Path) -> None:
    """As everything of AWS does: nothing of it is in the tap's settings."""
    folder = tmp_path / ".aws"
    folder.mkdir()
    (folder / "config").write_text(f"[profile lake]\nregion = us-east-1\nendpoint_url = {lake.store.endpoint}\n")
    (folder / "credentials").write_text(
        f"[lake]\naws_access_key_id = {lake.store.key}\naws_secret_access_key = {lake.store.secret}\n"
    )
    program = lake.tap()
    variables = {name: value for name, value in program.variables.items() if not name.startswith("AWS_")}

    done = lake.run(replace(program, variables={**variables, "HOME": str(tmp_path), "AWS_PROFILE": "lake"}))

    assert done.exit_code == 0, done.stderr
    assert_same_rows(lake.rows(done), records_of(VISITS))


@pytest.mark.parametrize(
    ("key", "what"),
    [
        ("AKIAIOSFODNN7EXAMPLE", "the credentials are not valid. Check the credentials"),
        (None, "access is denied. Let the tap's credentials write there"),
    ],
)
def test_wrong_and_powerless_credentials_are_told_apart(site: Site, key: str | None, what: str) -> None:
    """By a server that asks who it is: a key that is not known, and one of a user who may do nothing."""
    with serving_s3() as server:
        bucket = server.bucket()
        mine = server.of_a_user_without_rights()
        lake = _Lake(replace(mine, key=key or mine.key), site, bucket)

        done = lake.run(lake.tap())

    assert what in error_of(done)


def test_debug_lines_show_no_credentials(lake: _Lake) -> None:
    """The libraries say at that level what they send."""
    program = lake.tap()

    done = lake.run(replace(program, variables={**program.variables, "TAP_REDIVIS_LOG_LEVEL": "debug"}))

    assert done.exit_code == 0
    assert lake.store.key not in done.stderr
    assert "Signature" not in done.stderr


@pytest.mark.parametrize("root", ["s3://", "s3://key:secret@bucket/lake", "s3://bucket/lake?versionId=7"])
def test_a_root_that_is_no_bucket_is_refused(site: Site, root: str) -> None:
    done = run(site.tap(batch_config=batch_config("jsonl", root)))

    assert "batch_config.storage.root: it must be a bucket and a path, without credentials" in error_of(done)


@pytest.mark.parametrize(("scheme", "extra"), [("gs", "gcs"), ("az", "azure"), ("s3", "s3")])
def test_what_is_not_installed_is_named(site: Site, scheme: str, extra: str, tmp_path: Path) -> None:
    for module in ("s3fs", "gcsfs", "adlfs"):
        (tmp_path / f"{module}.py").write_text(f"raise ModuleNotFoundError('there is no {module}')")
    program = site.tap(batch_config=batch_config("jsonl", f"{scheme}://bucket/lake"))

    done = run(replace(program, variables={**program.variables, "PYTHONPATH": str(tmp_path)}))

    assert f"{scheme}:// needs the extra {extra}, which is not installed" in error_of(done)
    assert f"pip install 'tap-redivis[{extra}]'" in error_of(done)
