"""The data dictionary: what it says, what it costs, and what a warehouse holds of it after several runs."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from redivis_emulator import Emulator, Fault
from redivis_emulator.access import Token
from tap_redivis.singer.dictionary.topics import TOPICS, VALUE_LABELS
from tests.end_to_end.conftest import UNLIMITED, VISITS
from tests.support.pipes import Json, Output, Stop, pipe, run, run_stopped, target
from tests.support.postgres import Postgres
from tests.support.served import Site, write_note, write_table

_TOPICS = [topic.stream for topic in TOPICS]
_KEYS = {topic.stream: topic.keys for topic in TOPICS}
_LOW_ACCESS = "low-access-token"
_QUERY = {"name": "payments", "sql": "SELECT paid, COUNT(*) AS visits FROM `demo.visits.visits` GROUP BY paid"}
_EVERYTHING = {"datasets": ["demo.visits", "demo.drugs"], "workflows": ["demo.study"], "queries": [_QUERY]}
_LABELS = {
    "value_labels": {True: "Paid in full", False: "Not yet paid"},
    "label": "Paid?",
    "description": "At the desk",
}


@pytest.fixture
def clinic(tmp_path: Path) -> Iterator[Site]:
    """A Redivis with two datasets, whose tables are documented, and a workflow; two tables have one name."""
    write_table(tmp_path, "demo/visits/v1.0/visits", VISITS.slice(0, 20))
    write_table(tmp_path, "demo/visits/v1.0/doctors", VISITS.slice(0, 5).select(["id", "clinic"]))
    write_table(tmp_path, "demo/drugs/v1.0/visits", VISITS.slice(0, 3).select(["id", "cost"]))
    write_table(tmp_path, "demo/study/result", VISITS.slice(0, 5).select(["id", "paid"]))
    write_note(tmp_path, "demo/study/workflow.yml", {"name": "study"})
    _document(tmp_path, _LABELS)
    drugs = {"tables": {"visits": {"variables": {"id": {"value_labels": {0: "First", 1: "Second"}}}}}}
    write_note(tmp_path, "demo/drugs/dataset.yml", drugs)
    tokens = {_LOW_ACCESS: Token(access={"demo.drugs": "overview"})}
    with Emulator(tmp_path, rate_limit=UNLIMITED, tokens=tokens) as emulator:
        yield Site(emulator, tmp_path, tmp_path, emulator.token)


def test_it_is_in_the_catalog_like_every_stream(clinic: Site) -> None:
    """Selectable, with keys and with a description of each column; without the setting it is not there."""
    streams = clinic.discover(include_dictionary=True)

    assert [name for name in streams if name.startswith("redivis_")] == _TOPICS
    for name in _TOPICS:
        stream = streams[name]
        columns = stream["schema"]["properties"]
        assert (stream["key_properties"], stream["replication_method"]) == (list(_KEYS[name]), "FULL_TABLE")
        assert stream["metadata"][-1]["metadata"]["selected"]
        assert all(column["description"] and "null" in column["type"] for column in columns.values())
        assert set(_KEYS[name]) <= columns.keys()
    assert not clinic.discover().keys() & set(_TOPICS)


def test_it_speaks_of_all_that_the_settings_name(clinic: Site) -> None:
    """Rows obey their SCHEMA, their keys are unique, and they lead to each other by them."""
    done = clinic.sync(include_dictionary=True, **_EVERYTHING)

    rows = {name: done.records(name) for name in _TOPICS}
    for schema in (message for message in done.messages if message["type"] == "SCHEMA" and message["stream"] in rows):
        validator = jsonschema.Draft7Validator(schema["schema"], format_checker=jsonschema.FormatChecker())
        for row in rows[schema["stream"]]:
            validator.validate(row)
            assert row.keys() == schema["schema"]["properties"].keys()
    for name, keys in _KEYS.items():
        kinds = [message["type"] for message in done.messages if message.get("stream") == name]
        assert kinds == ["SCHEMA", *["RECORD"] * len(rows[name]), "ACTIVATE_VERSION"]
        assert len({tuple(row[key] for key in keys) for row in rows[name]}) == len(rows[name]) > 0
    tables = {row["stream"]: row for row in rows["redivis_tables"]}
    assert {name: (row["kind"], row["version_tag"]) for name, row in tables.items()} == {
        "visits__visits": ("table", "v1.0"),
        "visits__doctors": ("table", "v1.0"),
        "drugs__visits": ("table", "v1.0"),
        "study__result": ("table", None),
        "payments": ("query", None),
    }
    datasets = {row["reference"] for row in rows["redivis_datasets"]}
    assert {row["dataset_reference"] for row in [*rows["redivis_tables"], *rows["redivis_versions"]]} <= {
        *datasets,
        None,
    }
    written = {name: list(_schema(done, name)["properties"]) for name in tables}
    for name, columns in written.items():
        own = [row for row in rows["redivis_variables"] if row["stream"] == name]
        assert [row["variable"] for row in sorted(own, key=lambda row: row["position"])] == columns


def test_value_labels_meet_the_values(clinic: Site) -> None:
    """A label's text is that of the value, in the stream and the column that the value is in."""
    done = clinic.sync(include_dictionary=True, **_EVERYTHING)

    labels = {
        (row["stream"], row["variable"], row["value"]): row["label"] for row in done.records("redivis_value_labels")
    }
    assert labels == {
        ("visits__visits", "paid", "true"): "Paid in full",
        ("visits__visits", "paid", "false"): "Not yet paid",
        ("drugs__visits", "id", "0"): "First",
        ("drugs__visits", "id", "1"): "Second",
    }


