"""Read sessions: the rows of each stream, their order, and the offsets that a client may use (redivis-api §8.1).

A stream is a list of runs. In a large table, a run is a slice of a file in the order of the file: that is cheap, and
the cache can keep its bytes for the next reader. In a small table, a run is a list of row numbers in random order. The
session's id is the random seed: each session has another order and another split.
"""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

import pyarrow as pa

from redivis_emulator.errors import ApiError, gone
from redivis_emulator.variable_types import convert

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from redivis_emulator.clock import Clock
    from redivis_emulator.library import Part
    from redivis_emulator.render import Style

_BLOCK_BYTES = 512 * 1024
_MIN_BLOCK_ROWS = 16
_MAX_BLOCK_ROWS = 16384
_SHUFFLED_BLOCKS = 2
_JITTER = 0.1


@dataclass(frozen=True)
class View:
    """The rows of one file with the columns of `schema`: names, order and types on the wire.

    A column that the file lacks is null.
    """

    part: Part
    schema: pa.Schema

    @property
    def period(self) -> int:
        """Number of rows after which the rows repeat; 1 for an empty file."""
        return max(1, self.part.source.period)

    def blocks(self) -> list[tuple[int, int]]:
        """Return start and end of each block; no block spans two repetitions of the file."""
        rows, size, period = self.part.rows, self.block_rows, self.period
        return [
            (start, min(start + size, first + period, rows))
            for first in range(0, rows, period)
            for start in range(first, min(first + period, rows), size)
        ]

    def slice(self, start: int, stop: int) -> pa.Table:
        """Return rows `start` to `stop` in the order of the file."""
        return self._project(self.part.table().slice(start, stop - start))

    def pick(self, rows: Sequence[int]) -> pa.Table:
        """Return these rows, in this order."""
        return self._project(self.part.table().take(pa.array(rows, pa.int64())))

    @property
    def block_rows(self) -> int:
        """Number of rows whose text has about half a MiB."""
        row_bytes = self.part.source.num_bytes / max(1, self.part.source.num_rows) + 8 * len(self.schema)
        return max(_MIN_BLOCK_ROWS, min(_MAX_BLOCK_ROWS, int(_BLOCK_BYTES / row_bytes)))

    def _project(self, rows: pa.Table) -> pa.Table:
        # A dictionary: Arrow's lookup of a column by name is linear in the number of columns.
        stored = dict(zip(rows.column_names, rows.columns, strict=True))
        columns = [
            convert(stored[field.name], field.type) if field.name in stored else pa.nulls(rows.num_rows, field.type)
            for field in self.schema
        ]
        return pa.Table.from_arrays(columns, schema=self.schema)


@dataclass(frozen=True)
class Run:
    """Rows of a stream that are rendered at once: `start` to `stop` of the file, or of `order` if it is given."""

    view: View
    start: int
    stop: int
    order: tuple[int, ...] | None = None

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.stop - self.start

    @property
    def is_whole(self) -> bool:
        """True for a block that other sessions will have too: the cache keeps it."""
        size = self.view.block_rows
        full = self.rows == size or self.stop == self.view.part.rows or self.stop % self.view.period == 0
        return self.order is None and self.start % self.view.period % size == 0 and full

    def table(self) -> pa.Table:
        """Return the rows."""
        if self.order is None:
            return self.view.slice(self.start, self.stop)
        return self.view.pick(self.order[self.start : self.stop])


@dataclass
class Stream:
    """A read stream. `delivered` is the number of rows sent so far: the largest valid offset (redivis-api §8.1.3)."""

    id: str
    schema: pa.Schema
    runs: tuple[Run, ...]
    delivered: int = 0

    @property
    def rows(self) -> int:
        """Rows in the stream."""
        return sum(run.rows for run in self.runs)

    def resume(self, offset: int, beyond: int) -> list[Run]:
        """Return the runs from row `offset` on.

        Raises:
            ApiError: The offset is larger than the number of delivered rows: the answer has the status `beyond`, unless
                that is 200.
        """
        if offset > self.delivered and beyond != 200:  # noqa: PLR2004 - the status of a success
            msg = f"The offset {offset} is beyond the {self.delivered} rows that have been read from this stream."
            raise ApiError(beyond, "invalid_request", msg)
        return skip_rows(self.runs, offset)

    def shuffled(self, runs: Sequence[Run]) -> list[Run]:
        """Return runs with their rows in another order, as nothing should give them."""
        chance, shuffled = random.Random(), list(runs)  # noqa: S311 - no secret
        chance.shuffle(shuffled)
        for place, run in enumerate(shuffled):
            if run.order is not None:
                order = list(run.order[run.start : run.stop])
                chance.shuffle(order)
                shuffled[place] = replace(run, start=0, stop=len(order), order=tuple(order))
        return shuffled


@dataclass(frozen=True)
class Session:
    """An open read session; the rows of its streams never change.

    `reader` is the only user that may read it, None: any caller; `opened_at` in seconds on the emulator's clock.
    """

    id: str
    style: Style
    streams: tuple[Stream, ...]
    reader: str | None
    opened_at: float

    @property
    def num_rows(self) -> int:
        """Rows in all streams."""
        return sum(stream.rows for stream in self.streams)


