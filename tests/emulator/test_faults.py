"""The fault menu, seen from a bare socket: what arrives, and how the connection ends."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from redivis_emulator import Fault
from tests.emulator.conftest import Client, read_arrow, write

STREAMS = "/readStreams/*"
SESSIONS = "*/readSessions"
_QUIET_SECONDS = 0.3
_LONG_SECONDS = 20.0


@dataclass(frozen=True)
class Heard:
    """What came over a connection: decoded as far as chunks are whole, and how it ended."""

    head: str
    body: bytes
    end: str  # "whole", "closed", "reset" or "silent"

    @property
    def lines(self) -> list[Any]:
        """The whole JSON lines."""
        return [json.loads(line) for line in self.body.split(b"\n")[:-1]]


def listen(client: Client, path: str, *, silent: Callable[[Heard], bool] = lambda _: False) -> Heard:
    """Ask for a path and listen until the connection ends or is quiet.

    Args:
        client: Says where.
        path: What is asked for.
        silent: Whether silence is expected after what was heard; else it is a slow machine's, and is waited out.
    """
    address = urlsplit(client.emulator.endpoint)
    received, end = b"", "whole"
    with socket.create_connection((address.hostname, address.port or 80)) as connection:
        request = f"GET {address.path}{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {client.token}\r\n\r\n"
        connection.sendall(request.encode())
        try:
            while not is_whole(received):
                connection.settimeout(_QUIET_SECONDS if silent(heard(received, "")) else _LONG_SECONDS)
                piece = connection.recv(1 << 16)
                if not piece:
                    return heard(received, "closed")
                received += piece
        except ConnectionResetError:
            end = "reset"
        except TimeoutError:
            end = "silent"
    return heard(received, end)


def is_whole(received: bytes) -> bool:
    """Return whether an answer is complete by its own framing."""
    head, _, body = received.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" in head:
        return (b"\r\n" + body).endswith(b"\r\n0\r\n\r\n")
    length = next((line for line in head.split(b"\r\n") if line.startswith(b"content-length: ")), None)
    return length is not None and len(body) == int(length.partition(b": ")[2])


def heard(received: bytes, end: str) -> Heard:
    """Take an answer apart."""
    head, _, body = received.partition(b"\r\n\r\n")
    content = unchunked(body) if b"transfer-encoding: chunked" in head else body
    return Heard(head.decode(), content, end)


def unchunked(body: bytes) -> bytes:
    """Return the content of a chunked body, as far as it came."""
    content = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        content += rest[: int(size, 16)]
        body = rest[int(size, 16) + 2 :]
    return content


def stream_path(client: Client, form: str = "jsonl", **query: str) -> str:
    """Open a session with one stream; return the path of the stream."""
    session = client.session(format=form, requestedStreamCount=1)
    extra = "".join(f"&{key}={value}" for key, value in query.items())
    return f"/readStreams/{session['streams'][0]['id']}?offset=0{extra}"


@pytest.mark.parametrize(
    ("kind", "end"),
    [("close", "closed"), ("reset", "reset"), ("stall", "silent"), ("short", "closed"), ("end", "whole")],
)
def test_a_body_ends_at_a_byte(client: Client, kind: str, end: str) -> None:
    """All bytes before the place arrive, none after it, and the connection ends as the kind says."""
    path = stream_path(client)
    whole = listen(client, path).body
    client.emulator.faults.add(Fault(kind=kind, path=STREAMS, at_byte=12_345))  # type: ignore[arg-type] # a kind
    cut = listen(client, path, silent=lambda so_far: kind == "stall" and len(so_far.body) >= 12_345)
    assert (cut.body, cut.end) == (whole[:12_345], end)
    assert listen(client, path).body == whole


@pytest.mark.parametrize(
    ("kind", "end"),
    [("close", "closed"), ("reset", "reset"), ("stall", "silent"), ("short", "closed"), ("end", "whole")],
)
@pytest.mark.parametrize("row", [0, 1, 1234, 5000])
def test_a_body_ends_at_a_row(client: Client, kind: str, end: str, row: int) -> None:
    """Exactly so many rows arrive, and so many count as delivered (redivis-api §8.1.3)."""
    path = stream_path(client)
    client.emulator.faults.add(Fault(kind=kind, path=STREAMS, at_row=row))  # type: ignore[arg-type] # a kind
    cut = listen(client, path, silent=lambda so_far: kind == "stall" and len(so_far.lines) >= row)
    assert (len(cut.lines), cut.end) == (row, end)
    assert listen(client, path.replace("offset=0", f"offset={row + 1}")).head.startswith("HTTP/1.1 400")
    rest = listen(client, path.replace("offset=0", f"offset={row}"))
    assert sorted(line["id"] for line in cut.lines + rest.lines) == list(range(5000))


@pytest.mark.parametrize("row", [0, 777])
def test_arrow_ends_at_a_batch(client: Client, row: int) -> None:
    """The messages before the row are whole, and neither sentinel nor end mark follows."""
    client.emulator.faults.add(Fault(kind="end", path=STREAMS, at_row=row))
    cut = listen(client, stream_path(client, "arrow", eosSentinel="true"))
    assert read_arrow(cut.body).num_rows == row
    assert not cut.body.endswith(b"\xff\xff\xff\xff\x00\x00\x00\x00")


@pytest.mark.parametrize(("kind", "end"), [("close", "closed"), ("reset", "reset"), ("stall", "silent")])
def test_no_answer(client: Client, kind: str, end: str) -> None:
    """Without a place, nothing at all is answered, and the log says so."""
    client.emulator.faults.add(Fault(kind=kind))  # type: ignore[arg-type] # a kind
    assert listen(client, "/users/me", silent=lambda _: kind == "stall") == Heard("", b"", end)
    assert client.emulator.requests[-1].status is None
    assert client.get("/users/me").status_code == 200


def test_a_stall_may_end(client: Client) -> None:
    """After its seconds everything goes on."""
    client.emulator.faults.add(Fault(kind="stall", path=STREAMS, at_row=10, seconds=0.1))
    assert len(listen(client, stream_path(client)).lines) == 5000


def test_refused_connections(client: Client) -> None:
    """The port is closed for a while, then open again, on the same number."""
    client.emulator.faults.add(Fault(kind="refuse", seconds=2.0))
    assert listen(client, "/users/me").end in {"closed", "reset"}
    with pytest.raises(requests.ConnectionError, match="refused"):
        client.get("/users/me")
    deadline = time.monotonic() + 30
    while not answers(client):
        assert time.monotonic() < deadline


def answers(client: Client) -> bool:
    """Return whether connections are accepted."""
    try:
        return client.get("/users/me").ok
    except requests.ConnectionError:
        return False


def test_garbage(client: Client) -> None:
    """So many bytes are others, the rest is as it was."""
    path = stream_path(client)
    whole = listen(client, path).body
    client.emulator.faults.add(Fault(kind="garbage", path=STREAMS, at_byte=100, length=50))
    spoilt = listen(client, path).body
    assert (spoilt[:100], spoilt[150:]) == (whole[:100], whole[150:])
    assert spoilt[100:150] != whole[100:150]


def test_slow_bytes(client: Client) -> None:
    """They come one by one, and nothing is lost."""
    path = stream_path(client)
    whole = listen(client, path).body
    client.emulator.faults.add(Fault(kind="slow", path=STREAMS, at_byte=100, length=5, seconds=0.05))
    started = time.monotonic()
    assert listen(client, path).body == whole
    assert time.monotonic() - started >= 0.2  # five waits, of which clocks may take off a little


@pytest.mark.parametrize(("rate", "length"), [(300_000, None), (500, 200)])
def test_throttled_bytes(client: Client, rate: int, length: int | None) -> None:
    """All bytes, or so many, come no faster than said, the others as ever, and nothing is lost."""
    path = stream_path(client)
    whole = listen(client, path).body
    client.emulator.faults.add(Fault(kind="throttle", path=STREAMS, rate=rate, length=length))
    started = time.monotonic()
    assert listen(client, path).body == whole
    expected = (len(whole) if length is None else length) / rate
    assert 0.9 * expected <= time.monotonic() - started < 60  # clocks may take off a little; all at 500 takes minutes


@pytest.mark.parametrize(
    ("form", "media_type", "content"),
    [
        ("flat", "application/json", '{"status": 502, "error": "api_error", "error_description": "Oh"}'),
        ("nested", "application/json", '{"error": {"message": "Oh", "status": 502}}'),
        ("html", "text/html", "<html><head><title>502 Oh</title></head><body><h1>502 Oh</h1></body></html>"),
        ("text", "text/plain", "Oh"),
        ("empty", "application/json", ""),
    ],
)
def test_error_answers(client: Client, form: str, media_type: str, content: str) -> None:
    """Any status in any form (redivis-api §1.8), with more headers."""
    fault = Fault(kind="status", status=502, body=form, message="Oh", headers={"X-A": "b"})  # type: ignore[arg-type] # a form
    client.emulator.faults.add(fault)
    answer = client.get("/users/me")
    assert (answer.status_code, answer.text, answer.headers["X-A"]) == (502, content, "b")
    assert answer.headers["Content-Type"].startswith(media_type)


def test_retry_after_in_all_spellings(client: Client) -> None:
    """redivis-api §1.7: seconds, seconds or milliseconds since 1970, HTTP date."""
    now = time.time()
    found = {}
    for form in ("seconds", "epoch", "epoch_ms", "http_date"):
        fault = Fault(kind="status", status=429, retry_after=60, retry_after_form=form)
        client.emulator.faults.add(fault)
        found[form] = client.get("/users/me").headers["Retry-After"]
    assert found["seconds"] == "60"
    assert 55 < int(found["epoch"]) - now < 65
    assert 55 < int(found["epoch_ms"]) / 1000 - now < 65
    assert 55 < parsedate_to_datetime(found["http_date"]).timestamp() - now < 65


def test_which_requests_are_hit(client: Client) -> None:
    """From the nth on, so many times, only those that match."""
    client.emulator.faults.add(Fault(kind="status", path="/users/*", method="GET", nth=2, times=2))
    assert client.get("/datasets/acme.numbers").status_code == 200
    assert [client.get("/users/me").status_code for _ in range(4)] == [200, 503, 503, 200]


def test_each_path_may_be_counted_by_itself(client: Client) -> None:
    """So that the first request of every stream can be hit."""
    client.emulator.faults.add(Fault(kind="status", path="re:^/(users|datasets)/", per_path=True))
    paths = ["/users/me", "/datasets/acme.numbers"] * 2
    assert [client.get(path).status_code for path in paths] == [503, 503, 200, 200]


def test_every_request_may_be_hit(client: Client) -> None:
    client.emulator.faults.add(Fault(kind="status", nth="every"))
    assert {client.get("/users/me").status_code for _ in range(3)} == {503}
    client.emulator.faults.clear()
    assert client.get("/users/me").status_code == 200


def test_a_session_ends(client: Client) -> None:
    """For this and all later requests."""
    session = client.session()
    assert client.stream(session).status_code == 200
    client.emulator.faults.add(Fault(kind="expire", path=STREAMS))
    assert [client.stream(session).status_code for _ in range(2)] == [404, 404]


def test_an_offset_is_refused(client: Client) -> None:
    """Only a request that has one is hit, and counted."""
    session = client.session()
    client.emulator.faults.add(Fault(kind="refuse_offset", path=STREAMS))
    assert client.stream(session, offset=0).status_code == 200
    assert client.stream(session, offset=5).status_code == 400
    assert client.stream(session, offset=5).status_code == 200


def test_no_sentinel(client: Client) -> None:
    """The stream ends as if nobody had asked for it."""
    path = stream_path(client, "arrow")
    plain = listen(client, path).body
    client.emulator.faults.add(Fault(kind="no_sentinel", path=STREAMS))
    assert listen(client, path + "&eosSentinel=true").body == plain
    assert len(listen(client, path + "&eosSentinel=true").body) > len(plain)


@pytest.mark.parametrize(
    ("fault", "rows"),
    [
        (Fault(kind="json", path=SESSIONS, set={"numRows": None}), None),
        (Fault(kind="json", path=SESSIONS, add={"numRows": 3}), 5003),
        (Fault(kind="json", path=SESSIONS, add={"numRows": -3}), 4997),
    ],
)
def test_a_wrong_number_of_rows(client: Client, fault: Fault, rows: int | None) -> None:
    """The session says it; its streams have all rows."""
    client.emulator.faults.add(fault)
    session = client.session()
    assert session["numRows"] == rows
    assert sum(stream["estimatedRows"] for stream in session["streams"]) == 5000


@pytest.mark.parametrize("count", [0, 1, 9])
def test_another_number_of_streams(client: Client, count: int) -> None:
    client.emulator.faults.add(Fault(kind="streams", path=SESSIONS, count=count))
    session = client.session(requestedStreamCount=4)
    assert len(session["streams"]) == count
    assert session["numRows"] == (5000 if count else 0)


def test_more_rows_than_asked_for(client: Client) -> None:
    client.emulator.faults.add(Fault(kind="overshoot", path=SESSIONS, rows=3))
    assert client.session(maxResults=10)["numRows"] == 13


def test_other_columns(client: Client) -> None:
    """Another order, other types, for a whole session."""
    client.emulator.faults.add(Fault(kind="columns", path=SESSIONS))
    client.emulator.faults.add(Fault(kind="retype", path=SESSIONS, types={"id": "string"}))
    table = read_arrow(client.stream(client.session()).content)
    assert [(field.name, str(field.type)) for field in table.schema] == [("name", "string"), ("id", "string")]
    assert client.stream(client.session(format="jsonl")).text.startswith('{"id":')


def test_pages_of_one(client: Client) -> None:
    client.emulator.faults.add(Fault(kind="page_size", nth="every"))
    page = client.json("/tables/acme.numbers.numbers/variables", maxResults=1000)
    assert len(page["results"]) == 1
    page = client.json("/tables/acme.numbers.numbers/variables", maxResults=1000, pageToken=page["nextPageToken"])
    assert (page["results"][0]["name"], page["nextPageToken"]) == ("name", None)


def test_headers_are_added(client: Client) -> None:
    client.emulator.faults.add(Fault(kind="headers", headers={"X-REDIVIS-WARNING": "Careful"}))
    assert client.get("/users/me").headers["X-REDIVIS-WARNING"] == "Careful"


def test_a_version_is_released_between_two_requests(folder: Path, client: Client) -> None:
    for version in ("v1.0", "v1.1"):
        write(folder, f"acme/versions/{version}/t.csv", "a\n1\n")
    write(folder, "acme/versions/dataset.yml", "current_version: v1.0")
    client.emulator.reload()
    client.emulator.faults.add(Fault(kind="release", nth=2, dataset="acme.versions", version="v1.1"))
    tags = [client.json("/datasets/acme.versions")["version"]["tag"] for _ in range(3)]
    assert tags == ["v1.0", "v1.1", "v1.1"]


def test_faults_of_other_answers(client: Client) -> None:
    """JSON and error answers break like streams."""
    client.emulator.faults.add(Fault(kind="close", at_byte=10))
    cut = listen(client, "/users/me")
    assert (cut.body, cut.end) == (b'{"kind":"u', "closed")
    client.emulator.faults.add(Fault(kind="end", at_byte=10))
    cut = listen(client, "/users/me")
    assert (cut.body, cut.end) == (b'{"kind":"u', "whole")


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        (Fault(kind="release", dataset="acme.nothing", version="v1.0"), "no version 'v1.0'"),
        (Fault(kind="json", add={"name": 1}), "name is not a number"),
    ],
)
def test_a_fault_that_cannot_happen_says_so(client: Client, fault: Fault, problem: str) -> None:
    client.emulator.faults.add(fault)
    answer = client.get("/users/me")
    assert answer.status_code == 500
    assert problem in answer.json()["error_description"]


def test_the_control_endpoints(serve: Callable[..., Client], folder: Path) -> None:
    """They do what the Python API does, without a token."""
    client = serve()
    base = client.emulator.endpoint.replace("/api/v1", "/_emulator")
    session = client.session()
    assert requests.post(f"{base}/faults", json=[{"kind": "status", "status": 418}], timeout=20).status_code == 200
    assert requests.get(f"{base}/faults", timeout=20).json()[0]["status"] == 418
    assert client.get("/users/me").status_code == 418
    assert requests.get(f"{base}/requests", timeout=20).json()[-1]["path"] == "/users/me"
    assert requests.delete(f"{base}/requests", timeout=20).ok
    assert client.emulator.requests == []
    assert requests.delete(f"{base}/faults", timeout=20).ok
    assert client.emulator.faults.all() == []
    assert requests.post(f"{base}/clock", json={"seconds": 30_000}, timeout=20).ok
    assert client.stream(session).status_code == 404
    write(folder, "acme/numbers/more.csv", "a\n1\n")
    assert requests.post(f"{base}/reload", timeout=20).ok
    assert client.json("/datasets/acme.numbers")["tableCount"] == 2
    assert requests.post(f"{base}/release", json={"dataset": "acme.numbers", "version": "v1.0"}, timeout=20).ok


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("faults", '{"kind": "nonsense"}', 400),
        ("faults", '{"kind": "status", "colour": 1}', 400),
        ("faults", "{", 400),
        ("clock", "{}", 400),
        ("release", '{"dataset": "acme.numbers", "version": "v7.0"}', 400),
        ("nothing", "", 404),
    ],
)
def test_senseless_controls_are_refused(client: Client, path: str, body: str, status: int) -> None:
    base = client.emulator.endpoint.replace("/api/v1", "/_emulator")
    answer = requests.post(f"{base}/{path}", data=body, timeout=20)
    assert (answer.status_code, list(answer.json())) == (status, ["error"])


def test_an_answer_with_another_status(client: Client) -> None:
    """All else is as it would be."""
    path = stream_path(client)
    whole = client.get(path)
    client.emulator.faults.add(Fault(kind="relabel", path=STREAMS, status=206))

    answer = client.get(path)

    assert (answer.status_code, answer.content) == (206, whole.content)


def test_rows_that_come_again_and_again(client: Client) -> None:
    """After the position, for as long as the client listens."""
    path = stream_path(client)
    whole = client.get(path).content
    client.emulator.faults.add(Fault(kind="repeat", path=STREAMS, at_row=2))
    with client.send("GET", path, stream=True) as answer:
        begin = b"".join(islice(answer.iter_content(1), 3 * len(whole)))

    first = b"".join(whole.splitlines(keepends=True)[:2])
    assert begin.startswith(first * 2)


def test_a_head_without_an_end(client: Client) -> None:
    """Header lines come, one by one, and never the empty line after them."""
    client.emulator.faults.add(Fault(kind="endless_head", path=STREAMS, seconds=0.01))
    address = urlsplit(client.emulator.endpoint)
    with socket.create_connection((address.hostname, address.port or 80)) as connection:
        connection.sendall(f"GET {address.path}/readStreams/x HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        lines = connection.makefile("rb")
        assert lines.readline().startswith(b"HTTP/1.1 200")
        assert {lines.readline() for _ in range(20)} == {b"X-Fault: endless\r\n"}
