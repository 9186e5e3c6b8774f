"""BATCH: files instead of RECORDs, of which the same is promised: exact, complete or not done, resumable."""

from __future__ import annotations

import datetime as dt
import json
import re
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from redivis_emulator import Fault
from tests.end_to_end.conftest import VISITS
from tests.support.batches import (
    ENCODINGS,
    all_records_in,
    batch_config,
    files_of,
    records_in,
    records_of_files,
    table_in,
    table_of_files,
)
from tests.support.pipes import NO_BYTECODE, Json, Output, Program, run
from tests.support.running import forked
from tests.support.served import Site, assert_same_rows, records_of, visits, write_note

_STREAM = "visits__visits"
_BY_SESSION = {"num_bytes": 10**6}  # not small enough to be read without a session
_AS_TEXT = {"type": "integer", "stored": "string"}
_COMPRESSION = {"arrow": {}, "parquet": {"compression": "zstd"}, "jsonl": {"compression": "gzip"}}
_TYPES = "demo.types.all_types"

_each_way = pytest.mark.parametrize("encoding", ENCODINGS)


@_each_way
def test_the_files_hold_the_table(site: Site, encoding: str) -> None:
    """All rows, in files of as many rows as were allowed; no RECORD, and nothing is left under another name."""
    done = site.sync(batch_config=_config(site, encoding, batch_size=300))

    files = files_of(done.messages)
    assert_same_rows(records_of_files(files), records_of(VISITS))
    assert all(len(records_in(path)) <= 300 for path in files)
    assert _kinds(done) == {"SCHEMA", "BATCH", "STATE", "ACTIVATE_VERSION"}
    assert _left(site) == set(files)
    [message, *_] = [each for each in done.messages if each["type"] == "BATCH"]
    assert message["encoding"] == {"format": encoding, **_COMPRESSION[encoding]}


@_each_way
def test_each_message_comes_as_its_file_is_complete_and_a_state_with_it(
    site: Site,
    encoding: str,
) -> None:
    """The rows that STATE speaks of are those of the files before it; ACTIVATE_VERSION comes after the last."""
    done = site.sync(batch_config=_config(site, encoding, batch_size=200))

    rows = 0
    for before, message in zip(done.messages, done.messages[1:], strict=False):
        if before["type"] == "BATCH":
            rows += len(records_of_files(files_of([before])))
            assert message["type"] == "STATE"
            assert _rows_said(message["value"]) == rows
    assert [message["type"] for message in done.messages[-2:]] == ["ACTIVATE_VERSION", "STATE"]
    assert rows == done.state["bookmarks"][_STREAM]["rows"] == 2000


# --- types and values ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["arrow", "parquet"])
def test_types_and_values_are_those_of_the_source(demo_site: Site, encoding: str) -> None:
    """All eight types at their extremes: int64, microseconds, year 0001, WKT; the version columns beside them."""
    source = pq.read_table(demo_site.folder / "demo/types/all_types.parquet")

    done = demo_site.sync(tables=[_TYPES], batch_config=_config(demo_site, encoding))

    assert table_of_files(files_of(done.messages)).sort_by("row").equals(source)


@pytest.mark.parametrize("wire_format", ["jsonl", "arrow", "csv"])
def test_json_lines_are_the_records(demo_site: Site, wire_format: str) -> None:
    """What is in a file is what would be in RECORD messages, in each wire format."""
    settings: Json = {"tables": [_TYPES], "wire_format": wire_format}

    records = demo_site.sync(**settings).records("types__all_types")
    done = demo_site.sync(**settings, batch_config=_config(demo_site, "jsonl"))

    assert_same_rows(records_of_files(files_of(done.messages)), records)


@pytest.mark.parametrize("encoding", ["arrow", "parquet"])
@pytest.mark.parametrize("table", ["retyped", "loosely_spelled"])
def test_what_is_text_on_the_wire_is_cast(demo_site: Site, table: str, encoding: str) -> None:
    """The columns have the declared types, and the values that RECORDs have."""
    records = demo_site.sync(tables=[f"demo.types.{table}"]).records(f"types__{table}")

    done = demo_site.sync(tables=[f"demo.types.{table}"], batch_config=_config(demo_site, encoding))

    found = table_of_files(files_of(done.messages))
    types = {"integer": pa.int64(), "float": pa.float64(), "boolean": pa.bool_(), "date": pa.date32()}
    types |= {"datetime": pa.timestamp("us"), "time": pa.time64("us")}
    assert {field.name: field.type for field in found.schema} == {name: types[name] for name in found.schema.names}
    assert_same_rows(records_of(found), records)


