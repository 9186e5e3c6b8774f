"""Drift: how the catalog and the server's variables differ, and whether the version tags announce it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from tap_redivis.errors import SchemaChanged
from tap_redivis.model.columns import Column, ColumnType
from tap_redivis.model.json_schema import column_type_of
from tap_redivis.model.tables import Variable
from tap_redivis.planning.decision import version_numbers


@dataclass(frozen=True)
class SchemaDifference:
    """One difference between the catalog and the server's variables."""

    kind: Literal["added", "removed", "retyped", "respelled"]  # respelled: in upper and lower case
    variable: str  # spelled as in the catalog; as on the server if it is new
    words: str


@dataclass(frozen=True)
class Drift:
    """The differences of one table."""

    changes: tuple[SchemaDifference, ...] = ()  # what no longer fits, in the catalog's order; then the new variables
    before: str | None = None  # version tag of the last complete load
    now: str | None = None

    @property
    def breaking(self) -> tuple[SchemaDifference, ...]:
        """The differences that ``on_schema_change`` decides about: all but new variables."""
        return tuple(change for change in self.changes if change.kind != "added")

    @property
    def added(self) -> tuple[SchemaDifference, ...]:
        """The variables that the catalog does not have."""
        return tuple(change for change in self.changes if change.kind == "added")

    @property
    def level(self) -> Literal["major", "minor"] | None:
        """Which number of the version tag changed since the last complete load; None if unknown, or if neither did."""
        before, now = version_numbers(self.before), version_numbers(self.now)
        if before is None or now is None or before == now:
            return None
        return "minor" if before[0] == now[0] else "major"

    @property
    def verdict(self) -> str:
        """Whether the version tags announce the differences, in words; empty if there is nothing to say."""
        # redivis-api §5: a new major version may rename, remove and retype variables, a minor one only adds some.
        if self.level is None or not self.changes:
            return ""
        step = f"{self.before} → {self.now} is a {self.level} version"
        if not self.breaking:
            return step
        if self.level == "major":
            return f"{step}, as it should be"
        return f"{step}, which should only add variables: its owner may want to know"

    def refusal(self, table: str) -> SchemaChanged | None:
        """Make the error for a catalog that does not fit the table; None if it fits."""
        if not self.breaking:
            return None
        differences = "; ".join(change.words for change in self.breaking)
        verdict = f" ({self.verdict})" if self.verdict else ""
        return SchemaChanged(
            f"the catalog no longer fits the table: {differences}{verdict}",
            where=table,
            hint="Discover again, or set on_schema_change to warn",
        )

    @property
    def news(self) -> str:
        """Say in one line which variables are new."""
        return f"not in the catalog, and left out: {'; '.join(change.words for change in self.added)}"


def drift_of(
    columns: Iterable[Column],
    variables: Sequence[Variable],
    *,
    known: Collection[str] | None = None,
    before: str | None = None,
    now: str | None = None,
) -> Drift:
    """Compare a catalog's selected columns with the server's variables.

    ``known`` names all the catalog's columns, selected or not; None if no variable can be new.
    """
    changes = list(_breaking(columns, variables))
    if known is not None:
        folded = {name.lower() for name in known}
        new = [variable for variable in variables if variable.name.lower() not in folded]
        changes += [
            SchemaDifference("added", each.name, f"variable {each.name!r} ({each.type}) is new") for each in new
        ]
    return Drift(tuple(changes), before, now)


def fitted_columns(columns: Iterable[Column], variables: Sequence[Variable]) -> tuple[Column, ...]:
    """Note of each column whether it is gone, and the type in which it arrives if it is not the catalog's."""
    find = _finder(variables)
    return tuple(
        replace(column, is_gone=variable is None, arrives_as=_other_type(column, variable) if variable else None)
        for column, variable in ((column, find(column.name)) for column in columns)
    )


def names_to_transfer(columns: Iterable[Column], variables: Sequence[Variable]) -> list[str] | None:
    """Name the variables to ask for, as the server spells them; None means all of them, in the server's order."""
    find = _finder(variables)
    names = [variable.name for variable in (find(column.name) for column in columns) if variable]
    return None if names == [variable.name for variable in variables] else names


def _breaking(columns: Iterable[Column], variables: Sequence[Variable]) -> Iterator[SchemaDifference]:
    find = _finder(variables)
    for column in columns:
        variable = find(column.name)
        if variable is None:
            yield SchemaDifference("removed", column.name, f"variable {column.name!r} is gone")
            continue
        if variable.name != column.name:
            words = f"variable {column.name!r} is now spelled {variable.name!r}"
            yield SchemaDifference("respelled", column.name, words)
        if _other_type(column, variable):
            words = f"variable {column.name!r} was {column.type} and is now {variable.type}"
            yield SchemaDifference("retyped", column.name, words)


def _other_type(column: Column, variable: Variable) -> ColumnType | None:
    """Return the type of a variable's values if it is not the column's."""
    kind = column_type_of(variable)
    # JSON Schema does not tell geography from text.
    return None if kind == ("string" if column.type == "geography" else column.type) else kind


def _finder(variables: Sequence[Variable]) -> Callable[[str], Variable | None]:
    # redivis-api §4.6: names of variables are matched without case.
    exact = {variable.name: variable for variable in variables}
    folded = {variable.name.lower(): variable for variable in variables}
    return lambda name: exact.get(name) or folded.get(name.lower())
