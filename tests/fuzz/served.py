"""A server of few words: it answers each request as a function says, fast enough for thousands of runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.support.servers import in_a_thread


@dataclass(frozen=True)
class Asked:
    """A request.

    Attributes:
        method: `GET` or `POST`.
        path: Decoded path.
        query: Query parameters.
        body: What was sent.
    """

    method: str
    path: str
    query: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """What is answered.

    Attributes:
        body: The body.
        status: The HTTP status.
    """

    body: bytes
    status: int = 200


@contextmanager
def serving(answer: Callable[[Asked], Answer]) -> Iterator[str]:
    """Serve on a free port of this machine; gives the address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            says = answer(Asked(self.command, unquote(parts.path), dict(parse_qsl(parts.query)), body))
            self.send_response(says.status)
            self.send_header("Content-Length", str(len(says.body)))
            self.end_headers()
            self.wfile.write(says.body)

        do_POST = do_GET  # noqa: N815 - the same

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server, in_a_thread(server):
        yield f"http://127.0.0.1:{server.server_port}"
