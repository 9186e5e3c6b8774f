"""Every row comes once, whatever breaks on the way; what cannot be proved is an error."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import repeat
from pathlib import Path
from typing import Any, Literal, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from requests import Response

from redivis_emulator import Emulator, Fault
from redivis_emulator.access import Token
from redivis_emulator.faults import Kind
from tap_redivis.client.http import Api
from tap_redivis.client.read_sessions import address_of, open_session
from tap_redivis.client.retry import TransientError, Watch
from tap_redivis.errors import DataError, Incomplete, InvalidValue, NotFound, QuotaExceeded, Unauthorized, Unavailable
from tap_redivis.model.columns import Column, ValueRules, WireFormat
from tap_redivis.model.reads import ROWS_STREAM, ReadRequest, StreamPosition
from tap_redivis.reading import jobs
from tap_redivis.reading.jobs import Chunk, JobSpec, LocalWorker, RowBudget, Server, StreamEnd
from tap_redivis.reading.read_session import SessionReader
from tap_redivis.reading.read_stream import ReadProgress, SessionGone
from tap_redivis.wire.jsonl import JsonlDecoder
from tap_redivis.wire.rows import JsonRows
from tests.unit.bodies import codec
from tests.unit.conftest import MakeApi

_COLUMNS = (Column("id", "integer"), Column("half", "float"))
_ROWS = [f'{{"id":{number},"half":{number / 2}}}' for number in range(1000)]
_STREAMS = "/readStreams/*"

Break = Literal["close", "reset", "short", "end"]


_REQUEST = ReadRequest(
    table="demo.visits.numbers",
    table_uri="/tables/demo.visits.numbers",
    wire_format="jsonl",
    max_streams=4,
    max_rows=None,
    variables=None,
    timeout=20.0,
)


def _request(wire_format: WireFormat = "jsonl", **changes: Any) -> ReadRequest:
    return replace(_REQUEST, wire_format=wire_format, **changes)


def _reader(  # noqa: PLR0913, PLR0917 - what it needs to know
    api: Api,
    request: ReadRequest,
    positions: Mapping[str, StreamPosition],
    expected: int | None = 1000,
    bodies: Mapping[str, Response] | None = None,
    progress: ReadProgress | None = None,
) -> SessionReader:
    return _session_reader(api, request, positions, expected, _COLUMNS, bodies, progress)


def _session_reader(  # noqa: PLR0913, PLR0917 - what it needs to know
    api: Api,
    request: ReadRequest,
    positions: Mapping[str, StreamPosition],
    expected: int | None,
    columns: Sequence[Column],
    bodies: Mapping[str, Response] | None = None,
    progress: ReadProgress | None = None,
) -> SessionReader:
    before = sum(position.offset for position in positions.values())
    budget = RowBudget(None if request.max_rows is None else request.max_rows - before)
    worker = LocalWorker(budget, progress or ReadProgress(), api, codec(columns), dict(bodies or {}))
    spec = JobSpec(Server(api.endpoint, api.anonymous, 20.0, 20.0), request, tuple(columns), ValueRules())
    return SessionReader(worker, spec, positions, expected)


def _begun(api: Api, request: ReadRequest, expected: int | None = 1000) -> SessionReader:
    """Open a session and make the reader of it."""
    session = open_session(api, request)
    return _reader(api, request, dict.fromkeys(session.streams, StreamPosition()), expected)


@dataclass
class _Read:
    """What came of a session: lines, and the position of each stream."""

    lines: list[str] = field(default_factory=list)
    positions: dict[str, StreamPosition] = field(default_factory=dict)

    def take(self, events: Iterable[Chunk | StreamEnd]) -> None:
        for event in events:
            position = self.positions.get(event.stream, StreamPosition())
            if isinstance(event, StreamEnd):
                self.positions[event.stream] = replace(position, done=True)
                continue
            assert isinstance(event.content, JsonRows)
            lines = event.content.lines.decode().splitlines()
            assert len(lines) == event.count
            self.lines += lines
            self.positions[event.stream] = position.advance(event.count, event.last_digest)


def _all(reader: SessionReader) -> _Read:
    read = _Read()
    read.take(reader.read())
    return read


# --- whole sessions --------------------------------------------------------------------------------------------------


class _Endless:
    """Decodes rows that do not come to an end by themselves, and says when nobody asks for more."""

    has_sentinel = True

    def __init__(self) -> None:
        self.left = threading.Event()

    def rows(self, pieces: Iterable[bytes], offset: int) -> Iterator[JsonRows]:  # noqa: ARG002 - a decoder's signature
        try:
            for number in range(100_000):
                yield JsonRows(1, b"%d\n" % number)
        except GeneratorExit:
            self.left.set()
            raise


def test_what_nobody_takes_any_more_is_not_read_on(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the streams of a table that failed would be read to their ends, into a queue that nobody empties."""
    decoder = _Endless()
    session = open_session(api, _request(max_streams=1))
    monkeypatch.setattr(jobs, "decoder_for", lambda *_: decoder)
    reader = _reader(api, _request(), {session.streams[0]: StreamPosition()}, None)

    with closing(reader.read()) as events:
        next(events)

    assert decoder.left.wait(timeout=20)


