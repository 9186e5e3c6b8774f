"""Reads and changes rows while they are JSON lines: from what decoders give to RECORD lines.

That is: signs that a line needs casting, zones, added columns, marks of deleted rows, the highest replication key, and
RECORD envelopes. All of it relies on the one encoding that decoders give (see ``rows``).
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timezone
from itertools import chain
from typing import Any

import msgspec

from tap_redivis.errors import DataError
from tap_redivis.model.columns import DELETED_AT, FILE_URI, ROW_KEY, Column, KeyValue, highest_of
from tap_redivis.model.reads import ChangeCounts
from tap_redivis.wire.rows import JsonRows, Parts

_LONG_ROW_BYTES = 4096  # on average: a change of all rows at once takes several copies, too many for large rows
_SLICE_BYTES = 64 * 1024
_TOO_FINE = re.compile(rb":\d\d\.\d{6}0*[1-9]")
CHANGED_CHARACTERS = re.compile("[\x00\ufffd\ud800-\udfff]")


def has_escaped_nul(lines: bytes) -> bool:
    """Whether U+0000 is in JSON lines, or looks so."""
    # One backslash is found sixteen times faster than a longer pattern, and most pieces have none.
    return b"\\" in lines and b"\\u0000" in lines


def is_too_fine(lines: bytes, encoded: bytes) -> bool:
    """Whether JSON lines have parts of microseconds, or look so; ``encoded`` is what msgspec made of them."""
    # To see that only the space between date and time changed is much faster than the search. T is rare in text.
    return not _differ_in_spaces_only(lines, encoded) and _TOO_FINE.search(lines) is not None


def _differ_in_spaces_only(lines: bytes, encoded: bytes) -> bool:
    # In slices: the C library returns large copies to the system each time, which clears every page again.
    return len(lines) == len(encoded) and all(
        _is_same_but_spaces(lines[start : start + _SLICE_BYTES], encoded[start : start + _SLICE_BYTES])
        for start in range(0, len(lines), _SLICE_BYTES)
    )


def _is_same_but_spaces(lines: bytes, encoded: bytes) -> bool:
    with_spaces = encoded.replace(b"T", b" ")
    return with_spaces == lines or with_spaces == lines.replace(b"T", b" ")  # most text has no T


def utc_appender(columns: Sequence[Column]) -> Callable[[bytes], bytes] | None:
    """Make what appends ``+00:00`` to the dateTimes of JSON lines; None where there are none."""
    names = [re.escape(msgspec.json.encode(column.name)) for column in columns if column.type == "dateTime"]
    if not names:
        return None
    # A name with its quotes and colon can only be a key, since quotes inside strings are escaped.
    pattern = re.compile(rb"((?<=[{,])(?:" + b"|".join(names) + rb'):"\d{4}-\d\d-\d\dT[0-9:.]+)"')
    return lambda lines: pattern.sub(rb'\1+00:00"', lines)


ColumnAppender = Callable[[JsonRows, int, int], JsonRows]  # rows, ordinal of their stream, offset of the first one
RecordLines = Callable[[JsonRows], Parts]


def column_appender(load: str | None, constants: Mapping[str, str | int | None]) -> ColumnAppender:
    """Make what adds row keys that begin with ``load``, unless it is None, URIs of files, and columns of one value."""
    cells = (b"," + msgspec.json.encode(name) + b":" + msgspec.json.encode(value) for name, value in constants.items())
    constant = b"".join(cells).replace(b"%", b"%%") + b"}\n"

    def extend(rows: JsonRows, ordinal: int, offset: int) -> JsonRows:
        end, values = constant, list[Sequence[object]]()
        if load is not None:
            end = b',"%b":"%b-%d-%%d"' % (ROW_KEY.encode(), load.encode(), ordinal) + end
            values.append(range(offset, offset + rows.count))
        if rows.uris:
            end = b',"%b":%%b' % FILE_URI.encode() + end
            values.insert(0, list(map(msgspec.json.encode, rows.uris)))
        return rows if end == b"}\n" else _with_ends(rows, end, values)

    return extend


def _with_ends(rows: JsonRows, end: bytes, values: Sequence[Sequence[object]]) -> JsonRows:
    """Replace ``}`` and the line end of each row; ``end`` is a format for one of each of the values, if any."""
    filled = tuple(values[0]) if len(values) == 1 else tuple(chain.from_iterable(zip(*values, strict=True)))
    if len(rows.lines) > rows.count * _LONG_ROW_BYTES:
        return JsonRows(rows.count, _with_ends_one_by_one(rows, end, filled))
    # One call each of C for all rows: several times as fast as a join of lines and ends.
    lines = rows.lines.replace(b"%", b"%%")
    ended = lines.replace(b"}", end.removesuffix(b"\n"))  # one byte is found ten times faster than two
    if len(ended) != len(lines) + rows.count * (len(end) - len(b"}\n")):  # some value has such a brace too
        ended = lines.replace(b"}\n", end)
    return JsonRows(rows.count, ended % filled)


def _with_ends_one_by_one(rows: JsonRows, end: bytes, filled: tuple[object, ...]) -> bytes:
    lines, begin, each = memoryview(rows.lines), 0, len(filled) // rows.count
    parts: list[bytes | memoryview] = []
    for index in range(rows.count):
        line_end = rows.lines.index(b"\n", begin)
        parts += (lines[begin : line_end - 1], end % filled[index * each : (index + 1) * each])
        begin = line_end + 1
    return b"".join(parts)


class DeletionMarker:
    """Replaces the change column, the last one of a comparison's rows, by ``_sdc_deleted_at``.

    The change column has the letter ``i``, ``c`` or ``d`` for a row that was inserted, changed or deleted; ``r`` or
    ``g`` for a row that is there, or gone, unlike in a version in between.
    """

    def __init__(self, change_column: Column, found_at: datetime, zone: str) -> None:
        there = _last_pair(DELETED_AT, None)
        gone = _last_pair(DELETED_AT, found_at.strftime("%Y-%m-%dT%H:%M:%S") + zone)
        self._ends = {"i": there, "c": there, "d": gone, "r": there, "g": gone}
        self._name = change_column.name

    def of(self, rows: JsonRows) -> tuple[JsonRows, ChangeCounts]:
        """Mark the deleted rows, and count the changes; a ``DataError`` says that a row has none of the letters."""
        lines, counts = rows.lines, []
        for letter, end in self._ends.items():
            pair = _last_pair(self._name, letter)  # quotes in a value are escaped: only the change column looks so
            counts.append(lines.count(pair))
            lines = lines.replace(pair, end)
        if sum(counts) != rows.count:
            raise DataError("the query does not say of each row what became of it", where="LOG_BASED", hint="Run again")
        inserted, changed, deleted, *repeated = counts
        return replace(rows, lines=lines), ChangeCounts(inserted, changed, deleted, sum(repeated))


def _last_pair(name: str, value: str | None) -> bytes:
    return b"," + msgspec.json.encode(name) + b":" + msgspec.json.encode(value) + b"}\n"


class HighestKey:
    """Finds the highest value of a column in JSON lines."""

    def __init__(self, column: Column) -> None:
        self.column = column
        self._decoder: msgspec.json.Decoder[Any] | None = None
        kind = {"integer": int, "float": float}.get(column.type, str)
        with suppress(ValueError):  # a name that cannot be a Struct's key
            row = msgspec.defstruct("Key", [("value", kind | None, None)], rename={"value": column.name}, gc=False)
            self._decoder = msgspec.json.Decoder(row)

    def of(self, lines: bytes) -> KeyValue | None:
        """Return the highest value; None if there is none."""
        return highest_of(map(self._sure_part, self._values(lines)))

    def _values(self, lines: bytes) -> list[KeyValue | None]:
        if self._decoder is not None:
            with suppress(msgspec.DecodeError, UnicodeDecodeError):  # a lone surrogate, which msgspec cannot read
                return [row.value for row in self._decoder.decode_lines(lines)]
        return [json.loads(line)[self.column.name] for line in lines.splitlines()]

    def _sure_part(self, value: KeyValue | None) -> KeyValue | None:
        # Cut before a character that the tap replaced, what is left is not higher than the value that the source has.
        if self.column.type == "string" and isinstance(value, str):
            return CHANGED_CHARACTERS.split(value, maxsplit=1)[0]
        return value


def splicing(stream: str, version: int | None) -> RecordLines:
    """Make what puts each row, which is a JSON line already, between two constant pieces: a RECORD line."""
    prefix = b'{"type":"RECORD","stream":' + msgspec.json.encode(stream) + b',"record":'
    infix = b"" if version is None else b',"version":%d' % version

    def lines(rows: JsonRows) -> Parts:
        extracted = datetime.now(timezone.utc).isoformat().encode()
        suffix = infix + b',"time_extracted":"' + extracted + b'"}\n'
        if rows.count == 1:  # it may be large, and is not copied
            return prefix, memoryview(rows.lines)[:-1], suffix
        spliced = rows.lines.replace(b"\n", suffix + prefix)  # also after the last row, where no other one follows
        return prefix, memoryview(spliced)[: -len(prefix)]

    return lines
