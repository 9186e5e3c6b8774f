"""A Redivis that tests fill, and the records that must come out of its tables."""

from __future__ import annotations

import datetime as dt
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from redivis_emulator import Emulator
from redivis_emulator.log import Request
from tests.support.pipes import Json, Output, Program, run, tap

_SHOWN = 3


@dataclass(frozen=True)
class Site:
    """A running emulator, the folder that it serves, and a folder for the files that the tap is given.

    Attributes:
        emulator: Serves the folder.
        folder: Layout as `redivis_emulator.folder` says.
        files: Where config, catalog and state of the tap are written.
        token: What the tap is given; None: nothing.
    """

    emulator: Emulator
    folder: Path
    files: Path
    token: str | None

    @property
    def endpoint(self) -> str:
        """The emulator's endpoint."""
        return self.emulator.endpoint

    def tap(self, *arguments: str, catalog: Json | None = None, state: Json | None = None, **settings: Any) -> Program:
        """Describe a call of the tap: settings by keyword, all of `demo.visits` if they name no source, no row key."""
        settings.setdefault("row_key", False)  # most tests compare records with the source's rows
        if not settings.keys() & {"datasets", "workflows", "tables", "queries", "uploads"}:
            settings["datasets"] = ["demo.visits"]
        return tap(self, self.files, settings, *arguments, catalog=catalog, state=state)

    def discover(self, **settings: Any) -> dict[str, Json]:
        """Discover and return the catalog's streams by name."""
        found = run(self.tap("--discover", **settings))
        assert found.exit_code == 0, found.stderr
        return {stream["tap_stream_id"]: stream for stream in msgspec.json.decode(found.stdout)["streams"]}

    def sync(self, *, catalog: Json | None = None, state: Json | None = None, **settings: Any) -> Output:
        """Run the tap to an end that must be a success."""
        done = run(self.tap(catalog=catalog, state=state, **settings))
        assert done.exit_code == 0, done.stderr
        return done

    def release(self, place: str, table: pa.Table) -> None:
        """Write a table, such as `demo/visits/v1.1/visits`, and let the emulator find it."""
        write_table(self.folder, place, table)
        self.emulator.reload()

    def asked(self, *parts: str) -> list[Request]:
        """Return the requests whose path holds one of some parts; `data` stands for all that transfers rows."""
        wanted = [part for name in parts for part in (_DATA_PATHS if name == "data" else (name,))]
        return [each for each in self.emulator.requests if any(part in each.path for part in wanted)]


_DATA_PATHS = ("/readSessions", "/readStreams/", "/rows")


def write_table(folder: Path, place: str, table: pa.Table) -> None:
    """Write a table as Parquet below a served folder."""
    path = folder / f"{place}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


def write_note(folder: Path, place: str, note: Json) -> None:
    """Write what table files cannot say, such as `demo/visits/dataset.yml`."""
    path = folder / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(note))


def visits(rows: int, first: int = 0) -> pa.Table:
    """Make a table of visits with the ids `first`, `first + 1`, ...: a column for each type but geography and time."""
    ids = range(first, first + rows)
    return pa.table(
        {
            "id": pa.array(ids, pa.int64()),
            "clinic": pa.array([f"Clinic № {n % 97}, “{'x' * (n % 40)}”" for n in ids], pa.string()),
            "cost": pa.array([None if n % 11 == 0 else n / 7 for n in ids], pa.float64()),
            "paid": pa.array([None if n % 13 == 0 else n % 2 == 0 for n in ids], pa.bool_()),
            "seen_on": pa.array([dt.date(2012, 1, 1) + dt.timedelta(n % 4000) for n in ids], pa.date32()),
            "seen_at": pa.array([1_325_376_000_000_000 + 1_000_001 * n for n in ids], pa.timestamp("us")),
        }
    )


def records_of(table: pa.Table) -> list[Json]:
    """Return the rows of a table as records: the spelling of design §4, made anew, not by the tap's code."""
    columns = {name: _spelled(table[name]) for name in table.column_names}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _spelled(column: pa.ChunkedArray) -> list[Any]:
    if pa.types.is_timestamp(column.type) and column.type.tz:
        column = column.cast(pa.timestamp(column.type.unit))  # the wall clock of UTC: Redivis knows no zones
    spell = next((spell for is_type, spell in _SPELLINGS if is_type(column.type)), None)
    values = column.to_pylist()
    return [None if value is None else spell(value) for value in values] if spell else values


_SPELLINGS: Sequence[tuple[Callable[[pa.DataType], bool], Callable[[Any], Any]]] = (
    (pa.types.is_floating, lambda number: number if math.isfinite(number) else None),
    (pa.types.is_temporal, lambda moment: moment.isoformat()),
)


def streams_of(done: Output) -> set[str]:
    """Return the names of the streams that a tap wrote a SCHEMA of."""
    return {message["stream"] for message in done.messages if message["type"] == "SCHEMA"}


def assert_same_rows(records: Iterable[Mapping[str, Any]], expected: Iterable[Mapping[str, Any]]) -> None:
    """Compare two multisets of records; 1 and 1.0 are not the same.

    Raises:
        AssertionError: Some are missing, or some are too many.
    """
    found, wanted = _multiset(records), _multiset(expected)
    missing, extra = wanted - found, found - wanted
    assert not missing, f"{missing.total()} rows are missing, such as {_some(missing)}; too many are {_some(extra)}"
    assert not extra, f"{extra.total()} rows are too many, such as {_some(extra)}"


def _multiset(records: Iterable[Mapping[str, Any]]) -> Counter[bytes]:
    encode = msgspec.json.Encoder(order="sorted").encode
    return Counter(map(encode, records))


def _some(rows: Counter[bytes]) -> list[str]:
    return [row.decode() for row in list(rows)[:_SHOWN]]
