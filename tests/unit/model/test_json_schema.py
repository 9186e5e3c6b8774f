"""Variables become JSON Schema, and the columns come back from it, whoever wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_redivis.errors import ConfigError
from tap_redivis.model.columns import COLUMN_TYPES, INT64_MAX, INT64_MIN, Column
from tap_redivis.model.json_schema import column_type_of, columns_of, name_warnings, replication_keys, schema_of
from tap_redivis.model.tables import Variable

_TYPES = sorted(COLUMN_TYPES)
_TEXTS = st.none() | st.text()
_VARIABLES = st.lists(
    st.builds(Variable, st.text(min_size=1), st.sampled_from([*_TYPES, "unknown", "decimal"]), _TEXTS, _TEXTS),
    unique_by=lambda variable: variable.name,
)
_VALUES: Mapping[str, Any] = {
    "string": "text",
    "integer": 2**53 + 1,
    "float": 0.5,
    "boolean": True,
    "date": "2012-01-01",
    "dateTime": "2012-01-01T12:30:00",
    "time": "12:30:00",
    "geography": "POINT (1 2)",
}


def _properties(*variables: Variable) -> dict[str, Any]:
    properties: dict[str, Any] = schema_of(variables, None)["properties"]
    return properties


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("string", {"type": ["string", "null"]}),
        ("integer", {"type": ["integer", "null"], "minimum": INT64_MIN, "maximum": INT64_MAX}),
        ("float", {"type": ["number", "null"]}),
        ("boolean", {"type": ["boolean", "null"]}),
        ("date", {"type": ["string", "null"], "format": "date"}),
        ("dateTime", {"type": ["string", "null"], "format": "date-time"}),
        ("time", {"type": ["string", "null"], "format": "time"}),
        ("geography", {"type": ["string", "null"]}),
        ("unknown", {"type": ["string", "null"]}),
    ],
)
def test_each_type_has_its_schema(kind: str, expected: Mapping[str, Any]) -> None:
    """Design §4; a type that this tap does not know is text."""
    assert _properties(Variable("v", kind)) == {"v": expected}


@pytest.mark.parametrize("kind", _TYPES)
def test_a_value_of_each_type_obeys_its_schema(kind: str) -> None:
    schema = schema_of([Variable("v", kind)], None)

    jsonschema.validate({"v": _VALUES[kind]}, schema)
    jsonschema.validate({"v": None}, schema)


@pytest.mark.parametrize("number", [INT64_MAX + 1, INT64_MIN - 1])
def test_integers_beyond_64_bits_do_not_obey(number: int) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"v": number}, schema_of([Variable("v", "integer")], None))


def test_labels_and_descriptions_are_kept() -> None:
    schema = schema_of([Variable("v", "float", "Cost", "In dollars")], "All costs")

    assert schema["description"] == "All costs"
    assert schema["properties"]["v"] == {"type": ["number", "null"], "title": "Cost", "description": "In dollars"}


@given(_VARIABLES, _TEXTS)
def test_any_variables_make_a_valid_schema(variables: list[Variable], description: str | None) -> None:
    """In the order of the variables, every property nullable."""
    schema = schema_of(variables, description)

    jsonschema.Draft7Validator.check_schema(schema)
    assert list(schema["properties"]) == [variable.name for variable in variables]
    jsonschema.validate(dict.fromkeys(schema["properties"]), schema)


@given(_VARIABLES)
def test_columns_come_back_from_the_schema(variables: list[Variable]) -> None:
    """What discovery knew of a type survives the catalog; geography and unknown types are text."""
    properties = _properties(*variables)

    columns = columns_of(properties, properties)

    assert columns == tuple(Column(each.name, column_type_of(each)) for each in variables)
    for variable, column in zip(variables, columns, strict=True):
        assert column.type == ("string" if variable.type in {"geography", "unknown", "decimal"} else variable.type)


def test_only_selected_columns_come_back() -> None:
    properties = _properties(Variable("a", "string"), Variable("b", "date"), Variable("c", "float"))

    assert columns_of(properties, ["c", "b"]) == (Column("c", "float"), Column("b", "date"))


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "integer"}, "integer"),
        ({"type": ["null", "number"]}, "float"),
        ({"type": ["null", "boolean"]}, "boolean"),
        ({"type": "string", "format": "date-time"}, "dateTime"),
        ({"type": ["null", "string"], "format": "date"}, "date"),
        ({"type": "string", "format": "uuid"}, "string"),
        ({}, "string"),
    ],
)
def test_schemas_of_anothers_making_are_read(schema: Mapping[str, Any], expected: str) -> None:
    """Catalogs are edited by people and other programs."""
    (column,) = columns_of({"v": schema}, ["v"])

    assert column.type == expected


@pytest.mark.parametrize("kind", [5, True, {"string": 1}, [["string"]], [{}], ["null", None]])
def test_a_type_that_is_none_is_an_error(kind: object) -> None:
    with pytest.raises(ConfigError, match="is no type of JSON Schema"):
        columns_of({"v": {"type": kind}}, ["v"])


def test_variables_with_an_order_may_be_replication_keys() -> None:
    variables = [Variable(kind, kind) for kind in [*_TYPES, "unknown"]]

    assert set(replication_keys(variables)) == {"integer", "float", "string", "date", "dateTime", "time"}


@pytest.mark.parametrize(
    ("variables", "warning"),
    [
        ([Variable("Id", "string"), Variable("ID", "string")], "Id, ID differ only in case"),
        ([Variable("ü" * 32, "string")], "longer than 63 bytes"),
        ([Variable('a"b', "string")], "has a quotation mark"),
        ([Variable("_SDC_x", "string")], "begins with _sdc_"),
        ([Variable("v", "decimal")], "unknown type 'decimal' and is read as text"),
    ],
)
def test_what_some_target_cannot_hold_is_warned_of(variables: list[Variable], warning: str) -> None:
    (found,) = name_warnings(variables)

    assert warning in found


def test_ordinary_names_are_not_warned_of() -> None:
    """63 bytes are as many as PostgreSQL keeps; odd characters are no reason by themselves."""
    variables = [Variable("x" * 63, "string"), Variable("Größe [m]", "float"), Variable("sdc_", "date")]

    assert not list(name_warnings(variables))
