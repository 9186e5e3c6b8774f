"""What people see while tables are read: a bar a table on a terminal, else a line now and then; a summary at the end.

All of it goes to stderr. ``TAP_REDIVIS_LOG_LEVEL=warning`` silences it.
"""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

logger = logging.getLogger("tap-redivis")

_LINE_SECONDS = 5.0
_BAR_SECONDS = 0.1


class Reading(Protocol):
    """What can be told of a table that is being read.

    Attributes:
        received: JsonRows so far, those of earlier runs included.
        bytes: Bytes in this run.
        resumes: Times that a read stream was taken up again.
    """

    @property
    def received(self) -> int: ...  # noqa: D102 - said above

    @property
    def bytes(self) -> int: ...  # noqa: D102 - said above

    @property
    def resumes(self) -> int: ...  # noqa: D102 - said above


class Display(Protocol):
    """Shows how far one table is."""

    def show(self, reading: Reading) -> None:
        """Show it, if the last time is long enough ago."""


@dataclass(frozen=True)
class Result:
    """How one table ended.

    Attributes:
        stream: The stream's name.
        version: Version tag; empty for a workflow, or if it was not found out.
        mode: What was done, in a word or two.
        outcome: How it ended.
        rows: JsonRows in the target, as far as they are ours.
        bytes: Bytes received in this run.
        seconds: Wall time.
        resumes: Times that a read stream was taken up again.
    """

    stream: str
    version: str = ""
    mode: str = ""
    outcome: Literal["loaded", "unchanged", "left out", "failed"] = "failed"
    rows: int = 0
    bytes: int = 0
    seconds: float = 0.0
    resumes: int = 0


@contextmanager
def display(stream: str, expected: int | None, streams: int) -> Iterator[Display]:
    """Show the reading of a table for as long as the context lasts.

    Args:
        stream: The stream's name.
        expected: JsonRows that there are in all, if that is known.
        streams: Number of read streams.
    """
    if not _on_terminal():
        yield _Lines(stream, expected)
        return
    progress = _rich_progress()
    with progress, _logging_above():
        yield _Bar(progress, stream, expected, streams)


@dataclass(frozen=True)
class TableView:
    """A table as ``--discover=table`` lists it.

    Attributes:
        stream: The stream's name.
        table: The table's reference.
        rows: Row count, if known.
        bytes: Size, if known.
        columns: Number of variables.
        access: Whether the rows can be read, or why not.
        selected: Whether a run would read it.
    """

    stream: str
    table: str
    rows: int | None
    bytes: int | None
    columns: int
    access: str
    selected: bool


def show_tables(views: Sequence[TableView]) -> None:
    """List tables on stdout."""
    from rich.console import Console  # noqa: PLC0415 - only people need it
    from rich.table import Table  # noqa: PLC0415 - the same

    listing = Table("stream", "table", "rows", "MB", "columns", "access", "selected")
    for view in views:
        rows = "?" if view.rows is None else f"{view.rows:,}"
        size = "?" if view.bytes is None else f"{view.bytes / 1e6:,.1f}"
        selected = "yes" if view.selected else "no"
        listing.add_row(view.stream, view.table, rows, size, str(view.columns), view.access, selected)
    width = None if sys.stdout.isatty() else 200
    Console(width=width).print(listing)


def summarize(results: Sequence[Result]) -> None:
    """Say how all tables ended: a table on a terminal, else a line for each, and one for all."""
    if not results:
        return
    if _on_terminal():
        _print_table(results)
        return
    for result in results:
        logger.info(
            "%s: %s; version %s, mode %s, %d rows, %.1f MB, %.1f s, %d resumes",
            result.stream,
            result.outcome,
            result.version or "-",
            result.mode or "-",
            result.rows,
            result.bytes / 1e6,
            result.seconds,
            result.resumes,
        )
    counts = Counter(result.outcome for result in results)
    words = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items()))
    loaded = [result for result in results if result.outcome == "loaded"]
    logger.info(
        "%d tables: %s; %d rows loaded, %.1f MB received, %.1f s",
        len(results),
        words,
        sum(result.rows for result in loaded),
        sum(result.bytes for result in results) / 1e6,
        sum(result.seconds for result in results),
    )


def _on_terminal() -> bool:
    return sys.stderr.isatty() and logger.isEnabledFor(logging.INFO)


class _Lines:
    def __init__(self, stream: str, expected: int | None) -> None:
        self._logger = logger.getChild(stream)
        self._expected = expected
        self._started = self._said = time.monotonic()

    def show(self, reading: Reading) -> None:
        now = time.monotonic()
        if now - self._said < _LINE_SECONDS:
            return
        self._said = now
        rate = reading.bytes / 1e6 / (now - self._started)
        if self._expected:
            share = 100 * reading.received / self._expected
            self._logger.info("%d of %d rows (%.0f %%), %.1f MB/s", reading.received, self._expected, share, rate)
        else:
            self._logger.info("%d rows, %.1f MB/s", reading.received, rate)


class _Bar:
    def __init__(self, progress: RichProgress, stream: str, expected: int | None, streams: int) -> None:
        self._progress = progress
        self._task = progress.add_task(stream, total=expected, rate="", resumes=0, streams=streams)
        self._started = self._shown = time.monotonic()

    def show(self, reading: Reading) -> None:
        now = time.monotonic()
        if now - self._shown < _BAR_SECONDS:
            return
        self._shown = now
        rate = f"{reading.bytes / 1e6 / (now - self._started):.1f} MB/s"
        self._progress.update(self._task, completed=reading.received, rate=rate, resumes=reading.resumes)


def _rich_progress() -> RichProgress:
    from rich.console import Console  # noqa: PLC0415 - only terminals need it
    from rich.progress import (  # noqa: PLC0415 - the same
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[streams]} streams, {task.fields[resumes]} resumes"),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,  # stdout is for Singer messages only
    )


@contextmanager
def _logging_above() -> Iterator[None]:
    """Write log lines above the bar instead of through it: to what rich has put in stderr's place."""
    handlers = [h for h in logging.getLogger().handlers if isinstance(h, logging.StreamHandler)]
    before = [handler.setStream(sys.stderr) for handler in handlers]
    try:
        yield
    finally:
        for handler, stream in zip(handlers, before, strict=True):
            if stream is not None:
                handler.setStream(stream)


def _print_table(results: Sequence[Result]) -> None:
    from rich.console import Console  # noqa: PLC0415 - only terminals need it
    from rich.table import Table  # noqa: PLC0415 - the same

    table = Table("table", "version", "mode", "rows", "MB", "seconds", "resumes", "result")
    for result in results:
        numbers = (f"{result.rows:,}", f"{result.bytes / 1e6:.1f}", f"{result.seconds:.1f}", str(result.resumes))
        table.add_row(result.stream, result.version, result.mode, *numbers, result.outcome)
    Console(stderr=True).print(table)
