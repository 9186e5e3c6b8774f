"""The catalog says what there is, and a sync asks for no more than the catalog selects."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest

from redivis_emulator import Emulator, Fault
from redivis_emulator.access import Token
from tests.end_to_end.conftest import UNLIMITED, VISITS
from tests.support.pipes import Json, Output, run
from tests.support.served import Site, assert_same_rows, records_of, streams_of, visits, write_note, write_table

_INT64 = {"type": ["integer", "null"], "minimum": -(2**63), "maximum": 2**63 - 1}
_LOW_ACCESS = "low-access-token"
_LONG = "a_name_of_a_table_that_is_much_longer_than_sql_databases_like_it"


@pytest.fixture
def clinic(tmp_path: Path) -> Iterator[Site]:
    """A Redivis with two owners, three datasets and a workflow; two tables are called `visits`."""
    for place in ("demo/visits/v1.0/visits", "demo/visits/v1.0/doctors", "demo/drugs/v1.0/prices", "lab/visits/visits"):
        write_table(tmp_path, place, VISITS.slice(0, 10))
    write_table(tmp_path, "demo/visits/v1.1/visits", VISITS.slice(0, 20))
    write_table(tmp_path, "demo/study/result", VISITS.slice(0, 5))
    write_note(tmp_path, "demo/study/workflow.yml", {"name": "study"})
    tokens = {_LOW_ACCESS: Token(access={"demo.drugs": "metadata"})}
    with Emulator(tmp_path, rate_limit=UNLIMITED, tokens=tokens) as emulator:
        yield Site(emulator, tmp_path, tmp_path, emulator.token)


def test_every_type_has_its_json_schema(demo_site: Site) -> None:
    """Eight types, all nullable (design §4)."""
    stream = demo_site.discover(tables=["demo.types.all_types"])["types__all_types"]

    assert stream["schema"]["properties"] == {
        "row": _INT64,
        "string": {"type": ["string", "null"]},
        "integer": _INT64,
        "float": {"type": ["number", "null"]},
        "boolean": {"type": ["boolean", "null"]},
        "date": {"type": ["string", "null"], "format": "date"},
        "datetime": {"type": ["string", "null"], "format": "date-time"},
        "time": {"type": ["string", "null"], "format": "time"},
        "geography": {"type": ["string", "null"]},
    }


def test_labels_and_descriptions_are_in_the_catalog(demo_site: Site) -> None:
    """A variable's label is its title; tables and variables bring their descriptions."""
    stream = demo_site.discover(tables=["demo.nycflights13.flights"])["nycflights13__flights"]

    delay = stream["schema"]["properties"]["dep_delay"]
    assert delay["title"] == "Departure delay in minutes; negative: early"
    assert delay["description"] == "Null where the flight was cancelled."
    assert stream["schema"]["description"] == "All flights that departed from New York City in 2013"


def test_ordered_variables_may_be_replication_keys(demo_site: Site) -> None:
    """What has no order, a boolean or a shape, is not offered."""
    stream = demo_site.discover(tables=["demo.types.all_types"])["types__all_types"]

    keys = _root(stream)["valid-replication-keys"]
    assert keys == ["row", "string", "integer", "float", "date", "datetime", "time"]


def test_key_properties_come_from_table_options(clinic: Site) -> None:
    """They are in the catalog, and in the SCHEMA of a sync; without options there are none, said as []."""
    options = {"vis*": {"key_properties": ["id"]}}

    streams = clinic.discover(table_options=options)
    done = clinic.sync(table_options=options)

    assert {name: stream["key_properties"] for name, stream in streams.items()} == {
        "visits__visits": ["id"],
    }
    assert _root(streams["visits__visits"])["table-key-properties"] == ["id"]
    assert done.messages[0]["key_properties"] == ["id"]
    assert clinic.sync().messages[0]["key_properties"] == []


def test_tables_that_may_not_be_read_are_listed_with_the_reason(clinic: Site) -> None:
    """Metadata access shows a table; it is not selected, and the catalog says why."""
    low = replace(clinic, token=_LOW_ACCESS)

    streams = low.discover(datasets=["demo.*"])

    prices, ours = _root(streams["drugs__prices"]), _root(streams["visits__visits"])
    assert (prices["selected"], prices["selected-by-default"]) == (False, False)
    assert "'metadata'" in prices["unreadable"]
    assert streams["drugs__prices"]["schema"]["properties"].keys() == set(VISITS.column_names)
    assert (ours["selected"], ours["selected-by-default"]) == (True, True)


