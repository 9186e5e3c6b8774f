"""A small Redivis for the modules that talk to one, and no waiting."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import backoff
import pyarrow as pa
import pytest

from redivis_emulator import DEFAULT_TOKEN, Emulator
from redivis_emulator.access import RateLimit
from redivis_emulator.service import Settings
from tap_redivis.client.http import Api
from tests.support.served import write_note, write_table

MakeApi = Callable[..., Api]

UNLIMITED = RateLimit(requests=10**9)
LETTERS = pa.table({"id": [1, 2], "letter": ["a", "b"]})
NUMBERS = pa.table({"id": pa.array(range(1000), pa.int64()), "half": [number / 2 for number in range(1000)]})


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the emulator, which no test changes."""
    folder = tmp_path_factory.mktemp("served")
    write_table(folder, "demo/visits/v1.0/letters", LETTERS)
    write_table(folder, "demo/visits/v1.0/numbers", NUMBERS)
    write_table(folder, "demo/visits/v1.1/letters", LETTERS)
    write_table(folder, "demo/visits/v1.1/numbers", NUMBERS)
    write_table(folder, "demo/visits/v1.1/more", LETTERS)
    write_table(folder, "demo/visits/next/letters", LETTERS)
    write_table(folder, "demo/Odd: names. 20%/v1.0/letters", LETTERS)
    write_table(folder, "demo/secret/v1.0/letters", LETTERS)
    write_table(folder, "demo/analysis/summary", LETTERS)
    write_table(folder, "demo/large/v1.0/table", pa.concat_tables([NUMBERS] * 20))
    write_table(folder, "alice/trials/v1.0/letters", LETTERS)
    write_note(folder, "alice/trials/dataset.yml", {"sample_ratio": 0.5})
    write_note(folder, "demo/owner.yml", {"kind": "organization"})
    write_note(folder, "alice/owner.yml", {"kind": "user"})
    write_note(folder, "demo/analysis/workflow.yml", {"name": "analysis"})
    write_note(folder, "demo/secret/dataset.yml", {"access_level": "metadata"})
    write_note(folder, "demo/visits/dataset.yml", _VISITS)
    write_note(folder, "demo/Odd: names. 20%/dataset.yml", {"tables": {"letters": {"name": "v1.0: letters"}}})
    return folder


_VISITS = {
    "public_access_level": "data",
    "tables": {
        "letters": {
            "description": "Two letters",
            "variables": {"letter": {"label": "Letter", "description": "Of the alphabet"}},
        },
    },
}


@pytest.fixture
def emulator(served: Path) -> Iterator[Emulator]:
    """A Redivis of the test's own, with four read streams a session."""
    with Emulator(served, rate_limit=UNLIMITED, settings=Settings(streams=4)) as running:
        yield running


@pytest.fixture
def make_api(emulator: Emulator) -> MakeApi:
    """Make the API session of a token, by default one that may do everything."""

    def make(token: str | None = DEFAULT_TOKEN, *, timeout: float = 20.0, max_retry_seconds: float = 600.0) -> Api:
        return Api(emulator.endpoint, token, timeout=timeout, max_retry_seconds=max_retry_seconds)

    return make


@pytest.fixture
def api(make_api: MakeApi) -> Api:
    """An API session that may do everything."""
    return make_api()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Take down the seconds that the main path sleeps, instead of sleeping; what we add by ourselves is nothing."""
    seconds: list[float] = []
    monkeypatch.setattr(time, "sleep", seconds.append)
    monkeypatch.setattr(backoff, "full_jitter", lambda _value: 0.0)
    return seconds
