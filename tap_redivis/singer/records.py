"""Rows → RECORD lines: by splicing where the record is the row, by the SDK where maps or flattening change it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from tap_redivis.wire.json_lines import RecordLines
from tap_redivis.wire.rows import JsonRows, Parts


def by_sdk(messages: Callable[[dict[str, Any]], Iterable[Any]], serialize: Callable[[Any], bytes]) -> RecordLines:
    """Make RECORD lines through the SDK's own path: the reference that splicing is tested against."""

    def lines(rows: JsonRows) -> Parts:
        # Stream maps are expressions over Python values, so each row is parsed.
        records = map(_record, rows.lines.splitlines())
        return (b"".join(serialize(message) for record in records for message in messages(record)),)

    return lines


def _record(line: bytes) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(line)
    return record
