"""The contents of file-index tables: whole, by range, at signed addresses, and with every fault (redivis-api §4.8)."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from redivis_emulator import Fault, RateLimit, Readings, Settings, Token
from tests.emulator.conftest import Client, read_arrow, write

CONTENT = bytes(range(256)) * 12_000
MD5 = base64.b64encode(hashlib.md5(CONTENT, usedforsecurity=False).digest()).decode()
SIGNED = Settings(file_address="signed")


@pytest.fixture(name="folder")
def make_folder(tmp_path: Path) -> Path:
    """Return a folder with two file-index tables of three files."""
    write(tmp_path, "served/acme/scans/v1.0/scans.files/deep/one.bin", CONTENT)
    write(tmp_path, "served/acme/scans/v1.0/scans.files/two.txt", "two")
    write(tmp_path, "served/acme/scans/v1.0/scans.files/Zürich 1%.txt", "")
    write(tmp_path, "served/acme/other/other.csv", "id\n1\n")
    return tmp_path / "served"


def index(client: Client) -> dict[str, dict[str, Any]]:
    """Return the files of the table by their names."""
    found = read_arrow(client.get("/tables/acme.scans.scans/rawFiles", format="arrow").content).to_pylist()
    return {file["file_name"]: file for file in found}


def path_of(client: Client, name: str = "deep/one.bin") -> str:
    """Return the path of a file's content."""
    return f"/rawFiles/{index(client)[name]['file_id']}"


def signed_address(client: Client, **options: Any) -> str:
    """Return the address that a file's content is redirected to."""
    answer = client.send("GET", path_of(client), allow_redirects=False, **options)
    assert answer.status_code == 302
    return answer.headers["Location"]


def test_the_index_lists_the_files(client: Client) -> None:
    files = index(client)
    assert client.json("/tables/acme.scans.scans")["isFileIndex"] is True
    assert client.json("/tables/acme.scans.scans/variables/file_id")["isFileId"] is True
    assert {name: file["size"] for name, file in files.items()} == {
        "Zürich 1%.txt": 0,
        "deep/one.bin": len(CONTENT),
        "two.txt": 3,
    }
    assert files["deep/one.bin"]["md5_hash"] == MD5
    now = {"If-Modified-Since": "Mon, 23 Nov 2026 00:00:00 GMT"}
    assert client.send("GET", "/tables/acme.scans.scans/rawFiles", headers=now).status_code == 304
    query = client.query("SELECT IF(size = 3, file_id, NULL) AS file_id, 'x' AS label FROM acme.scans.scans")
    named = read_arrow(client.get(f"{query['uri']}/rawFiles", fileNameVariable="label").content).to_pylist()
    assert [file["label"] for file in named] == ["x"]
    assert client.get("/tables/acme.other.other/rawFiles").status_code == 400


@pytest.mark.parametrize("settings", [Settings(), SIGNED], ids=["in the answer", "at a signed address"])
def test_contents_come_whole_and_by_range(serve: Callable[..., Client], settings: Settings) -> None:
    client = serve(settings=settings)
    path = path_of(client)
    whole = client.get(path)
    assert whole.content == CONTENT
    assert whole.headers["Content-Length"] == str(len(CONTENT))
    assert whole.headers["x-goog-hash"] == f"md5={MD5}"
    part = client.send("GET", path, headers={"Range": "bytes=1000-"})
    assert (part.status_code, part.content) == (206, CONTENT[1000:])
    assert part.headers["Content-Range"] == f"bytes 1000-{len(CONTENT) - 1}/{len(CONTENT)}"
    assert client.send("GET", path, headers={"Range": "bytes=1-3"}).content == b"\1\2\3"
    assert client.send("GET", path, headers={"Range": f"bytes={len(CONTENT)}-"}).status_code == 416
    assert [request.status for request in client.emulator.requests if request.status != 302][-3:] == [206, 206, 416]
    assert client.get(path_of(client, "Zürich 1%.txt")).content == b""


def test_head_has_the_name_and_no_body(client: Client) -> None:
    head = client.send("HEAD", path_of(client))
    assert (head.headers["X-Redivis-Filename"], head.headers["Content-Length"]) == ("deep/one.bin", str(len(CONTENT)))
    odd = client.send("HEAD", path_of(client, "Zürich 1%.txt"))
    assert (odd.headers["X-Redivis-Filename"], odd.headers["Content-Length"]) == ("Z%C3%BCrich%201%25.txt", "0")


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("content-digest", {"Content-Digest": f"md5=:{MD5}:"}),
        ("x-goog-hash", {"x-goog-hash": f"md5={MD5}"}),
        ("none", {}),
    ],
)
def test_the_digest_has_the_header_that_is_set(
    serve: Callable[..., Client], form: Any, expected: dict[str, str]
) -> None:
    client = serve(settings=Settings(file_digest=form))
    headers = client.get(path_of(client)).headers
    assert {name: headers[name] for name in ("Content-Digest", "x-goog-hash") if name in headers} == expected


def test_unknown_and_vanished_files_are_not_found(folder: Path, client: Client) -> None:
    path = path_of(client, "two.txt")
    (folder / "acme/scans/v1.0/scans.files/two.txt").unlink()
    assert [client.get(each).status_code for each in (path, "/rawFiles/none")] == [404, 404]


