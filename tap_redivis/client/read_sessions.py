"""Open read sessions, and make the addresses of their read streams."""

from __future__ import annotations

from typing import Any

from tap_redivis.client.http import Api
from tap_redivis.errors import DataError
from tap_redivis.model.reads import ROWS_STREAM, ReadRequest, ReadSession


def address_of(request: ReadRequest, stream: str, offset: int) -> tuple[str, dict[str, str]]:
    """Make the path and the parameters of the request for a stream's rows from an offset on."""
    if stream == ROWS_STREAM:
        limits = {key: str(value) if key == "maxResults" else ",".join(value) for key, value in _limits(request)}
        return f"{request.table_uri}/rows", {"format": request.wire_format, **limits}
    # redivis-api §8.1.6: without its sentinel, an Arrow body that was cut between two batches looks complete.
    sentinel = {"eosSentinel": "true"} if request.wire_format == "arrow" else {}
    return f"/readStreams/{stream}", {"offset": str(offset), **sentinel}


def _limits(request: ReadRequest) -> list[tuple[str, Any]]:
    limits = {"selectedVariables": request.variables, "maxResults": request.max_rows}
    return [(key, value) for key, value in limits.items() if value is not None]


def open_session(api: Api, request: ReadRequest) -> ReadSession:
    """Open a read session; a ``DataError`` says that the answer names no streams, or one twice."""
    if api.anonymous:  # redivis-api §1.3: without a token there are no sessions, only /rows
        return ReadSession("", (ROWS_STREAM,), None)
    body = {"format": request.wire_format, "requestedStreamCount": request.max_streams, **dict(_limits(request))}
    answer = api.post(f"{request.table_uri}/readSessions", body)
    try:
        streams = tuple(str(stream["id"]) for stream in answer["streams"])
        rows = None if answer.get("numRows") is None else int(answer["numRows"])
    except (KeyError, TypeError, ValueError):
        raise DataError(
            "the server opened a read session that cannot be read", where=request.table, hint="Try again later"
        ) from None
    if len(set(streams)) < len(streams):
        raise DataError("the server named a read stream twice", where=request.table, hint="Try again later")
    return ReadSession(str(answer.get("id") or ""), streams, rows)
