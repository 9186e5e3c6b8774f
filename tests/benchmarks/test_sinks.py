"""What is counted at the reader's end is what was written."""

from __future__ import annotations

import gzip
from itertools import count, pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.sinks import count_marks, rows_in

_MARK = b'{"type":"RECORD"'
_LINE = _MARK + b',"record":{"a":"{\\"type\\":\\"RECORD\\""}}\n'


@pytest.mark.parametrize(("mark", "expected"), [(_MARK, 20), (b"\n", 40)])
@given(cuts=st.sets(st.integers(1, 40 * len(_LINE))))
def test_marks_are_counted_wherever_the_pieces_are_cut(mark: bytes, expected: int, cuts: set[int]) -> None:
    """Also where a piece is shorter than the mark; a mark that stands in a value does not count."""
    data = (_LINE + b'{"type":"STATE","value":{}}\n') * 20
    places = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]

    arrived = count_marks((data[start:stop] for start, stop in pairwise(places)), mark)

    assert (arrived.rows, arrived.size) == (expected, len(data))


def test_the_first_and_the_last_row_have_their_time() -> None:
    """What comes before and after, such as SCHEMA and STATE, does not count."""
    lines = [b"SCHEMA\n", _LINE, b"STATE\n", _LINE, _LINE, b"STATE\n"]
    arrived = count_marks(lines, _MARK, count(1.0).__next__)
    nothing = count_marks([b"SCHEMA\n"], _MARK)

    assert (arrived.first_at, arrived.last_at) == (1, 3)
    assert (nothing.first_at, nothing.last_at) == (None, None)


def test_rows_of_files_are_counted(tmp_path: Path) -> None:
    table = pa.table({"a": range(25)})
    pq.write_table(table, tmp_path / "a.parquet")
    with pa.ipc.new_file(tmp_path / "a.arrow", table.schema) as writer:
        writer.write_table(table, max_chunksize=10)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b'{"a":1}\n' * 25))

    assert [rows_in(path) for path in sorted(tmp_path.iterdir())] == [25, 25, 25]