@pytest.mark.parametrize("wire_format", get_args(WireFormat))
def test_every_row_of_every_stream_comes_once(api: Api, wire_format: WireFormat) -> None:
    read = _all(_begun(api, _request(wire_format)))

    assert sorted(read.lines) == sorted(_ROWS)
    assert len(read.positions) == 4
    assert all(position.done for position in read.positions.values())


def test_a_session_says_what_it_has(api: Api, emulator: Emulator) -> None:
    session = open_session(api, _request(variables=["half"], max_rows=10, max_streams=2))

    assert (session.rows, len(session.streams)) == (10, 4)
    assert emulator.requests[0].body == (
        '{"format": "jsonl", "requestedStreamCount": 2, "selectedVariables": ["half"], "maxResults": 10}'
    )


def test_a_session_may_keep_its_rows_to_itself(api: Api, emulator: Emulator) -> None:
    emulator.faults.add(Fault(kind="json", path="*/readSessions", set={"numRows": None}))

    reader = _begun(api, _request(), expected=None)

    assert sorted(_all(reader).lines) == sorted(_ROWS)


@pytest.mark.parametrize(
    "answer",
    [{"streams": None}, {"streams": [{}]}, {"numRows": "many"}, {"streams": [{"id": "a"}, {"id": "a"}]},
     {"numRows": -1}, {"numRows": True}, {"numRows": 1.5}, {"numRows": 2**63}, {"streams": [{"id": ".."}]},
     {"streams": [{"id": "rows"}]}, {"streams": [{"id": "a\nb"}]}, {"streams": [{"id": ""}]},
     {"streams": [{"id": None}]}, {"streams": [{"id": n} for n in range(2000)]},
     {"streams": {"id": "a"}}, {"streams": ["a"]}],
    ids=lambda answer: str(answer)[:40],
)  # fmt: skip
def test_a_session_that_cannot_be_read_is_an_error(api: Api, emulator: Emulator, answer: dict[str, object]) -> None:
    emulator.faults.add(Fault(kind="json", path="*/readSessions", set=answer))

    with pytest.raises(DataError, match=r"^demo\.visits\.numbers: the server "):
        open_session(api, _request())


@pytest.mark.parametrize("wire_format", ["jsonl", "arrow"])
@pytest.mark.usefixtures("waits")
def test_a_body_that_always_ends_at_the_same_row_is_given_up_soon(
    api: Api, emulator: Emulator, wire_format: WireFormat
) -> None:
    """HTTP calls it whole: three tries without a new row, and the error names the read stream and the row."""
    emulator.faults.add(Fault(kind="end", path=_STREAMS, at_byte=700, per_path=True))
    emulator.faults.add(Fault(kind="end", path=_STREAMS, at_byte=20, nth=2, times=None, per_path=True))
    reader = _begun(api, _request(wire_format))

    with pytest.raises(Unavailable, match=r"the body ended in the middle of .*, at row \d+ of read stream \S+\.\d"):
        _all(reader)

    asked = Counter(request.path for request in emulator.requests if "/readStreams/" in request.path)
    assert max(asked.values()) <= 4


