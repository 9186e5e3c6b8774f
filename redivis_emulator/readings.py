"""Readings: how the real service may behave where its documentation is silent (redivis-api §11, §13).

Each has a switch, whose first value is the default: what the documentation, the clients and what was seen make likely.
Most switches change how a request is handled. What only changes an answer in JSON is done here.
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any, Literal, get_args, get_type_hints

import msgspec
from msgspec import Struct

from redivis_emulator.errors import EmulatorError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from redivis_emulator.resources import Json

Count = Literal["exact", "absent", "low", "high"]
ErrorForm = Literal["flat", "nested", "traced"]
RetryAfterForm = Literal["seconds", "epoch", "epoch_ms", "http_date", "absent"]
LimitForm = Literal["flat", "nested", "html", "empty"]
_WRONG_BY = 0.03


class Readings(Struct, frozen=True, forbid_unknown_fields=True):
    """The reading of each open question; docs/emulator.md says what each value means."""

    retry_after: RetryAfterForm = "seconds"
    gone_status: Literal[404, 400, 403, 410] = 404
    offset_status: Literal[400, 404, 410, 416, 200] = 400
    csv_header: Literal["each", "first", "none"] = "each"
    csv_quotes: Literal["strings", "needed", "all"] = "strings"
    csv_line_ends: Literal["crlf", "lf"] = "crlf"
    csv_empty: Literal["quoted", "bare"] = "quoted"
    jsonl_nulls: Literal["explicit", "absent"] = "explicit"
    jsonl_integers: Literal["number", "string"] = "number"
    jsonl_floats: Literal["number", "string"] = "number"
    jsonl_non_finite: Literal["literal", "string", "null"] = "literal"
    sentinel: Literal["asked", "always", "never"] = "asked"
    text_sentinel: Literal["ignored", "refused"] = "ignored"
    session_status: Literal[200, 201] = 200
    session_answer: Literal["full", "least"] = "full"
    most_streams: Literal["any", "eight", "one"] = "any"
    max_results: Literal["exact", "more"] = "exact"
    max_results_type: Literal["any", "number"] = "any"
    arrow_strings: Literal["utf8", "large_utf8", "utf8_view", "dictionary"] = "utf8"
    arrow_compression: Literal["none", "lz4", "zstd"] = "none"
    row_order: Literal["session", "table", "request"] = "session"
    table_hash: Literal["content", "version", "absent"] = "content"
    draft_counts: Literal["counted", "absent", "stale"] = "counted"
    no_access: Literal[403, 401, 404] = 403
    sample: Literal["both", "dataset", "table"] = "both"
    errors: ErrorForm = "flat"
    list_order: Literal["id", "reversed"] = "id"
    large_pages: Literal["cut", "refused"] = "cut"
    limit_answer: LimitForm = "flat"
    sql_decimals: Literal["float", "string", "decimal"] = "float"
    sql_nested: Literal["string", "native", "refused"] = "string"
    rows_size: Literal["any", "small"] = "any"
    rows_offset: Literal["ignored", "refused", "taken"] = "ignored"
    quota: Literal["free", "used_up", "forbidden"] = "free"
    etags: Literal["weak", "conditional", "absent"] = "weak"
    deleted_versions: Literal["gone", "current", "readable"] = "gone"
    geography: Literal["wkt", "geojson"] = "wkt"
    text_formats: Literal["served", "refused", "ignored"] = "served"
    query_rows: Literal["served", "absent"] = "served"
    name_lists: Literal["both", "commas", "repeated"] = "both"
    empty_names: Literal["accepted", "refused"] = "accepted"
    limit_headers: Literal["epoch", "delta", "absent"] = "epoch"
    last_line_end: Literal["written", "absent"] = "written"
    session_rows: Count = "exact"
    table_rows: Count = "exact"
    anonymous: Literal["datasets", "tables", "none"] = "datasets"
    openapi: Literal["absent", "served"] = "absent"
    list_items: Literal["full", "short"] = "full"


DEFAULTS = Readings()


def values() -> dict[str, tuple[Any, ...]]:
    """Return the values of each reading, the default first."""
    return {name: get_args(kind) for name, kind in get_type_hints(Readings).items()}


def changed(readings: Readings, texts: Iterable[str]) -> Readings:
    """Return readings with changes, each written as `name=value`.

    Raises:
        EmulatorError: There is no such reading, or it has no such value.
    """
    known = values()
    for text in texts:
        name, _, value = text.partition("=")
        if name not in known:
            msg = f"there is no reading {name!r}: {', '.join(known)}"
            raise EmulatorError(msg)
        by_text = {str(each): each for each in known[name]}
        if value not in by_text:
            msg = f"the reading {name} is one of {', '.join(by_text)}, not {value!r}"
            raise EmulatorError(msg)
        readings = msgspec.structs.replace(readings, **{name: by_text[value]})
    return readings


def as_read(answer: Json, readings: Readings) -> Json:
    """Return a JSON answer as the readings have it."""
    kind = answer.get("kind")
    if kind == "readSession":
        return _session(answer, readings)
    if kind == "table":
        return _table(answer, readings)
    if kind == "tableList":
        return {**answer, "results": [_table(item, readings) for item in answer["results"]]}
    if kind == "datasetList":
        return {**answer, "results": [_dataset_item(item, readings) for item in answer["results"]]}
    return answer


def _session(answer: Json, readings: Readings) -> Json:
    answer = {**answer, "numRows": _counted(answer["numRows"], readings.session_rows)}
    if readings.session_answer == "full":
        return answer
    streams = [{"id": stream["id"]} for stream in answer["streams"]]
    return {"id": answer["id"], "numRows": answer["numRows"], "streams": streams}


def _table(item: Json, readings: Readings) -> Json:
    changes: dict[str, Any] = {"numRows": _counted(item["numRows"], readings.table_rows)}
    if ":next." in item["qualifiedReference"]:
        rows, counts = item["numRows"], readings.draft_counts
        absent: dict[str, Any] = {"numRows": None, "numBytes": None}
        changes = absent if counts == "absent" else {"numRows": rows // 2 if counts == "stale" else rows}
    if readings.table_hash == "version":
        text = f"{item['hash']} {item['qualifiedReference']}"
        changes["hash"] = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
    if readings.table_hash == "absent":
        changes["hash"] = None
    return {**item, **changes}


def _dataset_item(item: Json, readings: Readings) -> Json:
    if readings.list_items == "full":
        return item
    # Lists of 2022 had the access level a second time, and no reference (redivis-api §13).
    kept = {key: value for key, value in item.items() if key != "qualifiedReference"}
    return {**kept, "scopedAccessLevel": item["accessLevel"]}


def _counted(rows: int, reading: Count) -> int | None:
    if reading == "absent":
        return None
    wrong = math.ceil(rows * _WRONG_BY)
    return rows + {"exact": 0, "low": -wrong, "high": wrong}[reading]
