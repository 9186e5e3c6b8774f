"""A job: one read stream, from an offset on → rows, or files. The same job runs in a thread or on a cluster."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Protocol

from requests import Response

from tap_redivis.client.http import Api
from tap_redivis.model.columns import Column, KeyValue, ValueRules
from tap_redivis.model.reads import ReadRequest, StreamPosition
from tap_redivis.reading.read_stream import ReadProgress, StreamReader
from tap_redivis.wire import decoder_for
from tap_redivis.wire.codec import RowCodec
from tap_redivis.wire.json_lines import HighestKey
from tap_redivis.wire.rows import Rows, ValueIssues

TAP_VERSION = version("tap-redivis")


class Unwanted(Exception):
    """Nobody takes rows any more: the table failed, or has as many rows as it may have."""


@dataclass(frozen=True)
class Chunk:
    """Some rows of one read stream, in its order."""

    stream: str  # id
    count: int  # rows
    last_digest: str  # of the last row
    content: Any  # the rows, or the unpublished file that holds them; its ``size`` is in bytes
    highest: KeyValue | None = None  # replication key in them; None without a replication key, or if all are null


@dataclass(frozen=True)
class StreamEnd:
    """A read stream ended properly; without a sentinel, only the count of rows can prove it."""

    stream: str
    has_sentinel: bool


class Output(Protocol):
    """Turns rows into files where they are read; it can be pickled. The room ``batch``, above this one, has it."""

    def writing(self) -> AbstractContextManager[None]:
        """Make room, and clean up at the end."""
        ...

    def chunks(self, stream: str, offset: int, blocks: Iterator[Rows]) -> Iterator[Chunk]:
        """Turn the rows of a read stream, from an offset on, into chunks."""
        ...

    def discard(self, chunk: Chunk) -> None:
        """Remove the file of a chunk that no message will name."""
        ...


class Contents(Protocol):
    """Copies the files that rows name where the rows are read; like ``Output``."""

    def writing(self) -> AbstractContextManager[None]:
        """Make room, and clean up at the end."""
        ...

    def copied(self, blocks: Iterator[Rows], api: Api, progress: ReadProgress, stop: threading.Event) -> Iterator[Rows]:
        """Give the rows, each with the URI of its file, once the file is there."""
        ...


@dataclass(frozen=True)
class Server:
    """What a worker elsewhere needs to know to reach the server; the token is not part of it."""

    endpoint: str
    is_anonymous: bool
    timeout: float  # seconds of silence before a request counts as broken
    max_retry_seconds: float  # for each request
    tap_version: str = TAP_VERSION  # which the worker must have too


@dataclass(frozen=True)
class JobSpec:
    """What all jobs of a load have in common; it holds no secret and can be pickled."""

    server: Server
    request: ReadRequest
    columns: tuple[Column, ...]  # in the order that rows have them
    rules: ValueRules
    all_must_come: bool = False  # whether a body that lacks a column is an error
    key: Column | None = None  # the replication key's
    output: Output | None = None  # what the rows become; None: they stay rows
    contents: Contents | None = None  # copies the files that the rows name; None: those are not wanted

    def codec(self, issues: ValueIssues) -> RowCodec:
        """Make what checks and encodes the rows."""
        codec = RowCodec(self.request.table, self.columns, self.rules, issues, all_must_come=self.all_must_come)
        if not self.request.fits_address:  # all variables come
            codec.left_out = frozenset(self.request.variables or ())
        return codec


@dataclass(frozen=True)
class ReadJob:
    """One read stream, from a position on."""

    spec: JobSpec
    stream: str
    position: StreamPosition


@dataclass
class RowBudget:
    """How many rows all read streams of a table together may still give."""

    left: int | None  # None: no limit
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    @property
    def is_used_up(self) -> bool:
        """Whether no row may be read any more."""
        return self.left is not None and self.left <= 0

    def take(self, rows: Rows) -> Rows:
        """Take as many rows of a block as may still be read."""
        if self.left is None:
            return rows
        with self._lock:
            rows = rows.first(self.left)
            self.left -= rows.count
        return rows


@dataclass
class Worker(ABC):
    """Runs jobs: in this process, or elsewhere."""

    budget: RowBudget  # how many rows may still be read
    progress: ReadProgress  # where bytes and resumes are counted
    stop: threading.Event = field(default_factory=threading.Event, init=False)  # set when nobody takes chunks any more

    @abstractmethod
    def run(self, job: ReadJob) -> Iterator[Chunk | StreamEnd]:
        """Run a job; called by several threads at once.

        Raises:
            SessionGone: The read stream is not there any more, or does not continue where it stopped.
            Unwanted: Nobody takes rows any more.
            RedivisError: It failed; the chunks before that have been given.
        """


@dataclass
class LocalWorker(Worker):
    """Runs jobs in the thread that asks for their chunks."""

    api: Api
    codec: RowCodec  # shared, so that all read streams of the table together hold one large row
    bodies: dict[str, Response] = field(default_factory=dict)  # answers that were opened ahead, by read stream

    def run(self, job: ReadJob) -> Iterator[Chunk | StreamEnd]:
        """Run a job."""
        request = job.spec.request
        names = request.variables or [column.name for column in self.codec.columns]
        decoder = decoder_for(request.wire_format, self.codec, names)
        body = self.bodies.pop(job.stream, None)
        reader = StreamReader(self.api, request, job.stream, decoder, self.stop, self.progress, body)
        rows = self._wanted(reader.rows(job.position))
        if job.spec.contents is not None:
            rows = job.spec.contents.copied(rows, self.api, self.progress, self.stop)
        if job.spec.output is not None:
            yield from job.spec.output.chunks(job.stream, job.position.offset, rows)
        else:
            yield from _row_chunks(job, rows)
        if not self.budget.is_used_up:  # a stream that was cut has not been read to its end
            yield StreamEnd(job.stream, decoder.has_sentinel)

    def _wanted(self, blocks: Iterator[Rows]) -> Iterator[Rows]:
        for block in blocks:
            if self.stop.is_set():
                raise Unwanted
            rows = self.budget.take(block)
            del block  # it may be large, and must not be kept while the next one is awaited
            if rows.count:
                yield rows
            del rows
            if self.budget.is_used_up:
                return
        if self.stop.is_set():  # which may be why there are no more rows
            raise Unwanted


def _row_chunks(job: ReadJob, blocks: Iterator[Rows]) -> Iterator[Chunk]:
    highest = HighestKey(job.spec.key) if job.spec.key else None
    for rows in blocks:
        value = highest.of(rows.lines) if highest else None  # type: ignore[union-attr] # without output: JSON lines
        yield Chunk(job.stream, rows.count, rows.last_digest, rows, value)
        del rows
