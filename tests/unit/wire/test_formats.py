"""A table comes out as the same RECORD rows in every wire format, however its body is cut."""

from __future__ import annotations

import datetime as dt
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import accumulate
from typing import Any, Literal, get_args

import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from redivis_emulator import render
from redivis_emulator.render import CsvLineEnds, CsvQuotes, Style
from redivis_emulator.variable_types import ARROW_TYPES
from tap_redivis.client.retry import TransientError
from tap_redivis.client.transport import PIECE_BYTES
from tap_redivis.errors import InvalidValue, RowTooLarge, SchemaChanged
from tap_redivis.model.columns import Column, ColumnType, ValueRules, WireFormat
from tap_redivis.wire import Decoder, decoder_for
from tap_redivis.wire.codec import RowCodec
from tap_redivis.wire.rows import (
    EMPTY_IN_QUOTES,
    EMPTY_WITHOUT_QUOTES,
    MAX_ROW_BYTES,
    DamagedRow,
    JsonRows,
    ValueIssues,
)
from tests.unit.bodies import Body, bodies, codec, cuts

_FORMATS = get_args(WireFormat)
_PLACES = st.lists(st.integers(0, 2**31), max_size=20)
_READERS: Mapping[str, Callable[[Any], Any]] = {
    "date": dt.date.fromisoformat,
    "dateTime": dt.datetime.fromisoformat,
    "time": dt.time.fromisoformat,
}


def _table(body: Body) -> pa.Table:
    """Make the table that a server would have."""
    columns: dict[str, pa.Array] = {}
    for index, column in enumerate(body.columns):
        read: Callable[[Any], Any] = _READERS.get(column.type, lambda value: value)
        values = [row[index].value for row in body.cells]
        columns[column.name] = pa.array([None if v is None else read(v) for v in values], ARROW_TYPES[column.type])
    return pa.table(columns)


def _sent(table: pa.Table, wire_format: WireFormat) -> bytes:
    """Spell a table as the emulator sends it: Arrow in two batches, with its sentinel."""
    return _spelled(table, Style(wire_format))


def _spelled(table: pa.Table, style: Style) -> bytes:
    half = table.num_rows // 2
    parts = [render.body(part, style) for part in (table.slice(0, half), table.slice(half)) if part.num_rows]
    end = render.tail(table.schema, style, sentinel=True)
    return b"".join([render.head(table.schema, style), *parts, end])


def _changes(read: RowCodec) -> dict[str, int]:
    """What was changed or left out; CSV counts empty fields beside it."""
    counts = read._issues.counts  # noqa: SLF001 - why a value is null
    return {kind: count for kind, count in counts.items() if kind not in {EMPTY_IN_QUOTES, EMPTY_WITHOUT_QUOTES}}


@pytest.mark.parametrize(
    ("texts", "empty", "doubtful"),
    [
        (["a", None, None], "quoted", 2),
        (["a", None, ""], "quoted", 0),
        (["a", None, ""], "bare", 2),
        (["a"], "bare", 0),
    ],
)
@pytest.mark.parametrize("quotes", get_args(CsvQuotes))
def test_empty_texts_in_quotes_prove_that_bare_fields_are_null(
    texts: list[str | None], empty: Literal["quoted", "bare"], doubtful: int, quotes: CsvQuotes
) -> None:
    """Else they are counted; those of numbers are not."""
    issues = ValueIssues()
    read = RowCodec("t", [Column("v", "string"), Column("n", "integer")], ValueRules(), issues)
    table = pa.table({"v": pa.array(texts, pa.string()), "n": pa.array([None] * len(texts), pa.int64())})
    _decoded(decoder_for("csv", read, ["v", "n"]), [_spelled(table, Style("csv", empty=empty, quotes=quotes))])

    assert issues.warnings() == ({EMPTY_WITHOUT_QUOTES: doubtful} if doubtful else {})


