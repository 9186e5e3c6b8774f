"""File-index tables that the emulator serves, and the contents of their files as the tap has copied them."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import requests

from redivis_emulator.log import Request
from tap_redivis.model.columns import FILE_URI
from tests.support.measuring import repeated
from tests.support.pipes import Json, Output
from tests.support.served import Site, write_note, write_table

_TIME_LIMIT = 60  # seconds; more than any of these takes on a slow machine

STREAM = "scans__scans"
SOME = {
    "deep/er/one.bin": random.Random(1).randbytes(1_500_000),  # noqa: S311 - the same in every run
    "empty.txt": b"",
    "three.txt": b"3" * 3000,
    "two.txt": b"two",
    "Zürich 1%.txt": "Grüezi".encode(),
}
"""Contents by name; the first is longer than what is read at once."""


def write_files(folder: Path, contents: Mapping[str, bytes], version: str = "v1.0", table: str = "scans") -> None:
    """Write the files of a version of a table of ``demo.scans``."""
    for name, content in contents.items():
        path = folder / f"demo/scans/{version}/{table}.files/{name}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def rows_of(site: Site, table: str = "demo.scans.scans") -> list[Json]:
    """Read a table's rows by another way than the tap's."""
    address = f"{site.endpoint}/tables/{table}/rows?format=jsonl"
    answer = requests.get(address, headers={"Authorization": f"Bearer {site.emulator.token}"}, timeout=20)
    site.emulator.forget_requests()
    return [requests.models.complexjson.loads(line) for line in answer.text.splitlines()]


def ids_of(site: Site) -> dict[str, str]:
    """Give the ids of files by their names."""
    return {row["file_name"]: row["file_id"] for row in rows_of(site)}


def write_visits(site: Site) -> list[Json]:
    """Release a table whose variable ``Scan`` has ids of files, some twice, and some of which are null."""
    ids = ids_of(site)
    names = [*SOME, None, "two.txt", *SOME, None]
    rows = [{"id": number, "Scan": ids.get(name or "")} for number, name in enumerate(names)]
    write_table(site.folder, "demo/scans/v1.0/visits", pa.Table.from_pylist(rows))
    write_note(
        site.folder, "demo/scans/dataset.yml", {"tables": {"visits": {"variables": {"Scan": {"is_file_id": True}}}}}
    )
    site.emulator.reload()
    return [{**row, "file_name": name} for row, name in zip(rows, names, strict=True)]


def fetched(site: Site) -> list[Request]:
    """List the requests for contents that were not redirected."""
    return [each for each in site.asked("/rawFiles/", "/_storage/") if each.status != requests.codes.found]


def root_of(site: Site) -> Path:
    """Say where contents go."""
    return site.files / "contents"


def path_of(uri: str) -> Path:
    """Find the file that a row names."""
    assert uri.startswith("file:///")
    return Path(unquote(urlsplit(uri).path))


def stored(root: Path) -> dict[str, bytes]:
    """Read all files below a root, unfinished ones too."""
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def assert_copied(records: Iterable[Json], root: Path, contents: Mapping[str, bytes]) -> None:
    """Check that rows name each of some contents once, each in a file of its own, and that there is nothing else.

    Raises:
        AssertionError: It is otherwise.
    """
    named = {record["file_name"]: path_of(record[FILE_URI]) for record in records}
    assert {name: path.read_bytes() for name, path in named.items()} == dict(contents)
    assert {path.relative_to(root).as_posix() for path in named.values()} == set(stored(root))
    assert len(set(named.values())) == len(contents)


def error_of(done: Output) -> str:
    """Return the one line that says why a run failed, whose STATE comes last."""
    assert done.exit_code == 1, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    if done.messages:
        assert done.messages[-1]["type"] == "STATE"
    [error] = [line for line in done.stderr.splitlines() if "| ERROR " in line and "streams failed" not in line]
    return error


def wait_for(condition: Callable[[], object]) -> None:
    """Wait until something holds."""
    until = time.monotonic() + _TIME_LIMIT
    while not condition():
        assert time.monotonic() < until, "it did not come to pass"
        time.sleep(0.005)


@dataclass
class Watched:
    """What is seen of a root while a tap runs.

    Attributes:
        looks: How often it was looked at.
        broken: Names and sizes of files that were seen before they were whole.
    """

    looks: int = 0
    broken: set[tuple[str, int]] = field(default_factory=set)


@contextmanager
def watched(root: Path, sizes: Mapping[str, int], seconds: float = 0.002) -> Iterator[Watched]:
    """Look all the time for files below a root, under the names that they have by default, that are not whole.

    Args:
        root: The root.
        sizes: Bytes of the files by their names.
        seconds: Between two looks.
    """
    seen = Watched()

    def look() -> None:
        seen.looks += 1
        for folder, folders, names in os.walk(root):
            folders[:] = [name for name in folders if name != ".partial"]
            for path in (Path(folder, name) for name in names):
                _, _, name = path.relative_to(root).as_posix().split("/", 2)
                if (size := path.stat().st_size) != sizes[name]:
                    seen.broken.add((name, size))

    with repeated(look, seconds):
        yield seen
    assert not seen.broken
