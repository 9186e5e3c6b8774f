"""The streams of the data dictionary: their columns, and their rows, made of the server's answers. Pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, Literal

from tap_redivis.client.answers import description_of, number_of, object_of, text_of
from tap_redivis.model.tables import Container, Json, TableInfo, Variable
from tap_redivis.planning.bookmarks import Bookmark

Row = dict[str, Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class TopicColumn(Variable):
    """A column, and the path to its value in a row's subject (see ``_row``), such as ``body.owner.kind``; or none."""

    path: str = ""


@dataclass(frozen=True)
class Topic:
    """One stream of the dictionary; ``keys`` identify a row among all of its rows."""

    stream: str
    description: str
    keys: tuple[str, ...]
    columns: tuple[TopicColumn, ...]


def _columns(**specs: str) -> tuple[TopicColumn, ...]:
    """Make columns of ``name="type path: description"``; the path may be left out."""
    columns = []
    for name, spec in specs.items():
        head, _, description = spec.partition(": ")
        kind, _, path = head.partition(" ")
        columns.append(TopicColumn(name, kind, description=description, path=path))
    return tuple(columns)


_STREAM = "string entry.stream: Name that the rows have in the target: the stream, or what a stream map calls it"
_OWNER = "string: Name of the user or organization"
_DATASET = "string container.reference.name: Name of the dataset or workflow"
_VERSION_TAG = (
    "string container.version_tag: Version that this row speaks of, such as v1.0; next for a draft; null for a workflow"
)
_DATASET_REFERENCE = "string: reference of the row in redivis_datasets"
_PLACE = {
    "owner": _OWNER,
    "dataset": _DATASET,
    "version_tag": _VERSION_TAG,
    "table_name": "string entry.table.name: Name of the table, upload or query",
}
_VARIABLE = {
    "stream": _STREAM,
    "variable": "string variable.name: Name of the variable, and so of the column",
    **_PLACE,
}

DATASETS = Topic(
    "redivis_datasets",
    "The datasets and workflows that the settings name",
    ("reference",),
    _columns(
        reference="string: How the tap finds it: with a version only if the settings pin one",
        kind="string: dataset or workflow",
        owner=_OWNER,
        owner_kind="string body.owner.kind: organization or user",
        owner_full_name="string body.owner.fullName: Full name of the owner",
        owner_ror="string body.owner.ror: ROR identifier of the owner",
        dataset=_DATASET,
        id="string body.id: Persistent id",
        qualified_reference="string body.qualifiedReference: Reference of exactly this version",
        version_tag=_VERSION_TAG,
        is_sample="boolean container.reference.sample: Whether its sample is meant",
        doi="string body.doi: DOI",
        url="string body.url: Address for people",
        description="string body.description: Description",
        methodology="string body.methodologyMarkdown: Methodology, in Markdown",
        usage_notes="string body.usageMarkdown: Usage notes, in Markdown",
        contact="string body.contactInfo: Whom to ask",
        tags="string: Tags, separated by commas",
        labels="string: Labels, which only administrators see, separated by commas",
        links="string: Title and address of each link, one a line",
        access_level="string body.accessLevel: What this token may do: none, overview, metadata, sample, data or edit",
        public_access_level="string body.publicAccessLevel: What everybody may do",
        table_count="integer body.tableCount: Number of tables",
        size_bytes="integer body.numBytes: Size of this version",
        total_size_bytes="integer body.totalNumBytes: Size of all versions and files",
        temporal_start="dateTime: First time that the data speaks of, UTC",
        temporal_end="dateTime: Last time that the data speaks of, UTC",
        west="float body.geoBBox.westLongitude: Western border of the area, in degrees",
        east="float body.geoBBox.eastLongitude: Eastern border",
        south="float body.geoBBox.southLatitude: Southern border",
        north="float body.geoBBox.northLatitude: Northern border",
        created_at="dateTime body.createdAt: UTC",
        updated_at="dateTime: Last change, of the documentation too, UTC",
    ),
)