def test_tables_that_may_not_be_read_cost_a_sync_no_failure(clinic: Site) -> None:
    """A glob over datasets loads what can be read and leaves out the rest, with a warning."""
    low = replace(clinic, token=_LOW_ACCESS)

    done = low.sync(datasets=["demo.*"])

    assert streams_of(done) == {"visits__visits"}
    assert "drugs" in done.stderr
    assert not [request for request in low.asked("data") if "drugs" in request.path]


@pytest.mark.parametrize(
    ("settings", "streams"),
    [
        ({"datasets": ["demo.*"]}, {"visits__visits", "drugs__prices"}),
        ({"datasets": ["demo.d?ugs"]}, {"drugs__prices"}),
        ({"datasets": ["DEMO.Visits"]}, {"visits__visits"}),
        ({"datasets": ["demo.visits:v1_0"]}, {"visits__visits", "visits__doctors"}),
        ({"tables": ["demo.visits:v1.0.*"]}, {"visits__visits", "visits__doctors"}),
        ({"tables": ["demo.visits:v1_0.d*", "demo.drugs.prices"]}, {"visits__doctors", "drugs__prices"}),
        ({"workflows": ["demo.study"]}, {"study__result"}),
        ({"tables": ["demo.study.result"]}, {"study__result"}),
        ({"datasets": ["demo.visits", "demo.visits"], "tables": ["demo.visits.visits"]}, {"visits__visits"}),
    ],
)
def test_settings_name_tables_in_many_ways(clinic: Site, settings: Json, streams: set[str]) -> None:
    """Globs, workflows, pinned versions, any case; a table that is named twice is one stream."""
    assert clinic.discover(**settings).keys() == streams


@pytest.mark.parametrize("reference", ["demo.visits:v1_0", "demo.visits:v1.0"])
def test_a_pinned_version_stays(clinic: Site, reference: str) -> None:
    """What the user pinned is read at that version, whatever is current."""
    done = clinic.sync(tables=[f"{reference}.visits"])

    assert_same_rows(done.records("visits__visits"), records_of(VISITS.slice(0, 10)))
    assert done.state["bookmarks"]["visits__visits"]["version_tag"] == "v1.0"


def test_a_pinned_version_stays_pinned_in_the_catalog(clinic: Site) -> None:
    """A catalog of a pinned version reads that version; one of an unpinned dataset follows the current one."""
    pinned, current = (
        {"streams": list(clinic.discover(tables=[table]).values())}
        for table in ("demo.visits:v1_0.visits", "demo.visits.visits")
    )
    clinic.release("demo/visits/v1.2/visits", VISITS.slice(0, 30))

    assert len(clinic.sync(catalog=pinned).records("visits__visits")) == 10
    assert len(clinic.sync(catalog=current).records("visits__visits")) == 30


def test_an_unknown_version_is_an_error(clinic: Site) -> None:
    """The server would silently offer the current one (redivis-api §3.1)."""
    found = run(clinic.tap("--discover", datasets=["demo.visits:v7_0"]))

    assert (found.exit_code, found.stdout) == (1, b"")
    assert "there is no version v7_0; the server offers v1.1" in found.stderr


def test_two_tables_with_one_name_are_an_error_that_helps(clinic: Site) -> None:
    """The error proposes the owner in the name, and what it proposes works."""
    both = ["demo.visits", "lab.visits"]

    found = run(clinic.tap("--discover", datasets=both))
    mended = clinic.discover(datasets=both, stream_name_format="{owner}__{dataset}__{table}")

    assert (found.exit_code, found.stdout) == (1, b"")
    assert "{owner}__{dataset}__{table}" in found.stderr
    assert mended.keys() == {"demo__visits__visits", "lab__visits__visits"}


