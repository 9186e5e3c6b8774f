"""The folder that the official client reads through the emulator, and the tables in it as they must come out."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import yaml

_ROWS = 20_000

VISITS = pa.table(
    {
        "id": pa.array(range(_ROWS), pa.int64()),
        "clinic": pa.array([f"Clinic № {n % 97}" for n in range(_ROWS)]),
        "cost": pa.array([None if n % 11 == 0 else n / 7 for n in range(_ROWS)], pa.float64()),
        "paid": pa.array([None if n % 13 == 0 else n % 2 == 0 for n in range(_ROWS)], pa.bool_()),
        "seen_on": pa.array([dt.date(2012, 1, 1) + dt.timedelta(n % 4000) for n in range(_ROWS)], pa.date32()),
        "seen_at": pa.array([1_325_376_000_000_000 + 1_000_001 * n for n in range(_ROWS)], pa.timestamp("us")),
    }
)
FIRST_VISITS = VISITS.slice(0, 15_000)

_EXTREMES: dict[str, tuple[pa.DataType, list[Any]]] = {
    "string": (
        pa.string(),
        ["", "NA", 'quo"ted', "two\nlines", "comma, tab\t", "東京 🛫", "\\slash", "x" * 70_000],
    ),
    "integer": (pa.int64(), [2**63 - 1, -(2**63), 2**53 + 1, -(2**53) - 1, 0]),
    "float": (pa.float64(), [float("nan"), float("inf"), float("-inf"), -0.0, 5e-324, 1.7976931348623157e308, 0.1]),
    "boolean": (pa.bool_(), [True, False]),
    "date": (pa.date32(), [dt.date.min, dt.date.max, dt.date(1582, 10, 15), dt.date(2012, 2, 29)]),
    "dateTime": (
        pa.timestamp("us"),
        [dt.datetime.min, dt.datetime.max, dt.datetime(1969, 12, 31, 23, 59, 59, 1)],  # noqa: DTZ001, DTZ901
    ),
    "time": (pa.time64("us"), [dt.time.min, dt.time.max, dt.time(0, 0, 0, 1)]),
    "geography": (pa.string(), ["POINT (-73.78 40.64)", "POLYGON ((0 0, 1 0, 1 1, 0 0))", "POINT EMPTY"]),
}


def _all_types() -> pa.Table:
    rows = 1 + max(len(values) for _, values in _EXTREMES.values())
    columns = {name: pa.array((values + [None] * rows)[:rows], kind) for name, (kind, values) in _EXTREMES.items()}
    return pa.table({"id": pa.array(range(rows), pa.int64()), **columns})


ALL_TYPES = _all_types()

RETYPED = pa.table(
    {
        "id": pa.array([1, 9007199254740993, -(2**63), None], pa.int64()),
        "share": pa.array([0.1, 12.0, -1e300, None], pa.float64()),
        "paid": pa.array([True, False, True, None], pa.bool_()),
        "day": pa.array([dt.date(2012, 1, 1), dt.date.max, dt.date.min, None], pa.date32()),
        "at": pa.array([0, 1, 1_325_421_000_000_000, None], pa.timestamp("us")),
        "clock": pa.array([dt.time(12, 30), dt.time(12, 30, 0, 1), dt.time.max, None], pa.time64("us")),
    }
)
_RETYPED_AS_STORED = """id,share,paid,day,at,clock
1,0.1,true,2012-01-01,1970-01-01 00:00:00,12:30:00
9007199254740993,12,false,9999-12-31,1970-01-01 00:00:00.000001,12:30:00.000001
-9223372036854775808,-1e300,true,0001-01-01,2012-01-01 12:30:00,23:59:59.999999
,,,,,
"""

UPLOADS = {
    "january.csv": pa.table({"id": [1, 2], "cost": [1.5, None]}),
    "february.csv": pa.table({"id": [3], "cost": [2.5], "extra": ["only here"]}),
}
FILES = {"scan.txt": b"a scan\n", "2012/large.bin": bytes(range(256)) * 20_480, "2012/01/empty": b""}
PLACES = pa.table({"id": [1, 2], "place": ["POINT (-73.78 40.64)", "POINT (1 2)"]})
SUMMARY = pa.table({"clinic": ["a", "b"], "visits": pa.array([3, 2**53 + 1], pa.int64())})
WIDE = pa.table({f"v{number:04}": [number] for number in range(1203)})  # more variables than one page holds
TRIALS = pa.table({"id": [1, 2], "arm": ["placebo", "drug"]})

# redivis-api §10: the client reads by read session from 1e8 bytes on, and by export above 1e9.
_BY_SESSION, _BY_EXPORT = {"num_bytes": 200_000_000}, {"num_bytes": 2_000_000_000}
_GEOGRAPHY = {"variables": {"geography": {"type": "geography"}}}
_TYPES = {"day": "date", "at": "dateTime", "clock": "time", "id": "integer", "share": "float", "paid": "boolean"}
_MEMBERS: dict[str, dict[str, Any]] = {
    "alice": {"full_name": "Alice A.", "labels": ["staff"]},
    "bob": {"status": "left", "labels": ["staff"]},
    "eve": {},
}
_DATASET = {
    "id": "a1b2-c3d4e5f6g",
    "name": "Medicare",
    "description": "Made for the official client.",
    "labels": ["claims", "yearly"],
    "tables": {
        "visits": {
            "id": "v1s1-tsvisitsv",
            "description": "Small enough for one request.",
            "variables": {
                "cost": {"label": "Cost in dollars", "description": "Before any discount."},
                "paid": {"value_labels": {True: "yes", False: "no"}},
            },
        },
        "visits_session": _BY_SESSION,
        "visits_export": _BY_EXPORT,
        "empty_session": _BY_SESSION,
        "places": {"variables": {"place": {"type": "geography"}}},
        "all_types": _GEOGRAPHY,
        "all_types_session": _GEOGRAPHY | _BY_SESSION,
        "all_types_export": _GEOGRAPHY | _BY_EXPORT,
        "retyped": {"variables": {name: {"type": kind, "stored": "string"} for name, kind in _TYPES.items()}},
        "carrier": {"name": "Medicare 20% [2006-2018] Carrier"},
    },
}


@dataclass(frozen=True)
class Reading:
    """One way of the client to read rows.

    Attributes:
        source: What is read: a table by `rows`, `session` or `export`, and others.
        way: The client's method.
        parameters: Its parameters.
    """

    source: str
    way: str
    parameters: dict[str, Any]

    @property
    def name(self) -> str:
        """Name of the step."""
        return f"{self.way} {self.source} {' '.join(self.parameters)}".strip()


_FORMS = "arrow_table pandas_dataframe arrow_dataset polars_lazyframe dask_dataframe arrow_batch_iterator"
_WAYS = [f"to_{form}" for form in _FORMS.split()]
_SOURCES = ("rows", "session", "export", "workflow", "query", "upload")
_PARAMETERS: list[dict[str, Any]] = [{}, {"variables": ["SEEN_AT", "id"]}, {"max_results": 1234}]
# The client removes the files of an export before Dask reads them.
READINGS = [
    Reading(source, way, parameters)
    for source in _SOURCES
    for way in _WAYS
    for parameters in _PARAMETERS
    if (source, way, parameters) != ("export", "to_dask_dataframe", {})
]
READINGS += [Reading("read stream", way, {}) for way in _WAYS]


def build(folder: Path) -> None:
    """Write the folder `owner/dataset/version/table` with its notes."""
    dataset = folder / "demo" / "medicare"
    _write(dataset / "v1.0", {"visits": FIRST_VISITS})
    for name in ("visits", "visits_session", "visits_export", "carrier"):
        _write(dataset / "v1.1", {name: VISITS})
    for name in ("all_types", "all_types_session", "all_types_export"):
        _write(dataset / "v1.1", {name: ALL_TYPES})
    for name in ("empty", "empty_session"):
        _write(dataset / "v1.1", {name: VISITS.slice(0, 0)})
    _write(dataset / "v1.1", {"wide": WIDE, "places": PLACES})
    (dataset / "v1.1" / "retyped.csv").write_text(_RETYPED_AS_STORED)
    _write_files(dataset / "v1.1" / "images.files")
    _write_uploads(dataset / "next" / "claims")
    _write(dataset / "next" / "seen", {"visits": VISITS})
    _write(folder / "demo" / "analysis", {"summary": SUMMARY})
    _write(folder / "demo" / "base", {"made": TRIALS})
    _write(folder / "demo" / "registry", {"patients": TRIALS})
    _write(folder / "alice" / "trials", {"trials": TRIALS})
    _write(folder / "alice" / "notes", {"notes": TRIALS})
    _note(folder / "demo" / "owner.yml", {"kind": "organization", "full_name": "Demo", "members": _MEMBERS})
    _note(folder / "alice" / "owner.yml", {"kind": "user", "full_name": "Alice"})
    _note(folder / "alice" / "trials" / "dataset.yml", {"sample_ratio": 0.5})
    _note(folder / "alice" / "notes" / "workflow.yml", {})
    _note(dataset / "dataset.yml", _DATASET)
    _note(folder / "demo" / "base" / "workflow.yml", {})
    sources = ["demo.medicare", "demo.base"]
    _note(folder / "demo" / "analysis" / "workflow.yml", {"name": "analysis", "data_sources": sources})


def _write(folder: Path, tables: dict[str, pa.Table]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        pq.write_table(table, folder / f"{name}.parquet", row_group_size=3000)


def _write_files(folder: Path) -> None:
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def _write_uploads(folder: Path) -> None:
    folder.mkdir(parents=True)
    for name, table in UPLOADS.items():
        pa.csv.write_csv(table, folder / name)


def _note(path: Path, content: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(content))
