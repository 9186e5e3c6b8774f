"""Redivis variables → JSON Schema, key properties and warnings; JSON Schema → columns. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tap_redivis.errors import ConfigError
from tap_redivis.model.columns import COLUMN_TYPES, INT64_MAX, INT64_MIN, KEY_TYPES, Column, ColumnType
from tap_redivis.model.tables import Variable

# What the catalog writes instead of a table's reference, and before an upload's.
DICTIONARY = "data dictionary"
UPLOAD = "upload "

_LONGEST_NAME_BYTES = 63  # targets.md, rule 12

_PROPERTIES: dict[str, dict[str, Any]] = {
    "string": {"type": ["string", "null"]},
    # targets.md, rule 5: by the bounds, targets choose a column of 64 bits.
    "integer": {"type": ["integer", "null"], "minimum": INT64_MIN, "maximum": INT64_MAX},
    "float": {"type": ["number", "null"]},
    "boolean": {"type": ["boolean", "null"]},
    "date": {"type": ["string", "null"], "format": "date"},
    "dateTime": {"type": ["string", "null"], "format": "date-time"},
    "time": {"type": ["string", "null"], "format": "time"},
    "geography": {"type": ["string", "null"]},
}
_FORMATS: dict[str, ColumnType] = {"date": "date", "date-time": "dateTime", "time": "time"}
_TYPES: dict[str, ColumnType] = {"integer": "integer", "number": "float", "boolean": "boolean"}


def schema_of(variables: Iterable[Variable], description: str | None) -> dict[str, Any]:
    """Build a table's JSON Schema: every property nullable and typed (targets.md, rules 9 and 11)."""
    schema = {"type": "object", "properties": {variable.name: _property(variable) for variable in variables}}
    return {**schema, "description": description} if description else schema


def without_times(schema: dict[str, Any]) -> dict[str, Any]:
    """Make properties for times properties for text: some targets refuse fractions of a second."""
    parts = schema["properties"].items()
    plain = {name: {k: v for k, v in part.items() if (k, v) != ("format", "time")} for name, part in parts}
    return {**schema, "properties": plain}


def replication_keys(variables: Iterable[Variable]) -> list[str]:
    """List the variables whose values have an order."""
    return [variable.name for variable in variables if variable.type in KEY_TYPES]


def columns_of(properties: Mapping[str, Mapping[str, Any]], selected: Iterable[str]) -> tuple[Column, ...]:
    """Read the columns back from a catalog's properties."""
    return tuple(Column(name, _column_type(properties[name])) for name in selected)


def column_type_of(variable: Variable) -> ColumnType:
    """Return the type that a variable's values are cast to; unknown types are read as text."""
    return _column_type(_property(variable))


def name_warnings(variables: Sequence[Variable]) -> Iterator[str]:
    """Find names that some target cannot hold, and types that are not known, in words for the log."""
    spellings: dict[str, list[str]] = defaultdict(list)
    for variable in variables:
        spellings[variable.name.lower()].append(variable.name)
        yield from _warnings(variable)
    for names in spellings.values():
        if len(names) > 1:
            yield f"the variables {', '.join(names)} differ only in case, which some targets cannot tell apart"


def _warnings(variable: Variable) -> Iterator[str]:
    name = variable.name
    if variable.type not in COLUMN_TYPES:
        yield f"variable {name!r} has the unknown type {variable.type!r} and is read as text"
    if len(name.encode()) > _LONGEST_NAME_BYTES:
        yield f"the name of variable {name!r} is longer than 63 bytes, which PostgreSQL cuts"
    if '"' in name:
        yield f"the name of variable {name!r} has a quotation mark, which some targets cannot hold"
    if name.lower().startswith("_sdc_"):
        yield f"the name of variable {name!r} begins with _sdc_, like the columns that targets add"


def _property(variable: Variable) -> dict[str, Any]:
    described = {"title": variable.label, "description": variable.description}
    base = _PROPERTIES.get(variable.type, _PROPERTIES["string"])
    return {**base, **{key: text for key, text in described.items() if text}}


def _column_type(schema: Mapping[str, Any]) -> ColumnType:
    kinds = schema.get("type") or []
    kinds = [kinds] if isinstance(kinds, str) else kinds
    # Users edit catalogs by hand.
    if not isinstance(kinds, list) or not all(isinstance(kind, str) for kind in kinds):
        raise ConfigError(f"{kinds!r} is no type of JSON Schema", where="catalog", hint="Discover again")
    known = [_TYPES[kind] for kind in kinds if kind in _TYPES]
    return known[0] if known else _FORMATS.get(str(schema.get("format")), "string")
