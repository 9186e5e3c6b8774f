"""A request to the API, as the handlers get it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from redivis_emulator.errors import invalid
from redivis_emulator.readings import DEFAULTS, Readings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from redivis_emulator.access import Token
    from redivis_emulator.variable_types import VariableType


@dataclass(frozen=True)
class Tweaks:
    """Changes that faults make to the handling of a request; see `faults.Fault`.

    Args:
        streams: Number of read streams, instead of the requested one.
        overshoot: Rows beyond `maxResults`.
        reversed_columns: Whether the columns of a session are in reverse order.
        retype: Wire type by column.
        no_sentinel: Whether the Arrow sentinel is omitted.
        no_range: Whether the header `Range` is ignored.
        page_size: Items on each page of a list, instead of the requested number.
        mark_row: Row of a body before which an empty chunk marks the position of a fault.
    """

    streams: int | None = None
    overshoot: int = 0
    reversed_columns: bool = False
    retype: Mapping[str, VariableType] = field(default_factory=dict)
    no_sentinel: bool = False
    no_range: bool = False
    page_size: int | None = None
    mark_row: int | None = None


@dataclass(frozen=True)
class Call:
    """A request.

    Args:
        method: `GET`, `HEAD` or `POST`.
        segments: The path after `/api/v1`, split at slashes and then percent-decoded (redivis-api §3.2).
        query: Query parameters; the last value of a repeated one.
        headers: Headers, names in lower case.
        body: Request body.
        caller: The token of the request; None without one.
        tweaks: Changes by active faults.
        readings: How the open questions of redivis-api are read.
        repeated: All values of each query parameter.
    """

    method: str
    segments: tuple[str, ...]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    caller: Token | None = None
    tweaks: Tweaks = Tweaks()
    readings: Readings = DEFAULTS
    repeated: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """The path after `/api/v1`, decoded."""
        return "/" + "/".join(self.segments)

    @property
    def is_of_openapi(self) -> bool:
        """Whether the description of the API is asked for."""
        return self.segments == ("openapi.json",)

    def json(self) -> dict[str, Any]:
        """Return the body as a JSON object; without a body, an empty object.

        Raises:
            ApiError: The body is not a JSON object.
        """
        if not self.body:
            return {}
        try:
            content = json.loads(self.body)
        except ValueError as error:
            msg = f"The request body is not valid JSON: {error}"
            raise invalid(msg) from error
        if not isinstance(content, dict):
            msg = "The request body must be a JSON object."
            raise invalid(msg)
        return content


def whole_number(name: str, value: object) -> int | None:
    """Return an integer parameter ≥ 0, given as a number or as text (redivis-api §4.6); None if it is absent or empty.

    Raises:
        ApiError: The value is not an integer ≥ 0.
    """
    if value is None or value == "":
        return None
    text = str(value)
    if isinstance(value, bool) or not (text.isascii() and text.isdigit()):
        msg = f"{name} must be a whole number, not {value!r}."
        raise invalid(msg)
    return int(text)
