"""What goes to a cluster, and what does not."""

from __future__ import annotations

import pickle
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pytest

from redivis_emulator import Emulator, Fault
from tap_redivis.batch.encodings import FileColumns
from tap_redivis.batch.output import FileOutput
from tap_redivis.batch.storage import FinishedFile
from tap_redivis.batch.storage.folder import Folder
from tap_redivis.client.read_sessions import open_session
from tap_redivis.errors import ConfigError, NotFound
from tap_redivis.model.batch_settings import BatchSettings
from tap_redivis.model.columns import Column, ValueRules
from tap_redivis.model.reads import ReadRequest, StreamPosition
from tap_redivis.planning.bookmarks import PartialLoad
from tap_redivis.reading import dask_worker
from tap_redivis.reading.dask_worker import Cluster, JobResult, Secret, run_job
from tap_redivis.reading.jobs import JobSpec, ReadJob, Server, Unwanted
from tap_redivis.reading.read_stream import SessionGone
from tests.unit.conftest import MakeApi

_NOW = datetime(2026, 1, 2, tzinfo=timezone.utc)
_REQUEST = ReadRequest("demo.visits.numbers", "/tables/demo.visits.numbers", "arrow", 1, None, None, 20.0)


def test_a_secret_is_sent_and_not_shown() -> None:
    """Workers write the arguments of jobs that fail into their logs."""
    secret = Secret("token")

    assert pickle.loads(pickle.dumps(secret)).text == "token"  # noqa: S301 - what this test is about
    assert "token" not in f"{secret} {secret!r} {(secret,)} {[secret]}"


@pytest.mark.parametrize(
    ("address", "is_private"),
    [
        ("tls://scheduler:8786", True),
        ("tcp://127.0.0.1:8786", True),
        ("tcp://localhost:8786", True),
        ("tcp://[::1]:8786", True),
        ("tcp://10.0.0.5:8786", False),
        ("tcp://127.0.0.1.example:8786", False),
        ("scheduler:8786", False),
        ("ws://scheduler:8786", False),
    ],
)
def test_a_token_goes_where_nobody_can_read_it_on_the_way(address: str, *, is_private: bool) -> None:
    assert Cluster(address, client=None).is_private == is_private


def _job(emulator: Emulator, make_api: MakeApi, root: Path) -> ReadJob:
    """Make a job of one read stream, and the folder that the tap makes for it."""
    stream = open_session(make_api(), _REQUEST).streams[0]
    columns, rules = (Column("id", "integer"), Column("half", "float")), ValueRules(for_arrow=True)
    server = Server(emulator.endpoint, is_anonymous=False, timeout=20, max_retry_seconds=600)
    spec = JobSpec(server, _REQUEST, columns, rules)
    output = FileOutput(
        settings=BatchSettings("arrow", None, str(root), rows=10),
        stream="numbers",
        spec=spec,
        load=PartialLoad("", _NOW, "arrow", "", 7, {stream: StreamPosition()}, "v1.0"),
        added=FileColumns(None, constants={}),
    )
    Folder(root, "numbers/7/numbers-7-").prepare()
    return ReadJob(replace(spec, output=output), stream, StreamPosition())


def _at(job: ReadJob, **changes: str) -> ReadJob:
    """Change what a job says of the server."""
    return replace(job, spec=replace(job.spec, server=replace(job.spec.server, **changes)))  # type: ignore[arg-type]


def _partial(root: Path) -> list[str]:
    return [path.name for path in (root / ".partial").rglob("*.partial")]


def test_a_job_of_another_version_is_refused(emulator: Emulator, make_api: MakeApi, tmp_path: Path) -> None:
    job = _job(emulator, make_api, tmp_path)

    with pytest.raises(ConfigError, match="Install the same version on all workers"):
        run_job(_at(job, tap_version="0.0.0"), None, None, lambda: False)


def test_a_job_ends_with_a_file_after_a_while(
    emulator: Emulator, make_api: MakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files get their messages then; the next one goes on behind them."""
    job = _job(emulator, make_api, tmp_path)
    monkeypatch.setattr(dask_worker, "_SECONDS_A_JOB", 0)

    result = run_job(job, None, emulator.token, lambda: False)

    assert [chunk.count for chunk in result.chunks] == [10]
    assert result.end is None
    [file] = [chunk.content for chunk in result.chunks]
    assert isinstance(file, FinishedFile)
    assert _partial(tmp_path) == [file.state["partial"].name]


def test_a_job_whose_server_is_away_hears_that_nobody_wants_it(
    emulator: Emulator, make_api: MakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would wait for the server for ten minutes."""
    job = _job(emulator, make_api, tmp_path)
    monkeypatch.setattr(dask_worker, "_SECONDS_BETWEEN_LOOKS", 0.01)

    with pytest.raises(Unwanted):
        run_job(_at(job, endpoint="http://127.0.0.1:9"), None, emulator.token, lambda: True)

    assert not _partial(tmp_path)


def test_a_job_that_nobody_wants_leaves_nothing(
    emulator: Emulator, make_api: MakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the file under way nor those that are complete, of which the tap does not know."""
    monkeypatch.setattr(dask_worker, "_SECONDS_BETWEEN_LOOKS", 0.0001)

    with pytest.raises(Unwanted):
        run_job(_job(emulator, make_api, tmp_path), None, emulator.token, lambda: True)

    assert not _partial(tmp_path)


def test_what_was_written_before_an_error_is_returned_with_it(
    emulator: Emulator, make_api: MakeApi, tmp_path: Path
) -> None:
    """And what it came of, which pickle would leave out."""
    job = _job(emulator, make_api, tmp_path)
    emulator.faults.add(Fault(kind="expire", path="/readStreams/*", nth=2))
    emulator.faults.add(Fault(kind="reset", path="/readStreams/*", nth=1, at_row=150))

    given = run_job(job, None, emulator.token, lambda: False)
    result: JobResult = pickle.loads(pickle.dumps(given))  # noqa: S301 - as it comes

    assert isinstance(result.error, SessionGone)
    assert isinstance(result.cause, NotFound)
    assert sum(chunk.count for chunk in result.chunks) > 0
    assert any("goes on at row" in text for _, text in result.logged)
