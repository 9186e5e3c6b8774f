"""Renders Arrow rows as bytes of the three wire formats (redivis-api §6.1, §7), one slice at a time.

Each function takes rows in storage types; the bytes of consecutive slices can be concatenated. Arrow's kernels render
the text formats column by column: the array of joined lines is one buffer, which is the result.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

Format = Literal["arrow", "csv", "jsonl"]
ArrowStrings = Literal["utf8", "large_utf8", "utf8_view", "dictionary"]
ArrowCompression = Literal["none", "lz4", "zstd"]
CsvQuotes = Literal["strings", "needed", "all"]
CsvLineEnds = Literal["crlf", "lf"]
MEDIA_TYPES: dict[Format, str] = {
    "arrow": "application/vnd.apache.arrow.stream",
    "csv": "text/csv; charset=utf-8",
    "jsonl": "application/x-ndjson",
}

_STRING_TYPES: dict[ArrowStrings, pa.DataType] = {
    "utf8": pa.string(),
    "large_utf8": pa.large_string(),
    "utf8_view": pa.string_view(),
    "dictionary": pa.dictionary(pa.int32(), pa.string()),
}

# The end-of-stream marker of Arrow IPC: the continuation marker and a length of zero.
ARROW_END = b"\xff\xff\xff\xff\x00\x00\x00\x00"
# Bytes that a JSON string must escape.
_JSON_SPECIAL = bytes(range(32)) + b'"\\'
# Characters that a CSV field without quotes must not contain.
_CSV_SPECIAL = r'[",\r\n]'
_SHAPES = {"POINT": "Point", "LINESTRING": "LineString", "POLYGON": "Polygon", "MULTIPOLYGON": "MultiPolygon"}
_LINE_ENDS: dict[CsvLineEnds, str] = {"crlf": "\r\n", "lf": "\n"}
_WORDS = ("NaN", "Infinity", "-Infinity")
_STRINGS = ('"NaN"', '"Infinity"', '"-Infinity"')
# Arrow formats floats from this value on with an exponent.
_FIRST_WITH_EXPONENT = 1e10


@dataclass(frozen=True)
class Style:
    """How rows are rendered.

    Args:
        format: The wire format.
        nulls: JSON Lines: nulls as `null`, or keys omitted (redivis-api §11.6).
        integers: JSON Lines: integers as numbers, or as strings as in older documentation (§11.7).
        floats: JSON Lines: the same for floats.
        non_finite: JSON Lines: NaN and infinities as bare words, as strings, or as null (redivis-api §11.7).
        strings: Arrow: how strings are encoded (redivis-api §11.12).
        compression: Arrow: how buffers are compressed (redivis-api §11.12).
        quotes: CSV: which values have quotes (redivis-api §11.5): strings, only where needed, or all.
        line_ends: CSV: the line ends.
        empty: CSV: the empty string in quotes, or like a null.
        geojson: Columns whose geographies are GeoJSON (§11.28).
    """

    format: Format
    nulls: Literal["explicit", "absent"] = "explicit"
    integers: Literal["number", "string"] = "number"
    floats: Literal["number", "string"] = "number"
    non_finite: Literal["literal", "string", "null"] = "literal"
    strings: ArrowStrings = "utf8"
    compression: ArrowCompression = "none"
    quotes: CsvQuotes = "strings"
    line_ends: CsvLineEnds = "crlf"
    empty: Literal["quoted", "bare"] = "quoted"
    geojson: tuple[str, ...] = ()


def head(schema: pa.Schema, style: Style) -> bytes:
    """Return the start of a body, also of a resumed one: the Arrow schema or the CSV header (§8.1.4, §8.1.7)."""
    if style.format == "arrow":
        message: bytes = _arrow_schema(schema, style).serialize().to_pybytes()
        return message
    if style.format == "csv":
        return (",".join(_csv_name(name, style) for name in schema.names) + _LINE_ENDS[style.line_ends]).encode()
    return b""


def tail(schema: pa.Schema, style: Style, *, sentinel: bool) -> bytes:
    """Return the end of a body: for Arrow the zero-row batch, if requested, and the end-of-stream marker (§8.1.6)."""
    if style.format != "arrow":
        return b""
    return (arrow(schema.empty_table(), style) if sentinel else b"") + ARROW_END


def body(rows: pa.Table, style: Style) -> bytes:
    """Return the rows as bytes."""
    for name in set(style.geojson) & set(rows.column_names):
        shapes = pa.array([text and geojson_of(text) for text in rows[name].to_pylist()], pa.string())
        rows = rows.set_column(rows.column_names.index(name), name, shapes)
    if style.format == "arrow":
        return arrow(rows, style)
    rows = _without_bytes(rows)
    return csv(rows, style) if style.format == "csv" else jsonl(rows, style)


def arrow(rows: pa.Table, style: Style) -> bytes:
    """Return the rows as one record batch message, preceded by its dictionary messages."""
    schema = _arrow_schema(rows.schema, style)
    columns = [_arrow_column(c.combine_chunks(), f.type) for c, f in zip(rows.columns, schema, strict=True)]
    sink = pa.BufferOutputStream()
    compression = None if style.compression == "none" else style.compression
    with pa.ipc.new_stream(sink, schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
    # The schema and the end-of-stream marker belong to the whole body: `head` and `tail` add them.
    message: bytes = sink.getvalue()[schema.serialize().size : -len(ARROW_END)].to_pybytes()
    return message


def _arrow_schema(schema: pa.Schema, style: Style) -> pa.Schema:
    encoded = _STRING_TYPES[style.strings]
    return pa.schema([f.with_type(encoded) if f.type == pa.string() else f for f in schema])


def _arrow_column(array: pa.Array, to: pa.DataType) -> pa.Array:
    return array.dictionary_encode() if pa.types.is_dictionary(to) else array.cast(to)


def csv(rows: pa.Table, style: Style) -> bytes:
    """Return the rows as CSV (RFC 4180): a null is an empty field, and the empty string is always in quotes."""
    cells: list[pa.Array | str] = []
    for column in rows.columns:
        cells += [",", _csv_values(column.combine_chunks(), style)]
    return _joined([*cells[1:], _LINE_ENDS[style.line_ends]], null="")


def _csv_values(array: pa.Array, style: Style) -> pa.Array:
    if _is_nested(array):
        array = _json_column(array)
    if not pa.types.is_string(array.type):
        text = _text(array, _WORDS)
        return _quoted(text) if style.quotes == "all" else text
    quoted = _quoted(pc.replace_substring(array, '"', '""'))
    if style.empty == "bare":
        quoted = pc.if_else(pc.equal(array, ""), "", quoted)
    if style.quotes != "needed":
        return quoted
    is_needed = pc.or_(pc.match_substring_regex(array, _CSV_SPECIAL), pc.equal(array, ""))
    return pc.if_else(is_needed, quoted, array)


def jsonl(rows: pa.Table, style: Style) -> bytes:
    """Return the rows as JSON Lines; the keys have the order of the columns."""
    values = [_json_values(column.combine_chunks(), style) for column in rows.columns]
    keys = [f"{json.dumps(name, ensure_ascii=False)}:" for name in rows.column_names]
    if style.nulls == "absent":
        pairs = [pc.binary_join_element_wise(f",{key}", value, "") for key, value in zip(keys, values, strict=True)]
        rest = pc.binary_join_element_wise(*pairs, "", null_handling="replace", null_replacement="")
        return _joined(["{", pc.utf8_slice_codeunits(rest, 1), "}\n"], null="")
    cells: list[pa.Array | str] = []
    for key, value in zip(keys, values, strict=True):
        cells += [",", key, value]
    return _joined(["{", *cells[1:], "}\n"], null="null")


def _csv_name(name: str, style: Style) -> str:
    is_quoted = style.quotes == "all" or re.search(_CSV_SPECIAL, name)
    return '"' + name.replace('"', '""') + '"' if is_quoted else name


def _joined(cells: list[pa.Array | str], null: str) -> bytes:
    """Return the concatenated cells of all rows, without a copy of each line."""
    lines = pc.binary_join_element_wise(*cells, "", null_handling="replace", null_replacement=null)
    _, _, letters = lines.buffers()
    return letters.to_pybytes() if letters else b""


def _json_values(array: pa.Array, style: Style) -> pa.Array:
    if pa.types.is_string(array.type):
        return _json_strings(array)
    if _is_nested(array):
        return _json_column(array)
    if pa.types.is_floating(array.type) and style.floats == "string":
        return _quoted(_text(array, _WORDS))
    if pa.types.is_temporal(array.type) or (pa.types.is_integer(array.type) and style.integers == "string"):
        return _quoted(_text(array, _WORDS))
    words = {"literal": _WORDS, "string": _STRINGS, "null": None}[style.non_finite]
    return _text(array, words)


def _is_nested(array: pa.Array) -> bool:
    """Return whether values are lists or structs: SQL may give them (redivis-api §11.21)."""
    return bool(pa.types.is_nested(array.type))


def _json_column(array: pa.Array) -> pa.Array:
    return pa.array([None if value is None else json_text(value) for value in array.to_pylist()], pa.string())


def _without_bytes(rows: pa.Table) -> pa.Table:
    """Return rows with bytes in base64: text formats have no others."""
    for place, field in enumerate(rows.schema):
        if pa.types.is_binary(field.type):
            texts = [None if value is None else _json_leaf(value) for value in rows[field.name].to_pylist()]
            rows = rows.set_column(place, field.name, pa.array(texts, pa.string()))
    return rows


def json_text(value: object) -> str:
    """Return a value as compact JSON, bytes in base64."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_json_leaf)


