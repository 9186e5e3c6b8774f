"""The API session retries what passes, refuses what stays, and never shows or gives away the token."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Literal, get_args

import pytest

from redivis_emulator import DEFAULT_TOKEN, Emulator, Fault
from redivis_emulator.access import RateLimit, Token
from tap_redivis.client.http import Api
from tap_redivis.client.retry import TransientError
from tap_redivis.client.transport import PIECE_BYTES, pieces_of
from tap_redivis.errors import (
    ApiError,
    Forbidden,
    NotFound,
    QuotaExceeded,
    Refused,
    Unauthorized,
    Unavailable,
)
from tests.unit.conftest import MakeApi

_DATASET = "/datasets/demo.visits"
_ROWS = "/tables/demo.visits.numbers/rows"
_JSONL = {"format": "jsonl"}

RetryAfterForm = Literal["seconds", "epoch", "epoch_ms", "http_date"]


def _error(api: Api, path: str = _DATASET) -> ApiError:
    with pytest.raises(ApiError) as caught:
        api.get(path)
    return caught.value


# --- requests --------------------------------------------------------------------------------------------------------


def test_a_resource_is_read_with_the_token(api: Api, emulator: Emulator) -> None:
    assert api.get(_DATASET)["name"] == "visits"

    (request,) = emulator.requests
    assert request.headers["authorization"] == f"Bearer {DEFAULT_TOKEN}"
    assert request.headers["user-agent"].startswith("tap-redivis/")


def test_without_a_token_nothing_is_sent_in_its_place(make_api: MakeApi, emulator: Emulator) -> None:
    make_api(None).get(_DATASET)

    assert "authorization" not in emulator.requests[0].headers


def test_a_body_is_posted_as_json(api: Api, emulator: Emulator) -> None:
    session = api.post("/tables/demo.visits.numbers/readSessions", {"format": "jsonl", "requestedStreamCount": 2})

    assert session["numRows"] == 1000
    assert emulator.requests[0].body == '{"format": "jsonl", "requestedStreamCount": 2}'


def test_a_list_is_read_page_by_page(api: Api, emulator: Emulator) -> None:
    """Every item once, in the server's order."""
    whole = [item["id"] for item in api.pages(f"{_DATASET}/tables")]
    emulator.faults.add(Fault(kind="page_size", size=1, nth="every"))

    assert [item["id"] for item in api.pages(f"{_DATASET}/tables")] == whole
    assert len(emulator.requests) == 1 + len(whole)


def test_a_list_that_does_not_end_is_an_error(api: Api, emulator: Emulator) -> None:
    """A page token that comes again would be asked for again, for ever."""
    first = next(iter(api.pages(f"{_DATASET}/tables")))
    emulator.faults.add(Fault(kind="json", set={"nextPageToken": first["id"]}, nth="every"))

    with pytest.raises(Unavailable, match="page token came again"):
        list(api.pages(f"{_DATASET}/tables"))


# --- failures that pass ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
@pytest.mark.usefixtures("waits")
def test_a_passing_status_is_tried_again(api: Api, emulator: Emulator, status: int) -> None:
    emulator.faults.add(Fault(kind="status", status=status, times=3))

    assert api.get(_DATASET)["name"] == "visits"
    assert [request.status for request in emulator.requests] == [status, status, status, 200]


@pytest.mark.parametrize(
    "fault",
    [
        Fault(kind="close"),
        Fault(kind="reset"),
        Fault(kind="short", at_byte=10),
        Fault(kind="end", at_byte=10),
        Fault(kind="status", status=200, body="html"),
        Fault(kind="status", status=200, body="empty"),
    ],
    ids=lambda fault: f"{fault.kind} {fault.body}",
)
@pytest.mark.usefixtures("waits")
def test_a_broken_answer_is_asked_for_again(api: Api, emulator: Emulator, fault: Fault) -> None:
    """No connection, half an answer, or a success that is not JSON."""
    emulator.faults.add(fault)

    assert api.get(_DATASET)["name"] == "visits"
    assert len(emulator.requests) == 2


@pytest.mark.parametrize("form", get_args(RetryAfterForm))
def test_the_wait_that_the_server_asks_for_is_obeyed(
    api: Api, emulator: Emulator, waits: list[float], form: RetryAfterForm
) -> None:
    """In every spelling (redivis-api §1.7)."""
    emulator.faults.add(Fault(kind="status", status=429, retry_after=40, retry_after_form=form))

    api.get(_DATASET)

    assert waits == [pytest.approx(40, abs=15)]


