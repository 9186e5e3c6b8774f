"""The YAML files of a served folder: their keys, and how they are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import msgspec
import yaml

from redivis_emulator.access import RateLimit, Token
from redivis_emulator.errors import FolderError
from redivis_emulator.library import AccessLevel, MemberStatus, OwnerKind
from redivis_emulator.readings import Readings
from redivis_emulator.render import ArrowCompression, ArrowStrings
from redivis_emulator.service import Settings
from redivis_emulator.variable_types import VariableType

if TYPE_CHECKING:
    from pathlib import Path


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of the YAML structures: unknown keys are errors."""


class VariableNote(_Strict, frozen=True):
    """A variable in `dataset.yml`; `stored: string` makes it a retyped variable."""

    type: VariableType | None = None
    stored: VariableType | None = None
    label: str | None = None
    description: str | None = None
    value_labels: dict[Any, str] = {}
    is_file_id: bool = False


class TableNote(_Strict, frozen=True):
    """A table in `dataset.yml` or `workflow.yml`."""

    name: str | None = None
    id: str | None = None
    hash: str | None = None
    description: str | None = None
    entity: str | None = None
    upload_merge_strategy: Literal["append", "replace"] | None = None
    updated_at: int | None = None
    num_rows: int | None = None
    num_bytes: int | None = None
    repeat: Annotated[int, msgspec.Meta(ge=1)] = 1
    jsonl_nulls: Literal["explicit", "absent"] | None = None
    arrow_strings: ArrowStrings | None = None
    arrow_compression: ArrowCompression | None = None
    variables: dict[str, VariableNote] = {}


class VersionNote(_Strict, frozen=True):
    """A version in `dataset.yml`. A table in `tables` replaces the dataset's entry of the same name."""

    label: str | None = None
    release_notes: str | None = None
    released_at: int | None = None
    is_deleted: bool = False
    tables: dict[str, TableNote] = {}


class DatasetNote(_Strict, frozen=True):
    """The file `dataset.yml`."""

    name: str | None = None
    id: str | None = None
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
    links: tuple[dict[str, str], ...] = ()
    current_version: str | None = None
    updated_at: int | None = None
    versions: dict[str, VersionNote] = {}
    tables: dict[str, TableNote] = {}


class WorkflowNote(_Strict, frozen=True):
    """The file `workflow.yml`."""

    name: str | None = None
    id: str | None = None
    description: str | None = None
    access_level: AccessLevel = "edit"
    public_access_level: AccessLevel = "none"
    data_sources: tuple[str, ...] = ()
    tables: dict[str, TableNote] = {}


class EmulatorNote(_Strict, frozen=True):
    """The file `emulator.yml`. The keys of `tokens` are the bearer tokens."""

    tokens: dict[str, Token] = {}
    settings: Settings = Settings()
    readings: Readings = Readings()
    rate_limit: RateLimit = RateLimit()


class MemberNote(_Strict, frozen=True):
    """A member in `owner.yml`."""

    full_name: str | None = None
    status: MemberStatus = "approved"
    labels: tuple[str, ...] = ()


class OwnerNote(_Strict, frozen=True):
    """The file `owner.yml`."""

    kind: OwnerKind = "organization"
    full_name: str | None = None
    ror: str | None = None
    members: dict[str, MemberNote] = {}


Note = TypeVar("Note")


def read_yaml(path: Path, kind: type[Note]) -> Note:
    """Read a YAML file as a value of type `kind`; a missing or empty file gives the default value.

    Raises:
        FolderError: The file is not valid YAML (with the line), or has an unknown key or a wrong value.
    """
    try:
        content = yaml.safe_load(path.read_text()) if path.exists() else None
        return kind() if content is None else msgspec.convert(content, kind)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise FolderError(path, f"broken YAML{line}: {error.problem}") from error
    except (msgspec.ValidationError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise FolderError(path, str(error)) from error
