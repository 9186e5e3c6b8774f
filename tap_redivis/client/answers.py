"""Values of the server's answers; what is missing, or of another type, is None or empty."""

import json
import re
from collections.abc import Mapping
from typing import Any

from tap_redivis.errors import one_line
from tap_redivis.model.references import REFERENCE_ID
from tap_redivis.model.tables import Json, Variable

_MOST_LEVELS = 50  # of JSON in JSON
_MOST_VALUES = 200_000  # of one answer, about: a value may take fifty times the bytes of its text
_MOST_NUMBER = 2**63 - 1
_MOST_ID_CHARACTERS = 1000
_SIMPLE = (str, int, float, type(None))

_NAME = re.compile(r".{1,1000}", re.DOTALL)  # all that is no description is shorter
_DESCRIPTION = re.compile(r".+", re.DOTALL)
_PATH = re.compile(r"/[!-~]{0,2000}")
TAG = re.compile(r"v\d{1,9}\.\d{1,9}|next")


def parsed_json(body: bytearray) -> Any:  # noqa: ANN401 - any JSON value
    """Parse an answer; a ``ValueError`` says that it is no JSON, or has more in it than any real one."""
    if sum(map(body.count, (b",", b"[", b"{"))) > _MOST_VALUES:
        raise ValueError("too many values")
    try:
        value = json.loads(body)
    except RecursionError:
        raise ValueError("nested too deep") from None
    refuse_depth(value)
    if rb"\ud" in body or rb"\uD" in body:  # half of a pair of surrogates could be written nowhere
        value = json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    return value


def refuse_depth(value: Any) -> None:  # noqa: ANN401 - any JSON value
    """Raise a ``ValueError`` for JSON that is nested deeper than any real one: who goes down in it would fail."""
    level: list[Any] = [value]
    for _ in range(_MOST_LEVELS):
        objects = [each.values() if isinstance(each, dict) else each for each in level]
        level = [each for values in objects if not isinstance(values, _SIMPLE) for each in values]
    if level:
        raise ValueError("nested too deep")


def has_name(item: Any, known_by: str = "name") -> bool:  # noqa: ANN401 - any JSON value
    """Whether a value is an object with a name."""
    return isinstance(item, dict) and text_of(item, known_by) is not None


def variable_of(item: Json) -> Variable:
    """Read a variable of a list."""
    return Variable(
        name=item["name"],
        type=text_of(item, "type") or "unknown",
        label=description_of(item, "label"),
        description=description_of(item),
    )


def text_of(item: Mapping[str, Any], key: str, form: re.Pattern[str] = _NAME) -> str | None:
    """Read a name or another short text; None if it is missing or has another form."""
    value = item.get(key)
    return value if isinstance(value, str) and form.fullmatch(value) else None


def description_of(item: Mapping[str, Any], key: str = "description") -> str | None:
    """Read a text of any length; None if it is missing or empty."""
    return text_of(item, key, _DESCRIPTION)


def reference_id_of(item: Mapping[str, Any]) -> str | None:
    """Read the id of a dataset, workflow or table in references."""
    return text_of(item, "referenceId", REFERENCE_ID)


def id_of(item: Any) -> str:  # noqa: ANN401 - any JSON value
    """Read an id, a text or a number; empty if there is none."""
    value = item.get("id") if isinstance(item, dict) else None
    return str(value)[:_MOST_ID_CHARACTERS] if isinstance(value, (str, int)) else ""


def object_of(item: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Read an object; empty if it is missing."""
    value = item.get(key)
    return value if isinstance(value, dict) else {}


def path_of(item: Mapping[str, Any]) -> str | None:
    """Read the path of a resource below the endpoint."""
    # What does not begin with a slash could lead the token to another host.
    return text_of(item, "uri", _PATH)


def count_of(value: Any) -> int | None:  # noqa: ANN401 - any JSON value
    """Read a count; None if it is none."""
    number = number_of(value)
    return None if number is None or number < 0 else number


def number_of(value: Any) -> int | None:  # noqa: ANN401 - any JSON value
    """Read a whole number of 64 bits, which older servers send as a string (redivis-api §5)."""
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    is_whole = isinstance(value, str) or (number == value and not isinstance(value, bool))
    return number if is_whole and -_MOST_NUMBER <= number <= _MOST_NUMBER else None


def misfit_of(item: Mapping[str, Any], *keys: str) -> str | None:
    """Say which of some counts is not a count; None if all are, or are missing."""
    wrong = [key for key in keys if item.get(key) is not None and count_of(item[key]) is None]
    return f"the server says that {wrong[0]} is {one_line(repr(item[wrong[0]]), 100)}" if wrong else None
