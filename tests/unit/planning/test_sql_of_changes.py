"""The query that compares two versions is one of names and nothing else, and its rows become rows with a mark."""

from __future__ import annotations

import json
from datetime import datetime, timezone

import pytest
import sqlglot
from hypothesis import given
from hypothesis import strategies as st
from sqlglot import exp

from tap_redivis.errors import DataError
from tap_redivis.model.columns import COLUMN_TYPES, DELETED_AT, Column, ValueRules
from tap_redivis.model.reads import ChangeCounts
from tap_redivis.model.tables import Variable
from tap_redivis.planning.sql import Comparison, change_column, why_not_comparable
from tap_redivis.wire.codec import RowCodec
from tap_redivis.wire.json_lines import DeletionMarker
from tap_redivis.wire.rows import JsonRows, ValueIssues

_BEFORE, _SECOND, _AFTER = (f"demo.visits:v1_{minor}.visits" for minor in range(3))
_NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00."), min_size=1)
_RECIPROCALS = ("IEEE_DIVIDE(1, `new`.`x`)", "IEEE_DIVIDE(1, `old`.`x`)")
_TYPES = st.sampled_from([*sorted(COLUMN_TYPES), "bytes"])
_FOUND_AT = datetime(2026, 11, 20, 12, tzinfo=timezone.utc)


@given(
    st.dictionaries(_NAMES, _TYPES, min_size=1, max_size=4), st.data(), st.sampled_from([[_BEFORE], [_BEFORE, _SECOND]])
)
def test_names_are_never_sql(types: dict[str, str], data: st.DataObject, before: list[str]) -> None:
    """A parser reads out of the query the columns that were meant, the two tables, and nothing of the user's beside."""
    keys = data.draw(st.lists(st.sampled_from(sorted(types)), min_size=1, unique=True))
    comparison = Comparison(before, _AFTER, [Variable(name, kind) for name, kind in types.items()], keys)

    tree = sqlglot.parse_one(comparison.query(), dialect="bigquery")

    assert [select.alias for select in tree.selects] == [*types, comparison.change_column.name]
    assert len(list(tree.find_all(exp.Select))) == 4 * len(before)  # a comparison, its check, and that of each side
    ours = {"passed", "copies", *(f"k{place}" for place in range(len(keys)))}
    assert {column.name for column in tree.find_all(exp.Column)} <= {*types, *ours}
    tables = {".".join(part.name for part in table.parts) for table in tree.find_all(exp.Table)}
    assert tables == {*before, _AFTER}


def test_names_of_ours_are_not_those_of_variables() -> None:
    variables = [Variable(name, "string") for name in ("NEW", "old", "key_check", "Redivis_Change", "redivis_change_")]

    query = Comparison([_BEFORE], _AFTER, variables, ["NEW"]).query()

    assert "`new_`.`NEW`" in query
    assert "AS `redivis_change__`" in query


@pytest.mark.parametrize(
    ("kind", "condition"),
    [
        ("string", "`new`.`x` IS DISTINCT FROM `old`.`x`"),
        ("geography", "ST_ASBINARY(`new`.`x`) IS DISTINCT FROM ST_ASBINARY(`old`.`x`)"),
        ("bytes", "TO_JSON_STRING(`new`.`x`) IS DISTINCT FROM TO_JSON_STRING(`old`.`x`)"),
        (
            "float",
            f"`new`.`x` IS DISTINCT FROM `old`.`x` OR {' IS DISTINCT FROM '.join(_RECIPROCALS)}",
        ),
    ],
)
def test_each_type_has_its_comparison(kind: str, condition: str) -> None:
    """Geographies and floats have one of their own: the former have no order, and 0.0 equals -0.0."""
    variables = [Variable("id", "integer"), Variable("x", kind)]

    query = Comparison([_BEFORE], _AFTER, variables, ["ID"]).query()

    assert query.endswith(f"\nWHERE `new`.`id` IS NULL OR `old`.`id` IS NULL OR {condition}")


@given(st.lists(st.tuples(st.sampled_from("icdrg"), st.text() | st.none(), st.sampled_from([0, "}\n", ',"x":"d"}']))))
def test_rows_are_marked_and_counted(rows: list[tuple[str, str | None, object]]) -> None:
    """Whatever stands in them: also what looks like a mark or a line's end."""
    columns = [Column("id", "string"), Column("name", "string")]
    mark = change_column(column.name for column in columns)
    codec, names = (
        RowCodec("t", [*columns, mark], ValueRules(replace_characters=False), ValueIssues()),
        ["id", "name", "m"],
    )
    lines = b"".join(codec.encode_row({"id": str(key), "name": name, "m": kind}, names, 0) for kind, name, key in rows)

    has_sentinel, changes = DeletionMarker(mark, _FOUND_AT, "+00:00").of(JsonRows(len(rows), lines))

    found_at = "2026-11-20T12:00:00+00:00"
    assert [json.loads(line) for line in has_sentinel.lines.splitlines()] == [
        {"id": str(key), "name": name, DELETED_AT: found_at if kind in "dg" else None} for kind, name, key in rows
    ]
    counts = [[kind for kind, _, _ in rows].count(kind) for kind in "icdrg"]
    assert changes == ChangeCounts(*counts[:3], repeated=sum(counts[3:]))


def test_a_row_of_which_nothing_is_said_is_an_error() -> None:
    lines = b'{"id":1,"redivis_change":null}\n'

    with pytest.raises(DataError, match="does not say of each row"):
        DeletionMarker(change_column(["id"]), _FOUND_AT, "").of(JsonRows(1, lines))


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ({"id": "integer", "x": "float"}, {"ID": "integer", "X": "float", "more": "date"}, None),
        ({"id": "integer"}, {"id": "integer", "x": "float"}, "only one of them has the variable 'x'"),
        ({"id": "integer", "x": "float"}, {"id": "integer"}, "only one of them has the variable 'x'"),
        (
            {"id": "integer", "x": "float"},
            {"id": "integer", "x": "string"},
            "the variable 'x' was float and is now string",
        ),
    ],
)
def test_selected_variables_must_be_in_both_versions(
    before: dict[str, str], after: dict[str, str], reason: str | None
) -> None:
    columns = [Column("id", "integer"), Column("x", "float")]
    sides = [[Variable(name, kind) for name, kind in side.items()] for side in (before, after)]

    assert why_not_comparable(columns, *sides) == reason
