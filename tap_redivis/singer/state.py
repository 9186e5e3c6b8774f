"""Bookmarks and STATE: the state of a run, and the part of it that one load keeps up to date."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from tap_redivis.model.reads import ROWS_STREAM, ChangeCounts
from tap_redivis.model.settings import Settings
from tap_redivis.planning.bookmarks import Bookmark, PartialLoad, from_state, to_state
from tap_redivis.reading.jobs import Chunk
from tap_redivis.singer.sdk import StateWriter


@dataclass(frozen=True)
class RunState:
    """The bookmarks of all streams."""

    # Both are functions: the SDK loads the state, and makes its writer, after the streams are made.
    current: Callable[[], Any]  # the SDK types STATE, but not what we keep in it
    writer: Callable[[], StateWriter]

    def raw(self, stream: str) -> Any:  # noqa: ANN401 - a bookmark of a table or of the dictionary
        """Give a stream's bookmark as STATE has it; None if there is none."""
        return self.current().get("bookmarks", {}).get(stream)

    def bookmark(self, stream: str) -> Bookmark:
        """Give a table's bookmark; an empty one if there is none."""
        return from_state(self.raw(stream) or {})

    def put(self, stream: str, bookmark: dict[str, Any]) -> None:
        """Replace a stream's bookmark; the next STATE message has it."""
        self.current().setdefault("bookmarks", {})[stream] = bookmark

    def write(self) -> None:
        """Write a STATE message."""
        self.writer().write_state(self.current())


class StateKeeper:
    """Keeps the bookmark of one stream during one load: the only place where an offset becomes a bookmark."""

    def __init__(self, states: RunState, stream: str, bookmark: Bookmark, settings: Settings) -> None:
        self.partial: PartialLoad | None = None  # before a load is opened, and once it is completed or dropped
        self._states = states
        self._stream = stream
        self.bookmark = bookmark
        self._settings = settings
        self._last_message = time.monotonic()
        self._rows_since_message = 0

    def open(self, partial: PartialLoad) -> None:
        """Note a new load, and write STATE before its first row: after a kill no other load has its table version."""
        self.partial = partial
        if partial.expected_rows != 0 and ROWS_STREAM not in partial.streams:
            self.save()
            self.write()

    def give_up(self) -> None:
        """Keep of a load whose session is gone only the table version, which no other load may have."""
        self.bookmark = replace(self.bookmark, reading=self.partial)
        self.partial = None

    def advance(self, chunk: Chunk, changes: ChangeCounts | None) -> None:
        """Note rows that have been written."""
        self.partial = self.loading.advance(chunk.stream, chunk.count, chunk.last_digest).saw(chunk.highest)
        if changes is not None:
            self.partial = self.partial.count(changes)
        self._rows_since_message += chunk.count

    def end_stream(self, stream: str) -> None:
        """Note that a read stream has been read to its end."""
        self.partial = self.loading.end(stream)

    def complete(self, bookmark: Bookmark) -> None:
        """Note a proved load, and write STATE."""
        self.partial = None
        self.bookmark = bookmark
        self.save()
        self.write()

    def save(self) -> None:
        """Put the bookmark into the state; a load that cannot be resumed is no part of it."""
        partial = self.partial
        # /rows takes no offset (redivis-api §4.5): such a load begins anew.
        if partial is not None and ROWS_STREAM in partial.streams:
            partial = None
        self._states.put(self._stream, to_state(replace(self.bookmark, reading=partial)))

    def write_if_due(self) -> None:
        """Write STATE if enough rows have been written, or enough time has passed; with BATCH after each file."""
        settings = self._settings
        if settings.batch_config is not None:
            # A file that a BATCH message names must not be written again: STATE follows at once.
            is_due = self._rows_since_message > 0
        else:
            age = time.monotonic() - self._last_message
            rows = self._rows_since_message
            is_due = rows >= settings.state_interval_rows or age >= settings.state_interval_seconds
        if is_due:
            self.save()
            self.write()

    def write(self) -> None:
        """Write a STATE message."""
        self._rows_since_message = 0
        self._last_message = time.monotonic()
        self._states.write()

    @property
    def loading(self) -> PartialLoad:
        """The load under way, which there must be."""
        assert self.partial is not None  # noqa: S101 - rows are only written while a load is under way
        return self.partial
