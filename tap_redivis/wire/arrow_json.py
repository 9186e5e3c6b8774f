"""Arrow columns → JSON lines, by whole columns: no Python object for a row, and threads compute side by side.

Each value is encoded as ``RowCodec`` encodes it: the tests compare the two.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from tap_redivis.wire.scalars import number, text, text_array

# Between these, Arrow writes floats as msgspec does, except that whole numbers have no fraction.
_SMALLEST_FLOAT, _LARGEST_FLOAT = 1e-4, 1e10

LINES_BYTES = 128 * 1024  # of the lines that are given at once: larger blocks take more memory, and are not faster
_PIECE_BYTES = 256 * 1024

_LONG_ESCAPES = frozenset(range(0x20)) - set(b"\b\t\n\f\r")
_SHORT_ESCAPES = {"\\": "\\\\", '"': '\\"', "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}
_ESCAPED = _LONG_ESCAPES | set("".join(_SHORT_ESCAPES).encode())


@dataclass(frozen=True)
class JsonColumn:
    """One column as JSON: ``before`` and ``after`` stand around each value that is not null."""

    array: pa.StringArray
    before: str = ""
    after: str = ""

    @property
    def whole(self) -> "JsonColumn":
        """The same with the quotes in the array, so that nulls have none."""
        if not self.before or not self.array.null_count:
            return self
        return JsonColumn(pc.binary_join_element_wise(text(self.before), self.array, text(self.after), text("")))


def encode_rows(keys: Sequence[str], columns: Sequence[JsonColumn | None], count: int) -> Iterator[tuple[int, bytes]]:
    """Write rows as JSON lines, in blocks of about ``LINES_BYTES`` with their number of rows.

    A key has its quotes and colon; a column of nulls is None.
    """
    pieces: list[pa.StringArray | str] = []
    between = "{"
    for key, column in zip(keys, columns, strict=True):
        between += key
        if column is None:
            between += "null,"
            continue
        texts = column.whole
        pieces += [between + texts.before, texts.array]
        between = texts.after + ","
    between = between[:-1] + "}\n"
    if not pieces:
        return iter([(count, between.encode() * count)])
    pieces.append(between)
    if count == 1:  # it may be large, so it is copied only once
        return iter([(1, b"".join(piece.encode() if isinstance(piece, str) else _only(piece) for piece in pieces))])
    parts = [text(piece) if isinstance(piece, str) else piece for piece in pieces]
    return _cut(pc.binary_join_element_wise(*parts, text(""), null_handling="replace", null_replacement="null"))


def _cut(lines: pa.StringArray) -> Iterator[tuple[int, bytes]]:
    step = max(1, len(lines) * LINES_BYTES // max(_data(lines).size, LINES_BYTES))
    for start in range(0, len(lines), step):
        some = lines.slice(start, step)
        yield len(some), _data(some).to_pybytes()


def json_column_of(array: pa.Array, *, zone: str = "") -> JsonColumn:
    """Encode an array of one of the columns' types: floats must be finite, dates and times within Python's."""
    column = _KINDS[array.type](array)
    return JsonColumn(column.array, '"', f'{zone}"') if array.type == pa.timestamp("us") else column


def json_column_of_values(values: Sequence[bytes]) -> JsonColumn:
    """Take values that have been encoded one by one, quotes and nulls included."""
    return JsonColumn(text_array(values))


def has_nul(array: pa.Array) -> bool:
    """Whether U+0000 is in an array of strings."""
    return any(b"\0" in piece for piece in _pieces(array))


def _floats(array: pa.Array) -> JsonColumn:
    size = pc.abs(array)
    in_range = pc.and_(pc.greater_equal(size, number(_SMALLEST_FLOAT)), pc.less(size, number(_LARGEST_FLOAT)))
    usual = pc.or_(pc.equal(size, number(0.0)), in_range)
    if pc.all(usual).as_py() is False:
        # Where Arrow takes exponents is not where msgspec does.
        return json_column_of_values([msgspec.json.encode(value) for value in array.to_pylist()])
    texts = array.cast(pa.string())
    whole = pc.equal(pc.floor(array), array)
    if pc.any(whole).as_py():
        texts = pc.if_else(whole, pc.binary_join_element_wise(texts, text(".0"), text("")), texts)
    return JsonColumn(texts)


def _moments(array: pa.Array) -> JsonColumn:
    texts = _without_empty_fraction(array, pa.timestamp("s"), len("2012-01-01 12:30:00"))
    return JsonColumn(pc.binary_replace_slice(texts, start=10, stop=11, replacement="T"), '"', '"')


def _without_empty_fraction(array: pa.Array, of_seconds: pa.DataType, length: int) -> pa.StringArray:
    try:  # one cast tells whether all have whole seconds
        return array.cast(of_seconds).cast(pa.string())
    except pa.ArrowInvalid:  # some have a fraction
        texts = array.cast(pa.string())  # always with six digits, where ISO 8601 in Python has none for whole seconds
        is_whole = pc.equal(pc.subsecond(array), number(0.0))
        return pc.if_else(is_whole, pc.utf8_slice_codeunits(texts, 0, length), texts)


def _strings(array: pa.Array) -> JsonColumn:
    others = bytes({*range(256)} - _ESCAPED)
    found = set().union(*(piece.translate(None, others) for piece in _pieces(array)))
    if found & _LONG_ESCAPES:
        return json_column_of_values([msgspec.json.encode(value) for value in array.to_pylist()])
    for character, escape in _SHORT_ESCAPES.items():  # the backslash comes first
        if ord(character) in found:
            array = pc.replace_substring(array, character, escape)
    return JsonColumn(array, '"', '"')


def _pieces(array: pa.StringArray) -> Iterator[bytes]:
    data = memoryview(_data(array))  # in pieces, since each is copied, and values may be large
    return (data[start : start + _PIECE_BYTES].tobytes() for start in range(0, len(data), _PIECE_BYTES))


def _only(array: pa.StringArray) -> pa.Buffer:
    return pa.py_buffer(b"null") if array.null_count else _data(array)


def _data(array: pa.StringArray) -> pa.Buffer:
    # The bytes of all values, one after another, without a copy; those of nulls may be among them.
    _, offsets, data = array.buffers()
    if not len(array) or data is None:
        return pa.py_buffer(b"")
    numbers = memoryview(offsets).cast("i")
    return data[numbers[array.offset] : numbers[array.offset + len(array)]]


_KINDS: dict[pa.DataType, Callable[[Any], JsonColumn]] = {
    pa.int64(): lambda array: JsonColumn(array.cast(pa.string())),
    pa.bool_(): lambda array: JsonColumn(array.cast(pa.string())),
    pa.float64(): _floats,
    pa.date32(): lambda array: JsonColumn(array.cast(pa.string()), '"', '"'),
    pa.timestamp("us"): _moments,
    pa.time64("us"): lambda array: JsonColumn(
        _without_empty_fraction(array, pa.time32("s"), len("12:30:00")), '"', '"'
    ),
    pa.string(): _strings,
}
