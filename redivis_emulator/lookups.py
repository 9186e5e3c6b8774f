"""Looks up the resource that a reference names, and checks the caller's access."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pyarrow as pa

from redivis_emulator.access import access_level, is_public, require
from redivis_emulator.errors import invalid, not_found
from redivis_emulator.library import Dataset, Owner, Part, Table, Variable, Version, find_table
from redivis_emulator.readings import DEFAULTS, Readings
from redivis_emulator.references import Reference, escape, parse, parse_table
from redivis_emulator.resources import DatasetPlace, Place, WorkflowPlace, table_reference
from redivis_emulator.variable_types import ARROW_TYPES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redivis_emulator.access import Token
    from redivis_emulator.library import AccessLevel, Library, OwnerKind, RawFile


@dataclass(frozen=True)
class Found:
    """A table and its dataset version or workflow."""

    place: Place
    table: Table

    @property
    def uri(self) -> str:
        """Path of the table."""
        return f"/tables/{table_reference(self.place, self.table)}"

    @property
    def read_level(self) -> AccessLevel:
        """The access level that is required to read the rows."""
        return "sample" if self.table.is_sample else "data"


@dataclass(frozen=True)
class Readable:
    """A resource with rows: a table, an upload or the result of a query.

    `public` says whether the rows can be read without a token; `is_draft`, whether its parts are uploads.
    """

    uri: str
    variables: tuple[Variable, ...]
    parts: tuple[Part, ...]
    num_bytes: int
    public: bool = False
    table: Table | None = None
    is_draft: bool = False

    @property
    def schema(self) -> pa.Schema:
        """All columns, as they are on the wire."""
        return wire_schema(self.variables)


@dataclass(frozen=True)
class Finder:
    """Looks up resources for one caller.

    All methods raise `ApiError`: 404 for a resource that does not exist or is invisible, 401 and 403 as in
    `access.require`.
    """

    library: Library
    caller: Token | None
    readings: Readings = DEFAULTS

    def owner(self, kind: OwnerKind, name: str) -> Owner:
        """Return an organization or a user; clients request both to learn the kind (redivis-api §10)."""
        owner = self.library.owner(name)
        if owner is None or owner.kind != kind:
            raise not_found(f"The {kind} {name}")
        return owner

    def visible(self, place: Place) -> bool:
        """Return whether a workflow, or a dataset at this version, is visible to the caller."""
        level = access_level(self.caller, place.container)
        is_draft = isinstance(place, DatasetPlace) and not place.version.is_released
        return level == "edit" if is_draft else level != "none"

    def dataset(self, text: str, level: AccessLevel = "overview") -> DatasetPlace:
        """Return the dataset that a reference names, at its version."""
        return self.dataset_place(_parse(text, self.readings), text, level)

    def dataset_place(self, reference: Reference, text: str, level: AccessLevel) -> DatasetPlace:
        """Return the dataset that a parsed reference names, at its version."""
        dataset = self.library.dataset(reference)
        if dataset is None:
            raise not_found(f"The dataset {text}")
        require(self.caller, dataset, level)
        version = self._version(dataset, reference.version, text)
        if not reference.sample or self.readings.sample == "table":
            return DatasetPlace(dataset, version)
        if dataset.sample_ratio is None:
            raise not_found(f"The sample {text}")
        return DatasetPlace(dataset, version, sample=True)

    def version(self, text: str, tag: str | None) -> DatasetPlace:
        """Return a dataset at the version of the path `/versions/:tag`; an unknown version is an error here."""
        place = self.dataset(text)
        version = place.container.version(tag) if tag else None
        if version is None or version not in place.container.visible_versions:
            raise not_found(f"This version of {text}")
        self._require_version(place.container, version)
        return DatasetPlace(place.container, version)

    def _version(self, dataset: Dataset, tag: str | None, text: str) -> Version:
        known = {str(version.tag): version for version in dataset.visible_versions}
        named = known.get(tag or "")
        is_deleted = named is not None and named.is_deleted
        if named and is_deleted and self.readings.deleted_versions == "readable":
            return named
        if (not named and tag != "next") or (is_deleted and self.readings.deleted_versions == "current"):
            # redivis-api §3.1: the API reads an unknown version as the current one, without an error.
            tag = None
        version = dataset.version(tag)
        if version is None:
            raise not_found(f"The version of {text}")
        self._require_version(dataset, version)
        return version

    def _require_version(self, dataset: Dataset, version: Version) -> None:
        if not version.is_released:
            require(self.caller, dataset, "edit")

    def workflow(self, text: str) -> WorkflowPlace:
        """Return the workflow that a reference names."""
        workflow = self.library.workflow(_parse(text, self.readings))
        if workflow is None:
            raise not_found(f"The workflow {text}")
        require(self.caller, workflow, "overview")
        return WorkflowPlace(workflow)

    def table(self, text: str, level: AccessLevel = "metadata") -> Found:
        """Return the table that a complete reference names."""
        reference = _parse(text, self.readings)
        if reference.table is None:
            msg = f"{text!r} is no reference to a table: owner.dataset.table is."
            raise invalid(msg)
        place: Place
        workflow = self.library.workflow(reference)
        if workflow and not self.library.dataset(reference):
            place = WorkflowPlace(workflow)
        else:
            place = self.dataset_place(reference, text, "overview")
        require(self.caller, place.container, level)
        table = find_table(tables_at(place), reference.table)
        if table is None:
            raise not_found(f"The table {text}")
        if reference.table.sample and self.readings.sample != "dataset":
            return _sample(place, table, text, is_of_dataset=self.readings.sample == "both")
        return Found(place, table)

    def check_readable(self, found: Found) -> None:
        """Check that the caller may read the rows of a table."""
        require(self.caller, found.place.container, found.read_level)

    def workflow_table(self, workflow: str, name: str) -> Found:
        """Return a table of a workflow: its own, or one of its data sources (redivis-api §3.2)."""
        place = self.workflow(workflow)
        wanted = parse_table(name)
        for found in self.workflow_tables(place, inherited=True):
            if find_table((found.table,), wanted) and found.table.is_sample >= wanted.sample:
                require(self.caller, found.place.container, "metadata")
                return found
        raise not_found(f"The table {name} of {workflow}")

    def workflow_tables(self, place: WorkflowPlace, *, inherited: bool) -> list[Found]:
        """Return the tables of a workflow; with `inherited`, also those of its data sources."""
        places = [place, *(self.data_sources(place) if inherited else ())]
        return [Found(each, table) for each in places for table in tables_at(each)]

    def data_sources(self, place: WorkflowPlace) -> list[Place]:
        """Return the datasets and workflows whose tables a workflow inherits."""
        return [
            self.dataset(text) if self.library.dataset(_parse(text)) else self.workflow(text)
            for text in place.container.data_sources
        ]

    def data_source(self, workflow: str, source: str) -> tuple[WorkflowPlace, Place]:
        """Return a workflow and the data source with this id or reference."""
        place, reference = self.workflow(workflow), parse(source)
        named = reference and (self.library.dataset(reference) or self.library.workflow(reference))
        for each in self.data_sources(place):
            if each.container.id == source or each.container is named:
                return place, each
        raise not_found(f"The data source {source} of {workflow}")

    def upload(self, found: Found, name: str) -> Part:
        """Return an upload of a table by its name with underscores for dots (redivis-api §3.2)."""
        for part in uploads(found):
            if escape(part.path.name) == escape(name):
                return part
        raise not_found(f"The upload {name}")

    def file(self, file_id: str) -> RawFile:
        """Return a raw file."""
        known = self.library.file(file_id)
        if known is None:
            raise not_found(f"The file {file_id}")
        container, file = known
        require(self.caller, container, "data")
        return file


def wire_schema(variables: Sequence[Variable]) -> pa.Schema:
    """Return the wire schema of variables."""
    return pa.schema([(variable.name, ARROW_TYPES[variable.stored]) for variable in variables])


def tables_at(place: Place) -> tuple[Table, ...]:
    """Return the tables of a dataset version (or their samples), or of a workflow."""
    if isinstance(place, WorkflowPlace):
        return place.container.tables
    ratio = place.container.sample_ratio
    if place.sample and ratio is not None:
        return tuple(table.sample(ratio) for table in place.version.tables)
    return place.version.tables


def uploads(found: Found) -> tuple[Part, ...]:
    """Return the uploads of a table; only tables of drafts list them (redivis-api §4.4)."""
    place = found.place
    return found.table.parts if isinstance(place, DatasetPlace) and not place.version.is_released else ()


def readable_table(found: Found) -> Readable:
    """Return a table as a resource with rows."""
    return Readable(
        uri=found.uri,
        variables=found.table.variables,
        parts=found.table.parts,
        num_bytes=found.table.num_bytes,
        public=is_public(found.place.container, found.read_level) and not uploads(found),
        table=found.table,
        is_draft=bool(uploads(found)),
    )


def readable_upload(found: Found, part: Part) -> Readable:
    """Return an upload as a resource with rows; its variables have the types of the table."""
    stored = set(part.schema.names)
    variables = tuple(v for v in found.table.variables if v.name in stored)
    return Readable(upload_uri(found, part), variables, (part,), part.source.num_bytes)


def upload_uri(found: Found, part: Part) -> str:
    """Return the path of an upload."""
    return f"/uploads/{table_reference(found.place, found.table)}.{part.path.name.replace('.', '_')}"


def _sample(place: Place, table: Table, text: str, *, is_of_dataset: bool) -> Found:
    """Return the sample that `:sample` after the name of a table means (redivis-api §13)."""
    ratio = None if isinstance(place, WorkflowPlace) else place.container.sample_ratio
    if isinstance(place, WorkflowPlace) or ratio is None:
        raise not_found(f"The sample {text}")
    return Found(replace(place, sample=is_of_dataset), table if table.is_sample else table.sample(ratio))


def _parse(text: str, readings: Readings = DEFAULTS) -> Reference:
    reference = parse(text)
    if reference is None:
        msg = f"{text!r} is not a valid reference."
        raise invalid(msg)
    names = [reference.name, *([reference.table.name] if reference.table else [])]
    if readings.empty_names == "refused" and not all(names):
        raise invalid(f"{text!r} has an empty name.")
    return reference
