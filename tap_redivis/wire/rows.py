"""Rows as every wire decoder gives them: JSON lines in one spelling, checked against the columns.

The spelling is msgspec's: shortest floats, integers without a fraction, dates and times in ISO 8601 without a zone,
keys in the order of the columns, nulls written out. A decoder that finds a value of another type casts that row by
``values``.
"""

from __future__ import annotations

import ctypes
import hashlib
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from tap_redivis.client.retry import TransientError
from tap_redivis.errors import RowTooLarge
from tap_redivis.model.columns import KeyValue

if TYPE_CHECKING:
    from typing_extensions import Self

MAX_ROW_BYTES = 16 * 1024 * 1024
"""Bytes of the largest row that is read: larger ones would break the promise of flat memory."""

LARGE_ROW_BYTES = 1024 * 1024
"""Bytes from which on a row is large, so that only one may be held at a time."""

Parts = tuple[bytes | memoryview, ...]
"""Bytes that follow one another, without the copy that would put them together."""


class Counted(Protocol):
    """Some rows of a read stream, in its order, wherever they are."""

    @property
    def count(self) -> int:
        """Number of rows."""
        ...

    @property
    def size(self) -> int:
        """Bytes that they take, about."""
        ...

    @property
    def last_digest(self) -> str:
        """Digest of the last row."""
        ...

    def first(self, count: int) -> Self:
        """Take the first ``count`` rows."""
        ...


class Rows(Counted, Protocol):
    """Some rows of a read stream, in its order, whatever they are held as."""

    def without_first(self, count: int) -> Self:
        """Leave out the first ``count`` rows."""
        ...


@dataclass(frozen=True)
class JsonRows:
    """Some rows of a read stream, in its order, as JSON lines.

    Attributes:
        count: Number of rows.
        lines: JSON objects, each followed by one line end.
        highest: The highest replication key in them; None if there is none, or if they are a part of what was read.
    """

    count: int
    lines: bytes
    highest: KeyValue | None = None

    @property
    def size(self) -> int:
        """Bytes of the lines."""
        return len(self.lines)

    @cached_property
    def last_digest(self) -> str:
        """Digest of the last row."""
        begin = self.lines.rfind(b"\n", 0, -1) + 1
        return hashlib.blake2b(memoryview(self.lines)[begin:], digest_size=8).hexdigest()

    def first(self, count: int) -> JsonRows:
        """Take the first ``count`` rows."""
        if self.count <= count:
            return self
        return JsonRows(count, b"".join(self.lines.splitlines(keepends=True)[:count]))

    def without_first(self, count: int) -> JsonRows:
        """Leave out the first ``count`` rows."""
        return JsonRows(self.count - count, b"".join(self.lines.splitlines(keepends=True)[count:]))


@dataclass(frozen=True)
class Lines:
    """Some rows of a read stream, in its order, as they are to be written.

    Attributes:
        count: Number of rows.
        parts: What is to be written, one after another.
        last_digest: Digest of the last row.
        highest: The highest replication key in them; None if there is none, or nobody asks.
    """

    count: int
    parts: Parts
    last_digest: str
    highest: KeyValue | None = None

    @property
    def size(self) -> int:
        """Bytes to be written."""
        return sum(map(len, self.parts))

    def first(self, count: int) -> Lines:
        """Take all rows: where there is a limit of rows, it is kept before lines are made."""
        assert count >= self.count  # noqa: S101 - see ``SessionReader``
        return self

    def release(self) -> None:
        """Note that they have been written."""


@dataclass
class ValueIssues:
    """Counts what was changed or left out, so that it can be warned of once a table; used by all reader threads."""

    counts: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, kind: str, count: int = 1) -> None:
        """Count something by its words, such as ``NaN or infinite values written as null``."""
        with self._lock:
            self.counts[kind] += count


class DamagedRow(TransientError):
    """A row that is not a row: worth reading once more from there (the place is the offset reached)."""


class Decoder(Protocol):
    """Decodes the bodies of one read stream, one after another, in one wire format.

    Attributes:
        has_sentinel: Whether the last body had a sentinel, which proves its end. JSON Lines and CSV have none.
    """

    has_sentinel: bool

    def rows(self, pieces: Iterable[bytes], offset: int) -> Iterator[Rows]:
        """Decode one body.

        Args:
            pieces: The body, cut anywhere.
            offset: Offset of its first row in the read stream.

        Yields:
            Some rows, as soon as they are complete.

        Raises:
            TransientError: The body ends in the middle of a row.
            DamagedRow: A row, or what holds it, cannot be read.
            InvalidValue: A value cannot be read as its variable's type; the rows before it have been given.
            RowTooLarge: A row is larger than ``MAX_ROW_BYTES``.
        """
        ...


class LargeRowLock:
    """Lets one read stream of a table hold a large row, and the others wait: a context that ends with the reading.

    Whoever ends the turn must have deleted its names for the row: a generator that waits keeps them alive.

    Args:
        lock: The table's lock for large rows.
    """

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        self._held = False

    def __enter__(self) -> Self:
        """Hold nothing yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let the other read streams have their turn."""
        self.give()

    def take(self, size: int) -> None:
        """Wait for the turn, if a row of ``size`` bytes needs it."""
        if size > LARGE_ROW_BYTES and not self._held:
            self._lock.acquire()
            self._held = True

    def give(self) -> None:
        """Let the other read streams have their turn."""
        if self._held:
            self._held = False
            _release_freed_memory()
            self._lock.release()


def _release_freed_memory() -> None:
    """Return freed memory to the system: glibc keeps that of large rows for reuse, for each thread apart."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None  # musl has none
    if trim is not None:
        trim(0)


def too_large(table: str, offset: int) -> RowTooLarge:
    """Make the error for a row that is larger than ``MAX_ROW_BYTES``."""
    return RowTooLarge(
        f"row {offset} of a read stream is larger than {MAX_ROW_BYTES:,} bytes",
        where=table,
        hint="Deselect the variable that makes it so large",
    )
