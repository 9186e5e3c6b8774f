"""The tap's output in real targets: files of target-jsonl, and a PostgreSQL filled by meltanolabs-target-postgres."""

from __future__ import annotations

import json
import signal
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from redivis_emulator import Fault
from tests.support.batches import batch_config
from tests.support.pipes import Json, Piped, Program, Stop, pipe, pipe_stopped, pipe_watched, target
from tests.support.postgres import Postgres
from tests.support.served import Site, assert_same_rows, records_of, visits, write_note

_OLD, _NEW, _LARGE = visits(300), visits(300, first=100), visits(4000, first=100)
_KEYS = {"visits": {"key_properties": ["id"]}}
_COLUMN_TYPES = {
    "row": "bigint",
    "string": "text",
    "integer": "bigint",
    "float": "numeric",
    "boolean": "boolean",
    "date": "date",
    "datetime": "timestamp without time zone",
    "time": "time without time zone",
    "geography": "text",
}


@pytest.mark.parametrize(
    "table", ["types/all_types", "nycflights13/v1.1/airlines", "nycflights13/v1.1/airports", "nycflights13/v1.1/planes"]
)
def test_json_lines_hold_the_rows_of_the_source(demo_site: Site, table: str) -> None:
    """`tap-redivis | target-jsonl`: what lands in the file is what lies at the source, value by value."""
    source = pq.read_table(demo_site.folder / f"demo/{table}.parquet")
    dataset, *_, name = table.split("/")
    config = {"destination_path": str(demo_site.files), "do_timestamp_file": False}

    done = pipe(demo_site.tap(tables=[f"demo.{dataset}.{name}"]), target("target-jsonl", demo_site.files, config))

    _assert_both_succeeded(done)
    landed = (demo_site.files / f"{dataset}__{name}.jsonl").read_text().splitlines()
    assert_same_rows(map(json.loads, landed), records_of(source))
    assert done.target.state["bookmarks"][f"{dataset}__{name}"]["rows"] == source.num_rows


def test_a_database_holds_all_eight_types_exactly(demo_site: Site, postgres: Postgres) -> None:
    """Each type has its column type, and each extreme comes back from the database as it is at the source."""
    source = pq.read_table(demo_site.folder / "demo/types/all_types.parquet")
    keys = {"all_types": {"key_properties": ["row"]}}

    done = pipe(demo_site.tap(tables=["demo.types.all_types"], table_options=keys), _sink(demo_site.files, postgres))

    _assert_both_succeeded(done)
    assert _column_types(postgres, "types__all_types") == _COLUMN_TYPES
    assert _rows(postgres, "types__all_types", source) == _tuples(source)


def test_a_database_holds_real_tables_exactly(demo_site: Site, postgres: Postgres) -> None:
    """Several tables in one run, one of them with a geography, none with keys."""
    names = ["airlines", "airports"]

    done = pipe(demo_site.tap(tables=[f"demo.nycflights13.{name}" for name in names]), _sink(demo_site.files, postgres))

    _assert_both_succeeded(done)
    for name in names:
        source = pq.read_table(demo_site.folder / f"demo/nycflights13/v1.1/{name}.parquet")
        assert sorted(_rows(postgres, f"nycflights13__{name}", source), key=repr) == sorted(_tuples(source), key=repr)


def test_old_rows_stay_until_the_new_version_is_proved(site: Site, postgres: Postgres) -> None:
    """A second load that breaks off removes nothing; the whole one leaves exactly the new rows (promise 4)."""
    site.emulator.read_as("sentinel=never")  # else these are the proof
    site.release("demo/visits/v1.0/visits", _OLD)
    first = _load(site, postgres, None)

    too_many = {"versions": {"v1.1": {"tables": {"visits": {"num_rows": 301}}}}}
    write_note(site.folder, "demo/visits/dataset.yml", too_many)
    site.release("demo/visits/v1.1/visits", _NEW)
    site.emulator.faults.add(Fault(kind="json", path="*/readSessions", nth="every", add={"numRows": 1}))
    second = _load(site, postgres, first.target.state)
    ids_after_break = _ids(postgres)
    write_note(site.folder, "demo/visits/dataset.yml", {})
    site.emulator.reload()
    site.emulator.faults.clear()
    third = _load(site, postgres, second.target.state)

    assert (first.tap.exit_code, second.tap.exit_code, third.tap.exit_code) == (0, 1, 0)
    assert ids_after_break == list(range(400))
    assert _rows(postgres, "visits__visits", _NEW) == _tuples(_NEW)


def test_a_killed_load_goes_on_from_what_the_database_acknowledged(site: Site, postgres: Postgres) -> None:
    """Kill -9 between two lines: the target keeps what it got, the next run brings the rest, and no old row is left."""
    first = _load_old_and_release(site, postgres)
    site.emulator.faults.add(Fault(kind="stall", path="/readStreams/*", nth="every", at_row=500))

    # SCHEMA, the STATE of before and of the new session, 2,000 rows of four streams that then are silent, and STATE.
    state = first.target.state
    killed = pipe_stopped(
        site.tap(state=state, table_options=_KEYS, state_interval_rows=2000, state_interval_seconds=600),
        _sink(site.files, postgres),
        Stop(signal.SIGKILL, after_lines=2004),
    )
    site.emulator.faults.clear()
    ids_after_kill = _ids(postgres)
    last = _load(site, postgres, killed.target.state)

    assert killed.tap.exit_code == -signal.SIGKILL
    assert _offsets(killed.target.state) == len(last.tap.records("visits__visits")) == 2000
    assert set(ids_after_kill) > set(range(300))
    assert last.tap.exit_code == 0
    assert _rows(postgres, "visits__visits", _LARGE) == _tuples(_LARGE)


