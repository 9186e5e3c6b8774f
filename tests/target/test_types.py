"""Values and names arrive as they are."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import pyarrow as pa
import pytest

from tests.target.conftest import Warehouse, activate, arrow_file, record, schema

_MOMENT = {"type": ["string", "null"], "format": "date-time"}
_EXTREMES: dict[str, tuple[pa.DataType, dict[str, Any], list[Any]]] = {
    "integer": (pa.int64(), {"type": ["integer", "null"]}, [-(2**63), 2**63 - 1, 0, None]),
    "number": (pa.float64(), {"type": ["number", "null"]}, [0.1, -1e308, 5e-324, 2.0**53, None]),
    "boolean": (pa.bool_(), {"type": ["boolean", "null"]}, [True, False, None]),
    "text": (pa.string(), {"type": ["string", "null"]}, ["", "a\n\r\t'\"\\ é 🦊", "x" * 300_000, "\\N", "NULL", None]),
    "date": (
        pa.date32(),
        {"type": ["string", "null"], "format": "date"},
        [dt.date(1, 1, 1), dt.date(9999, 12, 31), dt.date(2024, 2, 29), None],
    ),
    "moment": (
        pa.timestamp("us"),
        _MOMENT,
        [dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31, 23, 59, 59, 999999), dt.datetime(2024, 2, 29, 1), None],  # noqa: DTZ001
    ),
    "time": (
        pa.time64("us"),
        {"type": ["string", "null"], "format": "time"},
        [dt.time(0), dt.time(23, 59, 59, 999999), dt.time(12, 30), None],
    ),
}


def _stored(warehouse: Warehouse, value: Any) -> Any:
    """Return a value as a database gives it back."""
    if warehouse.scheme == "sqlite" and isinstance(value, (dt.time, dt.datetime)):
        return value.isoformat(timespec="microseconds")
    if warehouse.scheme == "sqlite" and isinstance(value, dt.date):
        return value.isoformat()
    return value


@pytest.mark.parametrize("kind", _EXTREMES)
@pytest.mark.parametrize("way", ["records", "file"])
def test_extremes_are_exact(warehouse: Warehouse, kind: str, way: str) -> None:
    arrow, part, values = _EXTREMES[kind]
    numbered = schema({"n": {"type": "integer"}, "v": part})
    if way == "file":
        rows = [
            arrow_file(
                warehouse.folder, "a", pa.table({"n": range(len(values)), "v": pa.array(values, arrow)}), offset=0
            )
        ]
    else:
        spelled = [value.isoformat() if isinstance(value, (dt.date, dt.time)) else value for value in values]
        rows = [record(1, n=number, v=value) for number, value in enumerate(spelled)]

    warehouse.loaded([numbered, *rows, activate(1)])

    found = [value for _, value in warehouse.rows("visits", "n", "v")]
    assert found == [_stored(warehouse, value) for value in values]


def test_numbers_that_json_does_not_have_stay(warehouse: Warehouse) -> None:
    """SQLite keeps no NaN, which is null there, and no sign of zero."""
    values = pa.array([math.nan, math.inf, -math.inf, -0.0])
    warehouse.loaded(
        [schema({}), arrow_file(warehouse.folder, "a", pa.table({"n": range(4), "v": values}), offset=0), activate(1)]
    )

    nan, *others = [value for _, value in warehouse.rows("visits", "n", "v")]
    assert nan is None if warehouse.scheme == "sqlite" else math.isnan(nan)
    assert others == [math.inf, -math.inf, 0.0]
    assert math.copysign(1, others[-1]) == (1 if warehouse.scheme == "sqlite" else -1)


def test_moments_with_an_offset_are_stored_in_utc(warehouse: Warehouse) -> None:
    warehouse.loaded([schema({"v": _MOMENT}), record(v="2024-02-29T12:00:00+05:30"), record(v="2024-02-29T07:00:00")])

    found = warehouse.rows("visits", "v")
    assert found == [(_stored(warehouse, dt.datetime(2024, 2, 29, hour, 30 * (hour == 6))),) for hour in (6, 7)]  # noqa: DTZ001


def test_lists_and_objects_become_json(warehouse: Warehouse) -> None:
    nested = pa.table({"v": pa.array([[1, 2], None], pa.list_(pa.int32())), "w": pa.array([{"a": "é"}, None])})
    warehouse.loaded([schema({}), arrow_file(warehouse.folder, "a", nested.slice(0, 1), offset=0), activate(1)])
    warehouse.loaded([schema({"v": {"type": "array"}, "w": {"type": "object"}}), record(1, v=[3], w={"b": None})])

    assert warehouse.rows("visits", "v", "w") == [("[1,2]", '{"a":"é"}'), ("[3]", '{"b":null}')]


def test_small_and_unsigned_numbers_large_text_and_dictionaries_are_widened(warehouse: Warehouse) -> None:
    columns = {
        "a": pa.array([200], pa.uint8()),
        "b": pa.array([1.5], pa.float32()),
        "c": pa.array(["x"], pa.large_string()),
        "d": pa.array(["y"]).dictionary_encode(),
        "e": pa.array([dt.datetime(2024, 1, 1)], pa.timestamp("ms")),  # noqa: DTZ001
    }
    warehouse.loaded([schema({}), arrow_file(warehouse.folder, "a", pa.table(columns), offset=0), activate(1)])

    assert warehouse.rows("visits", "a", "b", "c", "d") == [(200, 1.5, "x", "y")]


def test_a_type_widens_where_no_value_changes(warehouse: Warehouse) -> None:
    warehouse.loaded([schema({"v": {"type": "integer"}}), record(v=2**53)])
    warehouse.loaded([schema({"v": {"type": "number"}}), record(v=0.5)])

    assert warehouse.rows("visits", "v") == [(0.5,), (2.0**53,)]


def test_a_type_does_not_widen_where_a_value_would_change(in_postgres: Warehouse) -> None:
    in_postgres.loaded([schema({"v": {"type": "integer"}}), record(v=2**53 + 1)])
    done = in_postgres.load([schema({"v": {"type": "number"}}), record(v=0.5)])

    assert done.exit_code == 1
    assert "visits: column 'v' holds integers that DOUBLE PRECISION cannot hold exactly" in done.stderr
    assert in_postgres.rows("visits", "v") == [(2**53 + 1,)]


_NAMES = ["select", "Mixed Case", 'quo"te', "a.b", "percent%s", "é🦊", "semi;colon", "x" * 80, "x" * 81, "user"]


def test_names_of_all_kinds_hold_their_values(warehouse: Warehouse) -> None:
    values = {name: f"value of {name}" for name in _NAMES}
    stream = 'Table "with" spaces & select'
    columns = {name: {"type": "string"} for name in _NAMES}
    messages = [schema(columns, stream=stream), record(1, stream, **values), activate(1, stream)]
    warehouse.loaded(messages)
    warehouse.loaded([schema(columns, "select", stream=stream), record(1, stream, **values)])

    assert set(warehouse.rows(stream)[0]) == set(values.values())


def test_names_that_differ_by_case_are_columns_of_their_own(warehouse: Warehouse) -> None:
    columns = {"Name": {"type": "string"}, "name": {"type": "string"}}
    warehouse.loaded([schema(columns, "name"), record(Name="a", name="b"), record(Name="c", name="b")])

    assert [set(row) for row in warehouse.rows("visits")] == [{"b", "c"}]


def test_names_that_are_too_long_are_cut_and_told(in_postgres: Warehouse) -> None:
    stream = "s" * 80
    done = in_postgres.load(
        [schema({"v": {"type": "string"}}, stream=stream), record(1, stream, v="x"), activate(1, stream)]
    )

    [table] = in_postgres.tables()
    assert len(table) == 63
    assert in_postgres.rows(table) == [("x",)]
    assert f"the name '{stream}'" in done.stderr


def test_u_0000_is_replaced_and_told_where_the_database_cannot_hold_it(
    warehouse: Warehouse, caplog: pytest.LogCaptureFixture
) -> None:
    warehouse.loaded([schema({"v": {"type": "string"}}), record(v="a\0b")])

    holds_it = warehouse.scheme != "postgresql"
    assert warehouse.rows("visits") == [("a\0b" if holds_it else "a\ufffdb",)]
    assert ("U+0000" in caplog.text) != holds_it
