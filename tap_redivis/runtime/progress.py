"""What people see: a bar or log lines while a table is read, a summary of the run, a list of tables on request.

Bars, lines and the summary go to stderr; ``TAP_REDIVIS_LOG_LEVEL=warning`` silences them.
"""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tap_redivis.errors import escaped

if TYPE_CHECKING:
    from rich.progress import Progress

logger = logging.getLogger("tap-redivis")

Outcome = Literal["loaded", "unchanged", "left out", "failed", "stopped"]
"""How the load of one table ended."""


# --- while a table is read -------------------------------------------------------------------------------------------


class Display:
    """Shows how far one table is: a log line every five seconds."""

    _interval_seconds = 5.0

    def __init__(self, stream: str, expected: int | None) -> None:
        self._logger = logger.getChild(stream)
        self._expected = expected
        self._started = self._shown = time.monotonic()

    def show(self, received: int, size: int, resumes: int) -> None:
        """Show rows so far, earlier runs included, and bytes of this run, if the last time is long enough ago."""
        now = time.monotonic()
        if now - self._shown >= self._interval_seconds:
            self._shown = now
            self._show(received, size / 1e6 / (now - self._started), resumes)

    def _show(self, received: int, rate: float, resumes: int) -> None:  # noqa: ARG002 - bars show the resumes
        if self._expected:
            share = 100 * received / self._expected
            self._logger.info("%d of %d rows (%.0f %%), %.1f MB/s", received, self._expected, share, rate)
        else:
            self._logger.info("%d rows, %.1f MB/s", received, rate)


class _Bar(Display):
    _interval_seconds = 0.1  # rich draws ten times a second

    def __init__(self, stream: str, expected: int | None, streams: int, progress: Progress) -> None:
        super().__init__(stream, expected)
        self._progress = progress
        self._task = progress.add_task(stream, total=expected, rate="", resumes=0, streams=streams)

    def _show(self, received: int, rate: float, resumes: int) -> None:
        self._progress.update(self._task, completed=received, rate=f"{rate:.1f} MB/s", resumes=resumes)


@contextmanager
def display(stream: str, expected: int | None, streams: int) -> Iterator[Display]:
    """Show the reading of a table with ``expected`` rows for as long as the context lasts."""
    if not _on_terminal():
        yield Display(stream, expected)
        return
    progress = _rich_progress()
    with progress, _logging_above():
        yield _Bar(stream, expected, streams, progress)


def _on_terminal() -> bool:
    return sys.stderr.isatty() and logger.isEnabledFor(logging.INFO)


def _rich_progress() -> Progress:
    from rich import progress  # noqa: PLC0415 - only terminals need it
    from rich.console import Console  # noqa: PLC0415 - the same

    return progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TaskProgressColumn(),
        progress.TextColumn("{task.fields[rate]}"),
        progress.TimeRemainingColumn(),
        progress.TextColumn("{task.fields[streams]} streams, {task.fields[resumes]} resumes"),
        console=Console(stderr=True),
        transient=True,  # the summary says it again
        redirect_stdout=False,  # stdout is for Singer messages only
    )


@contextmanager
def _logging_above() -> Iterator[None]:
    # Handlers keep the stderr that they found; rich writes lines above the bar only if they go to its replacement.
    handlers = [h for h in logging.getLogger().handlers if isinstance(h, logging.StreamHandler)]
    before = [handler.setStream(sys.stderr) for handler in handlers]
    try:
        yield
    finally:
        for handler, stream in zip(handlers, before, strict=True):
            if stream is not None:  # None: the handler had this one already
                handler.setStream(stream)


# --- tables for people -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    """How one table ended.

    Attributes:
        version: Version tag; empty for a workflow, or if it was not found out.
        mode: What was done, in a word or two.
        rows: Rows in the target, as far as this tap has written them.
    """

    stream: str
    version: str = ""
    mode: str = ""
    outcome: Outcome = "failed"
    rows: int = 0
    bytes: int = 0
    seconds: float = 0.0
    resumes: int = 0


def show_tables(rows: Iterable[Sequence[str]]) -> None:
    """List tables on stdout, as ``--discover=table`` does."""
    # Where stdout is no terminal, rich would cut the rows at 80 characters.
    width = None if sys.stdout.isatty() else 200
    _print_table(["stream", "table", "rows", "MB", "columns", "access", "selected"], rows, width=width)


def summarize(results: Sequence[Result]) -> None:
    """Say how all tables ended: a table on a terminal, else a line for each, and one with the sums."""
    if not results:
        return
    if _on_terminal():
        heads = ["table", "version", "mode", "rows", "MB", "seconds", "resumes", "result"]
        _print_table(heads, map(_cells, results), stderr=True)
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


def _cells(result: Result) -> list[str]:
    numbers = (f"{result.rows:,}", f"{result.bytes / 1e6:.1f}", f"{result.seconds:.1f}", str(result.resumes))
    return [result.stream, result.version, result.mode, *numbers, result.outcome]


def _print_table(heads: Sequence[str], rows: Iterable[Sequence[str]], **console: Any) -> None:  # noqa: ANN401 - rich's
    from rich.console import Console  # noqa: PLC0415 - only people need it
    from rich.table import Table  # noqa: PLC0415 - the same

    table = Table(*heads)
    for row in rows:
        table.add_row(*map(escaped, row))
    Console(markup=False, emoji=False, **console).print(table)
