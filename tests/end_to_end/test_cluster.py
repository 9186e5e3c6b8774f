"""BATCH files that a Dask cluster writes are those that threads write, whatever becomes of its workers."""

from __future__ import annotations

import json
import re
import signal
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
import requests

from redivis_emulator import DEFAULT_TOKEN, Fault
from tests.end_to_end.conftest import VISITS
from tests.support.batches import ENCODINGS, all_records_in, batch_config, files_of, records_of_files
from tests.support.buckets import S3
from tests.support.clusters import DaskCluster, dask_cluster
from tests.support.pipes import Json, Output, Program, Stop, run, run_stopped, started
from tests.support.served import Site, assert_same_rows, records_of, visits

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("cluster")]

_STREAM = "visits__visits"


def _config(site: Site, cluster: DaskCluster, encoding: str = "parquet", **settings: object) -> Json:
    return batch_config(encoding, site.files / "out", executor="dask", scheduler=cluster.address, **settings)


def _left(site: Site) -> set[Path]:
    return {path for path in (site.files / "out").rglob("*") if path.is_file()}


def _error(done: Output) -> str:
    assert done.exit_code == 1
    assert "Traceback" not in done.stderr
    [error] = [line for line in done.stderr.splitlines() if "| ERROR " in line]
    return error


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_files_are_those_that_threads_write(site: Site, cluster: DaskCluster, encoding: str) -> None:
    """Of the same session: the same names, and the same rows in each, in the same order; the same messages."""
    settings: Json = {"row_key": True, "lineage": True}
    threads = batch_config(encoding, site.files / "local", batch_size=150)
    local = site.sync(batch_config=threads, **settings)
    begun = next(message["value"] for message in local.messages if message["type"] == "STATE")

    done = site.sync(batch_config=_config(site, cluster, encoding, batch_size=150), state=begun, **settings)

    assert _contents(done) == _contents(local)
    assert sum(map(len, _contents(done).values())) == 2000
    assert _left(site) == set(files_of(done.messages))
    assert _kinds(done) == _kinds(local)


def _kinds(done: Output) -> list[str]:
    """Give the messages' types from the first SCHEMA on; who begins the session has one STATE more at its opening."""
    kinds = [message["type"] for message in done.messages]
    kinds = kinds[kinds.index("SCHEMA") :]
    return kinds[2:] if kinds[1] == "STATE" else kinds[1:]


def _contents(done: Output) -> dict[str, list[Json]]:
    return {path.name: all_records_in(path) for path in files_of(done.messages)}


def test_a_load_that_threads_began_is_ended_by_the_cluster(site: Site, cluster: DaskCluster) -> None:
    """Where files are written is no part of what is read."""
    site.emulator.faults.add(Fault(kind="stall", path="/readStreams/*", nth="every", at_row=250))
    local = site.tap(batch_config=batch_config("arrow", site.files / "out", batch_size=100))
    first = run_stopped(local, Stop(signal.SIGTERM, after_lines=17))
    site.emulator.faults.clear()

    second = site.sync(state=first.state, batch_config=_config(site, cluster, "arrow", batch_size=100))

    assert_same_rows(records_of_files([*files_of(first.messages), *files_of(second.messages)]), records_of(VISITS))


def test_what_is_counted_and_said_on_workers_is_said_by_the_tap(site: Site, cluster: DaskCluster) -> None:
    """Replaced characters, and a connection that broke; the highest replication key too."""
    table = visits(1000).set_column(1, "clinic", pa.array(["a\0b"] * 1000))
    site.release("demo/visits/v1.1/visits", table)
    site.emulator.faults.add(Fault(kind="reset", path="/readStreams/*", nth=1, at_row=100))
    options = {"visits": {"key_properties": ["id"], "replication_key": "seen_at"}}

    done = site.sync(batch_config=_config(site, cluster), table_options=options)

    assert re.search(r"1\d\d\d invalid characters of 'clinic' replaced", done.stderr)  # some rows were read twice
    assert re.search(r"read stream \S+ goes on at row", done.stderr)
    assert done.state["bookmarks"][_STREAM]["replication_key_value"] == records_of(table)[-1]["seen_at"]
    assert len(records_of_files(files_of(done.messages))) == 1000


def test_a_limit_of_rows_is_kept_exactly(site: Site, cluster: DaskCluster) -> None:
    """Though the server sends more, and workers do not know of each other."""
    site.emulator.faults.add(Fault(kind="json", path="*/readSessions", add={"numRows": 1}))

    done = site.sync(max_rows=777, batch_config=_config(site, cluster, "jsonl", batch_size=100))

    rows = records_of_files(files_of(done.messages))
    assert len(rows) == len({row["id"] for row in rows}) == 777


def test_an_error_of_the_server_ends_the_table_as_it_does_here(site: Site, cluster: DaskCluster) -> None:
    site.emulator.faults.add(Fault(kind="status", path="/readStreams/*", nth="every", status=503))

    done = run(site.tap(batch_config=_config(site, cluster), max_retry_seconds=1))

    assert "HTTP 503" in _error(done)
    assert not _left(site)