def _json_leaf(value: object) -> str:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def geojson_of(wkt: str) -> str:
    """Return a geography as GeoJSON; what is no WKT of one shape stays as it is."""
    match = re.fullmatch(r"(\w+) *(\(.*\)|EMPTY)", wkt.strip())
    if match is None or match[1] not in _SHAPES:
        return wkt
    pairs = re.sub(r"([-\d.eE+]+) ([-\d.eE+]+)", r"[\1,\2]", match[2].replace("EMPTY", "()"))
    coordinates = json.loads(pairs.replace("(", "[").replace(")", "]"))
    coordinates = coordinates[0] if match[1] == "POINT" and coordinates else coordinates
    return json_text({"type": _SHAPES[match[1]], "coordinates": coordinates})


def _json_strings(array: pa.Array) -> pa.Array:
    letters = array.buffers()[2]
    whole = letters.to_pybytes() if letters else b""
    if len(whole.translate(None, _JSON_SPECIAL)) == len(whole):
        return _quoted(array)
    escaped = [None if text is None else json.dumps(text, ensure_ascii=False) for text in array.to_pylist()]
    return pa.array(escaped, pa.string())


def _quoted(array: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise('"', array, '"', "")


def _text(array: pa.Array, non_finite: tuple[str, str, str] | None) -> pa.Array:
    """Return values as text; `non_finite` has the words for NaN, Infinity and -Infinity, None makes them null."""
    if pa.types.is_floating(array.type):
        return _float_text(array, non_finite)
    if pa.types.is_timestamp(array.type) or pa.types.is_time(array.type):
        return _clock_text(array)
    return array.cast(pa.string())


def _float_text(array: pa.Array, non_finite: tuple[str, str, str] | None) -> pa.Array:
    """Return the shortest texts that parse to the same floats; whole numbers end with `.0` (redivis-api §6.1)."""
    text = array.cast(pa.string())
    bare = pc.and_(pc.equal(pc.floor(array), array), pc.less(pc.abs(array), _FIRST_WITH_EXPONENT))
    text = pc.if_else(bare, pc.binary_join_element_wise(text, ".0", ""), text)
    if pc.all(pc.is_finite(array)).as_py() is not False:
        return text
    nan, infinity, minus = (pa.scalar(word, pa.string()) for word in non_finite or (None, None, None))
    text = pc.if_else(pc.is_nan(array), nan, text)
    return pc.if_else(pc.is_inf(array), pc.if_else(pc.greater(array, 0), infinity, minus), text)


def _clock_text(array: pa.Array) -> pa.Array:
    """Return `YYYY-MM-DD HH:MM:SS[.ffffff]` or `HH:MM:SS[.ffffff]`, without a fraction of zero."""
    text = array.cast(pa.string())
    return pc.if_else(pc.ends_with(text, ".000000"), pc.utf8_slice_codeunits(text, 0, -len(".000000")), text)
