"""Singer semantics of the data dictionary: which of its rows to write, under which version, and what the state says."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import msgspec
from singer_sdk import Tap, metrics
from singer_sdk.singerlib import Catalog

from tap_redivis.errors import ConfigError, RedivisError
from tap_redivis.model.columns import BAD_CHARACTERS
from tap_redivis.model.json_schema import DICTIONARY, schema_of
from tap_redivis.planning.bookmarks import Bookmark, is_of_dictionary
from tap_redivis.planning.decision import Decision, next_table_version
from tap_redivis.runtime.progress import Result
from tap_redivis.runtime.shutdown import SHUTDOWN
from tap_redivis.singer.dictionary.bookmark import DictionaryBookmark, PartMark, Writing, to_state
from tap_redivis.singer.dictionary.dictionary import Dictionary, Part, digest
from tap_redivis.singer.dictionary.rows import Row
from tap_redivis.singer.dictionary.topics import TOPICS, Topic
from tap_redivis.singer.run import RunContext
from tap_redivis.singer.sdk import SdkStream

logger = logging.getLogger("tap-redivis")


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


class DictionaryStream(SdkStream):
    """One stream of the data dictionary.

    What changed since the last run is written again, under the same Singer version; where rows may have vanished, all
    rows are, under a new one, and ACTIVATE_VERSION removes the others.

    Args:
        tap: The tap, which the SDK's own class wants.
        run: What the streams of a run share.
        topic: What it describes.
        dictionary: Gives the data dictionary, which is made when the first row is needed.
    """

    def __init__(self, tap: Tap, run: RunContext, topic: Topic, dictionary: Callable[[], Dictionary]) -> None:
        super().__init__(tap, topic.stream, schema_of(topic.columns, topic.description), DICTIONARY)
        self.run = run
        self.topic = topic
        self.sync_order = 1 + TOPICS.index(topic)  # after everything that it describes
        self.primary_keys = list(topic.keys)
        self.forced_replication_method = "FULL_TABLE"
        self._dictionary = dictionary
        self._last_state = time.monotonic()
        self._count = 0

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
                hint="Use FULL_TABLE; what did not change is not asked for",
            )

    def load(self, counter: metrics.Counter) -> None:
        """Write the rows; an error fails this stream and not the run."""
        started = time.monotonic()
        try:
            outcome = self._load()
            counter.increment(self._count)
            seconds = time.monotonic() - started
            self.run.results.append(
                Result(self.name, mode=DICTIONARY, outcome=outcome, rows=self._count, seconds=seconds)
            )
        except RedivisError as error:
            self.run.note_failure(self.name, error)
            self.run.results.append(Result(self.name, mode=DICTIONARY, outcome="failed"))
            self._write_state()

    def probe(self) -> None:
        """Check that there is something to describe.

        Raises:
            RedivisError: The server refused.
        """
        logger.info("%s: %d parts to describe", self.name, len(self._dictionary().parts(self.topic)))

    # --- one run -----------------------------------------------------------------------------------------------------

    def _load(self) -> Any:  # noqa: ANN401 - one of the outcomes of a Result
        if self.is_left_out:
            logger.info("not read: a stream map removes all its records")
            return "left out"
        step = self.next_step()
        logger.info("%s", step.decision.reason)
        if step.decision.action == "skip":
            return "unchanged"
        if step.changed is None or not self._write_some(step.before, step.changed):
            self._write_all(step.before, step.parts)
        return "loaded"

    def next_step(self) -> DictionaryStep:
        """Find out what is to be written, for a run as for a plan.

        Raises:
            RedivisError: The server refused.
        """
        before, parts = self._bookmark(), self._dictionary().parts(self.topic)
        changed = [part for part in parts if _is_new(part, before.parts.get(part.name))]
        gone = before.parts.keys() - {part.name for part in parts}
        if before.completed_at is None:
            decision, some = Decision("start", "all rows are written: they never were"), None
        elif before.selection != self._selection():
            decision, some = Decision("start", "all rows are written: the selected columns changed"), None
        elif not self.run.settings.skip_unchanged:
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
        self.set_version(before.table_version if self.run.settings.emit_activate_version_messages else None)
        written = dict(before.parts)
        for part, rows in self._dictionary().rows(self.topic, changed):
            mark = before.parts.get(part.name)
            if mark and self._keys(rows[: mark.rows]) != mark.keys:
                logger.info("rows of %s may be gone: all rows are written anew", part.name)
                return False
            self._write_rows(rows)
            written[part.name] = self._mark(part, rows)
        self._keep(self._complete(written, before.table_version))
        self._write_state()
        return True

    def _write_all(self, before: DictionaryBookmark, parts: Sequence[Part]) -> None:
        """Write all rows, but for those that a run which was interrupted has written; then activate their version."""
        version, done = self._begun(before, parts)
        self.set_version(version if self.run.settings.emit_activate_version_messages else None)
        try:
            for part, rows in self._dictionary().rows(self.topic, [part for part in parts if part.name not in done]):
                with SHUTDOWN.defer_signals():
                    self._write_rows(rows)
                    done[part.name] = self._mark(part, rows)
                    if time.monotonic() - self._last_state >= self.run.settings.state_interval_seconds:
                        self._keep_writing(before, Writing(version, done))
                        self._write_state()
        finally:
            self._keep_writing(before, Writing(version, done))
        with SHUTDOWN.defer_signals():
            if self.run.settings.emit_activate_version_messages:
                self.write_activate_version(version)
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
            self.run.writer.format_message(message)
            for row in rows
            for message in self.record_messages(self._record(row, known))
        ]
        self._count += len(rows)
        if lines:
            self.run.writer.write_lines(b"".join(lines), "RECORD")

    def _record(self, row: Row, known: Any) -> Row:  # noqa: ANN401 - a view of keys
        settings = self.run.settings
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
        state = self.run.states.raw(self.name)
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
        self.run.states.put(self.name, to_state(written))

    def _write_state(self) -> None:
        self._last_state = time.monotonic()
        self.run.states.write()


def _is_new(part: Part, mark: PartMark | None) -> bool:
    return mark is None or part.signal is None or part.signal != mark.signal
