"""JSON Lines are decoded to the same rows however the body is cut, and whatever form its values have."""

from __future__ import annotations

import json
from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_redivis.client.retry import BrokenAnswer, TransientError
from tap_redivis.errors import InvalidValue, RowTooLarge
from tap_redivis.model.columns import Column
from tap_redivis.wire.jsonl import JsonlDecoder
from tap_redivis.wire.rows import MAX_ROW_BYTES, DamagedRow, JsonRows
from tests.unit.bodies import Body, bodies, codec, cuts, decoded, same

_PLACES = st.lists(st.integers(0, 2**31), max_size=20)
_ID = Column("id", "integer")
_NAME = Column("name", "string")


def _records(rows: JsonRows) -> list[dict[str, object]]:
    return [json.loads(line) for line in rows.lines.split(b"\n")[:-1]]


def _until_failure(decoder: JsonlDecoder, body: bytes) -> tuple[bytes, Exception | None]:
    """Give the lines that come before a failure, and the failure."""
    lines = b""
    try:
        for rows in decoder.rows([body], 0):
            lines += rows.lines
    except (TransientError, InvalidValue) as error:
        return lines, error
    return lines, None


# --- whole bodies ----------------------------------------------------------------------------------------------------


@given(bodies())
def test_rows_come_out_as_they_are(body: Body) -> None:
    """Every value of every type, exactly; columns in their order, nulls written out."""
    rows = decoded(codec(body.columns), [body.wire])

    assert rows.count == len(body.cells)
    assert same(_records(rows), body.rows)


@given(bodies())
def test_retyped_variables_come_out_in_the_same_spelling(body: Body) -> None:
    """The casting path writes the same bytes as the fast one: one value has one spelling."""
    plain = codec(body.columns)

    assert decoded(plain, [body.wire]).lines == decoded(plain, [body.retyped]).lines
    assert decoded(plain, [body.wire]).lines == decoded(plain, [body.mixed]).lines


@given(bodies(min_rows=1), _PLACES)
def test_a_body_may_be_cut_at_any_byte(body: Body, places: list[int]) -> None:
    """In the middle of a row, a character, an escape or a line end; pieces of any size."""
    plain = codec(body.columns)

    assert decoded(plain, [body.mixed]) == decoded(plain, cuts(body.mixed, places))


@given(bodies(min_rows=1))
def test_a_body_may_come_byte_by_byte(body: Body) -> None:
    plain = codec(body.columns)
    pieces = [body.wire[place : place + 1] for place in range(len(body.wire))]

    assert decoded(plain, [body.wire]) == decoded(plain, pieces)


@given(bodies(min_rows=1), st.integers(0, 2**31))
def test_a_body_that_ends_early_gives_its_whole_rows_and_no_other(body: Body, place: int) -> None:
    """It ends either in the middle of a row, which is a failure worth another try, or on a whole one."""
    cut = body.wire[: place % (len(body.wire) + 1)]
    whole = decoded(codec(body.columns), [body.wire]).lines

    lines, failure = _until_failure(JsonlDecoder(codec(body.columns)), cut)

    assert whole.startswith(lines)
    if failure is None:
        assert lines.count(b"\n") == sum(map(cut.startswith, _ends_of_rows(body.wire)))
    else:
        assert type(failure) is BrokenAnswer  # no damage: the same place may break twice
        assert lines.count(b"\n") == cut.count(b"\n")


def _ends_of_rows(body: bytes) -> list[bytes]:
    """Give the body up to the end of each row, without its line end."""
    return [body[:place] for place, letter in enumerate(body) if letter == ord("\n")]


@given(bodies(min_rows=1), st.integers(0, 12))
def test_a_body_that_begins_at_a_later_row_gives_the_rest(body: Body, row: int) -> None:
    """What a resumed stream sends: the rows from the offset on."""
    plain = codec(body.columns)
    first, rest = Body(body.columns, body.cells[:row]), Body(body.columns, body.cells[row:])

    assert decoded(plain, [body.wire]).lines == decoded(plain, [first.wire]).lines + decoded(plain, [rest.wire]).lines


def test_the_last_line_may_lack_its_end() -> None:
    assert decoded(codec([_ID]), [b'{"id":1}\n{"id":2}']).lines == b'{"id":1}\n{"id":2}\n'


def test_blank_lines_and_carriage_returns_are_no_rows() -> None:
    body = b'\n{"id":1}\r\n\r\n \n{"id":2}\r\n\n'

    assert decoded(codec([_ID]), [body]) == JsonRows(2, b'{"id":1}\n{"id":2}\n')


@pytest.mark.parametrize("pieces", [[], [b""], [b"\n"], [b" ", b"\r\n"]])
def test_an_empty_body_has_no_rows(pieces: list[bytes]) -> None:
    assert decoded(codec([_ID]), pieces) == JsonRows(0, b"")