def test_the_reset_of_the_rate_limit_counts_where_it_was_reached(
    api: Api, emulator: Emulator, waits: list[float]
) -> None:
    """Every answer carries it: an ordinary failure does not wait for it."""
    emulator.faults.add(Fault(kind="status", status=503), Fault(kind="status", status=429, nth=2))

    api.get(_DATASET)

    assert waits == [0.0, pytest.approx(60, abs=15)]


def test_a_silent_server_is_given_up_after_the_timeout(make_api: MakeApi, emulator: Emulator) -> None:
    emulator.faults.add(Fault(kind="stall", nth="every"))

    assert "silent for too long" in str(_error(make_api(timeout=0.2, max_retry_seconds=0)))


@pytest.mark.usefixtures("waits")
def test_an_answer_that_trickles_is_asked_for_again(make_api: MakeApi, emulator: Emulator) -> None:
    """Each byte comes in time, and all of them in a minute or two."""
    emulator.faults.add(Fault(kind="slow", seconds=0.05))

    assert make_api(timeout=1.0).get(_DATASET)["name"] == "visits"
    assert len(emulator.requests) == 2


def test_an_error_that_trickles_is_known_by_its_status(make_api: MakeApi, emulator: Emulator) -> None:
    """Nobody waits for all of its words."""
    emulator.faults.add(Fault(kind="status", status=404, message="x" * 1000), Fault(kind="slow", seconds=0.05))

    assert str(_error(make_api(timeout=1.0))).startswith("/datasets/demo.visits: HTTP 404, Not Found")


def test_an_answer_without_an_end_does_not_fill_the_memory(
    make_api: MakeApi, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is larger than any answer counts as one that is not JSON; no more of it is waited for."""
    monkeypatch.setattr("tap_redivis.client.http._MOST_JSON_BYTES", 100)
    emulator.faults.add(Fault(kind="stall", at_byte=5000, nth="every"))

    error = _error(make_api(timeout=2.0, max_retry_seconds=0), "/tables/demo.large.table/rows")

    assert "not JSON" in str(error)


def test_an_answer_leaves_its_connection_for_the_next(
    api: Api, emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    """Errors and rows do too."""
    emulator.faults.add(Fault(kind="status", status=404))
    with caplog.at_level(logging.DEBUG, "urllib3.connectionpool"):
        _error(api)
        for _ in range(3):
            api.get(_DATASET)
            with closing(api.open(_ROWS, _JSONL)) as body:
                assert list(pieces_of(body))

    assert sum("Starting new" in record.getMessage() for record in caplog.records) == 1


def test_retries_end_with_the_budget(make_api: MakeApi, emulator: Emulator) -> None:
    """The error says what the last failure was, and where."""
    emulator.faults.add(Fault(kind="status", status=503, message="Back soon.", nth="every"))

    error = _error(make_api(max_retry_seconds=0))

    assert isinstance(error, Unavailable)
    assert str(error) == "/datasets/demo.visits: given up after retries: HTTP 503, Back soon. Try again later."
    assert len(emulator.requests) == 1


def test_an_outage_is_waited_for_once(make_api: MakeApi, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by each request anew, until the server answers one: there may be thousands."""
    monkeypatch.setattr("tap_redivis.client.http._OUTAGE_SECONDS", 0)
    monkeypatch.setattr("backoff.full_jitter", lambda _value: 0.05)
    api = make_api(max_retry_seconds=1)
    api.get(_DATASET)
    emulator.faults.add(Fault(kind="status", status=503, nth="every"))
    _error(api)
    emulator.forget_requests()
    for path in (_DATASET, "/datasets/demo.other"):
        _error(api, path)
    assert len(emulator.requests) == 2

    emulator.faults.clear()
    assert isinstance(_error(api, "/datasets/demo.other"), NotFound)  # an answer too
    emulator.faults.add(Fault(kind="status", status=503, times=2))

    assert api.get(_DATASET)["name"] == "visits"


def test_an_address_where_nobody_answers_is_named() -> None:
    """With what to check, and without the addresses of Python objects."""
    with socket.socket() as bound:  # nobody listens there, and nobody else can
        bound.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{bound.getsockname()[1]}/api/v1"
        error = _error(Api(endpoint, None, timeout=20, max_retry_seconds=0))

    assert str(error) == (
        "/datasets/demo.visits: given up after retries: connection refused. "
        f"Check api_endpoint ({endpoint}) and the network."
    )


@pytest.mark.usefixtures("waits")
def test_a_success_that_is_never_json_is_given_up_soon(api: Api, emulator: Emulator) -> None:
    """It is a proxy's or another server's page, and no outage."""
    emulator.faults.add(Fault(kind="status", status=200, body="html", nth="every"))

    assert "HTTP 200 with a body that is not JSON" in str(_error(api))
    assert len(emulator.requests) == 3


@pytest.mark.usefixtures("waits")
def test_json_that_is_no_object_is_given_up_soon(api: Api, emulator: Emulator) -> None:
    emulator.faults.add(Fault(kind="status", status=200, body="text", message="[1]", nth="every"))

    assert "HTTP 200 with JSON that is not an object" in str(_error(api))


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Refused),
        (401, Unauthorized),
        (403, Forbidden),
        (404, NotFound),
        (409, Refused),
        (410, NotFound),
        (422, Refused),
    ],
)
def test_a_refusal_is_not_tried_again(api: Api, emulator: Emulator, status: int, kind: type[ApiError]) -> None:
    """Its kind says what the user can do."""
    emulator.faults.add(Fault(kind="status", status=status, nth="every"))

    assert type(_error(api)) is kind
    assert len(emulator.requests) == 1


