"""The data dictionary: what the settings name → requests → rows, and digests that show when rows may have changed."""

import hashlib
import json
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, cast

from tap_redivis.client.answers import count_of, text_of
from tap_redivis.client.metadata import MetadataClient, get_variable, get_version, list_versions
from tap_redivis.errors import Forbidden, NotFound, Unauthorized
from tap_redivis.model.json_schema import columns_of
from tap_redivis.model.references import same_version
from tap_redivis.model.tables import Container, Json, Variable
from tap_redivis.runtime.logs import logger
from tap_redivis.singer.dictionary import topics
from tap_redivis.singer.dictionary.topics import DATASETS, TABLES, VALUE_LABELS, VARIABLES, VERSIONS, Entry, Row, Topic
from tap_redivis.singer.discovery import Failures, find_named, name_of_table
from tap_redivis.singer.run import RunContext
from tap_redivis.singer.sources import QuerySource, TableSource
from tap_redivis.singer.streams import TableStream

_TABLES_AT_ONCE = 16  # enough for requests side by side, and few enough to have all their rows in memory
_SPOOLED_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Part:
    """Rows of a topic that are made together: those of one dataset, or of one stream."""

    name: str  # the dataset's reference or the stream's name
    signal: str | None  # digest that differs when the rows may have changed; None if they may change without a sign
    source: Entry | Container


class Dictionary:
    """Makes the dictionary's rows; what was asked for one topic is not asked again for another."""

    def __init__(self, metadata: MetadataClient, containers: Sequence[Container], entries: Sequence[Entry]) -> None:
        self._metadata = metadata
        self._containers = containers
        self._entries = entries
        # Variables and labels come in one answer, and the labels are written later. They may not fit into memory.
        self._spool = tempfile.SpooledTemporaryFile(_SPOOLED_BYTES)  # noqa: SIM115 - it lives as long as this
        self._spooled: dict[tuple[str, str], tuple[int, int]] = {}

    def parts(self, topic: Topic) -> list[Part]:
        """List a topic's parts; costs no request."""
        if topic is DATASETS:
            return [Part(str(each.reference), digest(topics.dataset_row(each)), each) for each in self._containers]
        if topic is VERSIONS:
            datasets = [each for each in self._containers if each.version_tag is not None]
            return [Part(str(each.reference), _container_signal(each), each) for each in datasets]
        if topic is TABLES:
            return [Part(each.stream, digest(topics.table_row(each)), each) for each in self._entries]
        return [Part(each.stream, _variables_signal(each), each) for each in self._entries]

    def rows(self, topic: Topic, parts: Sequence[Part]) -> Iterator[tuple[Part, list[Row]]]:
        """Make the rows of some parts of a topic, in the parts' order.

        Raises:
            ApiError: The server refused, for another reason than that this token may not see something.
        """
        for begin in range(0, len(parts), _TABLES_AT_ONCE):
            some = parts[begin : begin + _TABLES_AT_ONCE]
            if topic in (VARIABLES, VALUE_LABELS):
                self._ask_for_variables([cast("Entry", part.source) for part in some])
            for part in some:
                yield part, self._rows(topic, part)

    def _rows(self, topic: Topic, part: Part) -> list[Row]:
        if isinstance(part.source, Container):
            return [topics.dataset_row(part.source)] if topic is DATASETS else self._versions(part.source)
        return [topics.table_row(part.source)] if topic is TABLES else self._read_spool(topic, part.name)

    def _versions(self, container: Container) -> list[Row]:
        listed: list[Json] = []
        with _leaving_out(f"versions of {container.reference}"):
            listed = sorted(list_versions(self._metadata.api, container), key=_position)
        bodies = self._metadata.api.workers.map(lambda item: self._version(container, item), listed)
        return [topics.version_row(container, body) for body in bodies]

    def _version(self, container: Container, item: Json) -> Json:
        """Add the release notes, which a list does not have."""
        body: Json = {}
        if not item.get("isDeleted"):  # such a version answers 404
            with _leaving_out(f"release notes of {container.reference}, version {item['tag']}"):
                body = get_version(self._metadata.api, container, item["tag"])
        # An unknown version silently means the current one (redivis-api §3.1).
        return {**item, **body} if same_version(item["tag"], text_of(body, "tag") or "") else item

    def _ask_for_variables(self, entries: Sequence[Entry]) -> None:
        missing = [entry for entry in entries if (VARIABLES.stream, entry.stream) not in self._spooled]
        call_all = self._metadata.api.workers.map
        found = list(zip(missing, call_all(self._variables, missing), strict=True))
        bodies = call_all(self._variable, [(entry, variable) for entry, some in found for variable in some])
        for entry, some in found:
            variables, labels = [], []
            for position, variable in enumerate(some):
                body = next(bodies)
                own = topics.value_label_rows(entry, variable, body)
                variables.append(topics.variable_row(entry, position, variable, body, len(own)))
                labels += own
            self._write_spool(VARIABLES, entry.stream, variables)
            self._write_spool(VALUE_LABELS, entry.stream, labels)

    def _variables(self, entry: Entry) -> Sequence[Variable]:
        if entry.variables is not None:
            return entry.variables
        with _leaving_out(f"variables of {entry.table.pinned}"):
            return self._metadata.variables(entry.table)
        return []

    def _variable(self, wanted: tuple[Entry, Variable]) -> Json:
        entry, variable = wanted
        body: Json = {}
        if entry.kind != "query":  # its variables have no address
            with _leaving_out(f"description and value labels of {entry.table.pinned}, variable {variable.name}"):
                body = get_variable(self._metadata.api, entry.table, variable)
        # The address has the name in lower case (redivis-api §3.2), so the answer may be about another variable.
        return body if text_of(body, "name") == variable.name else {}

    def _write_spool(self, topic: Topic, stream: str, rows: Sequence[Row]) -> None:
        data = json.dumps(rows).encode()
        self._spooled[topic.stream, stream] = (self._spool.seek(0, 2), len(data))
        self._spool.write(data)

    def _read_spool(self, topic: Topic, stream: str) -> list[Row]:
        start, length = self._spooled[topic.stream, stream]
        self._spool.seek(start)
        rows: list[Row] = json.loads(self._spool.read(length))
        return rows


