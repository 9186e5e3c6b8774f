"""Casts one value, as a body has it, to its column's type, as a RECORD has it. Pure.

This is the exact but slow way for values that did not arrive in their type: retyped variables arrive as strings
(redivis-api §6.2), and dates may have one-digit months. What comes out is the value as JSON has it: integers, floats,
booleans, and text for everything else, dates and times in ISO 8601.
"""

import base64
import json
import math
import re
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any

from tap_redivis.model.columns import INT64_MAX, INT64_MIN, ColumnType

Value = str | int | float | bool | None

_DATE = r"(\d{4})-(\d{1,2})-(\d{1,2})"
_TIME = r"(\d{1,2}):(\d{1,2})(?::(\d{1,2})(?:\.(\d{1,9}))?)?"
_HOUR_OR_TIME = r"(\d{1,2})(?::(\d{1,2})(?::(\d{1,2})(?:\.(\d{1,9}))?)?)?"
_DATE_ONLY = re.compile(_DATE)
_DATE_TIME = re.compile(rf"{_DATE}(?:[ Tt]{_HOUR_OR_TIME}(?:[Zz]| ?UTC|[+-]00:?00)?)?")
_TIME_ONLY = re.compile(_TIME)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_WHOLE = re.compile(r"[+-]?\d+")
_NOT_FINITE = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)
_BOOLEANS = {"true": True, "false": False, "1": True, "0": False}
_LONGEST_NUMBER = 1000  # a longer text is rubbish, and must not cost the time of parsing it


class Number(float):
    """A JSON number with a fraction or exponent; ``text`` is how it is written, so that no digit is lost."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text


def cast(value: Any, column_type: ColumnType) -> Value:  # noqa: ANN401 - any JSON value
    """Cast decoded JSON, with fractions as ``Number``; a float may be NaN. A ``ValueError`` says that it cannot be."""
    return None if value is None else _CASTS[column_type](value)


def recast(value: Value, column_type: ColumnType) -> Value:
    """Cast a value that ``cast`` gave to another type where nothing is lost, or else raise a ``ValueError``."""
    if isinstance(value, bool) and column_type in {"integer", "float"}:
        value = int(value)
    if isinstance(value, float):
        value = Number(repr(value))
    recasted = cast(value, column_type)
    digits = str(value).strip() if isinstance(value, (int, str)) else ""
    if isinstance(recasted, float) and _WHOLE.fullmatch(digits) and Decimal(digits) != Decimal(recasted):
        raise ValueError("a float has not enough digits for it")
    return recasted


def _text(value: Any) -> str:  # noqa: ANN401
    if isinstance(value, str):
        return value
    if isinstance(value, Number):
        return value.text
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_leaf)


def _leaf(value: Any) -> str:  # noqa: ANN401
    # Within Arrow's lists and structs: dates, and bytes, which JSON has in base64.
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def _integer(value: Any) -> int:  # noqa: ANN401
    if isinstance(value, int) and not isinstance(value, bool):
        number: int = value
    else:
        number = _whole(value.text if isinstance(value, Number) else _stripped(value))
    if not INT64_MIN <= number <= INT64_MAX:
        raise ValueError("beyond 64 bits")
    return number


def _whole(text: str) -> int:
    if not _NUMBER.fullmatch(text) or len(text) > _LONGEST_NUMBER:
        raise ValueError("not a whole number")
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise ValueError("not a whole number") from None
    if number.adjusted() > len(str(INT64_MAX)) or number != number.to_integral_value():
        raise ValueError("not a whole number of 64 bits")
    return int(number)


def _float(value: Any) -> float:  # noqa: ANN401
    if isinstance(value, Number):
        return _in_range(float(value))
    if isinstance(value, float):
        return value  # NaN or infinite: any other is a Number
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else _stripped(value)
    if _NOT_FINITE.fullmatch(text):
        return float(text)
    if not _NUMBER.fullmatch(text):
        raise ValueError("not a number")
    return _in_range(float(text))


def _in_range(number: float) -> float:
    if math.isinf(number):
        raise ValueError("beyond the range of a float")
    return number


def _boolean(value: Any) -> bool:  # noqa: ANN401
    if isinstance(value, bool):
        return value
    try:
        return _BOOLEANS[str(value).strip().lower()]
    except KeyError:
        raise ValueError("neither true nor false") from None


def _date(value: Any) -> str:  # noqa: ANN401
    text = _stripped(value)
    if match := _DATE_ONLY.fullmatch(text):
        return date(*map(int, match.groups())).isoformat()
    moment = _moment(text)
    if moment.time() != time():
        raise ValueError("a date with a time of day")
    return moment.date().isoformat()


def _date_time(value: Any) -> str:  # noqa: ANN401
    return _moment(_stripped(value)).isoformat()


def _moment(text: str) -> datetime:
    match = _DATE_TIME.fullmatch(text)
    if not match:
        raise ValueError("not a date and time")
    year, month, day, hour, minute, second, fraction = match.groups(default="0")
    return datetime(  # noqa: DTZ001 - dateTime has no zone
        int(year), int(month), int(day), int(hour), int(minute), int(second), _microseconds(fraction)
    )


def _time(value: Any) -> str:  # noqa: ANN401
    match = _TIME_ONLY.fullmatch(_stripped(value))
    if not match:
        raise ValueError("not a time of day")
    hour, minute, second, fraction = match.groups(default="0")
    return time(int(hour), int(minute), int(second), _microseconds(fraction)).isoformat()


def _microseconds(fraction: str) -> int:
    if fraction[6:].strip("0"):
        raise ValueError("finer than microseconds")  # rounded, it would be another moment
    return int(fraction[:6].ljust(6, "0"))


def _stripped(value: Any) -> str:  # noqa: ANN401
    if not isinstance(value, str):
        raise ValueError(f"a JSON {type(value).__name__}")  # noqa: TRY004 - one kind of error for all bad values
    return value.strip()


def is_finite(value: Value) -> bool:
    """Whether a value may stand in JSON."""
    return not isinstance(value, float) or math.isfinite(value)


_CASTS: dict[str, Callable[[Any], Value]] = {
    "string": _text,
    "geography": _text,
    "integer": _integer,
    "float": _float,
    "boolean": _boolean,
    "date": _date,
    "dateTime": _date_time,
    "time": _time,
}
