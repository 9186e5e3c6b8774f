"""JSON Lines → rows: one JSON object a line, cut at any byte."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from tap_redivis.client.retry import BrokenAnswer
from tap_redivis.errors import InvalidValue
from tap_redivis.wire.casts import Number
from tap_redivis.wire.codec import RowCodec
from tap_redivis.wire.rows import LARGE_ROW_BYTES, MAX_ROW_BYTES, DamagedRow, JsonRows, LargeRowLock, too_large


class JsonlDecoder:
    """Decodes the JSON Lines bodies of one read stream."""

    def __init__(self, codec: RowCodec) -> None:
        self._codec = codec
        self._expected = [column.name for column in codec.columns]
        self._names: list[str] = []
        self.has_sentinel = False

    def rows(self, pieces: Iterable[bytes], offset: int) -> Iterator[JsonRows]:
        """Decode one body (see ``Decoder``)."""
        self._names = []
        tail = bytearray()
        with LargeRowLock(self._codec.large_rows) as turn:
            for piece in pieces:
                end = piece.rfind(b"\n") + 1
                if not end:
                    tail += piece
                    self._check_size(tail, offset, turn)
                    continue
                whole = b"".join((tail, memoryview(piece)[:end]))
                size, tail = len(tail), bytearray(memoryview(piece)[end:])
                turn.trim(1, size)  # what its parts took
                for rows in self._decode(whole, offset):
                    offset += rows.count
                    turn.trim(rows.count, rows.size)
                    yield rows
                    del rows
                del whole
                turn.give()
            yield from self._last(bytes(tail), offset)

    def _check_size(self, tail: bytearray, offset: int, turn: LargeRowLock) -> None:
        if len(tail) > MAX_ROW_BYTES:
            raise too_large(self._codec.table, offset)
        turn.take(len(tail))

    def _last(self, tail: bytes, offset: int) -> Iterator[JsonRows]:
        # A line without its end is a row only if it is whole: an object that was cut never parses.
        if not tail.strip():
            return
        if not isinstance(_parsed(tail), dict):
            raise BrokenAnswer("the body ended in the middle of a row")
        yield from self._decode(tail, offset)

    def _decode(self, lines: bytes, offset: int) -> Iterator[JsonRows]:
        if not self._names:
            self._names = self._keys_of_first_row(lines)
        rows = self._encoded(lines)
        if rows is None:  # some row needs casting: take them one by one
            yield from self._one_by_one(lines, offset)
        elif rows.count:
            yield rows

    def _encoded(self, lines: bytes) -> JsonRows | None:
        # The fast way needs the usual keys.
        return self._codec.encode_lines(lines) if self._names == self._expected else None

    def _one_by_one(self, lines: bytes, offset: int) -> Iterator[JsonRows]:
        encoded: list[bytes] = []
        failure: DamagedRow | InvalidValue | None = None
        for line in filter(bytes.strip, lines.split(b"\n")):
            try:
                encoded.append(self._row(line, offset + len(encoded)))
            except (DamagedRow, InvalidValue) as error:
                failure = error  # the rows before it are good: a resume begins after them
                break
        if encoded:
            yield JsonRows(len(encoded), b"".join(encoded))
        if failure:
            raise failure

    def _row(self, line: bytes, offset: int) -> bytes:
        if (rows := self._encoded(line)) is not None:
            return rows.lines
        row = _parsed(line)
        if not isinstance(row, dict):
            raise DamagedRow(f"row {offset} is damaged")
        return self._codec.encode_row(row, self._names or self._expected, offset)

    def _keys_of_first_row(self, lines: bytes) -> list[str]:
        # The server may write names in another case than the variable list does (redivis-api §8.1.13).
        line = lines.lstrip().split(b"\n", 1)[0]
        first = _unparsed_values(line) or _parsed(line)  # the values may be large, and only the keys are wanted
        if not isinstance(first, dict):
            return []
        folded = {key.lower(): key for key in first.keys() - set(self._expected)}
        names = [name if name in first else folded.get(name.lower(), name) for name in self._expected]
        self._codec.note_unknown(first.keys() - set(names))
        return names


def _parsed(line: bytes) -> Any:  # noqa: ANN401 - any JSON value
    """Decode exactly: numbers keep their digits, NaN and lone surrogates pass; None for what is no JSON."""
    # What is nested in a large row could take fifty times its bytes.
    if len(line) > LARGE_ROW_BYTES and any(memoryview(value)[0] in b"{[" for value in _unparsed_values(line).values()):
        return None
    try:
        return json.loads(line.decode("utf-8", "surrogatepass"), parse_float=Number)
    except (ValueError, RecursionError):
        return None


def _unparsed_values(line: bytes) -> dict[str, msgspec.Raw]:
    """Decode the keys of a JSON object; gives none for what else there is, or for NaN."""
    try:
        return msgspec.json.decode(line, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
