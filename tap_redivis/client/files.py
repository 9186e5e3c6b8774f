"""Contents of files: opened at a byte, and what the head of the answer says of the file (redivis-api §4.8)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from urllib.parse import quote

from requests import Response, codes

from tap_redivis.client.answers import count_of
from tap_redivis.client.http import Api
from tap_redivis.client.retry import BrokenAnswer

_MD5 = re.compile(r"\bmd5=:?([A-Za-z0-9+/]{22}==)")
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")


@dataclass(frozen=True)
class FileHead:
    """What an answer says of its file; None is what it does not say."""

    begin: int  # which byte of the file the body begins with
    size: int | None  # bytes of the whole file
    md5: str | None  # of the whole file, in base64
    name: str | None


def open_file(api: Api, file_id: str, begin: int = 0, last: int | None = None) -> Response:
    """Open the content of a file from a byte on, or to the ``last`` one; raises what ``Api.open`` does.

    A server may ignore which bytes are asked for, and send all, or have no such part (416): ``head_of`` tells.
    """
    byte_range = f"{begin}-{'' if last is None else last}" if begin or last is not None else None
    return api.open(f"/rawFiles/{quote(file_id, safe='')}", {}, byte_range)


def open_index(api: Api, table_uri: str, variable: str) -> Response:
    """Open the index of a table's files, in Arrow; raises what ``Api.open`` does."""
    return api.open(f"{table_uri}/rawFiles", {"format": "arrow", "fileIdVariable": variable})


def head_of(answer: Response) -> FileHead:
    """Read the head of an answer with the content of a file; a ``BrokenAnswer`` says that it makes no sense."""
    headers = answer.headers
    if answer.status_code == codes.requested_range_not_satisfiable:
        raise BrokenAnswer("the server says that the file ends before that byte")
    # A content digest is of what is sent, which may be a part; Google's hash is of the file (RFC 9530, 2).
    hashes = [headers.get("x-goog-hash", "")]
    begin, size = 0, count_of(headers.get("Content-Length"))
    if answer.status_code == codes.partial_content:
        part = _RANGE.fullmatch(headers.get("Content-Range", ""))
        if part is None:
            raise BrokenAnswer("the server sends a part of the file, and does not say which")
        begin, size = int(part[1]), int(part[2])
    else:
        hashes.append(headers.get("Content-Digest", ""))
    md5 = _MD5.search(" ".join(hashes))
    return FileHead(begin, size, md5[1] if md5 else None, _name_in(headers))


def _name_in(headers: Mapping[str, str]) -> str | None:
    message = Message()
    message["Content-Disposition"] = headers.get("Content-Disposition", "")
    return message.get_filename() or None
