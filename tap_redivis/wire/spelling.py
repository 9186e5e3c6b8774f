"""Arrow columns → JSON lines, by whole columns: no Python object for a row, and threads compute side by side.

Each value is spelled as ``RowCodec`` spells it: the tests compare the two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

_SMALLEST_FLOAT, _LARGEST_FLOAT = 1e-4, 1e10
"""Between these Arrow writes floats like everybody else, but for the fraction of whole numbers."""

_PIECE_BYTES = 256 * 1024

_LONG_ESCAPES = bytes(sorted({*range(0x20)} - set(b"\b\t\n\f\r")))
_SHORT_ESCAPES = {"\\": "\\\\", '"': '\\"', "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}
_ESCAPED = _LONG_ESCAPES + "".join(_SHORT_ESCAPES).encode()


@dataclass(frozen=True)
class Texts:
    """One column as JSON.

    Attributes:
        array: The JSON text of each value without its quotes; null for null.
        before: The quote before each value that is not null, if there is one.
        after: What follows it.
    """

    array: pa.StringArray
    before: str = ""
    after: str = ""

    @property
    def whole(self) -> Texts:
        """The same with the quotes in the array, so that nulls have none."""
        if not self.before or not self.array.null_count:
            return self
        return Texts(pc.binary_join_element_wise(self.before, self.array, self.after, ""))


def spell(keys: Sequence[str], columns: Sequence[Texts | None], count: int) -> bytes:
    """Write rows as JSON lines.

    Args:
        keys: The key of each column, with its quotes and colon.
        columns: The columns; None for one of nulls.
        count: Number of rows.
    """
    pieces: list[pa.StringArray | str] = []
    constant = "{"
    for key, column in zip(keys, columns, strict=True):
        constant += key
        if column is None:
            constant += "null,"
            continue
        texts = column.whole
        pieces += [constant + texts.before, texts.array]
        constant = texts.after + ","
    constant = constant[:-1] + "}\n"
    if not pieces:
        return constant.encode() * count
    pieces.append(constant)
    if count == 1:  # it may be large: it is copied once only
        return b"".join(piece.encode() if isinstance(piece, str) else _only(piece) for piece in pieces)
    lines = pc.binary_join_element_wise(*pieces, "", null_handling="replace", null_replacement="null")
    spelled: bytes = _data(lines).to_pybytes()
    return spelled


def texts_of(array: pa.Array, *, zone: str = "") -> Texts:
    """Spell an array of one of the columns' types.

    Args:
        array: Its values; floats must be finite, dates and times within Python's.
        zone: What is appended to dateTimes.
    """
    return _KINDS[array.type](array, zone)


def texts_of_values(values: Sequence[bytes]) -> Texts:
    """Take values that have been spelled one by one, quotes and nulls included."""
    return Texts(pa.array([value.decode() for value in values], pa.string()))


def has_nul(array: pa.Array) -> bool:
    """Whether U+0000 is in an array of strings."""
    return _has_any(array, b"\0")


def _plain(array: pa.Array, _: str) -> Texts:
    return Texts(array.cast(pa.string()))


def _floats(array: pa.Array, _: str) -> Texts:
    size = pc.abs(array)
    usual = pc.or_(pc.equal(size, 0.0), pc.and_(pc.greater_equal(size, _SMALLEST_FLOAT), pc.less(size, _LARGEST_FLOAT)))
    if pc.all(usual).as_py() is False:
        return texts_of_values([msgspec.json.encode(value) for value in array.to_pylist()])
    texts = array.cast(pa.string())
    whole = pc.equal(pc.floor(array), array)
    if pc.any(whole).as_py():
        texts = pc.if_else(whole, pc.binary_join_element_wise(texts, ".0", ""), texts)
    return Texts(texts)


def _dates(array: pa.Array, _: str) -> Texts:
    return Texts(array.cast(pa.string()), '"', '"')


def _moments(array: pa.Array, zone: str) -> Texts:
    texts = _without_empty_fraction(array, pa.timestamp("s"), len("2012-01-01 12:30:00"))
    return Texts(pc.binary_replace_slice(texts, start=10, stop=11, replacement="T"), '"', f'{zone}"')


def _times(array: pa.Array, _: str) -> Texts:
    return Texts(_without_empty_fraction(array, pa.time32("s"), len("12:30:00")), '"', '"')


def _without_empty_fraction(array: pa.Array, of_seconds: pa.DataType, length: int) -> pa.StringArray:
    """Write times with microseconds only where they are not zero."""
    try:
        return array.cast(of_seconds).cast(pa.string())
    except pa.ArrowInvalid:  # some have a fraction
        texts = array.cast(pa.string())
        return pc.if_else(pc.equal(pc.subsecond(array), 0.0), pc.utf8_slice_codeunits(texts, 0, length), texts)


def _strings(array: pa.Array, _: str) -> Texts:
    if _has_any(array, _ESCAPED):
        if _has_any(array, _LONG_ESCAPES):
            return texts_of_values([msgspec.json.encode(value) for value in array.to_pylist()])
        for character, escape in _SHORT_ESCAPES.items():  # the backslash comes first
            if _has_any(array, character.encode()):
                array = pc.replace_substring(array, character, escape)
    return Texts(array, '"', '"')


def _has_any(array: pa.StringArray, characters: bytes) -> bool:
    """Whether one of some characters is in the values; looked for in pieces, as values may be large."""
    data = memoryview(_data(array))
    pieces = (data[start : start + _PIECE_BYTES].tobytes() for start in range(0, len(data), _PIECE_BYTES))
    return any(len(piece.translate(None, characters)) < len(piece) for piece in pieces)


def _only(array: pa.StringArray) -> pa.Buffer:
    """Give the bytes of the only value."""
    return pa.py_buffer(b"null") if array.null_count else _data(array)


def _data(array: pa.StringArray) -> pa.Buffer:
    """Give the bytes of all values, one after another; those of nulls may be among them."""
    _, offsets, data = array.buffers()
    if not len(array) or data is None:
        return pa.py_buffer(b"")
    numbers = memoryview(offsets).cast("i")
    return data[numbers[array.offset] : numbers[array.offset + len(array)]]


_KINDS: dict[pa.DataType, Callable[[Any, str], Texts]] = {
    pa.int64(): _plain,
    pa.bool_(): _plain,
    pa.float64(): _floats,
    pa.date32(): _dates,
    pa.timestamp("us"): _moments,
    pa.time64("us"): _times,
    pa.string(): _strings,
}