def test_long_names_are_cut_to_what_databases_hold(clinic: Site) -> None:
    """At most 63 characters, still different from each other, the same in every run."""
    for end in ("1", "2"):
        clinic.release(f"demo/long/v1.0/{_LONG}_{end}", VISITS.slice(0, 3))

    names, again = clinic.discover(datasets=["demo.long"]), clinic.discover(datasets=["demo.long"])

    assert names.keys() == again.keys()
    assert [len(name) for name in names] == [63, 63]
    assert streams_of(clinic.sync(datasets=["demo.long"])) == names.keys()


def test_names_that_targets_cannot_hold_are_warned_of(clinic: Site) -> None:
    """Variables that differ only in case, or look like a target's own columns, are named on stderr."""
    columns = ["Id", "id", "_sdc_batched_at"]
    clinic.release("demo/odd/v1.0/odd", VISITS.select(["id", "cost", "paid"]).rename_columns(columns))

    found = run(clinic.tap("--discover", datasets=["demo.odd"]))

    assert "Id, id differ only in case" in found.stderr
    assert "_sdc_batched_at" in found.stderr


def test_deselected_tables_cost_no_request(clinic: Site) -> None:
    """With a catalog, nothing is asked of a dataset whose tables are all deselected (promise 9)."""
    catalog = _catalog(clinic, ["demo.visits:v1_0", "demo.drugs"])
    _select(catalog, "visits__visits", (), selected=False)
    _select(catalog, "drugs__prices", (), selected=False)
    clinic.emulator.forget_requests()

    done = clinic.sync(catalog=catalog)

    assert_same_rows(done.records("visits__doctors"), records_of(VISITS.slice(0, 10)))
    assert streams_of(done) == {"visits__doctors"}
    assert not clinic.asked("drugs")
    assert not [request for request in clinic.asked("/tables/") if "doctors" not in request.path]


@pytest.mark.parametrize("way", ["session", "rows"])
def test_deselected_variables_are_not_transferred(clinic: Site, way: str) -> None:
    """The server is asked for the selected variables only, and records have no others (promise 9)."""
    catalog = _catalog(clinic, ["demo.visits"])
    for name in ("clinic", "seen_at"):
        _select(catalog, "visits__visits", ("properties", name), selected=False)

    if way == "session":
        write_note(clinic.folder, "demo/visits/dataset.yml", {"tables": {"visits": {"num_bytes": 10**6}}})
        clinic.emulator.reload()

    done = clinic.sync(catalog=catalog)

    kept = ["id", "cost", "paid", "seen_on"]
    [request] = clinic.asked("/readSessions", "/rows")
    names = json.loads(request.body or "{}").get("selectedVariables") or request.query["selectedVariables"].split(",")
    assert names == kept
    assert request.path.endswith("/rows") == (way == "rows")
    assert list(done.messages[0]["schema"]["properties"]) == kept
    assert_same_rows(done.records("visits__visits"), records_of(VISITS.slice(0, 20).select(kept)))


def test_a_sync_with_a_catalog_asks_for_one_table_only_once(clinic: Site) -> None:
    """Dataset, its tables, the variables, the rows: no discovery (promise 9)."""
    catalog = _catalog(clinic, ["demo.visits"])
    clinic.emulator.forget_requests()

    clinic.sync(catalog=catalog, datasets=["demo.*", "lab.*"])

    kinds = [request.path.rpartition("/")[2] for request in clinic.emulator.requests]
    assert len(kinds) == 4
    assert kinds[1:] == ["tables", "variables", "rows"]


def test_a_catalog_that_selects_nothing_asks_for_nothing(clinic: Site) -> None:
    """There is nothing to do: no request, a warning, exit 0."""
    catalog = _catalog(clinic, ["demo.visits"])
    _select(catalog, "visits__visits", (), selected=False)
    clinic.emulator.forget_requests()

    done = clinic.sync(catalog=catalog)

    assert not clinic.emulator.requests
    assert "selects no stream" in done.stderr


def test_a_catalog_by_another_hand_is_matched_by_stream_names(clinic: Site) -> None:
    """A catalog that lacks `table_name`, as an orchestrator may write it, is read all the same."""
    catalog = _catalog(clinic, ["demo.visits"])
    for stream in catalog["streams"]:
        del stream["table_name"]

    done = clinic.sync(catalog=catalog)

    assert len(done.records("visits__visits")) == 20


