"""Contents of files: each lies in the user's folder, whole, before the row that names it is written."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from redivis_emulator import DEFAULT_TOKEN, Emulator, Fault, Settings
from tap_redivis.model.columns import FILE_URI
from tests.end_to_end.conftest import UNLIMITED
from tests.support.batches import ENCODINGS, all_records_in, batch_config, files_of
from tests.support.file_tables import (
    SOME,
    STREAM,
    assert_copied,
    error_of,
    fetched,
    ids_of,
    path_of,
    root_of,
    stored,
    wait_for,
    write_files,
    write_visits,
)
from tests.support.pipes import NO_BYTECODE, Json, Output, Program, run
from tests.support.running import forked
from tests.support.samples import sampled
from tests.support.served import Site, write_note

_SOURCE: Json = {"datasets": ["demo.scans"]}
_BY_SESSION = {"num_bytes": 10**6}  # not small enough to be read without a session


@pytest.fixture(name="site")
def make_site(tmp_path: Path) -> Iterator[Site]:
    """A Redivis of the test's own with the file-index table `demo.scans.scans`."""
    folder, files = tmp_path / "served", tmp_path / "files"
    files.mkdir()
    write_files(folder, SOME)
    with Emulator(folder, rate_limit=UNLIMITED, settings=Settings(min_rows_per_stream=1)) as emulator:
        yield Site(emulator, folder, files, DEFAULT_TOKEN)


def _tap(site: Site, *arguments: str, root: Path | None = None, files: Json | None = None, **settings: Any) -> Program:
    settings = {**_SOURCE, "files": {"root": str(root or root_of(site)), **(files or {})}, **settings}
    return site.tap(*arguments, **settings)


def _sync(site: Site, **settings: Any) -> Output:
    done = run(_tap(site, **settings))
    assert done.exit_code == 0, done.stderr
    return done


def _rows_in_files(done: Output) -> list[Json]:
    return [record for path in files_of(done.messages) for record in all_records_in(path)]


def _properties(done: Output) -> dict[str, Json]:
    [schema] = [each for each in done.messages if each["type"] == "SCHEMA" and each["stream"] != "files"]
    properties: dict[str, Json] = schema["schema"]["properties"]
    return properties


def _by_session(site: Site, **tables: Json) -> None:
    note = {"tables": {"scans": _BY_SESSION, **tables}}
    write_note(site.folder, "demo/scans/dataset.yml", note)
    site.emulator.reload()


def _in_order(site: Site) -> dict[str, str]:
    """Give the ids by the names, in the order that the rows have in each session from now on."""
    _by_session(site)
    site.emulator.read_as("row_order=table")
    done = site.sync(**_SOURCE, max_streams=1)
    site.emulator.forget_requests()
    return {record["file_name"]: record["file_id"] for record in done.records(STREAM)}


# --- rows and files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_session", [False, True], ids=["in one answer", "by a session"])
@pytest.mark.parametrize("wire_format", ["jsonl", "arrow", "csv"])
def test_every_row_names_its_file(site: Site, wire_format: str, *, by_session: bool) -> None:
    if by_session:
        _by_session(site)

    done = _sync(site, wire_format=wire_format)

    assert_copied(done.records(STREAM), root_of(site), SOME)
    assert _properties(done)[FILE_URI]["type"] == ["string", "null"]
    assert len(fetched(site)) == len(SOME)
    assert f"{len(SOME)} files" in done.stderr


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_rows_in_files_name_theirs(site: Site, encoding: str) -> None:
    files = batch_config(encoding, site.files / "out", version_columns=False)

    done = _sync(site, batch_config=files)

    assert_copied(_rows_in_files(done), root_of(site), SOME)
    assert set(_properties(done)) == set(_rows_in_files(done)[0])


