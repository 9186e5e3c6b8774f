"""The row key and the lineage in whole runs: promise 10, and what a catalog or a state of before makes of them."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Callable
from copy import deepcopy

import pyarrow as pa
import pytest

from redivis_emulator import Fault
from tests.end_to_end.conftest import VISITS
from tests.support.batches import batch_config, with_rows
from tests.support.pipes import Json, Output, Stop, run, run_stopped
from tests.support.served import Site, assert_same_rows, records_of, write_note

_KEY, _TABLE, _VERSION = _ADDED = ("_redivis_row_key", "_redivis_table", "_redivis_version")
_STREAM = "visits__visits"
_KEYS = {"visits": {"key_properties": ["id"]}}
_INCREMENTAL = {"visits": {"key_properties": ["id"], "replication_key": "id"}}


# --- discovery -------------------------------------------------------------------------------------------------------


def test_a_table_without_keys_gets_the_row_key(site: Site) -> None:
    """As its key property, never null, and not to be deselected."""
    stream = site.discover(row_key=True)[_STREAM]

    assert stream["key_properties"] == _metadata(stream)["table-key-properties"] == [_KEY]
    assert stream["schema"]["properties"][_KEY]["type"] == ["string"]
    assert _metadata(stream, _KEY)["inclusion"] == "automatic"
    assert list(stream["schema"]["properties"]) == [*VISITS.column_names, _KEY]


def test_it_is_there_by_default(site: Site) -> None:
    """And the lineage is not."""
    stream = site.discover(row_key=None)[_STREAM]

    assert list(stream["schema"]["properties"]) == [*VISITS.column_names, _KEY]


@pytest.mark.parametrize(
    "settings", [{"table_options": _KEYS}, {"table_options": _INCREMENTAL}, {"row_key": False}], ids=str
)
def test_who_has_keys_or_wants_none_does_not_get_it(site: Site, settings: Json) -> None:
    settings = {"row_key": True, **settings}

    stream = site.discover(**settings)[_STREAM]

    assert list(stream["schema"]["properties"]) == VISITS.column_names
    assert stream["key_properties"] == ([] if settings["row_key"] is False else ["id"])
    assert_same_rows(site.sync(**settings).records(_STREAM), records_of(VISITS))


def test_a_variable_of_its_name_stays_what_it_is(site: Site) -> None:
    """Data that this tap loaded may come back: then the table has no row key, and a warning says so."""
    table = VISITS.append_column(_KEY, pa.array(["old"] * 2000)).append_column(_TABLE.upper(), pa.array(["x"] * 2000))
    site.release("demo/visits/v1.1/visits", table)

    done = site.sync(row_key=True, lineage=True)

    expected = [{**record, _VERSION: "v1.1"} for record in records_of(table)]
    assert_same_rows(done.records(_STREAM), expected)
    assert _schema(done)["key_properties"] == []
    assert done.stderr.count("of its own: the tap's column of that name is left out") == 2
    catalog = {"streams": list(site.discover(row_key=True, lineage=True).values())}
    assert_same_rows(site.sync(catalog=catalog, row_key=True, lineage=True).records(_STREAM), expected)


# --- records ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wire_format", ["jsonl", "arrow", "csv"])
def test_each_row_has_a_key_of_its_own(site: Site, wire_format: str) -> None:
    """Made of the load, the ordinal of the stream, and the offset of the row; nothing else is changed."""
    done = site.sync(row_key=True, wire_format=wire_format)

    records, version = done.records(_STREAM), done.state["bookmarks"][_STREAM]["table_version"]
    keys = {(load, int(ordinal), int(offset)) for load, ordinal, offset in map(_parts, records)}
    rows, [load] = Counter(ordinal for _, ordinal, _ in keys), {load for load, _, _ in keys}
    assert load.startswith(f"{version}-")
    assert rows.keys() == {0, 1, 2, 3}
    assert keys == {(load, ordinal, offset) for ordinal in rows for offset in range(rows[ordinal])}
    assert len(keys) == len(records)
    assert_same_rows(_plain(records), records_of(VISITS))


def test_it_is_not_asked_for(site: Site) -> None:
    """It is no variable, so it is neither transferred nor missed, however the columns are chosen."""
    catalog = site.discover(row_key=True, lineage=True)[_STREAM]
    for name in ("cost", *_ADDED):
        _metadata(catalog, name)["selected"] = False

    done = site.sync(catalog={"streams": [catalog]}, row_key=True, lineage=True)

    [session] = [json.loads(request.body) for request in site.asked("/readSessions")]
    wanted = [name for name in VISITS.column_names if name != "cost"]
    assert session["selectedVariables"] == wanted
    assert {tuple(record) for record in done.records(_STREAM)} == {(*wanted, *_ADDED)}


def test_the_lineage_says_where_a_row_was_read_from(site: Site) -> None:
    """The reference with its version, and the version's tag: which a workflow's table and a query do not have."""
    write_note(site.folder, "demo/study/workflow.yml", {"name": "study"})
    site.release("demo/study/result", VISITS.slice(0, 10))
    query = {"name": "few", "sql": "SELECT id FROM `demo.visits.visits` LIMIT 10"}

    done = site.sync(datasets=["demo.visits"], workflows=["demo.study"], queries=[query], lineage=True, row_key=True)

    found = {
        stream: {(record[_TABLE], record[_VERSION]) for record in done.records(stream)}
        for stream in (_STREAM, "study__result", "few")
    }
    [(visits, tag)], [(result, of_result)], [(few, of_few)] = found.values()
    bookmarks = done.state["bookmarks"]
    assert [visits, result, few] == [bookmarks[stream]["table"] for stream in found]
    assert (tag, of_result, of_few) == ("v1.0", None, None)
    assert ":v1_0." in visits
    assert all(_KEY in record for stream in found for record in done.records(stream))


def test_the_sdks_path_gives_the_same_records(site: Site) -> None:
    """Maps and flattening see the columns as they see variables."""
    plain = site.sync(row_key=True, lineage=True)
    state = next(message["value"] for message in plain.messages if message["type"] == "STATE")

    maps = {_STREAM: {"__filter__": "id % 2 == 0", "key_again": _KEY}}
    mapped = site.sync(state=state, row_key=True, lineage=True, stream_maps=maps)
    flat = site.sync(state=state, row_key=True, lineage=True, flattening_enabled=True, flattening_max_depth=1)

    expected = {record["id"]: record for record in plain.records(_STREAM)}
    assert {record["id"]: record for record in flat.records(_STREAM)} == expected
    for record in mapped.records(_STREAM):
        assert record == {**expected[record["id"]], "key_again": record[_KEY]}
    assert len(mapped.records(_STREAM)) == 1000


def test_a_map_that_keeps_only_what_it_names_keeps_the_key(site: Site) -> None:
    """Unless it names other keys; patterns may match streams with keys and without."""
    site.release("demo/visits/v1.0/others", VISITS.slice(0, 10))
    settings: Json = {"row_key": True, "table_options": {"others": {"key_properties": ["id"]}}}

    done = site.sync(**settings, stream_maps={"*": {"id": "id", "__else__": None}})
    keyed = site.sync(**settings, stream_maps={_STREAM: {"id": "id", "__else__": None, "__key_properties__": ["id"]}})

    assert {tuple(sorted(record)) for record in done.records(_STREAM)} == {(_KEY, "id")}
    assert {tuple(record) for record in done.records("visits__others")} == {("id",)}
    assert {tuple(record) for record in keyed.records(_STREAM)} == {("id",)}


# --- catalogs of before ----------------------------------------------------------------------------------------------


def _as_of_an_older_version(stream: Json) -> None:
    del stream["schema"]["properties"][_KEY]
    stream["key_properties"] = []
    stream["metadata"] = [node for node in stream["metadata"] if node["breadcrumb"] != ["properties", _KEY]]
    _metadata(stream)["table-key-properties"] = []


def _with_own_keys(stream: Json) -> None:
    _metadata(stream)["table-key-properties"] = ["id"]


@pytest.mark.parametrize(
    ("edit", "settings", "keys"),
    [
        (_as_of_an_older_version, {"row_key": True}, [_KEY]),
        (_with_own_keys, {"row_key": True}, ["id"]),
        (lambda _: None, {"row_key": False}, []),
    ],
    ids=["of an older version", "with keys named since", "with the setting off since"],
)
def test_at_sync_the_key_properties_decide(
    site: Site, edit: Callable[[Json], None], settings: Json, keys: list[str]
) -> None:
    """SCHEMA and records agree, whatever the catalog's columns are."""
    stream = site.discover(row_key=True)[_STREAM]
    edit(stream)

    done = site.sync(catalog={"streams": [stream]}, **settings)

    columns = [*VISITS.column_names, *([_KEY] if _KEY in keys else [])]
    assert _schema(done)["key_properties"] == keys
    assert list(_schema(done)["schema"]["properties"]) == columns
    assert {tuple(record) for record in done.records(_STREAM)} == {tuple(columns)}
    assert_same_rows(_plain(done.records(_STREAM)), records_of(VISITS))