@pytest.mark.parametrize("change", ["fail", "warn"])
def test_a_catalog_that_no_longer_fits_is_found_out(clinic: Site, change: str) -> None:
    """`on_schema_change` decides whether a lost variable is an error, or null with a warning."""
    catalog = _catalog(clinic, ["demo.visits"])
    clinic.release("demo/visits/v1.2/visits", visits(5).drop_columns(["cost"]))

    done = run(clinic.tap(catalog=catalog, on_schema_change=change))

    assert "variable 'cost' is gone" in done.stderr
    assert done.exit_code == (1 if change == "fail" else 0)
    expected = [] if change == "fail" else [{**record, "cost": None} for record in records_of(visits(5))]
    assert_same_rows(done.records("visits__visits"), expected)


def _catalog(site: Site, datasets: list[str]) -> Json:
    return {"streams": list(deepcopy(site.discover(datasets=datasets)).values())}


def _select(catalog: Json, stream: str, breadcrumb: tuple[str, ...], *, selected: bool) -> None:
    [entry] = [each for each in catalog["streams"] if each["tap_stream_id"] == stream]
    [metadata] = [each for each in entry["metadata"] if each["breadcrumb"] == list(breadcrumb)]
    metadata["metadata"]["selected"] = selected


def _root(stream: Json) -> Json:
    [metadata] = [each["metadata"] for each in stream["metadata"] if not each["breadcrumb"]]
    return metadata


def test_variables_that_are_refused_are_an_error(clinic: Site) -> None:
    """Where the dataset says that its rows may be read, a list that may not be seen is no reason to leave it out."""
    clinic.emulator.faults.add(Fault(kind="status", status=403, path="*/variables", nth="every"))

    done = run(clinic.tap("--discover"))

    assert (done.exit_code, done.stdout) == (1, b"")
    assert "HTTP 403" in done.stderr


def test_an_owner_is_asked_once_for_its_datasets(clinic: Site) -> None:
    """However many patterns there are."""
    clinic.discover(datasets=["demo.vis*", "demo.*its"])

    assert len(clinic.asked("/organizations/demo/datasets")) == 1


def test_names_of_a_querys_columns_are_warned_of_too(clinic: Site) -> None:
    query = {"name": "odd", "sql": "SELECT id AS `too_long` FROM `demo.visits.visits`".replace("too", "o" * 64)}

    done = run(clinic.tap("--discover", queries=[query]))

    assert done.exit_code == 0, done.stderr
    assert "query odd: " in done.stderr


def test_a_setting_that_does_not_exist_is_warned_of(clinic: Site) -> None:
    """It may be misspelled; it is no error, since Meltano may hand on what another version knows."""
    done = run(clinic.tap("--discover", max_stream=3))

    assert done.exit_code == 0
    assert "config: there is no setting 'max_stream' (did you mean 'max_streams'?); it has no effect" in done.stderr


def test_schemas_can_be_had_alone(clinic: Site) -> None:
    """`--test=schema`: no row is asked for."""
    done = run(clinic.tap("--test=schema"))

    assert done.exit_code == 0
    assert {message["type"] for message in done.messages} == {"SCHEMA"}
    assert not clinic.asked("data")


def test_a_query_is_listed_for_people_too(clinic: Site) -> None:
    """How many rows it has, only running it would tell; the data dictionary is no table."""
    query = {"name": "counted", "sql": "SELECT COUNT(*) AS visits FROM `demo.visits.visits`"}

    listed = _listed(run(clinic.tap("--discover=table", queries=[query], include_dictionary=True)))

    assert listed["counted"] == ["query counted", "?", "?", "1", "readable", "yes"]
    assert not any(name.startswith("redivis_") for name in listed)


def test_what_a_catalog_selects_is_listed_without_asking(clinic: Site) -> None:
    catalog = {"streams": list(clinic.discover().values())}
    clinic.emulator.forget_requests()

    listed = _listed(run(clinic.tap("--discover=table", catalog=catalog)))

    assert listed["visits__visits"][1:] == ["?", "?", "6", "not asked", "yes"]
    assert not clinic.emulator.requests


def _listed(done: Output) -> dict[str, list[str]]:
    """Return the cells of a table for people, by the first one."""
    assert done.exit_code == 0, done.stderr
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in done.stdout.decode().splitlines()]
    return {row[0]: row[1:] for row in rows if len(row) > 1 and row[0]}
