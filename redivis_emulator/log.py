"""The log of requests, for tests."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Request:
    """A request as the emulator received it.

    Args:
        method: HTTP method.
        path: Path below the API prefix, percent-decoded: `/tables/demo.nycflights13.flights`.
        query: Query parameters.
        headers: Headers, names in lower case.
        status: Status of the answer; None without an answer.
        body: Request body.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    status: int | None
    body: str


class RequestLog:
    """The requests in order of arrival. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: list[Request] = []
        self._forgotten = 0

    def arrive(self, request: Request) -> int:
        """Add a request; return its number for `answer`."""
        with self._lock:
            self._requests.append(request)
            return self._forgotten + len(self._requests) - 1

    def answer(self, number: int, status: int) -> None:
        """Record the status of an answer."""
        with self._lock:
            index = number - self._forgotten
            if index >= 0:
                self._requests[index] = replace(self._requests[index], status=status)

    def all(self) -> list[Request]:
        """Return a copy."""
        with self._lock:
            return list(self._requests)

    def forget(self) -> None:
        """Remove all requests."""
        with self._lock:
            self._forgotten += len(self._requests)
            self._requests.clear()
