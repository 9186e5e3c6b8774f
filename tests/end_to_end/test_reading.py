"""What comes out of the tap is what lies at the source: every row, every type, whatever the way."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from redivis_emulator import DEFAULT_TOKEN, Emulator, Fault
from redivis_emulator.readings import Readings
from redivis_emulator.service import Settings
from tests.end_to_end.conftest import VISITS
from tests.support.pipes import Json, Output, run
from tests.support.served import Site, assert_same_rows, records_of, visits, write_note, write_table

_FORMATS = ["jsonl", "arrow", "csv"]
_LARGE = visits(6000)

# Retyped variables are text on the wire; this is what they say.
_RETYPED = pa.table(
    {
        "integer": pa.array([1, -(2**63), 2**53 + 1, None], pa.int64()),
        "float": pa.array([0.1, 12.0, -1e300, None], pa.float64()),
        "boolean": pa.array([True, False, True, None], pa.bool_()),
        "date": pa.array([dt.date(2012, 1, 1), dt.date.max, dt.date.min, None], pa.date32()),
        "datetime": ["2012-01-01T12:30:00", "2012-01-01T12:30:00.500000", "0001-01-01T00:00:00", None],
        "time": ["12:30:00", "12:30:00.000001", "23:59:59.999999", None],
    }
)
_LOOSELY_SPELLED = pa.table(
    {
        "date": ["2012-01-05", "2012-01-01", None],
        "datetime": ["2012-01-05T01:02:03.500000", "2012-12-01T01:02:03", None],
        "time": ["01:02:03", "01:02:03.250000", None],
    }
)


@pytest.mark.parametrize("table", ["airlines", "airports", "flights", "planes", "weather"])
def test_every_table_of_the_demo_data_comes_out_row_by_row(demo_site: Site, table: str) -> None:
    """A table's records are its rows, each once."""
    source = pq.read_table(demo_site.folder / f"demo/nycflights13/v1.1/{table}.parquet")

    done = demo_site.sync(tables=[f"demo.nycflights13.{table}"])

    assert_same_rows(done.records(f"nycflights13__{table}"), records_of(source))


@pytest.mark.parametrize("wire_format", _FORMATS)
@pytest.mark.parametrize("table", ["all_types", "odd_values"])
def test_extremes_of_all_types_come_out_exactly(demo_site: Site, table: str, wire_format: str) -> None:
    """The smallest, the largest, the empty and the null; what JSON has no word for is null."""
    source = pq.read_table(demo_site.folder / f"demo/types/{table}.parquet")

    done = demo_site.sync(tables=[f"demo.types.{table}"], wire_format=wire_format)

    assert_same_rows(done.records(f"types__{table}"), records_of(source))


@pytest.mark.parametrize("wire_format", _FORMATS)
@pytest.mark.parametrize(("table", "expected"), [("retyped", _RETYPED), ("loosely_spelled", _LOOSELY_SPELLED)])
def test_variables_that_arrive_as_text_get_their_type(
    demo_site: Site, table: str, expected: pa.Table, wire_format: str
) -> None:
    """A retyped variable is cast, in every spelling that Redivis accepts."""
    done = demo_site.sync(tables=[f"demo.types.{table}"], wire_format=wire_format)

    assert_same_rows(done.records(f"types__{table}"), records_of(expected))


def test_numbers_that_json_has_no_word_for_are_warned_of_once(demo_site: Site) -> None:
    """NaN and the infinities become null, and one line says how many."""
    done = demo_site.sync(tables=["demo.types.odd_values"])

    assert done.stderr.count("3 NaN or infinite values of 'number' written as null") == 1


@pytest.mark.parametrize("max_streams", [1, 4, 8])
@pytest.mark.parametrize("served", [None, 1, 6])
def test_any_number_of_read_streams_gives_the_same_rows(tmp_path: Path, served: int | None, max_streams: int) -> None:
    """However many streams are asked for, and however many there are."""
    write_table(tmp_path, "demo/visits/v1.0/visits", _LARGE)

    with Emulator(tmp_path, settings=Settings(streams=served)) as emulator:
        site = Site(emulator, tmp_path, tmp_path, DEFAULT_TOKEN)
        done = site.sync(max_streams=max_streams)
        read = {request.path for request in site.asked("/readStreams/")}

    assert len(read) == (served or min(max_streams, 6))
    assert_same_rows(done.records("visits__visits"), records_of(_LARGE))


