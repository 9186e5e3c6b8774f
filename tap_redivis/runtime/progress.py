"""What people see: a bar or log lines while a table is read, a summary of the run, a list of tables on request.

Bars, lines and the summary go to stderr; ``TAP_REDIVIS_LOG_LEVEL=warning`` silences them.
"""

import logging
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import add
from typing import TYPE_CHECKING, Any, Literal

from tap_redivis.errors import escaped
from tap_redivis.runtime.logs import logger

if TYPE_CHECKING:
    from rich.progress import Progress

_NUMBERS = {"rows", "MB", "columns", "minutes", "seconds", "resumes"}

Outcome = Literal["loaded", "unchanged", "left out", "failed", "stopped"]
"""How the load of one table ended."""


@dataclass(frozen=True)
class Received:
    """What came of a table in one run, beside its rows."""

    bytes: int = 0
    resumes: int = 0  # how often a broken read stream was resumed
    files: int = 0  # whose contents were fetched
    file_bytes: int = 0  # in them
    files_there: int = 0  # that were in the storage already

    def __add__(self, other: "Received") -> "Received":
        """Count both."""
        # For each piece of each body: astuple, which copies deeply, would take ten times as long.
        return Received(*map(add, vars(self).values(), vars(other).values()))


class Display:
    """Shows how far one table is: a log line every five seconds."""

    _interval_seconds = 5.0

    def __init__(self, stream: str, expected: int | None) -> None:
        self._stream = stream
        self._expected = expected
        self._started = self._shown = time.monotonic()

    def show(self, rows: int, received: Received) -> None:
        """Show rows so far, earlier runs included, and what came in this run, if it is time again."""
        now = time.monotonic()
        if now - self._shown >= self._interval_seconds:
            self._shown = now
            self._show(rows, received, (received.bytes + received.file_bytes) / 1e6 / (now - self._started))

    def _show(self, rows: int, received: Received, rate: float) -> None:
        share = f" ({100 * rows / self._expected:.0f} %)" if self._expected else ""
        share += f", {counted(received.files, 'file')}" if received.files else ""
        logger.info("%s: %s rows%s, %.1f MB/s", self._stream, self._of_all(rows).lstrip(), share, rate)

    def _of_all(self, rows: int) -> str:
        if not self._expected:
            return f"{rows:,}"
        total = f"{self._expected:,}"
        return f"{rows:{len(total)},} of {total}"  # of one width while it grows


class _Bar(Display):
    _interval_seconds = 0.1  # rich draws ten times a second

    def __init__(self, stream: str, expected: int | None, streams: int, progress: "Progress") -> None:
        super().__init__(stream, expected)
        self._progress = progress
        self._streams = streams
        self._task = progress.add_task(stream, total=expected, **self._fields(0, Received(), 0))

    def _show(self, rows: int, received: Received, rate: float) -> None:
        self._progress.update(self._task, completed=rows, **self._fields(rows, received, rate))

    def _fields(self, rows: int, received: Received, rate: float) -> dict[str, Any]:
        reading = f"{counted(self._streams, 'read stream')}, {counted(received.resumes, 'resume')}"
        copied = f", {counted(received.files, 'file')}" if received.files else ""
        return {"rows": f"{self._of_all(rows)} rows{copied}", "rate": f"{rate:.1f} MB/s", "reading": reading}


@contextmanager
def display(stream: str, expected: int | None, streams: int) -> Iterator[Display]:
    """Show the reading of a table with ``expected`` rows for as long as the context lasts."""
    if not _on_terminal() or sys.stdout.isatty():  # a bar and messages on one screen would write over each other
        yield Display(stream, expected)
        return
    progress = _rich_progress(stream, expected)
    with progress, _logging_above():
        yield _Bar(stream, expected, streams, progress)


def quiet_terminal() -> None:
    """Leave a terminal to bars, the summary, warnings and errors; with the level debug it shows all lines."""
    if _on_terminal() and not logger.isEnabledFor(logging.DEBUG):
        for handler in logging.getLogger().handlers:
            handler.setLevel(logging.WARNING)


def _on_terminal() -> bool:
    return sys.stderr.isatty() and logger.isEnabledFor(logging.INFO)


def _rich_progress(stream: str, expected: int | None) -> "Progress":
    """Make a bar as wide as the terminal: name and percentage always, the rest as far as there is room."""
    from rich import progress  # noqa: PLC0415 - only terminals need it
    from rich.console import Console  # noqa: PLC0415 - the same
    from rich.table import Column  # noqa: PLC0415 - the same

    console = Console(stderr=True)
    columns: list[progress.ProgressColumn] = [
        progress.TextColumn("{task.description}", table_column=Column(overflow="fold")),
        progress.TextColumn("{task.percentage:>3.0f}%" if expected else "", table_column=Column(no_wrap=True)),
    ]
    room = console.width - len(stream) - len(" 100% ")
    optional = (
        (progress.BarColumn(10), 10),
        (progress.TextColumn("{task.fields[rows]}", justify="right"), 2 * len(f"{expected or 10**12:,}") + 10),
        (progress.TimeRemainingColumn(), 8),
        (progress.TextColumn("{task.fields[rate]}", justify="right"), 11),
        (progress.TextColumn("{task.fields[reading]}"), 25),
    )
    for column, width in optional:
        if room > width:
            columns.append(column)
            room -= width + 1
    # The summary says it again; stdout is for Singer messages only.
    return progress.Progress(*columns, console=console, transient=True, redirect_stdout=False)


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


