"""The errors of the emulator.

::

    EmulatorError              shown to the user as one line, exit code 1
    ├── FolderError            a table file or YAML file in the served folder
    └── StartError             the server could not be started
    ApiError                   sent to the client as an HTTP answer
    SqlError                   a query that cannot be run; the client reads it in the query
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class EmulatorError(Exception):
    """Base of all errors that are shown to the person who started the emulator."""


class FolderError(EmulatorError):
    """A file that cannot be served; the message names it."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path}: {' '.join(problem.split())}")


class StartError(EmulatorError):
    """The server could not be started, for example because the port is in use."""


class ApiError(Exception):
    """An error answer, in the flat form of redivis-api §1.8.

    Args:
        status: HTTP status.
        error: Redivis' error code, such as `not_found`.
        description: A message for people.
        extra: Further keys of the body, such as `scope`.
        headers: Headers, such as `Retry-After`.
    """

    def __init__(
        self,
        status: int,
        error: str,
        description: str,
        *,
        extra: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(description)
        self.status = status
        self.body = {"status": status, "error": error, "error_description": description, **(extra or {})}
        self.headers = dict(headers or {})

    @property
    def is_no_access(self) -> bool:
        """Whether the caller sees the resource, and may not do this with it."""
        return bool(self.body["error"] == "forbidden")


class SqlError(Exception):
    """A query that cannot be run; the message is for the author of the query."""


def not_found(what: str) -> ApiError:
    """Return the answer for a resource that does not exist, or is invisible to the caller (redivis-api §1.8)."""
    return gone(what, 404)


def gone(what: str, status: int) -> ApiError:
    """Return the answer for a resource that expired or never existed; the real status is unknown (§11.2)."""
    codes = {400: "invalid_request", 403: "forbidden", 404: "not_found", 410: "gone"}
    return ApiError(status, codes[status], f"{what} could not be found, or you don't have access to it.")


def invalid(description: str) -> ApiError:
    """Return the answer for an invalid request."""
    return ApiError(400, "invalid_request", description)
