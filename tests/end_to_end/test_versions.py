"""Samples, pinned versions, drafts and workflows: which rows a reference means, and when they are read again."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from redivis_emulator import Emulator, Fault
from tap_redivis.client.http import Api
from tests.end_to_end.conftest import UNLIMITED, VISITS
from tests.support.pipes import Json, Output, Stop, pipe, run, run_stopped, target
from tests.support.postgres import Postgres
from tests.support.served import Site, assert_same_rows, records_of, write_note, write_table

_FIRST, _SECOND, _DRAFT, _RESULT = VISITS.slice(0, 10), VISITS.slice(0, 20), VISITS.slice(5, 30), VISITS.slice(40, 100)
_STUDY: Json = {"workflows": ["demo.study"]}
_SIGNS: Json = {"hash": "a" * 32, "updated_at": 1_700_000_000_000}


@pytest.fixture
def clinic(tmp_path: Path) -> Iterator[Site]:
    """A Redivis with a dataset of two versions, a draft and samples of half the rows, and with a workflow."""
    write_table(tmp_path, "demo/visits/v1.0/visits", _FIRST)
    write_table(tmp_path, "demo/visits/v1.1/visits", _SECOND)
    write_table(tmp_path, "demo/visits/next/visits", _DRAFT)
    write_table(tmp_path, "demo/study/result", _RESULT)
    write_note(tmp_path, "demo/visits/dataset.yml", {"sample_ratio": 0.5})
    _note_study(tmp_path, _SIGNS)
    with Emulator(tmp_path, rate_limit=UNLIMITED) as emulator:
        yield Site(emulator, tmp_path, tmp_path, emulator.token)


@pytest.mark.parametrize(
    ("suffix", "pinned", "version", "rows"),
    [
        ("", ":v1_1.", "v1.1", _SECOND),
        (":v1_0", ":v1_0.", "v1.0", _FIRST),
        (":next", ":next.", "next", _DRAFT),
        (":sample", ":sample:v1_1.", "v1.1", _SECOND.slice(0, 10)),
        (":v1_0:sample", ":sample:v1_0.", "v1.0", _FIRST.slice(0, 5)),
    ],
)
def test_a_suffix_says_which_rows_are_meant(
    clinic: Site, suffix: str, pinned: str, version: str, rows: pa.Table
) -> None:
    """The rows, and in the bookmark the version and the reference that was read."""
    done = clinic.sync(datasets=[f"demo.visits{suffix}"])

    bookmark = _bookmark(done)
    assert_same_rows(done.records("visits__visits"), records_of(rows))
    assert (bookmark["version_tag"], bookmark["rows"]) == (version, rows.num_rows)
    assert pinned in bookmark["table"]


@pytest.mark.parametrize(
    ("before", "now", "rows"),
    [
        (":sample", "", 20),
        ("", ":sample", 10),
        ("", ":next", 30),
        (":next", "", 20),
        ("", ":v1_1", 0),
    ],
)
def test_a_stream_that_means_other_rows_is_read_again(clinic: Site, before: str, now: str, rows: int) -> None:
    """A sample is not its table, though of one version; a version is itself, however it is named."""
    first = clinic.sync(tables=[f"demo.visits{before}.visits"])

    second = clinic.sync(tables=[f"demo.visits{now}.visits"], state=first.state)

    assert len(second.records("visits__visits")) == rows


def test_a_sample_and_its_table_may_both_be_loaded(clinic: Site) -> None:
    """With the version in their names they are two streams; without, an error that says so."""
    both: Json = {"datasets": ["demo.visits", "demo.visits:sample"]}

    streams = clinic.discover(stream_name_format="{dataset}__{table}__{version}", **both)
    clash = run(clinic.tap("--discover", **both))

    assert streams.keys() == {"visits__visits__v1_1", "visits__visits__v1_1_sample"}
    assert (clash.exit_code, "add {version}" in clash.stderr) == (1, True)


def test_a_pinned_version_never_changes(clinic: Site) -> None:
    """Whatever is released: the dataset and its tables are asked for, and no more."""
    pinned: Json = {"tables": ["demo.visits:v1_0.visits"]}
    catalog = {"streams": list(clinic.discover(**pinned).values())}
    first = clinic.sync(catalog=catalog, **pinned)
    clinic.release("demo/visits/v1.2/visits", VISITS.slice(0, 40))
    clinic.emulator.forget_requests()

    second = clinic.sync(catalog=catalog, state=first.state, **pinned)

    assert second.state == first.state
    assert len(clinic.emulator.requests) == 2


def test_a_draft_is_read_each_time(clinic: Site) -> None:
    """Under a higher version, which removes the rows of the time before."""
    draft: Json = {"datasets": ["demo.visits:next"]}
    first = clinic.sync(**draft)
    clinic.release("demo/visits/next/visits", _FIRST)

    second = clinic.sync(state=first.state, **draft)

    assert_same_rows(second.records("visits__visits"), records_of(_FIRST))
    assert _bookmark(second)["table_version"] > _bookmark(first)["table_version"]


@pytest.mark.parametrize(
    "settings",
    [
        {"datasets": ["demo.vis*:v7_0"]},
        {"datasets": ["demo.visits:sample:v7_0"]},
        {"tables": ["demo.visits:v7_0.visits"]},
        {"queries": [{"name": "q", "sql": "SELECT id FROM visits", "default_dataset": "demo.visits:v7_0"}]},
        {"queries": [{"name": "q", "sql": "SELECT a.id FROM `demo.visits.visits` a, `demo.visits:v7.0.visits` b"}]},
    ],
)
def test_an_unknown_version_is_not_taken_for_the_current_one(clinic: Site, settings: Json) -> None:
    """The server would give the current one without a word (redivis-api §3.1): nothing is read of it."""
    done = run(clinic.tap(**settings))

    assert done.exit_code == 1
    assert "there is no version v7_0; the server offers v1.1 instead" in done.stderr
    assert not clinic.asked("data", "/queries")


def test_a_version_that_is_no_longer_there_is_found_out_in_a_sync(clinic: Site) -> None:
    """A catalog, a state and a query that name it: each stream fails, and nothing is read."""
    settings: Json = {
        "tables": ["demo.visits:v1_0.visits"],
        "queries": [{"name": "counted", "sql": "SELECT id FROM visits", "default_dataset": "demo.visits:v1_0"}],
    }
    catalog = {"streams": list(clinic.discover(**settings).values())}
    first = clinic.sync(catalog=catalog, **settings)
    (clinic.folder / "demo/visits/v1.0").rename(clinic.folder / "demo/visits/_v1.0")
    clinic.emulator.reload()
    clinic.emulator.forget_requests()

    second = run(clinic.tap(catalog=catalog, state=first.state, **settings))

    assert second.exit_code == 1
    assert second.stderr.count("there is no version v1_0; the server offers v1.1 instead") == 2
    assert not clinic.asked("data", "/queries")


def test_a_draft_that_is_served_as_the_current_version_is_found_out(clinic: Site) -> None:
    """Nor is its absence a riddle."""
    version = {"kind": "version", "tag": "v1.1"}
    clinic.emulator.faults.add(Fault(kind="json", path="/datasets/demo.visits:next", set={"version": version}))
    served = run(clinic.tap(datasets=["demo.visits:next"]))
    (clinic.folder / "demo/visits/next").rename(clinic.folder / "demo/visits/_next")
    clinic.emulator.reload()
    absent = run(clinic.tap(datasets=["demo.visits:next"]))

    assert (served.exit_code, absent.exit_code) == (1, 1)
    assert "there is no version next; the server offers v1.1 instead" in served.stderr
    assert "there is no draft, or this token may not edit the dataset" in absent.stderr


def test_a_whole_table_is_not_taken_for_its_sample(clinic: Site) -> None:
    """Neither where the server ignores the suffix, nor where its references leave it out."""
    settings: Json = {"tables": ["demo.visits:sample.visits"]}
    [item] = _listed(clinic, "/datasets/demo.visits/tables")
    clinic.emulator.read_as("sample=dataset")
    clinic.emulator.faults.add(Fault(kind="json", path="*/tables", set={"results": [item]}))
    ignored = run(clinic.tap(**settings))
    unsaid = {**item, "isSample": True, "numRows": 10}
    clinic.emulator.faults.clear()
    clinic.emulator.faults.add(Fault(kind="json", path="*/tables", set={"results": [unsaid]}))

    done = clinic.sync(**settings)

    assert ignored.exit_code == 1
    assert "the dataset has no sample; the server offers the whole table instead" in ignored.stderr
    assert ":sample:v1_1." in _bookmark(done)["table"]
    assert all(":sample" in request.path for request in clinic.asked("/tables/", "/readSessions"))


# --- workflows -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("signs", "rows"),
    [
        ({}, 0),
        ({"hash": "b" * 32}, 100),
        ({"updated_at": 1_700_000_000_001}, 100),
        ({"rows": 101}, 101),
    ],
    ids=["nothing", "the hash", "the time", "the rows"],
)
def test_a_workflows_table_is_read_again_if_any_sign_changed(clinic: Site, signs: Json, rows: int) -> None:
    """What the hash means is not said (redivis-api §11.14): each sign counts by itself."""
    first = clinic.sync(**_STUDY)
    write_table(clinic.folder, "demo/study/result", VISITS.slice(40, signs.pop("rows", 100)))
    _note_study(clinic.folder, {**_SIGNS, **signs})
    clinic.emulator.reload()

    second = clinic.sync(state=first.state, **_STUDY)

    assert len(second.records("study__result")) == rows


@pytest.mark.parametrize("missing", ["hash", "numRows", "updatedAt"])
def test_a_workflows_table_that_lacks_a_sign_is_always_read(clinic: Site, missing: str) -> None:
    [item] = _listed(clinic, "/workflows/demo.study/tables")
    odd = {key: value for key, value in item.items() if key != missing}
    clinic.emulator.faults.add(Fault(kind="json", path="*/tables", set={"results": [odd]}, nth="every"))

    second = clinic.sync(state=clinic.sync(**_STUDY).state, **_STUDY)

    assert_same_rows(second.records("study__result"), records_of(_RESULT))


def test_a_workflows_table_that_changed_while_interrupted_is_read_anew(clinic: Site) -> None:
    """Else the old session's rows would count as the new content, and the new rows never come."""
    clinic.emulator.faults.add(Fault(kind="stall", path="/readStreams/*", at_row=50))
    first = run_stopped(clinic.tap(**_STUDY), Stop(signal.SIGTERM, after_lines=1 + 50))
    clinic.emulator.faults.clear()
    write_table(clinic.folder, "demo/study/result", VISITS.slice(500, 100))
    _note_study(clinic.folder, {**_SIGNS, "hash": "b" * 32})
    clinic.emulator.reload()

    second = clinic.sync(state=first.state, **_STUDY)
    third = clinic.sync(state=second.state, **_STUDY)

    assert_same_rows(second.records("study__result"), records_of(VISITS.slice(500, 100)))
    assert not third.records("study__result")


