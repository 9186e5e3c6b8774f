"""Rows as bytes: whatever the values, each format reads back exactly."""

from __future__ import annotations

import datetime as dt
import json
import math
from typing import Any, get_args

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from redivis_emulator import demo, render
from redivis_emulator.render import CsvLineEnds, CsvQuotes, Style
from redivis_emulator.variable_types import ARROW_TYPES
from tests.emulator.conftest import read_arrow, read_csv

# NUL ends no string in JSON or CSV, but pyarrow's CSV reader stops there; lone surrogates are not UTF-8.
_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "string": _TEXT,
    "integer": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(allow_nan=False, allow_infinity=False),
    "boolean": st.booleans(),
    "date": st.dates(),
    "dateTime": st.datetimes(),
    "time": st.times(),
    "geography": st.just("POINT (1 2)"),
}
SCHEMA = pa.schema([(kind, ARROW_TYPES[kind]) for kind in _VALUES])  # type: ignore[index] # keys are the types
ROWS = st.lists(
    st.fixed_dictionaries({kind: st.none() | values for kind, values in _VALUES.items()}), min_size=1, max_size=8
)


def written(rows: pa.Table, style: Style) -> bytes:
    """Return a whole body."""
    tail = render.tail(rows.schema, style, sentinel=False)
    return render.head(rows.schema, style) + render.body(rows, style) + tail


def spelled(value: Any) -> Any:
    """Return a value as JSON Lines show it (redivis-api §6.1)."""
    if isinstance(value, dt.datetime):
        return value.isoformat(" ")
    return value.isoformat() if isinstance(value, dt.date | dt.time) else value


@settings(deadline=None, max_examples=50)
@given(ROWS)
def test_jsonl_is_exact(rows: list[dict[str, Any]]) -> None:
    """Every line is a JSON object with equal values: integers to the last digit, floats to the last bit."""
    found = [
        json.loads(line) for line in written(pa.Table.from_pylist(rows, schema=SCHEMA), Style("jsonl")).splitlines()
    ]
    expected = [{key: spelled(value) for key, value in row.items()} for row in rows]
    assert found == expected
    assert [math.copysign(1, row["float"] or 0) for row in found] == [math.copysign(1, r["float"] or 0) for r in rows]


@settings(deadline=None, max_examples=50)
@given(ROWS, st.sampled_from(get_args(CsvQuotes)), st.sampled_from(get_args(CsvLineEnds)))
def test_csv_reads_back(rows: list[dict[str, Any]], quotes: Any, line_ends: Any) -> None:
    """Nulls and empty strings stay apart, and quotes and line ends survive (redivis-api §11.5)."""
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    style = Style("csv", quotes=quotes, line_ends=line_ends)
    assert read_csv(written(table, style), SCHEMA).equals(table)


@settings(deadline=None, max_examples=50)
@given(ROWS)
def test_arrow_reads_back(rows: list[dict[str, Any]]) -> None:
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    assert read_arrow(written(table, Style("arrow"))).equals(table)


def test_slices_are_written_alone() -> None:
    """A slice of a table takes no byte of its neighbours along."""
    table = demo.all_types()
    for style in (Style("jsonl"), Style("csv"), Style("arrow")):
        pieces = b"".join(render.body(table.slice(row, 1), style) for row in range(table.num_rows))
        whole = render.body(table, style)
        assert pieces == whole or style.format == "arrow"
    batches = b"".join(render.body(table.slice(row, 1), Style("arrow")) for row in range(table.num_rows))
    head, tail = render.head(table.schema, Style("arrow")), render.tail(table.schema, Style("arrow"), sentinel=True)
    assert read_arrow(head + batches + tail).equals(table)


def test_whole_floats_have_a_point() -> None:
    """redivis-api §6.1: 12 is written as 12.0."""
    rows = pa.table({"x": [12.0, -0.0, 1e9, 9999999999.0, 1e10, 0.5, None]})
    values = [line.partition(b":")[2].rstrip(b"}") for line in render.jsonl(rows, Style("jsonl")).splitlines()]
    assert values == [b"12.0", b"-0.0", b"1000000000.0", b"9999999999.0", b"1e+10", b"0.5", b"null"]


def test_fractions_of_seconds_show_only_where_there_are_some() -> None:
    rows = pa.table({"at": pa.array([0, 1], pa.timestamp("us")), "t": pa.array([0, 1_000_000], pa.time64("us"))})
    assert render.csv(rows, Style("csv")) == b"1970-01-01 00:00:00,00:00:00\r\n1970-01-01 00:00:00.000001,00:00:01\r\n"


def test_numbers_that_json_does_not_have() -> None:
    """They are bare words, strings or nulls, as the style says (redivis-api §11.7)."""
    rows = pa.table({"x": [math.nan, math.inf, -math.inf, 1.5]})
    lines = {
        "literal": b'{"x":NaN}\n{"x":Infinity}\n{"x":-Infinity}\n{"x":1.5}\n',
        "string": b'{"x":"NaN"}\n{"x":"Infinity"}\n{"x":"-Infinity"}\n{"x":1.5}\n',
        "null": b'{"x":null}\n{"x":null}\n{"x":null}\n{"x":1.5}\n',
    }
    for non_finite, expected in lines.items():
        assert render.jsonl(rows, Style("jsonl", non_finite=non_finite)) == expected  # type: ignore[arg-type] # a key


def test_nulls_may_be_absent() -> None:
    """redivis-api §11.6: the key is left out, also if no key is left."""
    rows = pa.table({"a": [1, None, None], "b": ["x", "y", None]})
    assert render.jsonl(rows, Style("jsonl", nulls="absent")) == b'{"a":1,"b":"x"}\n{"b":"y"}\n{}\n'
