"""The streams of the data dictionary: bookmark and parts → what to write, as which version → RECORDs and STATE."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

import msgspec
from singer_sdk import Tap, metrics

from tap_redivis.model.columns import BAD_CHARACTERS
from tap_redivis.model.json_schema import DICTIONARY, schema_of
from tap_redivis.planning.bookmarks import Bookmark, DictionaryBookmark, DictionaryLoad, PartMark, is_of_dictionary
from tap_redivis.planning.decision import Decision, next_table_version
from tap_redivis.runtime.logs import logger
from tap_redivis.runtime.progress import Outcome, Result
from tap_redivis.runtime.shutdown import SHUTDOWN
from tap_redivis.singer.dictionary.dictionary import Dictionary, Part, digest
from tap_redivis.singer.dictionary.topics import TOPICS, Row, Topic
from tap_redivis.singer.run import RunContext
from tap_redivis.singer.sdk import SdkStream


@dataclass(frozen=True)
class DictionaryStep:
    """What is to be written of one stream: the parts that changed, or all rows if ``changed`` is None."""

    decision: Decision
    before: DictionaryBookmark
    parts: Sequence[Part]
    changed: Sequence[Part] | None


class DictionaryStream(SdkStream):
    """One stream of the data dictionary.

    What changed since the last run is written again, under the same Singer version. Where rows may have vanished, all
    rows are written under a new version, and ACTIVATE_VERSION removes the others.
    """

    def __init__(self, tap: Tap, run: RunContext, topic: Topic, dictionary: Callable[[], Dictionary]) -> None:
        super().__init__(tap, topic.stream, schema_of(topic.columns, topic.description), DICTIONARY)
        self.run = run
        self.topic = topic
        self.sync_order = 1 + TOPICS.index(topic)  # after everything that it describes
        self.primary_keys = list(topic.keys)
        self.forced_replication_method = "FULL_TABLE"  # signals show what changed, and no column does
        self._dictionary = dictionary
        self._activates = run.settings.emit_activate_version_messages
        self._count = 0

    def load(self, counter: metrics.Counter) -> None:
        """Write the rows."""
        started = time.monotonic()
        outcome, reason = self._load()
        counter.increment(self._count)
        seconds = time.monotonic() - started
        mode, rows = DICTIONARY, self._count
        self.run.note_result(Result(self.name, "", mode, outcome, reason=reason, rows=rows, seconds=seconds))

    def fail(self, failure: Exception) -> None:
        """Note that the rows are not written, or not all."""
        self.run.note_failure(self.name, failure)
        self.run.note_result(Result(self.name, mode=DICTIONARY, outcome="failed"))
        self.run.states.write()

    def probe(self) -> None:
        """Check that there is something to describe."""
        logger.info("%s: %d parts to describe", self.name, len(self._dictionary().parts(self.topic)))

    def _load(self) -> tuple[Outcome, str]:
        """Write the rows; give how that ended, and the reason in words."""
        if self.is_left_out:
            return "left out", "a stream map removes all its records"
        step = self.next_step()
        if step.decision.action == "skip":
            return "unchanged", step.decision.reason
        if step.changed is None or not self._write_some(step.before, step.changed):
            self._write_all(step.before, step.parts)
        return "loaded", step.decision.reason

    def next_step(self) -> DictionaryStep:
        """Find out what is to be written, for a run as for a plan."""
        before, parts = self._bookmark(), self._dictionary().parts(self.topic)
        if reason := self._why_all(before, parts):
            return DictionaryStep(Decision("start", f"all rows are written: {reason}"), before, parts, None)
        changed = [part for part in parts if _is_new(part, before.parts.get(part.name))]
        if not changed:
            return DictionaryStep(Decision("skip", "unchanged since the last run"), before, parts, [])
        words = f"what changed is written: {len(changed):,} of {len(parts):,} parts"
        return DictionaryStep(Decision("start", words), before, parts, changed)

    def _why_all(self, before: DictionaryBookmark, parts: Sequence[Part]) -> str:
        """Say why all rows have to be written; empty if those that changed are enough."""
        if before.completed_at is None:
            return "they never were"
        if before.selection != self._selection():
            return "the selected columns changed"
        if not self.run.settings.skip_unchanged:
            return "skip_unchanged is off"
        is_gone = before.parts.keys() - {part.name for part in parts}
        return "some may be gone" if is_gone or before.writing is not None else ""

    def _write_some(self, before: DictionaryBookmark, changed: Sequence[Part]) -> bool:
        """Write the rows of some parts again, unless one of them may have lost rows."""
        # The same version as before: the rows of the other parts stay valid.
        self.set_version(before.table_version if self._activates else None)
        written = dict(before.parts)
        for part, rows in self._dictionary().rows(self.topic, changed):
            mark = before.parts.get(part.name)
            # Targets keep a row until a new version is activated: only all rows can remove one.
            if mark and self._keys(rows[: mark.rows]) != mark.keys:
                logger.info("rows of %s may be gone: all rows are written anew", part.name)
                return False
            self._write_rows(rows)
            written[part.name] = self._mark(part, rows)
        self._complete(written, before.table_version)
        return True

    def _write_all(self, before: DictionaryBookmark, parts: Sequence[Part]) -> None:
        """Write all rows except those that an interrupted run has written; then activate their version."""
        version, done = self._begun(before, parts)
        self.set_version(version if self._activates else None)
        try:
            for part, rows in self._dictionary().rows(self.topic, [part for part in parts if part.name not in done]):
                with SHUTDOWN.defer_signals():  # rows and their mark belong together
                    self._write_rows(rows)
                    done[part.name] = self._mark(part, rows)
                    if self.run.states.is_due:
                        self._keep(before, writing=DictionaryLoad(version, done))
                        self.run.states.write()
        finally:  # the last STATE of an interrupted run says what was written
            self._keep(before, writing=DictionaryLoad(version, done))
        with SHUTDOWN.defer_signals():
            if self._activates:
                self.write_activate_version(version)
            self._complete(done, version)

    def _begun(self, before: DictionaryBookmark, parts: Sequence[Part]) -> tuple[int, dict[str, PartMark]]:
        """Give the version of a load of all rows, and what an interrupted run has written of it."""
        writing, by_name = before.writing, {part.name: part for part in parts}
        if writing and before.selection == self._selection() and writing.parts.keys() <= by_name.keys():
            is_stale = any(_is_new(by_name[name], mark) for name, mark in writing.parts.items())
            if not is_stale:
                return writing.table_version, dict(writing.parts)
        # A target may hold rows of the interrupted load, which only a higher version removes.
        last = max(before.table_version, writing.table_version if writing else 0)
        return next_table_version(Bookmark(table_version=last), datetime.now(timezone.utc)), {}

    def _write_rows(self, rows: Sequence[Row]) -> None:
        writer = self.run.writer
        messages = (message for row in rows for message in self.record_messages(self._record(row)))
        lines = b"".join(map(writer.format_message, messages))
        self._count += len(rows)
        if lines:
            writer.write_lines(lines, "RECORD")

    def _record(self, row: Row) -> Row:
        settings, known = self.run.settings, self.effective_schema.get("properties", {})
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

    def _bookmark(self) -> DictionaryBookmark:
        state = self.run.states.raw(self.name)
        # A table's stream may have had this name before.
        return msgspec.convert(state, DictionaryBookmark) if is_of_dictionary(state) else DictionaryBookmark({})

    def _selection(self) -> str:
        names = self.effective_schema.get("properties", {})
        return digest(sorted(name for name in names if self.mask["properties", name]))

    def _mark(self, part: Part, rows: Sequence[Row]) -> PartMark:
        return PartMark(part.signal, len(rows), self._keys(rows))

    def _keys(self, rows: Sequence[Row]) -> str:
        return digest([[row[key] for key in self.topic.keys] for row in rows])

    def _complete(self, parts: dict[str, PartMark], version: int) -> None:
        now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        self._keep(DictionaryBookmark(parts, version, completed_at=now), writing=None)
        self.run.states.write()

    def _keep(self, bookmark: DictionaryBookmark, writing: DictionaryLoad | None) -> None:
        bookmark = msgspec.structs.replace(bookmark, writing=writing, selection=self._selection())
        self.run.states.put(self.name, msgspec.to_builtins(bookmark))


def _is_new(part: Part, mark: PartMark | None) -> bool:
    return mark is None or part.signal is None or part.signal != mark.signal
