"""The data dictionary: what the server says of datasets, versions, tables, variables and value labels → rows."""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from itertools import islice
from typing import Any, Literal

from tap_redivis.client.answers import count_of, object_of, text_of
from tap_redivis.client.metadata import MetadataClient
from tap_redivis.errors import ApiError, Forbidden, NotFound, Unauthorized
from tap_redivis.model.references import same_version
from tap_redivis.model.tables import Container, TableInfo, Variable
from tap_redivis.planning.bookmarks import Bookmark

logger = logging.getLogger("tap-redivis")

Row = dict[str, Any]

_TABLES_AT_ONCE = 16
_SPOOLED_BYTES = 4 * 1024 * 1024
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class Topic:
    """One stream of the dictionary.

    Attributes:
        stream: Its name.
        description: What its rows are.
        keys: Columns that identify a row, over all that the settings name.
        columns: All columns.
    """

    stream: str
    description: str
    keys: tuple[str, ...]
    columns: tuple[Variable, ...]


@dataclass(frozen=True)
class Entry:
    """A stream of the tap that the dictionary speaks of.

    Attributes:
        stream: The name that its rows have in the target.
        kind: What it reads.
        table: The table, or what stands for one.
        container: Its dataset or workflow; None for a query.
        variables: Its columns if they are known without asking, else None.
        sql: A query's text.
        loaded: What the state says of it.
    """

    stream: str
    kind: Literal["table", "upload", "query"]
    table: TableInfo
    container: Container | None = None
    variables: Sequence[Variable] | None = None
    sql: str | None = None
    loaded: Bookmark = field(default_factory=Bookmark)


@dataclass(frozen=True)
class Part:
    """Rows of a topic that are asked for together: of one dataset, or of one stream.

    Attributes:
        name: The dataset's reference or the stream's name.
        signal: Digest of what tells that they may have changed; None if nothing does.
        source: What they are made of.
    """

    name: str
    signal: str | None
    source: Entry | Container


class Dictionary:
    """Makes the dictionary's rows; what was asked for one topic is not asked again for another.

    Args:
        catalogue: What the server has.
        containers: The datasets and workflows that it speaks of.
        entries: The streams that it speaks of.
    """

    def __init__(self, catalogue: MetadataClient, containers: Sequence[Container], entries: Sequence[Entry]) -> None:
        self._catalogue = catalogue
        self._containers = containers
        self._entries = entries
        self._asked = _Spool()

    def parts(self, topic: Topic) -> list[Part]:
        """List a topic's parts; costs no request."""
        if topic is DATASETS:
            return [Part(str(each.reference), digest(_dataset(each)), each) for each in self._containers]
        if topic is VERSIONS:
            datasets = [each for each in self._containers if each.version_tag is not None]
            return [Part(str(each.reference), _state_of(each), each) for each in datasets]
        if topic is TABLES:
            return [Part(each.stream, digest(_table(each)), each) for each in self._entries]
        return [Part(each.stream, _signal(each), each) for each in self._entries]

    def rows(self, topic: Topic, parts: Sequence[Part]) -> Iterator[tuple[Part, list[Row]]]:
        """Make the rows of some parts of a topic, in the parts' order.

        Raises:
            ApiError: The server refused, for another reason than that this token may not see something.
        """
        makers: Mapping[str, Callable[[Any], list[Row]]] = {
            DATASETS.stream: lambda container: [_dataset(container)],
            VERSIONS.stream: self._versions,
            TABLES.stream: lambda entry: [_table(entry)],
        }
        if make := makers.get(topic.stream):
            for part in parts:
                yield part, make(part.source)
            return
        waiting = iter(parts)
        while some := list(islice(waiting, _TABLES_AT_ONCE)):
            self._ask([part.source for part in some if isinstance(part.source, Entry)])
            for part in some:
                yield part, self._asked.get((topic.stream, part.name))

    def _versions(self, container: Container) -> list[Row]:
        try:
            listed = self._catalogue.versions(container)
        except (Unauthorized, Forbidden, NotFound) as error:
            leave_out(f"versions of {container.reference}", error)
            return []
        listed.sort(key=lambda item: _order(item, len(listed)))
        bodies = self._catalogue.workers.map(lambda item: self._version(container, item), listed)
        return [_version(container, body) for body in bodies]

    def _version(self, container: Container, item: Mapping[str, Any]) -> Mapping[str, Any]:
        """Add the release notes, which a list has not."""
        if item.get("isDeleted"):
            return item
        try:
            body = self._catalogue.version(container, item["tag"])
        except (Unauthorized, Forbidden, NotFound) as error:
            leave_out(f"release notes of {container.reference}, version {item['tag']}", error)
            return item
        # An unknown version silently means the current one (redivis-api §3.1).
        return {**item, **body} if same_version(item["tag"], text_of(body, "tag") or "") else item

    def _ask(self, entries: Sequence[Entry]) -> None:
        """Ask for the variables of some streams, as far as that was not done yet, and keep the rows made of them."""
        missing = [entry for entry in entries if (VARIABLES.stream, entry.stream) not in self._asked]
        call_all = self._catalogue.workers.map
        listed = list(call_all(self._listed, missing))
        wanted = [(entry, each) for entry, some in zip(missing, listed, strict=True) for each in some]
        bodies = call_all(self._described, wanted)
        for entry, some in zip(missing, listed, strict=True):
            own = [_Described(entry, place, variable, next(bodies)) for place, variable in enumerate(some)]
            self._asked.put((VARIABLES.stream, entry.stream), map(_variable, own))
            self._asked.put((VALUE_LABELS.stream, entry.stream), (row for each in own for row in _value_labels(each)))

    def _listed(self, entry: Entry) -> Sequence[Variable]:
        if entry.variables is not None:
            return entry.variables
        try:
            return self._catalogue.variables(entry.table)
        except (Unauthorized, Forbidden, NotFound) as error:
            leave_out(f"variables of {entry.table.pinned}", error)
            return []

    def _described(self, wanted: tuple[Entry, Variable]) -> Mapping[str, Any]:
        entry, variable = wanted
        if entry.kind == "query":
            return {}
        try:
            body = self._catalogue.variable(entry.table, variable)
        except (Unauthorized, Forbidden, NotFound) as error:
            leave_out(f"description and value labels of {entry.table.pinned}, variable {variable.name}", error)
            return {}
        return body if text_of(body, "name") == variable.name else {}


