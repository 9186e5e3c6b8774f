"""The demo data: real tables, labelled, in two versions, and every odd value."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from redivis_emulator import Emulator, demo
from tests.emulator.conftest import Client, read_arrow


@pytest.fixture(name="client", scope="module")
def make_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Return a client of the demo data."""
    folder: Path = tmp_path_factory.mktemp("demo")
    demo.build(folder)
    with Emulator(folder) as emulator:
        yield Client(emulator, emulator.token)


def test_flights(client: Client) -> None:
    """All flights of 2013, the same in both versions."""
    tables = {t["name"]: t for t in client.json("/datasets/demo.nycflights13/tables")["results"]}
    assert {name: table["numRows"] for name, table in tables.items()} == {
        "airlines": 16,
        "airports": 1458,
        "flights": 336_776,
        "planes": 3325,
        "weather": 26_059,
    }
    first = client.json("/tables/demo.nycflights13:v1.0.flights")
    assert first["hash"] == tables["flights"]["hash"]
    assert client.json("/tables/demo.nycflights13:v1.0.weather")["hash"] != tables["weather"]["hash"]


def test_types_and_labels(client: Client) -> None:
    """Every table is described, every variable labelled, and types are right."""
    kinds: dict[str, str] = {}
    for table in client.json("/datasets/demo.nycflights13/tables")["results"]:
        assert table["description"]
        variables = client.json(f"{table['uri']}/variables")["results"]
        assert all(v["label"] for v in variables)
        kinds |= {f"{table['name']}.{v['name']}": v["type"] for v in variables}
    assert (kinds["flights.time_hour"], kinds["weather.time_hour"]) == ("dateTime", "dateTime")
    assert (kinds["airports.location"], kinds["planes.speed"]) == ("geography", "integer")
    labels = client.json("/tables/demo.nycflights13.airports/variables/dst")["valueLabels"]
    assert {"value": "U", "label": "Unknown"} in labels


def test_na_is_null(client: Client) -> None:
    missing = client.query("SELECT COUNT(*) AS n FROM demo.nycflights13.flights WHERE dep_time IS NULL")
    assert client.get(f"{missing['uri']}/rows").text == '{"n":8255}\n'


def test_all_types(client: Client) -> None:
    """A column of each type, with a null in each."""
    variables = client.json("/tables/demo.types.all_types/variables")["results"]
    assert {v["type"] for v in variables} == {
        "string",
        "integer",
        "float",
        "boolean",
        "date",
        "dateTime",
        "time",
        "geography",
    }
    rows = read_arrow(client.get("/tables/demo.types.all_types/rows", format="arrow").content).sort_by("row")
    assert rows.equals(demo.all_types())
    assert all(column.null_count for name, column in zip(rows.column_names, rows.columns, strict=True) if name != "row")


def test_retyped_variables(client: Client) -> None:
    """Typed, but text on the wire (redivis-api §6.2)."""
    for table in ("retyped", "loosely_spelled"):
        variables = client.json(f"/tables/demo.types.{table}/variables")["results"]
        rows = read_arrow(client.get(f"/tables/demo.types.{table}/rows", format="arrow").content)
        assert "string" not in {v["type"] for v in variables}
        assert {str(kind) for kind in rows.schema.types} == {"string"}


def test_files(client: Client) -> None:
    """A file-index table has the files that other tables were read from, and their contents can be fetched."""
    assert client.json("/tables/demo.sources.files")["isFileIndex"] is True
    files = read_arrow(client.get("/tables/demo.sources.files/rawFiles").content).to_pylist()
    assert {file["file_name"] for file in files} == {"airlines.csv", "airports.csv", "planes.csv"}
    contents = {file["file_name"]: client.get(f"/rawFiles/{file['file_id']}").content for file in files}
    assert {name: len(content) for name, content in contents.items()} == {f["file_name"]: f["size"] for f in files}
    assert contents["airlines.csv"].count(b"\n") == 17