def test_a_root_that_workers_cannot_write_to_is_an_error_in_one_line(site: Site, cluster: DaskCluster) -> None:
    """What the tap can make, and workers cannot reach, such as a disk of its own: here a folder where each is."""
    program = site.tap(batch_config={**_config(site, cluster), "storage": {"root": "/proc/self/cwd/out"}})
    argv = ("sh", "-c", 'cd "$0" && exec "$@"', str(site.files), *program.argv)

    done = run(Program(argv, program.variables, program.secret))

    assert "a BATCH file cannot be written: no such file or directory" in _error(done)


# --- who ends in the middle ------------------------------------------------------------------------------------------


def test_a_lost_worker_costs_nothing_but_time(site: Site, cluster: DaskCluster) -> None:
    """Kill -9 in the middle of a job: it begins again behind the files that were named, each row comes once."""
    stall = Fault(kind="stall", path="/readStreams/*", nth=3, at_row=250)
    site.emulator.faults.add(stall)
    with cluster.client() as client:
        program = site.tap(batch_config=_config(site, cluster, batch_size=100))
        with started(program) as process:
            busy = cluster.wait_for(lambda: _stalled(site, cluster.busy(client)))
            cluster.worker(busy).kill()
            done = process.end(process.stdout.read())
        cluster.add_worker()

    assert done.exit_code == 0, done.stderr
    assert_same_rows(records_of_files(files_of(done.messages)), records_of(VISITS))
    assert _left(site) == set(files_of(done.messages))


def _stalled(site: Site, busy: dict[str, list[str]]) -> str | None:
    """Name the worker that waits for the server; the others have done all else."""
    return next(iter(busy)) if len(busy) == 1 and len(site.asked("/readStreams/")) >= 4 else None


def test_workers_that_end_one_after_another_end_the_table(site: Site, tmp_path: Path) -> None:
    """Here the first is one too many; the next run goes on."""
    site.emulator.faults.add(Fault(kind="stall", path="/readStreams/*", nth="every", at_row=250))
    patience = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}
    with dask_cluster(tmp_path / "cluster", workers=1, variables=patience) as cluster, cluster.client() as client:
        program = site.tap(batch_config=_config(site, cluster, batch_size=100))
        with started(program) as process:
            cluster.wait_for(lambda: cluster.busy(client) and site.asked("/readStreams/"))
            cluster.workers[0].kill()
            failed = process.end(process.stdout.read())
    site.emulator.faults.clear()

    again = site.sync(state=failed.state, batch_config=batch_config("parquet", site.files / "out", batch_size=100))

    assert "the workers that had a job were ended, one after another" in _error(failed)
    assert_same_rows(records_of_files([*files_of(failed.messages), *files_of(again.messages)]), records_of(VISITS))


