"""Reads a table with the official client and writes it as JSON Lines; runs where nothing of ours is installed.

Arguments: how to read and write (see ``HOW``), and the table's reference.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any, TextIO

import redivis


def by_arrow(table: Any, out: TextIO) -> None:  # noqa: ANN401 - the client has no types
    """Read as an Arrow table; write row by row with what Python brings along."""
    for batch in table.to_arrow_table(progress=False).to_batches(max_chunksize=10_000):
        out.writelines(json.dumps(row, default=str) + "\n" for row in batch.to_pylist())


def by_polars(table: Any, out: TextIO) -> None:  # noqa: ANN401 - the client has no types
    """Read as an Arrow table; write all at once with Polars, which the client brings along."""
    import polars as pl  # noqa: PLC0415 - only here

    pl.from_arrow(table.to_arrow_table(progress=False)).write_ndjson(out.buffer)


def by_pandas(table: Any, out: TextIO) -> None:  # noqa: ANN401 - the client has no types
    """Read as a pandas data frame; write all at once with pandas."""
    frame = table.to_pandas_dataframe(progress=False)
    frame.to_json(out, orient="records", lines=True, date_format="iso")


HOW: Mapping[str, Callable[[Any, TextIO], None]] = {
    "arrow": by_arrow,
    "polars": by_polars,
    "pandas": by_pandas,
}


def main() -> None:
    """Read and write one table."""
    how, reference = sys.argv[1:]
    owner, dataset, name = reference.split(".")
    table = redivis.organization(owner).dataset(dataset).table(name)
    HOW[how](table, sys.stdout)


if __name__ == "__main__":
    main()
