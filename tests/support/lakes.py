"""A bucket of some object store, and the tap that writes to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from tests.support.batches import batch_config, records_of_files
from tests.support.pipes import Json, Output, Program, run
from tests.support.served import Site, assert_same_rows, records_of

_SIZES = ("batch_size", "batch_bytes")


class Store(Protocol):
    """An object store that runs on this machine."""

    scheme: str

    @property
    def secret(self) -> str:
        """What must appear in no output."""

    @property
    def variables(self) -> Mapping[str, str]:
        """What a program finds it by."""

    def bucket(self) -> str:
        """Make a bucket; return its name."""

    def files(self, bucket: str) -> dict[str, int]:
        """List names and sizes of the objects in a bucket."""

    def read(self, bucket: str, name: str) -> bytes:
        """Return what is in an object."""


@dataclass(frozen=True)
class Lake:
    """A bucket, and the tap that writes to it.

    Attributes:
        store: Where the bucket is.
        site: Where the tap reads.
        bucket: Its name.
    """

    store: Store
    site: Site
    bucket: str

    def tap(self, encoding: str = "parquet", path: str = "/lake", *, bucket: str = "", **settings: object) -> Program:
        """Describe a call of the tap, with settings and ``state`` by keyword."""
        sizes = {name: settings.pop(name) for name in _SIZES if name in settings}
        config = batch_config(encoding, f"{self.store.scheme}://{bucket or self.bucket}{path}", **sizes)
        program = self.site.tap(batch_config=config, **settings)  # type: ignore[arg-type]
        return replace(program, variables={**program.variables, **self.store.variables})

    def run(self, program: Program) -> Output:
        """Run the tap to its end (see ``pipes.run``)."""
        return self.checked(run(program))

    def checked(self, done: Output) -> Output:
        """See to it that no credentials are shown."""
        assert self.store.secret not in done.stderr
        assert self.store.secret.encode() not in done.stdout
        return done

    def rows(self, *outputs: Output) -> list[Json]:
        """Read the rows of the files that messages name, in their order."""
        urls = dict.fromkeys(url for done in outputs for url in urls_of(done))  # one without its STATE comes again
        return records_of_files(map(self._download, urls))

    def _download(self, url: str) -> Path:
        name = url.removeprefix(f"{self.store.scheme}://{self.bucket}/")
        target = self.site.files / name.rpartition("/")[2]
        target.write_bytes(self.store.read(self.bucket, name))
        return target

    def files(self) -> set[str]:
        """List the URLs of all objects."""
        return {f"{self.store.scheme}://{self.bucket}/{name}" for name in self.store.files(self.bucket)}


def assert_several_parts_make_a_file(lake: Lake) -> None:
    """Load a table whose file is larger than a part, which has 8 MiB, and find all of it there."""
    table = pa.table({"id": range(500), "text": [f"{number:05}" * 16_000 for number in range(500)]})
    lake.site.release("demo/visits/v1.1/visits", table)

    done = lake.run(lake.tap("arrow"))

    assert_same_rows(lake.rows(done), records_of(table))
    assert max(lake.store.files(lake.bucket).values()) > 8 * 1024 * 1024


def urls_of(done: Output) -> list[str]:
    """List the files that messages name, in their order."""
    return [url for message in done.messages if message["type"] == "BATCH" for url in message["manifest"]]


def error_of(done: Output) -> str:
    """Return the one line that says why a run failed."""
    assert done.exit_code == 1
    assert "Traceback" not in done.stderr, done.stderr
    [error] = [line for line in done.stderr.splitlines() if "| ERROR " in line]
    return error
