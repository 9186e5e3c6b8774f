"""Which tables there are, and what the server says of each: datasets, workflows and their tables → ``TableInfo``."""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from tap_redivis.client.answers import (
    TAG,
    count_of,
    description_of,
    has_name,
    misfit_of,
    object_of,
    path_of,
    reference_id_of,
    text_of,
    variable_of,
)
from tap_redivis.client.http import Api
from tap_redivis.errors import DataError, NotFound, RedivisError, Refused, Unauthorized, did_you_mean
from tap_redivis.model.references import (
    ContainerRef,
    TableRef,
    escape_name,
    is_glob,
    name_matches,
    names_sample,
    pinned,
    same_version,
    unpinned,
    url_path,
)
from tap_redivis.model.tables import Container, Json, TableInfo, Variable

_MOST_READINGS = 4
_PINNED = re.compile(r":(v\d{1,9}_\d{1,9}|next)(?=[:.]|$)")
_READING_LEVELS = frozenset({"data", "edit"})


class MetadataClient:
    """Asks a server for tables and variables; each container is asked for once, so a run sees one version of it."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self._containers: dict[ContainerRef, Container] = {}
        self._failures: dict[ContainerRef, Exception] = {}
        self._owners: dict[str, list[Json]] = {}

    def load(self, containers: Iterable[ContainerRef], workflows: Iterable[ContainerRef] = ()) -> None:
        """Ask for the tables of several containers side by side; those that are known cost no request.

        A failure is kept, and raised by ``container``: else each of its tables would wait for it again.
        """
        wanted = {_key(reference): reference for reference in containers}
        unknown = [each for key, each in wanted.items() if key not in self._containers.keys() | self._failures]
        list(self.api.workers.map(partial(self._load_one, frozenset(workflows)), unknown))

    def _load_one(self, workflows: frozenset[ContainerRef], reference: ContainerRef) -> None:
        try:
            container = self._load_workflow(reference) if reference in workflows else self._load(reference)
        except Exception as failure:  # noqa: BLE001 - of this container, whatever it is; the others go on
            self._failures[_key(reference)] = failure
            return
        followed = container.reference
        for known_as in (reference, followed, replace(followed, reference_id=None)):
            self._containers.setdefault(_key(known_as), container)

    def container(self, reference: ContainerRef) -> Container:
        """Return a dataset or workflow, by its name or its reference id."""
        self.load([reference])
        if failure := self._failures.get(_key(reference)):
            raise failure
        return self._containers[_key(reference)]

    def find(self, reference: TableRef) -> list[TableInfo]:
        """Find the tables that a reference, perhaps a glob, names; a ``NotFound`` says that there is none."""
        try:
            listed = self.container(reference.container).tables
        except Unauthorized:
            # redivis-api §13: without a token a public table may be asked for where its dataset may not.
            if not self.api.anonymous or reference.is_glob:
                raise
            return [self._public_table(reference)]
        tables = [(table, table.reference) for table in listed]
        found = [table for table, its in tables if its and reference.matches(its.name, its.reference_id)]
        if not found:
            raise NotFound(
                f"{reference.container} has no table {reference.name!r}"
                f"{did_you_mean(reference.name, [table.name for table, _ in tables])}",
                where=str(reference),
                hint="Check the table's name; `tap-redivis --discover` lists them",
            )
        return found

    def _public_table(self, reference: TableRef) -> TableInfo:
        item = self.api.get(url_path("tables", reference))
        if not has_name(item):
            raise DataError("the server's answer is no table", where=str(reference), hint="Try again later")
        base, asked = object_of(item, "container"), reference.container
        is_workflow = base.get("kind") == "workflow"
        # Only the references say which version it is.
        tag = _PINNED.search(f"{text_of(item, 'qualifiedReference')} {text_of(base, 'qualifiedReference')}")
        version = {"tag": tag[1].replace("_", ".")} if tag else {}
        levels = {key: item.get(key) for key in ("accessLevel", "publicAccessLevel")}
        body = {**base, **levels, "version": version}
        return _table(
            item, Container(_followed(asked, base), body, None if is_workflow else _checked_version(asked, body))
        )

    def variables(self, table: TableInfo) -> list[Variable]:
        """List a table's variables in their order; a ``DataError`` says that the list changed whenever it was read."""
        before: list[Variable] = []
        for _ in range(_MOST_READINGS):
            pages = [list(map(variable_of, page)) for page in self.api.page_lists(f"{table.uri}/variables")]
            # Between two pages a variable may move to the next one, and comes twice, or back, and is missing.
            listed = list(dict.fromkeys(variable for page in pages for variable in page))
            is_clear = len({variable.name for variable in listed}) == len(listed)
            if is_clear and (len(pages) == 1 or table.is_released or listed == before):
                return listed
            before = listed
        raise DataError(
            "the list of variables changes while it is read", where=table.pinned, hint="Run again when nobody edits it"
        )

    def check_version(self, reference: ContainerRef) -> None:
        """Raise a ``NotFound`` if a dataset does not have the version that a reference names."""
        if reference.version not in {None, "current"} and _key(reference) not in self._containers:
            _checked_version(reference, self._dataset(reference))

    def expand(self, reference: ContainerRef) -> Iterator[ContainerRef]:
        """Find the datasets that a reference, perhaps a glob, names; a ``NotFound`` says that there is none."""
        if not is_glob(reference.name):
            yield reference
            return
        found = [item for item in self._owned(reference.owner) if name_matches(reference.name, item["name"])]
        if not found:
            raise NotFound(
                f"no dataset of {reference.owner!r} matches {reference.name!r}",
                where="datasets",
                hint="Check the pattern, and that the token's user may see the datasets",
            )
        for item in found:
            yield replace(reference, name=item["name"], reference_id=reference_id_of(item))

    def _owned(self, owner: str) -> list[Json]:
        if owner not in self._owners:
            # Only a request tells whether the owner is an organization or a user.
            try:
                self._owners[owner] = list(self.api.pages(f"/organizations/{owner}/datasets"))
            except NotFound:
                self._owners[owner] = list(self.api.pages(f"/users/{owner}/datasets"))
        return self._owners[owner]

    def _load(self, reference: ContainerRef) -> Container:
        """Load a dataset; if there is none, a workflow: references to tables do not tell which it is."""
        try:
            body = self._dataset(reference)
        except NotFound:
            if reference.version or reference.sample:  # a workflow has neither
                raise
        else:
            version_tag = _checked_version(reference, body)
            return self._with_tables(reference, body, version_tag, url_path("datasets", reference))
        try:
            return self._load_workflow(reference)
        except NotFound:
            near = ""
            with suppress(RedivisError):  # the list only makes the message better
                names = [str(item["name"]) for item in self._owned(reference.owner)]
                near = did_you_mean(reference.name, names)
            raise NotFound(
                f"there is no such dataset or workflow{near}, or this token may not see it",
                where=str(reference),
                hint="Check the reference and the token's access",
            ) from None

    def _dataset(self, reference: ContainerRef) -> Json:
        try:
            return self.api.get(url_path("datasets", reference))
        except NotFound:
            if reference.version != "next":
                raise
            raise NotFound(
                "there is no draft, or this token may not edit the dataset",
                where=str(reference),
                hint="Leave the version out to follow the current one, or check the token's access",
            ) from None

    def _load_workflow(self, reference: ContainerRef) -> Container:
        path = url_path("workflows", reference)
        return self._with_tables(reference, self.api.get(path), None, path)

    def _with_tables(self, asked: ContainerRef, body: Json, version_tag: str | None, path: str) -> Container:
        followed = _followed(asked, body)
        container = Container(followed, body, version_tag)
        # The server's own uri is pinned to the version that it resolved: all tables are of that one (redivis-api §3.1).
        base = path_of(body) or path
        if asked.sample and version_tag and not names_sample(base):
            base = url_path("datasets", pinned(followed, version_tag))
        items = self.api.pages(f"{base}/tables")
        return replace(container, tables=tuple(_table(self._sampled(item, container), container) for item in items))

    def _sampled(self, item: Json, container: Container) -> Json:
        """Ask for a sample by its other spelling where the first one gives the whole table (redivis-api §13)."""
        exact = text_of(item, "qualifiedReference")
        if not (container.reference.sample and container.version_tag and exact) or item.get("isSample") is not False:
            return item
        with suppress(NotFound, Refused):
            sample = self.api.get(url_path("tables", f"{exact}:sample"))
            return sample if sample.get("isSample") and has_name(sample) else item
        return item


