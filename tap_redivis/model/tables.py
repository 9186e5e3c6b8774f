"""Tables, their variables, and the datasets and workflows that hold them, as the server describes them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tap_redivis.model.references import ContainerRef, TableRef

Json = dict[str, Any]  # a JSON object, as the server sends it

ANONYMOUS_LIMIT_BYTES = 100_000_000  # redivis-api §1.3: smaller public tables can be read without a token


@dataclass(frozen=True)
class Variable:
    """One variable of a table, as the server lists it."""

    name: str
    type: str  # a Redivis type, or one that this tap does not know
    label: str | None = None
    description: str | None = None  # lists do not have it (redivis-api §5)


@dataclass(frozen=True)
class TableInfo:
    """One table of one version, an upload, or a query's result; a query has no owner, container and reference."""

    reference: TableRef | None  # finds the table again in the next run: has a version only if the user gave one
    pinned: str  # the server's reference of exactly what would be read now
    uri: str  # path below the endpoint; empty for a query that was not run yet
    owner: str
    container: str  # name of the dataset or workflow
    name: str
    description: str | None = None
    version_tag: str | None = None  # "v1.0"; "next" for a draft; None for a workflow
    rows: int | None = None  # for a draft not to be trusted (redivis-api §5)
    bytes: int | None = None
    hash: str | None = None  # opaque; of the content (redivis-api §9)
    updated_at: int | None = None  # milliseconds since the epoch
    unreadable: str | None = None  # why this token cannot read the rows
    misfit: str | None = None  # what the server says of the table that cannot be true
    body: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)  # for the data dictionary
    upload: str | None = None  # name of the upload that this is

    @property
    def is_draft(self) -> bool:
        """Whether the version is unreleased, so that it may change at any time."""
        return self.version_tag == "next"

    @property
    def is_file_index(self) -> bool:
        """Whether each row names a file, with its size and MD5 (redivis-api §6.3)."""
        return self.body.get("isFileIndex") is True

    @property
    def is_released(self) -> bool:
        """Whether it is of a released version, which never changes."""
        return self.version_tag is not None and not self.is_draft


@dataclass(frozen=True)
class Container:
    """A dataset at one version, or a workflow, as the server has it now."""

    reference: ContainerRef  # finds it again in the next run: has a version only if the user gave one
    body: Json
    version_tag: str | None  # the version that the server resolved; None for a workflow
    tables: tuple[TableInfo, ...] = ()
