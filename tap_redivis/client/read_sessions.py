"""Open read sessions, and make the addresses of their read streams."""

from __future__ import annotations

import re
import uuid
from typing import Any
from urllib.parse import quote

from tap_redivis.client.answers import count_of, id_of, misfit_of
from tap_redivis.client.http import Api
from tap_redivis.errors import DataError
from tap_redivis.model.reads import ROWS_STREAM, ReadRequest, ReadSession

_MOST_STREAMS = 1000  # each is a request, and an entry in STATE
_STREAM_ID = re.compile(rf"(?!\.+$|{ROWS_STREAM}$)[!-~]+")  # what leads to another path is none


def address_of(request: ReadRequest, stream: str, offset: int) -> tuple[str, dict[str, str]]:
    """Make the path and the parameters of the request for a stream's rows from an offset on."""
    if stream == ROWS_STREAM:
        limits = {key: str(value) if key == "maxResults" else ",".join(value) for key, value in _limits(request)}
        return f"{request.table_uri}/rows", {"format": request.wire_format, **limits}
    # redivis-api §8.1.6: without its sentinel, an Arrow body that was cut between two batches looks complete.
    sentinel = {"eosSentinel": "true"} if request.wire_format == "arrow" else {}
    return f"/readStreams/{quote(stream, safe='')}", {"offset": str(offset), **sentinel}


def _limits(request: ReadRequest) -> list[tuple[str, Any]]:
    limits = {"selectedVariables": request.variables, "maxResults": request.max_rows}
    return [(key, value) for key, value in limits.items() if value is not None]


def open_session(api: Api, request: ReadRequest) -> ReadSession:
    """Open a read session; a ``DataError`` says that the answer makes no sense."""
    # redivis-api §1.3: without a token there are no sessions, only /rows.
    if api.anonymous or request.in_one_answer:
        return ReadSession(uuid.uuid4().hex, (ROWS_STREAM,), None)  # an id of its own: each read has other row keys
    body = {"format": request.wire_format, "requestedStreamCount": request.max_streams, **dict(_limits(request))}
    answer = api.post(f"{request.table_uri}/readSessions", body)
    listed = answer.get("streams")
    streams = [id_of(stream) for stream in listed] if isinstance(listed, list) else [""]
    wrong = misfit_of(answer, "numRows")
    if not all(map(_STREAM_ID.fullmatch, streams)) or not len(streams) == len(set(streams)) <= _MOST_STREAMS:
        wrong = "it does not name its read streams, each once"
    if wrong:
        words = f"the server opened a read session that cannot be read: {wrong}"
        raise DataError(words, where=request.table, hint="Try again later")
    return ReadSession(id_of(answer), tuple(streams), count_of(answer.get("numRows")))
