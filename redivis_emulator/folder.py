"""Reads a folder into a library.

::

    emulator.yml                         tokens, settings                          (optional)
    OWNER/owner.yml                      kind, full name                           (optional)
    OWNER/DATASET/dataset.yml            metadata of dataset, versions, tables     (optional)
    OWNER/DATASET/TABLE.csv              a dataset with one version, v1.0
    OWNER/DATASET/v1.0/TABLE.parquet     ... or with versions: v1.0, v1_1, ... and next, the draft
    OWNER/DATASET/next/TABLE/part.csv    uploads to a table of the draft
    OWNER/DATASET/v1.0/TABLE.files/...   a file-index table of the files in it
    OWNER/WORKFLOW/workflow.yml          makes the folder a workflow; its tables are files in the folder
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from redivis_emulator.errors import FolderError
from redivis_emulator.library import (
    Dataset,
    Library,
    Member,
    Owner,
    Part,
    RawFile,
    Table,
    Variable,
    Version,
    Workflow,
    file_index,
)
from redivis_emulator.notes import (
    DatasetNote,
    OwnerNote,
    TableNote,
    VariableNote,
    VersionNote,
    WorkflowNote,
    read_yaml,
)
from redivis_emulator.references import make_id, version_tag
from redivis_emulator.sources import SUFFIXES, md5
from redivis_emulator.variable_types import variable_type

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from redivis_emulator.sources import Shelf, Source
    from redivis_emulator.variable_types import VariableType

_FILES_SUFFIX = ".files"
_CREATED_AT = 1_700_000_000_000  # constant: metadata must be the same in every run
_DAY = 86_400_000


def read_library(folder: Path, shelf: Shelf) -> Library:
    """Read all owners, datasets and workflows of a folder.

    Raises:
        FolderError: The folder is missing, or a file in it cannot be served.
    """
    if not folder.is_dir():
        raise FolderError(folder, "no such folder")
    owners: list[Owner] = []
    datasets: list[Dataset] = []
    workflows: list[Workflow] = []
    for place in _folders(folder):
        note = read_yaml(place / "owner.yml", OwnerNote)
        members = tuple(Member(name, m.full_name, m.status, m.labels) for name, m in note.members.items())
        if members and note.kind == "user":
            raise FolderError(place / "owner.yml", "members: only an organization has them")
        owner = Owner(place.name, note.kind, note.full_name, note.ror, members)
        owners.append(owner)
        for child in _folders(place):
            if (child / "workflow.yml").exists():
                workflows.append(_workflow(child, owner, shelf))
            else:
                datasets.append(_dataset(child, owner, shelf))
    return Library(tuple(owners), tuple(sorted(datasets, key=lambda d: d.id)), tuple(workflows))


def _folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith((".", "_")))


def _workflow(folder: Path, owner: Owner, shelf: Shelf) -> Workflow:
    path = folder / "workflow.yml"
    note = read_yaml(path, WorkflowNote)
    tables = _TableMaker((owner.name, folder.name), shelf, [note.tables]).tables(folder)
    _check_notes(path, "tables", note.tables, [tables])
    return Workflow(
        id=note.id or make_id(owner.name, folder.name),
        name=note.name or folder.name,
        owner=owner,
        tables=_by_id(tables),
        data_sources=note.data_sources,
        description=note.description,
        access_level=note.access_level,
        public_access_level=note.public_access_level,
        created_at=_CREATED_AT,
    )


def _dataset(folder: Path, owner: Owner, shelf: Shelf) -> Dataset:
    path = folder / "dataset.yml"
    note = read_yaml(path, DatasetNote)
    versions = _versions(folder, owner, note, shelf)
    released = [v.tag for v in versions if v.is_released and not v.is_deleted]
    current = note.current_version and version_tag(note.current_version)
    if note.current_version and current not in released:
        raise FolderError(path, f"current_version: there is no version {note.current_version!r}")
    return Dataset(
        id=note.id or make_id(owner.name, folder.name),
        name=note.name or folder.name,
        owner=owner,
        versions=versions,
        current=current or (released[-1] if released else None),
        description=note.description,
        labels=note.labels,
        doi=note.doi,
        access_level=note.access_level,
        public_access_level=note.public_access_level,
        sample_ratio=note.sample_ratio,
        methodology_markdown=note.methodology_markdown,
        usage_markdown=note.usage_markdown,
        contact_info=note.contact_info,
        tags=note.tags,
        links=note.links,
        created_at=_CREATED_AT,
        updated_at=_CREATED_AT + len(versions) * _DAY if note.updated_at is None else note.updated_at,
    )


def _versions(folder: Path, owner: Owner, note: DatasetNote, shelf: Shelf) -> tuple[Version, ...]:
    path = folder / "dataset.yml"
    found = {tag: child for child in _folders(folder) if (tag := version_tag(child.name)) and tag != "current"}
    found = found or {"v1.0": folder}
    notes = {version_tag(name) or name: version for name, version in note.versions.items()}
    if unknown := notes.keys() - found.keys():
        raise FolderError(path, f"versions: there is no folder for {', '.join(sorted(unknown))}")
    versions: list[Version] = []
    made: list[dict[str, Table]] = []
    for index, tag in enumerate(sorted(found, key=_version_order)):
        version = notes.get(tag, VersionNote())
        maker = _TableMaker((owner.name, folder.name), shelf, [version.tables, note.tables])
        previous = versions[-1].tables if versions else ()
        tables = maker.draft_tables(found[tag], previous) if tag == "next" else maker.tables(found[tag])
        _check_notes(path, f"versions.{tag}.tables", version.tables, [tables])
        made.append(tables)
        versions.append(_version(tag, index, tables, version))
    _check_notes(path, "tables", note.tables, made)
    return tuple(versions)


def _version_order(tag: str) -> tuple[float, ...]:
    return (float("inf"),) if tag == "next" else tuple(int(number) for number in tag[1:].split("."))


def _version(tag: str, index: int, tables: dict[str, Table], note: VersionNote) -> Version:
    created_at = _CREATED_AT + index * _DAY
    released_at = created_at if note.released_at is None else note.released_at
    return Version(
        tag=tag,
        index=index,
        tables=_by_id(tables),
        label=note.label,
        release_notes=note.release_notes,
        created_at=created_at,
        released_at=None if tag == "next" else released_at,
        is_deleted=note.is_deleted,
    )


def _check_notes(path: Path, key: str, notes: dict[str, TableNote], made: Sequence[dict[str, Table]]) -> None:
    """Raise `FolderError` if the YAML describes a table, or a column of one, that none of these sets of tables has."""
    for name, note in notes.items():
        tables = [tables[name] for tables in made if name in tables]
        if not tables:
            raise FolderError(path, f"{key}.{name}: there is no such table")
        columns = {variable.name for table in tables for variable in table.variables}
        for variable in note.variables:
            if variable not in columns:
                raise FolderError(path, f"{key}.{name}.variables.{variable}: there is no such column")


def _by_name(folder: Path, tables: Iterable[tuple[str, Table]]) -> dict[str, Table]:
    named: dict[str, Table] = {}
    for name, table in tables:
        if name in named:
            raise FolderError(folder, f"there are two files of the table {name}")
        named[name] = table
    return named


def _by_id(tables: dict[str, Table]) -> tuple[Table, ...]:
    return tuple(sorted(tables.values(), key=lambda t: t.id))


@dataclass(frozen=True)
class _TableMaker:
    """Makes tables from files; the results are keyed by the name of the file, as in the YAML.

    `container` holds the names of owner and dataset; of `notes` (the YAML), the first that names a table counts.
    """

    container: tuple[str, str]
    shelf: Shelf
    notes: Sequence[dict[str, TableNote]]

    def tables(self, folder: Path) -> dict[str, Table]:
        """Return a table for each table file and each folder `NAME.files`."""
        tables = [(p.stem, self._table(p.stem, [p])) for p in _table_files(folder)]
        tables += [(p.stem, self._file_index(p)) for p in _folders(folder) if p.suffix == _FILES_SUFFIX]
        return _by_name(folder, tables)

    def draft_tables(self, folder: Path, previous: Iterable[Table]) -> dict[str, Table]:
        """Return the tables of a draft: those of `tables`, and one table for each folder of uploads."""
        before = {table.name: table for table in previous}
        uploads = [p for p in _folders(folder) if p.suffix != _FILES_SUFFIX]
        tables = [(p.name, self._table(p.name, _table_files(p), before)) for p in uploads]
        return _by_name(folder, [*self.tables(folder).items(), *tables])

    def _note(self, name: str) -> TableNote:
        return next((notes[name] for notes in self.notes if name in notes), TableNote())

    def _table(self, stem: str, paths: list[Path], previous: dict[str, Table] | None = None) -> Table:
        note = self._note(stem)
        stored = {name: kind for name, v in note.variables.items() if (kind := v.stored or v.type)}
        parts = [_part(path, self.shelf.open(path, stored, note.repeat)) for path in paths]
        name = note.name or stem
        if note.upload_merge_strategy == "append" and previous and name in previous:
            parts = [*previous[name].parts, *parts]
        return self._finish(stem, note, tuple(parts))

    def _finish(self, stem: str, note: TableNote, parts: tuple[Part, ...]) -> Table:
        rows = sum(part.rows for part in parts)
        return Table(
            id=note.id or make_id(*self.container, stem),
            name=note.name or stem,
            variables=_variables(parts, note),
            parts=parts,
            hash=note.hash or _digest([part.source for part in parts]),
            description=note.description,
            entity=note.entity,
            upload_merge_strategy=note.upload_merge_strategy,
            num_rows=rows if note.num_rows is None else note.num_rows,
            num_bytes=sum(p.source.num_bytes for p in parts) if note.num_bytes is None else note.num_bytes,
            created_at=_CREATED_AT,
            updated_at=_CREATED_AT if note.updated_at is None else note.updated_at,
            jsonl_nulls=note.jsonl_nulls,
            arrow_strings=note.arrow_strings,
            arrow_compression=note.arrow_compression,
        )

    def _file_index(self, folder: Path) -> Table:
        files = tuple(self._raw_file(folder, path) for path in sorted(folder.rglob("*")) if path.is_file())
        source = self.shelf.keep(file_index(files))
        note = self._note(folder.stem)
        table = self._finish(folder.stem, note, (_part(folder, source),))
        variables = (replace(table.variables[0], is_file_id=True), *table.variables[1:])
        return replace(table, variables=variables, files=files)

    def _raw_file(self, folder: Path, path: Path) -> RawFile:
        name = path.relative_to(folder).as_posix()
        digest = md5(path)
        letters = base64.urlsafe_b64encode(hashlib.blake2b(digest, digest_size=16).digest()).decode().rstrip("=")
        return RawFile(
            id=f"{make_id(*self.container, folder.stem, name)}.{letters}",
            name=name,
            path=path,
            size=path.stat().st_size,
            md5=base64.b64encode(digest).decode(),
            added_at=_CREATED_AT,
        )


def _part(path: Path, source: Source) -> Part:
    return Part(path, source, source.num_rows)


def _table_files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix in SUFFIXES and p.is_file())


def _digest(sources: list[Source]) -> str:
    digests = "".join(source.digest * source.repeats for source in sources)
    return hashlib.md5(digests.encode(), usedforsecurity=False).hexdigest()


def _variables(parts: tuple[Part, ...], note: TableNote) -> tuple[Variable, ...]:
    """Return the union of the columns of all parts: first those of the first part, then those that later parts add."""
    stored: dict[str, VariableType] = {}
    for part in parts:
        for field in part.schema:
            kind = variable_type(field.type) or "string"
            # Uploads may have different types for a column; text can hold all of them.
            stored[field.name] = kind if stored.get(field.name, kind) == kind else "string"
    return tuple(_variable(name, kind, note.variables.get(name, VariableNote())) for name, kind in stored.items())


def _variable(name: str, kind: VariableType, note: VariableNote) -> Variable:
    return Variable(
        name=name,
        type=note.type or kind,
        stored=note.stored or note.type or kind,
        label=note.label,
        description=note.description,
        value_labels={_text(value): label for value, label in note.value_labels.items()},
        is_file_id=note.is_file_id,
    )


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
