"""What the database holds of each stream, written in the transaction of the rows.

One table: for each stream and Singer version the next offset of each read stream, the files that were loaded, and
which version is live.
"""

from __future__ import annotations

import pyarrow as pa

from target_adbc.database import Database
from target_adbc.names import literal

TABLE = "_target_adbc_ledger"
_LIVE = "live"
_STAGED = "staged"
_COLUMNS = pa.schema([("stream", pa.string()), ("version", pa.int64()), ("source", pa.string()), ("next", pa.int64())])


class Ledger:
    """The ledger of one stream; all within the caller's transaction."""

    def __init__(self, database: Database, stream: str) -> None:
        self._database = database
        self._stream = stream

    def begin(self) -> None:
        """Make the table if there is none, and wait until no other run writes this stream.

        A target that was killed may still have a transaction that the server is about to commit.
        """
        if self._database.scheme == "postgresql":
            place = literal(f"{self._database.default_schema}.{self._stream}")
            self._database.query(f"SELECT pg_advisory_xact_lock(hashtext({place}))::text")
        if not self._database.exists(TABLE):
            self._database.create(TABLE, _COLUMNS)

    def live(self) -> int | None:
        """Return the version that the live table holds."""
        found = self._select("version", f"source = {literal(_LIVE)}")
        return found[0] if found else None

    def next_offset(self, version: int, source: str) -> int:
        """Return how many rows of a source the database holds."""
        found = self._select("next", f"version = {version} AND source = {literal(source)}")
        return found[0] if found else 0

    def put(self, version: int, source: str, following: int) -> None:
        """Note how many rows of a source the database holds."""
        self._delete(f"version = {version} AND source = {literal(source)}")
        values = f"{literal(self._stream)}, {version}, {literal(source)}, {following}"
        self._database.execute(f"INSERT INTO {self._table} VALUES ({values})")  # noqa: S608 - quoted

    def stage(self, version: int) -> None:
        """Note that a version has a staging table."""
        self.put(version, _STAGED, 0)

    def staged(self) -> list[int]:
        """List the versions that have a staging table."""
        return self._select("version", f"source = {literal(_STAGED)}")

    def activate(self, version: int) -> None:
        """Note that a version is live, and forget the others."""
        self._delete(f"version <> {version} OR source IN ({literal(_LIVE)}, {literal(_STAGED)})")
        self.put(version, _LIVE, 0)

    def forget(self, version: int) -> None:
        """Forget a version that was given up."""
        self._delete(f"version = {version}")

    @property
    def _table(self) -> str:
        return self._database.table(TABLE)

    def _select(self, column: str, condition: str) -> list[int]:
        where = f"stream = {literal(self._stream)} AND {condition}"
        return [value for [value] in self._database.query(f"SELECT {column} FROM {self._table} WHERE {where}")]  # noqa: S608

    def _delete(self, condition: str) -> None:
        where = f"stream = {literal(self._stream)} AND ({condition})"
        self._database.execute(f"DELETE FROM {self._table} WHERE {where}")  # noqa: S608 - quoted