@dataclass(frozen=True)
class _Described:
    """A variable of a stream at its place, with the server's answer about it."""

    entry: Entry
    place: int
    variable: Variable
    body: Mapping[str, Any]


class _Spool:
    """Keeps lists of rows by key: few in memory, more in a file without a name."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(_SPOOLED_BYTES)  # noqa: SIM115 - it lives as long as this
        self._places: dict[tuple[str, str], tuple[int, int]] = {}

    def __contains__(self, key: tuple[str, str]) -> bool:
        return key in self._places

    def put(self, key: tuple[str, str], rows: Iterable[Row]) -> None:
        data = json.dumps(list(rows)).encode()
        self._places[key] = (self._file.seek(0, 2), len(data))
        self._file.write(data)

    def get(self, key: tuple[str, str]) -> list[Row]:
        start, length = self._places[key]
        self._file.seek(start)
        rows: list[Row] = json.loads(self._file.read(length))
        return rows


# --- rows ------------------------------------------------------------------------------------------------------------


def _dataset(container: Container) -> Row:
    body, owner = container.body, object_of(container.body, "owner")
    start, end = _pair(body.get("temporalRange"))
    box = object_of(body, "geoBBox")
    return {
        "reference": str(container.reference),
        "kind": "workflow" if container.version_tag is None else "dataset",
        "owner": text_of(owner, "name") or container.reference.owner,
        "owner_kind": text_of(owner, "kind"),
        "owner_full_name": text_of(owner, "fullName"),
        "owner_ror": text_of(owner, "ror"),
        "dataset": container.reference.name,
        "id": text_of(body, "id"),
        "qualified_reference": text_of(body, "qualifiedReference"),
        "version_tag": container.version_tag,
        "is_sample": container.reference.sample,
        "doi": text_of(body, "doi"),
        "url": text_of(body, "url"),
        "description": text_of(body, "description"),
        "methodology": text_of(body, "methodologyMarkdown"),
        "usage_notes": text_of(body, "usageMarkdown"),
        "contact": text_of(body, "contactInfo"),
        "tags": ", ".join(_names(body.get("tags"))) or None,
        "labels": ", ".join(_names(body.get("labels"))) or None,
        "links": "\n".join(_links(body.get("links"))) or None,
        "access_level": text_of(body, "accessLevel"),
        "public_access_level": text_of(body, "publicAccessLevel"),
        "table_count": count_of(body.get("tableCount")),
        "size_bytes": count_of(body.get("numBytes")),
        "total_size_bytes": count_of(body.get("totalNumBytes")),
        "temporal_start": _moment(start),
        "temporal_end": _moment(end),
        **{f"{side}": _number(box.get(key)) for side, key in _SIDES.items()},
        "created_at": _moment(body.get("createdAt")),
        "updated_at": _moment(_changed_at(container)),
    }


_SIDES = {"west": "westLongitude", "east": "eastLongitude", "south": "southLatitude", "north": "northLatitude"}


def _version(container: Container, body: Mapping[str, Any]) -> Row:
    tag = body["tag"]
    current = text_of(object_of(container.body, "currentVersion"), "tag")
    return {
        "dataset_reference": str(container.reference),
        "version_tag": tag,
        "owner": _owner(container),
        "dataset": container.reference.name,
        "position": count_of(body.get("index")),
        "label": text_of(body, "label"),
        "is_current": None if current is None else tag == current,
        "is_read": tag == container.version_tag,
        "is_released": _truth(body.get("isReleased")),
        "is_deleted": _truth(body.get("isDeleted")),
        "doi": text_of(container.body, "doi"),
        "url": text_of(body, "url"),
        "release_notes": text_of(body, "releaseNotes"),
        "created_at": _moment(body.get("createdAt")),
        "updated_at": _moment(body.get("updatedAt")),
        "released_at": _moment(body.get("releasedAt")),
    }


def _table(entry: Entry) -> Row:
    table, body, loaded = entry.table, entry.table.body, entry.loaded
    is_query = entry.kind == "query"
    return {
        "stream": entry.stream,
        "kind": entry.kind,
        **_place(entry),
        "dataset_reference": entry.container and str(entry.container.reference),
        "reference": None if is_query else ".".join(filter(None, (str(table.reference), table.upload))),
        "qualified_reference": None if is_query else table.pinned,
        "id": text_of(body, "id"),
        "url": text_of(body, "url"),
        "description": table.description,
        "query": entry.sql,
        "content_hash": table.hash,
        "row_count": table.rows,
        "size_bytes": table.bytes,
        "variable_count": count_of(body.get("variableCount")),
        "is_sample": _truth(body.get("isSample")),
        "is_file_index": _truth(body.get("isFileIndex")),
        "upload_merge_strategy": text_of(body, "uploadMergeStrategy"),
        "unreadable": table.unreadable,
        "created_at": _moment(body.get("createdAt")),
        "updated_at": _moment(table.updated_at),
        "loaded_version_tag": loaded.version_tag if loaded.completed_at else None,
        "loaded_row_count": loaded.rows if loaded.completed_at else None,
        "loaded_at": loaded.completed_at and _spelled(loaded.completed_at),
    }


def _variable(described: _Described) -> Row:
    entry, variable, body = described.entry, described.variable, described.body
    return {
        "stream": entry.stream,
        "variable": variable.name,
        **_place(entry),
        "position": described.place,
        "type": variable.type,
        "label": text_of(body, "label") or variable.label,
        "description": text_of(body, "description") or variable.description,
        "is_file_id": _truth(body.get("isFileId")),
        "value_label_count": sum(1 for _ in _value_labels(described)),
    }


def _value_labels(described: _Described) -> Iterator[Row]:
    """Make a row of each value label; what is labelled twice has its first label."""
    entry, variable = described.entry, described.variable
    listed = described.body.get("valueLabels")
    labels: dict[str, Row] = {}
    for item in listed if isinstance(listed, list) else []:
        value = _value_text(item.get("value")) if isinstance(item, dict) else None
        if value is not None:
            own = {"value": value, "label": text_of(item, "label"), "position": len(labels)}
            labels.setdefault(value, {"stream": entry.stream, "variable": variable.name, **_place(entry), **own})
    yield from labels.values()


def _place(entry: Entry) -> Row:
    table, container = entry.table, entry.container
    return {
        "owner": container and _owner(container),
        "dataset": container and container.reference.name,
        "version_tag": container and container.version_tag,
        "table_name": table.name,
    }


def _owner(container: Container) -> str:
    return text_of(object_of(container.body, "owner"), "name") or container.reference.owner


def _value_text(value: Any) -> str | None:  # noqa: ANN401 - any JSON value
    """Write a labelled value as the text that a database casts the value to; None for what is no value."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, (str, int, float)) else None


