"""Files as the official client reads them, also from signed addresses and with faults."""

from __future__ import annotations

import base64
import hashlib

import pytest

from tests.conformance import library
from tests.conformance.conftest import Session

# One client process for all tests of this folder, also with several workers.
pytestmark = pytest.mark.xdist_group("official client")


def _digest(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


_CONTENT = library.FILES["2012/large.bin"]
_DIGESTS = {name: _digest(content) for name, content in library.FILES.items()}


def test_list_files(client: Session) -> None:
    expected = [
        [name, len(content), base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()]
        for name, content in library.FILES.items()
    ]

    assert sorted(client.value("list_files")) == sorted(expected)


def test_a_file_index_is_asked_for_again_only_if_it_changed(client: Session) -> None:
    indexes = [request for request in client.requests if request.path.endswith("/rawFiles")]

    assert client.value("directory_read_again") == len(library.FILES)
    assert {("if-modified-since" in request.headers, request.status) for request in indexes} == {
        (False, 200),
        (True, 304),
    }


def test_parts_of_directories(client: Session) -> None:
    assert client.value("parts_of_directories") == {
        "limited": 1,
        "top": ["2012", "scan.txt"],
        "directories": ["/2012", "/2012/01"],
        "found": ["01", "large.bin", None],
        "absent": ["NotFoundError"],
        "directory": ["ValueError"],
        "metadata": len(_CONTENT),
    }


def test_files_of_a_query_have_the_names_that_it_gives_them(client: Session) -> None:
    names = {f"size/{len(content)}": _digest(content) for content in library.FILES.values()}

    assert client.value("files_of_a_query") == [sorted(names), names, ["2012/01/empty", "scan.txt"], "a scan\n"]


def test_a_file_is_downloaded(client: Session) -> None:
    """Another file of that name is not replaced."""
    assert client.value("download_file") == [_digest(_CONTENT), ["ValueError"], "a scan\n"]


def test_files_are_read_whole_and_in_part(client: Session) -> None:
    assert client.value("read_files") == {
        "text": "a scan\n",
        "digest": _digest(_CONTENT),
        "range": bytes(range(10, 20)).hex(),
        "rest": _digest(_CONTENT[1_000_000:]),
        "lines": ["a scan\n"],
        "seek": [_CONTENT[:5].hex(), _CONTENT[-3:].hex()],
        "part": _digest(_CONTENT[256:512]),
        "stream": "a scan\n",
    }


def test_streams_of_files(client: Session) -> None:
    assert client.value("streams_of_files") == {
        "lines": ["a scan\n", []],
        "pieces": [3, "a s", 3, "ca"],
        "whole": "a scan\n",
        "chunks": "a scan\n",
        "is": [True, True, False, False],
    }


def test_files_are_read_through_fsspec(client: Session) -> None:
    text, names = client.value("read_by_fsspec")

    assert (text, names[-1]) == ("a scan\n", "demo.medicare.images/scan.txt")


def test_directories_are_downloaded(client: Session) -> None:
    assert client.value("download_directory") == [_DIGESTS, ["empty"], 1]
    assert client.value("download_files") == _DIGESTS


def test_files_come_from_signed_addresses(client: Session) -> None:
    """On another port, where the client does not send its token."""
    assert client.value("signed_downloads") == [_digest(_CONTENT), _DIGESTS, bytes(range(10, 20)).hex()]
    signed = [request for request in client.requests if request.path.startswith("/_storage/")]
    assert {request.status for request in signed} == {200, 206}
    assert not [request for request in signed if "authorization" in request.headers]


@pytest.mark.parametrize(("step", "prefix"), [("cut_downloads", "/rawFiles/"), ("cut_signed_downloads", "/_storage/")])
def test_cut_downloads_go_on_at_their_range(client: Session, step: str, prefix: str) -> None:
    """`File.download` and `Table.download_files`."""
    assert client.value(step) == [_digest(_CONTENT), _DIGESTS]
    asked = [request for request in client.requests if request.path.startswith((prefix, "/rawFiles/"))]
    assert "bytes=3000000-" in {request.headers.get("range") for request in asked if request.status in {206, 302}}


@pytest.mark.parametrize("step", ["slow_downloads", "busy_downloads"])
def test_slow_and_busy_downloads_end(client: Session, step: str) -> None:
    assert client.value(step) == [_digest(_CONTENT), _DIGESTS]


def test_a_file_is_whole_though_its_range_is_ignored(client: Session) -> None:
    assert client.value("downloads_without_ranges") == {
        name.removeprefix("2012/"): digest for name, digest in _DIGESTS.items() if name.startswith("2012/")
    }
    ignored = [request for request in client.requests if "range" in request.headers and request.status == 200]
    assert len(ignored) == 1


def test_a_missing_file_is_an_error(client: Session) -> None:
    assert client.value("one_file_is_missing") == [["NotFoundError"], ["APIError"]]


def test_lies_that_the_client_believes(client: Session) -> None:
    """It checks neither length nor digest of what it downloads."""
    assert client.value("lies_that_the_client_believes") == [99, _digest(_CONTENT)]