def test_a_row_waits_for_its_file_and_no_other_one(site: Site) -> None:
    """The rows before it come at once; SIGTERM ends the run though the server is silent; the next run goes on."""
    ids = _in_order(site)
    late = list(ids)[2]
    site.emulator.faults.add(Fault(kind="stall", path=f"/rawFiles/{ids[late]}"))

    with forked(_tap(site, max_streams=1)) as running, open(running.stdout, "rb", closefd=False) as stdout:
        lines: list[bytes] = []
        while sum(b'"RECORD"' in line for line in lines) < 2:
            lines.append(stdout.readline())
        running.kill(signal.SIGTERM)
        first = running.end(b"".join([*lines, *stdout]))
    before = stored(root_of(site))
    second = _sync(site, state=first.state, max_streams=1)

    assert first.exit_code == 143
    assert first.messages[-1]["type"] == "STATE"
    assert [each["file_name"] for each in first.records(STREAM)] == list(ids)[:2]
    assert not [name for name in before if "partial" in name]
    assert late not in "".join(before)
    assert_copied([*first.records(STREAM), *second.records(STREAM)], root_of(site), SOME)


def test_the_file_is_there_when_its_row_is_written(site: Site) -> None:
    """Whoever reads a row can open its file at once."""
    site.emulator.faults.add(Fault(kind="throttle", path="/rawFiles/*", nth="every", rate=5_000_000))
    found: dict[str, bytes] = {}

    with forked(_tap(site)) as running, open(running.stdout, "rb", closefd=False) as stdout:
        for line in stdout:
            message = json.loads(line)
            if message["type"] == "RECORD":
                found[message["record"]["file_name"]] = path_of(message["record"][FILE_URI]).read_bytes()
        done = running.end(b"")

    assert done.exit_code == 0, done.stderr
    assert found == SOME


def test_names_follow_the_template(site: Site) -> None:
    done = _sync(site, files={"name": "{owner}/{dataset}-{version}/{file_name}"})

    assert_copied(done.records(STREAM), root_of(site), SOME)
    names = {name.rpartition("-")[0] for name in stored(root_of(site))}
    assert names == {f"demo/scans-v1.0/{name.rpartition('.')[0]}" for name in SOME}


def test_only_the_tables_that_are_named_are_copied(site: Site) -> None:
    write_files(site.folder, {"a.txt": b"a"}, table="photos")
    site.emulator.reload()

    done = _sync(site, files={"tables": ["pho*"]})

    assert set(stored(root_of(site)).values()) == {b"a"}
    assert FILE_URI in done.records("scans__photos")[0]
    assert FILE_URI not in done.records(STREAM)[0]


def test_without_the_setting_nothing_is_copied(site: Site) -> None:
    done = _sync(site, files={"root": None})

    assert not fetched(site)
    assert FILE_URI not in done.records(STREAM)[0]


def test_public_files_need_no_token(site: Site) -> None:
    write_note(site.folder, "demo/scans/dataset.yml", {"public_access_level": "data"})
    site.emulator.reload()

    done = _sync(replace(site, token=None))

    assert_copied(done.records(STREAM), root_of(site), SOME)


def test_a_limit_of_rows_is_one_of_files(site: Site) -> None:
    """Though the server sends more rows."""
    site.emulator.faults.add(Fault(kind="overshoot", path="*/rows", rows=3))

    done = _sync(site, max_rows=2)

    assert len(done.records(STREAM)) == len(stored(root_of(site))) == len(fetched(site)) == 2


def test_no_more_files_are_fetched_at_once_than_requests_are_allowed(site: Site) -> None:
    write_files(site.folder, {f"{number}.bin": b"12" for number in range(20)}, "v1.1")
    site.emulator.reload()
    site.emulator.faults.add(Fault(kind="stall", path="/rawFiles/*", nth="every", times=None, at_byte=1))

    with forked(_tap(site, max_requests=2)) as running, open(running.stdout, "rb", closefd=False) as stdout:
        wait_for(lambda: len(fetched(site)) >= 2)
        running.kill(signal.SIGTERM)
        done = running.end(stdout.read())

    assert done.exit_code == 143
    assert len(fetched(site)) == 2
    assert not stored(root_of(site))


def test_files_of_workflows_are_copied_too(site: Site) -> None:
    """Which have no versions."""
    path = site.folder / "demo/analysis/scans.files/a.txt"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"a")
    write_note(site.folder, "demo/analysis/workflow.yml", {"name": "analysis"})
    site.emulator.reload()

    done = _sync(site, datasets=[], workflows=["demo.analysis"], files={"name": "{dataset}/{version}/{file_id}.txt"})

    [record] = done.records("analysis__scans")
    assert path_of(record[FILE_URI]) == root_of(site) / f"analysis/current/{record['file_id']}.txt"
    assert path_of(record[FILE_URI]).read_bytes() == b"a"


