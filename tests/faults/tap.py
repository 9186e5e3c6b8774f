"""The tap while something goes wrong: run it, and check how it ended."""

from __future__ import annotations

import signal
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from tap_redivis.model.columns import WireFormat
from tests.faults.menu import Item
from tests.faults.served import has_happened, rows_of, served
from tests.support.batches import all_records_in, batch_config, files_of, with_rows
from tests.support.pipes import Output, Program, tap
from tests.support.running import forked
from tests.support.served import assert_same_rows

FORMATS: Sequence[WireFormat] = get_args(WireFormat)
STREAMS = (1, 4)
"""Read streams of a session, asked for and given."""

_LIMIT_SECONDS = 60
_STREAM = "visits__visits"


def survive(
    item: Item,
    wire_format: WireFormat,
    streams: int,
    folder: Path,
    *,
    encoding: str | None = None,
) -> None:
    """Run the tap against a fault, and check that all rows came, or that the run failed as it should.

    Args:
        item: The fault.
        wire_format: What the server is asked to send.
        streams: Read streams.
        folder: For all files.
        encoding: Encoding of BATCH files; None: the rows come as RECORDs.

    Raises:
        AssertionError: It ended otherwise.
    """
    files = folder / "files"
    files.mkdir()
    with served(item, streams, folder / "served") as emulator:
        config = _config(item, wire_format, streams)
        if encoding is not None:
            config["batch_config"] = batch_config(encoding, folder / "out", batch_size=700)
        done = run_limited(tap(emulator, files, config))
        assert all(has_happened(fault, emulator.requests) for fault in item.faults), "the fault did not happen"
    check = _check_complete if item.ends == "transient" else _check_failed
    check(item, done)
    if encoding is not None:
        _check_files(folder / "out", done)


def run_limited(program: Program) -> Output:
    """Run the tap to its end; one that has none is killed."""
    with forked(program) as running:
        limit = threading.Timer(_LIMIT_SECONDS, running.kill, [signal.SIGKILL])
        limit.start()
        with open(running.stdout, "rb", closefd=False) as stdout:
            done = running.end(stdout.read())
        limit.cancel()
        return done


def _config(item: Item, wire_format: WireFormat, streams: int) -> dict[str, Any]:
    config: dict[str, Any] = {
        "datasets": ["demo.visits"],
        "row_key": False,
        "wire_format": wire_format,
        "max_streams": streams,
        "max_retry_seconds": item.retry_seconds,
        "request_timeout_seconds": item.timeout_seconds,
    }
    return config if item.max_rows is None else {**config, "max_rows": item.max_rows}


def _check_complete(item: Item, done: Output) -> None:
    """All rows of one version, exactly, under the table version that was activated."""
    assert done.exit_code == 0, done.stderr
    assert not _errors(done)
    [activated] = [message["version"] for message in done.messages if message["type"] == "ACTIVATE_VERSION"]
    messages = [each for message in done.messages for each in with_rows(message)]
    records = [message for message in messages if message["type"] == "RECORD"]
    rows = [message["record"] for message in records if message["version"] == activated]
    bookmark = _bookmark(done)
    assert bookmark["completed_at"]
    assert (bookmark["rows"], bookmark["table_version"]) == (len(rows), activated)
    check_rows(item, rows, bookmark["version_tag"])


def check_rows(item: Item, rows: Sequence[Mapping[str, Any]], version: str) -> None:
    """Check that rows are the table's, all or as many as were asked for.

    Raises:
        AssertionError: Some are missing, or some are too many.
    """
    ids = {row["id"] for row in rows}
    expected = [row for row in rows_of(version, item.rows) if item.max_rows is None or row["id"] in ids]
    assert len(rows) == item.max_rows or item.max_rows is None
    assert_same_rows(rows, expected)


def _check_failed(item: Item, done: Output) -> None:
    """One line says why, and nothing says that the table is complete."""
    assert done.exit_code == 1, done.stderr
    assert "Traceback" not in done.stderr
    [error] = _errors(done)
    assert item.cause
    assert item.cause in error
    assert "ACTIVATE_VERSION" not in {message["type"] for message in done.messages}
    assert "completed_at" not in _bookmark(done)
    assert not item.ends_at_once or not _lines(done, "WARNING"), "it was tried again"


def _check_files(root: Path, done: Output) -> None:
    """Nothing is left but files that messages name, and each of these can be read to its end."""
    named = files_of(done.messages)
    assert {path for path in root.rglob("*") if path.is_file()} == set(named)
    assert all(map(all_records_in, named))


def _errors(done: Output) -> list[str]:
    return _lines(done, "ERROR")


def _lines(done: Output, level: str) -> list[str]:
    return [line for line in done.stderr.splitlines() if f"| {level} " in line]


def _bookmark(done: Output) -> dict[str, Any]:
    if not any(message["type"] == "STATE" for message in done.messages):
        return {}
    bookmark: dict[str, Any] = done.state.get("bookmarks", {}).get(_STREAM, {})
    return bookmark
