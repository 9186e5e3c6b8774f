"""Columns that the tap adds to a table's own, such as the row key: in catalogs, and in rows. Pure.

The row key is made of the Singer version of the load, a random part that is drawn for each read session, the ordinal of
the read stream in it, and the row's offset in the stream: the same however often a row is sent within a load.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from singer_sdk.singerlib import CatalogEntry, Metadata, Schema
from singer_sdk.singerlib.catalog import StreamMetadata

from tap_redivis.errors import ConfigError, did_you_mean
from tap_redivis.model.batch_settings import BatchSettings
from tap_redivis.model.columns import DELETED_AT, FILE_URI, ROW_KEY, TABLE, VERSION, VERSION_COLUMNS
from tap_redivis.model.file_settings import FILE_ID
from tap_redivis.model.settings import Settings

_SAID = "Added by tap-redivis: "
_PROPERTIES: dict[str, dict[str, Any]] = {
    ROW_KEY: {
        "type": ["string"],
        "title": "Row key",
        "description": f"{_SAID}the load, ordinal of the read stream, offset of the row in it",
    },
    TABLE: {
        "type": ["string"],
        "title": "Source table",
        "description": f"{_SAID}reference of the table that the row was read from, pinned to its version",
    },
    VERSION: {
        "type": ["string", "null"],
        "title": "Source version",
        "description": f"{_SAID}version tag of the dataset; null for workflows and queries",
    },
    FILE_URI: {
        "type": ["string", "null"],
        "title": "File",
        "description": f"{_SAID}where the contents of the file are that the row names; null if it names none",
    },
    DELETED_AT: {
        "type": ["string", "null"],
        "format": "date-time",
        "title": "Deleted at",
        "description": f"{_SAID}when the row was found gone (UTC); null while it is there",
    },
}


def added(properties: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """List the added columns among a catalog's properties; a variable may have one of their names.

    A variable is nullable, and described in other words.
    """
    known = {name: properties[name] for name in _PROPERTIES if name in properties}
    return [
        name
        for name, schema in known.items()
        if "null" not in (schema.get("type") or ()) or schema.get("description") == _PROPERTIES[name]["description"]
    ]


def properties_to_add(
    variables: Iterable[str], settings: Settings, *, keys: Collection[str], method: str, files: bool = False
) -> tuple[dict[str, Any], list[str]]:
    """Describe the columns to add to a table with these key properties and this replication method, in JSON Schema.

    Without variables the table is not known, and nothing is added.

    Returns:
        The properties, and the names that are left out since a variable has them, in whatever case.
    """
    # Many targets ignore the case of column names.
    taken = {name.lower() for name in variables}
    wanted = {
        ROW_KEY: settings.row_key and not keys and method == "FULL_TABLE",
        TABLE: settings.lineage,
        VERSION: settings.lineage,
        FILE_URI: files,
        DELETED_AT: method == "LOG_BASED",
    }
    names = [name for name, is_wanted in wanted.items() if is_wanted and taken]
    free = {name: dict(_PROPERTIES[name]) for name in names if name not in taken}
    return free, [name for name in names if name in taken]


def reconcile_columns(entry: CatalogEntry, settings: Settings) -> None:
    """Give a catalog's stream exactly the columns that the tap adds now, whoever wrote or edited the catalog.

    The key properties that it names beside the row key are the table's own, and are always selected; a table that has
    none gets the row key, where all rows are read.

    Raises:
        ConfigError: A selected stream has a key that is no column of it.
    """
    properties: dict[str, Schema] = dict(entry.schema.properties or {})
    # Settings and catalog may have changed since discovery: what was added then goes first.
    before = added({name: schema.to_dict() for name, schema in properties.items()})
    for name in before:
        del properties[name]
        entry.metadata.pop(("properties", name), None)
    _respell_keys(entry, properties)
    keys, root = _own_keys(entry, properties), _root(entry)
    by_key = "INCREMENTAL" if entry.replication_key or root.replication_key else "FULL_TABLE"
    method = entry.replication_method or root.forced_replication_method or by_key
    # Which tables are file indexes is known from discovery.
    is_index = FILE_URI in before and FILE_ID in properties
    file_variable = settings.file_variable_of(table_named(entry.table), is_index=is_index)
    file_variables = columns_named(filter(None, [file_variable]), properties, f"catalog, stream {entry.tap_stream_id}")
    new, _ = properties_to_add(properties, settings, keys=keys, method=method, files=bool(file_variables))
    properties |= {name: Schema.from_dict(schema) for name, schema in new.items()}
    entry.schema.properties = properties
    if entry.metadata:  # without any, all is selected
        automatic, names = Metadata.InclusionType.AUTOMATIC, (*new, *keys, *file_variables)
        entry.metadata.update({("properties", name): Metadata(inclusion=automatic) for name in names})
    entry.key_properties = root.table_key_properties = [ROW_KEY] if ROW_KEY in new else keys


def table_named(reference: str | None) -> str:
    """Take the table's name out of what a catalog says; empty if it names none, as for a query."""
    return next((part.split(":")[0] for part in (reference or "").split(".")[2:]), "")


