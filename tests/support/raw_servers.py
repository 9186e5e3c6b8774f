"""Servers that answer with any bytes at any pace, also with what no library would send."""

from __future__ import annotations

import socketserver
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO

from tests.support.servers import in_a_thread


@dataclass(frozen=True)
class Heard:
    """A request: `path` as it was sent, with its query; names of headers in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


Reply = Callable[[Heard], Iterable[bytes]]
"""Gives the pieces of an answer; it may wait between them. After the last one the connection is closed."""


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    block_on_close = False
    request_queue_size = 64


@contextmanager
def raw_server(reply: Reply) -> Iterator[str]:
    """Serve on a free port of this machine; gives the address."""

    class Handler(socketserver.StreamRequestHandler):
        disable_nagle_algorithm = True

        def handle(self) -> None:
            heard = _heard(self.rfile)
            with suppress(OSError):  # the client has gone
                for piece in reply(heard) if heard else ():
                    self.wfile.write(piece)

    with _Server(("127.0.0.1", 0), Handler) as server, in_a_thread(server):
        yield f"http://127.0.0.1:{server.server_address[1]}"


def answer(body: bytes = b"", status: str = "200 OK", *headers: str, length: int | None = None) -> bytes:
    """Make a whole answer; another `length` than the body's may be said."""
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body) if length is None else length}"]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1") + body


def chunked(status: str = "200 OK", *headers: str) -> bytes:
    """Make the head of an answer whose body comes in chunks."""
    lines = [f"HTTP/1.1 {status}", *headers, "Transfer-Encoding: chunked", "Connection: close", "", ""]
    return "\r\n".join(lines).encode("latin-1")


def chunk(data: bytes) -> bytes:
    """Make a chunk; one without data ends the body, but for the trailers and an empty line."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b"0\r\n"


def _heard(file: IO[bytes]) -> Heard | None:
    lines: list[str] = []
    while (line := file.readline()).strip():
        lines.append(line.decode("latin-1").strip())
    if not lines:
        return None
    headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in lines[1:])}
    method, path, *_ = lines[0].split(" ")
    return Heard(method, path, headers, file.read(int(headers.get("content-length", 0))))
