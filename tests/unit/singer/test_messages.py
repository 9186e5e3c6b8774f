"""Messages go out as whole lines, whatever takes them."""

from __future__ import annotations

import io
import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

import pytest
from singer_sdk.singerlib import RecordMessage, StateMessage

from tap_redivis.runtime.standard_streams import Output, OutputClosed, text_output
from tap_redivis.singer.messages import MessageWriter
from tap_redivis.singer.sdk import ChangedStateWriter

_LARGE = b"x" * 1_000_000 + b"\n"


@contextmanager
def _pipe() -> Iterator[int]:
    """Make stdout a pipe; give the end to read from."""
    reader, writer = os.pipe()
    with redirect_stdout(text_output(Output(writer))):
        yield reader
    os.close(writer)


def test_lines_larger_than_a_pipe_go_out_whole() -> None:
    """One write takes only what there is room for."""
    received: list[bytes] = []

    with _pipe() as reader:
        thread = threading.Thread(target=lambda: received.extend(iter(lambda: os.read(reader, 50_000), b"")))
        thread.start()
        MessageWriter().write_lines(_LARGE, "RECORD")
    thread.join(20)

    assert b"".join(received) == _LARGE


def test_lines_go_out_whole_though_a_signal_comes_between() -> None:
    """The write that it interrupts has taken only a part."""
    received: list[bytes] = []
    before = signal.signal(signal.SIGUSR1, lambda *_: None)

    def receive(reader: int) -> None:
        received.append(os.read(reader, 1))  # the write has begun, and waits for room
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
        received.extend(iter(lambda: os.read(reader, 50_000), b""))

    with _pipe() as reader:
        thread = threading.Thread(target=receive, args=(reader,))
        thread.start()
        MessageWriter().write_lines(_LARGE, "RECORD")
    thread.join(20)
    signal.signal(signal.SIGUSR1, before)

    assert b"".join(received) == _LARGE


def test_a_reader_that_is_gone_ends_all() -> None:
    """By an exception that nothing takes for a failure of a table."""
    with _pipe() as reader:
        os.close(reader)

        with pytest.raises(OutputClosed) as caught:
            MessageWriter().write_lines(b"{}\n", "STATE")

    assert not isinstance(caught.value, Exception)


def test_what_was_printed_before_stays_before() -> None:
    """The SDK prints some messages by itself."""
    with _pipe() as reader:
        print("first")  # noqa: T201 - as others do
        MessageWriter().write_lines(b"second\n", "RECORD")

        assert os.read(reader, 100) == b"first\nsecond\n"


def test_a_stdout_that_is_no_file_will_do() -> None:
    """The SDK's test runner puts a buffer in its place."""
    buffer = io.BytesIO()

    with redirect_stdout(io.TextIOWrapper(buffer)):
        MessageWriter().write_message(StateMessage(value={"bookmarks": {}}))

        assert json.loads(buffer.getvalue()) == {"type": "STATE", "value": {"bookmarks": {}}}
        assert buffer.getvalue().endswith(b"\n")


def test_the_writer_knows_what_came_last() -> None:
    """STATE must be the last message of a run."""
    writer = MessageWriter()
    assert writer.last_type is None

    with redirect_stdout(io.TextIOWrapper(io.BytesIO())):
        writer.write_message(StateMessage(value={}))
        writer.write_lines(b"{}\n", "RECORD")

    assert writer.last_type == "RECORD"


def test_a_message_is_one_line() -> None:
    """Whatever its strings hold."""
    line = MessageWriter().format_message(RecordMessage(stream="t", record={"v": "two\nlines\r\u2028🛫"}))

    assert line.count(b"\n") == 1
    assert json.loads(line)["record"] == {"v": "two\nlines\r\u2028🛫"}


class _Large(dict[str, Any]):
    """What is so large that nobody should copy it."""

    may_be_made = True

    def __init__(self, *values: Any, **names: Any) -> None:
        assert self.may_be_made
        super().__init__(*values, **names)

    def __deepcopy__(self, memo: object) -> Any:
        raise AssertionError(memo)


def test_state_is_written_where_it_changed_and_never_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a thousand tables, copies of all bookmarks took longer than all the rest."""
    buffer = io.BytesIO()
    state = _Large(bookmarks=_Large(first=_Large(rows=1)))
    monkeypatch.setattr(_Large, "may_be_made", False)
    with redirect_stdout(io.TextIOWrapper(buffer)):
        writer = ChangedStateWriter(MessageWriter())
        writer.write_state(state)
        writer.write_state(state)
        state["bookmarks"]["first"]["rows"] = 2
        writer.write_state(state)

        lines = buffer.getvalue().splitlines()

    assert [json.loads(line)["value"]["bookmarks"]["first"]["rows"] for line in lines] == [1, 2]


def test_state_is_spelled_as_the_sdk_spells_it() -> None:
    """Also where a key's value is null."""
    message = StateMessage(value={"bookmarks": {"first": {"rows": None}}})

    assert json.loads(MessageWriter().format_message(message)) == message.to_dict()
