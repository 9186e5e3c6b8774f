"""The served content as values: owners, datasets, versions, tables and workflows; the module `folder` makes them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import pyarrow as pa

from redivis_emulator.references import Reference, TableName, escape, ref_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from redivis_emulator.render import ArrowCompression, ArrowStrings
    from redivis_emulator.sources import Source
    from redivis_emulator.variable_types import VariableType

OwnerKind = Literal["organization", "user"]
MemberStatus = Literal["pending", "approved", "rejected", "revoked", "left"]
AccessLevel = Literal["none", "overview", "metadata", "sample", "data", "edit"]
ACCESS_LEVELS: tuple[AccessLevel, ...] = ("none", "overview", "metadata", "sample", "data", "edit")


@dataclass(frozen=True)
class Member:
    """A member of an organization."""

    name: str
    full_name: str | None = None
    status: MemberStatus = "approved"
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Owner:
    """An organization or a user; only organizations have members."""

    name: str
    kind: OwnerKind = "organization"
    full_name: str | None = None
    ror: str | None = None
    members: tuple[Member, ...] = ()


@dataclass(frozen=True)
class Variable:
    """A column of a table.

    `stored` is the type on the wire; it may differ from the declared type in tables of datasets (redivis-api §6.2).
    """

    name: str
    type: VariableType
    stored: VariableType
    label: str | None = None
    description: str | None = None
    value_labels: Mapping[str, str] = field(default_factory=dict)
    is_file_id: bool = False


@dataclass(frozen=True)
class Part:
    """Rows of a table from one file.

    Args:
        path: The file.
        source: Its rows.
        rows: Number of rows to serve, from the first one on; a sample serves fewer than the file has.
    """

    path: Path
    source: Source
    rows: int

    @property
    def schema(self) -> pa.Schema:
        """Columns as they are stored."""
        return self.source.schema

    def table(self) -> pa.Table:
        """Return the rows, mapped into memory."""
        return self.source.rows.slice(0, self.rows)


@dataclass(frozen=True)
class RawFile:
    """A file of a file-index table. `md5` in base64, `added_at` in milliseconds since 1970."""

    id: str
    name: str
    path: Path
    size: int
    md5: str
    added_at: int


@dataclass(frozen=True)
class Table:
    """A table of one version of a dataset, or of a workflow.

    A released table has one item in `parts`; a table of a draft has one for each upload. `render.Style` uses
    `jsonl_nulls`, `arrow_strings` and `arrow_compression`; None: as the readings say.
    """

    id: str
    name: str
    variables: tuple[Variable, ...]
    parts: tuple[Part, ...]
    hash: str
    description: str | None = None
    entity: str | None = None
    upload_merge_strategy: Literal["append", "replace"] | None = None
    is_sample: bool = False
    files: tuple[RawFile, ...] | None = None
    num_rows: int = 0
    num_bytes: int = 0
    created_at: int = 0
    updated_at: int = 0
    jsonl_nulls: Literal["explicit", "absent"] | None = None
    arrow_strings: ArrowStrings | None = None
    arrow_compression: ArrowCompression | None = None

    def sample(self, ratio: float) -> Table:
        """Return the sample of this table: its first rows (redivis-api §11.17)."""
        parts = tuple(replace(part, rows=-int(-part.rows * ratio // 1)) for part in self.parts)
        return replace(self, parts=parts, is_sample=True, num_rows=sum(p.rows for p in parts), hash=self.hash[::-1])


@dataclass(frozen=True)
class Version:
    """A version of a dataset: tag `v1.0`, or `next` for a draft. Times in milliseconds since 1970."""

    tag: str
    index: int
    tables: tuple[Table, ...]
    label: str | None = None
    release_notes: str | None = None
    created_at: int = 0
    released_at: int | None = None
    is_deleted: bool = False

    @property
    def is_released(self) -> bool:
        """False for a draft."""
        return self.tag != "next"


@dataclass(frozen=True)
class Dataset:
    """A dataset with all its versions, oldest first, a draft last; `current` is the tag of the current version."""

    id: str
    name: str
    owner: Owner
    versions: tuple[Version, ...]
    current: str | None
    description: str | None = None
    labels: tuple[str, ...] = ()
    doi: str | None = None
    access_level: AccessLevel = "edit"
    public_access_level: AccessLevel = "none"
    sample_ratio: float | None = None
    methodology_markdown: str | None = None
    usage_markdown: str | None = None
    contact_info: str | None = None
    tags: tuple[str, ...] = ()
    links: tuple[Mapping[str, str], ...] = ()
    created_at: int = 0
    updated_at: int = 0

    def version(self, tag: str | None) -> Version | None:
        """Return the version with a tag; without a tag, the current release, or the draft if nothing is released."""
        if tag is None or tag == "current":
            return self.version(self.current or "next")
        return next((v for v in self.versions if v.tag == tag and not v.is_deleted), None)

    @property
    def visible_versions(self) -> tuple[Version, ...]:
        """The versions up to the current one, and the draft; later versions count as not yet released."""
        last = next((v.index for v in self.versions if v.tag == self.current), -1)
        return tuple(v for v in self.versions if v.index <= last or not v.is_released)


@dataclass(frozen=True)
class Workflow:
    """A workflow: its own tables, and references of the datasets whose tables it inherits."""

    id: str
    name: str
    owner: Owner
    tables: tuple[Table, ...]
    data_sources: tuple[str, ...] = ()
    description: str | None = None
    access_level: AccessLevel = "edit"
    public_access_level: AccessLevel = "none"
    created_at: int = 0


@dataclass(frozen=True)
class Library:
    """The whole content that is served at one time."""

    owners: tuple[Owner, ...]
    datasets: tuple[Dataset, ...]
    workflows: tuple[Workflow, ...]

    def owner(self, name: str) -> Owner | None:
        """Return an owner by name, ignoring case."""
        return next((o for o in self.owners if escape(o.name) == escape(name)), None)

    def dataset(self, reference: Reference) -> Dataset | None:
        """Return the dataset of a reference: by reference id if it has one, else by name."""
        return next((d for d in self.datasets if _names(reference, d)), None)

    def workflow(self, reference: Reference) -> Workflow | None:
        """Return the workflow of a reference: by reference id if it has one, else by name."""
        return next((w for w in self.workflows if _names(reference, w)), None)

    def release(self, reference: Reference) -> Library | None:
        """Return a library in which the version of a reference is the current one; None if there is no such version."""
        dataset = self.dataset(reference)
        if dataset is None or reference.version is None or dataset.version(reference.version) is None:
            return None
        released = replace(dataset, current=reference.version)
        return replace(self, datasets=tuple(released if d is dataset else d for d in self.datasets))

    def file(self, file_id: str) -> tuple[Dataset | Workflow, RawFile] | None:
        """Return a raw file and its dataset or workflow."""
        return self._files.get(file_id)

    @cached_property
    def _files(self) -> dict[str, tuple[Dataset | Workflow, RawFile]]:
        containers: list[Dataset | Workflow] = [*self.datasets, *self.workflows]
        tables = ((container, table) for container in containers for table in all_tables(container))
        return {file.id: (container, file) for container, table in tables for file in table.files or ()}


def file_index(files: Sequence[RawFile], name_column: str = "file_name") -> pa.Table:
    """Return raw files as a table (redivis-api §4.8)."""
    return pa.table(
        {
            "file_id": pa.array([file.id for file in files], pa.string()),
            name_column: pa.array([file.name for file in files], pa.string()),
            "size": pa.array([file.size for file in files], pa.int64()),
            "md5_hash": pa.array([file.md5 for file in files], pa.string()),
            "added_at": pa.array([file.added_at * 1000 for file in files], pa.timestamp("us")),
        }
    )


def find_table(tables: tuple[Table, ...], name: TableName) -> Table | None:
    """Return the table with this reference id if there is one in the name, else with this name."""
    if name.ref_id:
        return next((t for t in tables if ref_id(t.id) == name.ref_id), None)
    return next((t for t in tables if escape(t.name) == name.name), None)


def all_tables(container: Dataset | Workflow) -> tuple[Table, ...]:
    """Return the tables of a workflow, or the tables of all versions of a dataset."""
    if isinstance(container, Workflow):
        return container.tables
    return tuple(table for version in container.versions for table in version.tables)


def _names(reference: Reference, resource: Dataset | Workflow) -> bool:
    if escape(resource.owner.name) != reference.owner:
        return False
    if reference.ref_id:
        return ref_id(resource.id) == reference.ref_id
    return escape(resource.name) == reference.name
