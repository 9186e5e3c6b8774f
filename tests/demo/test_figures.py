"""The demo's figures: they must not agree unless every row arrived once."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from demo.figures import compare, read_lines, read_source

_SOURCE = pa.table({"id": [1, 2, 2], "delay": [0.1, None, None]})


@pytest.mark.parametrize(
    ("loaded", "missing", "twice"),
    [
        pytest.param(_SOURCE.take([2, 1, 0]), 0, 0, id="another order"),
        pytest.param(_SOURCE.slice(1), 1, 0, id="a row short"),
        pytest.param(_SOURCE.take([0, 1, 2, 2]), 0, 1, id="a row too many"),
        pytest.param(_SOURCE.take([0, 0, 1]), 1, 1, id="one instead of another"),
        pytest.param(pa.table({"id": [1, 2, 2], "delay": [0.2, None, None]}), 1, 1, id="another value"),
    ],
)
def test_only_the_same_rows_agree(loaded: pa.Table, missing: int, twice: int) -> None:
    figures = compare("flights", "target-jsonl", _SOURCE, loaded)

    assert (figures.missing, figures.twice) == (missing, twice)
    assert figures.agree == (missing == twice == 0)


def test_lines_are_read_as_the_source_is(tmp_path: Path) -> None:
    utc = dt.datetime(2013, 1, 1, 10, tzinfo=dt.timezone.utc)
    pq.write_table(pa.table({"at": [utc], "delay": [0.1]}), tmp_path / "source.parquet")
    (tmp_path / "lines").write_text(json.dumps({"at": "2013-01-01T10:00:00", "delay": 0.1, "_other": 1}) + "\n")

    source = read_source(tmp_path / "source.parquet")

    assert compare("flights", "target-jsonl", source, read_lines(tmp_path / "lines", source.schema)).agree
