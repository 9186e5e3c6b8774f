"""What is promised, held against what was measured: ratios within one run, and memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks import scenes
from benchmarks.cases import TAP
from benchmarks.measuring import Measured

_RECORD_MIB, _BATCH_MIB, _COPIES_MIB = 150, 250, 40
_FILE_SCENES = {"batch", "files", "dask"}


@dataclass(frozen=True)
class Promise:
    """One path is at least so many times as fast as another.

    Attributes:
        words: Which, for people.
        scene: Where both are measured.
        path: The one.
        other: What it is compared with.
        at_least: How many times as many rows a second.
    """

    words: str
    scene: str
    path: str
    other: str
    at_least: float


@dataclass(frozen=True)
class Verdict:
    """A promise and what came of it.

    Attributes:
        words: What was promised, for people.
        measured: The ratio, or MiB, or requests.
        of_rows: The ratio if only the time from the first row to the last counts, of both; None: not seen.
        at_least: What a ratio has to reach; None: it is no ratio of speeds.
        at_most: What it may be; None: it is a ratio of speeds.
        unit: Of the figure and its bound.
    """

    words: str
    measured: float
    of_rows: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    unit: str = "times"

    @property
    def holds(self) -> bool:
        """Whether the promise is kept."""
        return (self.at_least is None or self.measured >= self.at_least) and (
            self.at_most is None or self.measured <= self.at_most
        )

    @property
    def promised(self) -> str:
        """The bound in words."""
        bound = f"at most {self.at_most:g}" if self.at_least is None else f"at least {self.at_least:g}"
        return f"{bound} {self.unit}"

    @property
    def found(self) -> str:
        """The figure in words."""
        return f"{self.measured:.0f} MiB" if self.unit == "MiB" else f"{self.measured:.2f} {self.unit}"


PROMISES = (
    Promise("RECORD from jsonl, against a plain SDK tap", "typical", scenes.JSONL, scenes.PLAIN, 35),
    Promise("RECORD from jsonl, against `curl` in bytes read", "typical", scenes.JSONL, scenes.CURL, 0.5),
    Promise("RECORD from jsonl, dateTime-heavy, against a plain SDK tap", "moments", scenes.JSONL, scenes.PLAIN, 20),
    Promise("RECORD from arrow, against a plain SDK tap", "typical", scenes.ARROW, scenes.PLAIN, 35),
    Promise("RECORD from csv, against a plain SDK tap", "typical", scenes.CSV, scenes.PLAIN, 20),
    Promise(
        "Whole table to /dev/null, against the official client's `to_arrow_table` and JSON lines",
        "client",
        scenes.JSONL + scenes.NULL,
        scenes.CLIENT,
        5,
    ),
    Promise("1,000 small tables, 50 ms, against one after another", "many", scenes.MANY, scenes.MANY_ONE_BY_ONE, 7),
    Promise(
        "Arrow files, uncompressed, against `curl` of the same", "files", scenes.FILES["arrow"], scenes.CURL_ARROW, 0.8
    ),
    Promise(
        "Arrow files, uncompressed, against `curl` of the same to a file there",
        "files",
        scenes.FILES["arrow"],
        scenes.CURL_TO_FILE,
        0.8,
    ),
    Promise(
        "Parquet files (zstd), against the SDK's ParquetBatcher",
        "files",
        scenes.FILES["parquet"],
        scenes.BATCHERS["parquet"],
        10,
    ),
    Promise(
        "JSON Lines files (gzip), against the SDK's JSONLinesBatcher",
        "batch",
        scenes.FILES["jsonl"],
        scenes.BATCHERS["jsonl"],
        10,
    ),
    Promise("Files of 20 MiB beside their rows, against `curl`", "contents", scenes.COPIES, scenes.CURL_COPIES, 0.7),
    Promise(
        "Files of 20 MiB beside their rows, 50 ms, 20 MB/s a stream, against `curl`",
        "contents",
        scenes.FAR_COPIES,
        scenes.CURL_FAR_COPIES,
        0.7,
    ),
    Promise(
        "1,000 small files beside their rows, 50 ms, against one after another",
        "contents-small",
        scenes.SMALL_COPIES,
        scenes.SMALL_ONE_BY_ONE,
        6,
    ),
    Promise("Parquet files on 2 Dask workers, against the tap's threads", "dask", scenes.DASK, scenes.THREADS, 0.85),
)


def verdicts(measured: Sequence[Measured]) -> list[Verdict]:
    """Check each promise whose scene was measured."""
    return [*_ratios(measured), *_growth(measured), *_memory(measured)]


def _ratios(measured: Sequence[Measured]) -> Iterator[Verdict]:
    by_name = {scene.name: scene for scene in measured}
    for promise in PROMISES:
        if promise.scene in by_name:
            path, other = (by_name[promise.scene].find(name) for name in (promise.path, promise.other))
            of_rows = path.rate_of_rows / other.rate_of_rows if path.rate_of_rows and other.rate_of_rows else None
            yield Verdict(promise.words, path.rate / other.rate, of_rows, at_least=promise.at_least)


def _growth(measured: Sequence[Measured]) -> Iterator[Verdict]:
    for scene in measured:
        if scene.name != "many":
            continue
        many, tenth = scene.find(scenes.MANY), scene.find(scenes.TENTH)
        output = 10 * (many.written / many.rows) / (tenth.written / tenth.rows)
        yield Verdict("Bytes of output, ten times the small tables", output, at_most=12)
        requests = many.requests * scenes.MANY_ROWS / many.rows
        yield Verdict("Requests of a small table, with those for its dataset", requests, at_most=2.1, unit="requests")


def _memory(measured: Sequence[Measured]) -> Iterator[Verdict]:
    records, files = (_peak(measured, files=files) for files in (False, True))
    if records:
        yield Verdict("Most memory of the tap, RECORD messages", records, at_most=_RECORD_MIB, unit="MiB")
    if files:
        yield Verdict("Most memory of the tap, BATCH files", files, at_most=_BATCH_MIB, unit="MiB")
    for scene in measured:
        if scene.name == "contents":
            more = scene.find(scenes.COPIES).peak_mib - scene.find(scenes.ROWS_ONLY).peak_mib
            yield Verdict("Memory for files beside their rows", more, at_most=_COPIES_MIB, unit="MiB")


def _peak(measured: Sequence[Measured], *, files: bool) -> float:
    """Return the most that the tap held in any of its cases; 0 if there was none."""
    return max(
        (
            result.peak_mib
            for scene in measured
            for result in scene.results
            if result.name.startswith(TAP) and (scene.name in _FILE_SCENES) == files
        ),
        default=0,
    )