def _decoder(body: Body, wire_format: WireFormat) -> Decoder:
    return decoder_for(wire_format, codec(body.columns), [column.name for column in body.columns])


def _decoded(decoder: Decoder, pieces: list[bytes]) -> JsonRows:
    parts = list(decoder.rows(pieces, 0))
    return JsonRows(sum(part.count for part in parts), b"".join(part.lines for part in parts))


@given(bodies())
def test_all_formats_give_the_same_rows(body: Body) -> None:
    """Byte by byte: every value of every type, whatever the names."""
    table = _table(body)

    found = [_decoded(_decoder(body, wire_format), [_sent(table, wire_format)]) for wire_format in _FORMATS]

    assert [len(body.cells)] * len(_FORMATS) == [rows.count for rows in found]
    assert len({rows.lines for rows in found}) == 1


_CSV_STYLES = st.builds(
    Style, st.just("csv"), quotes=st.sampled_from(get_args(CsvQuotes)), line_ends=st.sampled_from(get_args(CsvLineEnds))
)


@pytest.mark.parametrize("has_names", ["names", ""])
@given(body=bodies(min_rows=1), style=_CSV_STYLES, places=_PLACES)
def test_every_spelling_of_csv_gives_the_same_rows(has_names: str, body: Body, style: Style, places: list[int]) -> None:
    """With names or without, more quotes or fewer (redivis-api §11.4, §11.5)."""
    table = _table(body)
    sent, names = _spelled(table, style), render.head(table.schema, style)
    values = [str(cell.value).lower() for cell in body.cells[0]]
    assume(has_names or not {column.name.lower() for column in body.columns} & set(values))  # would be taken for names

    found = _decoded(_decoder(body, "csv"), cuts(sent if has_names else sent.removeprefix(names), places))

    assert found.lines == _decoded(_decoder(body, "jsonl"), [_sent(table, "jsonl")]).lines


@given(bodies(min_rows=1))
def test_integers_may_be_in_quotes_in_json_lines(body: Body) -> None:
    """As older documentation has them (redivis-api §11.7)."""
    table = _table(body)

    found = _decoded(_decoder(body, "jsonl"), [_spelled(table, Style("jsonl", integers="string"))])

    assert found == _decoded(_decoder(body, "jsonl"), [_sent(table, "jsonl")])


@pytest.mark.parametrize("names", [b"id,v\r\n", b""])
def test_a_value_that_begins_with_a_byte_order_mark_keeps_it(names: bytes) -> None:
    """Arrow takes the mark for one of the file, wherever a part of it begins."""
    columns = [Column("id", "string"), Column("v", "string")]

    found = _decoded(decoder_for("csv", codec(columns), ["id", "v"]), [names + "\ufeffa,b\r\n\ufeff,\r\n".encode()])

    assert found.lines.decode() == '{"id":"\ufeffa","v":"b"}\n{"id":"\ufeff","v":null}\n'


def test_a_byte_order_mark_before_the_names_is_no_part_of_them() -> None:
    decoder = decoder_for("csv", codec([Column("id", "integer"), Column("v", "string")]), ["id", "v"])

    assert _decoded(decoder, ["\ufeffid,v\n1,a\n".encode()]).lines == b'{"id":1,"v":"a"}\n'


def test_large_bodies_of_all_formats_give_the_same_rows() -> None:
    """Of many parts, whose borders lie inside of quoted line ends too."""
    texts = [f'row {number},\n"quoted"\n\n' * (number % 5) for number in range(20_000)]
    body = Body((Column("v", "string"),), ())

    found = [
        _decoded(_decoder(body, wire_format), cuts(_sent(pa.table({"v": texts}), wire_format), range(0, 2**21, 60_000)))
        for wire_format in _FORMATS
    ]

    assert [rows.count for rows in found] == [20_000] * len(_FORMATS)
    assert len({rows.lines for rows in found}) == 1


