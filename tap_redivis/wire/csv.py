"""CSV → rows: with a header or without, an unquoted empty field is null, quoted line ends belong to the value."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from tap_redivis.client.retry import BrokenAnswer, TransientError
from tap_redivis.model.columns import Column
from tap_redivis.wire.arrays import TARGETS, place_columns, rows_of, text_or_bytes
from tap_redivis.wire.codec import RowCodec
from tap_redivis.wire.rows import LARGE_ROW_BYTES, MAX_ROW_BYTES, DamagedRow, LargeRowLock, Rows, too_large
from tap_redivis.wire.scalars import null, text

# Bytes that are parsed at once. With 1 MiB, eight read streams take 37 MiB more, and 8 % less processor time.
_PART_BYTES = 256 * 1024
_USUAL_PARTS = 4  # a part that is larger than so many has a large row
_TEXT = frozenset({"string", "geography"})
_MARK = "\ufeff".encode()  # the byte order mark: of a file, where it begins one, else a character like any other


class CsvDecoder:
    """Decodes the CSV bodies of one read stream; ``names`` have the order of a body without a header."""

    def __init__(self, codec: RowCodec, names: Sequence[str]) -> None:
        self._codec = codec
        self._asked = list(names)
        self._names: list[str] = []
        self.has_sentinel = False
        self._unended: tuple[int, bytes] | None = None

    def rows(self, pieces: Iterable[bytes], offset: int) -> Iterator[Rows]:
        """Decode one body (see ``Decoder``)."""
        self._names = []

        def check_size(size: int) -> None:
            if size > MAX_ROW_BYTES:
                raise too_large(self._codec.table, offset)
            turn.take(size)

        with LargeRowLock(self._codec.large_rows) as turn:
            for part in whole_records(pieces, check_size):
                turn.trim(_USUAL_PARTS, len(part))
                if not part.endswith(b"\n"):
                    self._check_unended(offset, part)
                parsed = self._parse(part, offset)
                del part  # it may be large
                for rows in rows_of(*parsed, self._codec, offset) if parsed else ():
                    offset += rows.count
                    turn.trim(rows.count, rows.size)
                    yield rows
                    del rows
                del parsed
                turn.give()

    def _check_unended(self, offset: int, part: bytes) -> None:
        # A value that was cut looks like a whole one: a last record without a line end counts only if it comes again.
        before, self._unended = self._unended, (offset, part)
        if before != self._unended:
            raise BrokenAnswer("the body ended in the middle of a row")

    def _parse(self, part: bytes, offset: int) -> tuple[list[pa.Array | None], int] | None:
        begin = 0 if self._names else self._read_header(part)
        if begin == len(part):
            return None
        data = pa.py_buffer(part).slice(begin)
        # Arrow takes hexadecimal text for numbers.
        has_hexadecimals = (b"x" in part and b"0x" in part) or (b"X" in part and b"0X" in part)
        is_text = has_hexadecimals or any(column.arrives_as for column in self._codec.columns)
        try:
            parsed = (None if is_text else self._typed(data)) or self._as_text(data)
        except pa.ArrowInvalid as error:
            raise DamagedRow(f"a CSV record from row {offset} on is damaged") from error
        self._note_empty(parsed[0])
        return parsed

    def _note_empty(self, arrays: Sequence[pa.Array | None]) -> None:
        # Text that is cast to another type does not count: no value of that type is empty.
        pairs = zip(arrays, self._codec.columns, strict=True)
        texts = [array for array, column in pairs if {column.type, column.wire_type} <= _TEXT]
        lengths = [pc.binary_length(array) for array in texts if array is not None]
        # The parser left null what has no quotes: only an empty text in quotes proves that the server means null.
        self._codec.note_empty(
            sum(array.null_count for array in lengths), in_quotes=any(pc.min(array).as_py() == 0 for array in lengths)
        )

    def _typed(self, data: pa.Buffer) -> tuple[list[pa.Array | None], int] | None:
        """Parse a part straight into the columns' types; None where a value is not written in the usual way."""
        try:
            arrays, count = self._parsed(data)
        except pa.ArrowInvalid:
            return None
        floats = [array for array, column in zip(arrays, self._codec.columns, strict=True) if column.type == "float"]
        if any(array is not None and pc.any(pc.invert(pc.is_finite(array))).as_py() for array in floats):
            return None  # text tells NaN and infinity from numbers beyond the range
        return arrays, count

    def _as_text(self, data: pa.Buffer) -> tuple[list[pa.Array | None], int]:
        arrays, count = self._parsed(data, as_text=True)
        columns = self._codec.columns
        filled = (_without_empty(array, column) for array, column in zip(arrays, columns, strict=True))
        return [None if array is None else text_or_bytes(array) for array in filled], count

    def _parsed(self, data: pa.Buffer, *, as_text: bool = False) -> tuple[list[pa.Array | None], int]:
        places = place_columns(self._names, self._codec)
        # Names may come twice, places cannot.
        kinds = {
            str(place): pa.string() if as_text else TARGETS[column.type]
            for place, column in zip(places, self._codec.columns, strict=True)
            if place is not None
        }
        if memoryview(data)[: len(_MARK)].tobytes() == _MARK:
            data = pa.py_buffer(_MARK + data.to_pybytes())  # the first one is left out: it would begin a file
        names = [str(place) for place in range(len(self._names))]
        table = csv.read_csv(
            pa.BufferReader(data),
            read_options=csv.ReadOptions(use_threads=False, column_names=names, block_size=data.size + 1),
            parse_options=csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=len(names) > 1),
            convert_options=csv.ConvertOptions(
                check_utf8=not as_text,  # text may hold lone surrogates, which are no UTF-8
                column_types=kinds,
                include_columns=list(kinds),
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,  # redivis-api §11.5
                null_values=[""],
            ),
        )
        batch = next(iter(table.combine_chunks().to_batches()), None)  # None: no rows
        return [None if place is None or batch is None else batch.column(str(place)) for place in places], len(table)

    def _read_header(self, part: bytes) -> int:
        """Take the names from a header, if there is one, and return its bytes."""
        # Every body may have one, and nothing announces it (redivis-api §8.1.7): what has most of the names is one.
        end = _first_record_end(part)
        first = _fields(part[: min(end, LARGE_ROW_BYTES)])  # a larger record is a row
        asked = {name.lower() for name in self._asked}
        if first and first[0].lower() not in asked:
            first[0] = first[0].removeprefix(_MARK.decode())
        matches = sum(name.lower() in asked for name in first)
        if 2 * matches > len(first):
            self._names = first
            return end
        self._names = self._asked
        return 0