def test_a_stream_map_that_renames_a_stream_is_followed(clinic: Site) -> None:
    """The dictionary names the table that the rows went to."""
    done = clinic.sync(include_dictionary=True, stream_maps={"visits__visits": {"__alias__": "seen"}})

    assert "seen" in {row["stream"] for row in done.records("redivis_tables")}
    assert {row["stream"] for row in done.records("redivis_value_labels")} == {"seen"}


def test_stream_maps_work_on_it(clinic: Site) -> None:
    """A column more, others away: the SDK's own path."""
    maps = {"redivis_value_labels": {"both": "value + ' ' + label", "owner": None}}

    done = clinic.sync(include_dictionary=True, stream_maps=maps)

    rows = done.records("redivis_value_labels")
    assert {row["both"] for row in rows} == {"true Paid in full", "false Not yet paid"}
    assert not any("owner" in row for row in rows)


def test_deselected_columns_are_not_written(clinic: Site) -> None:
    """Nor are columns written that the tap adds to rows of tables."""
    catalog = _catalog(clinic, include_dictionary=True)
    [labels] = [stream for stream in catalog["streams"] if stream["tap_stream_id"] == "redivis_value_labels"]
    _deselect(labels, "owner")

    done = clinic.sync(catalog=catalog, include_dictionary=True, lineage=True, row_key=True)

    columns = _schema(done, "redivis_value_labels")["properties"].keys()
    assert columns == {column.name for column in VALUE_LABELS.columns} - {"owner"}
    assert all("owner" not in row and row["label"] for row in done.records("redivis_value_labels"))


def test_an_unchanged_run_asks_two_things_of_a_dataset(clinic: Site) -> None:
    """The dataset and its tables, which the tables' own streams need anyway; STATE stays as it is."""
    settings: Json = {"include_dictionary": True, "datasets": ["demo.visits", "demo.drugs"]}
    catalog = _catalog(clinic, **settings)
    first = clinic.sync(catalog=catalog, **settings)
    clinic.emulator.forget_requests()

    second = clinic.sync(catalog=catalog, state=first.state, **settings)

    assert len(clinic.emulator.requests) == 4
    assert {message["type"] for message in second.messages} == {"SCHEMA", "STATE"}
    assert second.state == first.state


def test_only_what_changed_is_asked_for_again(clinic: Site) -> None:
    """A new version of one dataset: the variables of the other are not asked for, and its rows stay."""
    settings: Json = {"include_dictionary": True, **_EVERYTHING}
    first = clinic.sync(**settings)
    clinic.emulator.forget_requests()
    more = VISITS.slice(0, 30).append_column("note", VISITS.slice(0, 30)["clinic"])
    clinic.release("demo/visits/v1.1/visits", more)
    clinic.release("demo/visits/v1.1/doctors", VISITS.slice(0, 5).select(["id", "clinic"]))
    catalog = _catalog(clinic, **settings)
    clinic.emulator.forget_requests()

    second = clinic.sync(state=first.state, catalog=catalog, **settings)

    assert not [request.path for request in clinic.asked("/variables/") if "drugs" in request.path]
    assert "redivis_variables" not in _activated(second)
    _assert_as_if_new(clinic, settings, first, second)


