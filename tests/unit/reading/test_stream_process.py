"""Reading in processes changes nothing but who computes: the same rows, errors, warnings and log lines."""

from __future__ import annotations

import errno
import io
import logging
import os
import pickle
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from threading import Event

import pytest

from redivis_emulator import Emulator, Fault
from tap_redivis.client.http import Api
from tap_redivis.client.read_sessions import open_session
from tap_redivis.errors import Forbidden, InvalidValue, StorageError, Unavailable
from tap_redivis.model.columns import Column, ValueRules
from tap_redivis.model.reads import ReadRequest, StreamPosition
from tap_redivis.reading.read_session import HERE, Block, SessionReader, StreamEnd, Way
from tap_redivis.reading.read_stream import SessionGone, StreamReader
from tap_redivis.reading.shared_memory import SharedMemory
from tap_redivis.reading.stream_process import _Out
from tap_redivis.wire import decoder_for
from tap_redivis.wire.codec import RowCodec
from tap_redivis.wire.rows import Lines, Notices, RowBlock, Rows

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux only")

_COLUMNS = (Column("id", "integer"), Column("half", "float"))
_STREAMS = "/readStreams/*"
_NO_ROWS = decoder_for("jsonl", RowCodec("t", _COLUMNS, ValueRules(), Notices()), [])
_REQUEST = ReadRequest(
    table="demo.visits.numbers",
    table_uri="/tables/demo.visits.numbers",
    wire_format="jsonl",
    max_streams=2,  # of four: each process reads one after another
    max_rows=None,
    variables=None,
    timeout=20.0,
)


def _reader(
    api: Api,
    notices: Notices | None = None,
    columns: tuple[Column, ...] = _COLUMNS,
    way: Way = HERE,
    processes: int = 4,
) -> SessionReader:
    notices = notices or Notices()
    session = open_session(api, _REQUEST)
    codec = RowCodec(_REQUEST.table, columns, ValueRules(invalid_as_null=False), notices)
    names = [column.name for column in columns]
    positions = dict.fromkeys(session.streams, StreamPosition())
    decoder = partial(decoder_for, "jsonl", codec, names)
    return SessionReader(api, _REQUEST, positions, 1000, decoder, notices=notices, processes=processes, way=way)


def _lines(_stream: str, _offset: int, rows: RowBlock) -> Lines:
    assert isinstance(rows, Rows)
    return Lines(rows.count, (b"<", memoryview(rows.lines)[:-1], b">\n"), rows.last_digest, str(rows.count))


def _gathered(events: Iterable[object]) -> list[bytes]:
    """Give what was made of the rows; each must be taken before the next is asked for."""
    return [
        b"".join(event.rows.parts) for event in events if isinstance(event, Block) and isinstance(event.rows, Lines)
    ]


def _children() -> set[int]:
    """Give the processes that this thread has forked."""
    return set(map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()))


def _read_while_killing(events: Iterable[object], before: set[int]) -> None:
    for _ in events:
        for child in _children() - before:
            os.kill(child, signal.SIGKILL)


def test_every_row_comes_once(api: Api) -> None:
    """Four read streams, two processes."""
    before = _children()
    reader = _reader(api)
    with closing(reader.read()) as events:
        first = next(events)
        assert len(_children() - before) == 2
        rest = list(events)
    lines = [line for event in [first, *rest] if isinstance(event, Block) for line in event.rows.lines.splitlines()]

    assert sorted(lines) == _ALL
    assert sum(isinstance(event, StreamEnd) for event in rest) == 4
    assert reader.bytes > 1000 * 20
    assert not _children() - before


_ALL = sorted(f'{{"id":{number},"half":{number / 2}}}'.encode() for number in range(1000))


def _who(_stream: str, _offset: int, blocks: Iterator[RowBlock]) -> Iterator[Lines]:
    """Give, instead of the rows of each block, the process that it went through."""
    for rows in blocks:
        yield Lines(rows.count, (b"%d" % os.getpid(),), rows.last_digest, None)


def _who_and_fail(stream: str, offset: int, blocks: Iterator[RowBlock]) -> Iterator[Lines]:
    yield from _who(stream, offset, blocks)
    raise StorageError("there is no more room", where="here", todo="Make some")


def test_threads_read_beside_processes_where_these_are_to_be_few(api: Api, emulator: Emulator) -> None:
    """Two streams at once, of which a process reads one; the first of each take a while."""
    emulator.faults.add(Fault(kind="stall", path=_STREAMS, nth="every", seconds=0.3))
    reader = _reader(api, way=Way(through=_who, through_in_processes=True), processes=1)

    who = set(_gathered(reader.read()))

    assert len(who) == 2
    assert b"%d" % os.getpid() in who
    assert reader.received == 1000


@pytest.mark.parametrize("place_bytes", [512 * 1024, 500, 64])
def test_lines_come_as_they_were_made(api: Api, monkeypatch: pytest.MonkeyPatch, place_bytes: int) -> None:
    """In places that hold all of them, in places that are filled again and again, and where none of them fits."""
    monkeypatch.setattr("tap_redivis.client.http.PIECE_BYTES", 200)
    monkeypatch.setattr("tap_redivis.reading.shared_memory.PLACE_BYTES", place_bytes)
    monkeypatch.setattr("tap_redivis.reading.stream_process.PLACE_BYTES", place_bytes)
    lines = b"".join(_gathered(_reader(api, way=Way(make=_lines)).read()))

    assert sorted(line.strip(b"<>") for line in lines.splitlines()) == _ALL
    assert lines.count(b"<") == lines.count(b">\n") > 20


