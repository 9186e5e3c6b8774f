"""Answers to GET requests for metadata: datasets, versions, tables, variables, uploads (redivis-api §4.1 to §4.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from redivis_emulator import resources
from redivis_emulator.access import access_level, require_organization
from redivis_emulator.call import Call, whole_number
from redivis_emulator.errors import ApiError, invalid, not_found
from redivis_emulator.lookups import tables_at, upload_uri, uploads
from redivis_emulator.references import escape, version_tag
from redivis_emulator.resources import DatasetPlace, Json, WorkflowPlace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from redivis_emulator.library import Owner, Part, Variable
    from redivis_emulator.lookups import Finder, Found, Readable

Item = TypeVar("Item")
_PAGE_SIZE = 100
# The API reduces a larger `maxResults` to these (redivis-api §2, §11.19).
_MAX_PAGE_SIZE = 1000
_MAX_VARIABLES_PAGE_SIZE = 10000


def page(
    call: Call, kind: str, items: Sequence[Item], key: Callable[[Item], str], to_json: Callable[[Item], Json]
) -> Json:
    """Return one page of a list. Its token is the key of the last item, so that pages are stable (redivis-api §2).

    Raises:
        ApiError: `maxResults` or `pageToken` is invalid.
    """
    size = call.tweaks.page_size or whole_number("maxResults", call.query.get("maxResults")) or _PAGE_SIZE
    size = min(size, _MAX_VARIABLES_PAGE_SIZE if kind == "variable" else _MAX_PAGE_SIZE)
    asked = whole_number("maxResults", call.query.get("maxResults")) or 0
    if call.readings.large_pages == "refused" and asked >= _MAX_PAGE_SIZE and kind not in {"table", "variable"}:
        raise invalid(f"maxResults must be less than {_MAX_PAGE_SIZE}.")
    if call.readings.list_order == "reversed" and kind not in {"variable", "version"}:
        items = items[::-1]
    keys = [key(item) for item in items]
    token = call.query.get("pageToken")
    if token and token not in keys:
        msg = f"The pageToken {token!r} is not valid."
        raise invalid(msg)
    start = keys.index(token) + 1 if token else 0
    shown = items[start : start + size]
    more = start + size < len(items)
    return resources.listing(kind, [to_json(item) for item in shown], keys[start + size - 1] if more else None)


def me(finder: Finder) -> Json:
    """Answer `/users/me`."""
    if finder.caller is None:
        raise ApiError(401, "invalid_token", "This needs a valid access token.")
    return {"kind": "user", "name": finder.caller.user, "fullName": finder.caller.user}


def openapi() -> Json:
    """Answer with a description of the API in OpenAPI's form: of its read sessions, which clients ask about."""
    formats = {"type": "string", "enum": ["arrow", "jsonl", "csv"], "default": "arrow"}
    body = {"type": "object", "properties": {"format": formats}}
    content = {"application/json": {"schema": body}}
    session = {"post": {"requestBody": {"content": content}, "responses": {"200": {"description": "A read session"}}}}
    return {
        "openapi": "3.0.3",
        "info": {"title": "Redivis (emulator)", "version": "v1"},
        "paths": {"/tables/{tableReference}/readSessions": session},
    }


def datasets(finder: Finder, call: Call, owner: Owner) -> Json:
    """Answer with the datasets of an owner that are visible to the caller, sorted by id."""
    wanted = words(call, "labels")
    places = []
    for dataset in finder.library.datasets:
        version = dataset.version("current")
        if dataset.owner != owner or version is None or not wanted <= set(dataset.labels):
            continue
        place = DatasetPlace(dataset, version)
        if finder.visible(place):
            places.append(place)
    return page(
        call,
        "dataset",
        places,
        lambda place: place.container.id,
        lambda place: resources.dataset_item(place, access_level(finder.caller, place.container)),
    )


def dataset(finder: Finder, text: str) -> Json:
    """Answer with a dataset."""
    place = finder.dataset(text)
    return resources.dataset(place, access_level(finder.caller, place.container))


def versions(finder: Finder, call: Call, text: str) -> Json:
    """Answer with the versions of a dataset, newest first; only editors see drafts."""
    dataset = finder.dataset(text).container
    editor = access_level(finder.caller, dataset) == "edit"
    shown = [v for v in reversed(dataset.visible_versions) if v.is_released or editor]
    places = [DatasetPlace(dataset, version) for version in shown]
    return page(call, "version", places, lambda place: place.version.tag, resources.version_item)


def version(finder: Finder, text: str, tag: str) -> Json:
    """Answer with a version."""
    return resources.version(finder.version(text, version_tag(tag)))


def dataset_tables(finder: Finder, call: Call, text: str) -> Json:
    """Answer with the tables of a dataset version, sorted by id."""
    place = finder.dataset(text)
    return page(
        call, "table", tables_at(place), lambda table: table.id, lambda table: resources.table_item(place, table)
    )


