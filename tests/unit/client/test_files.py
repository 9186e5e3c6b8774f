"""What the head of an answer says of a file is read right, and nonsense is no answer."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

from redivis_emulator import DEFAULT_TOKEN, Emulator, Settings
from tap_redivis.client.files import FileHead, head_of, open_file
from tap_redivis.client.http import Api
from tap_redivis.client.retry import BrokenAnswer
from tap_redivis.client.transport import pieces_of
from tests.unit.conftest import UNLIMITED

_MD5 = "1B2M2Y8AsgTpgAmY7PhCfg=="
_OTHER = "rL0Y20zC+Fzt72VPzMSk2A=="


def _head(status: int = 200, **headers: str) -> FileHead:
    answer = requests.Response()
    answer.status_code = status
    answer.headers = CaseInsensitiveDict({name.replace("_", "-"): value for name, value in headers.items()})
    return head_of(answer)


# --- digests ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "md5"),
    [
        ({"x_goog_hash": f"md5={_MD5}"}, _MD5),
        ({"x_goog_hash": f"crc32c=n03x6A==, md5={_MD5}"}, _MD5),
        ({"x_goog_hash": f"crc32c=n03x6A==,md5={_MD5}"}, _MD5),
        ({"Content_Digest": f"md5=:{_MD5}:"}, _MD5),
        ({"Content_Digest": f"sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:, md5=:{_MD5}:"}, _MD5),
        ({"x_goog_hash": f"md5={_MD5}", "Content_Digest": f"md5=:{_OTHER}:"}, _MD5),
        ({"x_goog_hash": "md5=nonsense"}, None),
        ({"x_goog_hash": "crc32c=n03x6A=="}, None),
        ({"Content_Digest": f"notmd5=:{_MD5}:"}, None),
        ({}, None),
    ],
)
def test_a_digest_is_found_in_either_header(headers: dict[str, str], md5: str | None) -> None:
    assert _head(**headers).md5 == md5


def test_of_a_part_only_the_hash_of_the_whole_file_counts() -> None:
    """A content digest is that of the part (RFC 9530, 2)."""
    part = {"Content_Range": "bytes 5-9/10", "Content_Digest": f"md5=:{_OTHER}:"}

    assert _head(206, **part) == FileHead(begin=5, size=10, md5=None, name=None)
    assert _head(206, **part, x_goog_hash=f"md5={_MD5}").md5 == _MD5


# --- sizes and parts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("length", "size"), [("0", 0), ("12", 12), ("-1", None), ("many", None), ("", None)])
def test_the_length_is_the_size_if_it_is_one(length: str, size: int | None) -> None:
    assert _head(Content_Length=length) == FileHead(begin=0, size=size, md5=None, name=None)


@pytest.mark.parametrize("content_range", ["", "bytes */10", "bytes 5-9/*", "bytes 5-", "rows 5-9/10", "bytes -5-9/10"])
def test_a_part_that_does_not_say_which_is_no_answer(content_range: str) -> None:
    with pytest.raises(BrokenAnswer, match="does not say which"):
        _head(206, Content_Range=content_range, Content_Length="5")


def test_a_range_of_a_whole_answer_means_nothing() -> None:
    assert _head(200, Content_Range="bytes 5-9/10", Content_Length="10").begin == 0


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ('attachment; filename="one.txt"', "one.txt"),
        ("attachment; filename=one.txt", "one.txt"),
        ('attachment; filename="a \\"b\\".txt"', 'a "b".txt'),
        ("attachment; filename*=utf-8''Z%C3%BCrich%201%25.txt", "Zürich 1%.txt"),
        ("attachment; filename*=UTF-8'en'%E2%82%AC.txt", "€.txt"),
        ("attachment; filename*=iso-8859-1''Z%FCrich", "Zürich"),
        ("attachment; filename*0*=utf-8''a%20; filename*1=b.txt", "a b.txt"),
        ("attachment; filename*=utf-8''deep%2Fone.txt", "deep/one.txt"),
        ("attachment; filename*=no-such-charset''one.txt", "one.txt"),
        ("attachment; filename*=utf-8''%FF.txt", "\ufffd.txt"),
        ("attachment; filename*=one.txt", "one.txt"),
        ("attachment", None),
        ('attachment; filename=""', None),
        ("", None),
    ],
)
def test_the_name_is_read_in_each_form(disposition: str, name: str | None) -> None:
    assert _head(Content_Disposition=disposition).name == name


@given(
    st.text(alphabet=st.characters(max_codepoint=255)), st.sampled_from(["", "attachment; filename", "a; filename*="])
)
def test_no_nonsense_in_a_head_is_more_than_an_answer_that_is_none(text: str, before: str) -> None:
    for status in (200, 206):
        for name in ("Content_Disposition", "Content_Length", "Content_Range", "Content_Digest", "x_goog_hash"):
            try:
                head = _head(status, **{name: before + text})
            except BrokenAnswer:
                continue
            assert head.begin >= 0
            assert head.size is None or head.size >= 0


# --- a server's own --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings", [Settings(), Settings(file_address="signed"), Settings(file_digest="content-digest")]
)
def test_a_file_is_opened_whole_or_from_a_byte_on(tmp_path: Path, settings: Settings) -> None:
    path = tmp_path / "demo/scans/v1.0/scans.files/deep/Zürich 1%.txt"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"0123456789")
    with Emulator(tmp_path, rate_limit=UNLIMITED, settings=settings) as emulator:
        api = Api(emulator.endpoint, DEFAULT_TOKEN, timeout=20, max_retry_seconds=20)
        rows = api.open("/tables/demo.scans.scans/rows", {"format": "jsonl"}).json()
        found = []
        for begin, last in ((0, None), (3, None), (0, 0)):
            with closing(open_file(api, rows["file_id"], begin, last)) as answer:
                found.append((head_of(answer), b"".join(pieces_of(answer))))

    assert [body for _, body in found] == [b"0123456789", b"3456789", b"0"]
    assert [(head.begin, head.size, head.name) for head, _ in found] == [
        (begin, 10, found[0][0].name) for begin in (0, 3, 0)
    ]
    assert found[0][0].md5 == rows["md5_hash"]