def test_incremental_needs_other_keys(site: Site) -> None:
    """The row key tells nothing of the row that was loaded before."""
    stream = site.discover(row_key=True)[_STREAM]
    stream.update(replication_method="INCREMENTAL", replication_key="id")

    done = run(site.tap(catalog={"streams": [stream]}, row_key=True))

    assert done.exit_code == 1
    assert "INCREMENTAL needs key properties" in done.stderr


# --- resumption ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wire_format", ["jsonl", "arrow", "csv"])
def test_a_row_that_is_sent_again_has_the_same_key(site: Site, wire_format: str) -> None:
    """From whatever STATE a load goes on, and also where what kept the state has sorted its keys (promise 10)."""
    settings: Json = {"row_key": True, "wire_format": wire_format, "state_interval_rows": 400}
    first = site.sync(**settings)
    keys = {record["id"]: record[_KEY] for record in first.records(_STREAM)}
    states = [message["value"] for message in first.messages if message["type"] == "STATE"]
    assert len(states) > 3

    for state in states[0], states[len(states) // 2]:
        kept = json.loads(json.dumps(state, sort_keys=True))
        again = site.sync(state=kept, **settings)

        offsets = [position["offset"] for position in _reading({"value": state})["streams"].values()]
        assert len(again.records(_STREAM)) == 2000 - sum(offsets)
        assert all(record[_KEY] == keys[record["id"]] for record in again.records(_STREAM))


def test_a_load_that_is_begun_anew_has_other_keys(site: Site) -> None:
    """Else what is left of the first would take the place of other rows, or stay."""
    first = site.sync(row_key=True, state_interval_rows=400)
    state = _undone(first)
    site.emulator.pass_time(6 * 3600)

    second = site.sync(state=state, row_key=True)

    keys = [{record[_KEY] for record in done.records(_STREAM)} for done in (first, second)]
    assert [len(each) for each in keys] == [2000, 2000]
    assert not keys[0] & keys[1]


def test_no_row_is_written_before_a_state_knows_its_session(site: Site) -> None:
    """Else a run killed at once, and another one in the same second, would give the same keys to other rows."""
    kinds = [message["type"] for message in site.sync(row_key=True).messages]

    assert kinds[:3] == ["SCHEMA", "STATE", "RECORD"]


@pytest.mark.parametrize(("before", "after"), [({}, {"row_key": True}), ({"row_key": True}, {"lineage": True})])
def test_rows_without_the_columns_are_not_gone_on_from(site: Site, before: Json, after: Json) -> None:
    """Neither in the middle of a load nor from a complete one: all rows are read, under a higher version."""
    site.emulator.faults.add(Fault(kind="stall", path="/readStreams/*", nth="every", at_row=300))
    stop = Stop(signal.SIGTERM, after_lines=1 + 1 + 4 * 300)
    first = run_stopped(site.tap(max_streams=4, **before), stop)
    site.emulator.faults.clear()
    complete = site.sync(**before)

    for state in first.state, complete.state:
        second = site.sync(state=state, **before, **after)

        assert_same_rows(_plain(second.records(_STREAM)), records_of(VISITS))
        bookmark = state["bookmarks"][_STREAM]
        last = bookmark.get("reading", bookmark)["table_version"]
        assert second.state["bookmarks"][_STREAM]["table_version"] > last


def test_a_state_of_before_row_keys_is_gone_on_from_where_there_are_none(site: Site) -> None:
    """One without ordinals, as earlier versions of this tap wrote it."""
    first = site.sync(state_interval_rows=400, table_options=_KEYS, row_key=True)
    state = _undone(first)
    for position in _reading({"value": state})["streams"].values():
        del position["ordinal"]

    second = site.sync(state=state, table_options=_KEYS, row_key=True)

    offsets = [position["offset"] for position in _reading({"value": state})["streams"].values()]
    assert len(second.records(_STREAM)) == 2000 - sum(offsets)


@pytest.mark.parametrize("of_batch", [False, True])
def test_two_sessions_give_no_row_the_same_key(site: Site, *, of_batch: bool) -> None:
    """Also under one Singer version, as runs that begin in one second have it; nor have their files the same name."""
    state: Json = {"bookmarks": {_STREAM: {"table_version": 2_000_000_000}}}
    settings: Json = {"row_key": True}
    if of_batch:
        settings["batch_config"] = batch_config("jsonl", site.files / "out")

    loads = [site.sync(state=state, max_streams=streams, **settings) for streams in (2, 3)]

    messages = [[each for message in done.messages for each in with_rows(message)] for done in loads]
    first, second = ({each["record"][_KEY] for each in some if each["type"] == "RECORD"} for some in messages)
    assert {done.state["bookmarks"][_STREAM]["table_version"] for done in loads} == {2_000_000_001}
    assert (len(first), len(second), len(first | second)) == (2000, 2000, 4000)


def test_a_load_that_an_older_version_began_keeps_its_keys(site: Site) -> None:
    """Rows that the target has already would come again under other keys."""
    state = _undone(site.sync(row_key=True, state_interval_rows=400))
    reading = _reading({"value": state})
    del reading["row_key"]

    done = site.sync(state=state, row_key=True)

    assert {_parts(record)[0] for record in done.records(_STREAM)} == {str(reading["table_version"])}


def _parts(record: Json) -> list[str]:
    """Split a row key: what stands for the load, the ordinal, the offset."""
    parts: list[str] = record[_KEY].rsplit("-", 2)
    return parts


def _metadata(stream: Json, *column: str) -> Json:
    breadcrumb = ["properties", *column] if column else []
    found: Json
    [found] = [node["metadata"] for node in stream["metadata"] if node["breadcrumb"] == breadcrumb]
    return found


def _schema(done: Output) -> Json:
    return next(message for message in done.messages if message["type"] == "SCHEMA")


def _reading(message: Json) -> Json:
    reading: Json = message["value"]["bookmarks"][_STREAM]["reading"]
    return reading


def _undone(done: Output) -> Json:
    """Return a STATE from the middle of a load."""
    states = [message["value"] for message in done.messages if message["type"] == "STATE"]
    return deepcopy(states[1])


def _plain(records: list[Json]) -> list[Json]:
    """Leave out the columns that were added."""
    return [{name: value for name, value in record.items() if name not in _ADDED} for record in records]
