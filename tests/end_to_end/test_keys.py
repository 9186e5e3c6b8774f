"""Key properties and options of tables: found in whatever case, never absent from SCHEMA, never without effect."""

from __future__ import annotations

from typing import Any

import pytest

from tests.end_to_end.conftest import VISITS
from tests.support.pipes import Json, Output, run
from tests.support.served import Site, assert_same_rows, records_of

_STREAM = "visits__visits"
_OPTIONS: list[Json] = [
    {"key_properties": ["ID"]},
    {"key_properties": ["Id"], "replication_method": "LOG_BASED"},
    {"key_properties": ["ID"], "replication_key": "SEEN_AT"},
    {"key_properties": ["ID"], "variables": ["COST"]},
]


@pytest.mark.parametrize("options", _OPTIONS, ids=str)
def test_keys_of_the_settings_are_spelled_as_the_variables_are(site: Site, options: Json) -> None:
    done = site.sync(table_options={"VISITS": options})

    assert _keys(done) == ["id"]
    assert {record["id"] for record in done.records(_STREAM)} == set(range(2000))


@pytest.mark.parametrize("place", ["key_properties", "table-key-properties"])
@pytest.mark.parametrize("method", ["FULL_TABLE", "INCREMENTAL", "LOG_BASED"])
def test_keys_of_the_catalog_are_found_and_selected(site: Site, place: str, method: str) -> None:
    """In another case, and though the variable is deselected."""
    stream = site.discover()[_STREAM]
    _name_keys(stream, place, ["ID"])
    stream["replication_method"] = method
    if method == "INCREMENTAL":
        stream["replication_key"] = "Seen_at"
    for node in stream["metadata"]:
        if node["breadcrumb"] == ["properties", "id"]:
            node["metadata"]["selected"] = False

    done = site.sync(catalog={"streams": [stream]})

    assert _keys(done) == ["id"]
    assert {record["id"] for record in done.records(_STREAM)} == set(range(2000))


@pytest.mark.parametrize("place", ["key_properties", "table-key-properties", "replication-key"])
def test_a_key_that_is_no_column_is_an_error(site: Site, place: str) -> None:
    """Not a SCHEMA whose key its records do not have."""
    stream = site.discover()[_STREAM]
    _name_keys(stream, place, "idx" if place == "replication-key" else ["idx"])

    done = run(site.tap(catalog={"streams": [stream]}))

    assert (done.exit_code, done.stdout) == (1, b"")
    assert (
        f"catalog, stream {_STREAM}: there is no column idx (did you mean 'id'?). Name some of id, clinic, "
        in done.stderr
    )


def test_a_typo_in_what_is_not_selected_is_none(site: Site) -> None:
    site.release("demo/visits/v1.0/doctors", VISITS.slice(0, 10))
    streams = site.discover()
    _name_keys(streams[_STREAM], "table-key-properties", ["idx"])
    root = next(node["metadata"] for node in streams[_STREAM]["metadata"] if not node["breadcrumb"])
    root["selected"] = False

    done = site.sync(catalog={"streams": list(streams.values())})

    assert_same_rows(done.records("visits__doctors"), records_of(VISITS.slice(0, 10)))


@pytest.mark.parametrize("with_catalog", [False, True])
def test_options_that_match_no_table_are_warned_of(site: Site, *, with_catalog: bool) -> None:
    """With the name that may have been meant; patterns that match, in whatever case, are not."""
    site.release("demo/visits/v1.0/airlines", VISITS.slice(0, 10))
    options: Json = {"airline": {"key_properties": ["id"]}, "AIR*": {"max_rows": 5}, "visits": {"max_rows": 5}}
    streams = site.discover()
    for node in streams[_STREAM]["metadata"]:
        if not node["breadcrumb"]:
            node["metadata"]["selected"] = False
    catalog = {"streams": list(streams.values())} if with_catalog else None

    done = site.sync(catalog=catalog, table_options=options)

    [warning] = [line for line in done.stderr.splitlines() if "WARNING" in line]
    assert "table_options: 'airline' matches no table (did you mean 'airlines'?)" in warning


def _name_keys(stream: Json, place: str, value: Any) -> None:
    """Name keys in one place of a catalog's stream."""
    root = next(node["metadata"] for node in stream["metadata"] if not node["breadcrumb"])
    stream["key_properties"] = root["table-key-properties"] = []
    (stream if place == "key_properties" else root)[place] = value


def _keys(done: Output) -> list[str]:
    """Return the key properties of SCHEMA, which must be properties of it and of each record."""
    [schema] = [message for message in done.messages if message["type"] == "SCHEMA"]
    keys: list[str] = schema["key_properties"]
    assert set(keys) <= schema["schema"]["properties"].keys()
    return keys