def test_a_lost_scheduler_ends_the_table(site: Site, tmp_path: Path) -> None:
    site.emulator.faults.add(Fault(kind="stall", path="/readStreams/*", nth="every", at_row=250))
    with dask_cluster(tmp_path / "cluster", workers=1) as cluster, cluster.client() as client:
        program = site.tap(batch_config=_config(site, cluster))
        hasty = replace(program, variables={**program.variables, "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "1s"})
        with started(hasty) as process:
            cluster.wait_for(lambda: cluster.busy(client) and site.asked("/readStreams/"))
            cluster.scheduler.kill()
            done = process.end(process.stdout.read())

    assert "the connection to the scheduler was lost. Run again" in _error(done)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_tap_stops_the_jobs(site: Site, cluster: DaskCluster, number: signal.Signals) -> None:
    """Within two seconds it has ended; workers are free again, and leave nothing unfinished behind."""
    site.emulator.faults.add(Fault(kind="slow", path="/readStreams/*", nth="every", seconds=0.0005))
    with cluster.client() as client:
        program = site.tap(batch_config=_config(site, cluster, "jsonl"))
        with started(program) as process:
            cluster.wait_for(lambda: len(cluster.busy(client)) == 2 and site.asked("/readStreams/"))
            process.popen.send_signal(number)
            process.popen.wait(2)
            done = process.end(process.stdout.read())
        site.emulator.faults.clear()
        cluster.wait_for(lambda: not cluster.busy(client))
        second = site.sync(state=done.state, batch_config=_config(site, cluster, "jsonl"))

    assert done.exit_code in {143, -signal.SIGKILL}
    assert done.messages[-1]["type"] == "STATE"
    assert_same_rows(records_of_files(files_of(second.messages)), records_of(VISITS))
    cluster.wait_for(lambda: _left(site) == set(files_of(second.messages)))


# --- what the cluster must have --------------------------------------------------------------------------------------


def test_the_token_is_shown_nowhere(site: Site, cluster: DaskCluster) -> None:
    """Not on the scheduler's pages, nor in names of tasks, logs, or what the scheduler tells of its state."""
    site.emulator.faults.add(Fault(kind="stall", path="/readStreams/*", nth="every", at_row=250))
    with cluster.client() as client:
        brief = {"request_timeout_seconds": 2}  # what nobody wants any more keeps a worker for as long
        with started(site.tap(batch_config=_config(site, cluster), **brief)) as process:
            busy = cluster.wait_for(lambda: cluster.busy(client) if site.asked("/readStreams/") else {})
            jobs = [job for each in busy.values() for job in each]
            pages = {path: _page(cluster, path) for path in _paths(cluster, jobs)}
            state = json.dumps(client.run_on_scheduler(_state), default=str)
            process.popen.kill()
        site.emulator.faults.clear()
        said = cluster.said()

    assert any(jobs[0] in page for page in pages.values())
    assert jobs[0].startswith("visits__visits-0")
    assert jobs[0] in state
    for text in (*pages, *pages.values(), state, said, *jobs):
        assert DEFAULT_TOKEN not in text


def _paths(cluster: DaskCluster, jobs: list[str]) -> list[str]:
    """List the scheduler's pages."""
    listed = requests.get(f"{cluster.dashboard}/sitemap.json", timeout=20).json()["paths"]
    worker = re.findall(r"/info/worker/[^\"']+\.html", _page(cluster, "/info/main/workers.html"))
    return [*listed, "/info/main/workers.html", *worker, *(f"/info/task/{job}.html" for job in jobs)]


def _page(cluster: DaskCluster, path: str) -> str:
    return requests.get(f"{cluster.dashboard}/{path.lstrip('/')}", timeout=20).text


def _state(dask_scheduler: object) -> object:
    return dask_scheduler._to_dict()  # type: ignore[attr-defined]  # noqa: SLF001 - what `dump_cluster_state` writes


def test_over_plain_tcp_workers_have_a_token_of_their_own(site: Site, tmp_path: Path) -> None:
    """It is not sent to what is no loopback address by its name; a job that fails is told with its arguments."""
    with dask_cluster(tmp_path / "cluster", workers=1, host="127.0.0.2") as cluster:
        refused = run(site.tap(batch_config=_config(site, cluster)))
        cluster.workers[0].kill()
        cluster.add_worker(REDIVIS_API_TOKEN=DEFAULT_TOKEN)
        done = site.sync(batch_config=_config(site, cluster))
        said = cluster.said()

    assert "the token is not sent to a cluster over plain tcp, and a worker has none of its own" in _error(refused)
    assert_same_rows(records_of_files(files_of(done.messages)), records_of(VISITS))
    assert "Compute Failed" in said
    assert DEFAULT_TOKEN not in said


def test_without_a_scheduler_there_is_an_error_in_one_line(site: Site, cluster: DaskCluster) -> None:
    nowhere = {**_config(site, cluster), "scheduler": "tcp://127.0.0.1:9"}

    done = run(site.tap(batch_config=nowhere, max_retry_seconds=1))

    assert "tcp://127.0.0.1:9: the Dask scheduler cannot be reached" in _error(done)


def test_without_workers_there_is_an_error_after_a_while(site: Site, tmp_path: Path) -> None:
    with dask_cluster(tmp_path / "cluster", workers=0) as cluster:
        done = run(site.tap(batch_config=_config(site, cluster), max_retry_seconds=1))

    assert "the cluster has no workers yet; waiting for some" in done.stderr
    assert "it has had no workers for 1 seconds. Start workers" in _error(done)


def test_without_the_extra_there_is_an_error_in_one_line(site: Site, cluster: DaskCluster, tmp_path: Path) -> None:
    (tmp_path / "distributed.py").write_text("raise ModuleNotFoundError('there is no distributed')")
    program = site.tap(batch_config=_config(site, cluster))

    done = run(replace(program, variables={**program.variables, "PYTHONPATH": str(tmp_path)}))

    assert "batch_config.executor: dask needs the extra dask, which is not installed" in _error(done)


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"executor": "dask"}, "needs the address"), ({"scheduler": "x"}, "of use to executor dask only")],
)
def test_executor_and_scheduler_go_together(site: Site, settings: Json, words: str) -> None:
    done = run(site.tap(batch_config=batch_config("jsonl", site.files / "out", **settings)))

    assert words in _error(done)


def test_workers_write_to_a_bucket_too(site: Site, cluster: DaskCluster, s3: S3) -> None:
    """Each uploads its files; the tap completes the uploads."""
    bucket = s3.bucket()
    config = {**_config(site, cluster, batch_size=200), "storage": {"root": f"s3://{bucket}/lake"}}
    program = site.tap(batch_config=config)

    done = run(replace(program, variables={**program.variables, **s3.variables}))

    urls = [url for message in done.messages if message["type"] == "BATCH" for url in message["manifest"]]
    assert_same_rows(records_of_files([s3.download(url, site.files) for url in urls]), records_of(VISITS))
    assert not s3.unfinished(bucket)
    assert s3.secret not in cluster.said()
