"""One HTTP session with Redivis: auth, JSON, paging, retries, bodies in pieces; failures become ``errors``."""

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from copy import copy
from typing import TypeVar
from urllib.parse import unquote

import requests

from tap_redivis.client.answers import has_name, parsed_json
from tap_redivis.client.rate_limit import LONGEST_PAUSE, ConcurrencyLimit
from tap_redivis.client.retry import RETRYABLE_STATUS, BrokenAnswer, RetryBudget, TransientError, retry_after
from tap_redivis.client.transport import Transport, pieces_of
from tap_redivis.errors import (
    ApiError,
    DataError,
    Forbidden,
    NotFound,
    QuotaExceeded,
    Refused,
    Unauthorized,
    Unavailable,
    one_line,
)
from tap_redivis.model.settings import MOST_PARALLEL_REQUESTS, PARALLEL_REQUESTS
from tap_redivis.model.tables import Json
from tap_redivis.runtime.logs import logger
from tap_redivis.runtime.memory import ThreadPool

T = TypeVar("T")

_FIRST_CONTACT_SECONDS = 20.0  # a wrong address is likelier than an outage
_OUTAGE_SECONDS = 2.0  # an outage that outlasted the patience of one request is not waited for by each of the others
_PAGE_SIZE = 999  # redivis-api §2: some lists refuse more
_MOST_PAGES = 1000  # of a list
_MOST_LIST_BYTES = 32 * 1024 * 1024
_MOST_JSON_BYTES = 8 * 1024 * 1024
_MOST_ERROR_BYTES = 100_000
_MOST_WARNINGS = 100
_OPEN_BODIES = 8  # bodies open at once for each request under way: a read session has at most 8 read streams
_ERRORS = range(400, 600)
_JSON_ANSWERS = frozenset({200, 201, 202})  # a session or job may be created, or accepted
_BODIES = frozenset({200})  # all else would be a table with too few rows
_PARTS = frozenset({206, 416})  # 416: there is no such part