def _respell_keys(entry: CatalogEntry, variables: Mapping[str, Schema]) -> None:
    """Give all keys the spelling of the columns: names of variables are matched without case (redivis-api §4.6)."""
    if not variables or not entry.metadata.resolve_selection().get((), True):
        return
    root, where = _root(entry), f"catalog, stream {entry.tap_stream_id}"
    for place, name in ((entry, "key_properties"), (root, "table_key_properties")):
        keys = getattr(place, name)
        if isinstance(keys, list) and all(isinstance(key, str) for key in keys):
            setattr(place, name, columns_named(keys, (*variables, ROW_KEY), where))
    for place in (entry, root):
        if isinstance(place.replication_key, str) and place.replication_key:
            [place.replication_key] = columns_named([place.replication_key], variables, where)


def columns_named(names: Iterable[str], columns: Collection[str], where: str) -> list[str]:
    """Find columns by name, whatever the case, in their own spelling; a ``ConfigError`` names the missing ones."""
    spelled = {**{column.lower(): column for column in columns}, **{column: column for column in columns}}
    found = {name: spelled.get(name) or spelled.get(name.lower()) for name in names}
    if missing := [name for name, column in found.items() if column is None]:
        raise ConfigError(
            f"there is no column {', '.join(f'{name}{did_you_mean(name, columns)}' for name in missing)}",
            where=where,
            hint=f"Name some of {', '.join(columns)}",
        )
    return list(dict.fromkeys(column for column in found.values() if column))


def _own_keys(entry: CatalogEntry, variables: Mapping[str, Schema]) -> list[str]:
    """Return the key properties that were not added: of the entry or, as Meltano writes them, of its metadata."""
    for keys in (entry.key_properties, _root(entry).table_key_properties):
        if keys is not None and not (isinstance(keys, list) and all(isinstance(key, str) for key in keys)):
            raise ConfigError(
                "the key properties are no list of names",
                where=f"catalog, stream {entry.tap_stream_id}",
                hint="Correct them, or discover again",
            )
        if own := [key for key in keys or () if key != ROW_KEY or key in variables]:
            return own
    return []


def _root(entry: CatalogEntry) -> StreamMetadata:
    root = entry.metadata.get(())
    return root if isinstance(root, StreamMetadata) else StreamMetadata()


def with_version_columns(settings: BatchSettings, schema: dict[str, Any]) -> dict[str, Any]:
    """Add the version columns to a SCHEMA."""
    if not settings.version_columns:
        return schema
    new = {name: part for name, part in VERSION_COLUMNS.items() if name not in schema["properties"]}
    return {**schema, "properties": {**schema["properties"], **new}}
