"""Open read sessions, and make the addresses of their read streams."""

import re
import uuid
from contextlib import nullcontext
from typing import Any
from urllib.parse import quote

from tap_redivis.client.answers import count_of, id_of, misfit_of
from tap_redivis.client.http import Api
from tap_redivis.errors import ApiError, DataError, QuotaExceeded, Refused
from tap_redivis.model.columns import WireFormat
from tap_redivis.model.reads import ROWS_STREAM, ReadRequest, ReadSession
from tap_redivis.model.tables import Json
from tap_redivis.runtime.logs import logger

_MOST_STREAMS = 1000  # each is a request, and an entry in STATE
_STREAM_ID = re.compile(rf"(?!\.+$|{ROWS_STREAM}$)[!-~]+")  # what leads to another path is none


def address_of(request: ReadRequest, stream: str, offset: int) -> tuple[str, dict[str, str]]:
    """Make the path and the parameters of the request for a stream's rows from an offset on."""
    if stream == ROWS_STREAM:
        limits = {key: str(value) if key == "maxResults" else ",".join(value) for key, value in _limits(request)}
        if not request.fits_address:
            del limits["selectedVariables"]  # all come, and those that are not wanted are left out here
        return f"{request.table_uri}/rows", {"format": request.wire_format, **limits}
    # redivis-api §8.1.6: without its sentinel, an Arrow body that was cut between two batches looks complete.
    sentinel = {"eosSentinel": "true"} if request.wire_format == "arrow" else {}
    return f"/readStreams/{quote(stream, safe='')}", {"offset": str(offset), **sentinel}


def _limits(request: ReadRequest) -> list[tuple[str, Any]]:
    limits = {"selectedVariables": request.variables, "maxResults": request.max_rows}
    return [(key, value) for key, value in limits.items() if value is not None]


def open_session(api: Api, request: ReadRequest) -> ReadSession:
    """Open a read session, in Arrow if the server refuses text; a ``DataError`` says that the answer makes no sense."""
    # redivis-api §1.3: without a token there are no sessions, only /rows.
    if api.anonymous or request.in_one_answer:
        wire_format = "arrow" if api.serves_text is False else request.wire_format
        # An id of its own: each read has other row keys.
        return ReadSession(uuid.uuid4().hex, (ROWS_STREAM,), None, wire_format)
    # The first that asks for text finds out for all others whether the server has it.
    is_first = api.serves_text is None and request.wire_format != "arrow"
    with api.asking_for_text if is_first else nullcontext():
        answer, wire_format = _opened(api, request)
    listed = answer.get("streams")
    streams = [id_of(stream) for stream in listed] if isinstance(listed, list) else [""]
    wrong = misfit_of(answer, "numRows")
    if not all(map(_STREAM_ID.fullmatch, streams)) or not len(streams) == len(set(streams)) <= _MOST_STREAMS:
        wrong = "it does not name its read streams, each once"
    if wrong:
        words = f"the server opened a read session that cannot be read: {wrong}"
        raise DataError(words, where=request.table, hint="Try again later")
    return ReadSession(id_of(answer), tuple(streams), count_of(answer.get("numRows")), wire_format)


def _opened(api: Api, request: ReadRequest) -> tuple[Json, WireFormat]:
    wire_format: WireFormat = "arrow" if api.serves_text is False else request.wire_format
    path = f"{request.table_uri}/readSessions"
    body = {"format": wire_format, "requestedStreamCount": request.max_streams, **dict(_limits(request))}
    try:
        answer = api.post(path, body)
    except Refused as refusal:
        if wire_format == "arrow" or isinstance(refusal, QuotaExceeded):
            raise
        try:
            answer = api.post(path, {**body, "format": "arrow"})
        except ApiError:
            raise refusal from None  # it was not the format
        note_refusal(api, f"the server does not serve {wire_format} ({refusal.what})")
        return answer, "arrow"
    if wire_format != "arrow":
        api.serves_text = True
    return answer, wire_format


def note_refusal(api: Api, reason: str) -> None:
    """Note that text is of no use with this server: from now on Arrow is asked for, with one warning."""
    if api.serves_text is not False:
        api.serves_text = False
        logger.warning("%s: from now on arrow is asked for", reason)
