"""Faults that change the handling of a request: the request itself, the session it opens, its JSON answer."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from redivis_emulator.call import Call, Tweaks
from redivis_emulator.errors import ApiError, EmulatorError, invalid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redivis_emulator.faults import Fault
    from redivis_emulator.resources import Json
    from redivis_emulator.service import Service

_WRONG_MD5 = "AAAAAAAAAAAAAAAAAAAAAA=="
_WRONG_DIGESTS = {"x-goog-hash": f"md5={_WRONG_MD5}", "content-digest": f"md5=:{_WRONG_MD5}:"}


def replacement(service: Service, call: Call, faults: Sequence[Fault]) -> Response | None:
    """Trigger the faults that come before the answer; return the replacement for the answer, None if there is none.

    Raises:
        ApiError: A fault refuses the request.
    """
    for fault in faults:
        if fault.kind == "release":
            _release(service, fault)
        if fault.kind == "expire":
            service.sessions.expire(call.segments[-1])
        if fault.kind == "refuse_offset":
            raise invalid(fault.message)
        if fault.kind == "status":
            media_type, text = fault.error_body()
            return Response(text, fault.status, media_type=media_type)
    return None


def _release(service: Service, fault: Fault) -> None:
    try:
        service.release(fault.dataset, fault.version)
    except EmulatorError as error:
        raise _misfit(str(error)) from error


def _misfit(problem: str) -> ApiError:
    """Return the answer for a fault that does not fit its request."""
    return ApiError(500, "internal_error", f"A fault of the emulator does not fit this request: {problem}.")


def tweaked(call: Call, faults: Sequence[Fault]) -> Call:
    """Return a call with the changes that faults make to its handling."""
    tweaks = call.tweaks
    for fault in faults:
        tweaks = _tweaks(tweaks, fault)
    return replace(call, tweaks=tweaks)


def _tweaks(tweaks: Tweaks, fault: Fault) -> Tweaks:
    changes: dict[str, dict[str, Any]] = {
        "streams": {"streams": fault.count},
        "overshoot": {"overshoot": fault.rows},
        "columns": {"reversed_columns": True},
        "retype": {"retype": fault.types},
        "no_sentinel": {"no_sentinel": True},
        "no_range": {"no_range": True},
        "page_size": {"page_size": fault.size},
    }
    if fault.breaks_body and fault.at_row is not None:
        return replace(tweaks, mark_row=fault.at_row)
    return replace(tweaks, **changes.get(fault.kind, {}))


def relabel(response: Response, faults: Sequence[Fault]) -> None:
    """Change the status and the headers of an answer as faults say."""
    for fault in faults:
        response.headers.update(fault.all_headers())
        if fault.kind == "relabel":
            response.status_code = fault.status
        if fault.kind == "wrong_digest":
            response.headers.update({name: value for name, value in _WRONG_DIGESTS.items() if name in response.headers})


def changed(answer: Json, faults: Sequence[Fault]) -> Json:
    """Return a JSON answer with the changes that faults make to its keys.

    Raises:
        ApiError: `add` names a key whose value is not a number.
    """
    for fault in faults:
        if fault.kind == "json":
            if wrong := [key for key in fault.add if not isinstance(answer.get(key), int)]:
                raise _misfit(f"{wrong[0]} is not a number")
            raised = {key: answer[key] + number for key, number in fault.add.items()}
            answer = {**answer, **raised, **fault.set}
    return answer