def test_contents_need_access_to_data(serve: Callable[..., Client]) -> None:
    client = serve(tokens={"guest": Token(user="guest", access={"acme.*": "metadata"})})
    path = path_of(client)
    assert client.holding("guest").get(path).status_code == 403
    assert client.holding(None).get(path).status_code == 401


def test_signed_addresses_are_on_another_port_and_need_no_token(serve: Callable[..., Client]) -> None:
    client = serve(settings=SIGNED, rate_limit=RateLimit(requests=3), readings=Readings(anonymous="none"))
    address = signed_address(client)
    api = urlsplit(client.emulator.endpoint)
    assert (urlsplit(address).hostname, urlsplit(address).port) != (api.hostname, api.port)
    client.emulator.forget_requests()
    assert [requests.get(address, timeout=20).content == CONTENT for _ in range(4)] == [True] * 4
    request, *_ = client.emulator.requests
    assert request.path == urlsplit(address).path
    assert (request.status, "authorization" in request.headers) == (200, False)


def test_signed_addresses_are_for_one_file_and_an_hour(serve: Callable[..., Client]) -> None:
    client = serve(settings=SIGNED)
    address = signed_address(client)
    one, two = (path_of(client, name).removeprefix("/rawFiles/") for name in ("deep/one.bin", "two.txt"))
    wrong = requests.get(address.replace(one, two), timeout=20)
    assert (wrong.status_code, "SignatureDoesNotMatch" in wrong.text) == (403, True)
    assert requests.get(address.partition("?")[0], timeout=20).status_code == 403
    with_token = requests.get(address, headers={"Authorization": f"Bearer {client.token}"}, timeout=20)
    assert (with_token.status_code, "InvalidArgument" in with_token.text) == (400, True)
    client.emulator.pass_time(3601)
    late = requests.get(address, timeout=20)
    assert (late.status_code, "ExpiredToken" in late.text) == (400, True)
    assert requests.get(signed_address(client), timeout=20).content == CONTENT


def test_there_are_no_signed_addresses_unless_they_are_set(client: Client) -> None:
    origin = client.emulator.endpoint.removesuffix("/api/v1")
    assert requests.get(f"{origin}/_storage/{path_of(client)[10:]}", timeout=20).status_code == 404


@pytest.fixture(name="hit", params=["/rawFiles/*", "/_storage/*"], ids=["in the answer", "at a signed address"])
def make_hit(request: pytest.FixtureRequest, serve: Callable[..., Client]) -> Callable[..., Client]:
    """Return a function that serves with a fault at the contents, and returns a client."""

    def hit(**fault: Any) -> Client:
        client = serve(settings=SIGNED if request.param == "/_storage/*" else Settings())
        client.emulator.faults.add(Fault(path=request.param, **fault))
        return client

    return hit


@pytest.mark.parametrize("kind", ["close", "reset", "short"])
def test_a_cut_file_goes_on_at_its_range(hit: Callable[..., Client], kind: Any) -> None:
    client = hit(kind=kind, at_byte=1_000_000)
    path = path_of(client)
    got = b""
    with pytest.raises(requests.RequestException):  # noqa: PT012 - what came before the cut is kept
        for piece in client.send("GET", path, stream=True).iter_content(1 << 16):
            got += piece
    assert 0 < len(got) <= 1_000_000
    rest = client.send("GET", path, headers={"Range": f"bytes={len(got)}-"})
    assert got + rest.content == CONTENT


def test_a_digest_may_be_wrong(hit: Callable[..., Client]) -> None:
    client = hit(kind="wrong_digest")
    first, second = (client.get(path_of(client)) for _ in range(2))
    assert first.headers["x-goog-hash"] != second.headers["x-goog-hash"] == f"md5={MD5}"
    assert first.content == second.content == CONTENT


@pytest.mark.parametrize(("length", "sent"), [(None, len(CONTENT) - 1), (0, 0), (len(CONTENT) + 5, len(CONTENT) + 5)])
def test_a_length_may_be_wrong(hit: Callable[..., Client], length: int | None, sent: int) -> None:
    """HTTP says that the body is whole."""
    client = hit(kind="wrong_length", length=length)
    answer = client.get(path_of(client))
    assert answer.headers["Content-Length"] == str(sent)
    assert answer.content == CONTENT[:sent].ljust(sent, b"\0")
    assert client.get(path_of(client)).content == CONTENT


def test_ranges_may_be_ignored(hit: Callable[..., Client]) -> None:
    client = hit(kind="no_range")
    first, second = (client.send("GET", path_of(client), headers={"Range": "bytes=5-"}) for _ in range(2))
    assert (first.status_code, first.content) == (200, CONTENT)
    assert "Accept-Ranges" not in first.headers
    assert (second.status_code, second.content) == (206, CONTENT[5:])


def test_one_file_may_be_missing(client: Client) -> None:
    path = path_of(client)
    client.emulator.faults.add(Fault(kind="status", status=404, path=path, times=None))
    assert [client.get(path).status_code for _ in range(2)] == [404, 404]
    assert client.get(path_of(client, "two.txt")).text == "two"


def test_files_may_be_slow(hit: Callable[..., Client]) -> None:
    client = hit(kind="throttle", rate=20_000_000)
    path, start = path_of(client), time.monotonic()
    assert client.get(path).content == CONTENT
    assert time.monotonic() - start > 0.9 * len(CONTENT) / 20_000_000