# --- columns ---------------------------------------------------------------------------------------------------------


def test_columns_have_their_own_order() -> None:
    """The server may send another one."""
    assert decoded(codec([_NAME, _ID]), [b'{"id":1,"name":"a"}\n']).lines == b'{"name":"a","id":1}\n'


def test_missing_columns_are_null() -> None:
    assert decoded(codec([_ID, _NAME]), [b'{"id":1}\n{}\n']).lines == b'{"id":1,"name":null}\n{"id":null,"name":null}\n'


def test_unknown_columns_are_left_out_and_counted() -> None:
    plain = codec([_ID])

    assert decoded(plain, [b'{"extra":[1],"id":1}\n']).lines == b'{"id":1}\n'
    assert [kind for kind in plain._issues.counts if "'extra'" in kind]  # noqa: SLF001 - nobody else tells


def test_names_of_another_case_are_the_same_column() -> None:
    """redivis-api §8.1.13: names match without case; RECORDs have the catalog's spelling."""
    assert decoded(codec([_ID]), [b'{"ID":1}\n{"ID":2}\n']).lines == b'{"id":1}\n{"id":2}\n'


def test_columns_that_differ_only_in_case_are_not_mixed_up() -> None:
    """Also where the first row has but one of them, since the other is null."""
    columns = [Column("id", "integer"), Column("ID", "integer")]

    assert decoded(codec(columns), [b'{"id":1}\n{"ID":2}\n']).lines == b'{"id":1,"ID":null}\n{"id":null,"ID":2}\n'


# --- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "wire"),
    [
        ("integer", "9223372036854775808"),
        ("integer", "0.5"),
        ("integer", '"five"'),
        ("float", "1e400"),
        ("boolean", '"yes"'),
        ("date", '"2024-02-30"'),
        ("dateTime", '"2012-01-01 24:00:00"'),
        ("dateTime", '"2012-01-01 12:30:00.1234567"'),
        ("time", '"23:59:59.9999999"'),
    ],
)
def test_an_invalid_value_is_an_error_with_its_place(kind: str, wire: str) -> None:
    """Table, variable, row and value; the rows before it come out, those after it do not."""
    columns = [_ID, msgspec.convert({"name": "v", "type": kind}, Column)]
    body = f'{{"id":1}}\n{{"id":2,"v":{wire}}}\n{{"id":3}}\n'.encode()

    lines, failure = _until_failure(JsonlDecoder(codec(columns)), body)

    assert lines == b'{"id":1,"v":null}\n'
    assert isinstance(failure, InvalidValue)
    for part in ("demo.t", "'v'", "row 1 ", kind, wire.strip('"')):
        assert part in str(failure)


def test_the_place_of_an_invalid_value_counts_from_the_offset() -> None:
    """In a later piece of a resumed body too."""
    pieces = [b'{"id":1}\n', b'{"id":2}\n{"id":"x"}\n']

    with pytest.raises(InvalidValue, match=r"row 102 "):
        decoded(codec([_ID]), pieces, offset=100)


def test_an_invalid_value_may_become_null() -> None:
    """Only that one, and it is counted."""
    lenient = codec([_ID, _NAME], invalid_as_null=True)

    assert decoded(lenient, [b'{"id":"x","name":"a"}\n{"id":2}\n']).lines == (
        b'{"id":null,"name":"a"}\n{"id":2,"name":null}\n'
    )
    assert lenient._issues.counts == Counter({"invalid values of 'id' written as null": 1})  # noqa: SLF001


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity", '"NaN"', '"inf"'])
def test_what_json_has_no_number_for_is_null(word: str) -> None:
    plain = codec([Column("v", "float")])

    assert decoded(plain, [f'{{"v":{word}}}\n{{"v":1}}\n'.encode()]).lines == b'{"v":null}\n{"v":1.0}\n'
    assert plain._issues.counts == Counter({"NaN or infinite values of 'v' written as null": 1})  # noqa: SLF001


@pytest.mark.parametrize("bad", [r"\u0000", r"\ud800", r"\udfff"])
def test_characters_that_abort_targets_are_replaced(bad: str) -> None:
    """By U+FFFD, also in geography, and counted."""
    plain = codec([Column("v", "geography")])

    assert decoded(plain, [f'{{"v":"a{bad}b"}}\n'.encode()]).lines == '{"v":"a\ufffdb"}\n'.encode()
    assert plain._issues.counts == Counter({"invalid characters of 'v' replaced by U+FFFD": 1})  # noqa: SLF001