def test_a_table_of_any_name_is_found_again_by_its_catalog(site: Site) -> None:
    name = "Scans: v1.0, 20% (new)"
    write_note(site.folder, "demo/scans/dataset.yml", {"tables": {"scans": {"name": name}}})
    site.emulator.reload()
    files = {"root": str(root_of(site)), "tables": [name]}
    [stream] = site.discover(**_SOURCE, files=files).values()

    done = _sync(site, files=files, catalog={"streams": [stream]})

    assert_copied(done.records(stream["tap_stream_id"]), root_of(site), SOME)
    assert next(root_of(site).iterdir()).name in {"Scans_ v1.0, 20% (new)", ".partial"}


# --- catalog and columns ---------------------------------------------------------------------------------------------


def test_the_catalog_has_the_column_and_both_are_automatic(site: Site) -> None:
    stream = site.discover(**_SOURCE, files={"root": "out"})[STREAM]

    inclusions = {tuple(each["breadcrumb"]): each["metadata"].get("inclusion") for each in stream["metadata"]}
    assert inclusions["properties", FILE_URI] == inclusions["properties", "file_id"] == "automatic"
    assert stream["schema"]["properties"][FILE_URI]["type"] == ["string", "null"]


def test_with_all_else_deselected_files_are_copied(site: Site) -> None:
    """Names, sizes and digests are then those that the server tells with the contents."""
    stream = site.discover(**_SOURCE, files={"root": "out"})[STREAM]
    for entry in stream["metadata"]:
        entry["metadata"]["selected"] = entry["breadcrumb"] == []

    done = _sync(site, catalog={"streams": [stream]})

    assert [set(record) for record in done.records(STREAM)] == [{"file_id", FILE_URI}] * len(SOME)
    names = {file_id: name for name, file_id in ids_of(site).items()}
    assert_copied(
        [{**record, "file_name": names[record["file_id"]]} for record in done.records(STREAM)], root_of(site), SOME
    )


def test_a_catalog_of_before_the_setting_is_refused_in_one_line(site: Site) -> None:
    catalog = {"streams": list(site.discover(**_SOURCE).values())}

    assert "Discover again, with the settings of the run" in error_of(run(_tap(site, catalog=catalog)))
    assert not fetched(site)


def test_a_catalog_of_when_there_was_the_setting_loads_rows_alone(site: Site) -> None:
    catalog = {"streams": list(site.discover(**_SOURCE, files={"root": "out"}).values())}

    done = site.sync(**_SOURCE, catalog=catalog)

    assert len(done.records(STREAM)) == len(SOME)
    assert FILE_URI not in done.records(STREAM)[0]


@pytest.mark.parametrize("encoding", [None, *sampled(ENCODINGS, ["arrow"])])
def test_row_key_and_lineage_stand_beside_it(site: Site, encoding: str | None) -> None:
    more = {"batch_config": batch_config(encoding, site.files / "out", version_columns=False)} if encoding else {}

    done = _sync(site, row_key=True, lineage=True, **more)

    records = _rows_in_files(done) if encoding else done.records(STREAM)
    assert_copied(records, root_of(site), SOME)
    assert {frozenset(record) for record in records} == {frozenset(_properties(done))}
    assert len({record["_redivis_row_key"] for record in records}) == len(SOME)
    assert {record["_redivis_version"] for record in records} == {"v1.0"}


@pytest.mark.parametrize("encoding", [None, *ENCODINGS])
def test_a_stream_map_may_leave_the_column_out(site: Site, encoding: str | None) -> None:
    """And name the stream otherwise; the contents come all the same."""
    maps = {STREAM: {"__alias__": "files", FILE_URI: "__NULL__"}}
    more = {"batch_config": batch_config(encoding, site.files / "out", version_columns=False)} if encoding else {}

    done = _sync(site, stream_maps=maps, **more)

    records = _rows_in_files(done) if encoding else done.records("files")
    [schema] = [each["schema"]["properties"] for each in done.messages if each["type"] == "SCHEMA"]
    assert [set(record) for record in records] == [set(schema)] * len(SOME)
    assert FILE_URI not in schema
    assert sorted(stored(root_of(site)).values()) == sorted(SOME.values())


