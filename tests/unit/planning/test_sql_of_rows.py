"""Replication keys: nothing that stands in a bookmark or a name can be more than a value or a name."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
import sqlglot
from hypothesis import given
from hypothesis import strategies as st
from sqlglot import exp

from tap_redivis.model.columns import Column, ColumnType, is_higher
from tap_redivis.planning.sql import Since, rows_since
from tap_redivis.wire.json_lines import HighestKey

_TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00\ufffd"))


@given(_TEXTS, _TEXTS.filter(lambda name: name and "." not in name))  # the parser splits names at dots
def test_text_is_never_sql(value: str, name: str) -> None:
    """What a parser reads out of the query is one column, one table, and the text, character by character."""
    query = rows_since("demo.visits:v1_0.visits", [name], Since(Column(name, "string"), value))

    tree = sqlglot.parse_one(query, dialect="bigquery")
    [literal] = tree.find_all(exp.Literal)
    assert literal.this == value
    assert {column.name for column in tree.find_all(exp.Column)} == {name}
    assert len(list(tree.find_all(exp.Select))) == 1


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("integer", -(2**63), "CAST('-9223372036854775808' AS INT64)"),
        ("float", 1e300, "CAST('1e+300' AS FLOAT64)"),
        ("float", 2, "CAST('2.0' AS FLOAT64)"),
        ("date", "2012-02-29", "CAST('2012-02-29' AS DATE)"),
        ("dateTime", "2012-02-29T12:30:00.000001+00:00", "CAST('2012-02-29T12:30:00.000001' AS DATETIME)"),
        ("time", "12:30:00", "CAST('12:30:00' AS TIME)"),
        ("string", "it's", "CAST('it\\'s' AS STRING)"),
    ],
)
def test_each_type_has_its_literal(kind: ColumnType, value: Any, expected: str) -> None:
    """NaN and infinities are no higher than a value, and null in records: as null does, they come each time."""
    always = " OR IS_NAN(`key`) OR IS_INF(`key`)" if kind == "float" else ""

    assert Since(Column("key", kind), value).condition() == f"`key` >= {expected} OR `key` IS NULL{always}"


@pytest.mark.parametrize(
    ("kind", "value"),
    [("integer", "1"), ("integer", True), ("integer", 1.5), ("float", float("inf")), ("float", "1"), ("float", True),
     ("date", "2012-02-29' OR '1"), ("date", 20120229), ("dateTime", "2012-02-29"), ("time", "12:30"),
     ("date", "٢٠١٢-٠٢-٢٩"), ("string", 1), ("string", "\x00"), ("string", "\ufffd"), ("boolean", True)],
)  # fmt: skip
def test_a_value_of_another_type_is_refused(kind: ColumnType, value: Any) -> None:
    with pytest.raises(ValueError, match=f" is no {kind}"):
        Since(Column("key", kind), value).condition()


@given(st.lists(st.none() | st.datetimes()), st.sampled_from(["key", 'k"ey']))
def test_the_highest_time_is_that_of_the_calendar(moments: list[dt.datetime | None], name: str) -> None:
    """Though it is compared as text; also where a name cannot be a Struct's."""
    spelled = [moment and moment.isoformat() for moment in moments]
    lines = b"".join(json.dumps({name: text}).encode() + b"\n" for text in spelled)

    known = [moment for moment in moments if moment]
    assert HighestKey(Column(name, "dateTime")).of(lines) == (max(known).isoformat() if known else None)


@pytest.mark.parametrize(
    ("lines", "highest"),
    [
        (b'{"key":"a"}\n{"key":"b\xef\xbf\xbdz"}\n', "b"),
        (b'{"key":"a"}\n{"key":"b\\ud800z"}\n', "b"),
        (b'{"key":null}\n', None),
        (b"", None),
    ],
    ids=["replaced", "surrogate", "null", "none"],
)
def test_a_text_counts_as_far_as_it_is_the_source_s(lines: bytes, highest: str | None) -> None:
    """A key beyond the source's would hide rows; one below it only lets some come again."""
    assert HighestKey(Column("key", "string")).of(lines) == highest


def test_a_value_of_another_type_is_not_compared() -> None:
    """A damaged bookmark is no crash."""
    assert is_higher("a", 5)
    assert is_higher(5, "a")
    assert not is_higher("a", "b")
    assert not is_higher(5, 5)
