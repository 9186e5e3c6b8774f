"""Run the cases of a scene in turn, and write down how long each run took, what arrived, and the most memory held."""

from __future__ import annotations

import shutil
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.cases import Body, Case, Place
from benchmarks.scenes import Scene
from benchmarks.served import Server, served
from benchmarks.sinks import Arrived
from tests.support.clusters import dask_cluster
from tests.support.measuring import measured
from tests.support.pipes import Output, Process, started

_MEMORY = Path("/dev/shm")  # noqa: S108 - tables and files that are written shall not wait for a disk

_LEAST_SECONDS = 0.001  # where all came at once, as few rows may


class RunFailed(RuntimeError):
    """A run did not do what it had to: its figure would be worth nothing."""


@dataclass(frozen=True)
class Result:
    """What was measured of one case.

    Attributes:
        name: Of the case.
        rows: That each run read.
        seconds: Of each run, from the start of the process to its end, in order.
        first: Seconds of each run until the first row came, or the first byte where rows are not seen; empty: not seen.
        last: The same of the last one.
        only_rows: Whether only the time between these two counts.
        body_bytes: Bytes a row of the body that is read; None: it is not one body.
        written: Bytes that arrived at the reader in one run, or of the files.
        requests: That were sent in one run.
        peak_mib: The most memory that the program and its processes held in one run.
    """

    name: str
    rows: int
    seconds: tuple[float, ...]
    first: tuple[float, ...]
    last: tuple[float, ...]
    only_rows: bool
    body_bytes: float | None
    written: int
    requests: int
    peak_mib: float

    @property
    def median(self) -> float:
        """Seconds of the run in the middle, as far as they count."""
        return self._of_rows if self.only_rows else statistics.median(self.seconds)

    @property
    def _of_rows(self) -> float:
        between = (last - first for first, last in zip(self.first, self.last, strict=True))
        return max(statistics.median(between), _LEAST_SECONDS)

    @property
    def rate_of_rows(self) -> float | None:
        """Rows a second from the first one to the last, without start and end; None: not seen."""
        return self.rows / self._of_rows if self.first else None

    @property
    def rate(self) -> float:
        """Rows a second."""
        return self.rows / self.median

    @property
    def bytes_rate(self) -> float | None:
        """Bytes read a second."""
        return None if self.body_bytes is None else self.body_bytes * self.rate


@dataclass(frozen=True)
class Measured:
    """What was measured in one scene.

    Attributes:
        name: Of the scene.
        words: What was read.
        baseline: The case that the others are compared with.
        results: In the order of the cases.
    """

    name: str
    words: str
    baseline: str
    results: tuple[Result, ...]

    def find(self, name: str) -> Result:
        """Return the result of a case.

        Raises:
            KeyError: There is no such case.
        """
        return {result.name: result for result in self.results}[name]


Say = Callable[[str], None]


def measure(scene: Scene, repeats: int, say: Say) -> Measured:
    """Measure all cases of a scene.

    Args:
        scene: The scene.
        repeats: Runs of each case, after one that warms up, in which the memory is looked at.
        say: Told what is going on.

    Raises:
        RunFailed: A program failed, or not all rows arrived.
    """
    with memory_folder() as folder:
        (folder / "served").mkdir()
        scene.write(folder / "served")
        with served(folder / "served") as server, _cluster(folder / "dask", scene.workers) as scheduler:
            say(f"{scene.name}: the server renders what it will send")
            sizes = {body: server.render(body.table, body.wire_format) for body in scene.bodies}
            runs = [_Runs(case, _place(server, folder, case, scheduler)) for case in scene.cases]
            for each in runs:
                each.warm_up(say, counts=scene.is_long)
            for number in range(0 if scene.is_long else repeats):
                # There and back: what changes slowly changes for all alike.
                for each in runs if number % 2 == 0 else reversed(runs):
                    each.repeat(say)
    return Measured(scene.name, scene.words, scene.baseline, tuple(each.result(sizes) for each in runs))


@dataclass
class _Runs:
    """The runs of one case."""

    case: Case
    place: Place
    peak_mib: float = 0.0
    written: int = 0
    requests: int = 0
    seconds: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    last: list[float] = field(default_factory=list)

    def warm_up(self, say: Say, *, counts: bool) -> None:
        """Run once and look at the memory, and at the rows where later nobody does; take the time only if it counts."""
        kept: list[Arrived] = []
        sink = self.case.warm_sink or self.case.sink

        def drain(process: Process) -> bytes:
            kept.append(sink.drain(process))
            return b""

        with self._ready():
            self.place.server.forget_requests()
            seen = measured(sink.attach(self.case.program(self.place)), self.place.folder, drain)
            arrived = sink.count(kept[0])
            self.requests = self.place.server.count_requests()
        self._check(seen.output, arrived)
        self.peak_mib, self.written = seen.peak_mib, arrived.size
        say(f"{self.case.name}: {self.peak_mib:.0f} MiB, {seen.output.seconds:.2f} s, first run")
        if counts:
            self.seconds.append(seen.output.seconds)

    def repeat(self, say: Say) -> None:
        """Run once, and take the time."""
        sink = self.case.sink
        with self._ready(), started(sink.attach(self.case.program(self.place))) as process:
            drained = sink.drain(process)
            output = process.end(b"")
            arrived = sink.count(drained)
        self._check(output, arrived)
        self.seconds.append(output.seconds)
        if arrived.first_at is not None and arrived.last_at is not None:
            self.first.append(arrived.first_at - process.started_at)
            self.last.append(arrived.last_at - process.started_at)
        say(f"{self.case.name}: {output.seconds:.2f} s")

    def result(self, sizes: Mapping[Body, int]) -> Result:
        """Sum up; the sizes of bodies are in bytes."""
        case = self.case
        return Result(
            name=case.name,
            rows=case.rows,
            seconds=tuple(self.seconds),
            first=tuple(self.first),
            last=tuple(self.last),
            only_rows=case.only_rows,
            body_bytes=sizes[case.body] / case.body.rows if case.body else None,
            written=self.written,
            requests=self.requests,
            peak_mib=self.peak_mib,
        )

    @contextmanager
    def _ready(self) -> Iterator[None]:
        self.place.server.put_behind(self.case.network)
        yield
        shutil.rmtree(self.place.out, ignore_errors=True)

    def _check(self, output: Output, arrived: Arrived) -> None:
        if output.exit_code:
            msg = f"{self.case.name} failed:\n{output.stderr}"
            raise RunFailed(msg)
        if arrived.rows not in {None, self.case.rows}:
            msg = f"{self.case.name}: {arrived.rows:,} rows arrived of {self.case.rows:,}"
            raise RunFailed(msg)


@contextmanager
def memory_folder() -> Iterator[Path]:
    """Make a temporary folder that lies in memory, where there is such a thing."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir=_MEMORY if _MEMORY.is_dir() else None) as name:
        yield Path(name)


@contextmanager
def _cluster(folder: Path, workers: int) -> Iterator[str | None]:
    """Run a Dask cluster, if there are to be workers; give the scheduler's address."""
    if not workers:
        yield None
        return
    with dask_cluster(folder, workers) as cluster:
        yield cluster.address


def _place(server: Server, folder: Path, case: Case, scheduler: str | None) -> Place:
    place = Place(server, folder / case.slug, scheduler)
    place.folder.mkdir()
    return place
