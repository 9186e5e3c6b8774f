"""A real Dask cluster: a scheduler and workers, each a process, started as their users start them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TypeVar

from distributed import Client

T = TypeVar("T")

_PROGRAM = str(Path(sys.executable).with_name("dask"))
_START_SECONDS = 60


@dataclass
class Worker:
    """A worker process.

    Attributes:
        name: What the scheduler calls it.
        process: The process.
    """

    name: str
    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        """End it without a word, as a machine that is lost ends."""
        self.process.kill()
        self.process.wait()


@dataclass
class DaskCluster:
    """A running scheduler and its workers.

    Attributes:
        address: Of the scheduler.
        dashboard: URL of the scheduler's pages.
        folder: For logs.
        variables: Environment variables of workers.
        scheduler: The scheduler's process.
        workers: The workers, in the order in which they were started; ended ones stay.
    """

    address: str
    dashboard: str
    folder: Path
    variables: Mapping[str, str]
    scheduler: subprocess.Popen[bytes]
    workers: list[Worker] = field(default_factory=list)

    def add_worker(self, **variables: str) -> Worker:
        """Start a worker; it works as soon as the scheduler knows it."""
        name = f"worker-{len(self.workers)}"
        with (self.folder / f"{name}.log").open("wb") as output:
            command = [_PROGRAM, "worker", self.address, "--no-nanny", "--nthreads", "1", "--memory-limit", "0"]
            command += ["--no-dashboard", "--local-directory", str(self.folder), "--name", name]
            process = _started(command, output, {**self.variables, **variables})
        self.workers.append(Worker(name, process))
        return self.workers[-1]

    def worker(self, name: str) -> Worker:
        """Find a worker."""
        return next(worker for worker in self.workers if worker.name == name)

    @contextmanager
    def client(self) -> Iterator[Client]:
        """Look at the cluster."""
        with Client(self.address, set_as_default=False) as client:
            yield client

    def busy(self, client: Client) -> dict[str, list[str]]:
        """Say which jobs each worker has, by its name."""
        known = client.scheduler_info(n_workers=-1)["workers"]
        return {known[at]["name"]: list(jobs) for at, jobs in client.processing().items() if jobs and at in known}

    def wait_for(self, condition: Callable[[], T]) -> T:
        """Wait until something holds; return it."""
        until = time.monotonic() + _START_SECONDS
        while time.monotonic() < until:
            if found := condition():
                return found
            time.sleep(0.02)
        raise TimeoutError(self.said())

    def said(self) -> str:
        """Give all that scheduler and workers have said."""
        return "".join(path.read_text() for path in self.folder.glob("*.log"))


@contextmanager
def dask_cluster(
    folder: Path, workers: int, variables: Mapping[str, str] | None = None, host: str = "127.0.0.1"
) -> Iterator[DaskCluster]:
    """Run a cluster.

    Args:
        folder: For logs and what workers keep.
        workers: How many it has at first.
        variables: Environment variables of its processes.
        host: Address of this machine that it is reached at.
    """
    folder.mkdir(exist_ok=True)
    told, variables = folder / "scheduler.json", dict(variables or {})
    with (folder / "scheduler.log").open("wb") as output:
        command = [_PROGRAM, "scheduler", "--host", host, "--port", "0", "--scheduler-file", str(told)]
        scheduler = _started([*command, "--dashboard-address", "127.0.0.1:0"], output, variables)
    cluster = None
    try:
        said = _told(told, scheduler)
        port = said["services"]["dashboard"]
        cluster = DaskCluster(said["address"], f"http://127.0.0.1:{port}", folder, variables, scheduler)
        for _ in range(workers):
            cluster.add_worker()
        if workers:
            with cluster.client() as client:
                client.wait_for_workers(workers, timeout=_START_SECONDS)
        yield cluster
    finally:
        for process in [scheduler, *(worker.process for worker in (cluster.workers if cluster else ()))]:
            process.kill()
            process.wait()


def _started(command: list[str], output: IO[bytes], variables: Mapping[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **variables})


def _told(path: Path, scheduler: subprocess.Popen[bytes]) -> dict[str, dict[str, int]]:
    """Wait for what a scheduler says of itself."""
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until and scheduler.poll() is None:
        if path.exists() and (text := path.read_text()).endswith("}"):
            told: dict[str, dict[str, int]] = json.loads(text)
            return told
        time.sleep(0.02)
    raise RuntimeError((path.parent / "scheduler.log").read_text())