def _names(items: Any) -> Iterator[str]:  # noqa: ANN401 - any JSON value
    for item in items if isinstance(items, list) else []:
        name = item.get("name") if isinstance(item, dict) else item
        if isinstance(name, str):
            yield name


def _links(items: Any) -> Iterator[str]:  # noqa: ANN401 - any JSON value
    for item in items if isinstance(items, list) else []:
        if isinstance(item, dict):
            yield " ".join(filter(None, (text_of(item, "title"), text_of(item, "url"))))


def _pair(value: Any) -> tuple[Any, Any]:  # noqa: ANN401 - any JSON value
    return (value[0], value[1]) if isinstance(value, list) and len(value) == len("ab") else (None, None)


def _truth(value: Any) -> bool | None:  # noqa: ANN401 - any JSON value
    return value if isinstance(value, bool) else None


def _number(value: Any) -> float | None:  # noqa: ANN401 - any JSON value
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _moment(value: Any) -> str | None:  # noqa: ANN401 - any JSON value
    """Spell a time of the API, milliseconds since the epoch (redivis-api §5), as a RECORD has it."""
    milliseconds = count_of(value)
    try:
        return None if milliseconds is None else _spelled(_EPOCH + timedelta(milliseconds=milliseconds))
    except OverflowError:
        return None