_RETYPED = ["integer", "float", "boolean", "date", "dateTime", "time"]
_SPELLINGS = st.one_of(
    st.from_regex(r"\A[ +-]?[0-9]{0,20}(\.[0-9]{0,9})?([eE][+-]?[0-9]{1,3})?[ fdn]?\Z"),
    st.from_regex(r"\A[0-9]{3,5}[-/][0-9]{1,2}-[0-9]{1,2}([ T][0-9]{1,2}(:[0-9]{2}){0,2})?(Z| UTC|[+-]00:?00)?\Z"),
    st.from_regex(r"\A(2012-1-1[ T])?[0-9]{1,2}:[0-9]{1,2}(:[0-9]{1,2}(\.[0-9]{1,10})?)?(Z|[+-]0[01]:00)?\Z"),
).filter(bool)  # empty text is null in CSV, where a server may mean either by it (redivis-api §6.1)
_ODD_SPELLINGS = [
    " ", "null", "NA", "٣", "1_000", "1,5", "0x1F", "-0X1f", "5.0", "-0", "-0.0", "1e3", "1e400", " 5", "5 ", "+5",
    "9223372036854775808", "-9223372036854775808", "NaN", "nan", "-inf", "Infinity", ".5", "5.", "5f", "007",
    "true", "TRUE", "tRUE", "t", "yes", "1", "0", "false", "F", "12", "12:30", "1:2:3", "23:59:60", "24:00:00",
    "12:30:00.123456", "12:30:00.1234567", "12:30:00.123456000", "12:30:00Z", "00:00:00.9999999", "2024-02-30",
    "2012-01-01", "2012-1-1", "0000-01-01", "10000-01-01", "2012-01-01 12", "2012-01-01T12:30", "2012-01-01 24:00:00",
    "2012-01-01 00:00:00", "2012-01-01 12:30:00Z", "2012-01-01 12:30:00+00:00", "2012-01-01 12:30:00+01:00",
]  # fmt: skip


def _assert_read_alike(kind: ColumnType, text: str) -> None:
    """Compare what the formats make of one text: where others stood beside it, columns would be read one by one."""
    table = pa.table({"id": [1, 2], "v": [text, text]})
    columns = [Column("id", "integer"), Column("v", kind)]

    found = {}
    for wire_format in _FORMATS:
        lenient = codec(columns, invalid_as_null=True)
        rows = _decoded(decoder_for(wire_format, lenient, ["id", "v"]), [_sent(table, wire_format)])
        found[wire_format] = rows.lines, _changes(lenient)

    assert found == dict.fromkeys(_FORMATS, found["jsonl"])


@pytest.mark.parametrize("kind", _RETYPED)
@pytest.mark.parametrize("text", _ODD_SPELLINGS)
def test_odd_text_is_read_alike_in_all_formats(kind: ColumnType, text: str) -> None:
    """Retyped variables arrive as text (redivis-api §6.2): what one format reads, or refuses, the others do as well."""
    _assert_read_alike(kind, text)


@pytest.mark.parametrize("kind", _RETYPED)
@given(text=_SPELLINGS)
def test_any_text_is_read_alike_in_all_formats(kind: ColumnType, text: str) -> None:
    """Text that looks like numbers, dates and times."""
    _assert_read_alike(kind, text)


@given(bodies(min_rows=1), st.sampled_from(get_args(ColumnType)))
def test_retyped_values_are_cast_alike_in_all_formats(body: Body, kind: ColumnType) -> None:
    """Where a catalog has another type than the server has now, whatever both are."""
    columns = [
        column if column.type == kind else replace(column, type=kind, arrives_as=column.type) for column in body.columns
    ]
    table = _table(body)

    found = {}
    for wire_format in _FORMATS:
        lenient = codec(columns, invalid_as_null=True)
        decoder = decoder_for(wire_format, lenient, [column.name for column in columns])
        found[wire_format] = _decoded(decoder, [_sent(table, wire_format)]).lines, _changes(lenient)

    assert found == dict.fromkeys(_FORMATS, found["jsonl"])