class Api:
    """A Redivis server and a token."""

    def __init__(
        self,
        endpoint: str,  # without a slash at its end
        token: str | None,  # None: only public data can be read
        *,
        timeout: float,  # seconds of silence before a request counts as broken
        max_retry_seconds: float,  # for each request
        max_requests: int = MOST_PARALLEL_REQUESTS,  # at once, until the server complains
    ) -> None:
        self.endpoint = endpoint
        self.anonymous = token is None
        self.max_retry_seconds = max_retry_seconds
        self._timeout = timeout
        self._token = token or ""
        self._reached = False  # whether the server answered at all
        self._is_away = False  # whether a request was given up, and no other has had an answer since
        self._warnings: set[str] = set()
        self.serves_text: bool | None = None  # whether rows come in other formats than Arrow; None: not known yet
        self.asking_for_text = threading.Lock()
        self._one_at_a_time = threading.Lock()  # a parsed answer may take fifty times the bytes of its text
        self.limit = ConcurrencyLimit(PARALLEL_REQUESTS, max_requests, min(LONGEST_PAUSE, max_retry_seconds))
        self.workers = ThreadPool(max_requests)
        self._transport = Transport(endpoint, token, timeout, _OPEN_BODIES * max_requests)

    def get(self, path: str, params: Mapping[str, str] | None = None) -> Json:
        """Get one resource; an ``ApiError`` says that it was refused, or that the retries are used up."""
        return self._json(requests.Request("GET", path, params=params))[0]

    def post(self, path: str, body: Json) -> Json:
        """Create a session or job, with the retries of ``get``: such a request changes no user data."""
        return self._json(requests.Request("POST", path, json=body))[0]

    def pages(self, path: str, *, known_by: str = "name") -> Iterator[Json]:
        """Get all items of a list; a ``DataError`` says that one is no object with its name in ``known_by``."""
        for page in self.page_lists(path, known_by):
            yield from page

    def page_lists(self, path: str, known_by: str = "name") -> Iterator[list[Json]]:
        """Get all items of a list, page by page (see ``pages``)."""
        params = {"maxResults": str(_PAGE_SIZE)}
        seen: set[str] = set()
        left, until = _MOST_LIST_BYTES, time.monotonic() + 2 * max(self._timeout, self.max_retry_seconds)
        while True:
            page, size = self._json(requests.Request("GET", path, params=params))
            items = page.get("results")
            if not isinstance(items, list) or not all(has_name(item, known_by) for item in items):
                raise DataError(
                    "the server's answer is no list of things with names", where=path, hint="Try again later"
                )
            yield items
            token = str(page.get("nextPageToken") or "")  # redivis-api §2: an integer in some lists
            if not token:
                return
            left -= size
            if token in seen or len(seen) >= _MOST_PAGES or left < 0 or time.monotonic() > until:
                sign = (
                    "a page token came again" if token in seen else f"{len(seen) + 1:,} pages came, and there are more"
                )
                raise Unavailable(f"the list does not end: {sign}", where=unquote(path), hint="Try again later")
            seen.add(token)
            params["pageToken"] = token

    def open(self, path: str, params: Mapping[str, str], byte_range: str | None = None) -> requests.Response:
        """Open a body, or a range of its bytes such as ``5-``; one try, so that it may raise a ``TransientError``.

        Only its head is read: what has arrived of the rest waits in the system's buffers for ``pieces_of``.
        """
        headers = {"Range": f"bytes={byte_range}"} if byte_range else {}
        successes = _BODIES | _PARTS if byte_range else _BODIES
        return self._send(requests.Request("GET", path, params=params, headers=headers), successes)

    def _json(self, request: requests.Request) -> tuple[Json, int]:
        """Get a JSON object, and its bytes; the address is below the endpoint."""
        return self.retried(str(request.url), lambda: self._decoded(self._send(request, _JSON_ANSWERS)))

    def retried(self, path: str, attempt: Callable[[], T]) -> T:
        """Repeat what may raise a ``TransientError``; an ``Unavailable`` says that the retries are used up."""
        budget: RetryBudget | None = None
        while True:
            try:
                return attempt()
            except TransientError as error:
                failure = error
            budget = budget or RetryBudget(self.patience)
            delay = budget.delay_after(failure)
            if delay is None:
                self._is_away = not isinstance(failure, BrokenAnswer)
                raise self.unavailable(path, failure)
            logger.warning("%s: %s; next try in %.1f s", unquote(path), failure, delay)
            time.sleep(delay)

    @property
    def patience(self) -> float:
        """Seconds that a request may go on failing from now on."""
        seconds = _OUTAGE_SECONDS if self._is_away else math.inf if self._reached else _FIRST_CONTACT_SECONDS
        return min(seconds, self.max_retry_seconds)

    def unavailable(self, path: str, failure: object) -> Unavailable:
        """Make the error for a request whose retry budget is used up."""
        hint = "Try again later" if self._reached else f"Check api_endpoint ({self.endpoint}) and the network"
        return Unavailable(f"given up after retries: {failure}", where=unquote(path), hint=hint)

    def _send(self, request: requests.Request, successes: frozenset[int]) -> requests.Response:
        """Send a request; the body of a success has still to be read."""
        path, request = unquote(str(request.url)), copy(request)
        request.url = f"{self.endpoint}{request.url}"
        with self.limit.request() as note:
            response = self._transport.send(request)
            note(response.status_code, response.headers)
        self._reached = True
        self._is_away &= response.status_code in RETRYABLE_STATUS
        self._warn_once(response.headers.get("X-Redivis-Warning"))
        if response.status_code in successes:
            return response
        if response.status_code not in _ERRORS:
            response.close()
            raise BrokenAnswer(f"HTTP {response.status_code}, which is no answer to this request")
        body = self._error_body(response)
        text = body.get("error_description") or body.get("message") or response.reason or "no reason given"
        # Redacted before it is cut: a part of the token is a secret too.
        words = one_line(self._redacted(f"HTTP {response.status_code}, {text}"), 500).rstrip(".")
        if response.status_code in RETRYABLE_STATUS:
            raise TransientError(words, _wait(response))
        raise self._refusal(response.status_code, path, words, body)

    def _decoded(self, response: requests.Response) -> tuple[Json, int]:
        body = self._start(response, _MOST_JSON_BYTES)
        try:
            with self._one_at_a_time:
                value = parsed_json(body)
        except ValueError as error:
            raise BrokenAnswer(f"HTTP {response.status_code} with a body that is not JSON: {error}") from error
        if not isinstance(value, dict):
            raise BrokenAnswer(f"HTTP {response.status_code} with JSON that is not an object")
        return value, len(body)

    def _error_body(self, response: requests.Response) -> Json:
        """Read an error body: flat, nested, or not JSON at all (redivis-api §1.8)."""
        try:
            body = parsed_json(self._start(response, _MOST_ERROR_BYTES))
        except (ValueError, TransientError):
            return {}
        nested = body.get("error") if isinstance(body, dict) else None
        return next((each for each in (nested, body) if isinstance(each, dict)), {})

    def _start(self, response: requests.Response, limit: int) -> bytearray:
        """Read a body up to a number of bytes: it may be endless, or come byte by byte (design §7, promise 7)."""
        body, until = bytearray(), time.monotonic() + self._timeout
        with closing(response):
            for piece in pieces_of(response):
                body += piece
                if len(body) > limit:
                    del body[limit:]
                    break
                if time.monotonic() > until:
                    raise TransientError("the answer takes too long")
        return body

    def _refusal(self, status: int, where: str, words: str, body: Json) -> ApiError:
        if "cannot export more than" in words.lower():  # redivis-api §1.7: only its words tell it from other errors
            return QuotaExceeded(
                words, where=where, hint="Wait until the quota allows it (see `make live`), or ask Redivis"
            )
        if status == requests.codes.unauthorized:
            hint = (
                "Set api_token or REDIVIS_API_TOKEN; without, only tables named in full may be public: see `make live`"
                if self.anonymous
                else "Check api_token (or REDIVIS_API_TOKEN): it is wrong or has expired"
            )
            return Unauthorized(words, where=where, hint=hint)
        if status == requests.codes.forbidden:
            scope = body.get("scope")
            hint = f"Use a token with the scope {scope}" if scope else "Ask the owner of the data for access"
            return Forbidden(words, where=where, hint=hint)
        if status in {requests.codes.not_found, requests.codes.gone}:
            return NotFound(words, where=where, hint="Check the reference, and that the token's user may see it")
        return Refused(words, where=where, hint="Check the settings; the server will not accept this request")

    def _redacted(self, text: str) -> str:
        return text.replace(self._token, "***") if self._token else text

    def _warn_once(self, text: str | None) -> None:
        if text and text not in self._warnings and len(self._warnings) < _MOST_WARNINGS:
            self._warnings.add(text)
            logger.warning("Redivis says: %s", one_line(self._redacted(text)))


def _wait(response: requests.Response) -> float | None:
    # Each answer tells when the rate limit is reset: that counts after a 429 only.
    limited = response.status_code == requests.codes.too_many_requests
    headers = response.headers if limited else {"Retry-After": response.headers.get("Retry-After", "")}
    return retry_after(headers, time.time())
