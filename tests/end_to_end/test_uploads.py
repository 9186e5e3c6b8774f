"""Uploads of a draft as streams: each file by itself, with the columns that it has."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from redivis_emulator import Emulator, Fault
from redivis_emulator.access import Token
from redivis_emulator.service import Settings
from tests.end_to_end.conftest import UNLIMITED, VISITS
from tests.support.pipes import Json, Output, Stop, pipe, run, run_stopped, target
from tests.support.postgres import Postgres
from tests.support.served import Site, assert_same_rows, records_of, streams_of, write_note, write_table

_MARCH, _APRIL = VISITS.slice(0, 900), VISITS.slice(900, 1100).drop_columns(["cost"])
_UPLOAD = "demo.visits:next.visits.march.parquet"
_STREAM = "visits__visits_march_parquet"
_READER = "token-of-a-reader"


@pytest.fixture(name="draft")
def make_draft(tmp_path: Path) -> Iterator[Site]:
    """A Redivis whose dataset `demo.visits` has a draft with two uploads of different columns, in four streams."""
    write_table(tmp_path, "demo/visits/v1.0/visits", VISITS.slice(0, 10))
    write_table(tmp_path, "demo/visits/next/visits/march", _MARCH)
    write_table(tmp_path, "demo/visits/next/visits/april", _APRIL)
    tokens = {_READER: Token(access={"demo.*": "data"})}
    with Emulator(tmp_path, rate_limit=UNLIMITED, tokens=tokens, settings=Settings(streams=4)) as emulator:
        yield Site(emulator, tmp_path, tmp_path, emulator.token)


@pytest.mark.parametrize("wire_format", ["jsonl", "arrow", "csv"])
def test_an_upload_is_a_stream(draft: Site, wire_format: str) -> None:
    """Its rows, and no others of the table; an activated version at the end."""
    done = draft.sync(uploads=[_UPLOAD], wire_format=wire_format)

    assert streams_of(done) == {_STREAM}
    assert_same_rows(done.records(_STREAM), records_of(_MARCH))
    assert [each["type"] for each in done.messages if each["type"] != "RECORD"][-2:] == ["ACTIVATE_VERSION", "STATE"]


def test_a_pattern_names_several_uploads(draft: Site) -> None:
    """Each is a stream with the columns of its file; table, version and dots may be written in any way."""
    streams = draft.discover(uploads=["demo.visits.visits.*", "demo.visits:next.visits.MARCH_parquet"])

    assert {name: set(stream["schema"]["properties"]) for name, stream in streams.items()} == {
        _STREAM: set(_MARCH.column_names),
        "visits__visits_april_parquet": set(_APRIL.column_names),
    }
    assert streams[_STREAM]["table_name"].startswith("upload demo.visits:")
    assert streams[_STREAM]["table_name"].endswith(".march.parquet")


def test_an_upload_goes_by_the_catalog(draft: Site) -> None:
    """The catalog alone says which; deselected columns are not transferred, other uploads not asked for."""
    streams = draft.discover(uploads=["demo.visits:next.visits.*"])
    for entry in streams[_STREAM]["metadata"]:
        if entry["breadcrumb"] == ["properties", "cost"]:
            entry["metadata"]["selected"] = False
    draft.emulator.forget_requests()

    done = draft.sync(uploads=[_UPLOAD], catalog={"streams": [streams[_STREAM]]})

    assert_same_rows(done.records(_STREAM), records_of(_MARCH.drop_columns(["cost"])))
    assert not draft.asked("april")


def test_an_unchanged_upload_is_not_read_again(draft: Site) -> None:
    """Its digest proves it, though it belongs to a draft, which tells nothing."""
    catalog = {"streams": list(draft.discover(uploads=[_UPLOAD]).values())}
    first = draft.sync(uploads=[_UPLOAD], catalog=catalog)
    write_table(draft.folder, "demo/visits/next/visits/may", _APRIL)
    draft.emulator.reload()
    draft.emulator.forget_requests()

    second = draft.sync(uploads=[_UPLOAD], catalog=catalog, state=first.state)

    assert second.state == first.state
    assert [request.path.rpartition("/")[2] for request in draft.emulator.requests][1:] == ["tables", "march_parquet"]


def test_an_upload_knows_its_own_rows(draft: Site) -> None:
    """A read session that does not count them is held against them."""
    draft.emulator.faults.add(
        Fault(kind="json", path="*/readSessions", set={"numRows": None}, nth="every"),
        Fault(kind="json", path="*march_parquet", set={"numRows": 301}, nth="every"),
    )
    draft.emulator.read_as("sentinel=never")

    done = run(draft.tap(uploads=[_UPLOAD]))

    assert done.exit_code == 1
    assert "rows arrived of 301" in done.stderr


@pytest.mark.parametrize("change", ["file", "reading", "no digest"])
def test_an_upload_that_may_have_changed_is_read_again(draft: Site, change: str) -> None:
    """Another file of that name, the same file read in another way, or nothing that tells."""
    first = draft.sync(uploads=[_UPLOAD])
    rows = _MARCH
    if change == "file":
        rows = VISITS.slice(500, 900)
        draft.release("demo/visits/next/visits/march", rows)
    elif change == "reading":
        draft.emulator.faults.add(Fault(kind="json", path="*march_parquet", set={"delimiter": ";"}, nth="every"))
    else:
        draft.emulator.faults.add(Fault(kind="json", path="*march_parquet", set={"hash": None}, nth="every"))

    second = draft.sync(uploads=[_UPLOAD], state=first.state)

    assert_same_rows(second.records(_STREAM), records_of(rows))
    assert second.state["bookmarks"][_STREAM]["table_version"] > first.state["bookmarks"][_STREAM]["table_version"]


def test_an_interrupted_upload_goes_on_where_it_stopped(draft: Site) -> None:
    first = _interrupted(draft)

    second = draft.sync(uploads=[_UPLOAD], state=first.state)

    assert not draft.asked("/readSessions")
    assert_same_rows([*first.records(_STREAM), *second.records(_STREAM)], records_of(_MARCH))


def test_an_interrupted_upload_of_another_file_is_read_anew(draft: Site) -> None:
    """The old session would give rows of a file that is no longer there, and count them as those of the new one."""
    first = _interrupted(draft)
    draft.release("demo/visits/next/visits/march", VISITS.slice(500, 900))

    second = draft.sync(uploads=[_UPLOAD], state=first.state)

    assert_same_rows(second.records(_STREAM), records_of(VISITS.slice(500, 900)))


def test_an_upload_can_be_tested(draft: Site) -> None:
    done = run(draft.tap("--test", uploads=[_UPLOAD]))

    assert done.exit_code == 0
    assert "readable (1 row read for the test)" in done.stderr


@pytest.mark.parametrize("release", ["no draft", "another draft"])
def test_an_upload_is_gone_once_its_draft_is_released(draft: Site, release: str) -> None:
    """That stream fails with a line that says so; others do not."""
    settings: Json = {"uploads": [_UPLOAD], "datasets": ["demo.visits"]}
    catalog = {"streams": list(draft.discover(**settings).values())}
    (draft.folder / "demo/visits/next").rename(draft.folder / "demo/visits/_released")
    if release == "another draft":
        write_table(draft.folder, "demo/visits/next/visits/april", _APRIL)
    draft.emulator.reload()

    done = run(draft.tap(catalog=catalog, **settings))

    assert done.exit_code == 1
    assert "once its draft is released an upload is gone: read the table then." in done.stderr
    assert len(done.records("visits__visits")) == 10


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"status": "running"}, "the upload is running, not completed. Run again later."),
        (
            {"status": "failed", "errorMessage": "Line 7 is short."},
            "could not read the upload: Line 7 is short.",
        ),
    ],
)
def test_an_upload_that_is_not_ready_says_so(draft: Site, answer: Json, words: str) -> None:
    """An error if it is named; of a pattern it is left out."""
    draft.emulator.faults.add(Fault(kind="json", path="*march_parquet", set=answer, nth="every"))

    named = run(draft.tap(uploads=[_UPLOAD]))
    matched = draft.sync(uploads=["demo.visits:next.visits.*"])

    assert (named.exit_code, words in named.stderr) == (1, True), named.stderr
    assert streams_of(matched) == {"visits__visits_april_parquet"}
    assert f"march.parquet is left out: the upload is {answer['status']}" in matched.stderr


def test_uploads_take_a_token_that_may_edit(draft: Site) -> None:
    done = run(Site(draft.emulator, draft.folder, draft.files, _READER).tap(uploads=[_UPLOAD]))

    assert done.exit_code == 1
    assert "that the token may edit the dataset" in done.stderr


@pytest.mark.parametrize("reference", ["demo.visits", "demo.visits:next.visits", "demo.visits:v1_0.visits.march.csv"])
def test_a_reference_that_is_no_upload_is_an_error(draft: Site, reference: str) -> None:
    done = run(draft.tap(uploads=[reference]))

    assert done.exit_code == 1
    assert f"uploads: the reference {reference!r} is malformed" in done.stderr


def test_a_database_holds_what_the_file_holds(draft: Site, postgres: Postgres) -> None:
    """Also after the file was replaced, with labels in the data dictionary by the upload's stream."""
    note: Json = {"tables": {"visits": {"variables": {"paid": {"value_labels": {True: "Paid"}}}}}}
    write_note(draft.folder, "demo/visits/dataset.yml", note)
    draft.emulator.reload()
    settings: Json = {"uploads": [_UPLOAD], "include_dictionary": True, "row_key": True}
    url = postgres.url.replace("postgresql://", "postgresql+psycopg://")
    config = {"sqlalchemy_url": url, "default_target_schema": "public", "hard_delete": True}
    sink = target("meltanolabs-target-postgres", draft.files, config)

    first = pipe(draft.tap(**settings), sink)
    replaced = VISITS.slice(500, 300)
    draft.release("demo/visits/next/visits/march", replaced)
    second = pipe(draft.tap(state=first.target.state, **settings), sink)

    assert [first.tap.exit_code, first.target.exit_code, second.tap.exit_code, second.target.exit_code] == [0] * 4
    assert postgres.query("SELECT id, paid FROM visits__visits_march_parquet ORDER BY id") == _pairs(replaced)
    assert postgres.query("SELECT kind, version_tag FROM redivis_tables") == [("upload", "next")]
    assert postgres.query("SELECT stream, value, label FROM redivis_value_labels") == [(_STREAM, "true", "Paid")]


def _pairs(table: pa.Table) -> list[tuple[Any, ...]]:
    return list(zip(table["id"].to_pylist(), table["paid"].to_pylist(), strict=True))


def _interrupted(site: Site) -> Output:
    """Stop the reading by SIGTERM when each of its four read streams has sent 100 rows."""
    site.emulator.faults.add(Fault(kind="stall", path="/readStreams/*", nth="every", at_row=100))
    done = run_stopped(site.tap(uploads=[_UPLOAD]), Stop(signal.SIGTERM, after_lines=1 + 4 * 100))
    site.emulator.faults.clear()
    site.emulator.forget_requests()
    assert done.exit_code == 128 + signal.SIGTERM
    return done