VERSIONS = Topic(
    "redivis_versions",
    "All versions of the datasets",
    ("dataset_reference", "version_tag"),
    _columns(
        dataset_reference=_DATASET_REFERENCE,
        version_tag="string body.tag: Version, such as v1.0; next for a draft",
        owner=_OWNER,
        dataset=_DATASET,
        position="integer body.index: 0 for the first version",
        label="string body.label: Label",
        is_current="boolean: Whether it is the current release",
        is_read="boolean: Whether it is the version that this tap reads",
        is_released="boolean body.isReleased: False for a draft",
        is_deleted="boolean body.isDeleted: Whether it can no longer be read",
        doi="string container.body.doi: DOI of the dataset",
        url="string body.url: Address for people",
        release_notes="string body.releaseNotes: What is new in it",
        created_at="dateTime body.createdAt: UTC",
        updated_at="dateTime body.updatedAt: UTC",
        released_at="dateTime body.releasedAt: UTC; null for a draft",
    ),
)

TABLES = Topic(
    "redivis_tables",
    "The tables, uploads and queries that the settings name: one row for each stream",
    ("stream",),
    _columns(
        stream=_STREAM,
        kind="string entry.kind: table, upload or query",
        **_PLACE,
        dataset_reference=f"{_DATASET_REFERENCE}; null for a query",
        reference="string: How the tap finds it",
        qualified_reference="string: Reference of exactly this version",
        id="string body.id: Persistent id",
        url="string body.url: Address for people",
        description="string entry.table.description: Description",
        query="string entry.sql: SQL of a query",
        content_hash="string entry.table.hash: What the server gives as a digest of the content",
        row_count="integer entry.table.rows: Rows at the source; not to be trusted for a draft",
        size_bytes="integer entry.table.bytes: Size at the source",
        variable_count="integer body.variableCount: Number of variables",
        is_sample="boolean body.isSample: Whether it is a sample",
        is_file_index="boolean body.isFileIndex: Whether its rows are files",
        upload_merge_strategy="string body.uploadMergeStrategy: append or replace",
        unreadable="string entry.table.unreadable: Why this token cannot read the rows; null if it can",
        created_at="dateTime body.createdAt: UTC",
        updated_at="dateTime entry.table.updated_at: UTC",
        loaded_version_tag="string: Version of the last complete load: what the target holds",
        loaded_row_count="integer: Rows of the last complete load",
        loaded_at="dateTime: End of the last complete load, UTC",
    ),
)

VARIABLES = Topic(
    "redivis_variables",
    "The variables of the tables, uploads and queries",
    ("stream", "variable"),
    _columns(
        **_VARIABLE,
        position="integer: 0 for the first variable of the table",
        type="string variable.type: string, integer, float, boolean, date, dateTime, time or geography",
        label="string: Short description",
        description="string: Long description",
        is_file_id="boolean body.isFileId: Whether the values are ids of files",
        value_label_count="integer: Rows of it in redivis_value_labels",
    ),
)

VALUE_LABELS = Topic(
    "redivis_value_labels",
    "What the values of variables mean",
    ("stream", "variable", "value"),
    _columns(
        **_VARIABLE,
        value="string: The value as text",
        label="string body.label: What it means",
        position="integer: 0 for the first label of the variable",
    ),
)

TOPICS = (DATASETS, VERSIONS, TABLES, VARIABLES, VALUE_LABELS)
"""All topics, in the order in which they are written."""


@dataclass(frozen=True)
class Entry:
    """A stream of the tap that the dictionary describes."""

    stream: str  # the name that its rows have in the target
    kind: Literal["table", "upload", "query"]
    table: TableInfo  # for an upload or a query, its description in the same form
    container: Container | None = None  # None for a query
    variables: Sequence[Variable] | None = None  # None if they are not known without a request
    sql: str | None = None
    loaded: Bookmark = field(default_factory=Bookmark)


def dataset_row(container: Container) -> Row:
    """Make the row of a dataset or workflow."""
    body = container.body
    start, end, *_ = [*_list(body.get("temporalRange")), None, None]
    texts = ((description_of(item, "title"), description_of(item, "url")) for item in _objects(body.get("links")))
    own = {
        "reference": str(container.reference),
        "kind": "workflow" if container.version_tag is None else "dataset",
        "tags": _names(body.get("tags")),
        "labels": _names(body.get("labels")),
        "links": "\n".join(" ".join(filter(None, link)) for link in texts) or None,
        "temporal_start": _time(start),
        "temporal_end": _time(end),
        "updated_at": _time(changed_at(container)),
    }
    return _row(DATASETS, body, container, own)


def version_row(container: Container, body: Json) -> Row:
    """Make the row of one version of a dataset."""
    current = text_of(object_of(container.body, "currentVersion"), "tag")
    own = {
        "dataset_reference": str(container.reference),
        "is_current": None if current is None else body["tag"] == current,
        "is_read": body["tag"] == container.version_tag,
    }
    return _row(VERSIONS, body, container, own)