def test_more_rows_than_promised_are_an_error_at_once(api: Api, emulator: Emulator) -> None:
    """The server may send them for ever; none of them is given on."""
    emulator.faults.add(Fault(kind="repeat", path=_STREAMS, at_row=100, nth="every"))
    read = _Read()

    with pytest.raises(Incomplete, match="rows arrived of 1,000"):
        read.take(_begun(api, _request()).read())

    assert len(read.lines) <= 1000


@pytest.mark.parametrize("byte", [b"\n", b" "])
def test_bytes_without_a_row_are_given_up(byte: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """They come fast, so that no time is up."""
    monkeypatch.setattr("tap_redivis.client.retry._MOST_BYTES_WITHOUT_A_ROW", 10**6)
    with pytest.raises(TransientError, match="no row"):
        list(JsonlDecoder(codec(_COLUMNS)).rows(Watch(20.0).over(repeat(byte * 65536 + b"\n")), 0))


def test_an_empty_session_has_no_rows(api: Api, emulator: Emulator) -> None:
    """redivis-api §8.1.11: an empty table may have no streams."""
    emulator.faults.add(Fault(kind="json", path="*/readSessions", set={"streams": []}))

    assert _all(_begun(api, _request(), expected=0)).lines == []


def test_only_so_many_rows_come_as_are_wanted(api: Api, emulator: Emulator) -> None:
    """Though the server may send a few more (redivis-api §8.1.14)."""
    emulator.faults.add(Fault(kind="overshoot", path="*/readSessions", rows=5))

    read = _all(_begun(api, _request(max_rows=10), expected=10))

    assert len(read.lines) == 10
    assert sum(position.offset for position in read.positions.values()) == 10


@pytest.mark.parametrize("expected", [999, 1001])
def test_rows_that_do_not_add_up_are_an_error(api: Api, expected: int) -> None:
    """One short or one too many: what was given is not the table."""
    reader = _begun(api, _request(), expected=expected)

    with pytest.raises(Incomplete, match=r"1,000 rows arrived of (999|1,001)"):
        _all(reader)


def test_streams_that_are_done_are_not_asked_for(api: Api, emulator: Emulator) -> None:
    read = _all(_begun(api, _request()))
    emulator.forget_requests()

    again = _all(_reader(api, _request(), read.positions))

    assert again.lines == []
    assert emulator.requests == []


def test_reading_stops_when_nobody_wants_more(api: Api, emulator: Emulator) -> None:
    """The reader threads end by themselves, also those that wait for their next try."""
    emulator.faults.add(Fault(kind="status", status=503, retry_after=100, path=_STREAMS, nth=2, times=None))
    with closing(_begun(api, _request()).read()) as events:
        next(events)
        readers = [thread for thread in threading.enumerate() if "_work" in thread.name]

    for reader in readers:
        reader.join(10)

    assert readers
    assert not any(reader.is_alive() for reader in readers)


def test_bodies_that_were_opened_before_are_read(api: Api, emulator: Emulator) -> None:
    """And no other request is made, unless one of them breaks: then its stream is resumed like any other."""
    request, bodies = _request(), {}
    session = open_session(api, request)
    emulator.faults.add(Fault(kind="close", path=_STREAMS, nth=2, at_row=100))
    for stream in session.streams:
        bodies[stream] = api.open(*address_of(request, stream, 0))
    emulator.forget_requests()

    progress, positions = ReadProgress(), {stream: StreamPosition() for stream in session.streams}
    read = _all(_reader(api, request, positions, bodies=bodies, progress=progress))

    assert sorted(read.lines) == sorted(_ROWS)
    assert progress.received.resumes == 1
    assert [request.query["offset"] for request in emulator.requests] == ["99"]


# --- breaks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wire_format", get_args(WireFormat))
@pytest.mark.parametrize("kind", get_args(Break))
@pytest.mark.parametrize("place", [{"at_row": 0}, {"at_row": 100}, {"at_byte": 1001}], ids=str)
@pytest.mark.usefixtures("waits")
def test_a_stream_that_breaks_goes_on_where_it_was(
    api: Api, emulator: Emulator, wire_format: WireFormat, kind: Break, place: dict[str, int]
) -> None:
    """On the border of a row and inside of one, with and without an error on the wire; each stream once."""
    emulator.faults.add(
        Fault(kind=kind, path=_STREAMS, per_path=True, at_row=place.get("at_row"), at_byte=place.get("at_byte"))
    )

    assert sorted(_all(_begun(api, _request(wire_format))).lines) == sorted(_ROWS)


@pytest.mark.usefixtures("waits")
def test_an_arrow_stream_without_its_sentinel_goes_on_though_nobody_counts(api: Api, emulator: Emulator) -> None:
    """redivis-api §8.1.6: a clean end on the border of a record batch shows in nothing else."""
    emulator.faults.add(Fault(kind="end", path=_STREAMS, per_path=True, at_row=100))

    assert sorted(_all(_begun(api, _request("arrow"), expected=None)).lines) == sorted(_ROWS)


@pytest.mark.parametrize("wire_format", get_args(WireFormat))
@pytest.mark.usefixtures("waits")
def test_a_clean_end_in_the_middle_of_a_row_is_seen_though_nobody_counts(
    api: Api, emulator: Emulator, wire_format: WireFormat
) -> None:
    """Half an object, half a message, a line without its end: byte 10 is in the first row, whichever that is."""
    emulator.faults.add(Fault(kind="end", path=_STREAMS, per_path=True, at_byte=10))

    assert sorted(_all(_begun(api, _request(wire_format), expected=None)).lines) == sorted(_ROWS)


@pytest.mark.parametrize("place", [0, 1, 1001, 3000])
@pytest.mark.usefixtures("waits")
def test_rubbish_in_a_body_is_read_again(api: Api, emulator: Emulator, place: int) -> None:
    """In JSON Lines; the values of Arrow and CSV have nothing that would show it."""
    emulator.faults.add(Fault(kind="garbage", path=_STREAMS, per_path=True, at_byte=place))

    assert sorted(_all(_begun(api, _request())).lines) == sorted(_ROWS)


@pytest.mark.parametrize("kind", ["close", "reset"])
@pytest.mark.usefixtures("waits")
def test_a_stream_that_does_not_answer_is_asked_again(
    api: Api, emulator: Emulator, kind: Literal["close", "reset"]
) -> None:
    emulator.faults.add(Fault(kind=kind, path=_STREAMS, times=5), Fault(kind="status", status=503, path=_STREAMS))

    assert sorted(_all(_begun(api, _request())).lines) == sorted(_ROWS)


_FAULTS = st.lists(
    st.builds(
        Fault,
        kind=st.sampled_from(get_args(Break)),
        path=st.just(_STREAMS),
        nth=st.integers(1, 6),
        at_byte=st.integers(0, 6000),
    ),
    min_size=1,
    max_size=5,
).filter(lambda faults: sum(fault.kind == "end" for fault in faults) <= 2)  # so often are missing rows looked for


def test_any_breaks_at_any_bytes_lose_and_repeat_nothing(api: Api, emulator: Emulator, waits: list[float]) -> None:
    """Also breaks of what was taken up again."""

    @settings(max_examples=60, deadline=None)
    @given(st.sampled_from(get_args(WireFormat)), st.sampled_from([1, 4]), _FAULTS)
    def read(wire_format: WireFormat, streams: int, faults: list[Fault]) -> None:
        emulator.faults.clear()
        emulator.faults.add(Fault(kind="streams", path="*/readSessions", count=streams), *faults)
        assert sorted(_all(_begun(api, _request(wire_format))).lines) == sorted(_ROWS)

    read()
    assert not any(waits)


def test_a_session_goes_on_in_the_next_run_where_the_last_one_stopped(api: Api) -> None:
    """From the positions alone, wherever the last run was stopped."""

    @settings(max_examples=25, deadline=None)
    @given(st.integers(0, 8), st.sampled_from(get_args(WireFormat)))
    def stop_and_go_on(events: int, wire_format: WireFormat) -> None:
        request = _request(wire_format)
        session = open_session(api, request)
        read = _Read(positions=dict.fromkeys(session.streams, StreamPosition()))
        with closing(_reader(api, request, read.positions).read()) as first:
            read.take(event for _, event in zip(range(events), first, strict=False))

        read.take(_reader(api, request, read.positions).read())

        assert sorted(read.lines) == sorted(_ROWS)

    stop_and_go_on()


@pytest.mark.parametrize("wire_format", get_args(WireFormat))
@pytest.mark.parametrize("change", [{"offset": 99}, {"offset": 101}, {"last": "another"}], ids=str)
def test_a_stream_that_has_another_row_where_it_was_left_is_gone(
    api: Api, wire_format: WireFormat, change: dict[str, Any]
) -> None:
    """Rows are not at their offsets: to go on would lose or repeat some."""
    request = _request(wire_format)
    stream, *_ = open_session(api, request).streams
    lines = _all(_reader(api, request, {stream: StreamPosition()}, expected=None)).lines
    left = StreamPosition().advance(100, JsonRows(1, f"{lines[99]}\n".encode()).last_digest)

    assert lines[100:] == _all(_reader(api, request, {stream: left}, expected=None)).lines
    with pytest.raises(SessionGone):
        _all(_reader(api, request, {stream: replace(left, **change)}, expected=None))


@pytest.mark.usefixtures("waits")
def test_a_server_that_refuses_offsets_is_read_from_the_start(api: Api, emulator: Emulator) -> None:
    """And what was read before is left out."""
    emulator.faults.add(
        Fault(kind="close", path=_STREAMS, at_row=100, per_path=True),
        Fault(kind="refuse_offset", path=_STREAMS, nth="every"),
    )

    assert sorted(_all(_begun(api, _request())).lines) == sorted(_ROWS)


@pytest.mark.usefixtures("waits")
def test_blocks_that_were_read_before_are_left_out_one_by_one(
    api: Api, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream that is read from its start comes in many blocks, of which the place may be in any."""
    monkeypatch.setattr("tap_redivis.client.transport.PIECE_BYTES", 100)
    emulator.faults.add(
        Fault(kind="close", path=_STREAMS, at_row=100, per_path=True),
        Fault(kind="refuse_offset", path=_STREAMS, nth="every"),
    )

    assert sorted(_all(_begun(api, _request())).lines) == sorted(_ROWS)


@pytest.mark.usefixtures("waits")
def test_rows_that_never_come_are_looked_for_and_missed(api: Api, emulator: Emulator) -> None:
    """A body of JSON Lines that ends cleanly, but too early, shows only in the count."""
    emulator.faults.add(Fault(kind="end", path=_STREAMS, at_row=0, nth="every"))

    with pytest.raises(Incomplete, match="0 rows arrived of 1,000"):
        _all(_begun(api, _request()))


@pytest.mark.usefixtures("waits")
def test_damage_that_stays_is_an_error_with_its_place(api: Api, emulator: Emulator) -> None:
    """Once more might help; for ever would not."""
    emulator.faults.add(Fault(kind="streams", path="*/readSessions", count=1))
    emulator.faults.add(Fault(kind="garbage", path=_STREAMS, at_row=0, times=10))

    with pytest.raises(DataError, match=r"is damaged at row 0, twice in the same way"):
        _all(_begun(api, _request()))

    assert sum(request.path.startswith("/readStreams/") for request in emulator.requests) == 2


def test_retries_end_with_the_budget(make_api: MakeApi, emulator: Emulator) -> None:
    emulator.faults.add(Fault(kind="close", path=_STREAMS, nth="every"))

    with pytest.raises(Unavailable, match=r"^demo\.visits\.numbers: given up after retries: "):
        _all(_begun(make_api(max_retry_seconds=0), _request()))


@pytest.mark.usefixtures("waits")
def test_an_invalid_value_is_not_read_again(api: Api, emulator: Emulator) -> None:
    """It is what the source has, and no accident of the way."""
    request = _request(table_uri="/tables/demo.visits.letters")
    columns = [Column("letter", "integer")]
    session = open_session(api, request)
    positions = dict.fromkeys(session.streams, StreamPosition())
    reader = _session_reader(api, request, positions, 2, columns)
    emulator.forget_requests()

    with pytest.raises(InvalidValue, match="'letter'"):
        list(reader.read())

    assert len(emulator.requests) == len({request.path for request in emulator.requests})


# --- sessions that are gone ------------------------------------------------------------------------------------------


def test_an_expired_session_is_gone(api: Api, emulator: Emulator) -> None:
    reader = _begun(api, _request())
    emulator.pass_time(6 * 3600)

    with pytest.raises(SessionGone):
        _all(reader)


@pytest.mark.usefixtures("waits")
def test_a_session_that_expires_on_the_way_is_gone(api: Api, emulator: Emulator) -> None:
    emulator.faults.add(
        Fault(kind="close", path=_STREAMS, at_row=100), Fault(kind="expire", path=_STREAMS, nth=5, times=None)
    )

    with pytest.raises(SessionGone):
        _all(_begun(api, _request()))


@pytest.mark.parametrize("status", [400, 403, 404, 410])
def test_a_stream_that_is_refused_is_gone(api: Api, emulator: Emulator, status: int) -> None:
    """What the server says of an expired stream is not documented (redivis-api §8.1.9)."""
    emulator.faults.add(Fault(kind="status", path=_STREAMS, status=status))

    with pytest.raises(SessionGone):
        _all(_begun(api, _request()))


def test_the_session_of_another_user_is_gone(served: Path) -> None:
    """A state may be taken over by somebody else."""
    tokens = {"first": Token(user="first"), "second": Token(user="second")}
    with Emulator(served, tokens=tokens) as emulator:
        first, second = (Api(emulator.endpoint, token, timeout=20, max_retry_seconds=0) for token in tokens)
        session = open_session(first, _request())
        reader = _reader(second, _request(), dict.fromkeys(session.streams, StreamPosition()))

        with pytest.raises(SessionGone):
            _all(reader)


def test_the_export_quota_is_no_lost_session(api: Api, emulator: Emulator) -> None:
    """Another session would be refused as well."""
    words = "You cannot export more than 200 GB in 30 days."
    emulator.faults.add(Fault(kind="status", path=_STREAMS, status=400, message=words, nth="every"))

    with pytest.raises(QuotaExceeded):
        _all(_begun(api, _request()))


def test_a_token_that_is_not_valid_any_more_is_no_lost_session(api: Api, emulator: Emulator) -> None:
    emulator.faults.add(Fault(kind="status", path=_STREAMS, status=401, nth="every"))

    with pytest.raises(Unauthorized):
        _all(_begun(api, _request()))


def test_a_table_that_is_gone_is_no_lost_session(api: Api) -> None:
    with pytest.raises(NotFound):
        open_session(api, _request(table_uri="/tables/demo.visits.nothing"))


# --- /rows -----------------------------------------------------------------------------------------------------------

_BODY = "*/rows"


@pytest.mark.parametrize("wire_format", get_args(WireFormat))
def test_public_tables_are_read_without_a_token(make_api: MakeApi, wire_format: WireFormat) -> None:
    """As one body (redivis-api §1.3)."""
    reader = _reader(make_api(None), _request(wire_format), {ROWS_STREAM: StreamPosition()})

    assert sorted(_all(reader).lines) == sorted(_ROWS)


def test_rows_are_limited_and_selected_at_the_server(api: Api, emulator: Emulator) -> None:
    request = _request(max_rows=7, variables=["id", "half"])

    read = _all(_reader(api, request, {ROWS_STREAM: StreamPosition()}, expected=7))

    assert len(read.lines) == 7
    assert emulator.requests[0].query == {"format": "jsonl", "selectedVariables": "id,half", "maxResults": "7"}


@pytest.mark.usefixtures("waits")
def test_a_body_that_breaks_before_its_first_row_is_asked_for_again(api: Api, emulator: Emulator) -> None:
    emulator.faults.add(Fault(kind="status", status=503, path=_BODY), Fault(kind="close", path=_BODY, nth=2, at_row=0))

    assert sorted(_all(_reader(api, _request(), {ROWS_STREAM: StreamPosition()})).lines) == sorted(_ROWS)


@pytest.mark.parametrize("kind", [*get_args(Break), "garbage"])
@pytest.mark.usefixtures("waits")
def test_a_body_that_breaks_after_rows_cannot_go_on(api: Api, emulator: Emulator, kind: Kind) -> None:
    """The next body has another order: rows would be lost and repeated."""
    emulator.faults.add(Fault(kind=kind, path=_BODY, at_row=200))

    with pytest.raises(SessionGone):
        _all(_reader(api, _request(), {ROWS_STREAM: StreamPosition()}))