@pytest.mark.parametrize(
    "more",
    [
        {"stream_maps": {STREAM: {"file_name": "file_name", FILE_URI: FILE_URI, "__else__": None}}},
        {"stream_maps": {STREAM: {"file_name": "file_name", "again": FILE_URI}}},
        {"flattening_enabled": True, "flattening_max_depth": 2},
    ],
    ids=["else", "new column", "flattening"],
)
def test_maps_that_change_rows_have_the_column(site: Site, more: Json) -> None:
    done = _sync(site, **more)

    records = done.records(STREAM)
    assert_copied(records, root_of(site), SOME)
    assert all(record.get("again", record[FILE_URI]) == record[FILE_URI] for record in records)


# --- tables that are no index ----------------------------------------------------------------------------------------

_VISITS = "scans__visits"


@pytest.mark.parametrize("encoding", [None, *sampled(ENCODINGS, ["parquet"])])
@pytest.mark.parametrize("digest", sampled(["x-goog-hash", "content-digest", "none"], ["x-goog-hash"]))
def test_a_variable_may_name_files(site: Site, encoding: str | None, digest: Any) -> None:
    """Their names and sizes are those that the server tells; rows that name one file share it, null names none."""
    rows = {row["id"]: row["file_name"] for row in write_visits(site)}
    options = {"table_options": {"visits": {"file_variable": "scan"}}, "tables": ["demo.scans.visits"], "datasets": []}
    more = {"batch_config": batch_config(encoding, site.files / "out", version_columns=False)} if encoding else {}
    with Emulator(site.folder, rate_limit=UNLIMITED, settings=Settings(file_digest=digest)) as emulator:
        other = replace(site, emulator=emulator)
        done = _sync(other, **options, **more)

        records = _rows_in_files(done) if encoding else done.records(_VISITS)
        assert {record["id"]: record[FILE_URI] is None for record in records} == {
            number: name is None for number, name in rows.items()
        }
        assert_copied(
            [{**each, "file_name": rows[each["id"]]} for each in records if each[FILE_URI]], root_of(site), SOME
        )
        assert len(fetched(other)) == len(SOME)


def test_a_file_that_thousands_of_rows_name_is_asked_for_once(site: Site) -> None:
    file_id = ids_of(site)["two.txt"]
    table = pa.table({"id": range(5000), "Scan": [file_id] * 5000})
    site.release("demo/scans/v1.0/visits", table)
    options = {"table_options": {"visits": {"file_variable": "scan"}}, "tables": ["demo.scans.visits"], "datasets": []}

    done = _sync(site, **options, max_streams=1)

    assert [record[FILE_URI] for record in done.records(_VISITS)] == [
        next(root_of(site).rglob("two.txt")).as_uri()
    ] * 5000
    assert len(fetched(site)) == 1


def test_a_variable_that_is_not_there_is_named(site: Site) -> None:
    write_visits(site)

    done = run(_tap(site, table_options={"visits": {"file_variable": "scans"}}))

    assert "there is no variable scans (did you mean 'scan'?)" in error_of(done)


def test_another_variable_than_the_catalogs_is_taken(site: Site) -> None:
    """Where the settings of the run name none any more, there are no contents."""
    write_visits(site)
    only = {"tables": ["demo.scans.visits"], "datasets": []}
    before = {**only, "table_options": {"visits": {"file_variable": "Scan"}}}
    catalog = {"streams": list(site.discover(**before, files={"root": "out"}).values())}

    done = _sync(site, catalog=catalog, **only)

    assert FILE_URI not in done.records(_VISITS)[0]
    assert not fetched(site)


# --- again -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", [None, "parquet"])
def test_what_is_there_is_not_fetched_again(site: Site, encoding: str | None) -> None:
    """An unchanged table costs nothing; rows that come anew, one look each; a damaged file one request."""
    more = {"batch_config": batch_config(encoding, site.files / "out")} if encoding else {}
    first = _sync(site, **more)
    site.emulator.forget_requests()

    _sync(site, state=first.state, **more)
    assert not site.asked("/rawFiles", "data")
    again = _sync(site, **more)
    assert not site.asked("/rawFiles")
    assert f"{len(SOME)} files" in again.stderr
    [damaged] = root_of(site).rglob("three.txt")
    damaged.write_bytes(b"4" * 3000)
    mended = _sync(site, **more)

    assert len(fetched(site)) == 1
    assert damaged.read_bytes() == SOME["three.txt"]
    assert len(again.records(STREAM)) == len(mended.records(STREAM)) == (0 if encoding else len(SOME))


