"""Raw files and their index (redivis-api §4.8)."""

from __future__ import annotations

from dataclasses import replace
from email.utils import formatdate, parsedate_to_datetime
from typing import TYPE_CHECKING

from starlette.responses import FileResponse, Response

from redivis_emulator import render
from redivis_emulator.errors import invalid
from redivis_emulator.library import file_index
from redivis_emulator.render import MEDIA_TYPES, Style

if TYPE_CHECKING:
    import pyarrow as pa

    from redivis_emulator.call import Call
    from redivis_emulator.library import Library, RawFile
    from redivis_emulator.lookups import Readable


class Download(FileResponse):
    """A file, or a range of it."""

    chunk_size = 1 << 20


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


def download(call: Call, file: RawFile) -> Response:
    """Answer with the content of a file; with its headers for HEAD."""
    headers = {"x-goog-hash": f"md5={file.md5}", "Last-Modified": formatdate(file.added_at / 1000, usegmt=True)}
    if call.method == "HEAD":
        headers["X-Redivis-Filename"] = file.name
    return Download(file.path, filename=file.name, headers=headers)
