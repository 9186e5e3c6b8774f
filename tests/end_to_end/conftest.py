"""Emulators with tables, for taps to read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from redivis_emulator import DEFAULT_TOKEN, Emulator, demo
from redivis_emulator.access import RateLimit
from redivis_emulator.service import Settings
from tests.support.served import Site, visits, write_table

if TYPE_CHECKING:
    from tests.support.buckets import S3
    from tests.support.clusters import DaskCluster

VISITS = visits(2000)
UNLIMITED = RateLimit(requests=10**9)


@pytest.fixture(scope="session")
def _demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    demo.build(folder)
    return folder


@pytest.fixture(scope="session")
def _demo_emulator(_demo_folder: Path) -> Iterator[Emulator]:
    with Emulator(_demo_folder, rate_limit=UNLIMITED) as emulator:
        yield emulator


@pytest.fixture
def demo_site(_demo_emulator: Emulator, _demo_folder: Path, tmp_path: Path) -> Iterator[Site]:
    """The demo data; the emulator is shared, so its clock and its folder stay as they are."""
    _demo_emulator.forget_requests()
    yield Site(_demo_emulator, _demo_folder, tmp_path, DEFAULT_TOKEN)
    _demo_emulator.faults.clear()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A Redivis of the test's own with the table `demo.visits.visits`, 2,000 rows in four read streams."""
    folder, files = tmp_path / "served", tmp_path / "files"
    files.mkdir()
    write_table(folder, "demo/visits/v1.0/visits", VISITS)
    with Emulator(folder, rate_limit=UNLIMITED, settings=Settings(streams=4)) as emulator:
        yield Site(emulator, folder, files, DEFAULT_TOKEN)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, s3: S3) -> Iterator[DaskCluster]:
    """A scheduler and two workers, which find the S3, for all tests that leave two workers behind."""
    from tests.support.clusters import dask_cluster  # noqa: PLC0415 - Dask takes a second, and few tests need it

    with dask_cluster(tmp_path_factory.mktemp("cluster"), workers=2, variables=s3.variables) as cluster:
        yield cluster
