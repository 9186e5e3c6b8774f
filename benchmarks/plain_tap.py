"""Plain singer-sdk taps that read the same JSON Lines: what the real tap is compared with.

``python -m benchmarks.plain_tap plain`` is the tap that the SDK's documentation leads to. The one called ``best``
writes by ``MsgSpecWriter``, parses by msgspec and conforms no types: the fastest that the SDK's public names allow. The
one called ``files`` is the first, ready to write BATCH files.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import msgspec
import requests
from singer_sdk import Stream, Tap
from singer_sdk import typing as th
from singer_sdk.contrib.msgspec import MsgSpecWriter
from singer_sdk.helpers.conform import TypeConformanceLevel

_TYPES: Mapping[str, Any] = {
    "boolean": th.BooleanType,
    "date": th.DateType,
    "dateTime": th.DateTimeType,
    "float": th.NumberType,
    "integer": th.IntegerType,
    "string": th.StringType,
    "time": th.TimeType,
}


class _Api:
    """The few requests that it takes."""

    def __init__(self) -> None:
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {os.environ['REDIVIS_API_TOKEN']}"
        self._endpoint = os.environ["REDIVIS_API_ENDPOINT"]

    def variables(self, table: str) -> list[dict[str, Any]]:
        """Return what the server says of the table's variables, page by page."""
        found: list[dict[str, Any]] = []
        query = {"maxResults": "100"}
        while True:
            page = self._get(f"tables/{table}/variables", query).json()
            found += page["results"]
            if not page.get("nextPageToken"):
                return found
            query["pageToken"] = page["nextPageToken"]

    def lines(self, table: str, max_rows: int) -> Iterable[bytes]:
        """Read the streams of a read session, line by line."""
        body = {"format": "jsonl", "maxResults": max_rows}
        opened = self._session.post(f"{self._endpoint}/tables/{table}/readSessions", json=body, timeout=60)
        for stream in opened.json()["streams"]:
            with self._get(f"readStreams/{stream['id']}", {}, stream=True) as response:
                yield from response.iter_lines(chunk_size=64 * 1024)

    def _get(self, path: str, query: Mapping[str, str], *, stream: bool = False) -> requests.Response:
        response = self._session.get(f"{self._endpoint}/{path}", params=query, stream=stream, timeout=60)
        response.raise_for_status()
        return response


class PlainStream(Stream):
    """A table, with the SDK's defaults."""

    def __init__(self, tap: Tap, api: _Api) -> None:
        self._api = api
        self._table: str = tap.config["table"]
        columns = [th.Property(each["name"], _TYPES[each["type"]]) for each in api.variables(self._table)]
        super().__init__(tap, th.PropertiesList(*columns).to_dict(), "__".join(self._table.split(".")[1:]))

    def get_records(self, context: Mapping[str, Any] | None) -> Iterable[dict[str, Any]]:  # noqa: ARG002
        """Give row by row."""
        yield from map(self.parse, self._api.lines(self._table, self.config["max_rows"]))

    def parse(self, line: bytes) -> dict[str, Any]:
        """Read a row."""
        row: dict[str, Any] = json.loads(line)
        return row


class BestStream(PlainStream):
    """A table, with all that the SDK offers for speed."""

    TYPE_CONFORMANCE_LEVEL = TypeConformanceLevel.NONE

    def parse(self, line: bytes) -> dict[str, Any]:
        """Read a row."""
        row: dict[str, Any] = msgspec.json.decode(line)
        return row


class PlainTap(Tap):
    """The tap that the SDK's documentation leads to."""

    name = "tap-plain"
    stream_class: ClassVar[type[PlainStream]] = PlainStream
    config_jsonschema: ClassVar[dict[str, Any]] = th.PropertiesList(
        th.Property("table", th.StringType, required=True),
        th.Property("max_rows", th.IntegerType, required=True),
    ).to_dict()

    def discover_streams(self) -> list[Stream]:
        """Give the one stream."""
        return [self.stream_class(self, _Api())]


class BestTap(PlainTap):
    """The same with a faster writer."""

    message_writer_class = MsgSpecWriter
    stream_class = BestStream


if __name__ == "__main__":
    kind = sys.argv.pop(1)
    if kind == "files":
        import pyarrow.parquet  # noqa: F401 - the SDK would import it between the first row and the last
    {"plain": PlainTap, "files": PlainTap, "best": BestTap}[kind].cli()