@dataclass(frozen=True)
class Split:
    """How rows are distributed to streams.

    Args:
        requested: Requested number of streams: a maximum, except for drafts (redivis-api §8.1.11).
        forced: Number of streams for any number of rows; None: up to `requested`.
        min_rows: Minimum number of rows of a stream.
        max_rows: Rows in all streams; None: all.
        shuffled: Whether each session has another order.
    """

    requested: int = 1
    forced: int | None = None
    min_rows: int = 1000
    max_rows: int | None = None
    shuffled: bool = True


class Sessions:
    """All sessions that were opened.

    Args:
        clock: The emulator's clock.
        lifetime: Seconds until a session expires (redivis-api §8.1.9).
    """

    def __init__(self, clock: Clock, lifetime: float) -> None:
        self._clock = clock
        self._lifetime = lifetime
        self._by_stream: dict[str, Session] = {}

    def open(self, views: Sequence[View], style: Style, split: Split, reader: str | None) -> Session:
        """Open a session over files."""
        session_id = uuid.uuid4().hex
        chance = random.Random(session_id if split.shuffled else 0)  # noqa: S311 - no secret
        streams = tuple(
            Stream(f"{session_id}.{number}", view.schema, runs)
            for number, (view, runs) in enumerate(_deal(views, split, chance))
        )
        session = Session(session_id, style, streams, reader, self._clock.now())
        self._by_stream.update({stream.id: session for stream in streams})
        return session

    def find(self, stream_id: str, gone_status: int) -> tuple[Session, Stream]:
        """Return a read stream and its session.

        Raises:
            ApiError: Unknown stream, or its session has expired: the answer has this status.
        """
        session = self._by_stream.get(stream_id)
        if session is None or self._clock.now() - session.opened_at >= self._lifetime:
            raise gone("The read stream", gone_status)
        return session, next(stream for stream in session.streams if stream.id == stream_id)

    def expire(self, stream_id: str) -> None:
        """End the session of a stream now."""
        session = self._by_stream.get(stream_id)
        for stream in session.streams if session else ():
            del self._by_stream[stream.id]

    def expires_at(self, session: Session) -> float:
        """Return when a session expires, in seconds on the emulator's clock."""
        return session.opened_at + self._lifetime


def scattered(views: Sequence[View], max_rows: int | None) -> list[Run]:
    """Return all rows of files, or the first `max_rows`, in a new random order."""
    chance = random.Random()  # noqa: S311 - no secret
    wanted = zip(views, _rows_of_views(views, max_rows), strict=True)
    return [run for view, rows in wanted for run in take_rows(_ordered(view, chance), rows)]


def skip_rows(runs: Sequence[Run], count: int) -> list[Run]:
    """Return the runs without their first `count` rows."""
    rest: list[Run] = []
    for run in runs:
        if count < run.rows:
            rest.append(replace(run, start=run.start + count))
        count = max(0, count - run.rows)
    return rest


def take_rows(runs: Sequence[Run], count: int) -> list[Run]:
    """Return the first `count` rows of the runs."""
    taken: list[Run] = []
    for run in runs:
        if count > 0:
            taken.append(replace(run, stop=min(run.stop, run.start + count)))
        count -= run.rows
    return taken


def _deal(views: Sequence[View], split: Split, chance: random.Random) -> Iterator[tuple[View, tuple[Run, ...]]]:
    """Yield the streams; each has rows of one file, as files may have different columns (redivis-api §8.1.12)."""
    wanted = _rows_of_views(views, split.max_rows)
    total = sum(wanted)
    for view, rows in zip(views, wanted, strict=True):
        if split.forced is not None:
            count = max(1, split.forced // len(views)) if split.forced else 0
        else:
            share = max(1, round(split.requested * rows / max(1, total)))
            # An upload without rows has a stream; a table without rows has none (redivis-api §8.1.11).
            count = min(share, max(1, rows // split.min_rows)) if rows or len(views) > 1 else 0
        yield from ((view, runs) for runs in _runs(view, rows, count, chance))


def _rows_of_views(views: Sequence[View], max_rows: int | None) -> list[int]:
    """Return the number of rows to serve of each file: all, or up to `max_rows` in total from the first file on."""
    rows = [view.part.rows for view in views]
    if max_rows is None:
        return rows
    before = [0, *accumulate(rows)]
    return [max(0, min(count, max_rows - start)) for count, start in zip(rows, before, strict=False)]


def _runs(view: View, rows: int, count: int, chance: random.Random) -> list[tuple[Run, ...]]:
    """Return `count` streams that together have `rows` rows of a file."""
    runs = take_rows(_ordered(view, chance), rows)
    return [
        tuple(take_rows(skip_rows(runs, start), stop - start))
        for start, stop in (pairwise(_cuts(rows, count, chance)) if count else ())
    ]


def _ordered(view: View, chance: random.Random) -> list[Run]:
    """Return all rows of a file in random order: shuffled rows if the file is small, else shuffled blocks."""
    blocks = view.blocks()
    if len(blocks) > _SHUFFLED_BLOCKS:
        while blocks == sorted(blocks):
            chance.shuffle(blocks)
        return [Run(view, start, stop) for start, stop in blocks]
    order = list(range(view.part.rows))
    chance.shuffle(order)
    picked = tuple(order)
    return [Run(view, start, stop, picked) for start, stop in blocks]


def _cuts(length: int, count: int, chance: random.Random) -> list[int]:
    """Return the offsets that split `length` rows into `count` parts of about the same size."""
    inner = [round(length * (i + chance.uniform(-_JITTER, _JITTER)) / count) for i in range(1, count)]
    return [0, *inner, length]
