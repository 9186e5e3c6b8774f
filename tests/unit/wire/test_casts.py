"""Values are cast exactly, whatever form they arrive in, or not at all."""

from __future__ import annotations

import datetime as dt
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_redivis.model.columns import COLUMN_TYPES, INT64_MAX, INT64_MIN, ColumnType
from tap_redivis.wire.casts import Number, Value, cast, is_finite

_INT64 = st.integers(INT64_MIN, INT64_MAX)
_FINITE = st.floats(allow_nan=False, allow_infinity=False)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats().map(lambda number: Number(str(number))) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def _same(first: Value, second: Value) -> bool:
    """Compare type and spelling too: 1 is not 1.0, and 0.0 is not -0.0."""
    return type(first) is type(second) and repr(first) == repr(second)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (0, 0),
        (INT64_MAX, INT64_MAX),
        (INT64_MIN, INT64_MIN),
        ("9223372036854775807", INT64_MAX),
        ("-9223372036854775808", INT64_MIN),
        ("9007199254740993", 2**53 + 1),
        (Number("9007199254740993.0"), 2**53 + 1),
        ("5.0", 5),
        (Number("5.0"), 5),
        (Number("1e3"), 1000),
        ("1e3", 1000),
        (Number("1.5e1"), 15),
        ("  42 ", 42),
        ("+7", 7),
        ("-0", 0),
    ],
)
def test_whole_numbers_become_integers(raw: Any, expected: int) -> None:
    """No digit goes through a float."""
    assert _same(expected, cast(raw, "integer"))


@pytest.mark.parametrize(
    "raw",
    [INT64_MAX + 1, INT64_MIN - 1, "9223372036854775808", "-9223372036854775809", Number("9223372036854775808.0"),
     Number("1e19"), "1e400", "1e999999999999999999999999", Number("0.5"), "5.1", Number("1e-3"), "", "five", "0x10",
     "1_000", "NaN", math.nan, math.inf, True, False, [], {}],
)  # fmt: skip
def test_what_is_no_whole_number_of_64_bits_is_refused(raw: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the kind of error is the rule
        cast(raw, "integer")


@given(_INT64)
def test_every_integer_of_64_bits_survives_every_spelling(number: int) -> None:
    for raw in (number, str(number), f"{number}.0", Number(f"{number}.00"), Number(f"{number}e0"), f"{number}0E-1"):
        assert _same(number, cast(raw, "integer"))


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (1, 1.0),
        ("1", 1.0),
        (Number("-0.0"), -0.0),
        ("5e-324", 5e-324),
        (Number("1.7976931348623157e308"), 1.7976931348623157e308),
        (".5", 0.5),
        ("5.", 5.0),
        (2**53 + 1, float(2**53)),
        ("Infinity", math.inf),
        ("-inf", -math.inf),
        (math.inf, math.inf),
        ("nan", math.nan),
        (math.nan, math.nan),
    ],
)
def test_numbers_become_the_nearest_float(raw: Any, expected: float) -> None:
    """NaN and the infinities are floats too, in JSON's words and as text."""
    found = cast(raw, "float")

    assert repr(expected) == repr(float(str(found)))
    assert isinstance(found, float)


