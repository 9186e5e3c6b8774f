"""RECORD lines are the same, spliced or made by the SDK."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from singer_sdk.singerlib import Catalog

from tap_redivis.model.columns import TABLE, VERSION, Column
from tap_redivis.model.json_schema import schema_of
from tap_redivis.model.tables import Variable
from tap_redivis.singer.stream_maps import by_sdk
from tap_redivis.singer.streams import TableStream
from tap_redivis.tap import TapRedivis
from tap_redivis.wire.json_lines import RecordLines, column_appender, splicing
from tap_redivis.wire.rows import JsonRows
from tests.unit.bodies import Body, bodies, codec, decoded

_TIME = re.compile(rb',"time_extracted":"[^"]*"\}$', re.MULTILINE)
_ROWS = JsonRows(2, b'{"id":1}\n{"id":2}\n')


def _stream(columns: Sequence[Column], version: int | None) -> TableStream:
    """Make a stream of a catalog, which asks no server."""
    variables = [Variable(column.name, column.type) for column in columns]
    entry = {
        "tap_stream_id": "t",
        "table_name": "demo.d.t",
        "schema": schema_of(variables, None),
        "metadata": [{"breadcrumb": [], "metadata": {"selected": True, "replication-method": "FULL_TABLE"}}],
    }
    tap = TapRedivis(config={"tables": ["demo.d.t"], "lineage": True}, catalog=Catalog.from_dict({"streams": [entry]}))
    stream = tap.streams["t"]
    assert isinstance(stream, TableStream)
    stream.set_version(version)
    return stream


def _by_sdk(stream: TableStream) -> RecordLines:
    return by_sdk(stream.record_messages, stream.run.writer.format_message)


def _spliced(rows: JsonRows, version: int | None, name: str = "t") -> bytes:
    return b"".join(splicing(name, version)(rows))


def _without_time(lines: bytes) -> bytes:
    return _TIME.sub(b"}", lines)


@given(bodies(min_rows=1), st.none() | st.integers(1, 2**31 - 1))
def test_splicing_gives_the_lines_of_the_sdk(body: Body, version: int | None) -> None:
    """Byte by byte, but for `time_extracted`: all types at their extremes, whatever the names and strings.

    With the row key and the lineage.
    """
    stream = _stream(body.columns, version)
    extend = column_appender("1-a", {TABLE: "demo.d:v1_0.t", VERSION: "v1.0"})
    rows = extend(decoded(codec(body.columns), [body.mixed]), 1, 5)

    spliced, reference = _spliced(rows, version), b"".join(_by_sdk(stream)(rows))

    assert _without_time(spliced) == _without_time(reference)
    assert spliced.count(b"\n") == spliced.count(b'"_redivis_row_key":"') == len(body.cells)
    assert spliced.count(b'"_redivis_version":"v1.0"}') == len(body.cells)


@pytest.mark.parametrize("character", ["\x00", "\ud800"])
def test_characters_that_stay_as_they_are_go_both_ways(character: str) -> None:
    """`replace_invalid_characters` may be off."""
    column = Column("v", "string")
    rows = decoded(codec([column], replace_characters=False), [json.dumps({"v": f"a{character}"}).encode()])

    for parts in (splicing("t", None)(rows), _by_sdk(_stream([column], None))(rows)):
        assert json.loads(b"".join(parts))["record"] == {"v": f"a{character}"}


@pytest.mark.parametrize("name", ["t", 'a"b', "back\\slash", "two\nlines", "🛫"])
def test_a_streams_name_is_json(name: str) -> None:
    """An alias of a stream map may be any text."""
    for line in _spliced(_ROWS, 5, name).splitlines():
        assert json.loads(line)["stream"] == name


def test_messages_have_the_version_of_the_load() -> None:
    assert [json.loads(line).get("version") for line in _spliced(_ROWS, 5).splitlines()] == [5, 5]


def test_no_version_is_no_key() -> None:
    assert all("version" not in json.loads(line) for line in _spliced(_ROWS, None).splitlines())


def test_messages_say_when_they_were_extracted() -> None:
    """In UTC."""
    message = json.loads(_spliced(_ROWS, None).splitlines()[0])

    extracted = datetime.fromisoformat(message["time_extracted"])

    assert extracted.utcoffset() == timedelta(0)
    assert abs(datetime.now(timezone.utc) - extracted) < timedelta(minutes=1)
