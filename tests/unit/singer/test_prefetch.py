"""Looking ahead: which tables are opened before their turn, what is asked for them, and what is dropped again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any

import pytest
from requests import Response

from redivis_emulator import Emulator, Fault
from tap_redivis.client.http import Api
from tap_redivis.client.metadata import MetadataClient
from tap_redivis.client.transport import pieces_of
from tap_redivis.errors import Forbidden, NotFound
from tap_redivis.model.columns import Column
from tap_redivis.model.reads import ROWS_STREAM, ReadSession
from tap_redivis.model.references import parse_table
from tap_redivis.model.settings import Settings
from tap_redivis.model.tables import TableInfo
from tap_redivis.planning.bookmarks import Bookmark
from tap_redivis.planning.table_plan import Selection, plan_table
from tap_redivis.singer.prefetch import Prefetched, Prefetcher, PrefetchRequest, Preview, prefetch
from tests.unit.conftest import MakeApi

_TABLE = TableInfo(
    reference=parse_table("demo.visits.letters", "test"),
    pinned="demo.visits:v1_1.letters",
    uri="/tables/demo.visits:v1_1.letters",
    owner="demo",
    container="visits",
    name="letters",
    version_tag="v1.1",
    rows=2,
    bytes=100,
)
_COLUMNS = (Column("id", "integer"), Column("letter", "string"))
_LARGE = replace(_TABLE, bytes=1_000_000)


def _request(
    table: TableInfo = _TABLE, columns: Sequence[Column] = _COLUMNS, *, max_streams: int = 4, **changes: Any
) -> PrefetchRequest:
    selection, now = Selection("letters", tuple(columns)), datetime.now(timezone.utc)
    plan = plan_table(table, selection, Bookmark(), Settings(max_streams=max_streams), now)
    return replace(PrefetchRequest(plan, None, must_fit=True), **changes)


# --- which -----------------------------------------------------------------------------------------------------------


@dataclass
class _Stream:
    """A stream, and what is known of it: `open`, `skip`, `wall`, or both of the first and the last."""

    name: str
    kind: str

    def preview(self) -> Preview:
        return Preview(_request() if "open" in self.kind else None, is_short="wall" not in self.kind)


@dataclass
class _Begun:
    """Takes down what was begun."""

    calls: list[Future[Prefetched]] = field(default_factory=list)

    def __call__(self, _request: PrefetchRequest) -> Future[Prefetched]:
        self.calls.append(Future())
        return self.calls[-1]


def _turns(kinds: Sequence[str], most: int, *, quiet: Sequence[int] = ()) -> list[str]:
    """Give each stream its turn, and tell of each which streams are open then that were not before.

    Args:
        kinds: Of each stream.
        most: How many may be open.
        quiet: Streams at whose turn nothing is begun.
    """
    begun = _Begun()
    streams = [_Stream(f"s{place}", kind) for place, kind in enumerate(kinds)]
    ahead = Prefetcher(begun, lambda: {stream.name: stream.preview for stream in streams}, most)
    told, before, taken = [], 0, []
    for place, stream in enumerate(streams):
        if (pending := ahead.take(stream.name)) is not None:
            taken.append(pending)
        if place not in quiet:
            ahead.advance(stream.name)
        told.append(len(begun.calls) - before)
        before = len(begun.calls)
    assert taken == begun.calls  # in the order of the turns, each once
    return ["+" * number for number in told]


def test_so_many_are_open_as_may_be() -> None:
    """At each turn one is taken, and another one begun."""
    assert _turns(["open"] * 6, most=3) == ["+++", "+", "+", "", "", ""]


def test_none_is_opened_where_none_may_be() -> None:
    assert _turns(["open"] * 4, most=0) == [""] * 4


def test_streams_with_nothing_to_do_are_passed() -> None:
    assert _turns(["open", "skip", "open", "skip", "skip", "open", "open"], most=2) == ["++", "", "+", "", "", "", ""]


def test_nothing_behind_a_wall_is_opened_before_its_turn_has_come() -> None:
    """The wall itself may be opened; what comes after it is when it does not want to be left alone."""
    kinds = ["open", "open", "open wall", "open", "open"]

    assert _turns(kinds, most=4) == ["++", "", "++", "", ""]
    assert _turns(kinds, most=4, quiet=[2]) == ["++", "", "", "+", ""]
    assert _turns(["open", "wall", "wall", "open"], most=4, quiet=[1, 2]) == ["", "", "", ""]


def test_the_search_for_something_to_do_has_an_end() -> None:
    """Thousands of streams that did not change must not be looked through before the first row."""
    kinds = ["skip"] * 100 + ["open"]

    told = _turns(kinds, most=2)

    assert told.index("+") > 50


# --- what is asked ---------------------------------------------------------------------------------------------------


def _open(api: Api, *arguments: Any, **changes: Any) -> Prefetched:
    return prefetch(api, MetadataClient(api), _request(*arguments, **changes))


def _asked(emulator: Emulator) -> list[str]:
    return [request.path.split("/")[-1 if "Streams" not in request.path else 1] for request in emulator.requests]


def _lines(body: Response) -> list[bytes]:
    return sorted(b"".join(pieces_of(body)).splitlines())


def test_all_that_comes_before_the_rows_is_asked_for(api: Api, emulator: Emulator) -> None:
    """The variables, the session, and the answer with the rows, which are not read."""
    opened = _open(api)

    assert _asked(emulator) == ["variables", "readSessions", "readStreams", "readStreams", "readStreams", "readStreams"]
    assert [variable.name for variable in opened.variables] == ["id", "letter"]
    assert opened.session is not None
    assert opened.session.rows == 2
    assert tuple(opened.bodies) == opened.session.streams
    assert sorted(line for body in opened.bodies.values() for line in _lines(body)) == [
        b'{"id":1,"letter":"a"}',
        b'{"id":2,"letter":"b"}',
    ]


def test_what_is_known_is_not_asked_for(api: Api, emulator: Emulator) -> None:
    variables = _open(api).variables
    emulator.forget_requests()

    _open(api, _LARGE, variables=variables)

    assert _asked(emulator) == ["readSessions"]


def test_a_session_is_opened_for_the_variables_of_the_catalog(api: Api, emulator: Emulator) -> None:
    """As at the table's turn: in their order, and spelled as the server spells them."""
    _open(api, _LARGE, [Column("LETTER", "string")], must_fit=False)

    assert '"selectedVariables": ["letter"]' in emulator.requests[-1].body