@pytest.mark.parametrize("wire_format", ["arrow", "csv"])
def test_a_body_without_a_column_is_found_out(wire_format: WireFormat) -> None:
    """In a released version an error; else null, and counted. What is known to be gone is neither."""
    columns = [Column("id", "integer"), Column("gone", "string", is_gone=True), Column("lost", "string")]
    sent = [_sent(pa.table({"id": [1, 2]}), wire_format)]
    strict = RowCodec("demo.t", columns, ValueRules(), ValueIssues(), all_must_come=True)
    lenient = codec(columns)

    rows = _decoded(decoder_for(wire_format, lenient, ["id", "lost"]), sent)
    with pytest.raises(SchemaChanged, match="a read stream lacks the column 'lost', which the table has"):
        _decoded(decoder_for(wire_format, strict, ["id", "lost"]), sent)

    assert rows.lines == b'{"id":1,"gone":null,"lost":null}\n{"id":2,"gone":null,"lost":null}\n'
    assert list(_changes(lenient)) == ["bodies without the column 'lost', which is null there"]


@pytest.mark.parametrize("wire_format", _FORMATS)
@given(body=bodies(min_rows=1), places=_PLACES)
def test_a_body_of_any_format_may_be_cut_at_any_byte(wire_format: WireFormat, body: Body, places: list[int]) -> None:
    sent = _sent(_table(body), wire_format)

    cut = _decoded(_decoder(body, wire_format), cuts(sent, places))

    assert cut == _decoded(_decoder(body, wire_format), [sent])


@pytest.mark.parametrize("wire_format", _FORMATS)
@given(body=bodies(min_rows=1), place=st.integers(0, 2**31))
def test_a_body_of_any_format_that_ends_early_gives_no_row_that_is_not_there(
    wire_format: WireFormat, body: Body, place: int
) -> None:
    """What comes before the end is right; whether there was more, a mark, a failure or the count must show."""
    sent = _sent(_table(body), wire_format)
    whole = _decoded(_decoder(body, wire_format), [sent])
    decoder = _decoder(body, wire_format)
    lines = b""

    try:
        for rows in decoder.rows([sent[: place % len(sent)]], 0):
            lines += rows.lines
    except TransientError:
        pass

    assert whole.lines.startswith(lines)
    assert lines == whole.lines or not decoder.has_sentinel


def _strings(*values: bytes) -> pa.StringArray:
    """Make text of any bytes, which need not be UTF-8."""
    offsets = pa.array([0, *accumulate(map(len, values))], pa.int32()).buffers()[1]
    return pa.StringArray.from_buffers(len(values), offsets, pa.py_buffer(b"".join(values)))


def _arrow(array: pa.Array) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, pa.schema([("v", array.type)])) as writer:
        writer.write_batch(pa.RecordBatch.from_arrays([array], ["v"]))
    return sink.getvalue().to_pybytes()


_WITH_TEXT: Mapping[str, tuple[WireFormat, Callable[[bytes], bytes]]] = {
    "json lines": ("jsonl", lambda text: b'{"v":"first"}\n{"v":"' + text + b'"}\n'),
    "csv": ("csv", lambda text: b"v\r\nfirst\r\n" + text + b"\r\n"),
    "csv, in quotes": ("csv", lambda text: b'"v"\r\n"first"\r\n"' + text + b'"\r\n'),
    "arrow": ("arrow", lambda text: _arrow(_strings(b"first", text))),
    "arrow, large strings": ("arrow", lambda text: _arrow(_strings(b"first", text).cast(pa.large_string()))),
    "arrow, a dictionary": (
        "arrow",
        lambda text: _arrow(pa.DictionaryArray.from_arrays(pa.array([0, 1]), _strings(b"first", text))),
    ),
}
_LONE_SURROGATE = "a\ud800b".encode("utf-8", "surrogatepass")


