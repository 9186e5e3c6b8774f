"""Queries are waited for with patience, but not for ever, and their columns are found one way or the other."""

from __future__ import annotations

import logging
import time

import pytest

from redivis_emulator import Emulator, Fault
from tap_redivis.client.http import Api
from tap_redivis.client.queries import Query, completed_query, query_columns, result_columns, run_query
from tap_redivis.errors import DataError, NotFound, QueryFailed, Unavailable
from tap_redivis.model.tables import Variable
from tests.unit.conftest import MakeApi

_LETTERS = Query("query letters", "SELECT id, letter FROM letters; ", default_dataset="demo.visits")
_ONE = "re:^/queries/[^/]+$"


def test_the_server_is_asked_to_hold_its_answer(api: Api, emulator: Emulator) -> None:
    """Up to a minute, but never so long that the request itself would count as broken."""
    run_query(api, _LETTERS, timeout=20)
    run_query(api, _LETTERS, timeout=600)

    asked = [request.body for request in emulator.requests if request.path == "/queries"]
    assert ['"timeoutMs": 10000' in body for body in asked] == [True, False]
    assert '"timeoutMs": 60000' in asked[1]


def test_a_query_is_looked_after_less_and_less_often(api: Api, emulator: Emulator, waits: list[float]) -> None:
    emulator.faults.add(
        Fault(kind="json", method="POST", path="/queries", set={"status": "queued"}),
        Fault(kind="json", method="GET", path=_ONE, times=8, set={"status": "running"}),
    )

    assert run_query(api, _LETTERS, timeout=20).rows == 2
    assert waits == sorted(waits)
    assert (len(waits), waits[0], waits[-1]) == (9, 1, 10)


def test_a_query_that_takes_long_is_told_of_now_and_then(
    api: Api, emulator: Emulator, waits: list[float], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 60.0 * len(waits))
    emulator.faults.add(Fault(kind="json", path="/queries*", times=15, set={"status": "running"}))

    with caplog.at_level(logging.INFO):
        run_query(api, _LETTERS, timeout=20)

    told = [each.partition(": ")[2] for each in caplog.messages if each.startswith("query letters: ")]
    assert told == ["the query is running", *(f"the query is still running, after {n} minutes" for n in (6, 12))]


def test_a_query_is_not_waited_for_for_ever(
    api: Api, emulator: Emulator, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 3600.0 * len(waits))
    emulator.faults.add(Fault(kind="json", path="/queries*", nth="every", set={"status": "running"}))

    with pytest.raises(QueryFailed, match="the query was still running after 6 hours"):
        run_query(api, _LETTERS, timeout=20)


def test_a_server_that_does_not_name_its_query_is_no_endless_loop(api: Api, emulator: Emulator) -> None:
    emulator.faults.add(Fault(kind="json", path="/queries", set={"id": None, "status": "running"}))

    with pytest.raises(DataError, match="without an id"):
        run_query(api, _LETTERS, timeout=20)


def test_columns_are_known_without_rows(api: Api, emulator: Emulator) -> None:
    """Also where a comment ends the query."""
    commented = Query("query letters", f"{_LETTERS.sql[:-2]} -- two;", default_dataset="demo.visits")

    for query in (_LETTERS, commented):
        assert query_columns(api, query, timeout=20) == [Variable("id", "integer"), Variable("letter", "string")]
    assert not [request for request in emulator.requests if "readSessions" in request.path]


def test_the_query_itself_says_its_columns_where_there_is_no_list(api: Api, emulator: Emulator) -> None:
    result = run_query(api, _LETTERS, timeout=20)
    emulator.faults.add(Fault(kind="status", status=404, path="*/variables", nth="every"))

    assert result_columns(api, result) == [Variable("id", "integer"), Variable("letter", "string")]


def test_columns_that_nobody_tells_are_an_error(api: Api, emulator: Emulator) -> None:
    emulator.faults.add(
        Fault(kind="json", method="POST", path="/queries", set={"outputSchema": None}),
        Fault(kind="status", status=404, path="*/variables", nth="every"),
    )

    with pytest.raises(NotFound):
        query_columns(api, _LETTERS, timeout=20)


def test_only_a_completed_query_is_taken_again(api: Api, emulator: Emulator) -> None:
    result = run_query(api, _LETTERS, timeout=20)
    assert completed_query(api, _LETTERS, result.id) == result

    emulator.faults.add(Fault(kind="json", path=_ONE, set={"status": "cancelled"}))
    assert completed_query(api, _LETTERS, result.id) is None
    assert completed_query(api, _LETTERS, "unknown") is None


def test_a_server_that_cannot_be_reached_is_no_lost_query(make_api: MakeApi, emulator: Emulator) -> None:
    """Running the query again would not help."""
    api = make_api(max_retry_seconds=0)
    result = run_query(api, _LETTERS, timeout=20)
    emulator.faults.add(Fault(kind="status", status=503, path=_ONE, nth="every"))

    with pytest.raises(Unavailable):
        completed_query(api, _LETTERS, result.id)