def test_a_workflow_has_no_versions(clinic: Site) -> None:
    done = run(clinic.tap(workflows=["demo.study:v1_0"]))

    assert done.exit_code == 1
    assert "workflows: 'demo.study:v1_0' names a version or a sample, which a workflow has not" in done.stderr


# --- a database ------------------------------------------------------------------------------------------------------


def test_a_database_holds_what_each_reference_means(clinic: Site, postgres: Postgres) -> None:
    """A sample, a pinned version, a draft and a workflow's table, side by side; also after all of them changed."""
    settings: Json = {
        "datasets": ["demo.visits:sample", "demo.visits:v1_0", "demo.visits:next"],
        "workflows": ["demo.study"],
        "stream_name_format": "{table}_{version}",
        "row_key": True,
    }
    url = postgres.url.replace("postgresql://", "postgresql+psycopg://")
    config = {"sqlalchemy_url": url, "default_target_schema": "public", "hard_delete": True}
    sink = target("meltanolabs-target-postgres", clinic.files, config)

    first = pipe(clinic.tap(**settings), sink)
    held_first = _held(postgres, "visits_v1_1_sample", "visits_v1_0", "visits_next", "result_")
    write_table(clinic.folder, "demo/visits/next/visits", _FIRST)
    write_table(clinic.folder, "demo/study/result", VISITS.slice(500, 7))
    clinic.release("demo/visits/v1.2/visits", VISITS.slice(0, 60))
    second = pipe(clinic.tap(state=first.target.state, **settings), sink)

    assert [first.tap.exit_code, first.target.exit_code, second.tap.exit_code, second.target.exit_code] == [0] * 4
    assert held_first == [_ids(table) for table in (_SECOND.slice(0, 10), _FIRST, _DRAFT, _RESULT)]
    assert _held(postgres, "visits_v1_2_sample", "visits_v1_0", "visits_next", "result_") == [
        _ids(table) for table in (VISITS.slice(0, 30), _FIRST, _FIRST, VISITS.slice(500, 7))
    ]


def _held(postgres: Postgres, *tables: str) -> list[list[Any]]:
    queries = [f"SELECT id FROM {table} ORDER BY id" for table in tables]  # noqa: S608 - our own names
    return [[number for (number,) in postgres.query(query)] for query in queries]


def _ids(table: pa.Table) -> list[Any]:
    return list(table["id"].to_pylist())


def _note_study(folder: Path, signs: Json) -> None:
    write_note(folder, "demo/study/workflow.yml", {"name": "study", "tables": {"result": signs}})


def _bookmark(done: Output) -> Json:
    bookmark: Json = done.state["bookmarks"]["visits__visits"]
    return bookmark


def _listed(site: Site, path: str) -> list[Json]:
    """Return a list as the server gives it."""
    api = Api(site.endpoint, site.token, timeout=20, max_retry_seconds=0)
    return list(api.pages(path))
