"""Exports: all rows of a table, upload or query as files (redivis-api §4.10)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from redivis_emulator import render
from redivis_emulator.call import Call, whole_number
from redivis_emulator.errors import ApiError, invalid, not_found
from redivis_emulator.render import Style
from redivis_emulator.sessions import View, scattered, skip_rows, take_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from redivis_emulator.jobs import Job
    from redivis_emulator.lookups import Readable
    from redivis_emulator.resources import Json
    from redivis_emulator.service import Service
    from redivis_emulator.sessions import Run

_FORMATS = ("csv", "ndjson", "parquet")
_PART_ROWS = 500_000


def begin(service: Service, call: Call, readable: Readable) -> Json:
    """Start an export, and return it as JSON."""
    if call.caller is None:
        raise ApiError(401, "invalid_token", "An export needs a valid access token.")
    form = call.json().get("format")
    if form not in _FORMATS:
        msg = f"format must be one of {', '.join(_FORMATS)} (the emulator has no others), not {form!r}."
        raise invalid(msg)

    def work() -> list[Path]:
        return _write(service, readable, form)

    return resource(service.exports.begin(call.caller.user, service.clock.now(), (readable.uri, form), work))


def resource(job: Job[list[Path]]) -> Json:
    """Return an export as JSON (redivis-api §5)."""
    files = job.future.result() if job.status == "completed" else []
    uri, form = job.about
    return {
        "kind": "export",
        "id": job.id,
        "uri": f"/exports/{job.id}",
        "createdAt": int(job.created_at * 1000),
        "status": job.status,
        "errorMessage": job.error,
        "percentCompleted": 100 if files else 0,
        "format": form,
        "size": sum(path.stat().st_size for path in files),
        "fileCount": len(files),
        "table": {"uri": uri},
    }


def file(call: Call, job: Job[list[Path]]) -> Path:
    """Return the file that a download requests.

    Raises:
        ApiError: The export is not completed, or it has no part with this number.
    """
    files = job.result()
    part = whole_number("filePart", call.query.get("filePart")) or 0
    if part >= len(files):
        raise not_found(f"The file part {part}")
    return files[part]


def _write(service: Service, readable: Readable, form: str) -> list[Path]:
    schema = readable.schema
    rest = scattered([View(part, schema) for part in readable.parts], None)
    files: list[Path] = []
    while rest or not files:
        path = service.shelf.new_path(f".{form}")
        _write_file(path, schema, take_rows(rest, _PART_ROWS))
        rest = skip_rows(rest, _PART_ROWS)
        files.append(path)
    return files


def _write_file(path: Path, schema: pa.Schema, runs: Sequence[Run]) -> None:
    if path.suffix == ".parquet":
        with pq.ParquetWriter(path, schema) as writer:
            for run in runs:
                writer.write_table(run.table())
        return
    style = Style("csv" if path.suffix == ".csv" else "jsonl")
    with path.open("wb") as file:
        file.write(render.head(schema, style))
        for run in runs:
            file.write(render.body(run.table(), style))
