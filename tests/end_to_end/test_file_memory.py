"""Contents of files take 40 MiB of memory at most, however many and large they are, and wherever they go."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from redivis_emulator import DEFAULT_TOKEN, Emulator, Settings
from tests.end_to_end.conftest import UNLIMITED
from tests.support.batches import batch_config
from tests.support.buckets import S3
from tests.support.file_tables import ids_of, root_of
from tests.support.measuring import measured
from tests.support.pipes import Process
from tests.support.served import Site

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("memory")]

_GROWTH_MIB = 40
_FILES, _FILE_BYTES = 32, 20 * 1024 * 1024
_ROWS = 60_000


@pytest.fixture(name="site")
def make_site(tmp_path: Path) -> Iterator[Site]:
    """A Redivis with a file-index table of large files, and a table of 100 MB whose rows name some of them."""
    folder, files = tmp_path / "served", tmp_path / "files"
    files.mkdir()
    for number in range(_FILES):
        path = folder / f"demo/scans/v1.0/scans.files/{number}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.write(b"%d" % number)
            file.truncate(_FILE_BYTES - number)  # sparse
    with Emulator(folder, rate_limit=UNLIMITED, settings=Settings(streams=4)) as emulator:
        site = Site(emulator, folder, files, DEFAULT_TOKEN)
        ids = [None, *ids_of(site).values()]
        text = [f"{number} {'lorem ipsum ' * 140}" for number in range(_ROWS)]
        rows = {"id": range(_ROWS), "scan": [ids[number % len(ids)] for number in range(_ROWS)], "text": text}
        site.release("demo/scans/v1.0/visits", pa.table(rows))
        yield site


def _peak(site: Site, variables: dict[str, str] | None = None, **settings: Any) -> float:
    program = site.tap(row_key=True, **settings)
    program = replace(program, variables={**program.variables, **(variables or {})})
    done = measured(program, site.files, _drained)
    assert done.output.exit_code == 0, done.output.stderr

    return done.peak_mib


def _drained(process: Process) -> bytes:
    while os.read(process.stdout.fileno(), 1024 * 1024):
        pass
    return b""


_INDEX = {"tables": ["demo.scans.scans"]}
_VISITS = {"tables": ["demo.scans.visits"], "table_options": {"visits": {"file_variable": "scan"}}}


@pytest.mark.parametrize("source", [_INDEX, _VISITS], ids=["index", "variable"])
@pytest.mark.parametrize("encoding", [None, "parquet"])
def test_files_in_a_folder_take_little_memory(site: Site, source: dict[str, Any], encoding: str | None) -> None:
    batch = {"batch_config": batch_config(encoding, site.files / "out")} if encoding else {}

    without = _peak(site, tables=source["tables"], **batch)
    for number in range(2):  # what allocators keep of sixteen threads differs by some MiB from run to run
        with_files = _peak(site, **source, **batch, files={"root": str(root_of(site) / str(number))})
        if with_files - without < _GROWTH_MIB:
            break

    assert with_files - without < _GROWTH_MIB


def test_files_in_a_bucket_take_little_memory_beside_the_library(site: Site, s3: S3) -> None:
    """As against a run that writes its rows to the bucket."""
    root = f"s3://{s3.bucket()}"

    without = _peak(site, dict(s3.variables), **_INDEX, batch_config=batch_config("jsonl", root))
    with_files = _peak(site, dict(s3.variables), **_INDEX, files={"root": root})

    assert with_files - without < _GROWTH_MIB