@pytest.mark.parametrize("change", ["variable", "label", "label moved", "table", "dataset"])
def test_what_is_gone_is_removed(clinic: Site, change: str) -> None:
    """Only all rows under a new version can tell a target what is gone; then they all come."""
    settings: Json = {"include_dictionary": True, "datasets": ["demo.visits", "demo.drugs"]}
    first = clinic.sync(**settings)
    doctors = VISITS.slice(0, 5).select(["id", "clinic"])
    if change == "variable":
        clinic.release("demo/visits/v2.0/visits", VISITS.slice(0, 20).drop_columns(["cost"]))
        clinic.release("demo/visits/v2.0/doctors", doctors)
    elif change == "table":
        clinic.release("demo/visits/v2.0/visits", VISITS.slice(0, 20))
    elif change == "dataset":
        settings["datasets"] = ["demo.visits"]
    else:
        kept = {False: "Not yet"} if change == "label" else {"yes": "Paid in full", False: "Not yet"}
        _document(clinic.folder, {**_LABELS, "value_labels": kept}, updated_at=1_800_000_000_000)
        clinic.emulator.reload()

    second = clinic.sync(state=first.state, **settings)

    gone_from = "redivis_value_labels" if change.startswith("label") else "redivis_variables"
    assert gone_from in _activated(second)
    _assert_as_if_new(clinic, settings, first, second)


def test_documentation_that_was_edited_is_written_again(clinic: Site) -> None:
    """It needs no new version of the dataset; the dataset's time of change tells."""
    settings: Json = {"include_dictionary": True}
    first = clinic.sync(**settings)
    _document(clinic.folder, {**_LABELS, "label": "Is it paid?"}, updated_at=1_800_000_000_000)
    clinic.emulator.reload()

    second = clinic.sync(state=first.state, **settings)

    assert {row["label"] for row in second.records("redivis_variables")} >= {"Is it paid?"}
    assert not second.records("visits__visits")
    _assert_as_if_new(clinic, settings, first, second)


def test_a_table_that_failed_is_still_held_in_its_old_version(clinic: Site) -> None:
    """What was loaded is what the state says, not what the server has."""
    first = clinic.sync(include_dictionary=True)
    clinic.release("demo/visits/v1.1/visits", VISITS.slice(0, 30))
    clinic.emulator.faults.add(Fault(kind="status", status=403, path="*/r*", nth="every"))

    second = run(clinic.tap(state=first.state, include_dictionary=True))

    [table] = [row for row in second.records("redivis_tables") if row["stream"] == "visits__visits"]
    assert second.exit_code == 1
    assert (table["version_tag"], table["loaded_version_tag"], table["loaded_row_count"]) == ("v1.1", "v1.0", 20)


def test_what_may_not_be_seen_is_left_out(clinic: Site) -> None:
    """A log line, no error; the rest is there."""
    low = replace(clinic, token=_LOW_ACCESS)

    done = low.sync(include_dictionary=True, datasets=["demo.visits", "demo.drugs"])

    assert "data dictionary: variables of demo.drugs" in done.stderr
    assert {row["dataset"] for row in done.records("redivis_datasets")} == {"visits", "drugs"}
    assert {row["dataset"] for row in done.records("redivis_variables")} == {"visits"}
    [drugs] = [row for row in done.records("redivis_tables") if row["dataset"] == "drugs"]
    assert "needs 'data'" in drugs["unreadable"]


def test_an_interrupted_writing_goes_on(clinic: Site) -> None:
    """Tables that were described before the interruption are not asked for again, and the version is the same."""
    for number in range(20):
        write_table(clinic.folder, f"demo/many/v1.0/t{number}", VISITS.slice(0, 1).select(["id", "paid"]))
    clinic.emulator.reload()
    settings: Json = {"include_dictionary": True, "datasets": ["demo.many"], "state_interval_seconds": 600}
    catalog = _catalog(clinic, **settings)
    catalog["streams"] = [each for each in catalog["streams"] if each["tap_stream_id"] == "redivis_variables"]
    clinic.emulator.faults.add(Fault(kind="stall", path="*/variables/paid", nth=18))
    # SCHEMA, then two RECORDs of each of the 16 tables that are asked for together.
    first = run_stopped(clinic.tap(catalog=catalog, **settings), Stop(signal.SIGTERM, after_lines=1 + 16 * 2))
    clinic.emulator.faults.clear()
    clinic.emulator.forget_requests()

    second = clinic.sync(catalog=catalog, state=first.state, **settings)

    assert first.exit_code == 128 + signal.SIGTERM
    assert (len(first.records("redivis_variables")), len(second.records("redivis_variables"))) == (32, 8)
    versions = {each["version"] for done in (first, second) for each in done.messages if "version" in each}
    assert len(versions) == 1
    assert len(clinic.asked("/variables/")) == 8


