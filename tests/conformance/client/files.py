"""Steps that read files: indexes, contents, directories; also from signed addresses, and with faults."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
import redivis

from tests.conformance.client.steps import FOLDER, control, error_of, step, table

_LARGE = "2012/large.bin"


def _digest(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _digests(folder: Path) -> dict[str, str]:
    """Return the digest of each file below a folder."""
    return {str(p.relative_to(folder)): _digest(p.read_bytes()) for p in folder.rglob("*") if p.is_file()}


def _large() -> Any:
    return table("images").file(_LARGE)


@contextmanager
def _signed() -> Iterator[None]:
    """Ask the other emulator, which redirects to signed addresses."""
    plain = os.environ["REDIVIS_API_ENDPOINT"]
    os.environ["REDIVIS_API_ENDPOINT"] = os.environ["SIGNED_ENDPOINT"]
    try:
        yield
    finally:
        os.environ["REDIVIS_API_ENDPOINT"] = plain


@step
def list_files() -> Any:
    return [[str(file.path), file.size, base64.b64encode(file.hash).decode()] for file in table("images").list_files()]


@step
def directory_read_again() -> Any:
    images = table("images")
    return images.to_directory() is not None and len(images.to_directory().list(recursive=True, mode="files"))


@step
def parts_of_directories() -> Any:
    root = redivis.table("demo.medicare.images").to_directory()
    return {
        "limited": len(table("images").list_files(max_results=1)),
        "top": sorted(each.name for each in root.list()),
        "directories": [str(each.path) for each in root.list(mode="directories", recursive=True)],
        "found": [root.get("2012/01").name, root.get(_LARGE).name, root.get("nothing")],
        "absent": error_of(lambda: table("images").file("nothing.txt"))[:1],
        "directory": error_of(lambda: table("images").file("2012"))[:1],
        "metadata": _large().get().size,
    }


@step
def files_of_a_query() -> Any:
    sql = "SELECT file_id AS scan, CONCAT('size/', CAST(size AS STRING)) AS title FROM `demo.medicare.images`"
    query = redivis.query(sql)
    listed = query.list_files(file_id_variable="scan", file_name_variable="title")
    query.to_directory().download(f"{FOLDER}/of_query", progress=False)
    with_index = redivis.query("SELECT * FROM `demo.medicare.images` WHERE size < 100")
    with_index.download_files(f"{FOLDER}/of_query_too", progress=False)
    return [
        sorted(str(file.path) for file in listed),
        _digests(FOLDER / "of_query"),
        sorted(_digests(FOLDER / "of_query_too")),
        query.file("size/7").read(as_text=True),
    ]


@step
def download_file() -> Any:
    _large().download(f"{FOLDER}/large.bin", progress=False)
    refused = error_of(lambda: table("images").file("scan.txt").download(f"{FOLDER}/large.bin", progress=False))
    _large().download(f"{FOLDER}/large.bin", progress=False)  # is there already
    table("images").file("scan.txt").download(f"{FOLDER}/scan.txt", overwrite=True, progress=False)
    return [_digest(Path(f"{FOLDER}/large.bin").read_bytes()), refused[:1], Path(f"{FOLDER}/scan.txt").read_text()]


@step
def read_files() -> Any:
    scan = table("images").file("scan.txt")
    with scan.open() as text, _large().open("rb") as content, _large().open("rb", start_byte=256, end_byte=511) as part:
        lines = list(text)
        first = content.read(5)
        content.seek(-3, os.SEEK_END)
        return {
            "text": scan.read(as_text=True),
            "digest": _digest(_large().read()),
            "range": _large().read(start_byte=10, end_byte=19).hex(),
            "rest": _digest(_large().read(start_byte=1_000_000)),
            "lines": lines,
            "seek": [first.hex(), content.read().hex()],
            "part": _digest(part.read()),
            "stream": scan.stream().read(),
        }


@step
def streams_of_files() -> Any:
    scan, piece = table("images").file("scan.txt"), bytearray(3)
    with scan.open("rb") as lines, scan.open("rb") as pieces, scan.open("rb") as whole, scan.open("rb") as chunks:
        return {
            "lines": [lines.readline().decode(), lines.readlines()],
            "pieces": [pieces.readinto(piece), piece.decode(), pieces.tell(), pieces.read1(2).decode()],
            "whole": whole.readall().decode(),
            "chunks": b"".join(chunks).decode(),
            "is": [whole.readable(), whole.seekable(), whole.writable(), whole.raw() is None],
        }


@step
def read_by_fsspec() -> Any:
    root = "redivis://demo.medicare.images"
    with fsspec.open(f"{root}/scan.txt", "rb") as file:
        return [file.read().decode(), sorted(fsspec.filesystem("redivis").ls(root))]


@step
def download_directory() -> Any:
    table("images").to_directory().download(str(FOLDER / "images"), progress=False)
    table("images").to_directory().get("2012/01").download(str(FOLDER / "sub"), progress=False)
    table("images").to_directory().download(str(FOLDER / "one"), max_results=1, max_concurrency=1, progress=False)
    return [_digests(FOLDER / "images"), sorted(_digests(FOLDER / "sub")), len(_digests(FOLDER / "one"))]


@step
def download_files() -> Any:
    table("images").download_files(str(FOLDER / "deprecated"), progress=False)
    table("images").download_files(str(FOLDER / "deprecated"), max_results=2, overwrite=True, progress=False)
    return _digests(FOLDER / "deprecated")


@step
def signed_downloads() -> Any:
    with _signed():
        _large().download(f"{FOLDER}/signed.bin", progress=False)
        table("images").download_files(str(FOLDER / "signed"), progress=False)
        part = _large().read(start_byte=10, end_byte=19).hex()
    return [_digest(Path(f"{FOLDER}/signed.bin").read_bytes()), _digests(FOLDER / "signed"), part]


def _broken(name: str, *faults: dict[str, Any]) -> list[Any]:
    """Download the large file alone and all files, each with these faults: return the digests of what came."""
    folder = FOLDER / "broken" / name
    control("faults", list(faults))
    _large().download(f"{folder}.bin", progress=False)
    control("faults", list(faults))
    table("images").download_files(str(folder), progress=False)
    return [_digest(Path(f"{folder}.bin").read_bytes()), _digests(folder)]


@step
def cut_downloads() -> Any:
    cut = {"kind": "close", "path": "/rawFiles/*", "at_byte": 3_000_000, "per_path": True}
    return _broken("cut", cut)


@step
def cut_signed_downloads() -> Any:
    with _signed():
        return _broken("cut signed", {"kind": "short", "path": "/_storage/*", "at_byte": 3_000_000, "per_path": True})


@step
def slow_downloads() -> Any:
    return _broken("slow", {"kind": "throttle", "path": "/rawFiles/*", "rate": 20_000_000, "per_path": True})


@step
def busy_downloads() -> Any:
    return _broken("busy", {"kind": "status", "status": 503, "path": "/rawFiles/*", "per_path": True})


@step
def downloads_without_ranges() -> Any:
    """The client asks for the rest of a file, and begins anew when the whole file comes."""
    path = f"/rawFiles/{_large().id}"
    ignored = {"kind": "no_range", "path": path, "nth": 2}
    control("faults", [{"kind": "close", "path": path, "at_byte": 4_500_000}, ignored])
    table("images").to_directory().get("2012").download(str(FOLDER / "whole"), progress=False)
    return _digests(FOLDER / "whole")


@step
def one_file_is_missing() -> Any:
    control("faults", {"kind": "status", "status": 404, "path": f"/rawFiles/{_large().id}", "times": 2})
    alone = error_of(lambda: _large().download(f"{FOLDER}/missing.bin", progress=False))
    together = error_of(lambda: table("images").download_files(str(FOLDER / "missing"), progress=False))
    return [alone[:1], together[:1]]


@step
def lies_that_the_client_believes() -> Any:
    """A wrong length and a wrong digest: the client checks neither after a download."""
    control("faults", {"kind": "wrong_length", "path": "/rawFiles/*", "length": 99})
    _large().download(f"{FOLDER}/short.bin", progress=False)
    control("faults", {"kind": "wrong_digest", "path": "/rawFiles/*"})
    _large().download(f"{FOLDER}/digest.bin", progress=False)
    return [Path(f"{FOLDER}/short.bin").stat().st_size, _digest(Path(f"{FOLDER}/digest.bin").read_bytes())]
