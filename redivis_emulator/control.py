"""The control endpoints under `/_emulator/`: the operations of the Python API for an emulator in another process.

| Path | Method | |
|---|---|---|
| `requests` | GET, DELETE | list the requests so far; clear the list |
| `faults` | GET, POST, DELETE | list the faults; add one or a list; remove all |
| `readings` | GET, POST `{"csv_header": "none"}`, DELETE | list the readings; change some; all as by default |
| `clock` | POST `{"seconds": 3600}` | advance the clock |
| `reload` | POST | read the folder again |
| `release` | POST `{"dataset": "o.d", "version": "v1.1"}` | make a version the current one |
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from msgspec import Struct
from starlette.responses import JSONResponse

from redivis_emulator.errors import EmulatorError
from redivis_emulator.faults import Fault, Faults
from redivis_emulator.readings import Readings

if TYPE_CHECKING:
    from starlette.responses import Response

    from redivis_emulator.log import Request

PREFIX = "/_emulator/"


class _Clock(Struct, forbid_unknown_fields=True):
    seconds: float


class _Release(Struct, forbid_unknown_fields=True):
    dataset: str
    version: str


class Controls(Protocol):
    """The operations on a running emulator; `Emulator` implements them."""

    faults: Faults
    readings: Readings

    @property
    def requests(self) -> list[Request]:
        """The requests so far."""

    def forget_requests(self) -> None:
        """Empty the list of requests."""

    def read_as(self, *texts: str) -> None:
        """Change readings."""

    def pass_time(self, seconds: float) -> None:
        """Advance the clock."""

    def reload(self) -> None:
        """Read the folder again."""

    def release(self, dataset: str, version: str) -> None:
        """Make a version the current one."""


def answer(controls: Controls, method: str, name: str, body: bytes) -> Response:
    """Answer a request to a control endpoint: 200, 400 for an invalid body, 404 for an unknown endpoint."""
    try:
        content = json.loads(body) if body else {}
        return JSONResponse(_act(controls, method, name, content))
    except LookupError:
        return JSONResponse({"error": f"there is no {method} {PREFIX}{name}"}, 404)
    except (ValueError, EmulatorError) as error:
        return JSONResponse({"error": str(error)}, 400)


def _act(controls: Controls, method: str, name: str, content: Any) -> Any:  # noqa: ANN401 - JSON
    match method, name:
        case "GET", "requests":
            return [asdict(request) for request in controls.requests]
        case "DELETE", "requests":
            controls.forget_requests()
        case "GET", "faults":
            return msgspec.to_builtins(controls.faults.all())
        case "POST", "faults":
            controls.faults.add(*msgspec.convert(content if isinstance(content, list) else [content], list[Fault]))
        case "DELETE", "faults":
            controls.faults.clear()
        case "GET", "readings":
            return msgspec.to_builtins(controls.readings)
        case "POST", "readings":
            controls.read_as(*(f"{name}={value}" for name, value in msgspec.convert(content, dict[str, Any]).items()))
        case "DELETE", "readings":
            controls.readings = Readings()
        case _:
            return _change(controls, method, name, content)
    return {}


def _change(controls: Controls, method: str, name: str, content: Any) -> Any:  # noqa: ANN401 - JSON
    match method, name:
        case "POST", "clock":
            controls.pass_time(msgspec.convert(content, _Clock).seconds)
        case "POST", "reload":
            controls.reload()
        case "POST", "release":
            release = msgspec.convert(content, _Release)
            controls.release(release.dataset, release.version)
        case _:
            raise LookupError
    return {}
