"""Bytes that are lost, cut off or sent twice on the way never make a table that counts as complete and is not."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redivis_emulator.render import Style
from tap_redivis.client.http import Api
from tap_redivis.errors import RedivisError
from tap_redivis.model.reads import ReadRequest, StreamPosition
from tap_redivis.reading.jobs import Chunk, JobSpec, LocalWorker, RowBudget, Server
from tap_redivis.reading.read_session import SessionReader
from tap_redivis.reading.read_stream import ReadProgress, SessionGone
from tests.fuzz.bodies import COLUMNS, FUZZ, ROWS, STRUCTURAL, TABLE, Edit, body, codec, styles
from tests.fuzz.served import Answer, Asked, serving
from tests.support.served import records_of

_TIMEOUT = 20.0
_RETRY_SECONDS = 0.05
_RIGHT = records_of(TABLE)
_NAMES = [column.name for column in COLUMNS]


@dataclass
class _Stream:
    """What the server sends: bodies that are damaged, in their order, then sound ones."""

    style: Style = field(default_factory=lambda: Style("jsonl"))
    edits: list[Edit] = field(default_factory=list)

    def answer(self, asked: Asked) -> Answer:
        sound = body(self.style, int(asked.query["offset"]))
        return Answer(self.edits.pop(0)(sound) if self.edits else sound)


@pytest.fixture(scope="module")
def stream() -> _Stream:
    """What the server sends now."""
    return _Stream()


@pytest.fixture(scope="module")
def api(stream: _Stream) -> Iterator[Api]:
    """A server whose only read stream is `stream`."""
    with serving(stream.answer) as endpoint:
        yield Api(endpoint, None, timeout=_TIMEOUT, max_retry_seconds=_RETRY_SECONDS)


@FUZZ
@given(styles(), st.lists(STRUCTURAL, min_size=1, max_size=2))
def test_damage_that_passes_ends_in_exact_rows_or_an_error(
    api: Api, stream: _Stream, style: Style, edits: list[Edit]
) -> None:
    stream.style, stream.edits = style, [_breaking(edit, style) for edit in edits]

    rows = _read(api, style)

    assert rows is None or rows == _RIGHT


@FUZZ
@given(styles(), STRUCTURAL)
def test_damage_that_stays_ends_in_exact_rows_or_an_error(api: Api, stream: _Stream, style: Style, edit: Edit) -> None:
    stream.style, stream.edits = style, [_breaking(edit, style)] * 1000

    rows = _read(api, style)

    assert rows is None or rows == _RIGHT


def _breaking(edit: Edit, style: Style) -> Edit:
    """Damage only where it changes how many records there are: what changes one value and no more, nobody can see."""

    def breaking(data: bytes) -> bytes:
        damaged = edit(data)
        return damaged if _records(damaged, style) != _records(data, style) else data

    return breaking


def _records(data: bytes, style: Style) -> int:
    """Count the records of a text body; an Arrow body counts its rows itself, and is damaged by any change of size."""
    if style.format == "csv":
        return sum(1 for _ in csv.reader(io.StringIO(data.decode("latin-1"), newline="")))
    return data.count(b"\n") if style.format == "jsonl" else len(data)


def _read(api: Api, style: Style) -> list[dict[str, object]] | None:
    """Read all rows; None if that failed."""
    request = ReadRequest("demo.fuzz.t", "/t", style.format, 1, None, _NAMES, _TIMEOUT)
    table = codec()
    worker = LocalWorker(RowBudget(None), ReadProgress(), api, table)
    spec = JobSpec(Server(api.endpoint, api.anonymous, 20.0, 20.0), request, table.columns, table.rules)
    reader = SessionReader(worker, spec, {"s": StreamPosition()}, ROWS)
    try:
        blocks = [event.content.lines for event in reader.read() if isinstance(event, Chunk)]  # type: ignore[attr-defined]
    except (RedivisError, SessionGone):
        return None
    return [msgspec.json.decode(line) for line in b"".join(blocks).splitlines()]
