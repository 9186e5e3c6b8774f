"""Rows → RECORD lines: by splicing where the record is the row, by the SDK where maps or flattening change it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from typing import Any

import msgspec

from tap_redivis.wire.rows import Parts, Rows

RecordLines = Callable[[Rows], Parts]
"""Makes the RECORD lines of some rows."""


def splicing(stream: str, version: int | None) -> RecordLines:
    """Make RECORD lines by putting each row, which is a JSON line already, between two constant pieces.

    Args:
        stream: Name of the stream.
        version: Singer version of the load, or None to leave it out.
    """
    prefix = b'{"type":"RECORD","stream":' + msgspec.json.encode(stream) + b',"record":'
    infix = b"" if version is None else b',"version":%d' % version

    def lines(rows: Rows) -> Parts:
        extracted = datetime.now(timezone.utc).isoformat().encode()
        suffix = infix + b',"time_extracted":"' + extracted + b'"}\n'
        if rows.count == 1:  # it may be large, and is not copied
            return prefix, memoryview(rows.lines)[:-1], suffix
        spliced = rows.lines.replace(b"\n", suffix + prefix)  # also after the last row, where no other one follows
        return prefix, memoryview(spliced)[: -len(prefix)]

    return lines


def by_sdk(messages: Callable[[dict[str, Any]], Iterable[Any]], serialize: Callable[[Any], bytes]) -> RecordLines:
    """Make RECORD lines through the SDK's own path: the reference that splicing is tested against.

    Args:
        messages: The stream's generator of RECORD messages for one record.
        serialize: Writes one message as a line.
    """

    def lines(rows: Rows) -> Parts:
        records = map(_record, rows.lines.splitlines())
        return (b"".join(serialize(message) for record in records for message in messages(record)),)

    return lines


def _record(line: bytes) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(line)
    return record
