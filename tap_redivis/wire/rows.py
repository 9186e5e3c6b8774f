"""Rows as every wire decoder gives them: JSON lines in one spelling, checked against the columns.

The spelling is msgspec's: shortest floats, integers without a fraction, dates and times in ISO 8601 without a zone,
keys in the order of the columns, nulls written out. A decoder that finds a value of another type casts that row by
``values``.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Protocol, TypeVar

import msgspec

from tap_redivis.client.retry import PassingFailure
from tap_redivis.errors import InvalidValue, RowTooLarge, SchemaChanged, one_line
from tap_redivis.model.columns import _SURROGATES, INT64_MAX, INT64_MIN, Column, KeyValue, ValueRules
from tap_redivis.wire.casts import Number, Value, cast, is_finite, recast

if TYPE_CHECKING:
    from typing_extensions import Self

MAX_ROW_BYTES = 16 * 1024 * 1024
"""Bytes of the largest row that is read: larger ones would break the promise of flat memory."""

LARGE_ROW_BYTES = 1024 * 1024
"""Bytes from which on a row is large, so that only one may be held at a time."""

Parts = tuple[bytes | memoryview, ...]
"""Bytes that follow one another, without the copy that would put them together."""

T = TypeVar("T")

_FIELD_TYPES: dict[str, Any] = {
    "string": str,
    "geography": str,
    "integer": Annotated[int, msgspec.Meta(ge=INT64_MIN, le=INT64_MAX)],
    "float": float,
    "boolean": bool,
    "date": dt.date,
    "dateTime": Annotated[dt.datetime, msgspec.Meta(tz=False)],
    "time": Annotated[dt.time, msgspec.Meta(tz=False)],
}
_NEEDS_ESCAPING = re.compile(r'["\\\x00-\x1f]')
_TOO_FINE = re.compile(rb":\d\d\.\d{6}0*[1-9]")


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


class RowBlock(Counted, Protocol):
    """Some rows of a read stream, in its order, whatever they are held as."""

    def without_first(self, count: int) -> Self:
        """Leave out the first ``count`` rows."""
        ...


@dataclass(frozen=True)
class Rows:
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

    def first(self, count: int) -> Rows:
        """Take the first ``count`` rows."""
        if self.count <= count:
            return self
        return Rows(count, b"".join(self.lines.splitlines(keepends=True)[:count]))

    def without_first(self, count: int) -> Rows:
        """Leave out the first ``count`` rows."""
        return Rows(self.count - count, b"".join(self.lines.splitlines(keepends=True)[count:]))


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
class Notices:
    """Counts what was changed or left out, so that it can be warned of once a table; used by all reader threads."""

    counts: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, kind: str, count: int = 1) -> None:
        """Count something by its words, such as ``NaN or infinite values written as null``."""
        with self._lock:
            self.counts[kind] += count


class DamagedRow(PassingFailure):
    """A row that is not a row: worth reading once more from there (the place is the offset reached)."""


class Decoder(Protocol):
    """Decodes the bodies of one read stream, one after another, in one wire format.

    Attributes:
        marked: Whether the last body had a mark that proves its end. JSON Lines and CSV have none: only the count does.
    """

    marked: bool

    def rows(self, pieces: Iterable[bytes], offset: int) -> Iterator[RowBlock]:
        """Decode one body.

        Args:
            pieces: The body, cut anywhere.
            offset: Offset of its first row in the read stream.

        Yields:
            Some rows, as soon as they are complete.

        Raises:
            PassingFailure: The body ends in the middle of a row.
            DamagedRow: A row, or what holds it, cannot be read.
            InvalidValue: A value cannot be read as its variable's type; the rows before it have been given.
            RowTooLarge: A row is larger than ``MAX_ROW_BYTES``.
        """
        ...


class RowCodec:
    """Checks, casts and spells the rows of one table.

    Args:
        table: The table's reference, for errors.
        columns: The columns, in the order that RECORDs have them.
        rules: What to do with values that targets cannot take.
        notices: Where changes are counted.
    """

    def __init__(self, table: str, columns: Sequence[Column], rules: ValueRules, notices: Notices) -> None:
        self.columns = tuple(columns)
        self.table = table
        self.rules = rules
        self._bad_characters = rules.bad_characters
        self._notices = notices
        self.keys = [msgspec.json.encode(column.name).decode() + ":" for column in columns]
        self.zone = "+00:00" if rules.append_utc else ""
        self._encoder = msgspec.json.Encoder()
        self.row_type = _row_type(columns)
        self._decoder = None if self.row_type is None else msgspec.json.Decoder(self.row_type)
        self._has_times = any(column.type in {"dateTime", "time"} for column in columns)
        self.large_rows: Lock = threading.Lock()
        self._zone_pattern = _zone_pattern(columns) if rules.append_utc else None
        self.all_must_come = False

    def fitted(self, columns: Sequence[Column], *, all_must_come: bool) -> RowCodec:
        """Make the codec for columns that are known to arrive otherwise, or not at all.

        Args:
            columns: The same columns, with what is known of them.
            all_must_come: Whether it is an error if a body lacks one of the others.
        """
        codec = RowCodec(self.table, columns, self.rules, self._notices)
        codec.all_must_come = all_must_come
        return codec

    def note_missing(self, names: Iterable[str]) -> None:
        """Count columns that a body does not have.

        Raises:
            SchemaChanged: It must have them: the table is a released one, so all of its bodies have the same.
        """
        for name in names:
            if self.all_must_come:
                raise SchemaChanged(
                    f"a read stream lacks the column {name!r}, which the table has",
                    where=self.table,
                    todo="Run again; if it stays, deselect the variable, and tell Redivis",
                )
            self._notices.add(f"bodies without the column {name!r}, which is null there")

    def with_column(self, column: Column) -> RowCodec:
        """Make the same codec for rows that end with one more column."""
        return self.fitted((*self.columns, column), all_must_come=self.all_must_come)

    def share_turns(self) -> None:
        """Let processes that will be forked take turns in holding a large row, as threads do."""
        from multiprocessing import get_context  # noqa: PLC0415 - only for large tables

        self.large_rows = get_context("fork").Lock()

    def spell_lines(self, lines: bytes) -> Rows | None:
        """Check and spell JSON lines whose keys are the columns' names; None where some row needs casting.

        Casting it must be where the decoder would hide something: U+0000, or parts of microseconds, which it rounds,
        up to the next day.
        """
        if self._decoder is None or has_escaped_nul(lines):
            return None
        try:
            structs = self._decoder.decode_lines(lines)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        spelled = self._encoder.encode_lines(structs)
        if self._has_times and not _differ_in_spaces_only(lines, spelled) and _TOO_FINE.search(lines):
            return None
        if self._zone_pattern:
            spelled = self._zone_pattern.sub(rb'\1+00:00"', spelled)
        return Rows(len(structs), spelled)

    def spell_values(self, values: Sequence[Value]) -> bytes:
        """Write one cast row as a JSON line."""
        cells = zip(self.keys, values, self.columns, strict=True)
        return b"{" + b",".join(key.encode() + self._spell(value, column) for key, value, column in cells) + b"}\n"

    def note_unknown(self, names: Iterable[str]) -> None:
        """Count columns that arrive though the variable list does not have them."""
        for name in names:
            self._notices.add(f"streams with the unknown column {name!r}, which is left out")

    def spell_column(self, values: Sequence[Any], column: Column, offset: int) -> list[bytes]:
        """Cast and spell the values of one column, one by one.

        Args:
            values: JSON values.
            column: The column.
            offset: Offset of the first value's row in its stream, for errors.

        Raises:
            InvalidValue: A value cannot be read as its type, and the rules say to fail.
        """
        return [self._spell(value, column) for value in self.cast_column(values, column, offset)]

    def cast_column(self, values: Sequence[Any], column: Column, offset: int) -> list[Value]:
        """Cast the values of one column, one by one (see ``spell_column``)."""
        return [self._cast(value, column, offset + index) for index, value in enumerate(values)]

    def note_not_finite(self, column: Column, count: int) -> None:
        """Count floats that are NaN or infinite."""
        self._notices.add(f"NaN or infinite values of {column.name!r} written as null", count)

    def cast_row(self, row: dict[str, Any], names: Sequence[str], offset: int) -> list[Value]:
        """Cast one row.

        Args:
            row: Decoded JSON object.
            names: The key of each column in it.
            offset: The row's offset in its stream, for errors.

        Raises:
            InvalidValue: A value cannot be read as its type, and the rules say to fail.
        """
        return [self._cast(row.get(name), column, offset) for name, column in zip(names, self.columns, strict=True)]

    def _cast(self, raw: Any, column: Column, offset: int) -> Value:  # noqa: ANN401 - any JSON value
        try:
            value = self._cast_exactly(raw, column) if column.arrives_as else cast(raw, column.type)
        except ValueError as error:
            if not self.rules.invalid_as_null:
                raise self._invalid(raw, column, offset, error) from None
            self._notices.add(f"invalid values of {column.name!r} written as null")
            return None
        if not self.rules.for_arrow and not is_finite(value):
            self.note_not_finite(column, 1)
            return None
        return self._clean(value, column)

    def _cast_exactly(self, raw: Any, column: Column) -> Value:  # noqa: ANN401 - any JSON value
        """Cast a value of a retyped variable, by way of the type that it has, so that all formats give the same."""
        value = cast(raw, column.wire_type)
        return recast(value, column.type) if value is not None and is_finite(value) else value

    def _clean(self, value: T, column: Column) -> T | str:
        """Replace the characters that abort SQL targets, if the rules say so."""
        if not isinstance(value, str) or not self._bad_characters or not self._bad_characters.search(value):
            return value
        cleaned, count = self._bad_characters.subn("\ufffd", value)
        self._notices.add(f"invalid characters of {column.name!r} replaced by U+FFFD", count)
        return cleaned

    def _invalid(self, raw: Any, column: Column, offset: int, error: ValueError) -> InvalidValue:  # noqa: ANN401
        shown = one_line(raw.text if isinstance(raw, Number) else json.dumps(raw, default=str), 80)
        return InvalidValue(
            f"variable {column.name!r}, row {offset} of its read stream: {shown} is no {column.type} ({error})",
            offset=offset,
            where=self.table,
            todo="Correct it at the source, or set on_invalid_value to null",
        )

    def _spell(self, value: Value, column: Column) -> bytes:
        if isinstance(value, str) and _SURROGATES.search(value):
            return json.dumps(value).encode()  # msgspec cannot write lone surrogates, not even escaped
        if isinstance(value, str) and column.type == "dateTime":
            value += self.zone
        return self._encoder.encode(value)


class Lock(Protocol):
    """What threads, or processes, take turns by."""

    def acquire(self) -> bool:
        """Wait for the turn."""
        ...

    def release(self) -> None:
        """Let others have their turn."""
        ...


class Turn:
    """One read stream's turn to hold a large row: all streams together may hold only one.

    Who gives it back must have deleted its names for the row: a generator that waits keeps them alive.

    Args:
        lock: The table's lock for large rows.
    """

    def __init__(self, lock: Lock) -> None:
        self._lock = lock
        self._held = False

    def take(self, size: int) -> None:
        """Wait for the turn, if a row of ``size`` bytes needs it."""
        if size > LARGE_ROW_BYTES and not self._held:
            self._lock.acquire()
            self._held = True

    def give(self) -> None:
        """Let others have their turn."""
        if self._held:
            self._held = False
            self._lock.release()


def has_escaped_nul(lines: bytes) -> bool:
    """Whether U+0000 is in JSON lines, or looks so."""
    # One backslash is found sixteen times faster than a longer pattern, and most pieces have none.
    return b"\\" in lines and b"\\u0000" in lines


def _differ_in_spaces_only(lines: bytes, spelled: bytes) -> bool:
    """Whether spelling changed nothing but the space between date and time; much faster than a search.

    Of the two it is the T that is rare in text.
    """
    return len(lines) == len(spelled) and lines.replace(b"T", b" ") == spelled.replace(b"T", b" ")


def too_large(table: str, offset: int) -> RowTooLarge:
    """Make the error for a row that is larger than ``MAX_ROW_BYTES``."""
    return RowTooLarge(
        f"row {offset} of a read stream is larger than {MAX_ROW_BYTES:,} bytes",
        where=table,
        todo="Deselect the variable that makes it so large",
    )


def _row_type(columns: Sequence[Column]) -> type[msgspec.Struct] | None:
    """Build the Struct that checks types; None where a name cannot be a Struct's key, or a type must be cast."""
    if any(column.arrives_as or _NEEDS_ESCAPING.search(column.name) for column in columns):
        return None
    fields = [f"c{index}" for index in range(len(columns))]
    names = {name: column.name for name, column in zip(fields, columns, strict=True)}
    types = [(name, _FIELD_TYPES[column.type] | None, None) for name, column in zip(fields, columns, strict=True)]
    return msgspec.defstruct("Row", types, rename=names, gc=False)


def _zone_pattern(columns: Sequence[Column]) -> re.Pattern[bytes] | None:
    """Match the dateTimes of spelled rows: ``"name":"`` can only be a key, since quotes inside strings are escaped."""
    names = [re.escape(msgspec.json.encode(column.name)) for column in columns if column.type == "dateTime"]
    if not names:
        return None
    return re.compile(rb"((?<=[{,])(?:" + b"|".join(names) + rb'):"\d{4}-\d\d-\d\dT[0-9:.]+)"')
