"""Whatever bytes arrive, a decoder gives rows of its columns' types or says what is wrong."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from redivis_emulator.render import Style
from tap_redivis.client.retry import TransientError
from tap_redivis.errors import DataError
from tap_redivis.wire import decoder_for
from tap_redivis.wire.rows import JsonRows
from tests.fuzz.bodies import COLUMNS, EDITS, FUZZ, Edit, body, codec, styles
from tests.unit.bodies import cuts


@FUZZ
@given(styles(), st.lists(EDITS, min_size=1, max_size=3), st.lists(st.integers(0, 10_000), max_size=3))
def test_no_bytes_break_a_decoder(style: Style, edits: Sequence[Edit], places: Sequence[int]) -> None:
    """Damage is an error of the kinds that the reader knows; what is given before it are whole rows."""
    data = body(style)
    for edit in edits:
        data = edit(data)
    table = codec()
    decoder = decoder_for(style.format, table, [column.name for column in COLUMNS])

    try:
        for rows in decoder.rows(cuts(data, places), 0):
            _check(rows, table.row_type)
    except (TransientError, DataError):
        pass


def _check(rows: JsonRows, row_type: type[msgspec.Struct] | None) -> None:
    """Check that rows are as many lines as they say, each an object of the columns' types."""
    assert row_type is not None
    assert rows.lines.endswith(b"\n")
    assert len(msgspec.json.decode(b"[" + b",".join(rows.lines.splitlines()) + b"]", type=list[row_type])) == rows.count  # type: ignore[valid-type]
