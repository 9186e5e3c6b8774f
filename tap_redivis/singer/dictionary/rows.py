"""What the server says of a dataset, version, table, variable or value label → a row of the data dictionary. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, Literal

from tap_redivis.client.answers import count_of, object_of, text_of
from tap_redivis.model.tables import Container, TableInfo, Variable
from tap_redivis.planning.bookmarks import Bookmark

Row = dict[str, Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_SIDES = {"west": "westLongitude", "east": "eastLongitude", "south": "southLatitude", "north": "northLatitude"}


@dataclass(frozen=True)
class Entry:
    """A stream of the tap that the dictionary describes.

    Attributes:
        stream: The name that its rows have in the target.
        kind: What it reads.
        table: The table; of an upload or a query, its description in the same form.
        container: Its dataset or workflow; None for a query.
        variables: Its columns if they are known without asking, else None.
        sql: A query's text.
        loaded: Its bookmark.
    """

    stream: str
    kind: Literal["table", "upload", "query"]
    table: TableInfo
    container: Container | None = None
    variables: Sequence[Variable] | None = None
    sql: str | None = None
    loaded: Bookmark = field(default_factory=Bookmark)


def dataset_row(container: Container) -> Row:
    """Make the row of a dataset or workflow in ``redivis_datasets``."""
    body, owner = container.body, object_of(container.body, "owner")
    start, end = _pair(body.get("temporalRange"))
    box = object_of(body, "geoBBox")
    return {
        "reference": str(container.reference),
        "kind": "workflow" if container.version_tag is None else "dataset",
        "owner": _owner(container),
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
        "temporal_start": _time_of(start),
        "temporal_end": _time_of(end),
        **{side: _number(box.get(key)) for side, key in _SIDES.items()},
        "created_at": _time_of(body.get("createdAt")),
        "updated_at": _time_of(changed_at(container)),
    }


def version_row(container: Container, body: Mapping[str, Any]) -> Row:
    """Make the row of one version in ``redivis_versions``."""
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
        "created_at": _time_of(body.get("createdAt")),
        "updated_at": _time_of(body.get("updatedAt")),
        "released_at": _time_of(body.get("releasedAt")),
    }


def table_row(entry: Entry) -> Row:
    """Make the row of a stream in ``redivis_tables``."""
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
        "created_at": _time_of(body.get("createdAt")),
        "updated_at": _time_of(table.updated_at),
        "loaded_version_tag": loaded.version_tag if loaded.completed_at else None,
        "loaded_row_count": loaded.rows if loaded.completed_at else None,
        "loaded_at": loaded.completed_at and _time_text(loaded.completed_at),
    }


def variable_row(entry: Entry, place: int, variable: Variable, body: Mapping[str, Any], label_count: int) -> Row:
    """Make the row of a variable in ``redivis_variables``.

    Args:
        entry: The stream.
        place: 0 for the stream's first variable.
        variable: The variable as the list of variables has it.
        body: The server's answer about this variable alone; empty if this token may not see it.
        label_count: How many value labels it has.
    """
    return {
        "stream": entry.stream,
        "variable": variable.name,
        **_place(entry),
        "position": place,
        "type": variable.type,
        "label": text_of(body, "label") or variable.label,
        "description": text_of(body, "description") or variable.description,
        "is_file_id": _truth(body.get("isFileId")),
        "value_label_count": label_count,
    }


def value_label_rows(entry: Entry, variable: Variable, body: Mapping[str, Any]) -> list[Row]:
    """Make the rows of a variable in ``redivis_value_labels``; a value that is labelled twice has its first label."""
    labels: dict[str, Row] = {}
    for item in _objects(body.get("valueLabels")):
        value = _value_text(item.get("value"))
        if value is not None:
            own = {"value": value, "label": text_of(item, "label"), "position": len(labels)}
            labels.setdefault(value, {"stream": entry.stream, "variable": variable.name, **_place(entry), **own})
    return list(labels.values())


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
    for item in _objects(items):
        yield " ".join(filter(None, (text_of(item, "title"), text_of(item, "url"))))


def _objects(items: Any) -> Iterator[Mapping[str, Any]]:  # noqa: ANN401 - any JSON value
    return (item for item in items if isinstance(item, dict)) if isinstance(items, list) else iter(())


def _pair(value: Any) -> tuple[Any, Any]:  # noqa: ANN401 - any JSON value
    return (value[0], value[1]) if isinstance(value, list) and len(value) == len("ab") else (None, None)


def _truth(value: Any) -> bool | None:  # noqa: ANN401 - any JSON value
    return value if isinstance(value, bool) else None


def _number(value: Any) -> float | None:  # noqa: ANN401 - any JSON value
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _time_of(value: Any) -> str | None:  # noqa: ANN401 - any JSON value
    """Write a time of the API, milliseconds since the epoch (redivis-api §5), as a RECORD has it."""
    milliseconds = count_of(value)
    try:
        return None if milliseconds is None else _time_text(_EPOCH + timedelta(milliseconds=milliseconds))
    except OverflowError:
        return None


def _time_text(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).replace(tzinfo=None).isoformat()


def changed_at(container: Container) -> Any:  # noqa: ANN401 - any JSON value
    """Give when a dataset or workflow last changed, its documentation included, as the server says it."""
    return container.body.get("lastActive" if container.version_tag is None else "updatedAt")
