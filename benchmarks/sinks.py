"""Where a program writes to, and what is counted there: rows and bytes at the reader's end, not at the writer's."""

from __future__ import annotations

import gzip
import json
import os
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.support.batches import files_of
from tests.support.pipes import Process, Program

_RECORD = b'{"type":"RECORD"'
"""How each RECORD line begins; within a value its quotes would be escaped."""
_PIECE_BYTES = 64 * 1024  # as much as a pipe holds; larger pieces, which seldom get full, take three times as long


@dataclass(frozen=True)
class Arrived:
    """What a reader got.

    Attributes:
        rows: How many; None where nobody looked.
        size: Bytes of all that was written.
        first_at: When the first row came, or, where rows are not seen, the first byte: seconds on the monotonic clock.
            None: nothing came.
        last_at: When the last one came.
        said: What was written, where it is little and says something.
    """

    rows: int | None
    size: int
    first_at: float | None = None
    last_at: float | None = None
    said: bytes = b""


def _same(given: Any) -> Any:  # noqa: ANN401 - whatever it is
    return given


@dataclass(frozen=True)
class Sink:
    """Takes what a program writes.

    Attributes:
        drain: Reads a process's stdout to its end; this is within the time that is measured.
        count: Says what arrived; after the measuring.
        attach: Makes the program write where it shall.
    """

    drain: Callable[[Process], Arrived]
    count: Callable[[Arrived], Arrived] = _same
    attach: Callable[[Program], Program] = _same


def count_marks(pieces: Iterable[bytes], mark: bytes, clock: Callable[[], float] = time.monotonic) -> Arrived:
    """Count the places where a mark stands, those that a cut goes through included, and all bytes."""
    rows = size = 0
    first_at = last_at = None
    seam = b""
    reach = len(mark) - 1
    for piece in pieces:
        found = piece.count(mark) + (seam + piece[:reach]).count(mark)
        seam = (seam + piece[-reach:])[-reach:] if reach else b""
        size += len(piece)
        if found:
            rows += found
            last_at = clock()
            first_at = first_at or last_at
    return Arrived(rows, size, first_at, last_at)


def pieces_of(process: Process) -> Iterable[bytes]:
    """Read whatever is in the pipe, at once."""
    while piece := os.read(process.stdout.fileno(), _PIECE_BYTES):
        yield piece


def _counting(mark: bytes) -> Callable[[Process], Arrived]:
    return lambda process: count_marks(pieces_of(process), mark)


def _keep(process: Process) -> Arrived:
    """Read something short."""
    said = b""
    first_at = last_at = None
    for piece in pieces_of(process):
        said += piece
        last_at = time.monotonic()
        first_at = first_at or last_at
    return Arrived(None, len(said), first_at, last_at, said)


def _to_null(program: Program) -> Program:
    return replace(program, argv=("/bin/sh", "-c", 'exec "$0" "$@" > /dev/null', *program.argv))


def _number(arrived: Arrived) -> Arrived:
    return Arrived(None, int(arrived.said))


def _streams(arrived: Arrived) -> Arrived:
    """Count the streams of a catalog."""
    return replace(arrived, rows=len(json.loads(arrived.said)["streams"]))


def _files(arrived: Arrived) -> Arrived:
    """Count the rows of the files that BATCH messages name."""
    paths = files_of(map(json.loads, arrived.said.splitlines()))
    return replace(arrived, rows=sum(map(rows_in, paths)), size=sum(path.stat().st_size for path in paths))


def rows_in(path: Path) -> int:
    """Count the rows of an Arrow, Parquet or gzipped JSON Lines file."""
    if path.suffix == ".parquet":
        return int(pq.read_metadata(path).num_rows)
    if path.suffix == ".gz":
        with gzip.open(path) as file:
            return count_marks(iter(lambda: file.read(_PIECE_BYTES), b""), b"\n").rows or 0
    with pa.memory_map(str(path)) as file, pa.ipc.open_file(file) as reader:
        return sum(reader.get_batch(number).num_rows for number in range(reader.num_record_batches))


def _copies(arrived: Arrived) -> Arrived:
    """Count the files whose addresses were said, and their bytes."""
    uris = re.findall(r'file://([^"\s]+)', arrived.said.decode())
    sizes = [Path(uri).stat().st_size for uri in uris]
    return Arrived(len(sizes), sum(sizes))


RECORDS = Sink(_counting(_RECORD))
"""A pipe whose reader counts RECORD messages."""
LINES = Sink(_counting(b"\n"))
"""A pipe whose reader counts lines."""
NULL = Sink(_keep, attach=_to_null)
"""/dev/null."""
SAID = Sink(_keep, _number)
"""Nothing but a number of bytes, which the program says itself: curl does."""
CATALOG = Sink(_keep, _streams)
"""A pipe whose reader counts the streams of a catalog."""
FILES = Sink(_keep, _files)
"""Files that BATCH messages name."""
COPIES = Sink(_keep, _copies)
"""Files that are named by their ``file://`` addresses, in records or by curl."""