def test_selected_variables_come_out_in_the_tables_order(site: Site) -> None:
    """`variables` of table_options, written in any case, are all that a record has."""
    done = site.sync(table_options={"visits": {"variables": ["COST", "id"]}})

    records = done.records("visits__visits")
    assert list(records[0]) == ["id", "cost"]
    assert_same_rows(records, records_of(VISITS.select(["id", "cost"])))


@pytest.mark.parametrize("settings", [{"max_rows": 30}, {"table_options": {"vis*": {"max_rows": 30}}}])
@pytest.mark.parametrize("too_many", [0, 7])
def test_no_more_rows_than_the_limit_come_out(site: Site, settings: Json, too_many: int) -> None:
    """`max_rows` is exact, also where the server sends a little more (redivis-api §8.1.14)."""
    site.emulator.faults.add(Fault(kind="overshoot", path="*/readSessions", rows=too_many))

    records = site.sync(**settings).records("visits__visits")

    by_id = {record["id"]: record for record in records_of(VISITS)}
    assert len({record["id"] for record in records}) == len(records) == 30
    assert_same_rows(records, [by_id[record["id"]] for record in records])


@pytest.mark.parametrize("dataset", ["nycflights13", "types"])
def test_records_obey_their_schema(demo_site: Site, dataset: str) -> None:
    """Every RECORD validates against the SCHEMA of its stream, formats included (promise 5)."""
    done = demo_site.sync(datasets=[f"demo.{dataset}"], max_rows=1500)

    assert_valid(done)


def test_records_that_were_cast_obey_their_schema(site: Site) -> None:
    """A column that arrives in another type than the catalog's is cast before it goes out (promise 5)."""
    types = {"id": "string", "cost": "string", "paid": "string", "seen_on": "string", "seen_at": "string"}
    site.emulator.faults.add(Fault(kind="retype", path="*/readSessions", types=types))

    done = site.sync()

    assert_valid(done)
    assert_same_rows(done.records("visits__visits"), records_of(VISITS))


@pytest.mark.parametrize(
    "settings",
    [{"stream_maps": {"visits__visits": {"_added": "'constant'"}}}, {"flattening_enabled": True}],
    ids=["stream map", "flattening"],
)
def test_the_sdks_way_gives_the_same_records(site: Site, settings: Json) -> None:
    """Records that go through the SDK's mapper equal those of the fast path, but for what the map adds."""
    mapped = site.sync(**settings, flattening_max_depth=1).records("visits__visits")

    for record in mapped:
        assert record.pop("_added", "constant") == "constant"
    assert_same_rows(mapped, records_of(VISITS))


def test_the_sdks_way_gives_the_same_extremes(demo_site: Site) -> None:
    """Neither integers beyond 2**53 nor the smallest floats lose a digit in the SDK's mapper."""
    source = pq.read_table(demo_site.folder / "demo/types/all_types.parquet")

    done = demo_site.sync(tables=["demo.types.all_types"], flattening_enabled=True, flattening_max_depth=1)

    assert_same_rows(done.records("types__all_types"), records_of(source))


def test_small_public_tables_are_read_without_a_token(demo_site: Site) -> None:
    """Nobody's requests go to `/rows`, and none claims to be somebody's (redivis-api §1.3)."""
    source = pq.read_table(demo_site.folder / "demo/nycflights13/v1.1/planes.parquet")
    anonymous = replace(demo_site, token=None)

    done = anonymous.sync(tables=["demo.nycflights13.planes"])

    assert [request.path.rpartition("/")[2] for request in anonymous.asked("data")] == ["rows"]
    assert not any("authorization" in request.headers for request in anonymous.emulator.requests)
    assert_same_rows(done.records("nycflights13__planes"), records_of(source))


def test_selection_and_limit_hold_without_a_token(demo_site: Site) -> None:
    """`/rows` is asked for no more than a read session would be."""
    anonymous = replace(demo_site, token=None)

    done = anonymous.sync(
        tables=["demo.nycflights13.planes"], max_rows=10, table_options={"planes": {"variables": ["tailnum"]}}
    )

    assert [dict(request.query) for request in anonymous.asked("/rows")] == [
        {"format": "jsonl", "selectedVariables": "tailnum", "maxResults": "10"}
    ]
    assert [list(record) for record in done.records("nycflights13__planes")] == [["tailnum"]] * 10


