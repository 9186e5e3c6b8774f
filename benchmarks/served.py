"""The emulator in a process of its own, with a network in between that is as slow as one says."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import requests
import yaml

_CACHE_BYTES = 4 << 30  # all bodies of one scene, so that nothing is rendered while something is timed
_SETTINGS = {"settings": {"cache_bytes": _CACHE_BYTES}, "rate_limit": {"requests": 10**9}}
_BODIES = ("/readStreams/*", "/rawFiles/*")
_ADDRESS = re.compile(r"export REDIVIS_API_ENDPOINT=(\S+) REDIVIS_API_TOKEN=(\S+)")


@dataclass(frozen=True)
class Network:
    """What lies between the server and its clients.

    Attributes:
        latency: Seconds that each answer comes later.
        rate: Bytes a second that each body comes at most; None: as they come.
    """

    latency: float = 0.0
    rate: int | None = None

    @property
    def words(self) -> str:
        """Say it for people."""
        limit = "" if self.rate is None else f", {self.rate // 1_000_000} MB/s a stream"
        return f"{1000 * self.latency:.0f} ms{limit}"

    @property
    def faults(self) -> list[dict[str, Any]]:
        """What the emulator is told."""
        late = {"kind": "stall", "nth": "every", "seconds": self.latency}
        slow = {"kind": "throttle", "nth": "every", "rate": self.rate}
        bodies = [{**slow, "path": path} for path in _BODIES]
        return [late] * bool(self.latency) + bodies * (self.rate is not None)


LOOPBACK = Network()
"""Nothing but this machine."""


@dataclass(frozen=True)
class Server:
    """A running emulator.

    Attributes:
        endpoint: Prefix of all requests.
        token: Opens everything.
        process: Its id.
    """

    endpoint: str
    token: str
    process: int

    @property
    def headers(self) -> dict[str, str]:
        """What each request says."""
        return {"Authorization": f"Bearer {self.token}"}

    def put_behind(self, network: Network) -> None:
        """Let what is asked from now on go through a network."""
        faults = self.endpoint.removesuffix("/api/v1") + "/_emulator/faults"
        requests.delete(faults, timeout=60).raise_for_status()
        requests.post(faults, json=network.faults, timeout=60).raise_for_status()

    def forget_requests(self) -> None:
        """Count requests from now on."""
        requests.delete(self._requests, timeout=60).raise_for_status()

    def count_requests(self) -> int:
        """Return how many there were."""
        answer = requests.get(self._requests, timeout=60)
        answer.raise_for_status()
        return len(answer.json())

    @property
    def _requests(self) -> str:
        return self.endpoint.removesuffix("/api/v1") + "/_emulator/requests"

    def read_stream(self, table: str, wire_format: str) -> str:
        """Open a read session of one stream; return the stream's address."""
        address = f"{self.endpoint}/tables/{table}/readSessions"
        opened = requests.post(address, json={"format": wire_format}, headers=self.headers, timeout=60)
        opened.raise_for_status()
        [stream] = opened.json()["streams"]
        return f"{self.endpoint}/readStreams/{stream['id']}"

    def files(self, table: str) -> dict[str, str]:
        """Return the addresses of the files of a file-index table, by name."""
        address = f"{self.endpoint}/tables/{table}/rawFiles"
        answer = requests.get(address, headers=self.headers, timeout=60)
        answer.raise_for_status()
        index = pa.ipc.open_stream(answer.content).read_all().to_pylist()
        return {each["file_name"]: f"{self.endpoint}/rawFiles/{each['file_id']}" for each in index}

    def render(self, table: str, wire_format: str) -> int:
        """Let the server render a table, so that later it only has to send; return the bytes of the body."""
        count = 0
        address = self.read_stream(table, wire_format)
        with requests.get(address, headers=self.headers, stream=True, timeout=600) as body:
            body.raise_for_status()
            for piece in body.iter_content(1 << 20):
                count += len(piece)
        return count


@contextmanager
def served(folder: Path) -> Iterator[Server]:
    """Serve a folder from another process, without a limit of requests.

    Raises:
        RuntimeError: The emulator did not start.
    """
    (folder / "emulator.yml").write_text(yaml.safe_dump(_SETTINGS))
    emulator = str(Path(sys.executable).with_name("redivis-emulator"))
    command = [emulator, "serve", str(folder), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own
        try:
            yield _started(process)
        finally:
            process.terminate()


def _started(process: subprocess.Popen[str]) -> Server:
    """Wait until the emulator says where it is."""
    said = []
    for line in process.stderr or ():
        if found := _ADDRESS.search(line):
            return Server(found[1], found[2], process.pid)
        said.append(line)
    msg = f"the emulator did not start: {''.join(said)}"
    raise RuntimeError(msg)
