"""Which tables there are, and what the server says of each: datasets, workflows and their tables → ``TableInfo``."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tap_redivis.api import Api, Json, in_parallel
from tap_redivis.errors import DataError, NotFound
from tap_redivis.references import ContainerRef, TableRef, name_matches, same_version, url_path
from tap_redivis.settings import Settings

logger = logging.getLogger("tap-redivis")

_READING_LEVELS = frozenset({"data", "edit"})
ANONYMOUS_LIMIT_BYTES = 100_000_000
"""Public tables below this size can be read without a token (redivis-api §1.3)."""


@dataclass(frozen=True)
class Variable:
    """One variable of a table, as the server lists it.

    Attributes:
        name: In the server's spelling.
        type: A Redivis type, or one that this tap does not know.
        label: Short title, or None.
        description: Long text, or None.
    """

    name: str
    type: str
    label: str | None = None
    description: str | None = None


@dataclass(frozen=True)
class TableInfo:
    """One table of one version.

    Attributes:
        reference: How to find it again in the next run: pinned to a version only if the user pinned it.
        pinned: The server's reference of exactly what would be read now.
        uri: Path of the table below the endpoint.
        owner: Name of the owner.
        container: Name of the dataset or workflow.
        name: Name of the table.
        description: The table's description, or None.
        version_tag: ``v1.0``; ``next`` for a draft; None for a workflow.
        rows: Row count, None if unknown. Not to be trusted for a draft (redivis-api §5).
        bytes: Size, None if unknown.
        hash: Opaque content hash, or None.
        updated_at: Milliseconds since the epoch, or None.
        unreadable: Why this token cannot read the rows; None if it can.
    """

    reference: TableRef
    pinned: str
    uri: str
    owner: str
    container: str
    name: str
    description: str | None
    version_tag: str | None
    rows: int | None
    bytes: int | None
    hash: str | None
    updated_at: int | None
    unreadable: str | None

    @property
    def is_draft(self) -> bool:
        """Whether the version is unreleased, so that it may change at any time."""
        return self.version_tag == "next"


@dataclass(frozen=True)
class Container:
    """A dataset at one version, or a workflow, as the server has it now.

    Attributes:
        reference: As it was asked for.
        body: The server's answer.
        version_tag: Resolved version; None for a workflow.
    """

    reference: ContainerRef
    body: Json
    version_tag: str | None


class Metadata:
    """Asks a server for tables and variables; each container is asked for once, so a run sees one version of it.

    Args:
        api: The server.
    """

    def __init__(self, api: Api) -> None:
        self._api = api
        self._tables: dict[ContainerRef, tuple[TableInfo, ...]] = {}

    def discover(self, settings: Settings) -> list[TableInfo]:
        """Find every table that the settings name, each once.

        Raises:
            NotFound: A dataset, workflow or table is not there.
            ApiError: The server refused.
            DataError: The server resolved another version than was asked for.
        """
        datasets = [found for reference in settings.datasets for found in self._expand(reference)]
        containers = [*datasets, *settings.workflows, *(table.container for table in settings.tables)]
        self.load(containers, workflows=settings.workflows)
        tables = [table for reference in (*datasets, *settings.workflows) for table in self._tables[reference]]
        for reference in settings.tables:
            tables.extend(self.find(reference))
        return list({table.pinned: table for table in tables}.values())

    def load(self, containers: Iterable[ContainerRef], workflows: Iterable[ContainerRef] = ()) -> None:
        """Ask for several containers' tables at once, as far as they are not known yet."""
        known_workflows = set(workflows)
        missing = [reference for reference in dict.fromkeys(containers) if reference not in self._tables]

        def load_one(reference: ContainerRef) -> tuple[TableInfo, ...]:
            return self._load_workflow(reference) if reference in known_workflows else self._load(reference)

        self._tables.update(zip(missing, in_parallel(load_one, missing), strict=True))

    def find(self, reference: TableRef) -> list[TableInfo]:
        """Find the tables that a reference, perhaps a glob, names.

        Raises:
            NotFound: There is none.
        """
        self.load([reference.container])
        tables = self._tables[reference.container]
        found = [table for table in tables if reference.matches(table.name, table.reference.reference_id)]
        if not found:
            raise NotFound(
                f"{reference.container} has no table {reference.name!r}",
                where=str(reference),
                todo="Check the table's name; `tap-redivis --discover` lists them",
            )
        return found

    def variables(self, table: TableInfo) -> list[Variable]:
        """List a table's variables in their order.

        Raises:
            ApiError: The server refused.
        """
        items = self._api.pages(f"{table.uri}/variables")
        return [variable_of(item) for item in items]

    def described(self, table: TableInfo, variables: Iterable[Variable]) -> list[Variable]:
        """Add descriptions, which only each variable's own resource has (redivis-api §5).

        Raises:
            ApiError: The server refused.
        """

        def describe(variable: Variable) -> Variable:
            body = self._api.get(f"{table.uri}{url_path('variables', variable.name.lower())}")
            return replace(variable, description=_text(body, "description"))

        return in_parallel(describe, list(variables))

    def _expand(self, reference: ContainerRef) -> Iterator[ContainerRef]:
        if not reference.is_glob:
            yield reference
            return
        found = [item for item in self._owned(reference.owner) if name_matches(reference.name, item["name"])]
        if not found:
            raise NotFound(
                f"no dataset of {reference.owner!r} matches {reference.name!r}",
                where="datasets",
                todo="Check the pattern, and that the token's user may see the datasets",
            )
        for item in found:
            yield replace(reference, name=item["name"], reference_id=_text(item, "referenceId"))

    def _owned(self, owner: str) -> list[Json]:
        """List an owner's datasets; whether the owner is an organization or a user shows only by asking."""
        try:
            return list(self._api.pages(f"/organizations/{owner}/datasets"))
        except NotFound:
            return list(self._api.pages(f"/users/{owner}/datasets"))

    def _load(self, reference: ContainerRef) -> tuple[TableInfo, ...]:
        try:
            body = self._api.get(url_path("datasets", reference))
        except NotFound:
            if reference.version or reference.sample:
                raise
            return self._load_workflow_or_fail(reference)
        version_tag = _checked_version(reference, body)
        return self._tables_of(Container(reference, body, version_tag), url_path("datasets", reference))

    def _load_workflow_or_fail(self, reference: ContainerRef) -> tuple[TableInfo, ...]:
        """Take the container of a table reference for a workflow, if there is no such dataset."""
        try:
            return self._load_workflow(reference)
        except NotFound:
            raise NotFound(
                "there is no such dataset or workflow, or this token may not see it",
                where=str(reference),
                todo="Check the reference and the token's access",
            ) from None

    def _load_workflow(self, reference: ContainerRef) -> tuple[TableInfo, ...]:
        path = url_path("workflows", reference)
        return self._tables_of(Container(reference, self._api.get(path), None), path)

    def _tables_of(self, container: Container, path: str) -> tuple[TableInfo, ...]:
        # The server's own uri is pinned to the version that it resolved: all tables are of that one (redivis-api §3.1).
        base = _path(container.body) or path
        return tuple(_table(item, container) for item in self._api.pages(f"{base}/tables"))


