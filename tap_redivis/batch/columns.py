"""What the files of a load hold beside the table's columns, for the encoders and for SCHEMA messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tap_redivis.model.added_columns import LOAD, ROW_KEY, TABLE, VERSION, VERSION_COLUMNS
from tap_redivis.model.batch_settings import BatchSettings
from tap_redivis.planning.bookmarks import PartialLoad


@dataclass(frozen=True)
class FileColumns:
    """The columns that a load's files hold beside the table's.

    Attributes:
        load: What the row keys of the load begin with.
        row_key: Whether each row has its row key.
        constants: Columns with one value in all rows, by name.
        origin: Where the rows of one file are from; Arrow and Parquet files have it in the metadata of their schema.
    """

    load: str
    row_key: bool
    constants: Mapping[str, str | int | None]
    origin: Mapping[str, str | int] = field(default_factory=dict)


def file_columns(names: Sequence[str], table: str, reading: PartialLoad, *, versions: bool) -> FileColumns:
    """Choose the columns of a load's files.

    Args:
        names: Columns that RECORD messages would have too.
        table: Reference of the table, pinned to its version.
        reading: The load.
        versions: Whether the files hold the version columns.
    """
    values: dict[str, str | int | None] = {TABLE: table, VERSION: reading.version_tag}
    constants = {name: values[name] for name in names if name in values}
    if versions:
        constants |= {LOAD: reading.table_version, VERSION: reading.version_tag}
    return FileColumns(reading.key, ROW_KEY in names, constants)


def with_version_columns(settings: BatchSettings, schema: dict[str, Any]) -> dict[str, Any]:
    """Add the version columns to a SCHEMA."""
    if not settings.version_columns:
        return schema
    new = {name: part for name, part in VERSION_COLUMNS.items() if name not in schema["properties"]}
    return {**schema, "properties": {**schema["properties"], **new}}
