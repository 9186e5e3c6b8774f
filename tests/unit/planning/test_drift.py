"""Where a catalog and a table's variables differ, and what the version tags say of it."""

from __future__ import annotations

import pytest

from tap_redivis.errors import SchemaChanged
from tap_redivis.model.columns import Column, ColumnType
from tap_redivis.model.tables import Variable
from tap_redivis.planning.drift import Drift, drift_of, fitted_columns, names_to_transfer

_COLUMNS = (Column("id", "integer"), Column("Name", "string"), Column("cost", "float"))
_VARIABLES = (Variable("id", "integer"), Variable("Name", "string"), Variable("cost", "float"))


def test_what_fits_has_no_changes() -> None:
    drift = drift_of(_COLUMNS, _VARIABLES, known=["id", "Name", "cost"], before="v1.0", now="v2.0")

    drift.require_fit("demo.visits")
    assert (drift.breaking, drift.added, drift.verdict) == ((), (), "")


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        (_VARIABLES[:2], "variable 'cost' is gone"),
        ((*_VARIABLES[:2], Variable("cost", "string")), "variable 'cost' was float and is now string"),
        ((*_VARIABLES[:2], Variable("cost", "decimal")), "variable 'cost' was float and is now decimal"),
        ((*_VARIABLES[:2], Variable("cost", "geography")), "variable 'cost' was float and is now geography"),
        ((*_VARIABLES[:2], Variable("COST", "float")), "variable 'cost' is now spelled 'COST'"),
        ((*_VARIABLES, Variable("more", "date")), "variable 'more' (date) is new"),
    ],
)
def test_each_kind_of_change_is_found(variables: tuple[Variable, ...], words: str) -> None:
    drift = drift_of(_COLUMNS, variables, known=["id", "NAME", "cost"])

    assert (drift.breaking, drift.added) == (((), (words,)) if words.endswith("is new") else ((words,), ()))


def test_a_variable_may_change_its_type_and_its_spelling() -> None:
    drift = drift_of(_COLUMNS[2:], [Variable("Cost", "integer")])

    assert drift.breaking == (
        "variable 'cost' is now spelled 'Cost'",
        "variable 'cost' was float and is now integer",
    )


@pytest.mark.parametrize("kind", ["string", "geography"])
def test_a_catalog_does_not_tell_geography_from_text(kind: str) -> None:
    assert not drift_of([Column("place", "string")], [Variable("place", kind)]).breaking


def test_a_deselected_variable_is_not_new() -> None:
    assert not drift_of(_COLUMNS[:1], _VARIABLES, known=["id", "Name", "cost"]).added


def test_without_a_catalog_nothing_is_new() -> None:
    assert not drift_of(_COLUMNS[:1], _VARIABLES).added


def test_of_names_that_differ_in_case_only_each_is_itself() -> None:
    """Redivis has none such, but who knows: an exact match goes first."""
    variables = [Variable("a", "integer"), Variable("A", "string")]

    assert drift_of([Column("a", "integer"), Column("A", "string")], variables, known=["a", "A"]) == Drift()


def test_an_error_lists_all_that_does_not_fit() -> None:
    """In one line, in the catalog's order; what is new is no part of it."""
    variables = [Variable("NAME", "string"), Variable("cost", "string"), Variable("more", "date")]

    drift = drift_of(_COLUMNS, variables, known=["id", "Name", "cost"], before="v1.4", now="v2.0")

    with pytest.raises(SchemaChanged) as refusal:
        drift.require_fit("demo.visits")

    assert str(refusal.value) == (
        "demo.visits: the catalog no longer fits the table: variable 'id' is gone; "
        "variable 'Name' is now spelled 'NAME'; variable 'cost' was float and is now string "
        "(v1.4 → v2.0 is a major version, as it should be). Discover again, or set on_schema_change to warn."
    )


@pytest.mark.parametrize(
    ("before", "now", "breaking", "verdict"),
    [
        ("v1.0", "v2.0", True, "v1.0 → v2.0 is a major version, as it should be"),
        ("v1.0", "v1.1", True,
         "v1.0 → v1.1 is a minor version, which should only add variables: its owner may want to know"),
        ("v1.0", "v1.1", False, "v1.0 → v1.1 is a minor version"),
        ("v1.9", "v10.0", False, "v1.9 → v10.0 is a major version"),
        ("v1.1", "v1.1", True, ""),
        (None, "v1.1", True, ""),
        ("v1.1", "next", True, ""),
        (None, None, True, ""),
    ],
)  # fmt: skip
def test_version_tags_say_whether_a_change_was_to_be_expected(
    before: str | None,
    now: str | None,
    breaking: bool,  # noqa: FBT001 - a column of the table above
    verdict: str,
) -> None:
    changed = _VARIABLES[:2] if breaking else (*_VARIABLES, Variable("more", "date"))

    assert drift_of(_COLUMNS, changed, known=["id", "Name", "cost"], before=before, now=now).verdict == verdict


def test_columns_know_how_they_arrive() -> None:
    variables = [Variable("ID", "integer"), Variable("cost", "geography")]

    assert fitted_columns(_COLUMNS, variables) == (
        Column("id", "integer"),
        Column("Name", "string", is_gone=True),
        Column("cost", "float", arrives_as="string", is_geography=True),
    )


@pytest.mark.parametrize(
    ("columns", "names"),
    [(("id", "cost"), None), (("ID", "COST"), None), (("cost", "id"), ["cost", "id"]), (("id", "gone"), ["id"])],
)
def test_variables_are_asked_for_as_the_server_spells_them(columns: tuple[str, ...], names: list[str] | None) -> None:
    kind: ColumnType = "integer"
    variables = [Variable("id", kind), Variable("cost", kind)]

    assert names_to_transfer([Column(name, kind) for name in columns], variables) == names
