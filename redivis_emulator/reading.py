"""Answers with rows: `/rows`, read sessions and read streams (redivis-api §4.5 to §4.7, §8.1)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, get_args

import pyarrow as pa
from starlette.responses import Response

from redivis_emulator import render, resources
from redivis_emulator.call import Call, whole_number
from redivis_emulator.errors import ApiError, invalid, not_found
from redivis_emulator.fault_injection import CONNECTION, Broken
from redivis_emulator.lookups import wire_schema
from redivis_emulator.render import MEDIA_TYPES, Format, Style
from redivis_emulator.sessions import Run, Split, Stream, View, scattered, skip_rows, take_rows
from redivis_emulator.variable_types import ARROW_TYPES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from starlette.types import Receive, Scope, Send

    from redivis_emulator.fault_injection import Connection
    from redivis_emulator.library import Part, Table, Variable
    from redivis_emulator.lookups import Readable
    from redivis_emulator.readings import Readings
    from redivis_emulator.resources import Json
    from redivis_emulator.service import Service


_MOST_STREAMS = 8
_OVERSHOOT = 3


def rows(service: Service, call: Call, readable: Readable) -> Response:
    """Answer with all rows of a resource in one body, without an end-of-stream sentinel (redivis-api §4.5)."""
    if call.caller is None and (not readable.public or readable.num_bytes >= service.settings.anonymous_row_bytes):
        raise ApiError(401, "invalid_token", "Without an access token only small public tables can be read.")
    readings = call.readings
    if readings.query_rows == "absent" and call.segments[0] == "queries":
        raise not_found("The path")
    _check_quota(call)
    if readings.rows_size == "small" and readable.num_bytes >= service.settings.anonymous_row_bytes:
        raise invalid("The table is too large for this: open a read session.")
    if readings.rows_offset == "refused" and "offset" in call.query:
        raise invalid("offset is not a parameter of this path.")
    style = _style(call, readable, call.query.get("format") or "jsonl")
    schema = wire_schema(_selected(readable, _names(call)))
    runs = scattered([View(part, schema) for part in readable.parts], _row_limit(call, call.query.get("maxResults")))
    if readings.rows_offset == "taken":
        runs = skip_rows(runs, whole_number("offset", call.query.get("offset")) or 0)
    head, tail = _head(call, schema, style), render.tail(schema, style, sentinel=False)
    return RowsResponse(
        service, Body(head, schema, style, runs, tail, mark=call.tweaks.mark_row, cut=_cut(call, style))
    )


def open_session(service: Service, call: Call, readable: Readable) -> Json:
    """Open a read session (redivis-api §4.6)."""
    if call.caller is None:
        raise ApiError(401, "invalid_token", "A read session needs a valid access token.")
    _check_quota(call)
    body = call.json()
    style = _style(call, readable, body.get("format") or "arrow")
    selected = body.get("selectedVariables")
    if selected is not None and not (isinstance(selected, list) and all(isinstance(n, str) for n in selected)):
        raise invalid("selectedVariables must be a list of names.")
    requested = whole_number("requestedStreamCount", body.get("requestedStreamCount")) or 1
    if call.readings.most_streams == "eight" and requested > _MOST_STREAMS:
        raise invalid(f"requestedStreamCount must be at most {_MOST_STREAMS}.")
    if call.readings.max_results_type == "number" and isinstance(body.get("maxResults"), str):
        raise invalid("maxResults must be a number.")
    forced = service.settings.streams if call.tweaks.streams is None else call.tweaks.streams
    split = Split(
        requested=requested,
        forced=1 if call.readings.most_streams == "one" else forced,
        min_rows=service.settings.min_rows_per_stream,
        max_rows=_row_limit(call, body.get("maxResults")),
        shuffled=call.readings.row_order != "table",
    )
    views = _views(call, readable, selected)
    reader = None if body.get("allowAnonymousAccess") is True else call.caller.user
    session = service.sessions.open(views, style, split, reader)
    return resources.read_session(session, service.sessions.expires_at(session))


def stream(service: Service, call: Call, stream_id: str) -> Response:
    """Answer with the rows of a read stream from `offset` on (redivis-api §4.7, §8.1)."""
    session, found = service.sessions.find(stream_id, call.readings.gone_status)
    if session.reader is not None:
        if call.caller is None:
            raise ApiError(401, "invalid_token", "This read stream needs the access token of its session.")
        if call.caller.user != session.reader:
            raise not_found("The read stream")
    readings, style = call.readings, session.style
    offset = whole_number("offset", call.query.get("offset")) or 0
    runs = found.resume(offset, readings.offset_status)
    if readings.row_order == "request":
        runs = found.shuffled(runs)
    is_asked = call.query.get("eosSentinel") == "true"
    if readings.text_sentinel == "refused" and is_asked and style.format != "arrow":
        raise invalid("eosSentinel is only for arrow.")
    sentinel = {"asked": is_asked, "always": True, "never": False}[readings.sentinel] and not call.tweaks.no_sentinel
    head = _head(call, found.schema, style, offset)
    tail = render.tail(found.schema, style, sentinel=sentinel)
    body = Body(head, found.schema, style, runs, tail, found, call.tweaks.mark_row, _cut(call, style))
    return RowsResponse(service, body)


def _check_quota(call: Call) -> None:
    """Refuse rows where the quota is used up: the two answers that were seen or are likely (redivis-api §1.7, §13)."""
    if call.readings.quota == "used_up":
        raise invalid("You cannot export more than 200GB within a 30 day period. You have exported 204GB.")
    if call.readings.quota == "forbidden":
        raise ApiError(403, "forbidden_export", "Cannot export more than 200GB within a 30 day period.")


def _names(call: Call) -> list[str] | None:
    """Return the names of the variables that `/rows` is asked for: a list with commas, repeated keys, or both."""
    given = call.repeated.get("selectedVariables", ())
    if call.readings.name_lists == "commas":
        given = given[-1:]
    split = [given] if call.readings.name_lists == "repeated" else [text.split(",") for text in given]
    return [name for names in split for name in names if name] or None


def _cut(call: Call, style: Style) -> int:
    """Return how many bytes of the last line are not sent: those of its end (redivis-api §13)."""
    if call.readings.last_line_end == "written" or style.format == "arrow":
        return 0
    return 2 if style.format == "csv" and style.line_ends == "crlf" else 1


def _head(call: Call, schema: pa.Schema, style: Style, offset: int = 0) -> bytes:
    """Return the start of a body; which CSV bodies have a header is a setting, as redivis-api §11.4 leaves it open."""
    has_names = {"each": True, "first": offset == 0, "none": False}[call.readings.csv_header]
    return render.head(schema, style) if has_names or style.format != "csv" else b""


@dataclass(frozen=True)
class Body:
    """The parts of a body of rows.

    Args:
        head: Bytes before the rows.
        schema: Columns on the wire.
        style: How the rows are rendered.
        runs: The rows.
        tail: Bytes after the rows.
        stream: The read stream that counts the rows as delivered; None for `/rows`.
        mark: Row of this body before which an empty chunk is sent, as the position of a fault.
        cut: Bytes at the end of the last row that are not sent.
    """

    head: bytes
    schema: pa.Schema
    style: Style
    runs: Sequence[Run]
    tail: bytes
    stream: Stream | None = None
    mark: int | None = None
    cut: int = 0


class RowsResponse(Response):
    """Sends a body of rows in chunks, at the speed of the client."""

    def __init__(self, service: Service, body: Body) -> None:
        super().__init__(media_type=MEDIA_TYPES[body.style.format])
        del self.headers["Content-Length"]
        self._service = service
        self._rows = body
        self._runs = list(body.runs)
        if body.mark is not None:
            self._runs = take_rows(body.runs, body.mark) + skip_rows(body.runs, body.mark)
        # Index of the body's first row in the stream.
        self._offset = body.stream.rows - sum(run.rows for run in body.runs) if body.stream else 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        """Send the body.

        Raises:
            Broken: The client has disconnected.
        """
        connection: Connection = scope["extensions"][CONNECTION]["connection"]
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})

        async def send_chunk(chunk: bytes) -> None:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            if connection.is_gone:
                raise Broken

        await self._send_chunks(send_chunk)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_chunks(self, send: Callable[[bytes], Awaitable[None]]) -> None:
        """Send the body, while the next run is rendered in another thread.

        Not an async generator: a task that is destroyed while it iterates over one cannot close it.
        """
        if self._rows.head:
            await send(self._rows.head)
        row = 0
        ahead = self._render(0)
        try:
            for number, run in enumerate(self._runs):
                if row == self._rows.mark:
                    await send(b"")
                data = await ahead
                ahead = self._render(number + 1)
                row += run.rows
                self._deliver(row)
                await send(data if number + 1 < len(self._runs) else data[: len(data) - self._rows.cut])
        finally:
            ahead.cancel()
        if row == self._rows.mark:
            await send(b"")
        if self._rows.tail:
            await send(self._rows.tail)

    def _deliver(self, rows: int) -> None:
        """Count rows of this body as delivered: they are about to be written to the socket (redivis-api §8.1.3)."""
        stream = self._rows.stream
        if stream:
            stream.delivered = max(stream.delivered, self._offset + rows)

    def _render(self, number: int) -> asyncio.Future[bytes]:
        """Return the bytes of a run, from the cache or from another thread; after the last run, no bytes."""
        loop = asyncio.get_running_loop()
        cache, style = self._service.cache, self._rows.style
        run = self._runs[number] if number < len(self._runs) else None
        data = cache.find(run, style) if run else b""
        if run and data is None:
            return loop.run_in_executor(self._service.executor, cache.render, run, style)
        done: asyncio.Future[bytes] = loop.create_future()
        done.set_result(data or b"")
        return done


def _style(call: Call, readable: Readable, name: object) -> Style:
    readings, table = call.readings, readable.table
    if readings.text_formats == "refused" and name != "arrow":
        raise invalid(f"format must be arrow, not {name!r}.")
    if readings.text_formats == "ignored":
        name = "arrow"
    for known in get_args(Format):
        if name == known:
            geographies = tuple(each.name for each in readable.variables if each.type == "geography")
            style = _style_of_service(known, readings, geographies)
            return _style_of_table(style, table) if table else style
    msg = f"format must be one of {', '.join(get_args(Format))}, not {name!r}."
    raise invalid(msg)


def _style_of_service(wire_format: Format, readings: Readings, geographies: tuple[str, ...]) -> Style:
    return Style(
        wire_format,
        nulls=readings.jsonl_nulls,
        non_finite=readings.jsonl_non_finite,
        integers=readings.jsonl_integers,
        floats=readings.jsonl_floats,
        strings=readings.arrow_strings,
        compression=readings.arrow_compression,
        quotes=readings.csv_quotes,
        line_ends=readings.csv_line_ends,
        empty=readings.csv_empty,
        geojson=geographies if readings.geography == "geojson" else (),
    )


def _style_of_table(style: Style, table: Table) -> Style:
    return replace(
        style,
        nulls=table.jsonl_nulls or style.nulls,
        strings=table.arrow_strings or style.strings,
        compression=table.arrow_compression or style.compression,
    )


def _row_limit(call: Call, value: object) -> int | None:
    limit = whole_number("maxResults", value)
    more = _OVERSHOOT if call.readings.max_results == "more" else 0
    return None if limit is None else limit + more + call.tweaks.overshoot


def _selected(readable: Readable, names: Sequence[str] | None) -> list[Variable]:
    """Return the selected variables in the order of the selection; without names, all."""
    if not names:
        return list(readable.variables)
    known = {variable.name.lower(): variable for variable in readable.variables}
    unknown = [name for name in names if name.strip().lower() not in known]
    if unknown:
        msg = f"There is no variable {', '.join(unknown)}."
        raise invalid(msg)
    return [known[name] for name in dict.fromkeys(name.strip().lower() for name in names)]


def _views(call: Call, readable: Readable, names: Sequence[str] | None) -> list[View]:
    """Return a view of each file with its own columns: uploads may have fewer columns, or other types."""
    wanted = [variable.name for variable in _selected(readable, names)]
    return [View(part, _part_schema(call, part, wanted, selected=bool(names))) for part in readable.parts]


def _part_schema(call: Call, part: Part, wanted: Sequence[str], *, selected: bool) -> pa.Schema:
    types = {field.name: field.type for field in part.schema}
    types |= {name: ARROW_TYPES[kind] for name, kind in call.tweaks.retype.items() if name in types}
    # Without a selection, the columns come in the order of the file.
    known = set(wanted)
    names = [name for name in wanted if name in types] if selected else [name for name in types if name in known]
    if call.tweaks.reversed_columns:
        names.reverse()
    return pa.schema([(name, types[name]) for name in names])
