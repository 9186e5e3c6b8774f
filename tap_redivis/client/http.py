"""One HTTP session with Redivis: auth, JSON, paging, retries, bodies in pieces; failures become ``errors``."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from importlib.metadata import version
from typing import Any
from urllib.parse import unquote

import requests
import urllib3
from requests.adapters import HTTPAdapter

from tap_redivis.client.answers import has_name
from tap_redivis.client.rate_limit import ConcurrencyLimit
from tap_redivis.client.retry import RETRYABLE_STATUS, RetryBudget, TransientError, Watch, retry_after
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

logger = logging.getLogger("tap-redivis")

# Most bytes of a body read at once. Each piece costs changes of thread, which small pieces make many of.
PIECE_BYTES = 512 * 1024

_FIRST_CONTACT_SECONDS = 20.0  # a wrong address is likelier than an outage
_PAGE_SIZE = 1000  # redivis-api §2: some lists refuse more
_TRIES_FOR_NONSENSE = 3  # a page of a proxy or of another server will not become JSON
_MOST_JSON_BYTES = 64 * 1024 * 1024
_MOST_ERROR_BYTES = 100_000
_OPEN_BODIES = 8  # bodies open at once for each request under way: a read session has at most 8 read streams

# What the words of an error of the network mean; the words themselves name Python objects.
_NETWORK_WORDS = {
    "Connection refused": "connection refused",
    "Name or service not known": "the host is not known",
    "Temporary failure in name resolution": "the host is not known",
    "timed out": "the server was silent for too long",
    "Too many open files": "too many open files (ulimit -n)",
    "IncompleteRead": "the body was cut off",
    "Connection reset": "the connection was reset",
    "Connection aborted": "the connection was closed",
    "Connection broken": "the body was cut off",
    "certificate verify failed": "the server's certificate is not trusted",
}


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
        self._warnings: set[str] = set()
        self.limit = ConcurrencyLimit(PARALLEL_REQUESTS, max_requests)
        self.workers = ThreadPoolExecutor(max_requests)
        self._http = requests.Session()
        agent = f"tap-redivis/{version('tap-redivis')}"
        self._http.headers.update({"User-Agent": agent, "Accept-Encoding": "identity"})
        for scheme in ("http://", "https://"):
            self._http.mount(scheme, HTTPAdapter(pool_maxsize=_OPEN_BODIES * max_requests))

    def get(self, path: str, params: Mapping[str, str] | None = None) -> Json:
        """Get one resource; an ``ApiError`` says that it was refused, or that the retries are used up."""
        return self._json("GET", path, params=params)

    def post(self, path: str, body: Json) -> Json:
        """Create a session or job, with the retries of ``get``: such a request changes no user data."""
        return self._json("POST", path, json=body)

    def pages(self, path: str, *, known_by: str = "name") -> Iterator[Json]:
        """Get all items of a list; a ``DataError`` says that one is no object with its name in ``known_by``."""
        for page in self.page_lists(path, known_by):
            yield from page

    def page_lists(self, path: str, known_by: str = "name") -> Iterator[list[Json]]:
        """Get all items of a list, page by page (see ``pages``)."""
        params = {"maxResults": str(_PAGE_SIZE)}
        seen: set[str] = set()
        while True:
            page = self.get(path, params)
            items = page.get("results")
            if not isinstance(items, list) or not all(has_name(item, known_by) for item in items):
                raise DataError(
                    "the server's answer is no list of things with names", where=path, hint="Try again later"
                )
            yield items
            token = str(page.get("nextPageToken") or "")  # redivis-api §2: an integer in some lists
            if not token:
                return
            if token in seen:
                raise Unavailable("the list does not end: a page token came again", where=path, hint="Try again later")
            seen.add(token)
            params["pageToken"] = token

    def open(self, path: str, params: Mapping[str, str]) -> Body:
        """Open a body, which the caller reads and closes; one try, so that it may raise a ``TransientError``."""
        return Body(self._send("GET", path, params=params))

    def _json(self, method: str, path: str, **request: Any) -> Json:  # noqa: ANN401 - keywords of requests
        budget: RetryBudget | None = None
        nonsense = 0
        while True:
            try:
                return self._decoded(self._send(method, path, **request))
            except TransientError as error:
                failure = error
            nonsense += isinstance(failure, _Nonsense)
            patience = self.max_retry_seconds
            budget = budget or RetryBudget(patience if self._reached else min(_FIRST_CONTACT_SECONDS, patience))
            delay = budget.next_delay(failure.wait) if nonsense < _TRIES_FOR_NONSENSE else None
            if delay is None:
                raise self.unavailable(path, failure)
            logger.warning("%s: %s; next try in %.1f s", unquote(path), failure, delay)
            time.sleep(delay)

    def unavailable(self, path: str, failure: TransientError) -> Unavailable:
        """Make the error for a request whose retry budget is used up."""
        hint = "Try again later" if self._reached else f"Check api_endpoint ({self.endpoint}) and the network"
        return Unavailable(f"given up after retries: {failure}", where=unquote(path), hint=hint)

    def _send(self, method: str, path: str, **request: Any) -> requests.Response:  # noqa: ANN401 - keywords of requests
        """Send a request; the body of a success has still to be read."""
        url = f"{self.endpoint}{path}"
        with self.limit.request() as note:
            try:
                response = self._http.request(
                    method, url, auth=self._authorize, timeout=self._timeout, stream=True, **request
                )
            except requests.RequestException as error:
                raise TransientError(self._redacted(_network_words(error))) from error
            note(response.status_code, response.headers)
        self._reached = True
        self._warn_once(response.headers.get("X-Redivis-Warning"))
        if response.ok:
            return response
        body = self._error_body(response)
        text = body.get("error_description") or body.get("message") or response.reason or "no reason given"
        # Redacted before it is cut: a part of the token is a secret too.
        words = one_line(self._redacted(f"HTTP {response.status_code}, {text}"), 500).rstrip(".")
        if response.status_code in RETRYABLE_STATUS:
            raise TransientError(words, _wait(response))
        raise self._refusal(response.status_code, unquote(path), words, body)

    def _authorize(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        # Where a request has an auth that sends nothing, requests does not look for one in a .netrc file. It drops the
        # header when a redirect leads to another host.
        if self._token:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request

    def _decoded(self, response: requests.Response) -> Json:
        try:
            value = json.loads(b"".join(self._start(response, _MOST_JSON_BYTES)))
        except ValueError as error:
            raise _Nonsense(f"HTTP {response.status_code} with a body that is not JSON") from error
        if not isinstance(value, dict):
            raise _Nonsense(f"HTTP {response.status_code} with JSON that is not an object")
        return value

    def _error_body(self, response: requests.Response) -> Json:
        """Read an error body: flat, nested, or not JSON at all (redivis-api §1.8)."""
        try:
            body = json.loads(b"".join(self._start(response, _MOST_ERROR_BYTES)))
        except (ValueError, TransientError):
            return {}
        nested = body.get("error") if isinstance(body, dict) else None
        return next((each for each in (nested, body) if isinstance(each, dict)), {})

    def _start(self, response: requests.Response, limit: int) -> Iterator[bytes]:
        """Read a body up to a number of bytes: it may be endless, or come byte by byte (design §7, promise 7)."""
        try:
            for piece in Watch(self._timeout).over(_pieces(response)):
                yield piece[:limit]
                limit -= len(piece)
                if limit < 0:
                    return
        finally:
            response.close()

    def _refusal(self, status: int, where: str, words: str, body: Json) -> ApiError:
        if status == requests.codes.unauthorized:
            hint = (
                "Set api_token or REDIVIS_API_TOKEN"
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
        if "cannot export more than" in words.lower():  # redivis-api §1.7: a 400 like any other, but for its words
            return QuotaExceeded(words, where=where, hint="Wait until the quota allows it, or ask Redivis to raise it")
        return Refused(words, where=where, hint="Check the settings; the server will not accept this request")

    def _redacted(self, text: str) -> str:
        return text.replace(self._token, "***") if self._token else text

    def _warn_once(self, text: str | None) -> None:
        if text and text not in self._warnings:
            self._warnings.add(text)
            logger.warning("Redivis says: %s", one_line(self._redacted(text)))


class Body:
    """A response of which only the head was read; what has arrived of the rest waits in the system's buffers."""

    def __init__(self, response: requests.Response) -> None:
        self._response = response

    def pieces(self) -> Iterator[bytes]:
        """Give the body in pieces of at most ``PIECE_BYTES``; a ``TransientError`` says that it broke off."""
        return _pieces(self._response)

    def close(self) -> None:
        """Return the connection to the pool, or end it if the body was not read to its end."""
        self._response.close()


class _Nonsense(TransientError):
    """A success that is not JSON: a cut body, or a proxy's page."""


def _wait(response: requests.Response) -> float | None:
    # Each answer tells when the rate limit is reset: that counts after a 429 only.
    limited = response.status_code == requests.codes.too_many_requests
    headers = response.headers if limited else {"Retry-After": response.headers.get("Retry-After", "")}
    return retry_after(headers, time.time())


def _pieces(response: requests.Response) -> Iterator[bytes]:
    raw: urllib3.HTTPResponse = response.raw
    is_encoded = "Content-Encoding" in response.headers  # decoding a body that is not encoded would copy it twice
    try:
        while piece := raw.read1(PIECE_BYTES, decode_content=is_encoded):
            yield piece
    except (urllib3.exceptions.HTTPError, HTTPException, OSError) as error:
        raise TransientError(_network_words(error)) from error


def _network_words(error: Exception) -> str:
    text = str(error)
    known = (words for sign, words in _NETWORK_WORDS.items() if sign in text)
    return next(known, f"{type(error).__name__}: {one_line(text, 200)}")
