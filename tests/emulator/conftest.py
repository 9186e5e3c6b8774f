"""A small library to serve, and a client that speaks plain HTTP to it."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import requests

from redivis_emulator import Emulator, RateLimit

Json = dict[str, Any]
MANY = RateLimit(requests=1_000_000)

NUMBERS = pa.table({"id": pa.array(range(5000), pa.int64()), "name": [f"name {n}" for n in range(5000)]})


@dataclass(frozen=True)
class Client:
    """Asks an emulator; `token` None: without a token."""

    emulator: Emulator
    token: str | None

    def holding(self, token: str | None) -> Client:
        """Return this client with another token."""
        return replace(self, token=token)

    def send(self, method: str, path: str, **options: Any) -> requests.Response:
        """Send a request, on a connection of its own."""
        headers = {**({"Authorization": f"Bearer {self.token}"} if self.token else {}), **options.pop("headers", {})}
        return requests.request(method, self.emulator.endpoint + path, headers=headers, timeout=20, **options)

    def get(self, path: str, **query: Any) -> requests.Response:
        """Send a GET."""
        return self.send("GET", path, params=query)

    def json(self, path: str, **query: Any) -> Json:
        """Return the JSON of a GET that must succeed."""
        response = self.get(path, **query)
        assert response.status_code == 200, response.text
        content: Json = response.json()
        return content

    def session(self, table: str = "acme.numbers.numbers", **body: Any) -> Json:
        """Open a read session."""
        response = self.send("POST", f"/tables/{table}/readSessions", json=body)
        assert response.status_code == 200, response.text
        content: Json = response.json()
        return content

    def stream(self, session: Json, number: int = 0, **query: Any) -> requests.Response:
        """Read one stream of a session."""
        return self.get(f"/readStreams/{session['streams'][number]['id']}", **query)

    def query(self, sql: str, **body: Any) -> Json:
        """Run a query."""
        response = self.send("POST", "/queries", json={"query": sql, **body})
        assert response.status_code == 200, response.text
        content: Json = response.json()
        return content


def read_arrow(content: bytes) -> pa.Table:
    """Read an Arrow stream."""
    return pa.ipc.open_stream(io.BytesIO(content)).read_all()


def read_csv(content: bytes, schema: pa.Schema) -> pa.Table:
    """Read a CSV body by the rules of redivis-api §11.5."""
    options = pa.csv.ConvertOptions(column_types=schema, strings_can_be_null=True, quoted_strings_can_be_null=False)
    options.null_values = [""]
    return pa.csv.read_csv(
        io.BytesIO(content), convert_options=options, parse_options=pa.csv.ParseOptions(newlines_in_values=True)
    )


def write(folder: Path, path: str, content: str | bytes | pa.Table) -> None:
    """Write a file below a folder; a table as Parquet."""
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, pa.Table):
        pq.write_table(content, target)
    elif isinstance(content, bytes):
        target.write_bytes(content)
    else:
        target.write_text(content)


@pytest.fixture(name="folder")
def make_folder(tmp_path: Path) -> Path:
    """Return a folder with one dataset of 5000 rows."""
    write(tmp_path, "served/acme/numbers/numbers.parquet", NUMBERS)
    return tmp_path / "served"


@pytest.fixture(name="serve")
def make_serve(folder: Path) -> Iterator[Callable[..., Client]]:
    """Return a function that serves the folder, with its own arguments for the emulator."""
    with ExitStack() as stack:

        def serve(**options: Any) -> Client:
            emulator = stack.enter_context(Emulator(folder, **{"rate_limit": MANY, **options}))
            return Client(emulator, emulator.token)

        yield serve


@pytest.fixture(name="client")
def make_client(serve: Callable[..., Client]) -> Client:
    """Return a client of the served folder."""
    return serve()
