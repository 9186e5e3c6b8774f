"""Open read sessions, and make the addresses of their read streams."""

from __future__ import annotations

from tap_redivis.client.http import Api
from tap_redivis.errors import DataError
from tap_redivis.model.reads import ROWS_STREAM, ReadRequest, ReadSession
from tap_redivis.model.tables import Json


def address_of(request: ReadRequest, stream: str, offset: int) -> tuple[str, dict[str, str]]:
    """Make the path and the parameters of the request for a stream's rows from an offset on."""
    if stream == ROWS_STREAM:
        return f"{request.table_uri}/rows", _rows_params(request)
    params = {"offset": str(offset)}
    if request.wire_format == "arrow":
        params["eosSentinel"] = "true"
    return f"/readStreams/{stream}", params


def _rows_params(request: ReadRequest) -> dict[str, str]:
    params = {"format": str(request.wire_format)}
    if request.variables is not None:
        params["selectedVariables"] = ",".join(request.variables)
    if request.max_rows is not None:
        params["maxResults"] = str(request.max_rows)
    return params


def open_session(api: Api, request: ReadRequest) -> ReadSession:
    """Open a read session; without a token the server opens none, and ``/rows`` stands for its one stream.

    Raises:
        ApiError: The server refused.
        DataError: The answer names no streams, or one twice.
    """
    if api.anonymous:
        return ReadSession("", (ROWS_STREAM,), None)
    body: Json = {"format": request.wire_format, "requestedStreamCount": request.max_streams}
    if request.variables is not None:
        body["selectedVariables"] = list(request.variables)
    if request.max_rows is not None:
        body["maxResults"] = request.max_rows
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