def test_numbers_that_json_does_not_have_stay(demo_site: Site) -> None:
    """NaN and infinities are null in RECORDs and JSON Lines; Arrow and Parquet have them."""
    done = demo_site.sync(tables=["demo.types.odd_values"], batch_config=_config(demo_site, "parquet"))

    found = table_of_files(files_of(done.messages))["number"].to_pylist()
    assert sorted(map(repr, found)) == ["-0.0", "-inf", "None", "inf", "nan"]
    assert "NaN" not in done.stderr


def test_date_times_get_a_zone_on_request(demo_site: Site) -> None:
    done = demo_site.sync(tables=[_TYPES], datetime_zone="utc", batch_config=_config(demo_site, "arrow"))

    path, *_ = files_of(done.messages)
    assert table_in(path).schema.field("datetime").type == pa.timestamp("us", "UTC")


def test_characters_that_targets_cannot_take_are_replaced(site: Site) -> None:
    """U+0000 becomes U+FFFD with a warning, unless the settings say otherwise."""
    site.release("demo/visits/v1.1/visits", pa.table({"text": ["a\0b", "plain"]}))

    replaced = site.sync(batch_config=_config(site, "arrow"))
    left = site.sync(batch_config=_config(site, "parquet"), replace_invalid_characters=False)

    assert {row["text"] for row in records_of_files(files_of(replaced.messages))} == {"a\ufffdb", "plain"}
    assert "1 invalid characters of 'text' replaced" in replaced.stderr
    assert {row["text"] for row in records_of_files(files_of(left.messages))} == {"a\0b", "plain"}


def _polars(path: Path) -> list[tuple[Any, ...]]:
    read = {".arrow": lambda: pl.read_ipc(path), ".parquet": lambda: pl.read_parquet(path)}
    frame: pl.DataFrame = read.get(path.suffix, lambda: pl.read_ndjson(path))()
    return frame.rows()


def _duckdb(path: Path) -> list[tuple[Any, ...]]:
    if path.suffix == ".parquet":
        return duckdb.read_parquet(str(path)).fetchall()
    if path.suffix == ".arrow":
        return duckdb.from_arrow(table_in(path)).fetchall()
    return duckdb.read_json(str(path)).fetchall()


@pytest.mark.parametrize("read", [_polars, _duckdb])
@pytest.mark.parametrize("encoding", ["arrow", "parquet"])
def test_others_read_the_files(demo_site: Site, encoding: str, read: Callable[[Path], list[tuple[Any, ...]]]) -> None:
    """Polars and DuckDB find the values of the source, all eight types at their extremes."""
    source = pq.read_table(demo_site.folder / "demo/types/all_types.parquet")
    done = demo_site.sync(tables=[_TYPES], batch_config=_config(demo_site, encoding, version_columns=False))

    found = [row for path in files_of(done.messages) for row in read(path)]
    expected = list(zip(*(column.to_pylist() for column in source.columns), strict=True))
    assert sorted(found, key=lambda row: row[0]) == expected


@pytest.mark.parametrize("read", [_polars, _duckdb])
def test_others_read_json_lines(site: Site, read: Callable[[Path], list[tuple[Any, ...]]]) -> None:
    """With gzip; dates and times are text there, which DuckDB takes for what they are."""
    done = site.sync(batch_config=_config(site, "jsonl", version_columns=False))

    found = [tuple(map(_text, row)) for path in files_of(done.messages) for row in read(path)]
    expected = [tuple(map(_text, row.values())) for row in records_of(VISITS)]
    assert sorted(found, key=str) == sorted(expected, key=str)


def _text(value: Any) -> Any:
    return value.isoformat() if isinstance(value, (dt.date, dt.datetime)) else value


# --- selection, maps, limits, keys -----------------------------------------------------------------------------------


def test_deselected_variables_are_neither_transferred_nor_written(site: Site) -> None:
    stream = site.discover()[_STREAM]
    for entry in stream["metadata"]:
        entry["metadata"]["selected"] = entry["breadcrumb"][-1:] in ([], ["id"], ["paid"])

    done = site.sync(catalog={"streams": [stream]}, batch_config=_config(site, "parquet"))

    assert table_of_files(files_of(done.messages)).column_names == ["id", "paid"]
    [opened] = site.asked("/readSessions")
    assert json.loads(opened.body)["selectedVariables"] == ["id", "paid"]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_aliases_and_removed_columns_are_honoured(site: Site, encoding: str) -> None:
    """They hold for SCHEMA, files, messages and file names; what is removed is not transferred."""
    maps = {_STREAM: {"__alias__": "calls", "clinic": "__NULL__", "cost": None}}

    done = site.sync(stream_maps=maps, batch_config=_config(site, encoding))

    files = files_of(done.messages)
    expected = records_of(VISITS.drop_columns(["clinic", "cost"]))
    assert_same_rows(records_of_files(files), expected)
    assert {message["stream"] for message in done.messages if "stream" in message} == {"calls"}
    assert all(path.name.startswith("calls-") for path in files)
    [schema] = [message["schema"] for message in done.messages if message["type"] == "SCHEMA"]
    assert list(schema["properties"]) == list(all_records_in(files[0])[0])
    assert json.loads(site.asked("/readSessions")[0].body)["selectedVariables"] == list(expected[0])


