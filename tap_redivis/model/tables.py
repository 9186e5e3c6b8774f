"""Tables, their variables, and the datasets and workflows that hold them, as the server describes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tap_redivis.model.references import ContainerRef, TableRef

Json = dict[str, Any]
"""A JSON object, as the server sends it."""


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
        reference: How to find it again in the next run: pinned to a version only if the user pinned it. None for a
            query, which is no table of any dataset.
        pinned: The server's reference of exactly what would be read now.
        uri: Path of the table below the endpoint; empty for a query that was not run yet.
        owner: Name of the owner; empty for a query.
        container: Name of the dataset or workflow; empty for a query.
        name: Name of the table.
        description: The table's description, or None.
        version_tag: ``v1.0``; ``next`` for a draft; None for a workflow.
        rows: Row count, None if unknown. Not to be trusted for a draft (redivis-api §5).
        bytes: Size, None if unknown.
        hash: Opaque content hash, or None.
        updated_at: Milliseconds since the epoch, or None.
        unreadable: Why this token cannot read the rows; None if it can.
        body: The server's own answer, for what only the data dictionary tells.
        upload: Name of the upload that this is; None for a table.
    """

    reference: TableRef | None
    pinned: str
    uri: str
    owner: str
    container: str
    name: str
    description: str | None = None
    version_tag: str | None = None
    rows: int | None = None
    bytes: int | None = None
    hash: str | None = None
    updated_at: int | None = None
    unreadable: str | None = None
    body: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    upload: str | None = None

    @property
    def is_draft(self) -> bool:
        """Whether the version is unreleased, so that it may change at any time."""
        return self.version_tag == "next"

    @property
    def is_upload(self) -> bool:
        """Whether it is an upload of a draft's table, not a table."""
        return self.upload is not None

    @property
    def is_released(self) -> bool:
        """Whether it is of a released version, which never changes."""
        return self.version_tag is not None and not self.is_draft


@dataclass(frozen=True)
class Container:
    """A dataset at one version, or a workflow, as the server has it now.

    Attributes:
        reference: How to find it again in the next run: pinned to a version only if the user pinned it.
        body: The server's answer.
        version_tag: Resolved version; None for a workflow.
        tables: Its tables.
    """

    reference: ContainerRef
    body: Json
    version_tag: str | None
    tables: tuple[TableInfo, ...] = ()
