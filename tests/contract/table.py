"""The table that facts are looked for in: found among the token's or public ones, and what is read of it only once."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import quote

import pyarrow as pa

from tests.contract.service import Answer, Json, NotSeen, Service

PUBLIC_OWNERS = ("demo", "sdss")
"""Organizations with public tables."""

_MOST_BYTES = 5_000_000
_LARGE_BYTES = 100_000_000
_DATASETS = 6
_RANKS = ("none", "overview", "metadata", "sample", "data", "edit")


@dataclass
class Table:
    """One small table, and what was seen on the way to it.

    Attributes:
        service: Where it is.
        item: As a list or its own answer describes it.
        listed: Datasets of the list that it was found by.
        large: Reference of a table of 100 MB or more, if one was seen.
        closed: Reference of a dataset that is seen and may not be read.
        query_rows: What `/rows` of a query answered.
    """

    service: Service
    item: Json
    listed: list[Json] = field(default_factory=list)
    large: str | None = None
    closed: str | None = None
    query_rows: Answer | None = None

    @property
    def path(self) -> str:
        """Path of the table."""
        return f"/tables/{quote(self.reference, safe='')}"

    @property
    def reference(self) -> str:
        """The complete reference, pinned to a version."""
        return str(self.item["qualifiedReference"])

    @cached_property
    def info(self) -> Json:
        """The table's own answer."""
        return self.service.get(self.path).needed()

    @cached_property
    def dataset(self) -> Json:
        """The dataset's own answer."""
        return self.service.get(self.dataset_path).needed()

    @property
    def dataset_path(self) -> str:
        """Path of the dataset at its version."""
        return f"/datasets/{quote(self.reference[: self.reference.rindex('.')], safe='')}"

    @property
    def unpinned(self) -> str:
        """Reference of the dataset without version."""
        owner, _, rest = self.reference.partition(".")
        return f"{owner}.{':'.join(rest.split(':')[:2])}"

    @cached_property
    def variables(self) -> list[Json]:
        """The variables."""
        listed: list[Json] = self.service.get(f"{self.path}/variables", {"maxResults": 999}).needed()["results"]
        return listed

    def named(self, kind: str) -> list[str]:
        """Return the names of the variables of one type."""
        return [each["name"] for each in self.variables if each["type"] == kind]

    @cached_property
    def versions(self) -> list[Json]:
        """The versions of the dataset."""
        path = f"/datasets/{quote(self.unpinned, safe='')}/versions"
        listed: list[Json] = self.service.get(path, {"maxResults": 100}).needed()["results"]
        return listed

    def opened(self, **body: Any) -> Answer:
        """Open a read session."""
        return self.service.begin(f"{self.path}/readSessions", {"requestedStreamCount": 1, **body})

    def stream(self, session: Json, **params: Any) -> Answer:
        """Read the first stream of a session."""
        streams = session.get("streams") or []
        if not streams:
            raise NotSeen("the session has no read stream")
        return self.service.get(f"/readStreams/{quote(str(streams[0]['id']), safe='')}", params)

    @cached_property
    def session(self) -> Answer:
        """A session in Arrow."""
        return self.opened(format="arrow")

    @cached_property
    def arrow(self) -> Answer:
        """All rows of that session, with a sentinel if there are any."""
        return self.stream(self.session.needed(), offset=0, eosSentinel="true")

    @cached_property
    def batches(self) -> list[pa.RecordBatch]:
        """The record batches of all rows, an empty one at the end included."""
        return list(batches_of(self.arrow))

    @cached_property
    def rows(self) -> list[Json]:
        """The rows, in their order."""
        return [row for batch in self.batches for row in batch.to_pylist()]

    @cached_property
    def text_session(self) -> Answer:
        """A session in JSON Lines."""
        return self.opened(format="jsonl")

    @cached_property
    def jsonl(self) -> bytes:
        """All rows as JSON Lines."""
        return self._text(self.text_session)

    @cached_property
    def csv_session(self) -> Answer:
        """A session in CSV."""
        return self.opened(format="csv")

    @cached_property
    def csv(self) -> bytes:
        """All rows as CSV."""
        return self._text(self.csv_session)

    def _text(self, session: Answer) -> bytes:
        body = self.stream(session.needed(), offset=0)
        if not body.is_good or body.body.startswith(b"\xff\xff\xff\xff"):
            raise NotSeen("the format is not served")
        return body.body


def batches_of(answer: Answer) -> Iterator[pa.RecordBatch]:
    """Yield the record batches of an Arrow body."""
    answer.needed()
    try:
        with pa.ipc.open_stream(io.BytesIO(answer.body)) as reader:
            yield from reader
    except pa.ArrowException as error:
        raise NotSeen("no Arrow came") from error


def find(service: Service) -> Table:
    """Find a table; a ``NotSeen`` says that there is none."""
    if given := os.environ.get("REDIVIS_LIVE_TABLE"):
        answer = service.get(f"/tables/{quote(given, safe='')}")
        if not answer.is_good:
            raise NotSeen(f"REDIVIS_LIVE_TABLE: refused with {answer.status}")
        return Table(service, answer.json)
    best: Table | None = None
    large = closed = None
    for datasets in _lists(service):
        for dataset in datasets[:_DATASETS]:
            levels = {str(dataset.get("accessLevel")), str(dataset.get("publicAccessLevel"))} & set(_RANKS)
            level = max(levels, key=_RANKS.index, default="none")
            reference = _reference(dataset)
            if level in {"overview", "metadata"}:
                closed = closed or reference
            if level not in {"data", "edit"}:
                continue
            path = f"/datasets/{quote(reference, safe='')}/tables"
            for item in service.get(path, {"maxResults": 100}).json.get("results") or []:
                size = item.get("numBytes") or 0
                large = large or (item["qualifiedReference"] if size >= _LARGE_BYTES else None)
                is_better = best is None or (item.get("variableCount") or 0) > (best.item.get("variableCount") or 0)
                if 0 < size <= _MOST_BYTES and is_better:
                    best = Table(service, item, datasets)
        if best is not None:
            best.large, best.closed = large, closed
            return best
    raise NotSeen("no small table was found: name one in REDIVIS_LIVE_TABLE")


def _lists(service: Service) -> Iterator[list[Json]]:
    name = service.get("/users/me").json.get("name")
    for path in [
        *([f"/users/{name}/datasets"] if name else []),
        *(f"/organizations/{o}/datasets" for o in PUBLIC_OWNERS),
    ]:
        listed = service.get(path, {"maxResults": 100}).json.get("results") or []
        if listed:
            yield listed


def _reference(dataset: Json) -> str:
    return str(dataset.get("qualifiedReference") or f"{dataset['owner']['name']}.{dataset['scopedReference']}")
