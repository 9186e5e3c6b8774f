"""A table with every type and all that is awkward to spell, its bodies in each wire format, and damage to them."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Sequence

import pyarrow as pa
from hypothesis import settings
from hypothesis import strategies as st

from redivis_emulator import render
from redivis_emulator.render import Style
from tap_redivis.model.columns import Column, ValueRules, WireFormat
from tap_redivis.wire.codec import RowCodec
from tap_redivis.wire.rows import ValueIssues

_EXAMPLES = int(os.environ.get("TAP_REDIVIS_FUZZ_EXAMPLES", "100"))
FUZZ = settings(max_examples=_EXAMPLES, derandomize="TAP_REDIVIS_FUZZ_EXAMPLES" not in os.environ)
"""Settings of all fuzz tests: in the suite the same examples every time."""

ROWS = 24
BATCH = 5  # rows of a record batch
_EPOCH = dt.datetime(1969, 12, 31, 23, 59, 58, 999_999)  # noqa: DTZ001 - dateTime has no zone
_TEXTS = ["", None, 'a "quoted" one', "two\r\nlines", "comma, and\ttab", "Ärger 🛫", "\\u0000", "NA", '",\n"', "plain"]

COLUMNS = (
    Column("id", "integer"),
    Column("text", "string"),
    Column("cost", "float"),
    Column("paid", "boolean"),
    Column("seen_on", "date"),
    Column("seen_at", "dateTime"),
    Column("opens", "time"),
    Column("place", "geography"),
)


def _table() -> pa.Table:
    numbers = range(ROWS)
    return pa.table(
        {
            "id": pa.array([2**53 + number for number in numbers], pa.int64()),
            "text": pa.array([_TEXTS[number % len(_TEXTS)] for number in numbers], pa.string()),
            "cost": pa.array([None if number % 5 == 0 else number / 7 for number in numbers], pa.float64()),
            "paid": pa.array([None if number % 7 == 0 else number % 2 == 0 for number in numbers], pa.bool_()),
            "seen_on": pa.array([dt.date(1, 1, 1 + number) for number in numbers], pa.date32()),
            "seen_at": pa.array([_EPOCH + dt.timedelta(hours=number) for number in numbers], pa.timestamp("us")),
            "opens": pa.array([dt.time(number, 1, 2, number) for number in numbers], pa.time64("us")),
            "place": pa.array([f"POINT({number} {-number})" for number in numbers], pa.string()),
        }
    )


TABLE = _table()

STYLES: dict[WireFormat, Sequence[Style]] = {
    "jsonl": [Style("jsonl"), Style("jsonl", nulls="absent")],
    "csv": [Style("csv")],
    "arrow": [
        Style("arrow"),
        Style("arrow", strings="large_utf8", compression="lz4"),
        Style("arrow", strings="dictionary", compression="zstd"),
    ],
}


def body(style: Style, offset: int = 0) -> bytes:
    """Give the table's body from an offset on, as a sound server sends it."""
    batches = [TABLE.slice(start, BATCH) for start in range(offset, ROWS, BATCH)]
    rows = b"".join(render.body(batch, style) for batch in batches)
    return render.head(TABLE.schema, style) + rows + render.tail(TABLE.schema, style, sentinel=True)


def codec() -> RowCodec:
    """Make the table's codec; what comes out must not depend on chance, so bad values are errors."""
    return RowCodec("demo.fuzz.t", COLUMNS, ValueRules(), ValueIssues())


def styles() -> st.SearchStrategy[Style]:
    """Choose how a body is written: each format as often as the others."""
    return st.sampled_from(sorted(STYLES)).flatmap(lambda wire_format: st.sampled_from(STYLES[wire_format]))


Edit = Callable[[bytes], bytes]
"""Changes some bytes."""

_AWKWARD = [
    *[b"\xff\xff\xff\xff", b"\x00" * 8, b"\x7f" * 8, b"\xff" * 8, b"\x80", b"\xed\xa0\x80"],
    *[b'"', b"\n", b"\r", b",", b"{", b"}", b"[" * 3000, b'{"a":' * 3000, b"\\", b"\\ud800", b"\x00"],
    *[b"1e999", b"-1e-999", b"9" * 5000, b"NaN", b"null", b"0x10", b"\xf0\x9f", b"99999999999999999999", b"true"],
]
_PLACES = st.integers(0, 10_000)
_PARTS = st.binary(max_size=8) | st.sampled_from(_AWKWARD)


def _replace(place: int, part: bytes) -> Edit:
    def edit(data: bytes) -> bytes:
        start = place % (len(data) + 1)
        return data[:start] + part + data[start + len(part) :]

    return edit


def _insert(place: int, part: bytes) -> Edit:
    def edit(data: bytes) -> bytes:
        start = place % (len(data) + 1)
        return data[:start] + part + data[start:]

    return edit


def _delete(place: int, length: int) -> Edit:
    def edit(data: bytes) -> bytes:
        start = place % (len(data) + 1)
        return data[:start] + data[start + length :]

    return edit


def _repeat(place: int, length: int) -> Edit:
    def edit(data: bytes) -> bytes:
        end = place % (len(data) + 1) + length
        return data[:end] + data[end - length :]

    return edit


def _end(place: int) -> Edit:
    return lambda data: data[: place % (len(data) + 1)]


_LENGTHS = st.integers(1, 16) | st.integers(1, 2000)
STRUCTURAL = st.builds(_delete, _PLACES, _LENGTHS) | st.builds(_repeat, _PLACES, _LENGTHS) | st.builds(_end, _PLACES)
"""Some bytes are missing, or come twice: what a proxy or a server that loses count may do."""

EDITS = st.builds(_replace, _PLACES, _PARTS) | st.builds(_insert, _PLACES, _PARTS) | STRUCTURAL
"""Anything."""
