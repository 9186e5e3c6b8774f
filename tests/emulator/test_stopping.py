"""An answer that is cut off says nothing in the log: neither at the emulator's end, nor where the client went away."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa
import pytest

from redivis_emulator import Emulator, Fault
from tests.emulator.conftest import MANY, Client, write
from tests.emulator.test_cli import EMULATOR

# A second or so.
_SLOW_SQL = """SELECT COUNT(*) AS n FROM `acme.numbers.numbers` a, `acme.numbers.numbers` b, `acme.numbers.numbers` c
    WHERE c.id < 2 AND a.id * 31 + b.id * 17 + c.id = 5"""
_LONG = pa.table({"id": range(20_000), "text": [f"{n} {'lorem ipsum ' * 40}" for n in range(20_000)]})


@pytest.fixture(name="large")
def make_large(folder: Path) -> Path:
    """Add a table that no socket holds whole, and a file of 30 MB."""
    write(folder, "acme/large/large.parquet", _LONG)
    write(folder, "acme/large/dataset.yml", "tables: {large: {repeat: 30}}")
    write(folder, "acme/files/images.files/large.bin", bytes(30_000_000))
    return folder


def _head(endpoint: str, token: str | None, method: str, path: str, headers: str = "") -> bytes:
    place = urlsplit(endpoint)
    lines = f"Host: {place.netloc}\r\nAuthorization: Bearer {token}\r\n{headers}"
    return f"{method} {place.path}{path} HTTP/1.1\r\n{lines}\r\n".encode()


def _post(path: str, body: object) -> Callable[[Client], bytes]:
    content = json.dumps(body)
    length = f"Content-Length: {len(content)}\r\n"
    return lambda client: _head(client.emulator.endpoint, client.token, "POST", path, length) + content.encode()


def _get(path: str) -> Callable[[Client], bytes]:
    return lambda client: _head(client.emulator.endpoint, client.token, "GET", path)


def _stream(form: str) -> Callable[[Client], bytes]:
    return lambda client: _get(client.session("acme.large.large", format=form)["streams"][0]["uri"])(client)


def _file(client: Client) -> bytes:
    index = client.get("/tables/acme.files.images/rows").json()
    return _get(f"/rawFiles/{index['file_id']}")(client)


def _half_a_body(client: Client) -> bytes:
    path = "/tables/acme.large.large/readSessions"
    return _head(client.emulator.endpoint, client.token, "POST", path, "Content-Length: 1000\r\n") + b'{"format":'


REQUESTS: dict[str, Callable[[Client], bytes]] = {
    "jsonl": _stream("jsonl"),
    "arrow": _stream("arrow"),
    "csv": _stream("csv"),
    "rows": _get("/tables/acme.large.large/rows"),
    "file": _file,
    "query": _post("/queries", {"query": _SLOW_SQL}),
    "half a request": _half_a_body,
}
PLACES: dict[str, Fault] = {
    "stalled before the answer": Fault(kind="stall", path="*/rows", nth="every"),
    "stalled in the body": Fault(kind="stall", path="*/rows", nth="every", at_row=100),
    "slow": Fault(kind="slow", path="*/rows", nth="every", at_byte=10),
    "throttled": Fault(kind="throttle", path="*/rows", nth="every", at_byte=10, rate=1000),
    "garbage": Fault(kind="garbage", path="*/rows", nth="every", at_byte=10),
    "closed": Fault(kind="close", path="*/rows", nth="every", at_byte=10),
    "reset": Fault(kind="reset", path="*/rows", nth="every", at_byte=30_000_000),
}


@contextmanager
def _asked(client: Client, request: bytes) -> Iterator[socket.socket]:
    """Send a request, and take the first bytes of the answer if there are some soon."""
    place = urlsplit(client.emulator.endpoint)
    with socket.create_connection((str(place.hostname), int(place.port or 0))) as connection:
        connection.settimeout(0.2)
        connection.sendall(request)
        with suppress(TimeoutError, ConnectionError):
            connection.recv(1000)
        yield connection


def _said(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> str:
    records = [r for r in caplog.records if r.levelno >= logging.WARNING]
    return "\n".join([*(f"{r.name}: {r.getMessage()} {r.exc_text or ''}" for r in records), capfd.readouterr().err])


@pytest.mark.parametrize("kind", REQUESTS)
def test_the_end_of_the_emulator_is_quiet(
    large: Path, kind: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """It ends in the middle of several answers."""
    with ExitStack() as running:
        emulator = running.enter_context(Emulator(large, rate_limit=MANY))
        client = Client(emulator, emulator.token)
        with _asked(client, REQUESTS[kind](client)), _asked(client, REQUESTS[kind](client)):
            running.close()
    assert _said(caplog, capfd) == ""


@pytest.mark.parametrize("kind", REQUESTS)
def test_a_client_that_goes_away_is_no_error(
    large: Path, kind: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with Emulator(large, rate_limit=MANY) as emulator:
        client = Client(emulator, emulator.token)
        for _ in range(3):
            with _asked(client, REQUESTS[kind](client)):
                pass
        assert client.get("/users/me").status_code == 200
    assert _said(caplog, capfd) == ""


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("first", ["client", "emulator"])
def test_an_end_at_a_fault_is_quiet(
    large: Path,
    place: str,
    first: str,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Whoever ends first."""
    with ExitStack() as running:
        emulator = running.enter_context(Emulator(large, rate_limit=MANY))
        emulator.faults.add(PLACES[place])
        client = Client(emulator, emulator.token)
        with _asked(client, REQUESTS["rows"](client)):
            if first == "emulator":
                running.close()
        time.sleep(0.05)
    assert _said(caplog, capfd) == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_ends_quietly(large: Path, number: signal.Signals) -> None:
    """Its two first lines are all that it says."""
    command = [*EMULATOR, "serve", str(large), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ) as process:
        assert process.stderr is not None
        endpoint = process.stderr.readline().split()[-1]
        assert process.stderr.readline().startswith("redivis-emulator: export ")
        place = urlsplit(endpoint)
        with socket.create_connection((str(place.hostname), int(place.port or 0))) as connection:
            connection.sendall(_head(endpoint, "emulator-token", "GET", "/tables/acme.large.large/rows"))
            assert connection.recv(1000)
            process.send_signal(number)
            assert (process.stderr.read(), process.wait(20)) == ("", 0)
