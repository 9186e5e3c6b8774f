"""Tables to measure with, made by DuckDB: rows that differ, with nulls, in every type."""

from __future__ import annotations

from pathlib import Path

import duckdb

_TYPICAL = """
    SELECT
        1000000000 + i AS id,
        (hash(i) % 1000000)::BIGINT AS amount,
        CASE WHEN i % 10 = 0 THEN NULL ELSE (hash(i + 1) % 1000)::BIGINT END AS code,
        round((hash(i + 2) % 10000000) / 10000.0, 4) AS price,
        (hash(i + 3) % 1000000007) / 1000000007.0 AS ratio,
        'name of ' || (hash(i + 4) % 100000) AS name,
        'some longer text, number ' || hash(i + 5) AS remark,
        i % 2 = 0 AS active,
        DATE '2010-01-01' + (hash(i + 6) % 5000)::INTEGER AS day,
        TIMESTAMP '2010-01-01' + INTERVAL 1 SECOND * (hash(i + 7) % 400000000)::BIGINT AS seen_at
    FROM range({rows}) AS numbers(i)
"""


def make_typical(folder: Path, rows: int) -> None:
    """Write ``bench.shapes.typical`` (10 columns, about 220 bytes a row as JSON Lines) as an emulator folder."""
    target = folder / "bench" / "shapes"
    target.mkdir(parents=True)
    duckdb.sql(f"COPY ({_TYPICAL.format(rows=rows)}) TO '{target / 'typical.parquet'}' (FORMAT parquet)")