def test_a_stream_that_a_map_removes_is_not_read(site: Site) -> None:
    done = site.sync(stream_maps={_STREAM: "__NULL__"}, batch_config=_config(site, "arrow"))

    assert _kinds(done) <= {"STATE"}
    assert not site.asked("data")


@pytest.mark.parametrize(
    "stream_map", [{"id": "id + 1"}, {"__filter__": "id > 5"}, {"new": "id"}, {"__else__": None, "id": "id"}]
)
def test_maps_that_would_change_rows_are_refused(site: Site, stream_map: Json) -> None:
    """In words, before anything is read."""
    done = run(site.tap(stream_maps={_STREAM: stream_map}, batch_config=_config(site, "jsonl")))

    assert done.exit_code == 1
    assert "BATCH files take of stream maps only" in _error(done)
    assert not site.asked("data")


def test_a_second_stream_of_a_map_is_refused(site: Site) -> None:
    maps = {"copy": {"__source__": _STREAM}}

    done = run(site.tap(stream_maps=maps, batch_config=_config(site, "jsonl")))

    assert done.exit_code == 1
    assert "to more than one stream" in _error(done)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_limit_of_rows_is_kept_exactly(site: Site, encoding: str) -> None:
    """Though several read streams write files of their own at once."""
    site.emulator.faults.add(Fault(kind="json", path="*/readSessions", add={"numRows": 1}))  # the server sends more

    done = site.sync(max_rows=777, batch_config=_config(site, encoding, batch_size=100))

    rows = records_of_files(files_of(done.messages))
    assert len(rows) == len({row["id"] for row in rows}) == 777


@_each_way
def test_incremental_loads_go_on_from_the_highest_key(
    site: Site,
    encoding: str,
) -> None:
    """The key's highest value is found in what the files hold."""
    settings: Json = {
        "table_options": {"visits": {"key_properties": ["id"], "replication_key": "seen_at"}},
        "batch_config": _config(site, encoding),
    }
    first = site.sync(**settings)
    site.release("demo/visits/v1.1/visits", visits(2300))

    second = site.sync(state=first.state, **settings)

    assert first.state["bookmarks"][_STREAM]["replication_key_value"] == records_of(VISITS)[-1]["seen_at"]
    assert {row["id"] for row in records_of_files(files_of(second.messages))} == set(range(1999, 2300))
    assert second.state["bookmarks"][_STREAM]["replication_key_value"] == records_of(visits(2300))[-1]["seen_at"]
    assert "ACTIVATE_VERSION" not in _kinds(second)


# --- versions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_rows_say_which_load_they_are_of(site: Site, encoding: str) -> None:
    """The SCHEMA has the columns too, so that targets keep them."""
    done = site.sync(batch_config=_config(site, encoding))

    [activated] = [message["version"] for message in done.messages if message["type"] == "ACTIVATE_VERSION"]
    records = [record for path in files_of(done.messages) for record in all_records_in(path)]
    assert {(each["_sdc_table_version"], each["_redivis_version"]) for each in records} == {(activated, "v1.0")}
    [schema] = [message["schema"]["properties"] for message in done.messages if message["type"] == "SCHEMA"]
    assert list(schema) == list(records[0])


@_each_way
def test_the_columns_that_records_get_are_in_files_too(
    site: Site,
    encoding: str,
) -> None:
    """The row key, which tells each row of a load apart however the files are cut, and the lineage."""
    files = _config(site, encoding, batch_size=123)
    done = site.sync(row_key=True, lineage=True, batch_config=files)

    [schema] = [message for message in done.messages if message["type"] == "SCHEMA"]
    [activated] = [message["version"] for message in done.messages if message["type"] == "ACTIVATE_VERSION"]
    records = [record for path in files_of(done.messages) for record in all_records_in(path)]
    keys = {tuple(each["_redivis_row_key"].rsplit("-", 2)) for each in records}
    [load] = {load for load, _, _ in keys}
    assert schema["key_properties"] == ["_redivis_row_key"]
    assert schema["schema"]["properties"].keys() == records[0].keys()
    assert len(keys) == 2000
    assert load.startswith(f"{activated}-")
    assert {stream for _, stream, _ in keys} == {"0", "1", "2", "3"}
    assert {each["_redivis_table"] for each in records} == {done.state["bookmarks"][_STREAM]["table"]}
    assert {each["_redivis_version"] for each in records} == {"v1.0"}