@pytest.mark.parametrize(
    "damage", [{"parts": 5}, {"parts": {"x": {"rows": -1}}}, {"parts": {}, "table_version": "now"}]
)
def test_a_damaged_bookmark_is_dropped(clinic: Site, damage: Json) -> None:
    state = {"bookmarks": {"redivis_value_labels": damage}}

    done = clinic.sync(include_dictionary=True, state=state)

    assert "the bookmark is damaged" in done.stderr
    assert len(done.records("redivis_value_labels")) == 2


def test_a_catalog_that_has_it_needs_the_setting(clinic: Site) -> None:
    catalog = _catalog(clinic, include_dictionary=True)

    done = run(clinic.tap(catalog=catalog))

    assert done.exit_code == 1
    assert "Set include_dictionary to true, or deselect the stream" in done.stderr


def test_it_can_be_loaded_whole_only(clinic: Site) -> None:
    """There is no key to go by: what changed is found otherwise."""
    catalog = _catalog(clinic, include_dictionary=True)
    for stream in catalog["streams"]:
        if stream["tap_stream_id"] == "redivis_tables":
            stream.update(replication_method="INCREMENTAL", replication_key="stream")

    done = run(clinic.tap(catalog=catalog, include_dictionary=True))

    assert done.exit_code == 1
    assert "catalog, stream redivis_tables: replication method INCREMENTAL is not available" in done.stderr


def test_a_stream_that_maps_remove_costs_nothing(clinic: Site) -> None:
    """Neither in a run nor in a plan."""
    settings: Json = {"include_dictionary": True, "stream_maps": {"redivis_versions": "__NULL__"}}

    done = clinic.sync(**settings)
    planned = run(clinic.tap("--plan=json", **settings))

    assert not done.records("redivis_versions")
    assert not clinic.asked("/versions")
    [plan] = [each for each in json.loads(planned.stdout)["streams"] if each["stream"] == "redivis_versions"]
    assert (plan["action"], plan["reason"]) == ("skip", "a stream map removes all its records")


@pytest.mark.parametrize(
    ("deselected", "now", "reason"),
    [
        (None, {"skip_unchanged": False}, "skip_unchanged is off"),
        ("owner", {}, "the selected columns changed"),
    ],
    ids=["on request", "a column more"],
)
def test_all_rows_are_written_anew(clinic: Site, deselected: str | None, now: Json, reason: str) -> None:
    """Though nothing has changed at the source; under a version of their own, which is activated."""
    catalog = _catalog(clinic, include_dictionary=True)
    catalog["streams"] = [each for each in catalog["streams"] if each["tap_stream_id"] == "redivis_tables"]
    wide = deepcopy(catalog)
    if deselected:
        _deselect(catalog["streams"][0], deselected)
    first = clinic.sync(catalog=catalog, include_dictionary=True)

    second = clinic.sync(catalog=wide, state=first.state, include_dictionary=True, **now)

    assert len(second.records("redivis_tables")) == 2
    assert _activated(second) == {"redivis_tables"}
    assert f"all rows are written: {reason}" in second.stderr


def test_settings_hold_for_it_too(clinic: Site) -> None:
    """The zone of times, characters that stay, no versions in messages, STATE as often as is asked for, `tables`."""
    note = {"description": "null \x00 byte", "tables": {"visits": {"variables": {"paid": _LABELS}}}}
    write_note(clinic.folder, "demo/visits/dataset.yml", note)
    clinic.emulator.reload()
    settings: Json = {
        "include_dictionary": True,
        "tables": ["demo.visits.visits"],
        "datetime_zone": "utc",
        "replace_invalid_characters": False,
        "emit_activate_version_messages": False,
        "state_interval_seconds": 1e-9,
    }

    done = clinic.sync(**settings)

    [dataset] = done.records("redivis_datasets")
    assert dataset["description"] == "null \x00 byte"
    assert dataset["updated_at"].endswith("+00:00")
    assert {row["stream"] for row in done.records("redivis_variables")} == {"visits__visits"}
    assert not _activated(done)
    kinds = [message["type"] for message in done.messages if message.get("stream", "redivis_datasets") in _TOPICS]
    assert kinds.count("STATE") > 2 * len(_TOPICS)
    assert not any("version" in message for message in done.messages if message["type"] == "RECORD")


