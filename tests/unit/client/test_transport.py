"""HTTP has bounds: whatever a server sends, an answer comes in time or there is an error, and the token stays here."""

from __future__ import annotations

import gzip
import itertools
import os
import resource
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from redivis_emulator import DEFAULT_TOKEN
from tap_redivis.client.answers import count_of, misfit_of
from tap_redivis.client.http import Api
from tap_redivis.client.retry import TransientError, Watch
from tap_redivis.client.transport import pieces_of
from tap_redivis.errors import ApiError, ConfigError, RedivisError, Unavailable
from tests.support.raw_servers import Heard, Reply, answer, chunk, chunked, raw_server

_TIMEOUT = 0.5
_SOON = 5.0  # seconds: many times the budgets, and less than forever
_ROWS = b'{"id":1}\n'


def _api(address: str, token: str | None = DEFAULT_TOKEN, **settings: Any) -> Api:
    return Api(address, token, **{"timeout": _TIMEOUT, "max_retry_seconds": 0.2, **settings})


def _failure(api: Api, ask: Callable[[Api], object]) -> Exception:
    """Ask, and return the error, which must come soon."""
    started = time.monotonic()
    with pytest.raises((RedivisError, TransientError)) as caught:
        ask(api)
    assert time.monotonic() - started < _SOON
    return caught.value


def _json(api: Api) -> object:
    return api.get("/x")


def _body(api: Api) -> bytes:
    with closing(api.open("/x", {})) as body:
        return b"".join(Watch(_TIMEOUT).over(pieces_of(body)))  # as read streams do


# --- time ------------------------------------------------------------------------------------------------------------


def _slowly(head: bytes, again: bytes) -> Iterator[bytes]:
    """Something, and then a little more of it for ever, each time before anybody would call it silence."""
    yield head
    for _ in itertools.count():
        time.sleep(_TIMEOUT / 10)
        yield again


