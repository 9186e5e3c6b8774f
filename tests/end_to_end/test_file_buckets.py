"""Contents of files in object stores: whole, checked, looked for before they are fetched, and nothing unfinished."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from redivis_emulator import DEFAULT_TOKEN, Emulator, Fault
from tap_redivis.model.columns import FILE_URI
from tests.end_to_end.conftest import UNLIMITED
from tests.support.azure_storage import serving_azure_storage
from tests.support.buckets import S3
from tests.support.file_tables import SOME, STREAM, error_of, fetched, ids_of, wait_for, write_files
from tests.support.google_storage import serving_google_storage
from tests.support.lakes import Store
from tests.support.pipes import Output, Program, run
from tests.support.running import forked
from tests.support.samples import sampled
from tests.support.served import Site

_LARGE = "large.bin"
_CONTENTS = {
    **SOME,
    _LARGE: random.Random(2).randbytes(9 * 1024 * 1024),  # noqa: S311 - the same in every run; more than a part has
    "scan #12": b"a generation, as some name them",
    "a [b]*": b"no pattern",
}


@dataclass(frozen=True)
class _Bucket:
    """A bucket, and a tap that copies files to it."""

    store: Store
    site: Site
    name: str

    def tap(self, **settings: Any) -> Program:
        files = {"root": f"{self.store.scheme}://{self.name}/some/files"}
        program = self.site.tap(datasets=["demo.scans"], files=files, **settings)
        return replace(program, variables={**program.variables, **self.store.variables})

    def run(self, **settings: Any) -> Output:
        done = run(self.tap(**settings))
        assert self.store.secret not in done.stderr
        assert self.store.secret.encode() not in done.stdout
        return done

    def assert_copied(self, done: Output) -> None:
        """Check that each row names its file, and that there is nothing else, not even unfinished."""
        assert done.exit_code == 0, done.stderr
        before = f"{self.store.scheme}://{self.name}/"
        names = {each["file_name"]: each[FILE_URI].removeprefix(before) for each in done.records(STREAM)}
        assert {name: self.store.read(self.name, place) for name, place in names.items()} == _CONTENTS
        assert set(names.values()) == set(self.store.files(self.name))
        assert all(name.startswith("some/files/scans/") for name in names.values())
        assert not self.unfinished()

    def unfinished(self) -> object:
        """List what is under way."""
        if hasattr(self.store, "unfinished"):
            return self.store.unfinished(self.name)
        return self.store.containers[self.name].staged  # type: ignore[attr-defined] # of Azure


@pytest.fixture(name="site")
def make_site(tmp_path: Path) -> Iterator[Site]:
    """A Redivis of the test's own with a file-index table."""
    folder, files = tmp_path / "served", tmp_path / "files"
    files.mkdir()
    write_files(folder, _CONTENTS)
    with Emulator(folder, rate_limit=UNLIMITED) as emulator:
        yield Site(emulator, folder, files, DEFAULT_TOKEN)


@pytest.fixture(name="bucket", params=sampled(["s3", "gs", "az"], ["s3"]))
def make_bucket(request: pytest.FixtureRequest, site: Site, tmp_path: Path) -> Iterator[_Bucket]:
    """A bucket of the test's own in each kind of store."""
    if request.param == "s3":
        s3: S3 = request.getfixturevalue("s3")
        yield _Bucket(s3, site, s3.bucket())
    elif request.param == "gs":
        with serving_google_storage(tmp_path) as google:
            yield _Bucket(google, site, google.bucket())
    else:
        with serving_azure_storage() as azure:
            yield _Bucket(azure, site, azure.bucket())


def test_files_are_copied_once(bucket: _Bucket) -> None:
    """Empty ones too, and such as have several parts; the second run looks for each, and fetches none."""
    bucket.assert_copied(bucket.run())
    bucket.site.emulator.forget_requests()

    bucket.assert_copied(bucket.run())

    assert not bucket.site.asked("/rawFiles")


@pytest.mark.long
@pytest.mark.parametrize("bucket", ["s3"], indirect=True)
def test_a_damaged_object_is_fetched_again(bucket: _Bucket, s3: S3) -> None:
    """Of the same size too, where the store tells a digest."""
    bucket.run()
    names = {name.rpartition("/")[2]: name for name in s3.files(bucket.name)}
    for name, content in (("three.txt", b"4" * 3000), (_LARGE, b"short")):
        with s3.file_system.open_output_stream(f"{bucket.name}/{names[name]}") as file:
            file.write(content)
    bucket.site.emulator.forget_requests()

    bucket.assert_copied(bucket.run())

    assert {unquote(each.path.rpartition("/")[2]) for each in fetched(bucket.site)} >= {ids_of(bucket.site)[_LARGE]}


@pytest.mark.parametrize("number", sampled([signal.SIGTERM, signal.SIGKILL], [signal.SIGKILL]))
@pytest.mark.parametrize("bucket", ["s3"], indirect=True)
def test_what_a_stopped_run_left_is_aborted(bucket: _Bucket, s3: S3, number: signal.Signals) -> None:
    """By itself after SIGTERM, else by the next run, which fetches what is missing."""
    file_id = ids_of(bucket.site)[_LARGE]
    stall = Fault(kind="stall", path=f"/rawFiles/{file_id}", at_byte=len(_CONTENTS[_LARGE]) - 100)
    bucket.site.emulator.faults.add(stall)

    with forked(bucket.tap()) as running, open(running.stdout, "rb", closefd=False) as stdout:
        wait_for(lambda: s3.unfinished(bucket.name) and len(s3.files(bucket.name)) == len(_CONTENTS) - 1)
        running.kill(number)
        stopped = running.end(stdout.read())
    left = s3.unfinished(bucket.name)
    bucket.site.emulator.faults.clear()
    bucket.site.emulator.forget_requests()

    bucket.assert_copied(bucket.run(state=stopped.state if number == signal.SIGTERM else None))

    assert stopped.exit_code in {143, -signal.SIGKILL}
    assert bool(left) == (number == signal.SIGKILL)
    assert [each.path for each in fetched(bucket.site)] == [f"/rawFiles/{file_id}"]


@pytest.mark.parametrize(
    "fault", [{"kind": "wrong_digest", "times": None}, {"kind": "garbage", "times": None, "at_byte": 9}]
)
@pytest.mark.long
def test_a_damaged_file_leaves_nothing_unfinished(bucket: _Bucket, fault: dict[str, Any]) -> None:
    bucket.site.emulator.faults.add(Fault(path=f"/rawFiles/{ids_of(bucket.site)[_LARGE]}", **fault))

    error = error_of(bucket.run())

    assert f"({_LARGE!r}): given up after retries: it has 9,437,184 bytes" in error
    assert _LARGE not in {name.rpartition("/")[2] for name in bucket.store.files(bucket.name)}
    if bucket.store.scheme != "az":  # Azure forgets blocks by itself
        assert not bucket.unfinished()


@pytest.mark.parametrize("bucket", ["s3"], indirect=True)
def test_a_bucket_that_is_not_there_is_an_error_of_that_setting(bucket: _Bucket) -> None:
    error = error_of(replace(bucket, name="no-such-bucket").run())

    assert "s3://no-such-bucket/some/files: a file cannot be written: the bucket does not exist. Create it" in error
    assert "files.root" in error
    assert "batch_config" not in error