@pytest.mark.parametrize("must_fit", [True, False])
def test_no_session_is_opened_for_a_catalog_that_does_not_fit(api: Api, emulator: Emulator, *, must_fit: bool) -> None:
    """Unless it need not: the error is for the table's turn."""
    opened = _open(api, _LARGE, [Column("id", "string")], must_fit=must_fit)

    assert (opened.session is None) == must_fit
    assert ("readSessions" in _asked(emulator)) != must_fit


def test_no_more_streams_are_asked_for_than_are_read_at_once(api: Api, emulator: Emulator) -> None:
    opened = _open(api, max_streams=2)

    assert _asked(emulator).count("readStreams") == len(opened.bodies) == 2


def test_without_a_token_the_rows_themselves_are_asked_for(make_api: MakeApi, emulator: Emulator) -> None:
    opened = _open(make_api(None))

    assert _asked(emulator) == ["variables", "rows"]
    assert opened.session == ReadSession(opened.session.id, (ROWS_STREAM,), None)
    assert len(_lines(opened.bodies[ROWS_STREAM])) == 2


def test_an_error_is_that_of_the_tables_turn(api: Api, emulator: Emulator) -> None:
    emulator.faults.add(Fault(kind="status", status=403, path="*/readSessions"))
    with pytest.raises(Forbidden):
        _open(api)

    emulator.faults.add(Fault(kind="status", status=404, path="*/variables"))
    with pytest.raises(NotFound):
        _open(api)


@pytest.mark.parametrize("status", [404, 429, 503])
def test_a_body_that_cannot_be_had_is_for_the_tables_turn(api: Api, emulator: Emulator, status: int) -> None:
    """It is tried again then, in the way of all read streams."""
    emulator.faults.add(Fault(kind="status", status=status, path="/readStreams/*", nth=2))

    opened = _open(api)

    assert opened.session is not None
    assert tuple(opened.bodies) == opened.session.streams[:1]


# --- what is dropped -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "has_session", "has_bodies"), [(0, True, True), (31, True, False), (3601, False, False)]
)
def test_what_has_waited_for_too_long_is_dropped(api: Api, *, age: int, has_session: bool, has_bodies: bool) -> None:
    """A body after half a minute, a session after an hour; the variables stay."""
    opened = replace(_open(api), moment=time.monotonic() - age)

    fresh = opened.fresh()

    assert (fresh.session is not None) == has_session
    assert bool(fresh.bodies) == has_bodies
    assert fresh.variables == opened.variables
    assert fresh.opened_at == opened.opened_at
