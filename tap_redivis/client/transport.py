"""HTTP with limits: redirects by hand, the token only to its origin, and no endless wait for any part of an answer.

Of the environment only proxies and bundles of certificates count: no passwords of a .netrc file, no cookies.
"""

import io
import logging
import math
import os
import ssl
import time
from collections.abc import Iterator
from copy import copy
from http.client import HTTPException, HTTPResponse
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies

from tap_redivis.client.retry import BrokenAnswer, TransientError
from tap_redivis.errors import ConfigError, one_line
from tap_redivis.model.settings import LOOPBACK

# Most bytes of a body read at once. Each piece costs changes of thread, which small pieces make many of.
PIECE_BYTES = 256 * 1024

_MOST_HEAD_BYTES = 256 * 1024
_MOST_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_FAILURES = (requests.RequestException, urllib3.exceptions.HTTPError, HTTPException, OSError)

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


logging.getLogger("urllib3.connection").setLevel(logging.ERROR)  # it logs odd headers, with a traceback


class Transport:
    """Sends requests to a server, and where it redirects them; ``timeout`` is in seconds."""

    def __init__(self, endpoint: str, token: str | None, timeout: float, connections: int) -> None:
        self._token = token
        self._timeout = timeout
        self._adapter = _Adapter(pool_maxsize=connections)
        self._headers = {"User-Agent": f"tap-redivis/{version('tap-redivis')}", "Accept-Encoding": "identity"}
        self._verify = _certificates()
        try:
            request = requests.Request("GET", endpoint).prepare()
            self._origin = _origin(request)
            self._adapter.get_connection_with_tls_context(request, verify=True, proxies=_proxies(request))
        except (*_FAILURES, ValueError):  # whose words may hold the proxy's password
            raise ConfigError(
                "the address of the server, or of the proxy for it, cannot be used",
                where=f"api_endpoint or {endpoint.partition(':')[0].upper()}_PROXY",
                hint="Write such as http://proxy.example:3128; socks5:// needs the package pysocks",
            ) from None

    def send(self, request: requests.Request) -> requests.Response:
        """Send a request and read the head of its answer; redirects are followed with the same method."""
        request, location, by_way = copy(request), "", ""
        request.headers, request.auth = {**self._headers, **request.headers}, self._authorize
        for _ in range(1 + _MOST_REDIRECTS):
            try:
                request.url = urljoin(str(request.url), location)
                prepared = request.prepare()
                response = self._adapter.send(
                    prepared, stream=True, timeout=self._timeout, verify=self._verify, proxies=_proxies(prepared)
                )
            except ValueError as error:
                raise BrokenAnswer(f"{by_way}that is no address") from error
            except _FAILURES as error:
                raise TransientError(f"{by_way}{network_words(error)}") from error
            location = response.headers.get("Location", "")
            if response.status_code not in _REDIRECTS or not location:
                return response
            response.close()  # unread: it may be endless
            request.params, by_way = {}, "after a redirect: "
        raise BrokenAnswer(f"the server redirects more than {_MOST_REDIRECTS} times")

    def _authorize(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        # By the address as it will be asked for, not as a server spelled it. Without an auth, requests would take the
        # password of an address.
        if self._token and _origin(request) == self._origin:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def pieces_of(response: requests.Response, most: int | None = None) -> Iterator[bytes]:
    """Give a body in pieces of at most so many bytes; a ``TransientError`` says that it broke off, or is none."""
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding.strip().lower() != "identity":  # a few bytes may become gigabytes
        raise BrokenAnswer(f"the body is encoded as {one_line(encoding, 50)!r}, which was not asked for")
    try:
        while piece := response.raw.read1(most or PIECE_BYTES, decode_content=False):
            yield piece
    except _FAILURES as error:
        raise TransientError(network_words(error)) from error


def network_words(error: Exception) -> str:
    """Say what an error of the network means."""
    text = str(error)
    known = (words for sign, words in _NETWORK_WORDS.items() if sign in text)
    words = next(known, f"{type(error).__name__}: {one_line(text, 200)}")
    return f"the proxy of the environment: {words}" if isinstance(error, requests.exceptions.ProxyError) else words


def _origin(request: requests.PreparedRequest) -> tuple[str, str | None, int | None]:
    parts = urlsplit(str(request.url))
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def _proxies(request: requests.PreparedRequest) -> dict[str, str]:
    url = str(request.url)
    return {} if urlsplit(url).hostname in LOOPBACK else dict(get_environ_proxies(url))


def _certificates() -> str | bool:
    """Find the bundle of certificates that the environment names; True for the usual one."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        if path := os.environ.get(name):
            try:
                is_folder = Path(path).is_dir()
                if Path(path).is_fifo():
                    raise OSError("it is a pipe, which gives them once only, or never")  # noqa: TRY301 - caught below
                ssl.create_default_context(cafile=None if is_folder else path, capath=path if is_folder else None)
            except OSError as error:
                raise ConfigError(
                    f"the certificates cannot be read ({one_line(str(error.strerror or error), 100)})",
                    where=f"{name} in the environment, {path}",
                    hint="Set it to a file of certificates in PEM format, or unset it",
                ) from None
            return path
    return True


class _Adapter(HTTPAdapter):
    """What requests has below its sessions, which read the bodies of redirects whole."""

    def get_connection_with_tls_context(self, *args: Any, **keywords: Any) -> Any:  # noqa: ANN401 - those of requests
        pool: Any = super().get_connection_with_tls_context(*args, **keywords)
        kind = pool.ConnectionCls
        if kind.response_class is not _Answer:
            pool.ConnectionCls = type(kind.__name__, (kind,), {"response_class": _Answer})
        return pool


class _Answer(HTTPResponse):
    """An answer whose head, and each piece of whose body, comes within the timeout; a socket has one for each byte."""

    def __init__(self, sock: Any, *args: Any, **keywords: Any) -> None:  # noqa: ANN401 - those of http.client
        super().__init__(sock, *args, **keywords)
        self._bytes = _Bytes(self.fp.detach(), sock.gettimeout() or math.inf)
        self.fp = io.BufferedReader(self._bytes)

    def read1(self, n: int = -1) -> bytes:
        """Read a piece; what stands around it, sizes of chunks and trailers, counts too."""
        self._bytes.allow(math.inf)
        return super().read1(n)


class _Bytes(io.RawIOBase):
    """The bytes of a connection, up to a moment and a number of them."""

    def __init__(self, raw: Any, seconds: float) -> None:  # noqa: ANN401 - of the socket
        self._raw = raw
        self._seconds = seconds
        self.allow(_MOST_HEAD_BYTES)

    def allow(self, size: float) -> None:
        """Begin to count again."""
        self._left = size
        self._until = time.monotonic() + self._seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:  # noqa: ANN401 - any buffer
        if time.monotonic() > self._until:
            raise TimeoutError("timed out")
        if self._left <= 0:
            raise HTTPException(f"the head of the answer has more than {_MOST_HEAD_BYTES:,} bytes")
        count: int | None = self._raw.readinto(buffer)
        self._left -= count or 0
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()
