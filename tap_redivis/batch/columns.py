"""What a stream's files and their SCHEMA hold beside the table's columns, and which stream maps they can honour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tap_redivis.model.added_columns import LOAD, ROW_KEY, TABLE, VERSION, VERSION_COLUMNS
from tap_redivis.model.batch_settings import BatchSettings
from tap_redivis.planning.bookmarks import PartialLoad

Constant = str | int | None
"""What all rows of a file have in a column: text or a whole number."""


@dataclass(frozen=True)
class FileColumns:
    """What a load's files hold beside the table's columns.

    Attributes:
        load: Singer version of the load, of which row keys are made.
        row_key: Whether each row has its row key.
        constants: Columns that have one value in all rows.
    """

    load: int
    row_key: bool
    constants: Mapping[str, Constant]


def file_columns(names: Sequence[str], table: str, reading: PartialLoad, *, versions: bool) -> FileColumns:
    """Say what a load's files hold beside the table's columns.

    Args:
        names: Columns that are added to records too.
        table: Reference of the table, pinned to its version.
        reading: The load.
        versions: Whether the version columns are added.
    """
    values: dict[str, Constant] = {TABLE: table, VERSION: reading.version_tag}
    constants = {name: values[name] for name in names if name in values}
    if versions:
        constants |= {LOAD: reading.table_version, VERSION: reading.version_tag}
    return FileColumns(reading.table_version, ROW_KEY in names, constants)


def with_version_columns(settings: BatchSettings, schema: dict[str, Any]) -> dict[str, Any]:
    """Add the version columns to a SCHEMA."""
    if not settings.version_columns:
        return schema
    new = {name: part for name, part in VERSION_COLUMNS.items() if name not in schema["properties"]}
    return {**schema, "properties": {**schema["properties"], **new}}