@pytest.mark.parametrize("change", [{"root": "elsewhere"}, {"name": "{file_id}"}])
def test_files_that_shall_lie_elsewhere_are_copied_though_the_table_is_unchanged(site: Site, change: Json) -> None:
    first = _sync(site)
    files = {**change, **({"root": str(site.files / change["root"])} if "root" in change else {})}

    second = _sync(site, state=first.state, files=files)

    records = second.records(STREAM)
    assert {record["file_name"]: path_of(record[FILE_URI]).read_bytes() for record in records} == SOME
    assert {record[FILE_URI] for record in records}.isdisjoint(record[FILE_URI] for record in first.records(STREAM))


_CHANGED = {**{name: SOME[name] for name in SOME if name != "two.txt"}, "three.txt": b"changed", "zzz.txt": b"new"}


@pytest.mark.parametrize("key", ["file_id", "file_name"])
def test_log_based_fetches_what_changed_and_keeps_the_files_of_rows_that_are_gone(site: Site, key: str) -> None:
    options = {"table_options": {"scans": {"key_properties": [key], "replication_method": "LOG_BASED"}}}
    first = _sync(site, **options)
    gone = next(path_of(each[FILE_URI]) for each in first.records(STREAM) if each["file_name"] == "two.txt")
    write_files(site.folder, _CHANGED, "v1.1")
    site.emulator.reload()
    site.emulator.forget_requests()

    second = _sync(site, state=first.state, **options)

    there = [each for each in second.records(STREAM) if each["_sdc_deleted_at"] is None]
    assert {each["file_name"]: path_of(each[FILE_URI]).read_bytes() for each in there} == {
        "three.txt": b"changed",
        "zzz.txt": b"new",
    }
    vanished = [each for each in second.records(STREAM) if each not in there]
    assert [each[FILE_URI] for each in vanished] == [None] * (2 if key == "file_id" else 1)
    assert gone.read_bytes() == b"two"
    assert len(fetched(site)) == 2


def test_rows_that_are_gone_when_all_are_read_name_no_file(site: Site) -> None:
    """LOG_BASED tells them in RECORDs of their keys, where another root lets all files be copied anew."""
    options = {"table_options": {"scans": {"key_properties": ["file_id"], "replication_method": "LOG_BASED"}}}
    first = _sync(site, **options)
    write_files(site.folder, _CHANGED, "v1.1")
    site.emulator.reload()

    second = _sync(site, state=first.state, root=site.files / "elsewhere", **options)

    gone = [each for each in second.records(STREAM) if each["_sdc_deleted_at"]]
    assert [each[FILE_URI] for each in gone] == [None, None]
    there = [each for each in second.records(STREAM) if each not in gone]
    assert_copied(there, site.files / "elsewhere", _CHANGED)


def test_incremental_fetches_new_files_only(site: Site) -> None:
    """The rows that come again, since their keys are as high, find their files."""
    options = {"table_options": {"scans": {"key_properties": ["file_id"], "replication_key": "file_name"}}}
    first = _sync(site, **options)
    highest = max(SOME)
    write_files(site.folder, {**SOME, highest + "+": b"new"}, "v1.1")
    site.emulator.reload()
    site.emulator.forget_requests()

    second = _sync(site, state=first.state, **options)

    records = {each["file_name"]: path_of(each[FILE_URI]).read_bytes() for each in second.records(STREAM)}
    assert records == {highest: SOME[highest], highest + "+": b"new"}
    assert len(fetched(site)) == 1


# --- the test of a connection ----------------------------------------------------------------------------------------


def test_the_test_of_a_connection_asks_for_one_byte_of_one_file(site: Site) -> None:
    done = run(_tap(site, "--test"))

    assert done.exit_code == 0, done.stderr
    assert [each.headers["range"] for each in fetched(site)] == ["bytes=0-0"]
    assert not root_of(site).exists()