def whole_records(pieces: Iterable[bytes], check_size: Callable[[int], None]) -> Iterator[bytes]:
    """Cut a body into parts of whole records; ``check_size`` gets the bytes of a record that is not complete yet."""
    waiting = bytearray()
    whole = quotes = 0  # whole: bytes of waiting that are complete records
    failure: TransientError | None = None
    try:
        for piece in pieces:
            if end := _last_record_end(piece, quotes):
                whole = len(waiting) + end
            quotes += piece.count(b'"')
            waiting += piece
            if whole >= _PART_BYTES:
                part = [bytes(memoryview(waiting)[:whole])]
                waiting, whole = waiting[whole:], 0
                yield part.pop()  # and nothing here keeps it
            check_size(len(waiting) - whole)
    except TransientError as error:
        failure = error  # the records before the break are good
    if whole:
        yield bytes(memoryview(waiting)[:whole])
    if failure:
        raise failure
    if waiting[whole:]:
        yield bytes(waiting[whole:])


def _last_record_end(piece: bytes, quotes: int) -> int:
    # A line end ends a record if an even number of quotes stands before it (RFC 4180).
    end = piece.rfind(b"\n")
    quotes += piece.count(b'"', 0, max(end, 0))
    while end >= 0 and quotes % 2:
        before = piece.rfind(b"\n", 0, end)
        quotes -= piece.count(b'"', max(before, 0), end)
        end = before
    return end + 1


def _first_record_end(part: bytes) -> int:
    end = part.find(b"\n")
    while end >= 0 and part.count(b'"', 0, end) % 2:
        end = part.find(b"\n", end + 1)
    return end + 1 if end >= 0 else len(part)


def _fields(record: bytes) -> list[str]:
    import csv as plain  # noqa: PLC0415 - the name is taken by Arrow's

    try:
        return next(plain.reader([record.decode("utf-8", "replace")]), [])
    except plain.Error:  # rubbish, or a value that is too long for a name: no header
        return []


def _without_empty(array: pa.Array | None, column: Column) -> pa.Array | None:
    # Where no value of the type can be empty, an empty field is null, quoted or not.
    if array is None or column.wire_type in _TEXT:
        return array
    return pc.if_else(pc.equal(array, text("")), null(array.type), array)