def test_a_load_killed_in_the_middle_of_a_line_is_not_lost_either(site: Site, postgres: Postgres) -> None:
    """Where the target fails at half a line, and acknowledges nothing, the next run ends with the source's rows too."""
    first = _load_old_and_release(site, postgres)

    killed = pipe_stopped(
        site.tap(state=first.target.state, table_options=_KEYS),
        _sink(site.files, postgres),
        Stop(signal.SIGKILL, after_lines=1500),
    )
    acknowledged = killed.target.state if killed.target.stdout else first.target.state
    last = _load(site, postgres, acknowledged)

    assert killed.tap.exit_code == -signal.SIGKILL
    assert last.tap.exit_code == 0
    assert _rows(postgres, "visits__visits", _LARGE) == _tuples(_LARGE)


def test_a_database_holds_all_eight_types_of_files_exactly(demo_site: Site, postgres: Postgres) -> None:
    """BATCH with JSON Lines: the target casts the text of a file as it does that of a record."""
    source = pq.read_table(demo_site.folder / "demo/types/all_types.parquet")
    files = batch_config("jsonl", demo_site.files / "out")

    done = pipe(demo_site.tap(tables=["demo.types.all_types"], batch_config=files), _sink(demo_site.files, postgres))

    _assert_both_succeeded(done)
    types = _column_types(postgres, "types__all_types")
    assert types == {**_COLUMN_TYPES, "_redivis_version": "text"}
    assert sorted(_rows(postgres, "types__all_types", source), key=repr) == sorted(_tuples(source), key=repr)


@pytest.mark.parametrize("keys", [{}, _KEYS])
def test_files_of_a_new_version_take_the_place_of_the_old_rows(
    site: Site, postgres: Postgres, keys: dict[str, Any]
) -> None:
    """The recipe of docs/batch.md: loads neither pile up nor remove themselves, with keys and without."""
    settings = {"table_options": keys, "batch_config": batch_config("jsonl", site.files / "out", batch_size=100)}
    site.release("demo/visits/v1.0/visits", _OLD)
    first = pipe(site.tap(**settings), _sink(site.files, postgres))
    site.release("demo/visits/v1.1/visits", _NEW)

    second = pipe(site.tap(state=first.target.state, **settings), _sink(site.files, postgres))

    _assert_both_succeeded(first)
    _assert_both_succeeded(second)
    assert _rows(postgres, "visits__visits", _NEW) == _tuples(_NEW)
    assert postgres.query("SELECT DISTINCT _redivis_version FROM visits__visits") == [("v1.1",)]


@pytest.mark.parametrize("name", ["target-jsonl", "pipelinewise-target-postgres"])
def test_targets_that_know_no_batch_end_at_its_message(site: Site, postgres: Postgres, name: str) -> None:
    """As docs/batch.md says: they acknowledge nothing, so nothing is lost."""
    config = {"destination_path": str(site.files), "primary_key_required": False}
    place = {"host": postgres.host, "port": postgres.port, "user": postgres.user, "password": postgres.password}
    files = batch_config("jsonl", site.files / "out")

    done = pipe(
        site.tap(batch_config=files), target(name, site.files, {**config, **place, "dbname": postgres.database})
    )

    assert done.target.exit_code != 0
    assert not done.target.stdout


def _load_old_and_release(site: Site, postgres: Postgres) -> Piped:
    """Load a version of 300 rows, then let the server have one of 4,000, without the first hundred."""
    site.release("demo/visits/v1.0/visits", _OLD)
    first = _load(site, postgres, None)
    site.release("demo/visits/v1.1/visits", _LARGE)
    return first


def _load(site: Site, postgres: Postgres, state: Json | None) -> Piped:
    """Run the tap into the database; the target must succeed."""
    done = pipe_watched(site.tap(state=state, table_options=_KEYS), _sink(site.files, postgres), lambda *_: None)
    assert done.target.exit_code == 0, done.target.stderr
    return done


def _sink(folder: Path, database: Postgres) -> Program:
    url = database.url.replace("postgresql://", "postgresql+psycopg://")
    config = {"sqlalchemy_url": url, "default_target_schema": "public", "hard_delete": True, "batch_size_rows": 500}
    return target("meltanolabs-target-postgres", folder, config)


def _assert_both_succeeded(done: Piped) -> None:
    assert done.tap.exit_code == 0, done.tap.stderr
    assert done.target.exit_code == 0, done.target.stderr


def _ids(database: Postgres) -> list[int]:
    return [number for (number,) in database.query("SELECT id FROM visits__visits ORDER BY id")]


def _offsets(state: Json) -> int:
    streams = state["bookmarks"]["visits__visits"]["reading"]["streams"]
    return sum(stream["offset"] for stream in streams.values())


def _column_types(database: Postgres, table: str) -> dict[str, str]:
    query = "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = %s"
    found = database.query(query, [table])
    return {name: kind for name, kind in found if not name.startswith("_sdc_")}


def _rows(database: Postgres, table: str, source: pa.Table) -> list[tuple[Any, ...]]:
    """Return a table in the order of its first column, floats as such: the target stores them as numeric."""
    columns = ", ".join(f'"{name}"' for name in source.column_names)
    rows = database.query(f"SELECT {columns} FROM {table} ORDER BY 1")  # noqa: S608 - our own names
    return [tuple(float(value) if isinstance(value, Decimal) else value for value in row) for row in rows]


def _tuples(source: pa.Table) -> list[tuple[Any, ...]]:
    return list(zip(*(column.to_pylist() for column in source.columns), strict=True))
