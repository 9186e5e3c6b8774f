"""Tables to measure with, made by DuckDB: rows that differ, with nulls, in every shape that tables have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random

import duckdb

_SENTENCE = "'A “quoted” word, a \"plain\" one, and number ' || hash(i) || ', written down without any haste. '"


@dataclass(frozen=True)
class Shape:
    """A kind of table.

    Attributes:
        name: Of the table.
        words: What it is like, for people.
        columns: SQL expressions over ``i``, the number of the row from 0.
        rows: How many are read at full speed, so that the start of a program weighs little.
        slow_rows: How many of them a plain singer-sdk tap reads in some five seconds.
    """

    name: str
    words: str
    columns: str
    rows: int
    slow_rows: int

    @property
    def reference(self) -> str:
        """What the tap calls the table."""
        return f"bench.shapes.{self.name}"


def _typical() -> str:
    return """
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
    """


def _narrow() -> str:
    return "1000000000 + i AS id, (hash(i) % 1000)::BIGINT AS code, 'name of ' || (hash(i + 1) % 100000) AS name"


def _wide() -> str:
    """Make 200 columns, of each ten three whole numbers, three fractions, two texts, a boolean and a date."""
    kinds = (
        "(hash(i + {n}) % 1000000)::BIGINT",
        "CASE WHEN (i + {n}) % 10 = 0 THEN NULL ELSE (hash(i + {n}) % 1000)::BIGINT END",
        "(hash(i + {n}) % 100)::BIGINT",
        "round((hash(i + {n}) % 10000000) / 10000.0, 4)",
        "(hash(i + {n}) % 1000000007) / 1000000007.0",
        "CASE WHEN (i + {n}) % 7 = 0 THEN NULL ELSE round((hash(i + {n}) % 10000) / 100.0, 2) END",
        "'answer ' || (hash(i + {n}) % 100)",
        "CASE WHEN (i + {n}) % 5 = 0 THEN NULL ELSE 'code ' || (hash(i + {n}) % 1000) END",
        "(i + {n}) % 2 = 0",
        "DATE '2010-01-01' + (hash(i + {n}) % 5000)::INTEGER",
    )
    return ", ".join(f"{kinds[n % len(kinds)].format(n=n)} AS question_{n:03}" for n in range(200))


def _text() -> str:
    return f"1000000000 + i AS id, repeat({_SENTENCE}, 50) AS body"


def _moments() -> str:
    """Make ten dateTime columns: every second one with microseconds, one with nulls."""
    moments = [f"TIMESTAMP '1990-01-01' + INTERVAL 1 SECOND * (hash(i + {n}) % 900000000)::BIGINT" for n in range(10)]
    exact = [
        f"{moment} + INTERVAL 1 MICROSECOND * (hash(i + {n}) % 1000000)::BIGINT" if n % 2 else moment
        for n, moment in enumerate(moments)
    ]
    exact[8] = f"CASE WHEN i % 10 = 0 THEN NULL ELSE {exact[8]} END"
    return ", ".join(f"{moment} AS at_{n}" for n, moment in enumerate(exact))


SHAPES: Mapping[str, Shape] = {
    shape.name: shape
    for shape in (
        Shape("typical", "10 columns, 220 bytes a row", _typical(), 4_000_000, 50_000),
        Shape("narrow", "3 columns, 60 bytes a row", _narrow(), 3_000_000, 80_000),
        Shape("wide", "200 columns, 5 KB a row", _wide(), 60_000, 3_000),
        Shape("text", "a text of 5 KB a row", _text(), 80_000, 20_000),
        Shape("moments", "10 dateTime columns, 360 bytes a row", _moments(), 1_000_000, 40_000),
    )
}


def write_shape(folder: Path, shape: Shape, rows: int, repeats: int = 1) -> None:
    """Write a table of some shape below a folder for the emulator, which serves its rows so many times."""
    target = folder / "bench" / "shapes"
    target.mkdir(parents=True, exist_ok=True)
    select = f"SELECT {shape.columns} FROM range({rows}) AS numbers(i)"  # noqa: S608 - our own
    duckdb.sql(f"COPY ({select}) TO '{target / shape.name}.parquet' (FORMAT parquet)")
    if repeats > 1:
        (target / "dataset.yml").write_text(f"tables: {{{shape.name}: {{repeat: {repeats}}}}}\n")


def write_many(folder: Path, tables: int, rows: int, dataset: str = "many") -> None:
    """Write many small tables, a dataset of the owner ``bench``."""
    target = folder / "bench" / dataset
    target.mkdir(parents=True)
    select = f"SELECT {_typical()} FROM range({rows}) AS numbers(i)"  # noqa: S608 - our own
    first = target / "table_0000.parquet"
    duckdb.sql(f"COPY ({select}) TO '{first}' (FORMAT parquet)")
    for number in range(1, tables):
        (target / f"table_{number:04}.parquet").write_bytes(first.read_bytes())


def write_contents(folder: Path, files: int, size: int) -> None:
    """Write a file-index table, ``bench.contents.files``, of so many files of so many bytes that no two share."""
    target = folder / "bench" / "contents" / "files.files"
    target.mkdir(parents=True)
    for number in range(files):
        (target / f"{number:04}.bin").write_bytes(Random(number).randbytes(size))  # noqa: S311 - nothing secret


def write_growth(folder: Path, rows: int) -> None:
    """Write tables that show what more work costs: ten times the rows, ten times the columns, a hundred tables."""
    target = folder / "bench" / "growth"
    target.mkdir(parents=True)
    columns = [part.rpartition(" AS ")[::2] for part in _typical().strip().split(",\n")]
    wide = ", ".join(f"{expression} AS {name}_{number}" for number in range(10) for expression, name in columns)
    for name, select, count in (("typical", _typical(), 10 * rows), ("wide", wide, rows)):
        sql = f"SELECT {select} FROM range({count}) AS numbers(i)"  # noqa: S608 - our own
        duckdb.sql(f"COPY ({sql}) TO '{target / name}.parquet' (FORMAT parquet)")
    write_many(folder, 100, 100)
