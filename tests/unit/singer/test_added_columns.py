"""The row key and the lineage: which streams have them, whatever the catalog says, and what stands in their columns."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from singer_sdk.singerlib import CatalogEntry

from tap_redivis.errors import ConfigError
from tap_redivis.model.columns import DELETED_AT, FILE_URI, ROW_KEY, TABLE, VERSION
from tap_redivis.model.settings import Settings
from tap_redivis.singer.added_columns import added, properties_to_add, reconcile_columns
from tap_redivis.singer.stream_maps import with_row_key
from tap_redivis.wire.json_lines import column_appender
from tap_redivis.wire.rows import JsonRows
from tests.support.pipes import Json
from tests.unit.bodies import Body, bodies, codec, decoded

_ALL = [ROW_KEY, TABLE, VERSION]
_ID = {"type": ["integer", "null"]}
_OWN_VARIABLE = {"type": ["string", "null"], "description": "Of a table that was loaded before, and uploaded"}
_OURS, _ = properties_to_add(["id"], Settings(lineage=True), keys=[], method="FULL_TABLE")
_ADDED = {"inclusion": "automatic"}


def _extended(
    rows: JsonRows, names: Sequence[str] = _ALL, ordinal: int = 3, offset: int = 7, load: str = "5-a"
) -> list[Json]:
    values = {TABLE: "demo.50% off:v1_0.t", VERSION: "v1.0"}
    constants = {name: values[name] for name in names if name in values}
    extend = column_appender(load if ROW_KEY in names else None, constants)
    return [json.loads(line) for line in extend(rows, ordinal, offset).lines.splitlines()]


def _keys(rows: JsonRows, **place: Any) -> list[str]:
    return [record[ROW_KEY] for record in _extended(rows, **place)]


def _rows(count: int, text: str = "") -> JsonRows:
    return JsonRows(count, b"".join(json.dumps({"id": n, "text": text}).encode() + b"\n" for n in range(count)))


# --- rows ------------------------------------------------------------------------------------------------------------


@given(bodies(min_rows=1), st.sets(st.sampled_from(_ALL)), st.integers(0, 10**9))
def test_columns_are_added_and_nothing_else_is_changed(body: Body, chosen: set[str], offset: int) -> None:
    """Whatever the names and values: per cents, braces, line ends in strings."""
    names = [name for name in _ALL if name in chosen]
    rows = decoded(codec(body.columns), [body.wire])

    found = _extended(rows, names, offset=offset)

    values = {TABLE: "demo.50% off:v1_0.t", VERSION: "v1.0"}
    for number, (record, before) in enumerate(zip(found, rows.lines.splitlines(), strict=True)):
        cells = {name: values.get(name, f"5-a-3-{offset + number}") for name in names}
        assert list(record.items()) == [*json.loads(before).items(), *cells.items()]


@pytest.mark.parametrize("names", [_ALL, [ROW_KEY], [TABLE, VERSION], []])
def test_long_rows_get_the_same_columns_as_short_ones(names: list[str]) -> None:
    """They take another way, which copies them once only."""
    short, long = (_extended(_rows(3, text), names) for text in ("}%d\n", "}%d\n" * 5000))

    assert [{**record, "text": ""} for record in long] == [{**record, "text": ""} for record in short]
    assert {record["text"] for record in long} == {"}%d\n" * 5000}


def test_the_version_of_what_has_none_is_null() -> None:
    extend = column_appender(None, {VERSION: None})

    assert [json.loads(line)[VERSION] for line in extend(_rows(2), 0, 0).lines.splitlines()] == [None, None]


_URIS = ("file:///a%20b/%7D.txt", None, 's3://b/"x" {50%}\n')


@pytest.mark.parametrize("text", ["", "}%d\n", "}%d\n" * 5000])
@pytest.mark.parametrize(
    ("load", "constants"), [("5-a", {VERSION: "v1.0"}), ("5-a", {}), (None, {TABLE: "50%"}), (None, {})]
)
def test_rows_say_where_their_files_are(text: str, load: str | None, constants: dict[str, str | int | None]) -> None:
    """Short rows and long ones; null where a row names no file."""
    rows = replace(_rows(3, text), uris=_URIS)

    found = [json.loads(line) for line in column_appender(load, constants)(rows, 3, 7).lines.splitlines()]

    keys = [{} if load is None else {ROW_KEY: f"5-a-3-{number}"} for number in (7, 8, 9)]
    assert found == [
        {"id": n, "text": text, FILE_URI: uri, **key, **constants}
        for n, (uri, key) in enumerate(zip(_URIS, keys, strict=True))
    ]


def test_rows_that_are_cut_keep_their_files() -> None:
    rows = replace(_rows(3), uris=_URIS)

    assert (rows.first(2).uris, rows.without_first(2).uris) == (_URIS[:2], _URIS[2:])


@given(st.integers(1, 40), st.lists(st.integers(0, 40)))
def test_a_row_has_the_same_key_in_whatever_block_it_comes(count: int, cuts: list[int]) -> None:
    """Pieces of a body are cut anywhere, and a resumed load begins anywhere."""
    rows = _rows(count)
    places = sorted({0, count, *(cut % count for cut in cuts)})

    parts = [
        _keys(rows.without_first(begin).first(end - begin), ordinal=1, offset=begin) for begin, end in pairwise(places)
    ]

    assert [key for part in parts for key in part] == _keys(rows, ordinal=1, offset=0)


def test_no_two_rows_have_one_key() -> None:
    """Of other offsets, read streams and loads."""
    loads = ("1-1", "1-11", "11-1")  # of one second and two sessions, and of another second
    places = [(load, ordinal, offset) for load in loads for ordinal in (0, 1, 11) for offset in (0, 10, 110)]

    keys = [
        key for load, ordinal, offset in places for key in _keys(_rows(10), load=load, ordinal=ordinal, offset=offset)
    ]

    assert len(set(keys)) == len(keys)


# --- catalogs --------------------------------------------------------------------------------------------------------


def _entry(
    properties: Json | None = None,
    keys: Any = None,
    table_keys: Any = None,
    method: str | None = "FULL_TABLE",
    metadata: dict[str, Json] | None = None,
) -> CatalogEntry:
    root = {"selected": True, "table-key-properties": table_keys}
    nodes = [([], root), *((["properties", name], node) for name, node in (metadata or {}).items())]
    return CatalogEntry.from_dict(
        {
            "tap_stream_id": "t",
            "schema": {"type": "object", "properties": {"id": _ID, **(properties or {})}},
            "key_properties": keys,
            "replication_method": method,
            "metadata": [{"breadcrumb": breadcrumb, "metadata": node} for breadcrumb, node in nodes],
        }
    )


def _settled(entry: CatalogEntry, *, row_key: bool = True, lineage: bool = False) -> tuple[list[str], Any]:
    """Return columns and key properties, which must be the same wherever they stand."""
    reconcile_columns(entry, Settings(row_key=row_key, lineage=lineage))
    settled = entry.to_dict()
    [root] = [node["metadata"] for node in settled["metadata"] if not node["breadcrumb"]]
    assert settled["key_properties"] == root["table-key-properties"]
    return list(settled["schema"]["properties"]), settled["key_properties"]


_KEY = {ROW_KEY: _OURS[ROW_KEY]}
_CASES: dict[str, tuple[CatalogEntry, list[str], list[str]]] = {
    "as discovered": (_entry(_KEY, [ROW_KEY], [ROW_KEY]), ["id", ROW_KEY], [ROW_KEY]),
    "of an older version": (_entry(keys=[], table_keys=[]), ["id", ROW_KEY], [ROW_KEY]),
    "by hand, without keys": (_entry(), ["id", ROW_KEY], [ROW_KEY]),
    "its column missing": (_entry(keys=[ROW_KEY], table_keys=[ROW_KEY]), ["id", ROW_KEY], [ROW_KEY]),
    "deselected": (
        _entry(_KEY, [ROW_KEY], metadata={ROW_KEY: {"selected": False, "inclusion": "available"}}),
        ["id", ROW_KEY],
        [ROW_KEY],
    ),
    "keys named instead": (_entry(_KEY, ["id"], [ROW_KEY]), ["id"], ["id"]),
    "keys named beside it": (_entry(_KEY, [ROW_KEY, "id"], [ROW_KEY]), ["id"], ["id"]),
    "keys named in the metadata, as Meltano does": (_entry(_KEY, [ROW_KEY], ["id"]), ["id"], ["id"]),
    "keys of an older version": (_entry(keys=["id"], table_keys=["id"]), ["id"], ["id"]),
    "incremental without keys": (_entry(_KEY, [ROW_KEY], method="INCREMENTAL"), ["id"], []),
    "log based without keys": (_entry(_KEY, [ROW_KEY], method="LOG_BASED"), ["id", DELETED_AT], []),
    "no method": (_entry(method=None), ["id", ROW_KEY], [ROW_KEY]),
    "a variable of its name": (_entry({ROW_KEY: _OWN_VARIABLE}, []), ["id", ROW_KEY], []),
    "a variable of its name as key": (_entry({ROW_KEY: _OWN_VARIABLE}, [ROW_KEY]), ["id", ROW_KEY], [ROW_KEY]),
    "a variable of its name in other case": (_entry({ROW_KEY.upper(): _OWN_VARIABLE}), ["id", ROW_KEY.upper()], []),
    "leftovers of the lineage": (_entry(_OURS, [ROW_KEY]), ["id", ROW_KEY], [ROW_KEY]),
}


@pytest.mark.parametrize(("entry", "columns", "keys"), _CASES.values(), ids=_CASES)
def test_a_catalog_gets_the_row_key_where_it_belongs(entry: CatalogEntry, columns: list[str], keys: list[str]) -> None:
    """Exactly where the table has no keys of its own and all rows are read, and once more gives the same."""
    assert _settled(entry) == (columns, keys)
    assert _settled(entry) == (columns, keys)
    assert entry.metadata.resolve_selection()["properties", columns[-1]]


def test_without_the_setting_a_catalogs_row_key_goes() -> None:
    assert _settled(_entry(_KEY, [ROW_KEY], [ROW_KEY]), row_key=False) == (["id"], [])


def test_the_lineage_comes_with_its_setting() -> None:
    """Beside whatever keys, and selected."""
    entry = _entry(keys=["id"], metadata={TABLE: {"selected": False}})

    assert _settled(entry, lineage=True) == (["id", TABLE, VERSION], ["id"])
    assert entry.metadata.resolve_selection()["properties", TABLE]


def test_a_catalog_without_metadata_selects_all_as_before() -> None:
    """One entry of metadata would deselect all that has none."""
    entry = _entry()
    entry.metadata.clear()

    reconcile_columns(entry, Settings(row_key=True, lineage=True))

    assert not entry.metadata
    assert entry.key_properties == [ROW_KEY]


def test_a_table_that_is_not_known_gets_nothing() -> None:
    """One that cannot be read is listed without its variables."""
    entry = _entry()
    entry.schema.properties = {}

    reconcile_columns(entry, Settings(row_key=True, lineage=True))

    assert (entry.schema.properties, entry.key_properties) == ({}, [])


@pytest.mark.parametrize("keys", ["id", 5, [5], {"id": "id"}])
def test_keys_that_are_no_names_are_an_error(keys: Any) -> None:
    with pytest.raises(ConfigError, match="no list of names"):
        reconcile_columns(_entry(keys=keys), Settings(row_key=True, lineage=False))


def test_what_was_added_is_known_again() -> None:
    """By its description, or where a tool dropped that, by a type that no variable has."""
    bare = {name: {"type": schema["type"]} for name, schema in _OURS.items()}

    assert added({"id": _ID, **_OURS}) == _ALL
    assert added({"id": _ID, **bare}) == [ROW_KEY, TABLE]
    assert added(dict.fromkeys(_ALL, _OWN_VARIABLE)) == []


def test_a_variable_keeps_its_name() -> None:
    new, taken = properties_to_add(
        ["id", ROW_KEY.upper(), VERSION], Settings(lineage=True), keys=[], method="FULL_TABLE"
    )

    assert (list(new), taken) == ([TABLE], [ROW_KEY, VERSION])


@pytest.mark.parametrize(
    ("stream_map", "kept"),
    [
        ({"id": "id", "__else__": None}, True),
        ({"id": "id", "__else__": "__NULL__"}, True),
        ({"id": "id"}, False),
        ({"__else__": None, "__key_properties__": ["id"], "id": "id"}, False),
        (None, False),
    ],
)
def test_a_stream_map_that_leaves_out_the_rest_keeps_the_row_key(stream_map: Any, kept: bool) -> None:  # noqa: FBT001
    """The SDK refuses a key that is left out; who names other keys needs none."""
    [found] = with_row_key({"t": stream_map}).values()

    assert found == ({**stream_map, ROW_KEY: ROW_KEY} if kept else stream_map)
