"""What to ask the server for the data dictionary, and what tells that rows of it may have changed."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, cast

from tap_redivis.client.answers import count_of, text_of
from tap_redivis.client.descriptions import get_variable, get_version, list_versions
from tap_redivis.client.metadata import MetadataClient
from tap_redivis.errors import Forbidden, NotFound, Unauthorized
from tap_redivis.model.references import same_version
from tap_redivis.model.tables import Container, Variable
from tap_redivis.singer.dictionary.rows import (
    Entry,
    Row,
    changed_at,
    dataset_row,
    table_row,
    value_label_rows,
    variable_row,
    version_row,
)
from tap_redivis.singer.dictionary.topics import DATASETS, TABLES, VALUE_LABELS, VARIABLES, VERSIONS, Topic

logger = logging.getLogger("tap-redivis")

_TABLES_AT_ONCE = 16
_SPOOLED_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Part:
    """JsonRows of a topic that are asked for together: of one dataset, or of one stream.

    Attributes:
        name: The dataset's reference or the stream's name.
        signal: Digest of what changes when they may have changed; None if they may change without a sign.
        source: What they describe.
    """

    name: str
    signal: str | None
    source: Entry | Container


class Dictionary:
    """Makes the dictionary's rows; what was asked for one topic is not asked again for another.

    Args:
        metadata: What the server has.
        containers: The datasets and workflows to describe.
        entries: The streams to describe.
    """

    def __init__(self, metadata: MetadataClient, containers: Sequence[Container], entries: Sequence[Entry]) -> None:
        self._metadata = metadata
        self._containers = containers
        self._entries = entries
        self._asked = _Spool()

    def parts(self, topic: Topic) -> list[Part]:
        """List a topic's parts; costs no request."""
        if topic is DATASETS:
            return [Part(str(each.reference), digest(dataset_row(each)), each) for each in self._containers]
        if topic is VERSIONS:
            datasets = [each for each in self._containers if each.version_tag is not None]
            return [Part(str(each.reference), _container_signal(each), each) for each in datasets]
        if topic is TABLES:
            return [Part(each.stream, digest(table_row(each)), each) for each in self._entries]
        return [Part(each.stream, _variables_signal(each), each) for each in self._entries]

    def rows(self, topic: Topic, parts: Sequence[Part]) -> Iterator[tuple[Part, list[Row]]]:
        """Make the rows of some parts of a topic, in the parts' order.

        Raises:
            ApiError: The server refused, for another reason than that this token may not see something.
        """
        waiting = iter(parts)
        while some := list(islice(waiting, _TABLES_AT_ONCE)):
            if topic in (VARIABLES, VALUE_LABELS):
                self._ask_for_variables([cast("Entry", part.source) for part in some])
            for part in some:
                yield part, self._rows(topic, part)

    def _rows(self, topic: Topic, part: Part) -> list[Row]:
        if isinstance(part.source, Container):
            return [dataset_row(part.source)] if topic is DATASETS else self._versions(part.source)
        return [table_row(part.source)] if topic is TABLES else self._asked.get((topic.stream, part.name))

    def _versions(self, container: Container) -> list[Row]:
        listed: list[Mapping[str, Any]] = []
        with leaving_out(f"versions of {container.reference}"):
            listed.extend(list_versions(self._metadata.api, container))
        listed.sort(key=_position)
        bodies = self._metadata.workers.map(lambda item: self._version(container, item), listed)
        return [version_row(container, body) for body in bodies]

    def _version(self, container: Container, item: Mapping[str, Any]) -> Mapping[str, Any]:
        """Add the release notes, which a list does not have."""
        if item.get("isDeleted"):
            return item
        body: Mapping[str, Any] = {}
        with leaving_out(f"release notes of {container.reference}, version {item['tag']}"):
            body = get_version(self._metadata.api, container, item["tag"])
        # An unknown version silently means the current one (redivis-api §3.1).
        return {**item, **body} if same_version(item["tag"], text_of(body, "tag") or "") else item

    def _ask_for_variables(self, entries: Sequence[Entry]) -> None:
        """Keep the rows of some streams' variables and value labels; those that are kept already cost no request."""
        missing = [entry for entry in entries if (VARIABLES.stream, entry.stream) not in self._asked]
        call_all = self._metadata.workers.map
        listed = list(call_all(self._variables, missing))
        wanted = [(entry, each) for entry, some in zip(missing, listed, strict=True) for each in some]
        bodies = call_all(self._variable, wanted)
        for entry, some in zip(missing, listed, strict=True):
            variables, labels = [], []
            for place, variable in enumerate(some):
                body = next(bodies)
                own = value_label_rows(entry, variable, body)
                variables.append(variable_row(entry, place, variable, body, len(own)))
                labels += own
            self._asked.put((VARIABLES.stream, entry.stream), variables)
            self._asked.put((VALUE_LABELS.stream, entry.stream), labels)

    def _variables(self, entry: Entry) -> Sequence[Variable]:
        if entry.variables is not None:
            return entry.variables
        with leaving_out(f"variables of {entry.table.pinned}"):
            return self._metadata.variables(entry.table)
        return []

    def _variable(self, wanted: tuple[Entry, Variable]) -> Mapping[str, Any]:
        entry, variable = wanted
        body: Mapping[str, Any] = {}
        if entry.kind != "query":
            with leaving_out(f"description and value labels of {entry.table.pinned}, variable {variable.name}"):
                body = get_variable(self._metadata.api, entry.table, variable)
        return body if text_of(body, "name") == variable.name else {}


@contextmanager
def leaving_out(what: str) -> Iterator[None]:
    """Log what this token may not see, and go on without it."""
    try:
        yield
    except (Unauthorized, Forbidden, NotFound) as error:
        logger.info("data dictionary: %s left out, which this token may not see (%s)", what, error.what)


class _Spool:
    """Keeps lists of rows by key: few in memory, more in a temporary file."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(_SPOOLED_BYTES)  # noqa: SIM115 - it lives as long as this
        self._places: dict[tuple[str, str], tuple[int, int]] = {}

    def __contains__(self, key: tuple[str, str]) -> bool:
        return key in self._places

    def put(self, key: tuple[str, str], rows: Sequence[Row]) -> None:
        data = json.dumps(rows).encode()
        self._places[key] = (self._file.seek(0, 2), len(data))
        self._file.write(data)

    def get(self, key: tuple[str, str]) -> list[Row]:
        start, length = self._places[key]
        self._file.seek(start)
        rows: list[Row] = json.loads(self._file.read(length))
        return rows


def _position(version: Mapping[str, Any]) -> float:
    index = count_of(version.get("index"))
    return math.inf if index is None else index


def digest(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """Digest a value."""
    return hashlib.sha256(json.dumps(value, default=str).encode()).hexdigest()[:16]


def _container_signal(container: Container) -> str:
    """Digest what changes with a dataset's versions, or with its documentation, which needs no new version."""
    keys = ("version", "currentVersion", "nextVersion", "doi", "accessLevel")
    return digest([str(container.reference), changed_at(container), *(container.body.get(key) for key in keys)])


def _variables_signal(entry: Entry) -> str | None:
    """Digest what changes with a stream's variables; None for a draft, whose hash and counts cannot be trusted."""
    table, container = entry.table, entry.container
    if container is None:
        return digest([[variable.name, variable.type] for variable in entry.variables or ()])
    signs = [table.hash, table.rows, table.updated_at]
    if entry.kind == "upload" or table.is_draft or (table.version_tag is None and None in signs):
        return None
    return digest([table.pinned, _container_signal(container), table.body.get("variableCount"), *signs])