def test_large_public_tables_take_a_token(site: Site) -> None:
    """The server would refuse their rows; the error says so before any is asked for."""
    note = {"public_access_level": "data", "tables": {"visits": {"num_bytes": 100_000_000}}}
    write_note(site.folder, "demo/visits/dataset.yml", note)
    site.emulator.reload()

    done = run(replace(site, token=None).tap())

    assert done.exit_code == 1
    assert "without a token only tables below 100 MB can be read. Set api_token or REDIVIS_API_TOKEN." in done.stderr
    assert not site.asked("data")


def test_lists_are_read_to_their_last_page(site: Site) -> None:
    """Datasets, tables and variables are whole, though each page holds one (redivis-api §2)."""
    for name in ("doctors", "nurses"):
        site.release(f"demo/visits/v1.0/{name}", VISITS.slice(0, 3))
    site.emulator.faults.add(Fault(kind="page_size", nth="every", size=1))

    done = site.sync(datasets=["demo.*"])

    assert_same_rows(done.records("visits__doctors"), records_of(VISITS.slice(0, 3)))
    assert_same_rows(done.records("visits__nurses"), records_of(VISITS.slice(0, 3)))
    assert_same_rows(done.records("visits__visits"), records_of(VISITS))


def test_names_go_through_unchanged(site: Site) -> None:
    """A variable may be named nearly anything."""
    names = ["Odd Name.é", "SELECT", "päß/\\%(", "with\ttab", 'with "quotes"', "🛫", "x" * 100]
    table = VISITS.select(["id"] * len(names)).rename_columns(names).slice(0, 50)
    site.release("demo/odd/v1.0/names", table)

    done = site.sync(datasets=["demo.odd"])

    assert_same_rows(done.records("odd__names"), records_of(table))


@pytest.mark.parametrize("note", [{"jsonl_nulls": "absent"}, {"jsonl_nulls": "explicit"}])
def test_nulls_may_be_left_out_by_the_server(site: Site, note: Json) -> None:
    """A key that is not there is a null (redivis-api §11.6)."""
    write_note(site.folder, "demo/visits/dataset.yml", {"tables": {"visits": note}})
    site.emulator.reload()

    done = site.sync()

    assert_same_rows(done.records("visits__visits"), records_of(VISITS))


@pytest.mark.parametrize("spelling", ["literal", "string", "null"])
def test_every_spelling_of_nan_is_null(tmp_path: Path, spelling: Any) -> None:
    """Whichever way the server writes what JSON has no word for (redivis-api §11.7)."""
    table = pa.table({"id": [1, 2, 3, 4], "share": [float("nan"), float("inf"), -float("inf"), 0.5]})
    write_table(tmp_path, "demo/visits/v1.0/visits", table)

    with Emulator(tmp_path, readings=Readings(jsonl_non_finite=spelling)) as emulator:
        done = Site(emulator, tmp_path, tmp_path, DEFAULT_TOKEN).sync()

    assert_same_rows(done.records("visits__visits"), records_of(table))


def test_columns_may_come_in_another_order(site: Site) -> None:
    """Columns are found by their names, and records have the catalog's order."""
    site.emulator.faults.add(Fault(kind="columns", path="*/readSessions"))

    records = site.sync().records("visits__visits")

    assert list(records[0]) == VISITS.column_names
    assert_same_rows(records, records_of(VISITS))


def test_a_table_without_rows_is_loaded(site: Site) -> None:
    """No row, perhaps no read stream, is a complete table."""
    site.release("demo/empty/v1.0/empty", VISITS.slice(0, 0))

    done = site.sync(datasets=["demo.empty"])

    assert [message["type"] for message in done.messages] == ["SCHEMA", "ACTIVATE_VERSION", "STATE"]
    assert done.state["bookmarks"]["empty__empty"]["rows"] == 0


def test_uploads_of_a_draft_are_read_as_one_table(site: Site) -> None:
    """The streams of a draft may lack columns: these are null (redivis-api §8.1.12)."""
    full, part = VISITS.slice(0, 40), VISITS.slice(40, 20).select(["seen_on", "id"])
    write_table(site.folder, "demo/visits/next/claims/full", full)
    site.release("demo/visits/next/claims/part", part)

    done = site.sync(tables=["demo.visits:next.claims"])

    nothing: Mapping[str, None] = dict.fromkeys(VISITS.column_names)
    assert_same_rows(
        done.records("visits__claims"),
        [{**nothing, **record} for table in (full, part) for record in records_of(table)],
    )