@pytest.mark.parametrize("body", ["flat", "nested"])
def test_the_servers_words_are_in_the_error(api: Api, emulator: Emulator, body: Literal["flat", "nested"]) -> None:
    """In the current and in the older form of error bodies (redivis-api §1.8)."""
    emulator.faults.add(Fault(kind="status", status=400, message="The reason.\nReally.", body=body))

    assert str(_error(api)).startswith("/datasets/demo.visits: HTTP 400, The reason. Really. ")


@pytest.mark.parametrize("body", ["html", "text", "empty"])
def test_an_error_that_is_not_json_has_its_status(
    api: Api, emulator: Emulator, body: Literal["html", "text", "empty"]
) -> None:
    emulator.faults.add(Fault(kind="status", status=404, body=body))

    assert str(_error(api)).startswith("/datasets/demo.visits: HTTP 404, ")


def test_an_error_is_one_line_of_bounded_length(api: Api, emulator: Emulator) -> None:
    emulator.faults.add(Fault(kind="status", status=400, message="long\n" * 10_000))

    assert "\n" not in str(_error(api))
    assert len(str(_error(api, "/datasets/none"))) < 1000


def test_the_export_quota_is_an_error_of_its_own(api: Api, emulator: Emulator) -> None:
    """redivis-api §1.7: a 400 like any other, but for its words; it must not end up as a lost session."""
    emulator.faults.add(Fault(kind="status", status=400, message="You cannot export more than 200 GB in 30 days."))

    assert isinstance(_error(api), QuotaExceeded)


def test_a_missing_scope_is_named(served: Path) -> None:
    tokens = {"reader": Token(scopes=("public", "data.metadata"))}
    with Emulator(served, tokens=tokens) as emulator:
        api = Api(emulator.endpoint, "reader", timeout=20, max_retry_seconds=0)

        error = _error(api, "/tables/alice.trials.letters/rows")

    assert isinstance(error, Forbidden)
    assert "Use a token with the scope data.data" in str(error)


def test_a_missing_token_and_a_wrong_one_are_told_apart(make_api: MakeApi) -> None:
    """The user must know whether to set it or to correct it."""
    assert "Set api_token or REDIVIS_API_TOKEN" in str(_error(make_api(None), "/datasets/alice.trials"))
    assert "it is wrong or has expired" in str(_error(make_api("wrong"), "/datasets/alice.trials"))


# --- the token -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [0, 470, 475, 480, 490])
@pytest.mark.parametrize("status", [400, 503])
def test_a_token_that_the_server_repeats_is_not_shown(
    make_api: MakeApi, emulator: Emulator, status: int, before: int
) -> None:
    """Nor a part of it, where a long text is cut."""
    emulator.faults.add(Fault(kind="status", status=status, message="x" * before + DEFAULT_TOKEN, nth="every"))

    shown = str(_error(make_api(max_retry_seconds=0)))

    assert DEFAULT_TOKEN[:3] not in shown