def test_a_dataset_is_described_as_the_server_does(clinic: Site) -> None:
    """Tags, labels, links, times and places, spelled as objects or as texts; what is odd is left out."""
    said = {
        "tags": [{"name": "health"}, "open", 5, {"name": None}],
        "labels": [],
        "links": [{"title": "Paper", "url": "https://example.org"}, {"url": "https://example.com"}, "odd"],
        "temporalRange": [1_325_376_000_000, 10**30],
        "geoBBox": {"westLongitude": -122.5, "eastLongitude": "east"},
    }
    clinic.emulator.faults.add(Fault(kind="json", path="/datasets/demo.visits", set=said, nth="every"))
    labels = [
        {"value": True, "label": "Paid"},
        {"value": None, "label": "Unknown"},
        {"value": 1.5, "label": "More"},
        {"value": True, "label": "Again"},
        "odd",
    ]
    clinic.emulator.faults.add(Fault(kind="json", path="*/variables/paid", set={"valueLabels": labels}, nth="every"))

    done = clinic.sync(include_dictionary=True)

    [dataset] = done.records("redivis_datasets")
    assert (dataset["tags"], dataset["labels"]) == ("health, open", None)
    assert dataset["links"] == "Paper https://example.org\nhttps://example.com"
    assert (dataset["temporal_start"], dataset["temporal_end"]) == ("2012-01-01T00:00:00", None)
    assert (dataset["west"], dataset["east"], dataset["north"]) == (-122.5, None, None)
    assert [(row["value"], row["label"]) for row in done.records("redivis_value_labels")] == [
        ("true", "Paid"),
        ("1.5", "More"),
    ]


def test_versions_are_told_as_far_as_they_may_be_seen(clinic: Site) -> None:
    """One that was deleted has no notes to ask for; where notes or a list are refused, the rest is there."""
    clinic.release("demo/visits/v1.1/visits", VISITS.slice(0, 21))
    clinic.release("demo/visits/v1.2/visits", VISITS.slice(0, 22))
    versions = {"v1.0": {"is_deleted": True}, "v1.2": {"release_notes": "More."}}
    write_note(clinic.folder, "demo/visits/dataset.yml", {"versions": versions})
    clinic.emulator.reload()
    clinic.emulator.faults.add(
        Fault(kind="status", status=403, path="/datasets/demo.visits*/versions/v1_1", nth="every"),
        Fault(kind="status", status=403, path="/datasets/demo.drugs*/versions", nth="every"),
        Fault(kind="status", status=403, path="*/variables/paid", nth="every"),
    )

    done = clinic.sync(include_dictionary=True, datasets=["demo.visits", "demo.drugs"])

    rows = {(row["dataset"], row["version_tag"]): row for row in done.records("redivis_versions")}
    assert {key: (row["is_deleted"], row["release_notes"]) for key, row in rows.items()} == {
        ("visits", "v1.0"): (True, None),
        ("visits", "v1.1"): (False, None),
        ("visits", "v1.2"): (False, "More."),
    }
    for what in (
        "versions of demo.drugs",
        "release notes of demo.visits",
        "description and value labels of demo.visits",
    ):
        assert f"data dictionary: {what}" in done.stderr


def test_it_can_be_had_without_the_data(clinic: Site) -> None:
    """With only its streams selected, no row of a table is asked for."""
    catalog = _catalog(clinic, include_dictionary=True)
    catalog["streams"] = [each for each in catalog["streams"] if each["tap_stream_id"] in _TOPICS]

    done = clinic.sync(catalog=catalog, include_dictionary=True)

    assert len(done.records("redivis_variables")) == 8
    assert not clinic.asked("data")