def test_log_based_is_refused(site: Site) -> None:
    """Files cannot tell of deleted rows."""
    options = {"visits": {"key_properties": ["id"], "replication_method": "LOG_BASED"}}

    done = run(site.tap(table_options=options, batch_config=_config(site, "jsonl")))

    assert done.exit_code == 1
    assert "LOG_BASED and BATCH do not go together" in _error(done)


def test_without_version_columns_nothing_tells_targets_to_remove_rows(site: Site) -> None:
    """They would remove all, or none: it is said in the log."""
    done = site.sync(batch_config=_config(site, "jsonl", version_columns=False))

    assert "ACTIVATE_VERSION" not in _kinds(done)
    assert not any("version" in message for message in done.messages)
    assert "the rows of earlier loads stay in the target" in done.stderr


def test_a_table_with_a_column_of_that_name_is_refused(site: Site) -> None:
    site.release("demo/visits/v1.1/visits", pa.table({"id": [1], "_REDIVIS_version": ["x"]}))

    done = run(site.tap(batch_config=_config(site, "arrow")))

    assert done.exit_code == 1
    assert "a column '_REDIVIS_version' of its own" in _error(done)


# --- what goes wrong -------------------------------------------------------------------------------------------------


@_each_way
def test_a_stopped_load_leaves_no_unfinished_file_and_goes_on(
    site: Site,
    encoding: str,
) -> None:
    """SIGTERM: STATE last, exit 143; the second run brings the rest, and each row once."""
    settings: Json = {"batch_config": _config(site, encoding, batch_size=100)}
    site.emulator.faults.add(Fault(kind="stall", path="/readStreams/*", nth="every", at_row=250))

    with (
        forked(site.tap(**settings)) as running,
        open(running.stdout, "rb", closefd=False) as stdout,
    ):
        written = [stdout.readline() for _ in range(17)]  # SCHEMA, eight files with STATE
        running.kill(signal.SIGTERM)
        first = running.end(b"".join([*written, *stdout]))
    site.emulator.faults.clear()
    assert first.messages[-1]["type"] == "STATE"
    assert _left(site) == set(files_of(first.messages))
    second = site.sync(state=first.state, **settings)

    assert first.exit_code == 143
    assert len(records_of_files(files_of(first.messages))) == _rows_said(first.state) == 800
    assert_same_rows(records_of_files([*files_of(first.messages), *files_of(second.messages)]), records_of(VISITS))
    assert _left(site) == {*files_of(first.messages), *files_of(second.messages)}


def test_an_invalid_value_ends_the_table_after_the_rows_before_it(
    site: Site,
) -> None:
    """They are in a file that a STATE speaks of; nothing says that the table is complete."""
    site.release("demo/visits/v1.1/visits", pa.table({"id": ["1"] * 29 + ["three"]}))
    write_note(
        site.folder,
        "demo/visits/dataset.yml",
        {"versions": {"v1.1": {"tables": {"visits": _BY_SESSION | {"variables": {"id": _AS_TEXT}}}}}},
    )
    site.emulator.reload()

    failed = run(site.tap(batch_config=_config(site, "arrow")))
    written = [row["id"] for row in records_of_files(files_of(failed.messages))]  # the next run may use their names
    nulls = site.sync(batch_config=_config(site, "arrow"), on_invalid_value="null")

    assert failed.exit_code == 1
    [place] = re.findall(r"row (\d+) of its read stream", _error(failed))
    [reading] = [bookmark["reading"] for bookmark in failed.state["bookmarks"].values()]
    # The other read streams may have come to their ends before.
    assert written == [1] * _rows_said(failed.state)
    assert {"offset": int(place), "done": False}.items() in [
        {key: stream[key] for key in ("offset", "done")}.items() for stream in reading["streams"].values()
    ]
    assert "ACTIVATE_VERSION" not in _kinds(failed)
    assert Counter(row["id"] for row in records_of_files(files_of(nulls.messages))) == {1: 29, None: 1}