def test_lines_that_are_there_together_come_together() -> None:
    """In order, as one: with the digest of the last row, and the highest of their replication keys."""
    answers, memory = io.BytesIO(), SharedMemory()
    out = _Out(answers, memory)
    out.stream = StreamReader(Api("http://x", None, timeout=1, max_retry_seconds=1), _REQUEST, "s", _NO_ROWS, Event())

    for count, text, digest, highest in [(2, b"ab", "1", "x"), (1, b"c", "2", "z"), (3, b"def", "3", None)]:
        out.put(Lines(count, (text[:1], memoryview(text)[1:]), digest, highest))
    assert not answers.getvalue()
    out.flush()
    out.flush()

    answers.seek(0)
    shared = pickle.load(answers)  # noqa: S301 - our own
    assert (shared.count, shared.last_digest, shared.highest) == (6, "3", "z")
    assert memory.at(shared.place)[: shared.length] == b"abcdef"
    assert not answers.read()


@pytest.mark.parametrize("in_processes", [True, False])
def test_what_is_done_with_all_rows_is_done_in_the_processes_or_not(
    api: Api,
    in_processes: bool,  # noqa: FBT001 - pytest gives it by name
) -> None:
    """As the way says; what goes wrong there ends the reading."""
    way, found = Way(through=_who_and_fail, through_in_processes=in_processes), set()

    with pytest.raises(StorageError, match=r"^here: there is no more room"):
        found.update(made for event in _reader(api, way=way).read() for made in _gathered([event]))

    assert found
    assert (b"%d" % os.getpid() in found) is not in_processes


def test_what_is_there_is_not_held_back_while_the_server_is_silent(api: Api, emulator: Emulator) -> None:
    """Lines are gathered only as long as more of them are there."""
    emulator.faults.add(Fault(kind="stall", path=_STREAMS, at_byte=1000, times=None))
    reader = _reader(api, way=Way(make=_lines))
    with closing(reader.read()) as events:
        block = next(events)

    assert isinstance(block, Block)
    assert block.rows.count > 0
    assert reader.resumes == 0


def test_no_process_is_left_where_nobody_wants_the_rest(api: Api) -> None:
    before = _children()
    with closing(_reader(api).read()) as events:
        next(events)

    assert not _children() - before


def test_breaks_are_counted_and_said_here(api: Api, emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    """A process's log lines go through the handlers of the tap, which know the format and the secrets."""
    emulator.faults.add(Fault(kind="close", path=_STREAMS, at_byte=1000))
    reader = _reader(api)

    with caplog.at_level(logging.WARNING):
        list(reader.read())

    assert reader.resumes == 1
    assert [record.name for record in caplog.records if "goes on at row" in record.getMessage()] == ["tap-redivis"]


def test_an_error_comes_with_its_cause(api: Api, emulator: Emulator) -> None:
    """The writer decides by the cause whether another session could help."""
    emulator.faults.add(Fault(kind="status", path=_STREAMS, status=403, times=None))

    with pytest.raises(SessionGone) as caught:
        list(_reader(api).read())

    assert isinstance(caught.value.__cause__, Forbidden)


def test_a_bad_value_keeps_its_place(api: Api) -> None:
    columns = (Column("id", "integer"), Column("half", "integer"))

    with pytest.raises(InvalidValue, match="is no integer") as caught:
        list(_reader(api, columns=columns).read())

    assert caught.value.where == _REQUEST.table
    assert caught.value.offset >= 0


def test_what_was_left_out_is_counted_here(api: Api) -> None:
    notices = Notices()
    list(_reader(api, notices, columns=_COLUMNS[:1]).read())

    assert dict(notices.counts) == {"streams with the unknown column 'half', which is left out": 4}


def test_a_process_that_is_killed_is_an_error(api: Api, emulator: Emulator) -> None:
    """For example by a system that is short of memory."""
    emulator.faults.add(Fault(kind="stall", path=_STREAMS, at_byte=1000, times=None))
    before = _children()
    message = r"^demo\.visits\.numbers: the process .* was ended"
    with closing(_reader(api).read()) as events, pytest.raises(Unavailable, match=message):
        _read_while_killing(events, before)


def test_a_process_ends_with_the_tap(api: Api, emulator: Emulator) -> None:
    """However that ends: nobody asks any more. Before that it gives rows, log lines and errors."""
    emulator.faults.add(Fault(kind="close", path="/readStreams/*.0", at_byte=1000))
    emulator.faults.add(Fault(kind="status", path="/readStreams/*.1", status=403, times=None))
    before = _children()
    reader = _reader(api)
    process = reader._process()  # noqa: SLF001 - there is no other way to have the process alone
    assert process is not None
    [child] = _children() - before
    good, refused, *_ = map(process.reader, reader._positions)  # noqa: SLF001 - the ids of the streams

    rows = sum(block.count for block in good.rows(StreamPosition()))
    with pytest.raises(SessionGone):
        list(refused.rows(StreamPosition()))
    process._requests.close()  # noqa: SLF001 - as the system does when the tap is gone

    assert os.waitpid(child, 0) == (child, 0)
    assert 200 < rows < 300  # about a fourth
    assert good.resumes == 1


def test_threads_read_where_no_process_can_be_started(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse() -> int:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refuse)
    events = list(_reader(api).read())

    assert sum(event.rows.count for event in events if isinstance(event, Block)) == 1000
    assert "no process can be started" in caplog.text


def test_errors_can_be_pickled() -> None:
    """Whatever their constructors take."""
    for error in (
        Forbidden("no", where="here", todo="Ask"),
        InvalidValue("bad", offset=7, where="there", todo="Mend it"),
    ):
        copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
        assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))
