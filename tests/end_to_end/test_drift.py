"""Drift: a new version has other variables than the catalog, and nothing of it surprises the warehouse."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from redivis_emulator import DEFAULT_TOKEN, Emulator, Fault
from tests.support.pipes import Json, Program, pipe, run, target
from tests.support.postgres import Postgres
from tests.support.served import Site, assert_same_rows, records_of, visits, write_table

_TABLE = visits(1200)
_Loaded = tuple[Json, Json]
_FORMATS = pytest.mark.parametrize("wire_format", ["jsonl", "arrow", "csv"])


@pytest.fixture(name="loaded", scope="module")
def load_first_version(tmp_path_factory: pytest.TempPathFactory) -> tuple[Json, Json]:
    """Catalog and state of v1.0, which are the same wherever it is served."""
    folder, files = tmp_path_factory.mktemp("served"), tmp_path_factory.mktemp("files")
    for name in ("visits", "doctors"):
        write_table(folder, f"demo/visits/v1.0/{name}", visits(100))
    with Emulator(folder) as emulator:
        site = Site(emulator, folder, files, DEFAULT_TOKEN)
        catalog = _catalog(site)
        return catalog, site.sync(catalog=catalog).state


def _only_visits(catalog: Json) -> Json:
    return {"streams": [entry for entry in catalog["streams"] if entry["tap_stream_id"] == "visits__visits"]}


def test_a_table_that_does_not_fit_stops_before_any_data(site: Site, loaded: _Loaded) -> None:
    """One error lists all differences; the old bookmark stays, and the other tables are loaded."""
    catalog, state = loaded
    write_table(site.folder, "demo/visits/v2.0/doctors", visits(20))
    site.release("demo/visits/v2.0/visits", _major(_TABLE))
    site.emulator.forget_requests()

    done = run(site.tap(catalog=catalog, state=state))

    [error] = [line for line in done.stderr.splitlines() if "no longer fits" in line]
    assert (
        "variable 'clinic' is gone; variable 'cost' was float and is now string; variable 'paid' is now spelled 'Paid' "
        "(v1.0 → v2.0 is a major version, as it should be)" in error
    )
    assert "'place'" not in error
    assert (done.exit_code, len(done.records("visits__doctors")), done.records("visits__visits")) == (1, 20, [])
    assert done.state["bookmarks"]["visits__visits"] == state["bookmarks"]["visits__visits"]
    assert len([request for request in site.asked("/readSessions") if "visits.visits" in request.path]) == 0


@_FORMATS
def test_on_request_what_is_gone_is_null_and_the_rest_is_cast(site: Site, loaded: _Loaded, wire_format: str) -> None:
    """`on_schema_change: warn`; the records are the same in all formats."""
    catalog, state = _only_visits(loaded[0]), loaded[1]
    site.release("demo/visits/v2.0/visits", _major(_TABLE))

    done = site.sync(catalog=catalog, state=state, on_schema_change="warn", wire_format=wire_format)

    expected = [{**record, "clinic": None} for record in records_of(_TABLE)]
    assert_same_rows(done.records("visits__visits"), expected)
    warnings = [line for line in done.stderr.splitlines() if "WARNING" in line]
    assert len(warnings) == 3


@_FORMATS
def test_an_interrupted_load_is_cast_to_its_end(site: Site, loaded: _Loaded, wire_format: str) -> None:
    """What was found out when the load began is found out again when it goes on."""
    catalog, state = _only_visits(loaded[0]), loaded[1]
    site.release("demo/visits/v2.0/visits", _dated(_TABLE))
    settings = {"catalog": catalog, "on_schema_change": "warn", "wire_format": wire_format}
    site.emulator.faults.add(
        Fault(kind="close", path="/readStreams/*", per_path=True, at_row=100),
        Fault(kind="status", path="/readStreams/*", per_path=True, nth=2, times=None),
    )
    first = run(site.tap(state=state, max_retry_seconds=0.01, **settings))
    site.emulator.faults.clear()

    second = site.sync(state=first.state, **settings)

    assert first.records("visits__visits")
    records = [*first.records("visits__visits"), *second.records("visits__visits")]
    assert_same_rows(records, records_of(_dated(_TABLE)))


_RETYPED: list[tuple[str, pa.DataType, list[Any], pa.DataType, list[Any], list[Any]]] = [
    # catalog's type and values; the server's type and values; what comes, where … cannot be cast without loss
    ("integer to float", pa.float64(), [0.5], pa.int64(), [1, 2**53, 2**53 + 1], [1.0, 2.0**53, ...]),
    ("float to integer", pa.int64(), [5], pa.float64(), [1.0, -2.0**53, 0.5], [1, -(2**53), ...]),
    ("text to float", pa.float64(), [0.5], pa.string(), ["1e3", " 0.1 ", "9007199254740993"], [1000.0, 0.1, ...]),
    ("text to integer", pa.int64(), [5], pa.string(), ["007", "-1", "1.5"], [7, -1, ...]),
    ("anything to text", pa.string(), ["a"], pa.float64(), [0.1, 1e300, -0.0], ["0.1", "1e+300", "-0.0"]),
    ("truth to text", pa.string(), ["a"], pa.bool_(), [True, False, None], ["true", "false", None]),
    ("truth to integer", pa.int64(), [5], pa.bool_(), [True, False, None], [1, 0, None]),
    ("moments to days", pa.date32(), [0], pa.timestamp("us"), [0, -86_400_000_000, 1],
     ["1970-01-01", "1969-12-31", ...]),
    ("days to moments", pa.timestamp("us"), [0], pa.date32(), [0, 1, None],
     ["1970-01-01T00:00:00", "1970-01-02T00:00:00", None]),
    ("moments to text", pa.string(), ["a"], pa.timestamp("us"), [0, 1, None],
     ["1970-01-01T00:00:00", "1970-01-01T00:00:00.000001", None]),
]  # fmt: skip


def test_retyped_values_are_cast_where_nothing_is_lost(site: Site) -> None:
    """In each format the same; else an error that names variable, row and value, or null on request."""
    for number, (_, before, old, _, _, _) in enumerate(_RETYPED):
        write_table(site.folder, f"demo/casts/v1.0/t{number}", pa.table({"x": pa.array(old, before)}))
    site.emulator.reload()
    catalog = _catalog(site, datasets=["demo.casts"])
    for number, (_, _, _, now, new, _) in enumerate(_RETYPED):
        write_table(site.folder, f"demo/casts/v2.0/t{number}", pa.table({"x": pa.array(new, now)}))
    site.emulator.reload()
    settings: Json = {"catalog": catalog, "datasets": ["demo.casts"], "on_schema_change": "warn"}

    failing = run(site.tap(**settings))
    done = [site.sync(**settings, on_invalid_value="null", wire_format=each) for each in ("jsonl", "arrow", "csv")]

    for number, (name, _, _, _, _, values) in enumerate(_RETYPED):
        expected = [None if value is ... else value for value in values]
        for each in done:
            found = [record["x"] for record in each.records(f"casts__t{number}")]
            assert sorted(map(repr, found)) == sorted(map(repr, expected)), name
        errors = [line for line in failing.stderr.splitlines() if f"casts__t{number}: " in line and "ERROR" in line]
        assert len(errors) == values.count(...), name
        assert all("variable 'x', row " in line for line in errors)
    assert failing.exit_code == 1


def test_new_variables_are_news_and_no_error(site: Site, loaded: _Loaded) -> None:
    """They are left out until the catalog has them, and the log says so; a deselected variable is not new."""
    catalog, state = _only_visits(loaded[0]), loaded[1]
    catalog = deepcopy(catalog)
    _deselect(catalog, "visits__visits", "cost")
    site.release("demo/visits/v1.1/visits", _with_place(_TABLE))

    done = site.sync(catalog=catalog, state=state)

    assert_same_rows(done.records("visits__visits"), records_of(_TABLE.drop_columns(["cost"])))
    assert "not in the catalog, and left out: variable 'place' (string) is new" in done.stderr
    assert "v1.0 → v1.1 is a minor version\n" in done.stderr
    assert "WARNING" not in done.stderr


def test_variables_that_are_left_out_on_purpose_are_no_news(site: Site) -> None:
    """`table_options` names those to read, and the catalog has no others; a new one is none of them."""
    options = {"visits": {"variables": ["id", "clinic"]}}
    catalog = _catalog(site, table_options=options)
    site.release("demo/visits/v1.1/visits", _with_place(visits(60)))

    done = site.sync(catalog=catalog, table_options=options)

    assert len(done.records("visits__visits")) == 60
    assert "is new" not in done.stderr


def test_a_minor_version_that_removes_a_variable_is_called_by_its_name(site: Site, loaded: _Loaded) -> None:
    catalog, state = _only_visits(loaded[0]), loaded[1]
    site.release("demo/visits/v1.1/visits", _TABLE.drop_columns(["cost"]))

    done = run(site.tap(catalog=catalog, state=state))

    assert "variable 'cost' is gone (v1.0 → v1.1 is a minor version, which should only add variables" in done.stderr


def test_a_plan_tells_the_differences(site: Site, loaded: _Loaded) -> None:
    """Which would stop the load, and which are only news."""
    catalog, state = _only_visits(loaded[0]), loaded[1]
    site.release("demo/visits/v2.0/visits", _major(_TABLE))

    shown = {
        each: run(site.tap("--plan", catalog=catalog, state=state, on_schema_change=each)) for each in ("fail", "warn")
    }

    for done in shown.values():
        text = done.stdout.decode()
        assert "visits__visits: variable 'clinic' is gone\n" in text
        assert "visits__visits: variable 'place' (string) is new\n" in text
        assert "visits__visits: v1.0 → v2.0 is a major version, as it should be\n" in text
    assert "0 to read" in shown["fail"].stdout.decode()
    assert "1 to read" in shown["warn"].stdout.decode()


@pytest.mark.parametrize("times", [1, 4])
def test_a_list_of_variables_that_changes_between_its_pages_is_read_again(site: Site, times: int) -> None:
    """A variable was inserted after the first page was read: another comes twice, with another type by now."""
    second = [{"name": "cost", "type": "string"}, {"name": "paid", "type": "boolean"}]
    changed = {"results": second, "nextPageToken": None}
    site.emulator.faults.add(
        Fault(kind="page_size", path="*/variables", nth="every", size=3),
        *(Fault(kind="json", path="*/variables", nth=2 * time, set=changed) for time in range(1, times + 1)),
    )

    done = run(site.tap())

    if times == 1:
        assert_same_rows(done.records("visits__visits"), records_of(visits(2000)))
    else:
        assert (done.exit_code, done.stdout) == (1, b"")
        assert "the list of variables changes while it is read" in done.stderr


def test_a_draft_that_is_edited_while_it_is_listed_is_listed_again(site: Site) -> None:
    """A renamed variable leaves no trace in one reading: lists of what may change are read until two agree."""
    site.release("demo/visits/next/visits", _TABLE)
    first = [{"name": name, "type": "string"} for name in ("number", "clinic", "cost")]
    site.emulator.faults.add(
        Fault(kind="page_size", path="*/variables", nth="every", size=3),
        Fault(kind="json", path="*/variables", set={"results": first}),
    )

    done = site.sync(tables=["demo.visits:next.visits"])

    assert_same_rows(done.records("visits__visits"), records_of(_TABLE))
    assert len(site.asked("/variables")) == 6


@_FORMATS
def test_streams_of_a_draft_may_have_other_columns(site: Site, wire_format: str) -> None:
    """What an upload lacks is null in its rows, and told where the format shows it."""
    write_table(site.folder, "demo/visits/next/visits/a", visits(50))
    write_table(site.folder, "demo/visits/next/visits/b", visits(50, first=50).drop_columns(["cost"]))
    site.emulator.reload()

    done = site.sync(tables=["demo.visits:next.visits"], wire_format=wire_format)

    expected = [{**record, "cost": record["cost"] if record["id"] < 50 else None} for record in records_of(visits(100))]
    assert_same_rows(done.records("visits__visits"), expected)
    assert ("bodies without the column 'cost', which is null there" in done.stderr) == (wire_format != "jsonl")


def _major(table: pa.Table) -> pa.Table:
    """Rename a variable, respell one, make one text, and add one."""
    cost = pc.cast(table["cost"], pa.string())
    place = table.column_names.index("cost")
    table = table.drop_columns(["clinic"]).set_column(place - 1, "cost", cost)
    return _with_place(table).rename_columns({"paid": "Paid"})


def _dated(table: pa.Table) -> pa.Table:
    """Put moments where the catalog has text."""
    return table.set_column(table.column_names.index("clinic"), "clinic", table["seen_at"])


def _with_place(table: pa.Table) -> pa.Table:
    return table.append_column("place", pa.array(["here"] * table.num_rows))


def _catalog(site: Site, **settings: Any) -> Json:
    return {"streams": list(deepcopy(site.discover(**settings)).values())}


def _deselect(catalog: Json, stream: str, variable: str) -> None:
    [entry] = [entry for entry in catalog["streams"] if entry["tap_stream_id"] == stream]
    for each in entry["metadata"]:
        if each["breadcrumb"] == ["properties", variable]:
            each["metadata"]["selected"] = False


def test_a_database_follows_the_catalog_through_its_versions(site: Site, postgres: Postgres) -> None:
    """v1.0, v1.1 with a column more, v2.0 with one renamed and one retyped: neither setting surprises it."""
    tables = [visits(300), _with_place(visits(320)), _major(visits(340))]
    catalog, state = _load(site, postgres, tables[0], "v1.0", None, None)

    _, state = _load(site, postgres, tables[1], "v1.1", catalog, state)
    assert _columns(postgres) == set(tables[0].column_names)  # the new one is left out: the catalog does not have it
    assert _stored(postgres, tables[0].column_names) == _values(visits(320))

    catalog, state = _load(site, postgres, tables[1], "v1.1", None, state)
    assert _stored(postgres, tables[1].column_names) == _values(tables[1])

    site.release("demo/visits/v2.0/visits", tables[2])
    stopped = pipe(site.tap(catalog=catalog, state=state, table_options=_KEYS), _sink(site, postgres))
    assert (stopped.tap.exit_code, stopped.target.exit_code) == (1, 0)
    assert _stored(postgres, tables[1].column_names) == _values(tables[1])

    _load(site, postgres, tables[2], "v2.0", catalog, state, on_schema_change="warn")
    assert _columns(postgres) == set(tables[1].column_names)
    expected = [{**row, "clinic": None} for row in _with_place(visits(340)).to_pylist()]
    assert _stored(postgres, tables[1].column_names) == [tuple(row.values()) for row in expected]


_KEYS = {"visits": {"key_properties": ["id"]}}


def _load(  # noqa: PLR0913, PLR0917 - what a load is
    site: Site,
    database: Postgres,
    table: pa.Table,
    version: str,
    catalog: Json | None,
    state: Json | None,
    **settings: Any,
) -> tuple[Json, Json]:
    """Release a version and load it, with a catalog that is made anew if there is none; return catalog and state."""
    site.release(f"demo/visits/{version}/visits", table)
    catalog = catalog or _catalog(site, table_options=_KEYS)
    done = pipe(site.tap(catalog=catalog, state=state, table_options=_KEYS, **settings), _sink(site, database))
    assert (done.tap.exit_code, done.target.exit_code) == (0, 0), done.tap.stderr + done.target.stderr
    return catalog, done.target.state


def _sink(site: Site, database: Postgres) -> Program:
    url = database.url.replace("postgresql://", "postgresql+psycopg://")
    config = {"sqlalchemy_url": url, "default_target_schema": "public", "hard_delete": True}
    return target("meltanolabs-target-postgres", site.files, config)


def _columns(database: Postgres) -> set[str]:
    found = database.query("SELECT column_name FROM information_schema.columns WHERE table_name = 'visits__visits'")
    return {name for (name,) in found if not name.startswith("_sdc_")}


def _stored(database: Postgres, names: Sequence[str]) -> list[tuple[Any, ...]]:
    columns = ", ".join(f'"{name}"' for name in names)
    rows = database.query(f"SELECT {columns} FROM visits__visits ORDER BY id")  # noqa: S608 - our own names
    return [tuple(float(value) if isinstance(value, Decimal) else value for value in row) for row in rows]


def _values(table: pa.Table) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in table.to_pylist()]