@pytest.mark.parametrize(("wire_format", "make"), _WITH_TEXT.values(), ids=_WITH_TEXT)
def test_lone_surrogates_are_read_alike_in_all_formats(wire_format: WireFormat, make: Callable[[bytes], bytes]) -> None:
    """They are no UTF-8, and come of a source that is not careful: replaced and counted, or kept."""
    replacing, keeping = (codec([Column("v", "string")], replace_characters=each) for each in (True, False))
    body = [make(_LONE_SURROGATE)]

    replaced, kept = (_decoded(decoder_for(wire_format, each, ["v"]), body) for each in (replacing, keeping))

    assert replaced.lines.decode() == '{"v":"first"}\n{"v":"a\ufffdb"}\n'
    assert kept.lines == b'{"v":"first"}\n{"v":"a\\ud800b"}\n'
    assert list(_changes(replacing)) == ["invalid characters of 'v' replaced by U+FFFD"]


@pytest.mark.parametrize(("wire_format", "make"), _WITH_TEXT.values(), ids=_WITH_TEXT)
def test_other_bytes_that_are_no_text_are_damage(wire_format: WireFormat, make: Callable[[bytes], bytes]) -> None:
    decoder = decoder_for(wire_format, codec([Column("v", "string")]), ["v"])

    with pytest.raises(DamagedRow):
        _decoded(decoder, [make(b"a\xffb")])


def test_damaged_offsets_of_text_are_damage() -> None:
    """Arrow would read outside of its buffers."""
    whole = _arrow(_strings(b"first", b"x", b"y"))
    damaged = whole.replace(struct.pack("<4i", 0, 5, 6, 7), struct.pack("<4i", 0, 1_000_000, 6, 7))
    decoder = decoder_for("arrow", codec([Column("v", "string")]), ["v"])

    with pytest.raises(DamagedRow):
        _decoded(decoder, [damaged])


def test_what_a_query_nests_is_text() -> None:
    """Of Arrow's lists as JSON Lines would have it; dates and times too."""
    nested = pa.array([[dt.datetime(2012, 1, 1, 12, 30)], None])  # noqa: DTZ001 - dateTime has no zone
    decoder = decoder_for("arrow", codec([Column("v", "string")]), ["v"])

    assert _decoded(decoder, [_arrow(nested)]).lines == b'{"v":"[\\"2012-01-01 12:30:00\\"]"}\n{"v":null}\n'


def test_a_row_that_is_too_large_is_refused_within_a_record_batch_too() -> None:
    """Though the message that holds it is not; the rows before it are given."""
    body = Body((Column("v", "string"),), ())
    table = pa.table({"v": ["a", "b", "c" * (MAX_ROW_BYTES + 1), "d"]})
    decoder = decoder_for("arrow", codec(body.columns), ["v"])
    given: list[bytes] = []

    with pytest.raises(RowTooLarge, match=r"^demo\.t: row 12 "):
        given.extend(rows.lines for rows in decoder.rows([_whole(table)], 10))

    assert b"".join(given) == b'{"v":"a"}\n{"v":"b"}\n'


@pytest.mark.parametrize("wire_format", _FORMATS)
def test_the_rows_before_a_value_that_cannot_be_read_are_given(wire_format: WireFormat) -> None:
    """A resumed load begins behind them."""
    table = pa.table({"v": ["1", "2", "x", "4"]})
    decoder = decoder_for(wire_format, codec([Column("v", "integer", arrives_as="string")]), ["v"])
    lines: list[bytes] = []

    with pytest.raises(InvalidValue) as failure:
        lines.extend(rows.lines for rows in decoder.rows([_sent(table, wire_format)], 10))

    assert b"".join(lines) == b'{"v":1}\n{"v":2}\n'
    assert failure.value.offset == 12


