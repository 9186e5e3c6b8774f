"""What a target holds after any number of runs that were killed: checks each message against the table as it comes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from tap_redivis.model.columns import ROW_KEY
from tests.support.batches import with_rows
from tests.support.pipes import Json

Table = Mapping[int, bytes]
"""The rows of one version of a table as JSON, by their id."""


def table_of(records: Iterable[Json]) -> Table:
    """Make what `Loads` compares with."""
    return {record["id"]: msgspec.json.encode(record) for record in records}


@dataclass
class Loads:
    """All loads of one table, over all runs. A run's rows behind its last STATE are forgotten when it has ended.

    Attributes:
        tables: The table by its version's tag.
        stream: Name of its stream.
        state: Value of the last STATE; None before the first.
        runs: How many runs were taken.
    """

    tables: Mapping[str, Table]
    stream: str
    state: Json | None = None
    runs: int = 0
    _kept: dict[int, set[int]] = field(default_factory=dict)  # ids of rows by Singer version: what STATE speaks of
    _keys: dict[tuple[int, int], str] = field(default_factory=dict)  # row keys ever seen, by Singer version and id
    _rows: dict[str, int] = field(default_factory=dict)  # ids by row key

    @property
    def done(self) -> str | None:
        """Tag of the version that has been loaded completely; None while a load is under way, or none has begun."""
        bookmark = self._bookmark(self.state)
        return None if "reading" in bookmark else bookmark.get("version_tag")

    def take(self, messages: Iterable[Json]) -> int:
        """Take what one run wrote.

        Returns:
            How many of its rows no STATE speaks of.

        Raises:
            AssertionError: A STATE is ahead of its rows or behind them, a row comes twice or is not in the table, its
                key is another one than before or that of another row, or an end is said of what is not complete.
        """
        self.runs += 1
        pending: dict[int, dict[int, bytes]] = {}
        for message in messages:
            if message["type"] == "RECORD":
                self._add(pending.setdefault(message["version"], {}), message)
            elif message["type"] == "STATE":
                self._keep(message["value"], pending)
            elif message["type"] == "ACTIVATE_VERSION":
                self._check_complete(message["version"], pending)
        return sum(map(len, pending.values()))

    def _add(self, rows: dict[int, bytes], message: Json) -> None:
        record = dict(message["record"])
        self._check_key(record.pop(ROW_KEY), message["version"], record["id"])
        row = record["id"]
        assert row not in rows, f"row {row} comes twice between two STATEs"
        assert row not in self._kept.get(message["version"], ()), f"row {row} was acknowledged, and comes again"
        rows[row] = msgspec.json.encode(record)

    def _check_key(self, key: str, version: int, row: int) -> None:
        """Check that a row has the key that it had whenever it was written before, and no other row has it."""
        known = self._keys.setdefault((version, row), key)
        assert known == key, f"row {row} had the key {known}, and now has {key}"
        other = self._rows.setdefault(key, row)
        assert other == row, f"row {row} has the key {key}, which row {other} had"

    def _keep(self, state: Json, pending: dict[int, dict[int, bytes]]) -> None:
        """Commit the rows before a STATE."""
        self.state = state
        bookmark = self._bookmark(state)
        current = bookmark.get("reading", bookmark)
        for version, rows in pending.items():
            self._check_rows(version, rows, current)
            self._kept.setdefault(version, set()).update(rows)
        pending.clear()
        self._check_offsets(bookmark)

    def _check_rows(self, version: int, rows: dict[int, bytes], current: Json) -> None:
        """Check that rows are in the table; before a session was lost they may have been those of another version."""
        assert version <= current["table_version"], "rows of a version that STATE does not speak of"
        lost = version < current["table_version"]
        tables = self.tables.values() if lost else [self.tables[current["version_tag"]]]
        assert any(rows.items() <= table.items() for table in tables), "rows that the table does not have"

    def _check_offsets(self, bookmark: Json) -> None:
        if "reading" in bookmark:
            reading = bookmark["reading"]
            said = sum(position["offset"] for position in reading["streams"].values())
            there = len(self._kept.get(reading["table_version"], ()))
            assert said == there, f"STATE says that {said} rows are out, and {there} are"
        elif "completed_at" in bookmark:
            there = len(self._kept[bookmark["table_version"]])
            assert there == bookmark["rows"] == len(self.tables[bookmark["version_tag"]])

    def _check_complete(self, version: int, pending: dict[int, dict[int, bytes]]) -> None:
        """Check that a version that becomes the only one has all rows of some version of the table."""
        rows = self._kept.get(version, set()) | pending.get(version, {}).keys()
        assert rows in [table.keys() for table in self.tables.values()], f"{len(rows)} rows are no whole table"

    def _bookmark(self, state: Json | None) -> Json:
        bookmarks: Json = (state or {}).get("bookmarks", {})
        bookmark: Json = bookmarks.get(self.stream, {})
        return bookmark


class FileLoads(Loads):
    """Loads that come as files: each is read when the run that named it has ended, since the next may replace it."""

    def take(self, messages: Iterable[Json]) -> int:
        """Take what one run wrote (see ``Loads``)."""
        return super().take(each for message in messages for each in with_rows(message))
