"""Rows as every wire decoder gives them: JSON lines in msgspec's encoding, or record batches.

JSON lines have shortest floats, integers without a fraction, dates and times in ISO 8601 without a zone, keys in the
order of the columns, and nulls written out.
"""

import ctypes
import hashlib
import sys
import threading
from collections import Counter
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from tap_redivis.client.retry import TransientError
from tap_redivis.errors import RowTooLarge

if TYPE_CHECKING:  # runs that read JSON Lines need not import Arrow
    import pyarrow as pa

# A larger row is refused, and only one row above the second limit is in memory at a time: memory stays flat (design.md
# §7), whatever the table holds.
MAX_ROW_BYTES = 16 * 1024 * 1024
LARGE_ROW_BYTES = 1024 * 1024
_TRIMMED_ROW_BYTES = 256 * 1024  # on average: what decoding them frees is given back, else each thread keeps some

Uris = tuple[str | None, ...]
Parts = tuple[bytes | memoryview, ...]  # bytes that follow one another: a join would copy large rows


@dataclass(frozen=True)
class JsonRows:
    """Some rows of a read stream, in its order.

    Attributes:
        lines: JSON objects, each followed by one line end.
        uris: Where the file of each row is, where contents of files are copied; else empty.
    """

    count: int
    lines: bytes
    uris: Uris = ()

    @property
    def size(self) -> int:
        """Bytes of the lines."""
        return len(self.lines)

    @cached_property
    def last_digest(self) -> str:
        """Digest of the last row."""
        begin = self.lines.rfind(b"\n", 0, -1) + 1
        return hashlib.blake2b(memoryview(self.lines)[begin:], digest_size=8).hexdigest()

    def first(self, count: int) -> "JsonRows":
        """Take the first ``count`` rows."""
        if self.count <= count:
            return self
        return JsonRows(count, b"".join(self.lines.splitlines(keepends=True)[:count]), self.uris[:count])

    def without_first(self, count: int) -> "JsonRows":
        """Leave out the first ``count`` rows."""
        lines = self.lines.splitlines(keepends=True)[count:]
        return JsonRows(len(lines), b"".join(lines), self.uris[count:])


@dataclass(frozen=True)
class ArrowRows:
    """Some rows of a read stream, in its order, as a record batch with the schema of ``arrays.arrow_schema``."""

    batch: "pa.RecordBatch"
    uris: Uris = ()  # as in ``JsonRows``

    @property
    def count(self) -> int:
        """Number of rows."""
        return int(self.batch.num_rows)

    @property
    def size(self) -> int:
        """Bytes of the values."""
        return int(self.batch.nbytes)

    @cached_property
    def last_digest(self) -> str:
        """Digest of the last row."""
        digest = hashlib.blake2b(digest_size=8)
        for value in (column[-1] for column in self.batch.columns):
            if str(value.type) == "string" and value.is_valid:  # it may be large: no copy
                text = value.as_buffer()
                digest.update(b"%d:" % len(text))
                digest.update(text)
            else:
                digest.update(repr(value.as_py()).encode())
        return digest.hexdigest()

    def first(self, count: int) -> "ArrowRows":
        """Take the first ``count`` rows."""
        return self if self.count <= count else ArrowRows(self.batch.slice(0, count), self.uris[:count])

    def without_first(self, count: int) -> "ArrowRows":
        """Leave out the first ``count`` rows."""
        return ArrowRows(self.batch.slice(count), self.uris[count:])


Rows = JsonRows | ArrowRows


EMPTY_IN_QUOTES = "empty fields in quotes"
EMPTY_WITHOUT_QUOTES = (
    "empty fields without quotes in CSV are null here; if `make live` says csv_empty: bare, read another wire_format"
)


@dataclass
class ValueIssues:
    """Counts what was changed or left out, for one warning a table; used by all reader threads."""

    counts: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, kind: str, count: int = 1) -> None:
        """Count something by its words, such as ``NaN or infinite values written as null``."""
        with self._lock:
            self.counts[kind] += count

    def warnings(self) -> dict[str, int]:
        """Give what is to be told of: where an empty text had quotes, those without are nulls."""
        proof = {EMPTY_IN_QUOTES, EMPTY_WITHOUT_QUOTES} if EMPTY_IN_QUOTES in self.counts else set()
        return {kind: count for kind, count in self.counts.items() if kind not in proof}


class DamagedRow(TransientError):
    """A row that cannot be read; it is worth reading once more from the offset reached."""


class LargeRowLock(AbstractContextManager["LargeRowLock"]):
    """Lets one read stream of a table hold a large row while the others wait.

    Before ``give`` the caller must delete its names for the row: a generator that waits keeps them alive.
    """

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        self._held = False
        self._freed = False

    def __exit__(self, *_: object) -> None:
        """Let the other read streams have their turn."""
        self.give()

    def take(self, size: int) -> None:
        """Wait for the turn, if a row of ``size`` bytes needs it."""
        if size > LARGE_ROW_BYTES and not self._held:
            self._lock.acquire()
            self._held = True

    def trim(self, count: int, size: int) -> None:
        """Return what was freed while rows of ``size`` bytes were decoded, if they are large."""
        # It takes milliseconds, too many for each batch of small rows.
        if size > count * _TRIMMED_ROW_BYTES:
            self._freed = True
            _release_freed_memory()

    def give(self) -> None:
        """Let the other read streams have their turn."""
        if self._freed:
            self._freed = False
            _release_freed_memory()
        if self._held:
            self._held = False
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
