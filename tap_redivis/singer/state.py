"""Bookmarks and STATE: the state of a run, when it is written, and the part of it that one load keeps up to date.

STATE holds the bookmarks of all tables. Written for each table, it would grow with the square of their number.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from tap_redivis.model.reads import ROWS_STREAM, ChangeCounts
from tap_redivis.model.settings import Settings
from tap_redivis.planning.bookmarks import Bookmark, PartialLoad, from_state, to_state
from tap_redivis.reading.jobs import Chunk
from tap_redivis.singer.messages import MessageWriter

_OUTPUT_TO_STATE = 10  # bytes of other messages for each byte of STATE, where STATE may wait
_ALWAYS_BYTES = 16 * 1024  # some 40 bookmarks: a STATE up to this size is no burden every few seconds


@dataclass
class RunState:
    """The bookmarks of all streams, and when they are due."""

    settings: Settings
    messages: MessageWriter
    current: Callable[[], Any]  # the SDK types STATE, but not what we keep in it; loads it after the streams are made
    write_message: Callable[[], None]
    new_rows: int = 0  # written since the last STATE message
    _moment: float = field(default_factory=time.monotonic)  # of that message
    _size: int = 0  # its bytes
    _end: int = 0  # where it ended in the output

    def raw(self, stream: str) -> Any:  # noqa: ANN401 - a bookmark of a table or of the dictionary
        """Give a stream's bookmark as STATE has it; None if there is none."""
        return self.current().get("bookmarks", {}).get(stream)

    def bookmark(self, stream: str) -> Bookmark:
        """Give a table's bookmark; an empty one if there is none."""
        return from_state(self.raw(stream) or {})

    def put(self, stream: str, bookmark: dict[str, Any]) -> None:
        """Replace a stream's bookmark; the next STATE message has it."""
        self.current().setdefault("bookmarks", {})[stream] = bookmark

    @property
    def is_due(self) -> bool:
        """Whether enough rows have been written, or enough time has passed."""
        if self.new_rows >= self.settings.state_interval_rows:
            return True
        age = time.monotonic() - self._moment
        return age >= self.settings.state_interval_seconds and (self._size <= _ALWAYS_BYTES or self.is_cheap)

    @property
    def is_cheap(self) -> bool:
        """Whether another STATE message would be a small part of the output."""
        return self.messages.size - self._end >= _OUTPUT_TO_STATE * self._size

    def write(self) -> None:
        """Write a STATE message."""
        begin = self.messages.size
        self.write_message()
        self.new_rows, self._moment, self._end = 0, time.monotonic(), self.messages.size
        self._size = self._end - begin or self._size  # nothing is written where nothing is new


@dataclass
class StateKeeper:
    """Keeps the bookmark of one stream during one load: the only place where an offset becomes a bookmark."""

    states: RunState
    stream: str
    bookmark: Bookmark
    partial: PartialLoad | None = None  # None before a load is opened, and once it is completed or dropped

    def open(self, partial: PartialLoad) -> None:
        """Note a new load, and write STATE before its first row, so that it goes on after a kill.

        Of tables so small that this would cost more than the rows, nothing is lost but the rows.
        """
        self.partial = partial
        if partial.expected_rows != 0 and self._can_resume and self.states.is_cheap:
            self._write()

    def give_up(self) -> None:
        """Keep of a load whose session is gone only the table version, which no other load may have."""
        self.bookmark = replace(self.bookmark, reading=self.partial)
        self.partial = None

    def advance(self, chunk: Chunk, changes: ChangeCounts | None) -> None:
        """Note rows that have been written."""
        self.partial = self.loading.advance(chunk.stream, chunk.count, chunk.last_digest).saw(chunk.highest)
        if changes is not None:
            self.partial = self.partial.count(changes)
        self.states.new_rows += chunk.count

    def end_stream(self, stream: str) -> None:
        """Note that a read stream has been read to its end."""
        self.partial = self.loading.end(stream)

    def complete(self, bookmark: Bookmark) -> None:
        """Note a proved load."""
        self.partial = None
        self.bookmark = bookmark
        self.save()
        self.write_if_due()

    def save(self) -> None:
        """Put the bookmark into the state; a load that cannot be resumed is no part of it."""
        partial = self.partial if self._can_resume else None
        self.states.put(self.stream, to_state(replace(self.bookmark, reading=partial)))

    @property
    def _can_resume(self) -> bool:
        # /rows takes no offset (redivis-api §4.5): such a load starts over.
        return self.partial is not None and ROWS_STREAM not in self.partial.streams

    def write_if_due(self) -> None:
        """Write STATE if it is due; with BATCH after each file of a load that can be resumed."""
        # A file that a BATCH message names must not be written again: STATE follows at once.
        is_file = self.states.settings.batch_config is not None and self._can_resume and self.states.new_rows > 0
        if is_file or self.states.is_due:
            self._write()

    def _write(self) -> None:
        self.save()
        self.states.write()

    @property
    def loading(self) -> PartialLoad:
        """The load under way, which there must be."""
        assert self.partial is not None  # noqa: S101 - rows are only written while a load is under way
        return self.partial