# Only a resource's own answer has the description and value labels of a variable, and the release notes of a version.
def get_variable(api: Api, table: TableInfo, variable: Variable) -> Json:
    """Get one variable with its description and value labels."""
    # redivis-api §3.2: the path of a variable ends in its name in lower case.
    return api.get(f"{table.uri}{url_path('variables', variable.name.lower())}")


def describe_variables(api: Api, table: TableInfo, variables: Iterable[Variable]) -> list[Variable]:
    """Add descriptions; each costs a request (redivis-api §5)."""

    def describe(variable: Variable) -> Variable:
        return replace(variable, description=description_of(get_variable(api, table, variable)))

    return list(api.workers.map(describe, variables))


def list_versions(api: Api, dataset: Container) -> list[Json]:
    """List those of a dataset's versions that this token may see."""
    return list(api.pages(f"{url_path('datasets', unpinned(dataset.reference))}/versions", known_by="tag"))


def get_version(api: Api, dataset: Container, tag: str) -> Json:
    """Get one version with its release notes."""
    path = url_path("datasets", unpinned(dataset.reference))
    return api.get(f"{path}{url_path('versions', tag.replace('.', '_'))}")


def _key(reference: ContainerRef) -> ContainerRef:
    # All references to one container share it; the reference id decides where there is one.
    return ContainerRef(
        owner=reference.owner.lower(),
        name="" if reference.reference_id else escape_name(reference.name).lower(),
        reference_id=reference.reference_id,
        version=None if reference.version == "current" else reference.version,
        sample=reference.sample,
    )


