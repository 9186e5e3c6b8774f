"""The ASGI application: a request passes the log, the rate limit, the token check and the handler."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from email.utils import formatdate
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response

from redivis_emulator import control, files, storage
from redivis_emulator.call import Call
from redivis_emulator.effects import changed, relabel, replacement, tweaked
from redivis_emulator.errors import ApiError
from redivis_emulator.fault_injection import CONNECTION, Broken, BrokenSend, leave_unanswered
from redivis_emulator.log import Request
from redivis_emulator.routes import Router

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.types import Receive, Scope, Send

    from redivis_emulator.access import RateLimiter, Token
    from redivis_emulator.control import Controls
    from redivis_emulator.fault_injection import Connection
    from redivis_emulator.faults import Fault, Faults
    from redivis_emulator.log import RequestLog
    from redivis_emulator.service import Service

API_PREFIX = "/api/v1"
# The real service sends these with every answer (redivis-api §1.6).
_HEADERS = {"Access-Control-Allow-Origin": "*", "X-Robots-Tag": "noindex", "Server": "redivis-emulator"}


@dataclass
class App:
    """The API below `/api/v1`, the signed addresses of files, and the control endpoints.

    Args:
        service: The content and its state.
        tokens: The rights of each bearer token.
        limiter: Counts requests against the rate limit.
        log: Records all API requests.
        faults: The faults to inject.
        controls: The object that the control endpoints change.
    """

    service: Service
    tokens: dict[str, Token]
    limiter: RateLimiter
    log: RequestLog
    faults: Faults
    controls: Controls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        request = HttpRequest(scope, receive)
        try:
            body = await request.body()
        except ClientDisconnect:
            return
        path = request.url.path
        if path.startswith(control.PREFIX):
            answer = control.answer(self.controls, request.method, path.removeprefix(control.PREFIX), body)
            await answer(scope, receive, send)
            return
        try:
            await self._answer(request, body, send)
        except Broken:
            # uvicorn must see the end of the connection before this method returns: else it sends an answer of its own.
            while (await receive())["type"] != "http.disconnect":
                pass

    async def _answer(self, request: HttpRequest, body: bytes, send: Send) -> None:
        call = Call(
            method=request.method,
            segments=_segments(request.scope["raw_path"].decode("ascii")),
            query=dict(request.query_params),
            headers=dict(request.headers),
            body=body,
        )
        number = self.log.arrive(_note(call))
        faults = self.faults.hit(call.method, call.path, call.query)
        connection: Connection = request.scope["extensions"][CONNECTION]["connection"]
        for fault in faults:
            if fault.leaves_unanswered:
                await leave_unanswered(fault, connection)
        response = await self._respond(call, faults)
        self.log.answer(number, response.status_code)
        breaking = next((fault for fault in faults if fault.breaks_body), None)
        await response(request.scope, request.receive, BrokenSend(send, breaking, connection) if breaking else send)

    async def _respond(self, call: Call, faults: Sequence[Fault]) -> Response:
        """Return the answer to a call, or the replacement that a fault defines."""
        headers = dict(_HEADERS, Date=formatdate(usegmt=True))
        try:
            headers |= self._count(call)
            response = replacement(self.service, call, faults) or await self._handle(tweaked(call, faults), faults)
        except ApiError as error:
            response = _failure(error, call.method)
        response.headers.update(headers)
        relabel(response, faults)
        return response

    async def _handle(self, call: Call, faults: Sequence[Fault]) -> Response:
        if call.segments[0] == storage.PREFIX:
            return files.signed_download(self.service, call)
        caller = self._caller(call.headers.get("authorization"))
        answer = await Router(self.service, replace(call, caller=caller)).answer()
        return answer if isinstance(answer, Response) else _success(changed(answer, faults), call.segments)

    def _count(self, call: Call) -> dict[str, str]:
        if call.segments[0] == storage.PREFIX:
            return {}
        headers, wait = self.limiter.count(call.headers.get("authorization", ""))
        if wait is None:
            return headers
        msg = "Too many requests: wait until the rate limit is reset."
        raise ApiError(429, "rate_limit_exceeded", msg, headers={**headers, "Retry-After": str(int(wait) + 1)})

    def _caller(self, authorization: str | None) -> Token | None:
        """Return the token of a request, None without an Authorization header (redivis-api §1.3)."""
        if authorization is None:
            return None
        scheme, _, secret = authorization.partition(" ")
        token = self.tokens.get(secret.strip())
        if scheme.lower() != "bearer" or token is None:
            raise ApiError(401, "invalid_token", "The access token is invalid, or it has expired.")
        return token


def _segments(raw_path: str) -> tuple[str, ...]:
    """Split a path at slashes, then decode each segment: references may contain encoded slashes (redivis-api §3.2).

    The path is one below `/api/v1`, or that of a signed address.
    """
    if raw_path.startswith(f"/{storage.PREFIX}/"):
        return tuple(unquote(part) for part in raw_path[1:].split("/"))
    prefix, _, rest = raw_path.partition(API_PREFIX + "/")
    return (prefix,) if prefix else tuple(unquote(part) for part in rest.split("/"))


def _note(call: Call) -> Request:
    return Request(call.method, call.path, call.query, call.headers, None, call.body.decode("utf-8", "replace"))


def _success(answer: dict[str, Any], segments: tuple[str, ...]) -> Response:
    response = JSONResponse(answer)
    response.headers["Content-Type"] = "application/json; charset=utf-8"
    digest = hashlib.md5(response.body, usedforsecurity=False).hexdigest()
    response.headers["Etag"] = f'W/"{digest}"'
    if segments[0] == "datasets":
        # redivis-api §1.6: the real service sends this invalid date.
        response.headers["Last-Modified"] = "Invalid Date"
    return response


def _failure(error: ApiError, method: str) -> Response:
    headers = {**error.headers, "Content-Type": "application/json; charset=utf-8"}
    if method == "HEAD":
        # An answer to HEAD has no body (redivis-api §1.6).
        headers["X-REDIVIS-ERROR-PAYLOAD"] = quote(json.dumps(error.body))
    return JSONResponse(error.body, error.status, headers=headers)