def _spelled(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).replace(tzinfo=None).isoformat()


def _order(item: Mapping[str, Any], last: int) -> int:
    index = count_of(item.get("index"))
    return last if index is None else index


# --- signs of change -------------------------------------------------------------------------------------------------


def digest(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """Digest a value."""
    return hashlib.sha256(json.dumps(value, default=str).encode()).hexdigest()[:16]


def _changed_at(container: Container) -> Any:  # noqa: ANN401 - any JSON value
    return container.body.get("lastActive" if container.version_tag is None else "updatedAt")


def _state_of(container: Container) -> str:
    """Digest what tells that a dataset's documentation or versions changed, which need no new version."""
    body = container.body
    keys = ("version", "currentVersion", "nextVersion", "doi", "accessLevel")
    return digest([str(container.reference), _changed_at(container), *(body.get(key) for key in keys)])


def _signal(entry: Entry) -> str | None:
    """Digest what tells that a stream's variables changed; a draft tells nothing that can be trusted."""
    table, container = entry.table, entry.container
    if container is None:
        return digest([[variable.name, variable.type] for variable in entry.variables or ()])
    signs = [table.hash, table.rows, table.updated_at]
    if entry.kind == "upload" or table.is_draft or (table.version_tag is None and None in signs):
        return None
    return digest([table.pinned, _state_of(container), table.body.get("variableCount"), *signs])


def leave_out(what: str, error: ApiError) -> None:
    """Say that a part is left out."""
    logger.info("data dictionary: %s left out, which this token may not see (%s)", what, error.what)


# --- topics ----------------------------------------------------------------------------------------------------------


def _columns(**columns: str) -> tuple[Variable, ...]:
    """Make columns of ``name="type: description"``."""
    parts = {name: text.partition(": ") for name, text in columns.items()}
    return tuple(Variable(name, kind, description=text) for name, (kind, _, text) in parts.items())


_STREAM = "string: Name that the rows have in the target: the stream, or what a stream map calls it"
_OWNER = "string: Name of the user or organization"
_DATASET = "string: Name of the dataset or workflow"
_VERSION_TAG = "string: Version that this row speaks of, such as v1.0; next for a draft; null for a workflow"
_TABLE_NAME = "string: Name of the table, upload or query"
_DATASET_REFERENCE = "string: reference of the row in redivis_datasets"
_UTC = "UTC"

DATASETS = Topic(
    "redivis_datasets",
    "The datasets and workflows that the settings name",
    ("reference",),
    _columns(
        reference="string: How the tap finds it: with a version only if the settings pin one",
        kind="string: dataset or workflow",
        owner=_OWNER,
        owner_kind="string: organization or user",
        owner_full_name="string: Full name of the owner",
        owner_ror="string: ROR identifier of the owner",
        dataset=_DATASET,
        id="string: Persistent id",
        qualified_reference="string: Reference of exactly this version",
        version_tag=_VERSION_TAG,
        is_sample="boolean: Whether its sample is meant",
        doi="string: DOI",
        url="string: Address for people",
        description="string: Description",
        methodology="string: Methodology, in Markdown",
        usage_notes="string: Usage notes, in Markdown",
        contact="string: Whom to ask",
        tags="string: Tags, separated by commas",
        labels="string: Labels, which only administrators see, separated by commas",
        links="string: Title and address of each link, one a line",
        access_level="string: What this token may do: none, overview, metadata, sample, data or edit",
        public_access_level="string: What everybody may do",
        table_count="integer: Number of tables",
        size_bytes="integer: Size of this version",
        total_size_bytes="integer: Size of all versions and files",
        temporal_start=f"dateTime: First time that the data speaks of, {_UTC}",
        temporal_end=f"dateTime: Last time that the data speaks of, {_UTC}",
        west="float: Western border of the area, in degrees",
        east="float: Eastern border",
        south="float: Southern border",
        north="float: Northern border",
        created_at=f"dateTime: {_UTC}",
        updated_at=f"dateTime: Last change, of the documentation too, {_UTC}",
    ),
)

VERSIONS = Topic(
    "redivis_versions",
    "All versions of the datasets",
    ("dataset_reference", "version_tag"),
    _columns(
        dataset_reference=_DATASET_REFERENCE,
        version_tag="string: Version, such as v1.0; next for a draft",
        owner=_OWNER,
        dataset=_DATASET,
        position="integer: 0 for the first version",
        label="string: Label",
        is_current="boolean: Whether it is the current release",
        is_read="boolean: Whether it is the version that this tap reads",
        is_released="boolean: False for a draft",
        is_deleted="boolean: Whether it can no longer be read",
        doi="string: DOI of the dataset",
        url="string: Address for people",
        release_notes="string: What is new in it",
        created_at=f"dateTime: {_UTC}",
        updated_at=f"dateTime: {_UTC}",
        released_at=f"dateTime: {_UTC}; null for a draft",
    ),
)

TABLES = Topic(
    "redivis_tables",
    "The tables, uploads and queries that the settings name: one row for each stream",
    ("stream",),
    _columns(
        stream=_STREAM,
        kind="string: table, upload or query",
        owner=_OWNER,
        dataset=_DATASET,
        version_tag=_VERSION_TAG,
        table_name=_TABLE_NAME,
        dataset_reference=f"{_DATASET_REFERENCE}; null for a query",
        reference="string: How the tap finds it",
        qualified_reference="string: Reference of exactly this version",
        id="string: Persistent id",
        url="string: Address for people",
        description="string: Description",
        query="string: SQL of a query",
        content_hash="string: What the server gives as a digest of the content",
        row_count="integer: Rows at the source; not to be trusted for a draft",
        size_bytes="integer: Size at the source",
        variable_count="integer: Number of variables",
        is_sample="boolean: Whether it is a sample",
        is_file_index="boolean: Whether its rows are files",
        upload_merge_strategy="string: append or replace",
        unreadable="string: Why this token cannot read the rows; null if it can",
        created_at=f"dateTime: {_UTC}",
        updated_at=f"dateTime: {_UTC}",
        loaded_version_tag="string: Version of the last complete load: what the target holds",
        loaded_row_count="integer: Rows of the last complete load",
        loaded_at=f"dateTime: End of the last complete load, {_UTC}",
    ),
)

VARIABLES = Topic(
    "redivis_variables",
    "The variables of the tables, uploads and queries",
    ("stream", "variable"),
    _columns(
        stream=_STREAM,
        variable="string: Name of the variable, and so of the column",
        owner=_OWNER,
        dataset=_DATASET,
        version_tag=_VERSION_TAG,
        table_name=_TABLE_NAME,
        position="integer: 0 for the first variable of the table",
        type="string: string, integer, float, boolean, date, dateTime, time or geography",
        label="string: Short description",
        description="string: Long description",
        is_file_id="boolean: Whether the values are ids of files",
        value_label_count="integer: Rows of it in redivis_value_labels",
    ),
)

VALUE_LABELS = Topic(
    "redivis_value_labels",
    "What the values of variables mean",
    ("stream", "variable", "value"),
    _columns(
        stream=_STREAM,
        variable="string: Name of the variable, and so of the column",
        owner=_OWNER,
        dataset=_DATASET,
        version_tag=_VERSION_TAG,
        table_name=_TABLE_NAME,
        value="string: The value as text",
        label="string: What it means",
        position="integer: 0 for the first label of the variable",
    ),
)

TOPICS = (DATASETS, VERSIONS, TABLES, VARIABLES, VALUE_LABELS)
"""All topics, in the order in which they are written."""