def test_rows_that_are_missing_end_the_table(site: Site) -> None:
    """Complete or not done: one row short, and there is no ACTIVATE_VERSION."""
    write_note(
        site.folder, "demo/visits/dataset.yml", {"versions": {"v1.0": {"tables": {"visits": {"num_rows": 2001}}}}}
    )
    site.emulator.reload()
    site.emulator.faults.add(Fault(kind="json", path="*/readSessions", add={"numRows": 1}))
    site.emulator.read_as("sentinel=never")

    done = run(site.tap(batch_config=_config(site, "parquet")))

    assert done.exit_code == 1
    assert "2,000 rows arrived of 2,001" in _error(done)
    assert "ACTIVATE_VERSION" not in _kinds(done)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_disk_that_takes_no_more_ends_the_table_in_one_line(site: Site, encoding: str) -> None:
    """It says where; what was complete before is there, and nothing unfinished."""
    program = site.tap(batch_config=_config(site, encoding))
    argv = ("sh", "-c", 'ulimit -f 8; exec "$@"', "sh", *program.argv)  # 4 KiB a file

    done = run(Program(argv, {**program.variables, **NO_BYTECODE}, program.secret))

    assert done.exit_code == 1
    assert "a BATCH file cannot be written: file too large" in _error(done)
    assert str(site.files / "out") in _error(done)
    assert "Traceback" not in done.stderr
    assert not _left(site)


def test_a_root_that_cannot_be_made_is_an_error_in_one_line(site: Site) -> None:
    (site.files / "out").touch()

    done = run(site.tap(batch_config=_config(site, "jsonl")))

    assert done.exit_code == 1
    assert "a BATCH file cannot be written" in _error(done)
    assert not site.asked("/readStreams/")


def test_unfinished_files_of_killed_runs_are_removed(site: Site) -> None:
    partial = site.files / "out/.partial/0123456789abcdef"
    partial.mkdir(parents=True)
    (partial / "lock").touch()
    (partial / "0123456789abcdef.partial").write_text("half")

    done = site.sync(batch_config=_config(site, "jsonl"))

    assert _left(site) == set(files_of(done.messages))


def test_anonymous_reading_writes_files_too(site: Site) -> None:
    """Through /rows, which has no read streams."""
    write_note(site.folder, "demo/visits/dataset.yml", {"public_access_level": "data"})
    site.emulator.reload()
    anonymous = Site(site.emulator, site.folder, site.files, None)

    done = anonymous.sync(batch_config=_config(site, "parquet"))

    assert_same_rows(records_of_files(files_of(done.messages)), records_of(VISITS))


def test_the_test_of_a_connection_writes_no_file(site: Site) -> None:
    done = run(site.tap("--test", batch_config=_config(site, "arrow")))

    assert done.exit_code == 0, done.stderr
    assert not _left(site)


def _config(site: Site, encoding: str, **settings: object) -> Json:
    return batch_config(encoding, site.files / "out", **settings)


def _left(site: Site) -> set[Path]:
    """List all files below the root, unfinished ones too."""
    return {path for path in (site.files / "out").rglob("*") if path.is_file()}


def _kinds(done: Output) -> set[str]:
    return {message["type"] for message in done.messages}


def _rows_said(state: Json) -> int:
    bookmark = state["bookmarks"][_STREAM]
    if "reading" not in bookmark:
        return int(bookmark["rows"])
    return sum(position["offset"] for position in bookmark["reading"]["streams"].values())


def _error(done: Output) -> str:
    [error] = [line for line in done.stderr.splitlines() if "| ERROR " in line]
    return error


@pytest.mark.parametrize("encoding", ["arrow", "parquet"])
def test_files_say_where_their_rows_are_from(site: Site, encoding: str) -> None:
    """By the read session, a target knows those that it has; how many there are, the file itself tells."""
    done = site.sync(batch_config=_config(site, encoding, batch_size=1000), state_interval_rows=1)

    states = [each["value"]["bookmarks"]["visits__visits"] for each in done.messages if each["type"] == "STATE"]
    reading = states[0]["reading"]
    rows_before: Counter[int] = Counter()
    for path in files_of(done.messages):
        table = pq.read_table(path) if encoding == "parquet" else pa.ipc.open_file(path.read_bytes()).read_all()
        said = json.loads(table.schema.metadata[b"tap_redivis"])
        assert (said["stream"], said["session"]) == ("visits__visits", reading["session"])
        assert said["table_version"] == reading["table_version"]
        assert said["offset"] == rows_before[said["ordinal"]]
        rows_before[said["ordinal"]] += table.num_rows
    assert len(rows_before) > 1
    assert rows_before.total() == len(VISITS)
