"""Contents of files that the workers of a Dask cluster copy are those that threads copy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from redivis_emulator import DEFAULT_TOKEN, Emulator, Fault, Settings
from tests.end_to_end.conftest import UNLIMITED
from tests.support.batches import ENCODINGS, all_records_in, batch_config, files_of
from tests.support.clusters import DaskCluster
from tests.support.file_tables import (
    SOME,
    assert_copied,
    error_of,
    fetched,
    ids_of,
    root_of,
    stored,
    watched,
    write_files,
)
from tests.support.pipes import Json, Output, Program, run, started
from tests.support.served import Site

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("cluster")]

_FILE = "deep/er/one.bin"


@pytest.fixture(name="site")
def make_site(tmp_path: Path) -> Iterator[Site]:
    """A Redivis that redirects to signed addresses, which take no token."""
    folder, files = tmp_path / "served", tmp_path / "files"
    files.mkdir()
    write_files(folder, SOME)
    settings = Settings(streams=2, file_address="signed")
    with Emulator(folder, rate_limit=UNLIMITED, settings=settings) as emulator:
        yield Site(emulator, folder, files, DEFAULT_TOKEN)


def _tap(site: Site, cluster: DaskCluster, encoding: str = "parquet", **settings: Any) -> Program:
    batch = batch_config(
        encoding, site.files / "out", executor="dask", scheduler=cluster.address, version_columns=False
    )
    return site.tap(datasets=["demo.scans"], files={"root": str(root_of(site))}, batch_config=batch, **settings)


def _rows(done: Output) -> list[Json]:
    assert done.exit_code == 0, done.stderr
    return [record for path in files_of(done.messages) for record in all_records_in(path)]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_workers_copy_each_file_once(site: Site, cluster: DaskCluster, encoding: str) -> None:
    """Broken downloads go on; what is there is not fetched again; the tap counts what was done."""
    fault = Fault(kind="close", path=f"/_storage/{ids_of(site)[_FILE]}", at_byte=700_000)
    site.emulator.faults.add(fault)

    with watched(root_of(site), {name: len(content) for name, content in SOME.items()}):
        first = run(_tap(site, cluster, encoding))
    requests = len(fetched(site))
    second = run(_tap(site, cluster, encoding))

    assert_copied(_rows(first), root_of(site), SOME)
    assert_copied(_rows(second), root_of(site), SOME)
    assert requests == len(fetched(site)) == len(SOME) + 1
    assert f"{len(SOME)} files" in first.stderr
    assert DEFAULT_TOKEN not in cluster.said()


def test_a_file_that_is_not_there_is_told_by_the_tap(site: Site, cluster: DaskCluster) -> None:
    """The next run goes on."""
    file_id = ids_of(site)["two.txt"]
    site.emulator.faults.add(Fault(kind="status", path=f"/rawFiles/{file_id}", status=404, times=None))

    first = run(_tap(site, cluster))
    error = error_of(first)
    named = [record for path in files_of(first.messages) for record in all_records_in(path)]
    site.emulator.faults.clear()
    second = run(_tap(site, cluster, state=first.state))

    assert f"the file {file_id} ('two.txt'): HTTP 404" in error
    assert_copied([*named, *_rows(second)], root_of(site), SOME)


def test_a_stopped_tap_leaves_nothing_unfinished(site: Site, cluster: DaskCluster) -> None:
    """Kill -9 while a worker fetches: the next run removes what was left, and fetches what is missing."""
    path = f"/_storage/{ids_of(site)[_FILE]}"
    site.emulator.faults.add(Fault(kind="slow", path=path, at_byte=700_000, seconds=0.01))
    with cluster.client() as client:
        with started(_tap(site, cluster)) as process:
            cluster.wait_for(lambda: [each for each in site.asked(path) if each.status])
            process.popen.kill()
            done = process.end(process.stdout.read())
        site.emulator.faults.clear()
        cluster.wait_for(lambda: not cluster.busy(client))

    second = run(_tap(site, cluster, state=done.state if done.stdout else None))

    before = [record for path in files_of(done.messages) for record in all_records_in(path)]
    assert_copied([*before, *_rows(second)], root_of(site), SOME)
    assert not [name for name in stored(root_of(site)) if "partial" in name]