def table_row(entry: Entry) -> Row:
    """Make the row of a stream."""
    table, loaded = entry.table, entry.loaded
    is_query = entry.kind == "query"
    own = {
        "dataset_reference": entry.container and str(entry.container.reference),
        "reference": None if is_query else ".".join(filter(None, (str(table.reference), table.upload))),
        "qualified_reference": None if is_query else table.pinned,
        # Rows of a load under way are not proved yet: they count when it is complete.
        "loaded_version_tag": loaded.version_tag if loaded.completed_at else None,
        "loaded_row_count": loaded.rows if loaded.completed_at else None,
        "loaded_at": loaded.completed_at and _time_text(loaded.completed_at),
    }
    return _row(TABLES, table.body, entry.container, own, entry=entry)


def variable_row(entry: Entry, position: int, variable: Variable, body: Json, label_count: int) -> Row:
    """Make the row of a variable; ``body`` is the server's answer about it alone, or empty."""
    own = {
        "position": position,
        "label": description_of(body, "label") or variable.label,
        "description": description_of(body) or variable.description,
        "value_label_count": label_count,
    }
    return _row(VARIABLES, body, entry.container, own, entry=entry, variable=variable)


def value_label_rows(entry: Entry, variable: Variable, body: Json) -> list[Row]:
    """Make the rows of a variable's value labels."""
    rows: dict[str, Row] = {}
    for item in _objects(body.get("valueLabels")):
        value = _value_text(item.get("value"))
        if value is not None and value not in rows:  # the value is a part of the key: only its first label counts
            own = {"value": value, "position": len(rows)}
            rows[value] = _row(VALUE_LABELS, item, entry.container, own, entry=entry, variable=variable)
    return list(rows.values())


def changed_at(container: Container) -> Any:  # noqa: ANN401 - any JSON value
    """Give when a dataset or workflow last changed, its documentation included, as the server says it."""
    # A workflow's answer has no updatedAt (redivis-api §5).
    return container.body.get("lastActive" if container.version_tag is None else "updatedAt")


def _row(topic: Topic, body: Mapping[str, Any], container: Container | None, own: Row, **more: Entry | Variable) -> Row:
    # Names that paths begin with.
    subject = {"body": body, "container": container, **more}
    own["owner"] = container and (text_of(object_of(container.body, "owner"), "name") or container.reference.owner)
    return {
        column.name: _CASTS[column.type](_value_at(subject, column.path)) if column.path else own[column.name]
        for column in topic.columns
    }


def _value_at(value: Any, path: str) -> Any:  # noqa: ANN401 - any JSON value
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else getattr(value, name, None)
    return value


def _value_text(value: Any) -> str | None:  # noqa: ANN401 - any JSON value
    """Write a labelled value as the text that a database casts the value to; None for what is no value."""
    if isinstance(value, bool):
        return str(value).lower()  # as PostgreSQL and DuckDB write it, not as Python does
    return str(value) if isinstance(value, (str, int, float)) else None


def _names(items: Any) -> str | None:  # noqa: ANN401 - any JSON value
    # Tags are objects with a name, and labels are texts (redivis-api §5).
    names = (item.get("name") if isinstance(item, dict) else item for item in _list(items))
    return ", ".join(name for name in names if isinstance(name, str)) or None


def _objects(items: Any) -> Iterator[Json]:  # noqa: ANN401 - any JSON value
    return (item for item in _list(items) if isinstance(item, dict))


def _list(items: Any) -> list[Any]:  # noqa: ANN401 - any JSON value
    return items if isinstance(items, list) else []


def _time(value: Any) -> str | None:  # noqa: ANN401 - any JSON value
    milliseconds = number_of(value)  # since the epoch (redivis-api §5)
    try:
        return None if milliseconds is None else _time_text(_EPOCH + timedelta(milliseconds=milliseconds))
    except OverflowError:
        return None


def _time_text(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).replace(tzinfo=None).isoformat()


# A value of another type than documented becomes null: a RECORD has to obey its SCHEMA.
_CASTS: Mapping[str, Callable[[Any], Any]] = {
    "string": lambda value: value if isinstance(value, str) and value else None,
    "integer": number_of,
    "boolean": lambda value: value if isinstance(value, bool) else None,
    "float": lambda value: value if isinstance(value, (int, float)) and not isinstance(value, bool) else None,
    "dateTime": _time,
}