def test_a_redirect_to_another_host_gets_no_token(api: Api, emulator: Emulator, served: Path) -> None:
    with Emulator(served) as other:
        elsewhere = {"Location": f"{other.endpoint}{_DATASET}"}
        emulator.faults.add(Fault(kind="status", status=302, headers=elsewhere))

        api.get(_DATASET)

        assert [request.headers.get("authorization") for request in other.requests] == [None]


def test_a_warning_is_logged_once_and_without_the_token(
    api: Api, emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    """redivis-api §1.6: it is no error."""
    emulator.faults.add(
        Fault(kind="headers", headers={"X-REDIVIS-WARNING": f"Name a table, {DEFAULT_TOKEN}"}, nth="every")
    )

    with caplog.at_level(logging.WARNING):
        api.get(_DATASET)
        api.get(_DATASET)

    assert [record.getMessage() for record in caplog.records] == ["Redivis says: Name a table, ***"]


# --- bodies ----------------------------------------------------------------------------------------------------------


def test_a_body_comes_in_small_pieces(api: Api) -> None:
    with closing(api.open("/tables/demo.large.table/rows", _JSONL)) as body:
        received = list(pieces_of(body))

    assert max(map(len, received)) <= PIECE_BYTES
    assert b"".join(received).count(b"\n") == 20_000


@pytest.mark.parametrize("kind", ["close", "reset", "short"])
def test_a_body_that_breaks_is_a_passing_failure(
    api: Api, emulator: Emulator, kind: Literal["close", "reset", "short"]
) -> None:
    """After all that came before the break."""
    emulator.faults.add(Fault(kind=kind, at_byte=1000))
    received: list[bytes] = []

    with closing(api.open(_ROWS, _JSONL)) as body, pytest.raises(TransientError):
        received.extend(pieces_of(body))

    assert len(b"".join(received)) == 1000


def test_a_body_is_not_retried_here(api: Api, emulator: Emulator) -> None:
    """Whoever reads it knows from where to go on."""
    emulator.faults.add(Fault(kind="status", status=503, retry_after=7))

    with pytest.raises(TransientError, match="HTTP 503") as caught:
        api.open(_ROWS, _JSONL)

    assert caught.value.wait == pytest.approx(7, abs=1)


def test_a_refused_body_is_an_error(api: Api) -> None:
    with pytest.raises(NotFound):
        api.open("/readStreams/gone", {})


# --- the rate limit --------------------------------------------------------------------------------------------------


@pytest.fixture
def limited(served: Path) -> Iterator[Api]:
    """An API session whose server allows six requests in half a minute."""
    with Emulator(served, rate_limit=RateLimit(requests=6, seconds=30)) as emulator:
        yield Api(emulator.endpoint, DEFAULT_TOKEN, timeout=20, max_retry_seconds=600)


def test_requests_pause_before_the_rate_limit_is_used_up(limited: Api, waits: list[float]) -> None:
    """So many are left that parallel requests, which do not know of each other, find one each."""
    limited.get(_DATASET)
    limited.get(_DATASET)
    assert waits == []

    limited.get(_DATASET)

    assert waits == [pytest.approx(30, abs=15)]


def test_a_long_wait_for_the_rate_limit_is_told_once(
    limited: Api, waits: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    """However many requests wait for it."""
    with caplog.at_level(logging.INFO):
        for _ in range(6):
            limited.get(_DATASET)

    assert len(waits) == 4
    assert caplog.text.count("the rate limit is nearly used up") == 1


# --- side by side ----------------------------------------------------------------------------------------------------


def test_more_requests_are_allowed_until_the_server_complains(api: Api, emulator: Emulator, waits: list[float]) -> None:
    """redivis-api §1.7: after a 429 there are four at once, for good."""
    assert api.limit.now == 4
    for _ in range(20):
        api.get(_DATASET)
    grown = api.limit.now
    assert grown > 4

    emulator.faults.add(Fault(kind="status", status=503))
    api.get(_DATASET)
    assert api.limit.now >= grown

    emulator.faults.add(Fault(kind="status", status=429))
    api.get(_DATASET)
    assert api.limit.now == 4
    assert len(waits) == 2


def test_a_body_waits_until_it_is_read(api: Api, emulator: Emulator) -> None:
    """And may be left unread."""
    first, second = api.open(_ROWS, _JSONL), api.open(_ROWS, _JSONL)
    assert [request.status for request in emulator.requests] == [200, 200]

    first.close()

    assert b"".join(pieces_of(second)).count(b"\n") == 1000