@pytest.mark.parametrize("raw", ["", "one", "1,5", "0x1p3", "1_0", "infinite", True, [], {}])
def test_what_is_no_number_is_refused(raw: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        cast(raw, "float")


@pytest.mark.parametrize("raw", [10**400, -(10**400), "1e400", Number("1e400"), "9" * 400], ids=range(5))
def test_numbers_beyond_the_range_of_floats_are_refused(raw: Any) -> None:
    """They are finite: null, which stands for infinity, would be a lie."""
    with pytest.raises(ValueError, match="beyond the range"):
        cast(raw, "float")


@given(_FINITE)
def test_every_float_survives_its_text(number: float) -> None:
    assert repr(number) == repr(cast(repr(number), "float"))
    assert repr(number) == repr(cast(Number(repr(number)), "float"))


@pytest.mark.parametrize("raw", [True, "true", "TRUE", " True ", 1, "1"])
def test_spellings_of_true(raw: Any) -> None:
    assert cast(raw, "boolean") is True


@pytest.mark.parametrize("raw", [False, "false", "FALSE", "False", 0, "0"])
def test_spellings_of_false(raw: Any) -> None:
    assert cast(raw, "boolean") is False


@pytest.mark.parametrize("raw", ["", "yes", "t", 2, -1, Number("1.0"), [True], {}])
def test_what_is_neither_true_nor_false_is_refused(raw: Any) -> None:
    with pytest.raises(ValueError, match="neither true nor false"):
        cast(raw, "boolean")


@pytest.mark.parametrize(
    ("kind", "raw", "expected"),
    [
        ("date", "2012-01-01", "2012-01-01"),
        ("date", "2012-1-5", "2012-01-05"),
        ("date", "0001-01-01", "0001-01-01"),
        ("date", "9999-12-31", "9999-12-31"),
        ("date", "2024-02-29", "2024-02-29"),
        ("date", "2012-01-01 00:00:00", "2012-01-01"),
        ("dateTime", "2012-01-01 12:30:00", "2012-01-01T12:30:00"),
        ("dateTime", "2012-01-01T12:30:00", "2012-01-01T12:30:00"),
        ("dateTime", "2012-1-5 1:02:03.5", "2012-01-05T01:02:03.500000"),
        ("dateTime", "2012-01-01 12:30:00.000001", "2012-01-01T12:30:00.000001"),
        ("dateTime", "2012-01-01 12:30:00.000000", "2012-01-01T12:30:00"),
        ("dateTime", "2012-01-01 12:30:00.123456000", "2012-01-01T12:30:00.123456"),
        ("dateTime", "9999-12-31 23:59:59.999999", "9999-12-31T23:59:59.999999"),
        ("dateTime", "0001-01-01 00:00:00", "0001-01-01T00:00:00"),
        ("dateTime", "2012-01-01", "2012-01-01T00:00:00"),
        ("dateTime", "2012-01-01 12", "2012-01-01T12:00:00"),
        ("dateTime", "2012-01-01 12:30", "2012-01-01T12:30:00"),
        ("time", "12:30", "12:30:00"),
        ("dateTime", "2012-01-01T12:30:00Z", "2012-01-01T12:30:00"),
        ("dateTime", "2012-01-01 12:30:00 UTC", "2012-01-01T12:30:00"),
        ("dateTime", "2012-01-01 12:30:00+00:00", "2012-01-01T12:30:00"),
        ("time", "12:30:00", "12:30:00"),
        ("time", "1:2:3.25", "01:02:03.250000"),
        ("time", "23:59:59.999999", "23:59:59.999999"),
        ("time", "00:00:00.000001", "00:00:00.000001"),
    ],
)
def test_dates_and_times_get_one_spelling(kind: ColumnType, raw: str, expected: str) -> None:
    """Lenient in what is read (redivis-api §6.1), ISO 8601 without a zone in what is written."""
    assert _same(expected, cast(raw, kind))


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        ("date", "2024-02-30"),
        ("date", "2023-02-29"),
        ("date", "10000-01-01"),
        ("date", "0000-01-01"),
        ("date", "2012-13-01"),
        ("date", "12-01-01"),
        ("date", "2012/01/01"),
        ("date", "2012-01-01 12:30:00"),
        ("date", ""),
        ("date", 20120101),
        ("dateTime", "2012-01-01 24:00:00"),
        ("dateTime", "2012-01-01 23:59:60"),
        ("dateTime", "2012-01-01 12:30:00+01:00"),
        ("dateTime", "2012-01-01 12:30:00.1234567"),
        ("dateTime", "10000-01-01 00:00:00"),
        ("dateTime", "2024-02-30 00:00:00"),
        ("dateTime", 1325421000),
        ("time", "24:00:00"),
        ("time", "23:60:00"),
        ("time", "12"),
        ("time", "23:59:59.9999999"),
        ("time", "12:30:00Z"),
        ("time", "2012-01-01 12:30:00"),
    ],
)
def test_what_is_no_date_or_time_is_refused(kind: ColumnType, raw: Any) -> None:
    """Nothing is rounded, shifted or guessed."""
    with pytest.raises(ValueError):  # noqa: PT011
        cast(raw, kind)


@given(st.datetimes(), st.sampled_from(" T"))
def test_every_moment_survives_its_text(moment: dt.datetime, separator: str) -> None:
    assert moment.isoformat() == cast(moment.isoformat(separator), "dateTime")
    assert moment.date().isoformat() == cast(moment.date().isoformat(), "date")
    assert moment.time().isoformat() == cast(moment.time().isoformat(), "time")


@pytest.mark.parametrize("kind", ["string", "geography"])
@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("", ""),
        (" x ", " x "),
        ("null", "null"),
        (12, "12"),
        (Number("12.50"), "12.50"),
        (True, "true"),
        ([1, "ü"], '[1,"ü"]'),
        ({"a": None}, '{"a":null}'),
    ],
)
def test_anything_becomes_text_as_json_writes_it(kind: ColumnType, raw: Any, expected: str) -> None:
    """Text stays as it is, and a number keeps every digit."""
    assert expected == cast(raw, kind)


@given(st.text())
def test_text_is_not_touched(text: str) -> None:
    assert text == cast(text, "string")


@pytest.mark.parametrize("kind", sorted(COLUMN_TYPES))
def test_null_is_null_in_every_type(kind: ColumnType) -> None:
    assert cast(None, kind) is None


@given(_JSON, st.sampled_from(sorted(COLUMN_TYPES)))
def test_any_json_is_cast_or_a_value_error(raw: Any, kind: ColumnType) -> None:
    """No other exception, and what comes out is a value of JSON, but for NaN and the infinities."""
    try:
        value = cast(raw, kind)
    except ValueError:
        return
    assert not is_finite(value) or value == json.loads(json.dumps(value))


@given(st.from_regex(r"[+-]?[0-9.:eE TZ-]{0,30}", fullmatch=True), st.sampled_from(sorted(COLUMN_TYPES)))
def test_text_that_looks_like_a_value_is_cast_or_a_value_error(raw: str, kind: ColumnType) -> None:
    try:
        value = cast(raw, kind)
    except ValueError:
        return
    if isinstance(value, int) and kind == "integer":
        assert INT64_MIN <= value <= INT64_MAX


@pytest.mark.parametrize("value", [None, "NaN", 0, 1.5, True, -0.0])
def test_ordinary_values_are_finite(value: Value) -> None:
    assert is_finite(value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nan_and_the_infinities_are_not_finite(value: Value) -> None:
    assert not is_finite(value)
