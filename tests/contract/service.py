"""Asks a Redivis, within a budget of requests and seconds, and without changing anything there."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import requests

Json = dict[str, Any]
MOST_REQUESTS = 100
MOST_SECONDS = 110.0  # with the last answer, two minutes
_MOST_BYTES = 32 * 1024 * 1024
_TIMEOUT = 20.0
_JOBS = re.compile(
    r"/(queries|(tables|queries)/[^/]+/readSessions)"
)  # the only requests with a body: none changes data
_LONGEST_PAUSE = 30.0
_RATE_LIMIT = 429


class NotSeen(Exception):
    """A fact that cannot be seen here; the text says why."""


@dataclass(frozen=True)
class Answer:
    """What came: status, headers in any case, body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_good(self) -> bool:
        """Whether the request was granted."""
        return self.status in {200, 201, 202}

    @property
    def json(self) -> Json:
        """The body as an object; empty if it is none."""
        try:
            value = json.loads(self.body)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}

    @property
    def words(self) -> str:
        """What an error says."""
        nested = self.json.get("error")
        source = nested if isinstance(nested, dict) else self.json
        return str(source.get("error_description") or source.get("message") or "")

    def needed(self) -> Json:
        """Return the object; without it the fact cannot be seen."""
        if not self.is_good:
            raise NotSeen(f"refused with {self.status}")
        return self.json


@dataclass
class Service:
    """A Redivis and a token.

    Attributes:
        endpoint: The value of `REDIVIS_API_ENDPOINT`.
        token: A bearer token.
        requests: How many requests were sent.
        limited: The answers with 429.
    """

    endpoint: str
    token: str
    requests: int = 0
    limited: list[Answer] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def get(
        self,
        path: str,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        anonymous: bool = False,
    ) -> Answer:
        """Ask for something; ``anonymous``: without the token."""
        return self._send("GET", path, anonymous=anonymous, params=params, headers=headers)

    def begin(self, path: str, body: Json) -> Answer:
        """Open a read session, or run a query: what changes no data."""
        assert _JOBS.fullmatch(path), path
        return self._send("POST", path, json=body)

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    def _send(self, method: str, path: str, *, anonymous: bool = False, **options: Any) -> Answer:
        own = {} if anonymous else {"Authorization": f"Bearer {self.token}"}
        options["headers"] = {**own, "Accept-Encoding": "identity", **(options.get("headers") or {})}
        while True:
            if self.requests >= MOST_REQUESTS or self.seconds > MOST_SECONDS:
                raise NotSeen("no more requests are left")
            self.requests += 1
            try:
                with requests.request(
                    method, self.endpoint + path, timeout=_TIMEOUT, stream=True, **options
                ) as response:
                    body = response.raw.read(_MOST_BYTES)
            except requests.RequestException as error:
                raise NotSeen(f"no answer ({type(error).__name__})") from None
            answer = Answer(response.status_code, response.headers, body)
            if answer.status != _RATE_LIMIT:
                return answer
            self.limited.append(answer)
            time.sleep(min(2.0 ** len(self.limited) / 4, _LONGEST_PAUSE))
