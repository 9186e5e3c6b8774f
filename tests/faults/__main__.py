"""Let everything on the menu of faults happen to the tap and to the official client; write `docs/faults.md`."""

from __future__ import annotations

import platform
import sys
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from tap_redivis.model.columns import WireFormat
from tests.faults import client
from tests.faults.menu import MENU, Item
from tests.faults.tap import FORMATS, STREAMS, survive

_PAGE = Path(__file__).parents[2] / "docs" / "faults.md"
_CLIENTS = 10
"""How many run at once: they wait most of the time, some of them to the end."""

_CLEAR = "clear error"

Outcome = Callable[[Item, int, Path], str]
Cells = Mapping[str, tuple[str, ...]]
"""What came of one item: by reader, for each number of read streams."""

_HEAD = """# Faults, and what they do to a load

Made by `make faults` with tap-redivis {tap}, the official client redivis {client} and Python {python}. The
emulator serves a table of 4,000 rows, or of as many as the fault names, and produces each fault. The tap and
the official client read the table through 1 and through 4 read streams. The tables below show the results; the
test suite checks those of the tap.

- **The tap** runs as a process, in each wire format. It retries for 10 s, or for 1.5 s where the fault is
  permanent (`max_retry_seconds`), and counts a connection as broken after one second of silence
  (`request_timeout_seconds`). *Exact rows* means: each row of one version once and unchanged, exit code 0,
  ACTIVATE_VERSION and a completed bookmark. *Clear error* means: exit code 1, one line with the cause, no
  ACTIVATE_VERSION and no completed bookmark.
- **The official client** runs with its own timeouts and retries: `to_arrow_table()` of a table whose metadata
  makes the client use read sessions. It always reads Arrow. *Error* means that it raised the exception in
  parentheses; a program that catches the exception and reads again would get its rows in most cases. The client
  waits 125 s for a silent server, up to eleven times, so it was stopped after {limit} s.

**Bold** marks what a reader should not do: give no rows although the fault is temporary, not end, or give other
rows than the server promised without an error.

{summary}

The menu has no fault that no reader can detect: see [completeness](completeness.md).
"""


@dataclass(frozen=True)
class _Reader:
    """One who reads while things go wrong.

    Attributes:
        name: Heading of the column.
        outcome: Reads, and says in a few words what came of it.
        pool: Where it runs.
    """

    name: str
    outcome: Outcome
    pool: Executor

    def start(self, item: Item, streams: int, folder: Path) -> Future[str]:
        """Begin to read."""
        return self.pool.submit(self._run, item, streams, Path(tempfile.mkdtemp(dir=folder)))

    def _run(self, item: Item, streams: int, folder: Path) -> str:
        outcome = self.outcome(item, streams, folder)
        sys.stderr.write(f"{item.name}: {self.name}, {_streams(streams)}: {outcome}\n")
        return outcome


def main() -> None:
    """Run all, and write the page."""
    items = [item for group in MENU.values() for item in group]
    with (
        tempfile.TemporaryDirectory() as folder,
        ThreadPoolExecutor(1) as one,
        ThreadPoolExecutor(_CLIENTS) as many,
    ):
        taps = [_Reader(f"tap, {name}", _tap(name), one) for name in FORMATS]
        readers = [*taps, _Reader("official client", client.outcome, many)]
        running = {
            item.name: {
                reader.name: [reader.start(item, streams, Path(folder)) for streams in STREAMS] for reader in readers
            }
            for item in items
        }
    cells = {
        name: {reader: tuple(run.result() for run in runs) for reader, runs in by_reader.items()}
        for name, by_reader in running.items()
    }
    _PAGE.write_text(_page(cells))


def _tap(wire_format: WireFormat) -> Outcome:
    def outcome(item: Item, streams: int, folder: Path) -> str:
        try:
            survive(item, wire_format, streams, folder)
        except AssertionError as error:
            sys.stderr.write(f"{item.name}, {wire_format}, {streams} streams: {error}\n")
            return "fails"
        return client.EXACT if item.ends == "transient" else _CLEAR

    return outcome


def _page(cells: Mapping[str, Cells]) -> str:
    head = _HEAD.format(
        tap=version("tap-redivis"),
        client=client.version(),
        python=platform.python_version(),
        limit=client.LIMIT_SECONDS,
        summary=_summary(cells),
    )
    return "\n".join([head, *(_section(heading, items, cells) for heading, items in MENU.items())])


def _section(heading: str, items: tuple[Item, ...], cells: Mapping[str, Cells]) -> str:
    columns = ["fault", *cells[items[0].name]]
    lines = (
        _line([f"`{item.name}` {item.words}", *(_cell(item, each) for each in cells[item.name].values())])
        for item in items
    )
    return "\n".join([f"## {heading}", "", _line(columns), _line(["---"] * len(columns)), *lines, ""])


def _line(values: list[str]) -> str:
    return f"| {' | '.join(values)} |"


def _cell(item: Item, outcomes: tuple[str, ...]) -> str:
    shown = [outcome if _is_good(item, outcome) else f"**{outcome}**" for outcome in outcomes]
    if len(set(shown)) == 1:
        return shown[0]
    return "; ".join(f"{_streams(count)}: {outcome}" for count, outcome in zip(STREAMS, shown, strict=True))


def _streams(count: int) -> str:
    return "1 stream" if count == 1 else f"{count} streams"


def _is_good(item: Item, outcome: str) -> bool:
    if item.ends == "transient":
        return outcome == client.EXACT
    return outcome in {client.EXACT, _CLEAR} or outcome.startswith("error")


def _summary(cells: Mapping[str, Cells]) -> str:
    """Count in how many of all runs each reader did as one would wish."""
    items = [item for group in MENU.values() for item in group]
    lines = [_line(["reader", "faults that pass: exact rows", "faults that stay: an error, or exact rows"])]
    lines.append(_line(["---"] * 3))
    for reader in cells[items[0].name]:
        counts = [_score(cells, reader, [item for item in items if item.ends == end]) for end in _ENDS]
        lines.append(_line([reader, *counts]))
    return "\n".join(lines)


_ENDS = ("transient", "permanent")


def _score(cells: Mapping[str, Cells], reader: str, items: list[Item]) -> str:
    good = [_is_good(item, outcome) for item in items for outcome in cells[item.name][reader]]
    return f"{sum(good)} of {len(good)} runs"


if __name__ == "__main__":
    main()
