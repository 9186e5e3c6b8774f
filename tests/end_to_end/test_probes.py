"""`--test` tells by its exit code whether the selected tables could be read, and reads next to nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from redivis_emulator import Emulator, Fault
from redivis_emulator.access import Token
from tests.end_to_end.conftest import UNLIMITED, VISITS
from tests.support.pipes import Output, run
from tests.support.served import Site, write_note, write_table

_LIMITED = "metadata-scope-token"


@pytest.fixture
def clinic(tmp_path: Path) -> Iterator[Site]:
    """A Redivis with three tables in two datasets; one of these is public."""
    for place in ("demo/visits/visits", "demo/visits/doctors", "demo/drugs/prices"):
        write_table(tmp_path, place, VISITS)
    write_note(tmp_path, "demo/drugs/dataset.yml", {"public_access_level": "data"})
    tokens = {_LIMITED: Token(scopes=("data.metadata",))}
    with Emulator(tmp_path, rate_limit=UNLIMITED, tokens=tokens) as emulator:
        yield Site(emulator, tmp_path, tmp_path, emulator.token)


def test_each_table_is_asked_for_one_row(clinic: Site) -> None:
    """Exit 0, nothing on stdout, and one row of one stream a table."""
    done = run(clinic.tap("--test", datasets=["demo.*"]))

    assert (done.exit_code, done.stdout) == (0, b"")
    sessions = [json.loads(request.body) for request in clinic.asked("/readSessions")]
    assert [(body["maxResults"], body["requestedStreamCount"]) for body in sessions] == [(1, 1)] * 3
    assert len(clinic.asked("/readStreams/")) == 3


def test_a_public_table_is_asked_for_one_row_without_a_token(clinic: Site) -> None:
    """`/rows` knows a limit too."""
    done = run(replace(clinic, token=None).tap("--test", datasets=["demo.drugs"]))

    assert done.exit_code == 0
    assert [request.query["maxResults"] for request in clinic.asked("data")] == ["1"]


@pytest.mark.parametrize("token", [_LIMITED, "someone-elses-token", None])
def test_a_token_that_is_not_enough_fails(clinic: Site, token: str | None) -> None:
    """A missing scope, a wrong token and none at all."""
    done = run(replace(clinic, token=token).tap("--test"))

    _assert_failed(done)


def test_one_bad_table_of_many_fails(clinic: Site) -> None:
    """All tables are tried, and the result is that of the worst."""
    clinic.emulator.faults.add(Fault(kind="status", status=403, path="*.doctors*/readSessions", nth="every"))

    done = run(clinic.tap("--test", datasets=["demo.*"]))

    _assert_failed(done)
    assert done.stderr.count("readable (1 row read for the test)") == 2
    assert "1 of 3 streams failed: visits__doctors" in done.stderr


def test_only_selected_tables_are_tried(clinic: Site) -> None:
    """With a catalog, what is not selected is not asked for."""
    streams = clinic.discover(datasets=["demo.*"])
    for stream in ("visits__visits", "visits__doctors"):
        [root] = [each["metadata"] for each in streams[stream]["metadata"] if not each["breadcrumb"]]
        root["selected"] = False
    clinic.emulator.forget_requests()

    done = run(clinic.tap("--test", catalog={"streams": list(streams.values())}))

    assert done.exit_code == 0
    assert not clinic.asked("visits")


def test_tables_that_cannot_be_read_are_not_tried(clinic: Site) -> None:
    """They are not selected without a catalog, so a run would leave them out too."""
    write_note(clinic.folder, "demo/drugs/dataset.yml", {"access_level": "metadata"})
    clinic.emulator.reload()

    done = run(clinic.tap("--test", datasets=["demo.*"]))

    assert done.exit_code == 0
    assert done.stderr.count("readable (1 row read for the test)") == 2


def _assert_failed(done: Output) -> None:
    assert (done.exit_code, done.stdout) == (1, b"")
    assert "| ERROR" in done.stderr
    assert "Traceback" not in done.stderr
