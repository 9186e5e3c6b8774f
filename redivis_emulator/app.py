"""The ASGI application: a request passes the log, the rate limit, the token check and the handler."""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from dataclasses import dataclass, replace
from email.utils import formatdate
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import HTMLResponse, JSONResponse, Response

from redivis_emulator import control, files, storage
from redivis_emulator.call import Call
from redivis_emulator.effects import changed, relabel, replacement, tweaked
from redivis_emulator.errors import ApiError
from redivis_emulator.fault_injection import CONNECTION, Broken, BrokenSend, leave_unanswered
from redivis_emulator.faults import retry_after_text
from redivis_emulator.log import Request
from redivis_emulator.readings import as_read
from redivis_emulator.routes import Router

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.types import Message, Receive, Scope, Send

    from redivis_emulator.access import RateLimiter, Token
    from redivis_emulator.control import Controls
    from redivis_emulator.fault_injection import Connection
    from redivis_emulator.faults import Fault, Faults
    from redivis_emulator.log import RequestLog
    from redivis_emulator.readings import Readings
    from redivis_emulator.service import Service

API_PREFIX = "/api/v1"
TOO_MANY_REQUESTS = 429
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
            repeated={name: request.query_params.getlist(name) for name in request.query_params},
            readings=self.service.readings,
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

        async def logged_send(message: Message) -> None:
            # Only here is known whether a range of a file is sent.
            if message["type"] == "http.response.start":
                self.log.answer(number, message["status"])
            await send(message)

        breaking = next((fault for fault in faults if fault.breaks_body), None)
        sender = BrokenSend(logged_send, breaking, connection) if breaking else logged_send
        await response(request.scope, request.receive, sender)

    async def _respond(self, call: Call, faults: Sequence[Fault]) -> Response:
        """Return the answer to a call, or the replacement that a fault defines."""
        headers = dict(_HEADERS, Date=formatdate(usegmt=True))
        try:
            if call.segments[0] != storage.PREFIX:
                headers |= self._count(call)
                _check_anonymous(call)
            response = replacement(self.service, call, faults) or await self._handle(tweaked(call, faults), faults)
        except ApiError as error:
            response = failure(error, call.method, call.readings)
        response.headers.update(headers)
        relabel(response, faults)
        return response

    async def _handle(self, call: Call, faults: Sequence[Fault]) -> Response:
        if call.segments[0] == storage.PREFIX:
            return files.signed_download(self.service, call)
        caller = self._caller(call.headers.get("authorization"))
        answer = await Router(self.service, replace(call, caller=caller)).answer()
        return (
            answer if isinstance(answer, Response) else _success(changed(as_read(answer, call.readings), faults), call)
        )

    def _count(self, call: Call) -> dict[str, str]:
        headers, wait = self.limiter.count(call.headers.get("authorization", ""), call.readings.limit_headers)
        if wait is None:
            return headers
        msg = "Too many requests: wait until the rate limit is reset."
        text = retry_after_text(int(wait) + 1, call.readings.retry_after, time.time())
        if text is not None:
            headers = {**headers, "Retry-After": text}
        raise ApiError(429, "rate_limit_exceeded", msg, headers=headers)

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


def _check_anonymous(call: Call) -> None:
    """Refuse a call without a token where the readings say that even public data need one (redivis-api §13)."""
    lists = {"datasets", "organizations", "users", "workflows"}
    closed = {"datasets": (), "tables": lists, "none": {call.segments[0]}}[call.readings.anonymous]
    if "authorization" not in call.headers and call.segments[0] in closed and not call.is_of_openapi:
        raise ApiError(401, "invalid_token", "This needs a valid access token.")


def _success(answer: dict[str, Any], call: Call) -> Response:
    is_new = call.method == "POST" and call.segments[-1] == "readSessions"
    response = JSONResponse(answer, call.readings.session_status if is_new else 200)
    response.headers["Content-Type"] = "application/json; charset=utf-8"
    if call.readings.etags != "absent":
        digest = hashlib.md5(response.body, usedforsecurity=False).hexdigest()
        etag = response.headers["Etag"] = f'W/"{digest}"'
        if call.readings.etags == "conditional" and call.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers={"Etag": etag})
    if call.segments[0] == "datasets":
        # redivis-api §1.6: the real service sends this invalid date.
        response.headers["Last-Modified"] = "Invalid Date"
    return response


def failure(error: ApiError, method: str, readings: Readings) -> Response:
    """Return an error answer as the readings have it."""
    status = readings.no_access if error.is_no_access else error.status
    form: str = readings.limit_answer if error.status == TOO_MANY_REQUESTS else readings.errors
    if form == "html":
        return HTMLResponse(f"<html><body><h1>{error}</h1></body></html>", status, headers=error.headers)
    if form == "empty":
        return Response(status_code=status, headers=error.headers)
    body = {**error.body, "status": status}
    if form == "nested":
        body = {"error": {"message": str(error), "status": status}}
    if form == "traced":
        body["traceId"] = uuid.uuid4().hex
    headers = {**error.headers, "Content-Type": "application/json; charset=utf-8"}
    if method == "HEAD":
        # An answer to HEAD has no body (redivis-api §1.6).
        headers["X-REDIVIS-ERROR-PAYLOAD"] = quote(json.dumps(body))
    return JSONResponse(body, status, headers=headers)
