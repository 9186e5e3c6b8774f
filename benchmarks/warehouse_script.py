"""Loads a table into a database by the official client, alone or with dlt; runs where nothing of ours is installed.

Arguments: how to load (see ``HOW``), the database's address, the table's reference, and the most rows.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

import redivis


def by_adbc(table: Any, rows: int, address: str) -> None:  # noqa: ANN401 - the client has no types
    """Read as an Arrow table; COPY it into PostgreSQL by ADBC."""
    from adbc_driver_postgresql import dbapi  # noqa: PLC0415 - only here

    found = table.to_arrow_table(max_results=rows, progress=False)
    with dbapi.connect(address) as connection, connection.cursor() as cursor:
        cursor.adbc_ingest("flights", found, mode="create")
        connection.commit()


def by_pandas(table: Any, rows: int, address: str) -> None:  # noqa: ANN401 - the client has no types
    """Read as a pandas data frame; insert it into PostgreSQL as pandas does."""
    import sqlalchemy  # noqa: PLC0415 - only here

    engine = sqlalchemy.create_engine(address.replace("postgresql://", "postgresql+psycopg2://"))
    frame = table.to_pandas_dataframe(max_results=rows, progress=False)
    frame.to_sql("flights", engine, index=False, chunksize=10_000)


def by_duckdb(table: Any, rows: int, address: str) -> None:  # noqa: ANN401 - the client has no types
    """Read as an Arrow table; let DuckDB make a table of it."""
    import duckdb  # noqa: PLC0415 - only here

    found = table.to_arrow_table(max_results=rows, progress=False)
    with duckdb.connect(address) as connection:
        connection.register("found", found)
        connection.execute("CREATE TABLE flights AS FROM found")


def by_dlt(table: Any, rows: int, address: str) -> None:  # noqa: ANN401 - the client has no types
    """Read as an Arrow table; let dlt load it."""
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    import dlt  # noqa: PLC0415 - it reads the variable

    is_postgres = address.startswith("postgresql:")
    into = dlt.destinations.postgres(address) if is_postgres else dlt.destinations.duckdb(address)
    with tempfile.TemporaryDirectory() as folder:
        pipeline = dlt.pipeline("bench", pipelines_dir=folder, destination=into, dataset_name="demo")
        pipeline.run(table.to_arrow_table(max_results=rows, progress=False), table_name="flights")


HOW: Mapping[str, Callable[[Any, int, str], None]] = {
    "adbc": by_adbc,
    "pandas": by_pandas,
    "duckdb": by_duckdb,
    "dlt": by_dlt,
}


def main() -> None:
    """Load one table."""
    how, address, reference, rows = sys.argv[1:]
    owner, dataset, name = reference.split(".")
    HOW[how](redivis.organization(owner).dataset(dataset).table(name), int(rows), address)


if __name__ == "__main__":
    main()