@pytest.mark.parametrize("character", ["\x00", "\ud800"])
def test_characters_may_stay_as_they_are(character: str) -> None:
    (record,) = _records(decoded(codec([_NAME], replace_characters=False), [json.dumps({"name": character}).encode()]))

    assert record == {"name": character}


def test_a_surrogate_pair_is_one_character() -> None:
    assert decoded(codec([_NAME]), [rb'{"name":"\ud83d\udeeb"}']).lines == '{"name":"🛫"}\n'.encode()


def test_an_escaped_backslash_before_u0000_is_text() -> None:
    assert _records(decoded(codec([_NAME]), [rb'{"name":"\\u0000"}'])) == [{"name": r"\u0000"}]


@given(bodies(min_rows=1))
def test_utc_is_appended_to_every_datetime_and_to_nothing_else(body: Body) -> None:
    """Whatever strings and names the other columns have."""
    moments = {column.name for column in body.columns if column.type == "dateTime"}
    expected = [
        {name: f"{value}+00:00" if name in moments and value else value for name, value in row.items()}
        for row in body.rows
    ]

    for wire in (body.wire, body.mixed):
        assert same(_records(decoded(codec(body.columns, append_utc=True), [wire])), expected)


def _text(name: str) -> Column:
    return Column(name, "string")


def test_utc_is_not_appended_inside_of_strings() -> None:
    columns = [*map(_text, ["name", ":", 'x"d']), Column("d", "dateTime"), Column(",", "dateTime")]
    moment = "2012-01-01T00:00:00"
    record = {"name": f',"d":"{moment}"', ":": moment, 'x"d': moment, "d": moment, ",": None}

    (found,) = _records(decoded(codec(columns, append_utc=True), [json.dumps(record).encode()]))

    assert found == {**record, "d": f"{moment}+00:00"}


# --- damage ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "damaged",
    [b"[1]", b"5", b'"id"', b"null", b'{"id":2', b'{"id":2}}', b'{"id":2]', b"\xff\xfe", b'{"id":\x00}', b"<html>",
     b"[" * 100_000],
)  # fmt: skip
def test_a_damaged_row_is_worth_another_try(damaged: bytes) -> None:
    """The rows before it come out: it is read again from there."""
    lines, failure = _until_failure(JsonlDecoder(codec([_ID])), b'{"id":1}\n' + damaged + b'\n{"id":3}\n')

    assert lines == b'{"id":1}\n'
    assert isinstance(failure, DamagedRow)


def test_broken_utf8_is_damage() -> None:
    lines, failure = _until_failure(JsonlDecoder(codec([_NAME])), b'{"name":"a"}\n{"name":"\xff"}\n')

    assert lines == b'{"name":"a"}\n'
    assert isinstance(failure, DamagedRow)


@given(bodies(min_rows=2), st.integers(0, 2**31), st.binary(min_size=1, max_size=20))
def test_rubbish_in_a_body_never_loses_the_rows_before_it(body: Body, place: int, rubbish: bytes) -> None:
    """What comes out before the place is right, and there is no other kind of failure."""
    place %= len(body.wire)
    spoilt = body.wire[:place] + rubbish + body.wire[place + len(rubbish) :]
    before = decoded(codec(body.columns), [body.wire[: body.wire.rfind(b"\n", 0, place) + 1]]).lines

    lines, _ = _until_failure(JsonlDecoder(codec(body.columns)), spoilt)

    assert lines.startswith(before)


def test_a_row_that_is_too_large_is_refused_with_its_place() -> None:
    """Before it fills the memory."""
    piece = b"x" * 2**16
    pieces = [b'{"name":"a"}\n{"name":"', *[piece] * (MAX_ROW_BYTES // len(piece) + 1)]

    with pytest.raises(RowTooLarge, match=r"^demo\.t: row 8 "):
        decoded(codec([_NAME]), pieces, offset=7)


def test_a_large_row_is_read() -> None:
    row = b'{"name":"' + b"x" * (MAX_ROW_BYTES - 100) + b'"}\n'

    assert decoded(codec([_NAME]), cuts(row, range(0, len(row), 2**16))).lines == row


def test_a_large_row_that_holds_objects_is_damaged_and_not_built() -> None:
    """It would take fifty times its bytes; a large row of plain values stays one, odd numbers and commas included."""
    nested = b'{"id":1,"name":[' + b"{}," * 1_000_000 + b"1]}\n"
    plain = b'{"id":1,"name":"' + b"{},[" * 1_000_000 + b'","x":1e999}\n'

    _, failure = _until_failure(JsonlDecoder(codec([_ID, _NAME])), nested)
    lines, _ = _until_failure(JsonlDecoder(codec([_ID, _NAME])), plain)

    assert isinstance(failure, DamagedRow)
    assert lines.count(b"\n") == 1
