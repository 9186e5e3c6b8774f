"""Faults: what goes wrong, at which request, and where in its answer.

A fault is a value: from Python (`Fault(kind="reset", path="/readStreams/*", at_row=100)`), from YAML, or as JSON over
the control endpoint. This module selects the requests; `fault_injection` (connections and bodies), `effects` and the
handlers do the rest.
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

from redivis_emulator.readings import RetryAfterForm
from redivis_emulator.variable_types import VariableType

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind = Literal[
    "close",
    "columns",
    "end",
    "endless_head",
    "expire",
    "garbage",
    "headers",
    "json",
    "no_range",
    "no_sentinel",
    "overshoot",
    "page_size",
    "refuse",
    "refuse_offset",
    "relabel",
    "release",
    "repeat",
    "reset",
    "retype",
    "short",
    "slow",
    "stall",
    "status",
    "streams",
    "throttle",
    "wrong_digest",
    "wrong_length",
]
_BODY_KINDS = frozenset(
    {"close", "end", "garbage", "repeat", "reset", "short", "slow", "stall", "throttle", "wrong_length"}
)

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
    """A fault: what goes wrong, at which requests, and where in the answer.

    It hits the requests whose method and path match, `times` of them, from the `nth` on.

    Args:
        path: Glob on the decoded path below the API prefix (`/readStreams/*`; `*` matches `/` too), or a regular
            expression after `re:`.
        method: HTTP method; None: any.
        nth: The first request that is hit, counted from 1, or `every`.
        times: Number of requests that are hit; None: all from the `nth` on.
        per_path: Count the requests of each path separately: the nth request of each read stream.
        kind: What happens. Before the answer: `status` (another answer), `refuse` (no answer; then connections are
            refused for `seconds`), `endless_head` (a header line every `seconds`, for ever), `expire` (the session of a
            read stream ends: 404), `refuse_offset` (400 for an offset beyond 0), `release` (`version` becomes the
            current version of `dataset`).
            At a position in the answer, or instead of an answer without a position: `close` (the connection is
            closed), `reset` (TCP reset), `stall` (nothing is sent for `seconds`, or until the client disconnects).
            At a position in the answer, by default at its start: `end` (the body ends as if it were complete),
            `repeat` (what was sent last comes again and again, for ever),
            `short` (fewer bytes than Content-Length promised), `garbage` (`length` random bytes), `slow` (`length`
            bytes, or all, are sent one by one, each after `seconds`), `throttle` (`length` bytes, or all, are sent
            at `rate` bytes a second).
            In the answer: `relabel` (it has another `status`), `json` (`set` replaces keys, `add` increases numbers),
            `headers` (more headers), `page_size` (lists have pages of `size`), `no_sentinel` (the requested sentinel
            is omitted), `no_range` (a file comes whole, though a range was asked for), `wrong_digest` (another MD5 in
            the header), `wrong_length` (the body has `length` bytes, as Content-Length says; None: one too few).
            Of a session: `streams` (it has `count`), `overshoot` (`rows` more rows than `maxResults`), `columns`
            (in reverse order), `retype` (columns have other `types`).
        status: HTTP status.
        body: Form of the error body.
        error: Error code; None: the usual code of the status.
        message: Error description.
        headers: Headers to add.
        retry_after: Seconds for the header `Retry-After`; None: no such header.
        retry_after_form: Format of that header (redivis-api §1.7).
        at_byte: Position: after this number of bytes of the body.
        at_row: Position: after this number of rows of the body.
        seconds: Duration, see `kind`; None: the default of the kind.
        length: Number of bytes, see `kind`; None: the default of the kind.
        rate: Bytes a second.
        set: New values of JSON keys.
        add: Numbers to add to the values of JSON keys.
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
    retry_after_form: RetryAfterForm = "seconds"
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
        """Return whether the fault counts a request."""
        if self.method not in {None, method}:
            return False
        if self.kind == "refuse_offset" and query.get("offset", "0") == "0":
            return False
        if self.path.startswith("re:"):
            return re.search(self.path.removeprefix("re:"), path) is not None
        return fnmatchcase(path, self.path)

    def hits(self, count: int) -> bool:
        """Return whether the fault hits the request with this number, counted from 1."""
        if self.nth == "every":
            return True
        return self.nth <= count and (self.times is None or count < self.nth + self.times)

    @property
    def leaves_unanswered(self) -> bool:
        """True if the fault happens instead of an answer, or before it."""
        has_place = self.at_byte is not None or self.at_row is not None
        return self.kind in {"refuse", "endless_head"} or (self.kind in {"close", "reset", "stall"} and not has_place)

    @property
    def breaks_body(self) -> bool:
        """True if the fault happens at a position in the body of an answer."""
        return self.kind in _BODY_KINDS and not self.leaves_unanswered

    def error_body(self) -> tuple[str, str]:
        """Return content type and text of the error answer of `status` (redivis-api §1.8)."""
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
        """Return the headers to add; `Retry-After` is computed from the current time."""
        if self.retry_after is None:
            return self.headers
        text = retry_after_text(self.retry_after, self.retry_after_form, time.time())
        return self.headers if text is None else {**self.headers, "Retry-After": text}


def retry_after_text(seconds: float, form: RetryAfterForm, now: float) -> str | None:
    """Return the header `Retry-After`; None where there is none."""
    return {
        "seconds": f"{seconds:g}",
        "epoch": str(round(now + seconds)),
        "epoch_ms": str(round((now + seconds) * 1000)),
        "http_date": formatdate(now + seconds, usegmt=True),
        "absent": None,
    }[form]


class Faults:
    """The faults of an emulator, with their counts of requests. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._counts: list[Counter[str]] = []

    def add(self, *faults: Fault) -> None:
        """Add faults; they count requests from now on."""
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