def test_tables_of_a_workflow_are_read(site: Site) -> None:
    """A workflow's tables have no version, and are read like others."""
    write_note(site.folder, "demo/study/workflow.yml", {"name": "study"})
    site.release("demo/study/result", VISITS.slice(0, 100))

    done = site.sync(workflows=["demo.study"])

    assert_same_rows(done.records("study__result"), records_of(VISITS.slice(0, 100)))


def test_a_zone_is_added_where_it_is_asked_for(site: Site) -> None:
    """`datetime_zone: utc` appends +00:00 to dateTimes, and to nothing else."""
    done = site.sync(datetime_zone="utc")

    expected = [{**record, "seen_at": f"{record['seen_at']}+00:00"} for record in records_of(VISITS)]
    assert_same_rows(done.records("visits__visits"), expected)


def test_times_are_plain_text_in_schema_where_the_user_says_so(demo_site: Site) -> None:
    """`time_format: string` changes SCHEMA, and no record."""
    usual = demo_site.sync(tables=["demo.types.all_types"])
    done = demo_site.sync(tables=["demo.types.all_types"], time_format="string")

    [expected], [found] = (
        [each["schema"]["properties"] for each in output.messages if each["type"] == "SCHEMA"]
        for output in (usual, done)
    )
    assert expected["time"].pop("format") == "time"
    assert found == expected
    assert_same_rows(done.records("types__all_types"), usual.records("types__all_types"))


def test_invalid_values_are_null_where_the_user_says_so(site: Site) -> None:
    """`on_invalid_value: null` goes on, counts and warns."""
    ids = ["1", "two", "3.0", "4.5", None]
    _retyped_ids(site, ids)

    done = site.sync(on_invalid_value="null")

    assert_same_rows(done.records("visits__visits"), [{"id": value} for value in (1, None, 3, None, None)])
    assert done.stderr.count("2 invalid values of 'id' written as null") == 1


def test_characters_that_targets_cannot_hold_are_replaced(site: Site) -> None:
    """U+0000 becomes U+FFFD, counted and warned of."""
    site.release("demo/visits/v1.1/visits", pa.table({"id": [1, 2], "clinic": ["a\0b\0", "plain"]}))

    done = site.sync()

    assert_same_rows(
        done.records("visits__visits"), [{"id": 1, "clinic": "a\ufffdb\ufffd"}, {"id": 2, "clinic": "plain"}]
    )
    assert done.stderr.count("2 invalid characters of 'clinic' replaced by U+FFFD") == 1


def test_nothing_but_messages_goes_to_stdout(site: Site) -> None:
    """Every line is a Singer message of four kinds, each with its stream's name."""
    done = run(site.tap())

    kinds = {message["type"] for message in done.messages}
    assert kinds == {"SCHEMA", "RECORD", "ACTIVATE_VERSION", "STATE"}
    assert {message["stream"] for message in done.messages if message["type"] != "STATE"} == {"visits__visits"}


def _retyped_ids(site: Site, ids: list[str | None]) -> None:
    note = {"tables": {"visits": {"variables": {"id": {"type": "integer", "stored": "string"}}}}}
    write_note(site.folder, "demo/visits/dataset.yml", note)
    site.release("demo/visits/v1.0/visits", pa.table({"id": pa.array(ids, pa.string())}))


def assert_valid(done: Output) -> None:
    """Validate every RECORD, with the formats as targets read them."""
    schemas = {message["stream"]: message["schema"] for message in done.messages if message["type"] == "SCHEMA"}
    checker = jsonschema.FormatChecker(())
    checker.checks("date", ValueError)(lambda text: text is None or dt.date.fromisoformat(text))
    checker.checks("time", ValueError)(lambda text: text is None or dt.time.fromisoformat(text))
    checker.checks("date-time", ValueError)(lambda text: text is None or dt.datetime.fromisoformat(text))
    for stream, schema in schemas.items():
        strict = {**schema, "additionalProperties": False, "required": list(schema["properties"])}
        validator = jsonschema.Draft7Validator(strict, format_checker=checker)
        records = done.records(stream)
        assert records
        for record in records:
            validator.validate(record)
