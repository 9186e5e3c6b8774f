"""The official client, redivis 0.21.1, runs all its steps once; each test looks at one of them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from redivis_emulator import Emulator, RateLimit, Settings
from redivis_emulator.log import Request
from tests.conformance import library
from tests.support.environments import environment

_ROOT = Path(__file__).parents[2]
_MANY = RateLimit(requests=1_000_000)
_NEEDS_SECONDS = 600


@dataclass(frozen=True)
class Session:
    """What the client answered and what it asked the emulator for.

    Attributes:
        folder: Where the script wrote tables.
        answers: By step, `value` or `error`.
        requests: In order of arrival, first those to the emulator that sends files itself.
        methods: All public methods of the client.
    """

    folder: Path
    answers: dict[str, dict[str, Any]]
    requests: list[Request]
    methods: list[str]

    def value(self, step: str) -> Any:
        """Return what a step returned."""
        answer = self.answers[step]
        assert "error" not in answer, answer["error"]
        return answer["value"]

    def table(self, step: str) -> pa.Table:
        """Return the table that a step returned."""
        answer = self.answers[step]
        assert "error" not in answer, answer["error"]
        with pa.OSFile(str(self.folder / f"{step}.arrow")) as file:
            return pa.ipc.open_file(file).read_all()

    def asked(self, table: str) -> set[str]:
        """Return what was asked for below a table of the dataset, such as `POST readSessions`."""
        return {
            f"{request.method} {request.path.rpartition('/')[2]}"
            for request in self.requests
            if f".{table}:" in request.path and request.path.count("/") > 2
        }


@pytest.fixture(scope="session", name="client")
def run_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """The client has run all its steps."""
    served, written = tmp_path_factory.mktemp("served"), tmp_path_factory.mktemp("written")
    library.build(served)
    with (
        Emulator(served, rate_limit=_MANY) as emulator,
        Emulator(served, rate_limit=_MANY, settings=Settings(file_address="signed")) as signed,
    ):
        variables = {"REDIVIS_API_ENDPOINT": emulator.endpoint, "REDIVIS_API_TOKEN": emulator.token or ""}
        done = subprocess.run(
            [environment("redivis").python, "-m", "tests.conformance.client", written],
            env={**os.environ, **variables, "SIGNED_ENDPOINT": signed.endpoint, "REDIVIS_TMPDIR": str(written)},
            cwd=_ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=_NEEDS_SECONDS,
        )
        assert done.returncode == 0, done.stderr
        assert "emulator-token" not in done.stdout + done.stderr
        found = json.loads((written / "answers.json").read_text())
        yield Session(written, found["answers"], emulator.requests + signed.requests, found["methods"])