@pytest.mark.parametrize("fault", [None, Fault(kind="status", path="/rawFiles/*", status=503)], ids=["empty", "503"])
def test_it_passes_where_the_first_file_is_empty_or_the_server_busy(site: Site, fault: Fault | None) -> None:
    for path in (site.folder / "demo/scans/v1.0/scans.files").rglob("*"):
        if path.is_file() and fault is None:
            path.write_bytes(b"")
    site.emulator.reload()
    site.emulator.faults.add(*filter(None, [fault]))

    assert run(_tap(site, "--test")).exit_code == 0


def test_it_fails_where_contents_cannot_be_had(site: Site) -> None:
    site.emulator.faults.add(Fault(kind="status", path="/rawFiles/*", status=403, times=None))

    error = error_of(run(_tap(site, "--test")))

    assert "demo.scans" in error
    assert "HTTP 403" in error


# --- what goes wrong -------------------------------------------------------------------------------------------------


def test_a_file_that_is_not_there_ends_its_table_and_no_other(site: Site) -> None:
    """The rows before it are written; once it is there, the next run goes on."""
    write_files(site.folder, {"a.txt": b"a"}, table="photos")
    ids = _in_order(site)
    missing = list(ids)[2]
    site.emulator.faults.add(Fault(kind="status", status=404, path=f"/rawFiles/{ids[missing]}", times=None))

    first = run(_tap(site, max_streams=1))
    error = error_of(first)
    site.emulator.faults.clear()
    site.emulator.forget_requests()
    second = _sync(site, state=first.state, max_streams=1)

    assert f"the file {ids[missing]} ({missing!r}): HTTP 404" in error
    assert "leave the table out of files.tables" in error
    assert [each["file_name"] for each in first.records(STREAM)] == list(ids)[:2]
    assert len(first.records("scans__photos")) == 1
    assert [each["file_name"] for each in second.records(STREAM)] == list(ids)[2:]
    assert not [name for name in stored(root_of(site)) if "partial" in name]
    assert sorted(stored(root_of(site)).values()) == sorted([*SOME.values(), b"a"])
    assert len(fetched(site)) <= 3


def test_a_root_that_cannot_be_made_is_an_error_of_that_setting(site: Site) -> None:
    root_of(site).touch()

    error = error_of(run(_tap(site)))

    assert "a file cannot be written" in error
    assert str(root_of(site)) in error
    assert "batch_config" not in error


def test_a_root_that_is_no_storage_is_an_error_of_that_setting(site: Site) -> None:
    error = error_of(run(_tap(site, files={"root": "ftp://host/files"})))

    assert "files.root: ftp:// is no storage that this tap knows" in error


def test_a_disk_that_takes_no_more_ends_the_table_in_one_line(site: Site) -> None:
    """The rows of the files that there was room for are written, and nothing unfinished stays."""
    program = _tap(site)
    argv = ("sh", "-c", 'ulimit -f 1000; exec "$@"', "sh", *program.argv)  # 500 KiB a file

    done = run(Program(argv, {**program.variables, **NO_BYTECODE}, program.secret))

    error = error_of(done)
    assert "a file cannot be written: file too large" in error
    assert str(root_of(site)) in error
    assert not [name for name in stored(root_of(site)) if "partial" in name]
    assert SOME["deep/er/one.bin"] not in stored(root_of(site)).values()


def test_a_link_out_of_the_root_is_not_followed(site: Site, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    root_of(site).mkdir()
    (root_of(site) / "scans").symlink_to(outside)

    error = error_of(run(_tap(site)))

    assert "files.root: the file name" in error
    assert "leads out of the root" in error
    assert "batch_config" not in error
    assert not stored(outside)


@pytest.mark.parametrize("most", [1, 2])
def test_files_come_over_the_connections_that_are_there(site: Site, most: int) -> None:
    """As many as there are requests at once, and not one for each file."""
    write_files(site.folder, {f"{number}.txt": b"text" for number in range(20)})
    site.emulator.reload()
    program = _tap(site, max_requests=most)

    done = run(replace(program, variables={**program.variables, "TAP_REDIVIS_LOG_LEVEL": "debug"}))

    assert len(fetched(site)) == 20 + len(SOME)
    made = re.findall("Starting new HTTP connection|Resetting dropped connection", done.stderr)
    assert len(made) <= most + 1  # and that of the read stream