def workflows(finder: Finder, call: Call, owner: Owner) -> Json:
    """Answer with the workflows of an owner that are visible to the caller."""
    places = [WorkflowPlace(w) for w in finder.library.workflows if w.owner == owner]
    visible = [place for place in places if finder.visible(place)]
    return page(call, "workflow", visible, lambda place: place.container.id, resources.workflow_item)


def workflow(finder: Finder, text: str) -> Json:
    """Answer with a workflow."""
    return resources.workflow(finder.workflow(text))


def workflow_tables(finder: Finder, call: Call, text: str) -> Json:
    """Answer with the tables of a workflow."""
    inherited = call.query.get("includeDataSources") == "true"
    tables = finder.workflow_tables(finder.workflow(text), inherited=inherited)
    return page(call, "table", tables, lambda f: f.table.id, lambda f: resources.table_item(f.place, f.table))


def data_sources(finder: Finder, call: Call, text: str) -> Json:
    """Answer with the datasets and workflows whose tables a workflow inherits."""
    workflow = finder.workflow(text)
    return page(
        call,
        "dataSource",
        finder.data_sources(workflow),
        lambda place: place.container.id,
        lambda place: resources.data_source(workflow, place),
    )


def data_source(finder: Finder, text: str, source: str) -> Json:
    """Answer with a data source of a workflow."""
    return resources.data_source(*finder.data_source(text, source))


def members(finder: Finder, call: Call, organization: Owner) -> Json:
    """Answer with the members of an organization, all or those with a status or with labels."""
    require_organization(finder.caller)
    statuses = words(call, "statuses") | words(call, "status")
    labels = words(call, "labels")
    shown = [m for m in organization.members if (not statuses or m.status in statuses) and labels <= set(m.labels)]
    return page(call, "member", shown, lambda member: member.name, lambda each: resources.member(organization, each))


def member(finder: Finder, organization: Owner, name: str) -> Json:
    """Answer with a member of an organization."""
    require_organization(finder.caller)
    for known in organization.members:
        if escape(known.name) == escape(name):
            return resources.member(organization, known)
    raise not_found(f"The member {name}")


def words(call: Call, name: str) -> set[str]:
    """Return a query parameter that is a comma list."""
    return {word.strip() for word in call.query.get(name, "").split(",") if word.strip()}


def nothing(finder: Finder, call: Call, text: str, kind: str) -> Json:
    """Answer with an empty list: the emulator's workflows have only tables."""
    finder.workflow(text)
    no_items: list[Json] = []
    return page(call, kind.removesuffix("s"), no_items, str, dict)


def table(finder: Finder, found: Found) -> Json:
    """Answer with a table."""
    return resources.table(found.place, found.table, access_level(finder.caller, found.place.container))


def variables(call: Call, readable: Readable) -> Json:
    """Answer with the variables of a table, upload or query, in the order of the columns."""
    kind = call.query.get("type")
    shown = [(i, v) for i, v in enumerate(readable.variables) if kind in {None, v.type}]
    return page(
        call,
        "variable",
        shown,
        lambda item: str(item[0]),
        lambda item: resources.variable_item(readable.uri, *item),
    )


def variable(readable: Readable, name: str) -> Json:
    """Answer with a variable."""
    return resources.variable(readable.uri, *find_variable(readable, name))


def find_variable(readable: Readable, name: str) -> tuple[int, Variable]:
    """Return a variable and its index by name, ignoring case.

    Raises:
        ApiError: There is no variable with this name.
    """
    for index, value in enumerate(readable.variables):
        if value.name.lower() == name.lower():
            return index, value
    raise not_found(f"The variable {name}")


def upload_list(call: Call, found: Found) -> Json:
    """Answer with the uploads of a draft table."""
    return page(call, "upload", uploads(found), lambda part: part.path.name, lambda part: upload_item(found, part))


def upload_item(found: Found, part: Part) -> Json:
    """Return the list form of an upload."""
    return {
        "kind": "upload",
        "uri": upload_uri(found, part),
        "url": f"{found.place.url}/tables/{found.table.id}/uploads/{escape(part.path.name)}",
        "name": part.path.name,
        "status": "completed",
        "hash": part.source.digest,
        "size": part.source.file_bytes,
        "numRows": part.rows,
        "numBytes": part.source.num_bytes,
    }


def upload(found: Found, part: Part) -> Json:
    """Return the get form of an upload."""
    kind = {".csv": "delimited", ".jsonl": "ndjson", ".parquet": "parquet"}[part.path.suffix]
    is_csv = kind == "delimited"
    return {
        **upload_item(found, part),
        "type": kind,
        "hasHeaderRow": is_csv,
        "delimiter": "," if is_csv else None,
        "quoteCharacter": '"' if is_csv else None,
        "escapeCharacter": None,
        "skipBadRecords": False,
        "badRecordsCount": 0,
        "hasQuotedNewlines": is_csv,
        "nullMarkers": [],
        "errorMessage": None,
    }
