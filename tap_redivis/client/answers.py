"""Values of the server's answers; what is missing, or of another type, is None or empty."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tap_redivis.model.tables import Json, Variable


def has_name(item: Any, known_by: str = "name") -> bool:  # noqa: ANN401 - any JSON value
    """Whether a value is an object with a name."""
    return isinstance(item, dict) and isinstance(item.get(known_by), str)


def variable_of(item: Json) -> Variable:
    """Read a variable of a list."""
    return Variable(
        name=item["name"],
        type=text_of(item, "type") or "unknown",
        label=text_of(item, "label"),
        description=text_of(item, "description"),
    )


def text_of(item: Mapping[str, Any], key: str) -> str | None:
    """Read a text; None if it is missing or empty."""
    value = item.get(key)
    return value if isinstance(value, str) and value else None


def object_of(item: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Read an object; empty if it is missing."""
    value = item.get(key)
    return value if isinstance(value, dict) else {}


def path_of(item: Mapping[str, Any]) -> str | None:
    """Read the path of a resource below the endpoint."""
    # What does not begin with a slash could lead the token to another host.
    uri = text_of(item, "uri")
    return uri if uri and uri.startswith("/") else None


def count_of(value: Any) -> int | None:  # noqa: ANN401 - any JSON value
    """Read a count, which older servers send as a string (redivis-api §5)."""
    try:
        return None if value is None else int(value)
    except (TypeError, ValueError, OverflowError):
        return None
