"""One read stream, from an offset to its end: bytes in pieces → rows, resumed at the offset after every break."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field

from requests import Response

from tap_redivis.client.http import Api
from tap_redivis.client.read_sessions import address_of
from tap_redivis.client.retry import BrokenAnswer, RetryBudget, TransientError, Watch
from tap_redivis.client.transport import pieces_of
from tap_redivis.errors import DataError, Forbidden, NotFound, QuotaExceeded, Refused
from tap_redivis.model.reads import ROWS_STREAM, ReadRequest, StreamPosition
from tap_redivis.runtime.logs import logger
from tap_redivis.runtime.progress import Received
from tap_redivis.wire import Decoder
from tap_redivis.wire.rows import DamagedRow, Rows


class SessionGone(Exception):
    """The read session, or a stream of it, is not there any more: what was read of the table cannot be continued."""


@dataclass
class ReadProgress:
    """How far the reading of a table is."""

    rows: int = 0  # so far, those of earlier runs included
    received: Received = field(default_factory=Received)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, more: Received) -> None:
        """Count more; called by several threads."""
        with self._lock:
            self.received += more


@dataclass
class StreamReader:
    """Reads one read stream, in whatever thread asks for the rows."""

    api: Api
    request: ReadRequest
    stream: str  # id, or ``ROWS_STREAM``
    decoder: Decoder
    stop: threading.Event  # set when nobody wants the rows any more
    progress: ReadProgress
    body: Response | None = None  # the answer with all of its rows, if it was opened ahead

    def rows(self, position: StreamPosition) -> Iterator[Rows]:
        """Give all rows from a position on; raises what ``Worker.run`` does, except ``Unwanted``."""
        budget = RetryBudget(self.api.max_retry_seconds)
        self._watch = Watch(self.request.timeout, for_a_row=self.api.max_retry_seconds)
        offset, last = position.offset, position.last
        damaged_at: int | None = None
        while not self.stop.is_set():
            begin = offset
            try:
                for rows in self._go_on(offset, last):
                    offset, last = offset + rows.count, rows.last_digest
                    yield rows
                    del rows  # it may be large, and must not be kept while the next one is awaited
                    budget.progress()
                    self._watch.restart()
                if not self._cut_off(rows_read=offset - begin):
                    return
                failure: TransientError = BrokenAnswer("the Arrow stream ended without its sentinel")
            except DamagedRow as error:
                if damaged_at == offset:
                    raise self._damaged(offset, error) from None
                damaged_at, failure = offset, error
            except TransientError as error:
                failure = error
            self._wait(offset, budget, failure)

    def _cut_off(self, *, rows_read: int) -> bool:
        # redivis-api §8.1.6: no sentinel means that the body was cut off at the border of a record batch. Without rows
        # too, it may be the end, of a server without sentinels: then the count has to prove it.
        is_session_arrow = self.request.wire_format == "arrow" and self.stream != ROWS_STREAM
        return is_session_arrow and not self.decoder.has_sentinel and rows_read > 0

    def _wait(self, offset: int, budget: RetryBudget, failure: TransientError) -> None:
        # A rate limit is waited for; for other failures a session is the better answer, where there is one.
        if self.stream == ROWS_STREAM and (offset or (self.request.in_one_answer and failure.wait is None)):
            raise SessionGone(f"/rows cannot resume: {failure}")
        delay = budget.delay_after(failure)
        if delay is None:
            raise self.api.unavailable(self.request.table, f"{failure}, at row {offset:,} of read stream {self.stream}")
        self.progress.add(Received(resumes=1))
        text = "%s: %s; read stream %s goes on at row %d in %.1f s"
        logger.warning(text, self.request.table, failure, self.stream, offset, delay)
        self.stop.wait(delay)

    def _go_on(self, offset: int, last: str | None) -> Iterator[Rows]:
        """Read from an offset on, beginning with the row before it, which must be the one that was read last.

        Bytes that were lost or came twice may have made one row of two, or left out a batch: no format shows it, but
        then rows are no longer at their offsets.
        """
        if last is None:
            yield from self._open(offset)
            return
        blocks = self._open(offset - 1)
        for rows in blocks:
            if rows.first(1).last_digest != last:
                raise SessionGone(f"read stream {self.stream} does not go on at row {offset} where it was left")
            if rows.count > 1:
                yield rows.without_first(1)
            del rows
            break
        yield from blocks

    def _open(self, offset: int) -> Iterator[Rows]:
        try:
            yield from self._body(offset)
        except QuotaExceeded:
            raise
        except (Refused, Forbidden, NotFound) as refusal:
            if not offset or not isinstance(refusal, Refused):
                raise SessionGone(refusal.what) from refusal
            # redivis-api §8.1.3: an offset may be refused, the start never (§8.1.16).
            text = "%s: %s; reading stream %s again from its start"
            logger.warning(text, self.request.table, refusal, self.stream)
            yield from self._skipping(offset)

    def _skipping(self, offset: int) -> Iterator[Rows]:
        skip = offset  # redivis-api §8.1.10: rows of a stream keep their order
        for rows in self._open(0):
            if skip < rows.count:
                yield rows.without_first(skip) if skip else rows
            skip = max(skip - rows.count, 0)
            del rows
            self._watch.restart()

    def _body(self, offset: int) -> Iterator[Rows]:
        opened, self.body = self.body, None
        with closing(opened or self.api.open(*address_of(self.request, self.stream, offset))) as body:
            self._watch.restart()
            yield from self.decoder.rows(self._watch.over(self._counted(pieces_of(body))), offset)

    def _counted(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self.progress.add(Received(bytes=len(piece)))
            yield piece

    def _damaged(self, offset: int, error: DamagedRow) -> DataError:
        return DataError(
            f"read stream {self.stream} is damaged at row {offset}, twice in the same way: {error}",
            where=self.request.table,
            hint="Run again; if it stays, tell Redivis",
        )
