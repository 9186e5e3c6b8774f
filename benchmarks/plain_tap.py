"""A plain singer-sdk tap with default settings that reads the same JSON Lines: what the real tap is compared with."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

import requests
from singer_sdk import Stream, Tap
from singer_sdk import typing as th

TABLE = "bench.shapes.typical"


class _Typical(Stream):
    name = "shapes__typical"
    schema = th.PropertiesList(
        th.Property("id", th.IntegerType),
        th.Property("amount", th.IntegerType),
        th.Property("code", th.IntegerType),
        th.Property("price", th.NumberType),
        th.Property("ratio", th.NumberType),
        th.Property("name", th.StringType),
        th.Property("remark", th.StringType),
        th.Property("active", th.BooleanType),
        th.Property("day", th.DateType),
        th.Property("seen_at", th.DateTimeType),
    ).to_dict()

    def get_records(self, context: Mapping[str, Any] | None) -> Iterable[dict[str, Any]]:  # noqa: ARG002
        """Read one stream, line by line."""
        endpoint = os.environ["REDIVIS_API_ENDPOINT"]
        headers = {"Authorization": f"Bearer {os.environ['REDIVIS_API_TOKEN']}"}
        session = requests.post(
            f"{endpoint}/tables/{TABLE}/readSessions", json={"format": "jsonl"}, headers=headers, timeout=60
        ).json()
        for stream in session["streams"]:
            url = f"{endpoint}/readStreams/{stream['id']}"
            with requests.get(url, headers=headers, stream=True, timeout=60) as response:
                for line in response.iter_lines(chunk_size=64 * 1024):
                    yield json.loads(line)


class PlainTap(Tap):
    """The tap that the SDK's documentation leads to."""

    name = "tap-plain"

    def discover_streams(self) -> list[Stream]:
        """Give the one stream."""
        return [_Typical(self)]


if __name__ == "__main__":
    PlainTap.cli()
