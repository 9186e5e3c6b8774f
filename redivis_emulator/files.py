"""Raw files and their index (redivis-api §4.8)."""

from __future__ import annotations

from dataclasses import replace
from email.utils import formatdate, parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from starlette.responses import FileResponse, RedirectResponse, Response

from redivis_emulator import render
from redivis_emulator.errors import invalid, not_found
from redivis_emulator.library import file_index
from redivis_emulator.render import MEDIA_TYPES, Style

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa
    from starlette.types import Receive, Scope, Send

    from redivis_emulator.call import Call
    from redivis_emulator.library import Library, RawFile
    from redivis_emulator.lookups import Readable
    from redivis_emulator.service import Service


class Download(FileResponse):
    """A file, or a range of it; without `ranges`, always the whole file."""

    chunk_size = 1 << 20

    def __init__(self, path: Path, *, ranges: bool = True, **options: Any) -> None:  # noqa: ANN401 - those of the base
        super().__init__(path, **options)
        self._ranges = ranges
        if not ranges:
            del self.headers["Accept-Ranges"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file."""
        if not self._ranges:
            scope["headers"] = [(name, value) for name, value in scope["headers"] if name != b"range"]
        await super().__call__(scope, receive, send)


def index(library: Library, call: Call, readable: Readable) -> Response:
    """Answer with the files that a table or query refers to, as an Arrow stream; 304 if nothing changed."""
    if call.query.get("format", "arrow") != "arrow":
        raise invalid("format must be arrow.")
    updated_at = readable.table.updated_at if readable.table else 0
    since = call.headers.get("if-modified-since")
    if since and parsedate_to_datetime(since).timestamp() * 1000 >= updated_at:
        return Response(status_code=304)
    rows = _index(library, call, readable)
    style = Style("arrow")
    body = render.head(rows.schema, style) + render.arrow(rows, style) + render.tail(rows.schema, style, sentinel=False)
    return Response(body, media_type=MEDIA_TYPES["arrow"])


def _index(library: Library, call: Call, readable: Readable) -> pa.Table:
    ids = _column(readable, call.query.get("fileIdVariable") or _file_id_variable(readable))
    found = [library.file(file_id) if file_id else None for file_id in ids]
    name_variable = call.query.get("fileNameVariable")
    if not name_variable:
        return file_index([known[1] for known in found if known])
    names = _column(readable, name_variable)
    named = zip(found, names, strict=True)
    return file_index([replace(known[1], name=name or known[1].name) for known, name in named if known], name_variable)


def _file_id_variable(readable: Readable) -> str:
    for variable in readable.variables:
        if variable.is_file_id:
            return variable.name
    raise invalid("There is no variable that holds file ids.")


def _column(readable: Readable, name: str) -> list[str | None]:
    if name not in {variable.name for variable in readable.variables}:
        msg = f"There is no variable {name}."
        raise invalid(msg)
    return [value for part in readable.parts for value in part.table()[name].to_pylist()]


def download(service: Service, call: Call, file: RawFile) -> Response:
    """Answer with the content of a file, or with a redirect to its signed address; with the headers for HEAD."""
    if service.storage:
        return RedirectResponse(service.storage.address(file.id), 302)
    response = _content(service, call, file)
    if call.method == "HEAD":
        response.headers["X-Redivis-Filename"] = quote(file.name)
    return response


def signed_download(service: Service, call: Call) -> Response:
    """Answer at the signed address of a file.

    Raises:
        ApiError: There is no such file, or no storage.
    """
    file_id = call.segments[-1]
    known = service.library.file(file_id)
    if known is None or service.storage is None:
        raise not_found(f"The file {file_id}")
    return service.storage.refusal(file_id, call) or _content(service, call, known[1])


def _content(service: Service, call: Call, file: RawFile) -> Response:
    if not file.path.is_file():
        raise not_found(f"The file {file.id}")
    headers = {"Last-Modified": formatdate(file.added_at / 1000, usegmt=True)}
    if service.settings.file_digest == "x-goog-hash":
        headers["x-goog-hash"] = f"md5={file.md5}"
    if service.settings.file_digest == "content-digest":
        headers["Content-Digest"] = f"md5=:{file.md5}:"
    return Download(file.path, ranges=not call.tweaks.no_range, filename=file.name, headers=headers)