def describe(run: RunContext, streams: Sequence[TableStream], name_in_target: Callable[[str], str]) -> Dictionary:
    """Make the dictionary of all that the settings name, selected or not; stream maps may rename a stream."""
    metadata = run.metadata
    failures = Failures()
    found, tables = find_named(metadata, run.settings, failures)
    for name, failure in failures.items():
        with _leaving_out(name):
            raise failure
    containers = {str(container.reference): container for container in found}
    entries = []
    for table in tables:
        container = None
        with suppress(Unauthorized):  # see ``find_named``
            container = metadata.container(table.reference.container) if table.reference else None
        entries.append(Entry(name_of_table(table, run.settings), "table", table, container))
    for stream in streams:
        source = stream.source
        if isinstance(source, QuerySource):
            variables, sql = _query_variables(stream), source.query.sql
            entries.append(Entry(stream.name, "query", source.table, None, variables, sql))
        elif isinstance(source, TableSource) and source.upload and source.table:
            draft = metadata.container(source.reference.container)
            containers[str(draft.reference)] = draft
            entries.append(Entry(stream.name, "upload", source.table, draft, source.variables))
    named = [replace(e, stream=name_in_target(e.stream), loaded=run.states.bookmark(e.stream)) for e in entries]
    return Dictionary(metadata, list(containers.values()), named)


def _query_variables(stream: TableStream) -> list[Variable]:
    # The stream has the columns already; to ask for them, the server would have to run the query.
    properties: Mapping[str, Mapping[str, Any]] = stream.effective_schema.get("properties", {})
    columns = columns_of(properties, (name for name in properties if name not in stream.added_columns))
    return [Variable(column.name, column.type) for column in columns]


@contextmanager
def _leaving_out(what: str) -> Iterator[None]:
    """Log what this token may not see, and go on without it."""
    try:
        yield
    except (Unauthorized, Forbidden, NotFound) as error:
        logger.info("data dictionary: %s left out, which this token may not see (%s)", what, error.what)


def digest(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """Digest a value."""
    # 64 bits, since STATE has two for each table.
    return hashlib.sha256(json.dumps(value, default=str).encode()).hexdigest()[:16]


def _position(version: Json) -> float:
    # A version without an index comes last: the rows before it stay where they were, and are not written again.
    index = count_of(version.get("index"))
    return math.inf if index is None else index


def _container_signal(container: Container) -> str:
    """Digest what changes with a dataset's versions, or with its documentation, which needs no new version."""
    keys = ("version", "currentVersion", "nextVersion", "doi", "accessLevel")
    return digest([str(container.reference), topics.changed_at(container), *(container.body.get(key) for key in keys)])


def _variables_signal(entry: Entry) -> str | None:
    table, container = entry.table, entry.container
    if entry.kind == "query":
        return digest([[variable.name, variable.type] for variable in entry.variables or ()])
    signs = [table.hash, table.rows, table.updated_at]
    # Hash and counts of a draft cannot be trusted.
    if container is None or entry.kind == "upload" or table.is_draft or (table.version_tag is None and None in signs):
        return None
    return digest([table.pinned, _container_signal(container), table.body.get("variableCount"), *signs])
