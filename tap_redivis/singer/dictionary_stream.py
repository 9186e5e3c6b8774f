"""Singer semantics of the data dictionary: which of its rows to write, under which version, and what the state says."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec
from singer_sdk import Stream
from singer_sdk.mapper import RemoveRecordTransform
from singer_sdk.singerlib import Catalog, CatalogEntry

from tap_redivis.errors import ConfigError, RedivisError
from tap_redivis.model.columns import BAD_CHARACTERS
from tap_redivis.model.json_schema import DICTIONARY, schema_of
from tap_redivis.planning.bookmarks import Bookmark, Decision, is_of_dictionary, next_table_version
from tap_redivis.runtime.progress import Result
from tap_redivis.runtime.shutdown import SHUTDOWN
from tap_redivis.singer.dictionary.bookmark import DictionaryBookmark, PartMark, Writing, to_state
from tap_redivis.singer.dictionary.dictionary import Part, digest
from tap_redivis.singer.dictionary.rows import Row
from tap_redivis.singer.dictionary.topics import TOPICS, Topic

if TYPE_CHECKING:
    from tap_redivis.tap import TapRedivis


@dataclass(frozen=True)
class DictionaryStep:
    """What is to be written of one stream.

    Attributes:
        decision: Whether something is, and why.
        before: The bookmark.
        parts: All parts that there are.
        changed: Those to write again; None if all rows are to be written.
    """

    decision: Decision
    before: DictionaryBookmark
    parts: Sequence[Part]
    changed: Sequence[Part] | None


class DictionaryStream(Stream):
    """One stream of the data dictionary.

    What changed since the last run is written again, under the same Singer version; where rows may have vanished, all
    rows are, under a new one, and ACTIVATE_VERSION removes the others.

    Args:
        tap: The tap.
        topic: What it speaks of.
    """

    def __init__(self, tap: TapRedivis, topic: Topic) -> None:
        super().__init__(tap, schema=schema_of(topic.columns, topic.description), name=topic.stream)
        self.tap: TapRedivis = tap
        self.topic = topic
        self.primary_keys = list(topic.keys)
        self.forced_replication_method = "FULL_TABLE"
        self._last_state = time.monotonic()
        self._count = 0

    # --- what the SDK asks -------------------------------------------------------------------------------------------

    @property
    def turn(self) -> int:
        """When it is its turn: after all that it tells of."""
        return 1 + TOPICS.index(self.topic)

    @property
    def source(self) -> str:
        """What the catalog calls the source of the rows."""
        return DICTIONARY

    @property
    def emit_activate_version_messages(self) -> bool:
        """Keep the SDK from sending ACTIVATE_VERSION before the rows: ours goes out after the last one."""
        return False

    @property
    def _singer_catalog_entry(self) -> CatalogEntry:
        """Say where the rows come from; overridden because the SDK has no hook for it."""
        entry = super()._singer_catalog_entry
        entry.table = self.source
        return entry

    def apply_catalog(self, catalog: Catalog) -> None:
        """Apply a catalog.

        Raises:
            ConfigError: It asks for a replication method that this stream does not have.
        """
        super().apply_catalog(catalog)
        if self.selected and self.replication_method != "FULL_TABLE":
            raise ConfigError(
                f"replication method {self.replication_method} is not available",
                where=f"catalog, stream {self.name}",
                todo="Use FULL_TABLE; what did not change is not asked for",
            )

    def get_batch_config(self, config: Mapping[str, Any]) -> None:
        """Write no BATCH: there are few rows."""

    def get_records(self, context: Mapping[str, Any] | None) -> NoReturn:
        """Not used: rows go out part by part (see ``_sync_records``)."""
        raise NotImplementedError(str(context))

    def _sync_records(
        self,
        context: Mapping[str, Any] | None = None,  # noqa: ARG002 - the SDK's signature
        *,
        write_messages: bool = True,  # noqa: ARG002 - the SDK's signature
    ) -> Generator[dict[str, Any], Any, Any]:
        """Write the rows; overridden because the SDK knows neither parts nor a version that is activated last."""
        started = time.monotonic()
        try:
            with self.get_record_counter() as counter, self.get_sync_timer():
                outcome = self._load()
                counter.increment(self._count)
            seconds = time.monotonic() - started
            self.tap.results.append(
                Result(self.name, mode=DICTIONARY, outcome=outcome, rows=self._count, seconds=seconds)
            )
        except RedivisError as error:
            self.tap.note_failure(self.name, error)
            self.tap.results.append(Result(self.name, mode=DICTIONARY, outcome="failed"))
            self._write_state()
        yield from ()

    def probe(self) -> None:
        """Check that there is something to describe.

        Raises:
            RedivisError: The server refused.
        """
        self.logger.info("%s: %d parts to describe", self.name, len(self.tap.dictionary.parts(self.topic)))

    # --- one run -----------------------------------------------------------------------------------------------------

    def _load(self) -> Any:  # noqa: ANN401 - one of the outcomes of a Result
        if self.is_left_out:
            self.logger.info("not read: a stream map removes all its records")
            return "left out"
        step = self.next_step()
        self.logger.info("%s", step.decision.reason)
        if step.decision.action == "skip":
            return "unchanged"
        if step.changed is None or not self._write_some(step.before, step.changed):
            self._write_all(step.before, step.parts)
        return "loaded"

    @property
    def is_left_out(self) -> bool:
        """Whether a stream map removes all records."""
        return all(isinstance(stream_map, RemoveRecordTransform) for stream_map in self.stream_maps)

    def next_step(self) -> DictionaryStep:
        """Find out what is to be written, for a run as for a plan.

        Raises:
            RedivisError: The server refused.
        """
        before, parts = self._bookmark(), self.tap.dictionary.parts(self.topic)
        changed = [part for part in parts if _is_new(part, before.parts.get(part.name))]
        gone = before.parts.keys() - {part.name for part in parts}
        if before.completed_at is None:
            decision, some = Decision("start", "all rows are written: they never were"), None
        elif before.selection != self._selection():
            decision, some = Decision("start", "all rows are written: the selected columns changed"), None
        elif not self.tap.settings.skip_unchanged:
            decision, some = Decision("start", "all rows are written: skip_unchanged is off"), None
        elif gone or before.writing is not None:
            decision, some = Decision("start", "all rows are written: some may be gone"), None
        elif changed:
            words = f"what changed is written: {len(changed):,} of {len(parts):,} parts"
            decision, some = Decision("start", words), changed
        else:
            decision, some = Decision("skip", "unchanged since the last run"), []
        return DictionaryStep(decision, before, parts, some)

    def _write_some(self, before: DictionaryBookmark, changed: Sequence[Part]) -> bool:
        """Write the rows of some parts again, unless one of them may have lost rows, which only all rows can tell."""
        self._stream_version = before.table_version if self.tap.settings.emit_activate_version_messages else None
        written = dict(before.parts)
        for part, rows in self.tap.dictionary.rows(self.topic, changed):
            mark = before.parts.get(part.name)
            if mark and self._keys(rows[: mark.rows]) != mark.keys:
                self.logger.info("rows of %s may be gone: all rows are written anew", part.name)
                return False
            self._write_rows(rows)
            written[part.name] = self._mark(part, rows)
        self._keep(self._complete(written, before.table_version))
        self._write_state()
        return True

    def _write_all(self, before: DictionaryBookmark, parts: Sequence[Part]) -> None:
        """Write all rows, but for those that a run which was interrupted has written; then activate their version."""
        version, done = self._begun(before, parts)
        self._stream_version = version if self.tap.settings.emit_activate_version_messages else None
        try:
            for part, rows in self.tap.dictionary.rows(self.topic, [part for part in parts if part.name not in done]):
                with SHUTDOWN.whole():
                    self._write_rows(rows)
                    done[part.name] = self._mark(part, rows)
                    if time.monotonic() - self._last_state >= self.tap.settings.state_interval_seconds:
                        self._keep_writing(before, Writing(version, done))
                        self._write_state()
        finally:
            self._keep_writing(before, Writing(version, done))
        with SHUTDOWN.whole():
            if self.tap.settings.emit_activate_version_messages:
                self._write_activate_version_message(version)
            self._keep(self._complete(done, version))
            self._write_state()

    def _begun(self, before: DictionaryBookmark, parts: Sequence[Part]) -> tuple[int, dict[str, PartMark]]:
        """Choose the version of a writing of all rows, and find what is written of it."""
        writing, names = before.writing, {part.name: part for part in parts}
        if writing and before.selection == self._selection() and writing.parts.keys() <= names.keys():
            done = {name: mark for name, mark in writing.parts.items() if not _is_new(names[name], mark)}
            if len(done) == len(writing.parts):
                return writing.table_version, done
        last = max(before.table_version, writing.table_version if writing else 0)
        return next_table_version(Bookmark(table_version=last), datetime.now(timezone.utc)), {}

    def _write_rows(self, rows: Sequence[Row]) -> None:
        known = self.effective_schema.get("properties", {}).keys()
        lines = [
            self.tap.writer.format_message(message)
            for row in rows
            for message in self._generate_record_messages(self._record(row, known))
        ]
        self._count += len(rows)
        if lines:
            self.tap.writer.write_lines(b"".join(lines), "RECORD")

    def _record(self, row: Row, known: Any) -> Row:  # noqa: ANN401 - a view of keys
        settings = self.tap.settings
        record = {name: value for name, value in row.items() if name in known}
        for column in self.topic.columns:
            value = record.get(column.name)
            if not isinstance(value, str):
                continue
            if column.type == "dateTime" and settings.datetime_zone == "utc":
                record[column.name] = f"{value}+00:00"
            elif settings.replace_invalid_characters:
                record[column.name] = BAD_CHARACTERS.sub("\ufffd", value)
        return record

    # --- bookmark and STATE ------------------------------------------------------------------------------------------

    def _bookmark(self) -> DictionaryBookmark:
        state = self.tap_state.get("bookmarks", {}).get(self.name)
        return msgspec.convert(state, DictionaryBookmark) if is_of_dictionary(state) else DictionaryBookmark()

    def _selection(self) -> str:
        properties = self.effective_schema.get("properties", {})
        return digest(sorted(name for name in properties if self.mask["properties", name]))

    def _mark(self, part: Part, rows: Sequence[Row]) -> PartMark:
        return PartMark(part.signal, len(rows), self._keys(rows))

    def _keys(self, rows: Sequence[Row]) -> str:
        return digest([[row[key] for key in self.topic.keys] for row in rows])

    def _complete(self, parts: dict[str, PartMark], version: int) -> DictionaryBookmark:
        now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        return DictionaryBookmark(parts, table_version=version, selection=self._selection(), completed_at=now)

    def _keep_writing(self, before: DictionaryBookmark, writing: Writing) -> None:
        self._keep(msgspec.structs.replace(before, writing=writing, selection=self._selection()))

    def _keep(self, written: DictionaryBookmark) -> None:
        self.tap_state.setdefault("bookmarks", {})[self.name] = to_state(written)

    def _write_state(self) -> None:
        self._last_state = time.monotonic()
        self.tap.state_writer.write_state(self.tap_state)


def _is_new(part: Part, mark: PartMark | None) -> bool:
    return mark is None or part.signal is None or part.signal != mark.signal
