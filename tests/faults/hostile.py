"""A hostile server: each of its tables has one endpoint that answers in a way of its own, made by rules.

An answer has a status, a body, headers, a framing and a pace. Each of these is varied while the others are sound, and
then they are mixed by chance, the same in every run.
"""

from __future__ import annotations

import itertools
import json
import random
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
import requests

from redivis_emulator import DEFAULT_TOKEN, Emulator, RateLimit, Settings
from tests.support.raw_servers import Heard, chunk, raw_server
from tests.support.served import visits, write_note, write_table

ROWS = 40
_MIXED = 24
_BIG = 12_000_000
_PIECE = 65536
_BLINK = 0.03  # seconds between two bytes of what trickles: no silence, for any timeout
_FOR_EVER = 600.0  # seconds: longer than any test

Pieces = Iterable[bytes]


def _forever(data: bytes) -> Pieces:
    return itertools.repeat(data)


_STATUSES = (
    *(200, 103, 201, 202, 203, 204, 205, 206, 226, 299, 300, 301, 302, 303, 304, 305, 307, 308, 399),
    *(
        400,
        401,
        402,
        403,
        404,
        407,
        408,
        409,
        410,
        416,
        418,
        425,
        429,
        451,
        499,
        500,
        501,
        503,
        505,
        511,
        599,
        600,
        999,
    ),
)
_BODIES: Mapping[str, Callable[[bytes], Pieces]] = {
    "sound": lambda sound: [sound],
    "empty": lambda _: [],
    "half": lambda sound: [sound[: len(sound) // 2]],
    "but the last byte": lambda sound: [sound[:-1]],
    "twice": lambda sound: [sound, sound],
    "for ever": _forever,
    "null": lambda _: [b"null"],
    "a list": lambda _: [b"[]"],
    "an object": lambda _: [b"{}"],
    "a page": lambda _: [b"<html><body>Sign in</body></html>"],
    "deep": lambda _: [b"[" * 100_000],
    "deep in an object": lambda _: [b'{"error":' * 400 + b"1" + b"}" * 400],
    "many values": lambda _: [b'{"streams":[', b"{}," * (_BIG // 3), b"{}]}"],
    "a long text": lambda _: [b'{"name":"', b"x" * _BIG, b'"}'],
    "a large number": lambda sound: [re.sub(rb"\d+", b"9" * 400, sound)],
    "a huge number": lambda sound: [re.sub(rb"\d+", b"9" * 5000, sound)],
    "negative numbers": lambda sound: [re.sub(rb":\s*(\d)", rb":-\1", sound)],
    "numbers as text": lambda sound: [re.sub(rb":\s*(\d+)", rb':"\1 and more"', sound)],
    "fractions": lambda sound: [re.sub(rb":\s*(\d+)", rb":\1.5", sound)],
    "not a number": lambda sound: [re.sub(rb":\s*\d+", b":NaN", sound)],
    "other texts": lambda sound: [re.sub(rb'":\s*"[^"]*"', rb'":"\\u001b[2J\\ud800\\u202e../../x"', sound)],
    "no names": lambda sound: [sound.replace(b'"name"', b'"nom"').replace(b'"id"', b'"ID"')],
    "a page token for ever": lambda sound: [sound.replace(b"{", b'{"nextPageToken":"%d",' % time.monotonic_ns(), 1)],
    "blank lines for ever": lambda _: _forever(b"\n" * _PIECE),
    "spaces for ever": lambda _: _forever(b" " * _PIECE),
    "zeros for ever": lambda _: _forever(bytes(_PIECE)),
    "no UTF-8": lambda sound: [b"\xff\xfe", sound],
    "rubbish": lambda sound: [random.Random(1).randbytes(len(sound) + 100)],  # noqa: S311 - the same in every run
    "an error that steers": lambda _: [b'{"error":"x","error_description":"\\u001b]0;x\\u0007\\r\\u009b2J"}'],
}
_HEADERS: Mapping[str, Iterable[bytes]] = {
    "none": (),
    "gzip": (b"Content-Encoding: gzip",),
    "much gzip": (b"Content-Encoding: gzip, gzip, br",),
    "a long one": (b"X: " + b"x" * 65000,),
    "five long ones": (b"X: " + b"x" * 65000,) * 5,
    "many": (b"X: x",) * 500,
    "no colon": (b"not a header",),
    "no ASCII": (b"X-Redivis-Warning: \xff\x1b[2J\x9b",),
    "here": (b"Location: ",),
    "a redirect to nowhere": (b"Location: http://[::1",),
    "a redirect to a closed port": (b"Location: http://127.0.0.1:1/x",),
    "a redirect to a file": (b"Location: file:///etc/passwd",),
    "no wait": (b"Retry-After: nan", b"X-Ratelimit-Remaining: nan", b"X-Ratelimit-Reset: nan"),
    "a long wait": (b"Retry-After: 1e400", b"X-Ratelimit-Remaining: 0", b"X-Ratelimit-Reset: 1e300"),
    "an odd wait": (b"Retry-After: -5", b"X-Ratelimit-Remaining: -1", b"X-Ratelimit-Reset: " + b"9" * 5000),
    "cookies": (b"Set-Cookie: a=b; Domain=127.0.0.1",) * 50,
}


def _chunks(body: Pieces) -> Pieces:
    return itertools.chain((chunk(piece) for piece in body if piece), [b"0\r\n\r\n"])


_FRAMINGS: Mapping[str, tuple[bytes, Callable[[Pieces], Pieces]]] = {
    "chunks": (b"Transfer-Encoding: chunked", _chunks),
    "small chunks": (
        b"Transfer-Encoding: chunked",
        lambda body: _chunks(piece[at : at + 7] for piece in body for at in range(0, min(len(piece), 9000), 7)),
    ),
    "until the end": (b"X: no length", lambda body: body),
    "too long": (b"Content-Length: 99999999999", lambda body: body),
    "too short": (b"Content-Length: 10", lambda body: body),
    "nothing": (b"Content-Length: 0", lambda body: body),
    "less than nothing": (b"Content-Length: -1", lambda body: body),
    "two lengths": (b"Content-Length: 5\r\nContent-Length: 6", lambda body: body),
    "no number": (b"Content-Length: x", lambda body: body),
    "both": (b"Content-Length: 5\r\nTransfer-Encoding: chunked", _chunks),
    "no chunk": (b"Transfer-Encoding: chunked", lambda body: itertools.chain([b"zz\r\n"], body)),
    "a chunk of less than nothing": (b"Transfer-Encoding: chunked", lambda body: itertools.chain([b"-5\r\n"], body)),
    "an endless size": (b"Transfer-Encoding: chunked", lambda _: _forever(b"0" * _PIECE)),
    "trailers for ever": (
        b"Transfer-Encoding: chunked",
        lambda body: itertools.chain((chunk(each) for each in body if each), [b"0\r\n"], _forever(b"X: x\r\n" * 999)),
    ),
}


def _slowly(pieces: Pieces) -> Pieces:
    for piece in pieces:
        for at in range(len(piece)):
            yield piece[at : at + 1]
            time.sleep(_BLINK)


def _cut(pieces: Pieces, size: int) -> Pieces:
    for piece in pieces:
        yield piece[:size]
        size -= len(piece)
        if size <= 0:
            return


def _silence() -> Pieces:
    time.sleep(_FOR_EVER)
    return ()


_PACES: Mapping[str, Callable[[Pieces, Pieces], Pieces]] = {
    "at once": itertools.chain,
    "no byte": lambda _head, _body: (),
    "silence": lambda _head, _body: (each for _ in range(1) for each in _silence()),
    "a slow head": lambda head, body: itertools.chain(_slowly(head), body),
    "a slow body": lambda head, body: itertools.chain(head, _slowly(body)),
    "silence after the head": lambda head, _body: itertools.chain(
        head, (each for _ in range(1) for each in _silence())
    ),
    "silence in the body": lambda head, body: itertools.chain(
        head, _cut(body, 10), (each for _ in range(1) for each in _silence())
    ),
    "cut in the head": lambda head, _body: _cut(head, 9),
    "cut in the body": lambda head, body: itertools.chain(head, _cut(body, 30)),
    "100 before it, for ever": lambda _head, _body: _forever(b"HTTP/1.1 100 Continue\r\n\r\n" * 99),
    "headers for ever": lambda head, _body: itertools.chain([next(iter(head))], _forever(b"X: x\r\n" * 999)),
    "headers for ever, slowly": lambda _head, _body: _slowly(
        itertools.chain([b"HTTP/1.1 200 OK\r\n"], _forever(b"X: x\r\n"))
    ),
}


@dataclass(frozen=True)
class Answer:
    """How an endpoint answers; by default as it should."""

    status: int = 200
    body: str = "sound"
    headers: str = "none"
    framing: str = "chunks"
    pace: str = "at once"

    def pieces(self, sound: bytes) -> Pieces:
        """Make the answer of the one that would be sound."""
        framing, frame = _FRAMINGS[self.framing]
        lines = [b"HTTP/1.1 %d Status" % self.status, *_HEADERS[self.headers], framing, b"Connection: close", b"", b""]
        head = [lines[0] + b"\r\n", b"\r\n".join(lines[1:])]
        return _PACES[self.pace](head, frame(_BODIES[self.body](sound)))


def _answers() -> Iterator[Answer]:
    axes = {
        "status": _STATUSES,
        "body": tuple(_BODIES),
        "headers": tuple(_HEADERS),
        "framing": tuple(_FRAMINGS),
        "pace": tuple(_PACES),
    }
    yield Answer()
    for name, values in axes.items():
        for value in values[1:]:
            yield replace(Answer(), **{name: value})
    yield from (Answer(302, headers=each) for each in _HEADERS if "redirect" in each or each == "here")
    chance = random.Random(14)  # noqa: S311 - the same
    for _ in range(_MIXED):
        mixed = {name: chance.choice(values) for name, values in axes.items()}
        yield Answer(**{**mixed, "status": chance.choice((200, mixed["status"]))})


ANSWERS = tuple(_answers())

_NUMBER = re.compile(r"\bd(\d{3})\b")
_PATHS = {
    "dataset": re.compile(r"GET /datasets/[^/]+$"),
    "tables": re.compile(r"GET /datasets/[^/]+/tables$"),
    "variables": re.compile(r"GET .*/variables$"),
    "session": re.compile(r"POST .*/readSessions$"),
    "streams": re.compile(r"GET /readStreams/"),
    "rows": re.compile(r"GET .*/rows$"),
    "query": re.compile(r"POST /queries$"),
}
ENDPOINTS = tuple(_PATHS)


@dataclass
class Hostile:
    """A running server.

    Attributes:
        endpoint: Its address.
        token: Its token; None: all may be read without.
        attacked: The endpoint that is hostile for the tables; None: all is well.
    """

    endpoint: str
    token: str | None
    attacked: str | None = None
    _tables: dict[str, int] = field(default_factory=dict)  # by read stream

    def answer(self, heard: Heard, upstream: Emulator) -> Pieces:
        """Answer as the emulator does, but for what is attacked."""
        path = heard.path.removeprefix("/api/v1")
        plain = requests.utils.unquote(path.partition("?")[0])
        headers = {name: value for name, value in heard.headers.items() if name == "authorization"}
        url = f"{upstream.endpoint}{path}"
        sound = requests.request(heard.method, url, data=heard.body, headers=headers, timeout=60)
        number = self._number(plain, heard.body.decode())
        if plain.endswith("/readSessions") and sound.ok:
            self._tables |= {each["id"]: number for each in sound.json()["streams"]}
        is_attacked = self.attacked and _PATHS[self.attacked].match(f"{heard.method} {plain}")
        how = ANSWERS[number] if is_attacked and number < len(ANSWERS) else Answer(sound.status_code)
        return how.pieces(sound.content)

    def _number(self, path: str, body: str) -> int:
        if "/readStreams/" in path:
            return self._tables[path.rpartition("/")[2]]
        found = _NUMBER.search(path) or _NUMBER.search(body)
        return int(found[1]) if found else len(ANSWERS)


def name_of(number: int) -> str:
    """Name the dataset of an answer; the one after the last is well."""
    return f"d{number:03}"


def table_of(number: int) -> pa.Table:
    """Give the table of a dataset."""
    return visits(ROWS, first=number)


@contextmanager
def hostile_server(folder: Path, numbers: Iterable[int], token: str | None = DEFAULT_TOKEN) -> Iterator[Hostile]:
    """Serve a dataset with one table for each of some answers."""
    for number in numbers:
        name = name_of(number)
        write_table(folder, f"demo/{name}/v1.0/t", table_of(number))
        write_note(folder, f"demo/{name}/dataset.yml", {"public_access_level": "data"})
    with Emulator(folder, rate_limit=RateLimit(10**9), settings=Settings(streams=1)) as upstream:
        hostile = Hostile("", token)
        with raw_server(lambda heard: hostile.answer(heard, upstream)) as address:
            hostile.endpoint = f"{address}/api/v1"
            yield hostile


def described(answer: Answer) -> str:
    """Say how an answer differs from a sound one."""
    return json.dumps({name: value for name, value in vars(answer).items() if value != getattr(Answer(), name)})