def _whole(table: pa.Table) -> bytes:
    style = Style("arrow")
    return b"".join([render.head(table.schema, style), render.body(table, style)])


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that passes while the decoder waits for a piece, added up."""
    now = [1000.0]
    monkeypatch.setattr("tap_redivis.wire.arrow.time.monotonic", lambda: now[0])
    return now


def _coming(pieces: list[bytes], clock: list[float], seconds: float) -> Iterator[bytes]:
    for piece in pieces:
        clock[0] += seconds
        yield piece


def _small_batches(count: int) -> list[bytes]:
    style = Style("arrow")
    tables = [pa.table({"v": [f"{number}"] * 3}) for number in range(count)]
    return [render.head(tables[0].schema, style), *(render.body(table, style) for table in tables)]


@pytest.mark.parametrize(("seconds", "counts"), [(0.0, [3, 27]), (1.0, [3] * 10)])
def test_small_batches_are_read_together_unless_they_are_long_in_coming(
    clock: list[float], seconds: float, counts: list[int]
) -> None:
    """Each would cost as much as a large one; and the first rows are there at once."""
    decoder = decoder_for("arrow", codec([Column("v", "string")]), ["v"])

    found = list(decoder.rows(_coming(_small_batches(10), clock, seconds), 0))

    assert [rows.count for rows in found] == counts
    assert b"".join(rows.lines for rows in found) == b"".join(b'{"v":"%d"}\n' % n for n in range(10) for _ in range(3))


def test_the_sentinel_is_seen_after_batches_that_wait(clock: list[float]) -> None:
    """It is a batch too, but of no rows, and the proof of the end."""
    assert clock
    decoder = decoder_for("arrow", codec([Column("v", "string")]), ["v"])
    sentinel = render.body(pa.table({"v": pa.array([], pa.string())}), Style("arrow"))

    found = list(decoder.rows([*_small_batches(5), sentinel], 0))

    assert sum(rows.count for rows in found) == 15
    assert decoder.has_sentinel


def test_batches_that_wait_are_given_before_an_error(clock: list[float]) -> None:
    """And it is said at the row after them."""
    assert clock
    decoder = decoder_for("arrow", codec([Column("v", "string")]), ["v"])
    found: list[JsonRows] = []

    with pytest.raises(TransientError):
        found.extend(decoder.rows([*_small_batches(5), b"\xff\xff\xff\xff\x10"], 0))

    assert sum(rows.count for rows in found) == 15
    assert not decoder.has_sentinel


def test_text_that_is_no_utf_8_hinders_none_that_waits(clock: list[float]) -> None:
    """One of the batches that could be read together has a lone surrogate, and so is read by itself."""
    assert clock
    texts = [pa.array([text], pa.binary()).view(pa.string()) for text in (b"a", b"b", b"\xed\xa0\x80", b"c")]
    style = Style("arrow")
    tables = [pa.table({"v": text}) for text in texts]
    body = [render.head(tables[0].schema, style), *(render.body(table, style) for table in tables)]
    decoder = decoder_for("arrow", codec([Column("v", "string")]), ["v"])

    assert _decoded(decoder, body).lines == '{"v":"a"}\n{"v":"b"}\n{"v":"\ufffd"}\n{"v":"c"}\n'.encode()


@pytest.mark.parametrize("wire_format", _FORMATS)
def test_rows_come_in_small_blocks_however_large_the_parts_of_the_body_are(wire_format: WireFormat) -> None:
    table = pa.table({"id": range(100_000), "v": ["some words"] * 100_000})
    decoder = decoder_for(wire_format, codec([Column("id", "integer"), Column("v", "string")]), ["id", "v"])

    found = list(decoder.rows(cuts(_sent(table, wire_format), range(0, 2**23, PIECE_BYTES)), 0))

    assert sum(rows.count for rows in found) == 100_000
    assert max(rows.size for rows in found) <= 2 * PIECE_BYTES