_TRICKLES: dict[str, Callable[[], Iterable[bytes]]] = {
    "the status line": lambda: _slowly(b"HTTP/1.1 200 ", b"O"),
    "a header": lambda: _slowly(b"HTTP/1.1 200 OK\r\nX: ", b"y"),
    "header after header": lambda: _slowly(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
    "100 after 100": lambda: _slowly(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "the size of a chunk": lambda: _slowly(chunked(), b"0"),
    "an extension of a chunk": lambda: _slowly(chunked() + b"5;", b"a"),
    "trailer after trailer": lambda: _slowly(chunked() + chunk(b"{}") + b"0\r\n", b"X: y\r\n"),
}
_FLOODS: dict[str, Callable[[], Iterable[bytes]]] = {
    "a header": lambda: itertools.chain([b"HTTP/1.1 200 OK\r\nX: "], itertools.repeat(b"y" * 65536)),
    "header after header": lambda: itertools.chain([b"HTTP/1.1 200 OK\r\n"], itertools.repeat(b"X: y\r\n" * 9999)),
    "large headers": lambda: itertools.chain(
        [b"HTTP/1.1 200 OK\r\n"], itertools.repeat(b"X: " + b"y" * 60000 + b"\r\n", 90), [b"\r\n{}"]
    ),
    "100 after 100": lambda: itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n" * 999),
    "trailer after trailer": lambda: itertools.chain(
        [chunked() + chunk(b"{}") + b"0\r\n"], itertools.repeat(b"X: y\r\n" * 9999)
    ),
    "blank bytes": lambda: itertools.chain([chunked()], itertools.repeat(chunk(b" \n" * 99999))),
    "JSON": lambda: itertools.chain([chunked() + chunk(b'{"a":[')], itertools.repeat(chunk(b"1," * 99999))),
}


@pytest.mark.parametrize("ask", [_json, _body])
@pytest.mark.parametrize("pieces", _TRICKLES.values(), ids=_TRICKLES)
def test_what_trickles_for_ever_is_given_up(pieces: Callable[[], Iterable[bytes]], ask: Any) -> None:
    """No single wait is silence, and all of them together have an end all the same."""
    with raw_server(lambda _: pieces()) as address:
        _failure(_api(address), ask)


@pytest.mark.parametrize("pieces", _FLOODS.values(), ids=_FLOODS)
def test_what_comes_for_ever_is_given_up(pieces: Callable[[], Iterable[bytes]]) -> None:
    """Nor is it kept."""
    with raw_server(lambda _: pieces()) as address:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        _failure(_api(address), _json)

    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


# --- redirects -------------------------------------------------------------------------------------------------------


def _redirecting(location: str, status: str = "302 Found", body: bytes = b"") -> Reply:
    def reply(heard: Heard) -> Iterable[bytes]:
        yield answer(b'{"a":1}') if heard.path == "/there" else answer(body, status, f"Location: {location}")

    return reply


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
def test_a_redirect_keeps_the_method_and_at_its_origin_the_token(status: str) -> None:
    heard: list[Heard] = []

    def reply(each: Heard) -> Iterable[bytes]:
        heard.append(each)
        yield from _redirecting("/there", status)(each)

    with raw_server(reply) as address:
        assert _api(address).post("/x", {"b": 2}) == {"a": 1}

    assert [(each.method, each.path, each.body) for each in heard] == [
        ("POST", "/x", b'{"b": 2}'),
        ("POST", "/there", b'{"b": 2}'),
    ]
    assert {each.headers["authorization"] for each in heard} == {f"Bearer {DEFAULT_TOKEN}"}


@pytest.mark.parametrize(
    "there", ["{address}/there", "http://user:pass@{host}/there", "http://{host}\\@{origin}/there"]
)
def test_a_redirect_elsewhere_gets_no_token_and_no_password(
    there: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another port is another origin; neither the address nor a .netrc file may name what is sent instead."""
    (tmp_path / "netrc").write_text("default login somebody password else")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    heard: list[Heard] = []

    def elsewhere(each: Heard) -> Iterable[bytes]:
        heard.append(each)
        yield answer(b"{}")

    with raw_server(elsewhere) as other:
        host = other.removeprefix("http://")
        origin = ""

        def reply(_: Heard) -> Iterable[bytes]:
            yield answer(b"", "302 Found", "Location: " + there.format(address=other, host=host, origin=origin))

        with raw_server(reply) as address:
            origin = address.removeprefix("http://")
            _api(address).get("/x")

    assert [each.headers.get("authorization") for each in heard] == [None]


@pytest.mark.parametrize(
    "location",
    ["http://[::1", "http://", "ftp://127.0.0.1/x", "file:///etc/passwd", "http://127.0.0.1:99999/x", "http://a b/",
     "http://" + "a" * 70 + ".example/", "http://\xad/x", "mailto:x", "/x"],
)  # fmt: skip
def test_a_redirect_to_what_is_no_address_is_a_clear_error(location: str) -> None:
    """Or to where it came from, for ever."""
    with raw_server(_redirecting(location)) as address:
        error = _failure(_api(address), _json)

    assert "redirect" in str(error)


@pytest.mark.parametrize("ask", [_json, _body])
def test_the_body_of_a_redirect_is_not_read(ask: Any) -> None:
    """Gigabytes, or what a little gzip becomes."""

    def reply(heard: Heard) -> Iterable[bytes]:
        if heard.path == "/there":
            yield answer(b'{"a":1}')
            return
        yield chunked("302 Found", "Location: /there")
        yield from itertools.repeat(chunk(b"x" * 10**6), 200)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with raw_server(reply) as address:
        assert ask(_api(address)) in ({"a": 1}, b'{"a":1}')

    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


# --- what is a body --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "status", ["103 Hints", "201 Created", "202 Accepted", "203 Other", "204 None", "205 Reset", "206 Partial",
               "226 Used", "299 Odd", "300 Many", "302 Found", "304 Same", "305 Proxy", "399 Odd", "600 Odd", "999 Odd"]
)  # fmt: skip
def test_only_200_is_a_body_of_rows(status: str) -> None:
    """All else would be a table with too few rows."""
    with raw_server(lambda _: [answer(_ROWS, status)]) as address:
        error = _failure(_api(address), _body)

    assert isinstance(error, TransientError)
    assert f"HTTP {status[:3]}" in str(error)


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd", "gzip, gzip", "compress", "x"])
@pytest.mark.parametrize("ask", [_json, _body])
def test_an_encoding_that_nobody_asked_for_is_no_body(encoding: str, ask: Any) -> None:
    """A few bytes of some of them become gigabytes."""
    packed = gzip.compress(b"{}")
    with raw_server(lambda _: [answer(packed, "200 OK", f"Content-Encoding: {encoding}")]) as address:
        assert "encod" in str(_failure(_api(address), ask))


@pytest.mark.parametrize(
    "body",
    [b"[" * 100_000, b'{"a":' * 100_000, b'{"a":' + b"[" * 200 + b"]" * 200 + b"}", b'{"a":[' + b"{}," * 10**6 + b"1]}",
     b'{"a":' + b"9" * 5000 + b"}", b'{"a":"' + b"x" * 20_000_000 + b'"}', b"\xff\xfe{}", b'"\\ud800"'],
    ids=lambda body: f"{body[:12]!r} of {len(body)}",
)  # fmt: skip
@pytest.mark.parametrize("status", ["200 OK", "400 Bad"])
def test_json_like_no_other_is_a_clear_error(body: bytes, status: str) -> None:
    """Nested deeper, or with more values, than anything real."""
    with raw_server(lambda _: [answer(body, status)]) as address:
        error = _failure(_api(address), _json)

    assert isinstance(error, ApiError)


def test_text_that_is_no_unicode_is_made_so() -> None:
    """A lone surrogate could be written nowhere."""
    with raw_server(lambda _: [answer(rb'{"a":"x\ud800","b":"\ud83d\ude00"}')]) as address:
        assert _api(address).get("/x") == {"a": "x?", "b": "\N{GRINNING FACE}"}


# --- the environment -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_loopback_is_never_asked_for_by_way_of_a_proxy(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The token goes to it in plain text."""
    monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with raw_server(lambda _: [answer(b"{}")]) as address:
        _api(address).get("/x")


def test_a_proxy_is_used_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[Heard] = []

    def reply(each: Heard) -> Iterable[bytes]:
        heard.append(each)
        yield answer(b"{}")

    with raw_server(reply) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        _api("http://redivis.example/api", None).get("/x")

    assert [each.path for each in heard] == ["http://redivis.example/api/x"]


@pytest.mark.parametrize("value", ["gopher://127.0.0.1:1", "http://", "http://secret:pw@[::1", "http://host:99999x"])
def test_a_proxy_that_is_none_is_an_error_that_names_the_variable(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, and without the password in it."""
    monkeypatch.setenv("HTTPS_PROXY", value)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)

    with pytest.raises(ConfigError, match="HTTPS_PROXY") as caught:
        _api("https://redivis.example/api")

    assert "pw" not in str(caught.value)


def test_a_proxy_that_is_not_there_is_named_as_the_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)

    assert "the proxy" in str(_failure(_api("https://redivis.example/api"), _json))


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
@pytest.mark.parametrize("content", [None, "no certificate", ""])
def test_a_bundle_of_certificates_that_is_none_is_an_error_that_names_it(
    name: str, content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    bundle = tmp_path / "bundle.pem"
    if content is not None:
        bundle.write_text(content)
    monkeypatch.setenv(name, str(bundle))

    with pytest.raises(ConfigError, match=name):
        _api("https://redivis.example/api")


def test_a_bundle_of_certificates_that_is_a_pipe_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "bundle.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "bundle.pem"))

    with pytest.raises(ConfigError, match="it is a pipe"):
        _api("https://redivis.example/api")


# --- lists and numbers -----------------------------------------------------------------------------------------------


def _list_without_end(item: bytes) -> Reply:
    numbers = itertools.count(1)
    return lambda _: [answer(b'{"results":[%b],"nextPageToken":%d}' % (item, next(numbers)))]


@pytest.mark.parametrize("bound", ["pages", "bytes", "seconds"])
@pytest.mark.parametrize(
    "item", [b"", b'{"name":"a"}', (b'{"name":"' + b"x" * 900 + b'"},') * 199 + b'{"name":"b"}'], ids=len
)
def test_a_list_of_ever_more_pages_is_an_error(item: bytes, bound: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With items or without, and whether they are small or large; each of its three bounds is enough."""
    monkeypatch.setattr("tap_redivis.client.http._MOST_PAGES", 20 if bound == "pages" else 10**9)
    monkeypatch.setattr("tap_redivis.client.http._MOST_LIST_BYTES", 20_000 if bound == "bytes" else 10**12)
    api_of = partial(_api, timeout=0.5 if bound == "seconds" else 600)
    with raw_server(_list_without_end(item)) as address, pytest.raises(Unavailable, match="the list does not end"):
        for _ in api_of(address).page_lists("/x"):
            pass


@pytest.mark.parametrize("reset", ["nan", "inf", "-inf", "1e400", "9" * 400, "-1", "soon", "1e300", "99999"])
@pytest.mark.parametrize("remaining", ["0", "-1", "nan", "none", "1e5", "9" * 5000])
def test_a_rate_limit_that_is_no_moment_is_no_pause(reset: str, remaining: str) -> None:
    """Nor is one longer than the budget waited for."""
    head = (f"X-Ratelimit-Remaining: {remaining}", f"X-Ratelimit-Reset: {reset}")
    with raw_server(lambda _: [answer(b"{}", "200 OK", *head)]) as address:
        api = _api(address)
        started = time.monotonic()
        for _ in range(3):
            api.get("/x")

    assert time.monotonic() - started < _SOON


def test_the_servers_warnings_are_bounded(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new one in each answer would fill the log and the memory."""
    monkeypatch.setattr("tap_redivis.client.http._MOST_WARNINGS", 5)
    numbers = itertools.count()
    with raw_server(lambda _: [answer(b"{}", "200 OK", f"X-Redivis-Warning: {next(numbers)}")]) as address:
        api = _api(address)
        for _ in range(8):
            api.get("/x")

    assert len([each for each in caplog.messages if each.startswith("Redivis says")]) == 5


@pytest.mark.parametrize(
    ("value", "count"),
    [(1, 1), ("1", 1), (1.0, 1), (0, 0), (None, None), (True, None), (1.5, None), (-1, None), (2**63, None),
     ("x", None), ("9" * 5000, None), (float("inf"), None), (float("nan"), None), ([1], None), ({}, None)],
    ids=str,
)  # fmt: skip
def test_a_count_is_a_whole_number_of_things(value: object, count: int | None) -> None:
    """What is none is said; only where there is nothing, nobody has counted."""
    assert count_of(value) == count
    assert (misfit_of({"numRows": value}, "numRows") is None) == (count is not None or value is None)
