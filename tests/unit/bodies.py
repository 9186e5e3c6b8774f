"""hypothesis strategies: tables as a server may send them in JSON Lines, and the values that must come out."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from hypothesis import strategies as st

from tap_redivis.model.columns import COLUMN_TYPES, INT64_MAX, INT64_MIN, Column, ValueRules
from tap_redivis.wire.casts import Value
from tap_redivis.wire.codec import RowCodec
from tap_redivis.wire.jsonl import JsonlDecoder
from tap_redivis.wire.rows import JsonRows, ValueIssues


@dataclass(frozen=True)
class Cell:
    """One value.

    Attributes:
        value: As a RECORD must have it.
        wire: JSON text of its own type.
        text: JSON text as retyped variables send it: a string (redivis-api §6.2).
    """

    value: Value
    wire: str
    text: str


@dataclass(frozen=True)
class Body:
    """A table on the wire.

    Attributes:
        columns: Its columns.
        cells: Its rows, each with a cell a column.
    """

    columns: tuple[Column, ...]
    cells: Sequence[Sequence[Cell]]

    @property
    def rows(self) -> list[dict[str, Value]]:
        """The records that must come out."""
        return [{column.name: cell.value for column, cell in self._pairs(row)} for row in self.cells]

    @property
    def wire(self) -> bytes:
        """The rows as JSON Lines, each value in its type."""
        return self._lines([[cell.wire for cell in row] for row in self.cells])

    @property
    def retyped(self) -> bytes:
        """The rows as JSON Lines, each value as a string."""
        return self._lines([[cell.text for cell in row] for row in self.cells])

    @property
    def mixed(self) -> bytes:
        """The rows as JSON Lines, every second one retyped, and without the nulls, which a server may leave out."""
        texts = [[cell.text if number % 2 else cell.wire for cell in row] for number, row in enumerate(self.cells)]
        return self._lines([[None if text == "null" else text for text in row] for row in texts])

    def _pairs(self, row: Sequence[Cell]) -> Iterable[tuple[Column, Cell]]:
        return zip(self.columns, row, strict=True)

    def _lines(self, rows: Sequence[Sequence[str | None]]) -> bytes:
        names = [json.dumps(column.name, ensure_ascii=False) for column in self.columns]
        lines = [
            ",".join(f"{name}:{text}" for name, text in zip(names, row, strict=True) if text is not None)
            for row in rows
        ]
        return "".join(f"{{{line}}}\n" for line in lines).encode()


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _float(number: float) -> Cell:
    value = number if math.isfinite(number) else None
    return Cell(value, json.dumps(number), _quoted(repr(number)))


def _moment(moment: dt.datetime, separator: str) -> Cell:
    return Cell(moment.isoformat(), _quoted(moment.isoformat(separator)), _quoted(moment.isoformat(separator)))


def _loose_date(day: dt.date) -> Cell:
    """Spell months and days without a leading zero where the variable is retyped (redivis-api §6.1)."""
    return Cell(day.isoformat(), _quoted(day.isoformat()), _quoted(f"{day.year:04}-{day.month}-{day.day}"))


def _loose_time(moment: dt.time) -> Cell:
    loose = f"{moment.hour}:{moment.minute}:{moment.second}.{moment.microsecond:06}000"
    return Cell(moment.isoformat(), _quoted(moment.isoformat()), _quoted(loose))


_TEXTS = st.text(max_size=12) | st.sampled_from(
    ['"', "\\", "\\u0000", "\n", "\r\n", "\u2028", "🛫", ',"d":"', "NA", "null", "\ufeff"]
)
_STRINGS = st.builds(
    lambda text, ascii_only: Cell(text, json.dumps(text, ensure_ascii=ascii_only), _quoted(text)),
    _TEXTS.filter(lambda text: "\x00" not in text),
    st.booleans(),
)
_CELLS: dict[str, st.SearchStrategy[Cell]] = {
    "string": _STRINGS,
    "geography": _STRINGS,
    "integer": (st.integers(INT64_MIN, INT64_MAX) | st.sampled_from([INT64_MIN, INT64_MAX, 2**53 + 1])).map(
        lambda number: Cell(number, str(number), _quoted(f"{number}.0"))
    ),
    "float": (st.floats() | st.integers(-(2**60), 2**60).map(float)).map(_float),
    "boolean": st.booleans().map(lambda flag: Cell(flag, json.dumps(flag), _quoted(str(flag)))),
    "date": st.dates().map(_loose_date),
    "dateTime": st.builds(_moment, st.datetimes(), st.sampled_from(" T")),
    "time": st.times().map(_loose_time),
}
_NULL = Cell(None, "null", "null")
_NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8) | st.sampled_from(
    ['a"b', "back\\slash", "two\nlines", "🛫", "c0", "c1", "type", "_sdc_x", "Ärger", ",", ":", "{", '":"', " "]
)
_COLUMNS = st.lists(
    st.builds(Column, _NAMES, st.sampled_from(sorted(COLUMN_TYPES))),
    min_size=1,
    max_size=5,
    unique_by=lambda column: column.name,
).map(tuple)


@st.composite
def bodies(draw: st.DrawFn, min_rows: int = 0) -> Body:
    """Draw a table of up to twelve rows."""
    columns = draw(_COLUMNS)
    row = st.tuples(*(st.one_of(_CELLS[column.type], st.just(_NULL)) for column in columns))
    return Body(columns, draw(st.lists(row, min_size=min_rows, max_size=12)))


def cuts(body: bytes, places: Iterable[int]) -> list[bytes]:
    """Cut a body at places that are taken modulo its length."""
    ends = sorted({place % (len(body) + 1) for place in places} | {0, len(body)})
    return [body[start:end] for start, end in pairwise(ends)]


def codec(columns: Sequence[Column], **rules: Any) -> RowCodec:
    """Make a codec for a table of no name."""
    return RowCodec("demo.t", columns, ValueRules(**rules), ValueIssues())


def decoded(codec: RowCodec, pieces: Iterable[bytes], offset: int = 0) -> JsonRows:
    """Decode a body to its end; all rows in one."""
    parts = list(JsonlDecoder(codec).rows(pieces, offset))
    return JsonRows(sum(part.count for part in parts), b"".join(part.lines for part in parts))


def same(found: Iterable[Any], expected: Iterable[Any]) -> bool:
    """Compare values by type and spelling too: 1 is not 1.0, and 0.0 is not -0.0."""
    return list(map(repr, found)) == list(map(repr, expected))
