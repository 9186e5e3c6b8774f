"""The fault menu: what may go wrong, at which request, and where in its answer.

A fault is a value: from Python (`Fault(kind="reset", path="/readStreams/*", at_row=100)`), from YAML or as JSON over
the control endpoint. Which requests it hits is decided here; what happens then, in `breaking` (connections and
bodies) and in the handlers.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter
from email.utils import formatdate
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct, field

from redivis_emulator.variable_types import VariableType

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind = Literal[
    "close",
    "columns",
    "end",
    "expire",
    "garbage",
    "headers",
    "json",
    "no_sentinel",
    "overshoot",
    "page_size",
    "refuse",
    "refuse_offset",
    "release",
    "reset",
    "retype",
    "short",
    "slow",
    "stall",
    "status",
    "streams",
    "throttle",
]
_BODY_KINDS = frozenset({"close", "end", "garbage", "reset", "short", "slow", "stall", "throttle"})

_ERRORS = {
    400: "invalid_request",
    401: "invalid_token",
    403: "insufficient_scope",
    404: "not_found",
    429: "rate_limit_exceeded",
    500: "internal_error",
    503: "unavailable",
}


class Fault(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that goes wrong.

    Which requests: those whose method and path match, from the `nth` on, `times` times.

    Args:
        path: Glob on the decoded path below the API prefix (`/readStreams/*`; `*` matches `/` too), or a regular
            expression after `re:`.
        method: HTTP method; None: any.
        nth: The first request that is hit, counted from 1, or `every`.
        times: How many requests are hit; None: all from the `nth` on.
        per_path: Count for each path by itself: the nth request of each read stream.
        kind: What happens. Before the answer: `status` (another answer), `refuse` (no answer; then connections are
            refused for `seconds`), `expire` (the session of a read stream ends: 404), `refuse_offset` (400 if there
            is an offset), `release` (`dataset` has `version` as its current one from now on).
            At a place in the answer, or instead of an answer if no place is given: `close` (connection closed, the
            body unfinished), `reset` (the same with a TCP reset), `stall` (silence for `seconds`, or for good).
            At a place in the answer, else at its beginning: `end` (the body ends properly), `short` (less comes than
            Content-Length said), `garbage` (`length` bytes are rubbish), `slow` (`length` bytes, or all, come
            one by one, each after `seconds`), `throttle` (`length` bytes, or all, come at `rate` bytes a second).
            In the answer: `json` (keys are replaced by `set`, numbers raised by `add`), `headers` (more headers),
            `page_size` (lists have pages of `size`), `no_sentinel` (none, though asked for).
            Of a session: `streams` (there are `count`), `overshoot` (`maxResults` is exceeded by `rows`), `columns`
            (in reverse order), `retype` (columns come as other `types`).
        status: HTTP status.
        body: Form of the error body.
        error: Error code; None: the usual one of the status.
        message: Error description.
        headers: Headers to add.
        retry_after: `Retry-After` that many seconds from now; None: no such header.
        retry_after_form: How it is spelled (redivis-api §1.7).
        at_byte: Place: after so many bytes of this body.
        at_row: Place: after so many rows of this body.
        seconds: Duration, see `kind`; None: the kind's own.
        length: Number of bytes, see `kind`; None: the kind's own.
        rate: Bytes a second.
        set: JSON keys and their new values.
        add: JSON keys and what is added to their numbers.
        size: Items on a page.
        count: Number of streams.
        rows: Number of rows.
        types: Type by column.
        dataset: Reference of a dataset.
        version: Tag of a version.
    """

    kind: Kind
    path: str = "*"
    method: str | None = None
    nth: int | Literal["every"] = 1
    times: int | None = 1
    per_path: bool = False
    status: int = 503
    body: Literal["flat", "nested", "html", "text", "empty"] = "flat"
    error: str | None = None
    message: str = "This is a fault of the emulator."
    headers: dict[str, str] = {}
    retry_after: float | None = None
    retry_after_form: Literal["seconds", "epoch", "epoch_ms", "http_date"] = "seconds"
    at_byte: int | None = None
    at_row: int | None = None
    seconds: float | None = None
    length: int | None = None
    rate: int = 1_000_000
    set: dict[str, Any] = {}
    add: dict[str, int] = {}
    size: int = 1
    count: int = 0
    rows: int = 1
    types: dict[str, VariableType] = field(default_factory=dict)
    dataset: str = ""
    version: str = ""

    def matches(self, method: str, path: str, query: Mapping[str, str]) -> bool:
        """Return whether a request is one of those that are counted."""
        if self.method not in {None, method}:
            return False
        if self.kind == "refuse_offset" and query.get("offset", "0") == "0":
            return False
        if self.path.startswith("re:"):
            return re.search(self.path.removeprefix("re:"), path) is not None
        return fnmatchcase(path, self.path)

    def hits(self, count: int) -> bool:
        """Return whether the request with this number, from 1, is hit."""
        if self.nth == "every":
            return True
        return self.nth <= count and (self.times is None or count < self.nth + self.times)

    @property
    def leaves_unanswered(self) -> bool:
        """True if it happens instead of an answer, or before it."""
        has_place = self.at_byte is not None or self.at_row is not None
        return self.kind == "refuse" or (self.kind in {"close", "reset", "stall"} and not has_place)

    @property
    def breaks_body(self) -> bool:
        """True if it happens at a place in the body of an answer."""
        return self.kind in _BODY_KINDS and not self.leaves_unanswered

    def error_body(self) -> tuple[str, str]:
        """Return content type and text of the error that `status` answers with (redivis-api §1.8)."""
        code = self.error or _ERRORS.get(self.status, "api_error")
        if self.body == "html":
            title = f"{self.status} {self.message}"
            return "text/html", f"<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>"
        if self.body == "text":
            return "text/plain", self.message
        if self.body == "empty":
            return "application/json", ""
        nested = {"error": {"message": self.message, "status": self.status}}
        flat = {"status": self.status, "error": code, "error_description": self.message}
        return "application/json", json.dumps(nested if self.body == "nested" else flat)

    def all_headers(self) -> dict[str, str]:
        """Return the headers to add, with `Retry-After` as of now."""
        if self.retry_after is None:
            return self.headers
        return {**self.headers, "Retry-After": self._retry_after_text(self.retry_after, time.time())}

    def _retry_after_text(self, seconds: float, now: float) -> str:
        return {
            "seconds": f"{seconds:g}",
            "epoch": str(round(now + seconds)),
            "epoch_ms": str(round((now + seconds) * 1000)),
            "http_date": formatdate(now + seconds, usegmt=True),
        }[self.retry_after_form]


class Faults:
    """The faults that wait for their requests; for any thread to change."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._counts: list[Counter[str]] = []

    def add(self, *faults: Fault) -> None:
        """Add faults; each counts requests from now on."""
        with self._lock:
            self._faults += faults
            self._counts += [Counter() for _ in faults]

    def clear(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._faults.clear()
            self._counts.clear()

    def all(self) -> list[Fault]:
        """Return a copy."""
        with self._lock:
            return list(self._faults)

    def hit(self, method: str, path: str, query: Mapping[str, str]) -> list[Fault]:
        """Count a request; return the faults that hit it."""
        hit = []
        with self._lock:
            for fault, counts in zip(self._faults, self._counts, strict=True):
                if fault.matches(method, path, query):
                    key = path if fault.per_path else ""
                    counts[key] += 1
                    if fault.hits(counts[key]):
                        hit.append(fault)
        return hit
