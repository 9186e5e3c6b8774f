"""Drift: how the catalog and the server's variables differ, and whether the version tags announce it. Pure."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from tap_redivis.errors import SchemaChanged
from tap_redivis.model.columns import Column, ColumnType
from tap_redivis.model.json_schema import column_type_of
from tap_redivis.model.tables import Variable
from tap_redivis.planning.decision import version_numbers


@dataclass(frozen=True)
class Drift:
    """The differences of one table, in words."""

    breaking: tuple[str, ...] = ()  # what ``on_schema_change`` decides about, in the catalog's order
    added: tuple[str, ...] = ()  # the variables that the catalog does not have
    before: str | None = None  # version tag of the last complete load
    now: str | None = None

    @property
    def verdict(self) -> str:
        """Whether the version tags announce the differences, in words; empty if there is nothing to say."""
        before, now = version_numbers(self.before), version_numbers(self.now)
        if before is None or now is None or before == now or not (self.breaking or self.added):
            return ""
        # redivis-api §5: a new major version may rename, remove and retype variables, a minor one only adds some.
        level = "minor" if before[0] == now[0] else "major"
        step = f"{self.before} → {self.now} is a {level} version"
        if not self.breaking:
            return step
        if level == "major":
            return f"{step}, as it should be"
        return f"{step}, which should only add variables: its owner may want to know"

    def require_fit(self, table: str) -> None:
        """Raise a ``SchemaChanged`` if the catalog does not fit the table."""
        if not self.breaking:
            return
        differences = "; ".join(self.breaking)
        verdict = f" ({self.verdict})" if self.verdict else ""
        raise SchemaChanged(
            f"the catalog no longer fits the table: {differences}{verdict}",
            where=table,
            hint="Discover again, or set on_schema_change to warn",
        )


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
    folded = None if known is None else {name.lower() for name in known}
    new = [each for each in variables if folded is not None and each.name.lower() not in folded]
    added = tuple(f"variable {each.name!r} ({each.type}) is new" for each in new)
    return Drift(tuple(_breaking(columns, variables)), added, before, now)


def fitted_columns(columns: Iterable[Column], variables: Sequence[Variable]) -> tuple[Column, ...]:
    """Note of each column whether it is gone, and the type in which it arrives if it is not the catalog's."""
    return tuple(
        replace(
            column,
            is_gone=variable is None,
            arrives_as=_other_type(column, variable) if variable else None,
            is_geography=variable is not None and variable.type == "geography",
        )
        for column, variable in _paired(columns, variables)
    )


def names_to_transfer(columns: Iterable[Column], variables: Sequence[Variable]) -> list[str] | None:
    """Name the variables to ask for, as the server spells them; None means all of them, in the server's order."""
    names = [variable.name for _, variable in _paired(columns, variables) if variable]
    return None if names == [variable.name for variable in variables] else names


def _breaking(columns: Iterable[Column], variables: Sequence[Variable]) -> Iterator[str]:
    for column, variable in _paired(columns, variables):
        if variable is None:
            yield f"variable {column.name!r} is gone"
            continue
        if variable.name != column.name:
            yield f"variable {column.name!r} is now spelled {variable.name!r}"
        if _other_type(column, variable):
            yield f"variable {column.name!r} was {column.type} and is now {variable.type}"


def _other_type(column: Column, variable: Variable) -> ColumnType | None:
    """Return the type of a variable's values if it is not the column's."""
    kind = column_type_of(variable)
    # JSON Schema does not tell geography from text.
    return None if kind == ("string" if column.type == "geography" else column.type) else kind


def _paired(columns: Iterable[Column], variables: Sequence[Variable]) -> Iterator[tuple[Column, Variable | None]]:
    # redivis-api §4.6: names of variables are matched without case.
    exact = {variable.name: variable for variable in variables}
    folded = {variable.name.lower(): variable for variable in variables}
    return ((column, exact.get(column.name) or folded.get(column.name.lower())) for column in columns)
