"""Every fault that can hit the contents of files, in the answer itself and at signed addresses of another origin."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from redivis_emulator import DEFAULT_TOKEN, Emulator, Fault, RateLimit, Settings
from tap_redivis.model.columns import FILE_URI
from tests.faults.served import has_happened
from tests.faults.tap import run_limited
from tests.support.file_tables import (
    SOME,
    STREAM,
    assert_copied,
    error_of,
    ids_of,
    root_of,
    stored,
    watched,
    write_files,
    write_visits,
)
from tests.support.pipes import Output
from tests.support.samples import sampled
from tests.support.served import Site

_FILE = "deep/er/one.bin"  # larger than what is read at once
_SIZE = len(SOME[_FILE])
_LIMIT_SECONDS = 30  # many times the budget, and less than the default of it


@dataclass(frozen=True)
class _Item:
    """Faults of one file.

    Attributes:
        name: Its id.
        faults: Keywords of faults at the file's address.
        cause: What the error says; None: the files come.
        at_most: How often the file is asked for.
    """

    name: str
    faults: Sequence[dict[str, Any]]
    cause: str | None = None
    at_most: int = 2


def _once(name: str, kind: str, **fault: Any) -> _Item:
    return _Item(name, [{"kind": kind, **fault}])


def _always(name: str, kind: str, cause: str, at_most: int = 3, **fault: Any) -> _Item:
    return _Item(name, [{"kind": kind, "nth": "every", "times": None, **fault}], cause, at_most)


_CUT = {"kind": "close", "at_byte": 700_000}


def _part(name: str, content_range: str) -> _Item:
    """Say of the whole file, which comes once it was cut, that it is a part."""
    headers = {"Content-Range": content_range}
    faults = [_CUT, {"kind": "no_range", "nth": 2}, {"kind": "relabel", "nth": 2, "status": 206, "headers": headers}]
    return _Item(name, faults, at_most=3)


_PASSING = (
    *(_once(f"{kind}-in-the-middle", kind, at_byte=700_000) for kind in ("close", "reset", "short")),
    *(_once(f"{kind}-at-the-end", kind, at_byte=_SIZE) for kind in ("close", "short")),
    _Item("cut-again-and-again", [{"kind": "close", "at_byte": 100_000, "times": 9}], at_most=10),
    _once("no-answer", "close"),
    _once("garbage", "garbage", at_byte=900_000),
    _once("slow", "slow", at_byte=1_400_000, length=20, seconds=0.01),
    _once("throttle", "throttle", rate=5_000_000),
    _once("silence", "stall", at_byte=700_000),
    _once("wrong-digest", "wrong_digest"),
    *(_once(f"wrong-length-{length}", "wrong_length", length=length) for length in (None, 0, _SIZE + 5)),
    _Item("range-ignored", [_CUT, {"kind": "no_range", "nth": "every", "times": None}]),
    _Item(
        "range-ignored-and-cut", [{**_CUT, "times": 2}, {"kind": "no_range", "nth": "every", "times": None}], at_most=3
    ),
    _part("goes-on-elsewhere", f"bytes 900000-{_SIZE - 1}/{_SIZE}"),
    _part("goes-on-with-another-file", f"bytes 0-{_SIZE}/{_SIZE + 1}"),
    _part("part-of-nothing", "bytes"),
    _Item("part-refused", [_CUT, {"kind": "status", "nth": 2, "status": 416}], at_most=3),
    _once("status-503", "status", status=503),
    _once("status-429", "status", status=429, retry_after=0),
    _once("redirected-once", "relabel", status=302, headers={"Location": "#again"}),
)
_STAYING = (
    _always("digest-always-wrong", "wrong_digest", "should have 1,500,000 with "),
    _always("length-always-wrong", "wrong_length", "it has 1,499,999 bytes with the MD5 "),
    _always("always-garbage", "garbage", "it has 1,500,000 bytes with the MD5 ", at_byte=5),
    _Item(
        "always-damaged-in-parts",
        [
            {**_CUT, "nth": "every", "times": None},
            {"kind": "wrong_digest", "nth": "every", "times": None},
        ],
        "should have 1,500,000 with ",
        at_most=9,
    ),
    _always("always-503", "status", "HTTP 503", at_most=20, status=503),
    _always("always-429", "status", "HTTP 429", at_most=20, status=429, retry_after=0),
    _always("never-an-answer", "close", "the connection was closed", at_most=20),
    _always("status-404", "status", "HTTP 404", at_most=1, status=404),
    _always("status-403", "status", "HTTP 403", at_most=1, status=403),
    _always(
        "redirects-in-a-circle",
        "relabel",
        "redirects more than 5 times",
        99,
        status=302,
        headers={"Location": "#again"},
    ),
    _always("encoded", "headers", "encoded as 'gzip'", headers={"Content-Encoding": "gzip"}),
)
_SAMPLE = {"close-in-the-middle", "garbage", "range-ignored", "wrong-digest", "digest-always-wrong", "status-404"}
_ITEMS = sampled(
    (*_PASSING, *_STAYING), [each for each in (*_PASSING, *_STAYING) if each.name in _SAMPLE], lambda item: item.name
)


_SETTINGS = {
    "rawFiles": Settings(),
    "_storage": Settings(file_address="signed"),
    "without digest": Settings(file_digest="none"),
}


@pytest.fixture(name="site")
def make_site(tmp_path: Path, place: str) -> Iterator[Site]:
    """A Redivis that sends contents itself, or redirects to addresses on another port, which take no token."""
    folder, files = tmp_path / "served", tmp_path / "files"
    files.mkdir()
    write_files(folder, SOME)
    settings = _SETTINGS[place]
    with Emulator(folder, rate_limit=RateLimit(10**9), settings=settings) as emulator:
        yield Site(emulator, folder, files, DEFAULT_TOKEN)


def _run(site: Site, **settings: Any) -> Output:
    settings = {"datasets": ["demo.scans"], "request_timeout_seconds": 2, "max_retry_seconds": 2, **settings}
    files = {"root": str(root_of(site))}
    sizes = {name: len(content) for name, content in SOME.items()}
    with watched(root_of(site), sizes) as seen:
        done = run_limited(site.tap(files=files, **settings))
    assert seen.looks
    return done


@pytest.mark.parametrize("place", sampled(["rawFiles", "_storage"], ["_storage"]))
@pytest.mark.parametrize("item", _ITEMS)
def test_files_come_whole_or_an_error_names_the_one_that_does_not(site: Site, item: _Item, place: str) -> None:
    """Never does a part of a file lie under its name, or the token reach another origin."""
    file_id = ids_of(site)[_FILE]
    path = f"/{place}/{file_id}"
    faults = [Fault(path=path, **fault) for fault in item.faults]
    site.emulator.faults.add(*faults)

    done = _run(site)

    asked = [each for each in site.asked("/rawFiles/", "/_storage/") if each.path == path]
    assert all(has_happened(fault, asked) for fault in faults), "the fault did not happen"
    assert len(asked) <= item.at_most
    assert not [each for each in site.asked("/_storage/") if "authorization" in each.headers]
    assert done.seconds < _LIMIT_SECONDS
    if item.cause is None:
        assert done.exit_code == 0, done.stderr
        assert_copied(done.records(STREAM), root_of(site), SOME)
        return
    error = error_of(done)
    assert item.cause in error
    assert f"the file {file_id} ({_FILE!r})" in error
    assert "demo.scans" in error
    assert _FILE not in {record["file_name"] for record in done.records(STREAM)}
    assert set(stored(root_of(site)).values()) <= {SOME[name] for name in SOME if name != _FILE}


@pytest.mark.parametrize("place", ["rawFiles"])
@pytest.mark.parametrize(
    "item",
    sampled([each for each in _PASSING if "short" in each.name or "wrong" in each.name], [], lambda item: item.name),
)
def test_where_only_the_server_says_what_a_file_is_it_comes_whole_too(site: Site, item: _Item) -> None:
    """Of a table that is no index; what one answer says may be wrong, as the file's digest shows."""
    rows = {row["id"]: row["file_name"] for row in write_visits(site)}
    file_id = ids_of(site)[_FILE]
    site.emulator.faults.add(*(Fault(path=f"/rawFiles/{file_id}", **fault) for fault in item.faults))

    done = _run(site, datasets=[], tables=["demo.scans.visits"], table_options={"visits": {"file_variable": "scan"}})

    assert done.exit_code == 0, done.stderr
    named = [{**each, "file_name": rows[each["id"]]} for each in done.records("scans__visits") if each[FILE_URI]]
    assert_copied(named, root_of(site), SOME)


_IN_SIZE = [each for each in _PASSING if "goes-on" in each.name or "wrong-length" in each.name]


@pytest.mark.parametrize("place", ["without digest"])
@pytest.mark.parametrize("item", sampled(_IN_SIZE, _IN_SIZE[-1:], lambda item: item.name))
def test_where_nobody_tells_a_digest_the_size_and_the_part_are_checked(site: Site, item: _Item) -> None:
    """The row says how large the file is, and heads of answers which part of it comes."""
    stream = site.discover(datasets=["demo.scans"], files={"root": "out"})[STREAM]
    for entry in stream["metadata"]:
        entry["metadata"]["selected"] = entry["breadcrumb"][-1:] != ["md5_hash"]
    path = f"/rawFiles/{ids_of(site)[_FILE]}"
    site.emulator.faults.add(*(Fault(path=path, **fault) for fault in item.faults))

    done = _run(site, catalog={"streams": [stream]})

    assert done.exit_code == 0, done.stderr
    assert_copied(done.records(STREAM), root_of(site), SOME)
    assert len(site.asked(path)) == item.at_most
