"""Arrow IPC stream → rows: schema, record batches, a zero-row batch as proof of the end."""

import math
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress

import pyarrow as pa

from tap_redivis.client.retry import BrokenAnswer, TransientError
from tap_redivis.wire.arrays import PART_BYTES, place_columns, rows_of, text_or_bytes
from tap_redivis.wire.codec import RowCodec
from tap_redivis.wire.rows import DamagedRow, LargeRowLock, Rows

MAX_BATCH_BYTES = 64 * 1024 * 1024  # of one message: a larger one would break the promise of flat memory (design.md §7)
_GATHERING_SECONDS = 0.1  # a batch that takes longer to come is given at once, so that no row waits for a slow server

_BYTES = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary, pa.types.is_binary_view)


class ArrowDecoder:
    """Decodes the Arrow bodies of one read stream."""

    def __init__(self, codec: RowCodec) -> None:
        self._codec = codec
        self.has_sentinel = False

    def rows(self, pieces: Iterable[bytes], offset: int) -> Iterator[Rows]:
        """Decode one body, which begins with a schema of its own (see ``Decoder``)."""
        self.has_sentinel = False
        places: list[int | None] | None = None
        with LargeRowLock(self._codec.large_rows) as turn:
            for batch in _gathered(_batches(_Source(pieces, turn), self._codec)):
                self.has_sentinel = batch.num_rows == 0  # the sentinel, if nothing follows
                places = places or _places(batch, self._codec)  # all batches of a body have its one schema
                arrays = [None if place is None else batch.column(place) for place in places]
                for rows in rows_of(arrays, batch.num_rows, self._codec, offset):
                    offset += rows.count
                    turn.trim(rows.count, rows.size)
                    yield rows
                    del rows
                del batch, arrays
                turn.give()


def _places(batch: pa.RecordBatch, codec: RowCodec) -> list[int | None]:
    try:
        names = batch.schema.names
    except UnicodeDecodeError as error:
        raise DamagedRow("the names in an Arrow schema are no UTF-8") from error
    return place_columns(names, codec)


class _Source:
    """A body as the file that Arrow reads."""

    def __init__(self, pieces: Iterable[bytes], turn: LargeRowLock) -> None:
        self.ended = False
        self.closed = False  # Arrow asks for it
        self._pieces = iter(pieces)
        self._turn = turn
        self._piece = memoryview(b"")

    def read(self, size: int) -> bytes | memoryview:
        """Read as many bytes as are asked for, fewer at the end."""
        if size > MAX_BATCH_BYTES:
            raise DamagedRow(f"an Arrow message says that it has {size:,} bytes; the limit is {MAX_BATCH_BYTES:,}")
        self._turn.take(size)
        if size <= len(self._piece):  # a copy too: what Arrow computes with must not begin just anywhere in memory
            part, self._piece = self._piece[:size], self._piece[size:]
            return bytes(part)
        wanted = memoryview(pa.allocate_buffer(size)).cast("B")
        filled = 0
        while filled < size and self._fetch():
            part = self._piece[: size - filled]
            wanted[filled : filled + len(part)] = part
            self._piece = self._piece[len(part) :]
            filled += len(part)
        return wanted[:filled]

    def close(self) -> None:
        """Do what Arrow expects of a file."""
        self.closed = True

    def _fetch(self) -> bool:
        while not self._piece and not self.ended:
            piece = next(self._pieces, None)
            self.ended = piece is None
            self._piece = memoryview(piece or b"")
        return bool(self._piece)


def _batches(source: _Source, codec: RowCodec) -> Iterator[pa.RecordBatch]:
    try:
        with pa.ipc.open_stream(pa.PythonFile(source, mode="r")) as reader:
            for batch in reader:
                yield _with_text(_validated(batch), reader.schema, codec)
                del batch
    except (pa.ArrowException, OSError, EOFError) as error:  # ArrowMemoryError too: a length may be damaged
        if source.ended:
            raise BrokenAnswer("the body ended in the middle of an Arrow message") from error
        raise DamagedRow("an Arrow message is damaged") from error


def _gathered(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    # One call of Arrow for a column costs as much as some hundred values: small batches are put together. But no batch
    # waits for one that is long in coming, and what is there is given before an error.
    waiting: list[pa.RecordBatch] = []
    waiting_bytes, asked = 0, -math.inf
    limit: int | None = None
    try:
        for batch in batches:
            is_late = time.monotonic() - asked > _GATHERING_SECONDS
            if limit is None:  # of two dictionaries Arrow cannot always make one
                limit = 0 if any(map(pa.types.is_dictionary, batch.schema.types)) else PART_BYTES
            size = batch.get_total_buffer_size()  # of all that it keeps in memory, and much faster than nbytes
            # A batch without rows is the sentinel, and one with text that is no UTF-8 has another schema.
            if waiting and (
                waiting_bytes + size > limit or not batch.num_rows or not batch.schema.equals(waiting[0].schema)
            ):
                yield from _together(waiting)
            waiting_bytes = size + (waiting_bytes if waiting else 0)
            waiting.append(batch)
            del batch
            if is_late or waiting_bytes >= limit:
                yield from _together(waiting)
            asked = time.monotonic()
    except TransientError:
        yield from _together(waiting)
        raise
    yield from _together(waiting)


def _together(waiting: list[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    if len(waiting) > 1:
        waiting[:] = pa.Table.from_batches(waiting).combine_chunks().to_batches()
    while waiting:
        yield waiting.pop(0)


def _validated(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Check all that would make Arrow read outside of its buffers; text that is no UTF-8 (lone surrogates) → bytes."""
    with suppress(pa.ArrowInvalid):  # mostly all is well, also text, and one call finds that
        batch.validate(full=True)
        return batch
    batch.validate()
    columns = [text_or_bytes(column) for column in batch.columns]
    fields = [field.with_type(column.type) for field, column in zip(batch.schema, columns, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))


def _with_text(batch: pa.RecordBatch, schema: pa.Schema, codec: RowCodec) -> pa.RecordBatch:
    """Make text of what the server says is bytes: as UTF-8, else in base64; text that is damaged stays bytes."""
    for place, field in enumerate(schema):
        if any(is_bytes(field.type) for is_bytes in _BYTES):
            texts = [codec.text_of(value, field.name) for value in batch.column(place).to_pylist()]
            batch = batch.set_column(place, field.name, pa.array(texts, pa.string()))
    return batch
