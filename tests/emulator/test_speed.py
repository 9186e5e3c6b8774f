"""The emulator is not what a benchmark measures."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from tests.emulator.conftest import Client, write
from tests.support import curl

_ROWS, _TIMES = 20_000, 20
_LEAST_MB_A_SECOND = 500


@pytest.mark.parametrize("form", ["jsonl", "arrow", "csv"])
def test_what_is_rendered_is_sent_at_500_mb_a_second(folder: Path, serve: Callable[..., Client], form: str) -> None:
    """To curl's library, by the processor time of the server: the machine may be busy with other tests."""
    text = pa.array([f"{n} {'lorem ipsum ' * 80}" for n in range(_ROWS)])
    write(folder, "acme/large/large.parquet", pa.table({"id": range(_ROWS), "text": text}))
    write(folder, "acme/large/dataset.yml", f"tables: {{large: {{repeat: {_TIMES}}}}}")
    client = serve()

    _curl(client, form)
    begin = time.process_time()
    size = _curl(client, form)

    assert size > 300_000_000
    assert size / 1e6 / (time.process_time() - begin) > _LEAST_MB_A_SECOND


def _curl(client: Client, form: str) -> int:
    """Read a stream of all rows as curl does; return how many bytes came."""
    path = client.session("acme.large.large", format=form)["streams"][0]["uri"]
    command = [sys.executable, curl.__file__, "--silent", "--fail", "--output", "/dev/null"]
    command += ["--write-out", "%{size_download}", "--header", f"Authorization: Bearer {client.token}"]
    command.append(f"{client.emulator.endpoint}{path}")
    return int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