def _followed(asked: ContainerRef, body: Mapping[str, Any]) -> ContainerRef:
    return replace(asked, name=text_of(body, "name") or asked.name, reference_id=reference_id_of(body))


def _checked_version(reference: ContainerRef, body: Mapping[str, Any]) -> str:
    tag = text_of(object_of(body, "version"), "tag", TAG)
    if tag is None:
        raise DataError("the server does not say which version this is", where=str(reference), hint="Try again later")
    if reference.version not in {None, "current"} and not same_version(str(reference.version), tag):
        # An unknown version silently means the current one (redivis-api §3.1).
        raise NotFound(
            f"there is no version {reference.version}; the server offers {tag} instead",
            where=str(reference),
            hint="Check the version, or leave it out to follow the current one",
        )
    return tag


def _table(item: Json, container: Container) -> TableInfo:
    body, followed = container.body, container.reference
    name: str = item["name"]
    reference = TableRef(followed, name, reference_id_of(item))
    exact, uri = text_of(item, "qualifiedReference") or f"{followed}.{name}", path_of(item)
    if followed.sample and container.version_tag:
        if item.get("isSample") is False:
            raise NotFound(
                "the dataset has no sample; the server offers the whole table instead",
                where=str(reference),
                hint="Leave :sample out to read the whole table",
            )
        # What does not say :sample would be the whole table (redivis-api §11.17).
        if not names_sample(exact):
            exact = str(replace(reference, container=pinned(followed, container.version_tag)))
        uri = uri if uri and names_sample(uri) else None
    return TableInfo(
        reference=reference,
        pinned=exact,
        uri=uri or url_path("tables", exact),
        owner=text_of(object_of(body, "owner"), "name") or followed.owner,
        container=followed.name,
        name=name,
        description=description_of(item),
        version_tag=container.version_tag,
        rows=count_of(item.get("numRows")),
        bytes=count_of(item.get("numBytes")),
        hash=text_of(item, "hash"),
        updated_at=count_of(item.get("updatedAt")),
        unreadable=_unreadable(body, is_sample=bool(item.get("isSample"))),
        misfit=misfit_of(item, "numRows", "numBytes", "updatedAt"),
        body=item,
    )


def _unreadable(body: Mapping[str, Any], *, is_sample: bool) -> str | None:
    """Say why the rows cannot be read; None if they can, or if the access level does not tell it."""
    level = text_of(body, "accessLevel")
    levels = {level, text_of(body, "publicAccessLevel")} - {None}
    enough = _READING_LEVELS | ({"sample"} if is_sample else frozenset())
    # redivis-api §5: the levels of a workflow, "view" and "edit", say nothing about rows.
    if body.get("kind") == "workflow" or not levels or levels & enough:
        return None
    return f"your access to the dataset is {level or 'none'!r}, and reading rows needs 'data'"