@dataclass(frozen=True)
class Result:
    """How one table ended."""

    stream: str
    version: str = ""  # tag; empty for a workflow, or if it was not found out
    mode: str = ""  # what was done, in a word or two
    outcome: Outcome = "failed"
    reason: str = ""  # in words
    rows: int = 0  # in the target, as far as this tap has written them
    received: Received = Received()
    seconds: float = 0.0
    proof: str = ""  # what proves that all rows came, in words

    @property
    def words(self) -> str:
        """The result as a line of the log."""
        if self.outcome != "loaded":
            is_said = self.reason.startswith(self.outcome)
            return f"{self.stream}: {self.reason if is_said else f'{self.outcome}: {self.reason}'}"
        of = f" of {self.version}" if self.version else ""
        received = self.received
        size = f"{bytes_in_words(received.bytes)}, " if received.bytes else ""
        if received.files:
            size += f"{counted(received.files, 'file')} fetched ({bytes_in_words(received.file_bytes)}), "
        if received.files_there:
            size += f"{counted(received.files_there, 'file')} there already, "
        resumes = f", {counted(received.resumes, 'resume')}" if received.resumes else ""
        proof = f"; {self.proof}" if self.proof else ""
        reason = f" ({self.reason})" if self.reason else ""
        return f"{self.stream}: loaded {self.rows:,} rows{of}{reason}, {size}{self.seconds:.1f} s{resumes}{proof}"


def bytes_in_words(size: int) -> str:
    """Write a number of bytes for people."""
    return f"{size / 1e6:,.1f} MB" if size >= 1e6 else f"{size / 1e3:,.1f} kB"  # noqa: PLR2004 - a megabyte


def counted(count: int, noun: str) -> str:
    """Write a number of things for people."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def show_tables(rows: Iterable[Sequence[str]]) -> None:
    """List tables on stdout, as ``--discover=table`` does."""
    heads = ["stream", "table", "rows", "MB", "columns", "access", "selected"]
    print_table(heads, rows, least=["columns", "table", "MB", "selected", "rows", "access"])


def show_result(result: Result) -> None:
    """Log how one table ended; failures and stops are logged where they are raised."""
    if result.outcome not in {"failed", "stopped"}:
        logger.info("%s", result.words)


def summarize(results: Sequence[Result]) -> None:
    """Say how all tables ended: a table on a terminal, else a line with the sums."""
    if not results:
        return
    if _on_terminal():
        heads = ["table", "version", "mode", "rows", "MB", "seconds", "resumes", "result", "proof"]
        least = ["proof", "resumes", "mode", "MB", "version", "seconds", "rows", "result"]
        rows = []
        for each in results:
            size, resumes = f"{each.received.bytes / 1e6:.1f}", str(each.received.resumes)
            numbers = (f"{each.rows:,}", size, f"{each.seconds:.1f}", resumes)
            rows.append([each.stream, each.version, each.mode, *numbers, each.outcome, each.proof])
        print_table(heads, rows, least=least, stderr=True)
        return
    counts = Counter(result.outcome for result in results)
    logger.info(
        "%s: %s; %s rows loaded, %s received, %.1f s",
        counted(len(results), "table"),
        ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items())),
        f"{sum(result.rows for result in results if result.outcome == 'loaded'):,}",
        bytes_in_words(sum(result.received.bytes for result in results)),
        sum(result.seconds for result in results),
    )


def print_table(
    heads: Sequence[str], rows: Iterable[Sequence[str]], *, least: Sequence[str], stderr: bool = False
) -> None:
    """Print a table; of the columns in ``least`` the first ones are left out where the terminal is too narrow."""
    from rich.console import Console  # noqa: PLC0415 - only people need it
    from rich.table import Table  # noqa: PLC0415 - the same

    # A pipe has no width: rich would take 80 columns, and break every line.
    width = None if (sys.stderr if stderr else sys.stdout).isatty() else 200
    console = Console(stderr=stderr, width=width, markup=False, highlight=False, emoji=False)
    cells = [list(map(escaped, row)) for row in rows]
    columns = {head: [row[place] for row in cells] for place, head in enumerate(heads)}
    for head in least:
        if sum(max(map(len, [name, *column])) + 3 for name, column in columns.items()) < console.width:
            break
        del columns[head]
    table = Table()
    for head, column in columns.items():
        is_kept = head in _NUMBERS or (head == heads[0] and max(map(len, column), default=0) + 4 <= console.width)
        table.add_column(head, justify="right" if head in _NUMBERS else "left", overflow="fold", no_wrap=is_kept)
    for row in zip(*columns.values(), strict=True):
        table.add_row(*row)
    console.print(table)