def test_a_warehouse_reads_values_by_their_labels(clinic: Site, postgres: Postgres) -> None:
    """In PostgreSQL: labels joined to values, and the version that is held, cited; after a second version too."""
    settings: Json = {"include_dictionary": True, "datasets": ["demo.visits", "demo.drugs"]}
    settings["table_options"] = {"visits": {"key_properties": ["id"]}}
    url = postgres.url.replace("postgresql://", "postgresql+psycopg://")
    sink = target(
        "meltanolabs-target-postgres",
        clinic.files,
        {"sqlalchemy_url": url, "default_target_schema": "public", "hard_delete": True},
    )

    first = pipe(clinic.tap(**settings), sink)
    cited_first = postgres.query(_CITATION)
    clinic.release("demo/visits/v2.0/visits", VISITS.slice(0, 30).drop_columns(["cost"]))
    second = pipe(clinic.tap(state=first.target.state, **settings), sink)

    for done in (first, second):
        assert (done.tap.exit_code, done.target.exit_code) == (0, 0), done.tap.stderr + done.target.stderr
    values = VISITS.slice(0, 30)
    words = {True: "Paid in full", False: "Not yet paid", None: None}
    assert postgres.query(_JOINED) == [
        (number, words[paid]) for number, paid in zip(values["id"].to_pylist(), values["paid"].to_pylist(), strict=True)
    ]
    assert cited_first == [("10.1234/visits", "v1.0", "2023-11-14 22:13:20")]
    assert postgres.query(_CITATION) == [("10.1234/visits", "v2.0", "2023-11-15 22:13:20")]
    held = {
        name for (name,) in postgres.query("SELECT variable FROM redivis_variables WHERE stream = 'visits__visits'")
    }
    assert held == set(VISITS.column_names) - {"cost"}


_JOINED = """
    SELECT visits.id, labels.label FROM visits__visits AS visits LEFT JOIN redivis_value_labels AS labels
    ON labels.stream = 'visits__visits' AND labels.variable = 'paid' AND labels.value = visits.paid::text
    ORDER BY visits.id
"""
_CITATION = """
    SELECT versions.doi, versions.version_tag, versions.released_at::text FROM redivis_tables AS tables
    JOIN redivis_versions AS versions ON versions.dataset_reference = tables.dataset_reference
    AND versions.version_tag = tables.loaded_version_tag WHERE tables.stream = 'visits__visits'
"""


def _document(folder: Path, paid: Json, updated_at: int | None = None) -> None:
    note = {
        "doi": "10.1234/visits",
        "description": "Who came when",
        "updated_at": updated_at,
        "versions": {"v1.0": {"label": "First", "release_notes": "It begins."}},
        "tables": {"visits": {"description": "One row a visit", "variables": {"paid": paid}}},
    }
    write_note(folder, "demo/visits/dataset.yml", note)


def _catalog(site: Site, **settings: Any) -> Json:
    return {"streams": list(deepcopy(site.discover(**settings)).values())}


def _deselect(stream: Json, column: str) -> None:
    [entry] = [each for each in stream["metadata"] if each["breadcrumb"] == ["properties", column]]
    entry["metadata"]["selected"] = False


def _schema(done: Output, stream: str) -> Json:
    [schema] = [each["schema"] for each in done.messages if each["type"] == "SCHEMA" and each["stream"] == stream]
    return dict(schema)


def _activated(done: Output) -> set[str]:
    return {message["stream"] for message in done.messages if message["type"] == "ACTIVATE_VERSION"}


def _assert_as_if_new(site: Site, settings: Json, *runs: Output) -> None:
    """Compare what a warehouse holds after some runs with what it would hold after a first one now."""
    site.emulator.faults.clear()
    held, new = _held(runs), _held([site.sync(**settings)])
    for row in [*held["redivis_tables"].values(), *new["redivis_tables"].values()]:
        row.pop("loaded_at")
    assert held == new


def _held(runs: Sequence[Output]) -> dict[str, dict[tuple[Any, ...], Json]]:
    """Do as a warehouse that upserts by key, and removes older versions when a new one is activated."""
    held: dict[str, dict[tuple[Any, ...], tuple[int, Json]]] = {name: {} for name in _TOPICS}
    for message in (message for done in runs for message in done.messages):
        name = message.get("stream")
        if message["type"] == "RECORD" and name in held:
            key = tuple(message["record"][part] for part in _KEYS[name])
            held[name][key] = (message["version"], dict(message["record"]))
        elif message["type"] == "ACTIVATE_VERSION" and name in held:
            held[name] = {key: each for key, each in held[name].items() if each[0] >= message["version"]}
    return {name: {key: row for key, (_, row) in rows.items()} for name, rows in held.items()}