def _checked_version(reference: ContainerRef, body: Mapping[str, Any]) -> str:
    tag = _text(_object(body, "version"), "tag")
    if tag is None:
        raise DataError("the server does not say which version this is", where=str(reference), todo="Try again later")
    if reference.version not in {None, "current"} and not same_version(str(reference.version), tag):
        # An unknown version silently means the current one (redivis-api §3.1).
        raise NotFound(
            f"there is no version {reference.version}; the server offers {tag} instead",
            where=str(reference),
            todo="Check the version, or leave it out to follow the current one",
        )
    return tag


def _table(item: Json, container: Container) -> TableInfo:
    body, reference = container.body, container.reference
    name: str = item["name"]
    pinned = _text(item, "qualifiedReference") or f"{reference}.{name}"
    followed = replace(reference, name=_text(body, "name") or reference.name, reference_id=_text(body, "referenceId"))
    return TableInfo(
        reference=TableRef(followed, name, _text(item, "referenceId")),
        pinned=pinned,
        uri=_path(item) or url_path("tables", pinned),
        owner=_text(_object(body, "owner"), "name") or reference.owner,
        container=followed.name,
        name=name,
        description=_text(item, "description"),
        version_tag=container.version_tag,
        rows=count_of(item.get("numRows")),
        bytes=count_of(item.get("numBytes")),
        hash=_text(item, "hash"),
        updated_at=count_of(item.get("updatedAt")),
        unreadable=_unreadable(body, is_sample=bool(item.get("isSample"))),
    )


def _unreadable(body: Mapping[str, Any], *, is_sample: bool) -> str | None:
    """Say why the rows cannot be read; a level that is not told, or a workflow's, speaks not against it."""
    level = _text(body, "accessLevel")
    levels = {level, _text(body, "publicAccessLevel")} - {None}
    enough = _READING_LEVELS | ({"sample"} if is_sample else frozenset())
    if body.get("kind") == "workflow" or not levels or levels & enough:
        return None
    return f"your access to the dataset is {level or 'none'!r}, and reading rows needs 'data'"


def variable_of(item: Json) -> Variable:
    """Read a variable of a list."""
    return Variable(
        name=item["name"],
        type=_text(item, "type") or "unknown",
        label=_text(item, "label"),
        description=_text(item, "description"),
    )


def _text(item: Mapping[str, Any], key: str) -> str | None:
    """Read a text; what is empty, or none, is not there."""
    value = item.get(key)
    return value if isinstance(value, str) and value else None


def _object(item: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = item.get(key)
    return value if isinstance(value, dict) else {}


def _path(item: Mapping[str, Any]) -> str | None:
    uri = _text(item, "uri")
    return uri if uri and uri.startswith("/") else None


def count_of(value: Any) -> int | None:  # noqa: ANN401 - any JSON value
    """Read a count, which older servers send as a string (redivis-api §5)."""
    try:
        return None if value is None else int(value)
    except (TypeError, ValueError, OverflowError):
        return None
