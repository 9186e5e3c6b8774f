"""Which failures are worth another try, how long to wait before it, and when to give up. Pure, apart from clocks.

The waits are those of the package ``backoff`` (exponential, full jitter). Its decorators are not used: they cannot
start the budget again when rows arrive, and cannot obey ``Retry-After``.
"""

import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timezone
from email.utils import parsedate_to_datetime
from typing import Any

import backoff

RETRYABLE_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})  # redivis-api §1.9
LONGEST_WAIT = 120.0  # seconds that the server may ask for (redivis-api §1.7)
LONGEST_BACKOFF = 30.0  # seconds

_TRICKLE_BYTES_PER_SECOND = 1024
_MOST_BYTES_WITHOUT_A_ROW = 192 * 1024 * 1024  # three times the largest message of Arrow
_TRIES_FOR_BROKEN_ANSWERS = 3
_DELTA_LIMIT = 1e6
_MILLISECONDS_FROM = 1e12


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Read how many seconds from now the server asks to wait, at most ``LONGEST_WAIT``; None if it does not say."""
    moments = (moment_of(headers.get(name, ""), now) for name in ("Retry-After", "X-Ratelimit-Reset"))
    until = next((moment for moment in moments if moment is not None), None)
    return None if until is None else min(max(until - now, 0.0), LONGEST_WAIT)


def moment_of(text: str, now: float) -> float | None:
    """Read a header as seconds since the epoch; None if it is no moment."""
    # redivis-api §1.7 leaves open whether it is delta seconds, epoch seconds or milliseconds, or an HTTP date.
    try:
        number = float(text)
    except ValueError:
        return _http_date(text)
    if not 0 <= number < float("inf"):
        return None
    if number < _DELTA_LIMIT:
        return now + number
    return number / 1000 if number >= _MILLISECONDS_FROM else number


def _http_date(text: str) -> float | None:
    try:
        moment = parsedate_to_datetime(text)
        # An HTTP date is in UTC, also where it names no zone (RFC 9110, 5.6.7: the form of asctime).
        return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None


class TransientError(Exception):
    """One try failed in a way that another try may not; ``wait`` is how many seconds the server asks to wait."""

    def __init__(self, what: str, wait: float | None = None) -> None:
        super().__init__(what)
        self.wait = wait


class BrokenAnswer(TransientError):
    """An answer that HTTP calls whole, and that cannot be used: waiting for ten minutes does not mend such a server."""


@dataclass
class RetryBudget:
    """How long one request, or one read stream, may go on failing."""

    seconds: float  # from the first failure until giving up
    clock: Callable[[], float] = time.monotonic
    _delays: Generator[float, Any, None] | None = None
    _give_up_at: float = 0.0
    _broken: int = 0

    def progress(self) -> None:
        """Start the budget again, because rows arrived."""
        self._delays, self._broken = None, 0

    def delay_after(self, failure: TransientError) -> float | None:
        """Choose the seconds to wait after a failure; None: give up, as after the third broken answer."""
        self._broken += isinstance(failure, BrokenAnswer)
        return None if self._broken >= _TRIES_FOR_BROKEN_ANSWERS else self.next_delay(failure.wait)

    def next_delay(self, asked: float | None = None) -> float | None:
        """Choose the seconds to wait after a failure, at least those that the server asked for; None: give up."""
        now = self.clock()
        if self._delays is None:
            self._delays = backoff.expo(base=2, factor=0.5, max_value=LONGEST_BACKOFF)
            next(self._delays)  # backoff's generators yield nothing first
            self._give_up_at = now + self.seconds
        # A little jitter on top of what the server asks keeps parallel streams from coming back at one moment.
        own = backoff.full_jitter(next(self._delays))
        delay = own if asked is None else asked + min(own, 1.0)
        return delay if now + delay <= self._give_up_at else None


@dataclass
class Watch:
    """Detects a body that for too many seconds sends next to nothing, or bytes without a row."""

    seconds: float  # for next to nothing: the timeout of the socket detects complete silence only
    clock: Callable[[], float] = time.monotonic
    for_a_row: float = math.inf  # seconds
    bytes_for_a_row: float = _MOST_BYTES_WITHOUT_A_ROW

    def __post_init__(self) -> None:
        """Start."""
        self.restart()

    def restart(self) -> None:
        """Start again, because rows arrived or were held up by the reader of our output."""
        self._row_at = self._since = self.clock()
        self._bytes = self._bytes_without_a_row = 0

    def over(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Pass pieces of a body on, until a ``TransientError``: for too long no row came, or next to no bytes."""
        for piece in pieces:
            self._bytes += len(piece)
            self._bytes_without_a_row += len(piece)
            now = self.clock()
            elapsed = now - self._since
            if elapsed > self.seconds:
                if self._bytes < elapsed * _TRICKLE_BYTES_PER_SECOND:
                    raise TransientError("the server sends next to nothing")
                self._since, self._bytes = now, 0  # or else a fast beginning would excuse hours of next to nothing
            is_late = now - self._row_at > max(self.seconds, self.for_a_row)
            if self._bytes_without_a_row > self.bytes_for_a_row or is_late:
                raise BrokenAnswer(f"the server sent {self._bytes_without_a_row:,} bytes, and no row in them")
            yield piece
