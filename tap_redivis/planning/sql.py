"""The SQL queries of loads: rows from a key on (INCREMENTAL), what changed between versions (LOG_BASED). Pure."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tap_redivis.model.columns import COLUMN_TYPES, Column, ColumnType, KeyValue
from tap_redivis.model.tables import Variable
from tap_redivis.wire.json_lines import CHANGED_CHARACTERS

AMBIGUOUS = "are null, or stand for more than one row"  # with it the query fails if the key does not identify rows

_SQL_TYPES: dict[ColumnType, str] = {
    "integer": "INT64",
    "float": "FLOAT64",
    "date": "DATE",
    "dateTime": "DATETIME",
    "time": "TIME",
    "string": "STRING",
}

_TIME = r"\d\d:\d\d:\d\d(?:\.\d{1,6})?"
_SHAPES: dict[ColumnType, re.Pattern[str]] = {
    "date": re.compile(r"\d{4}-\d\d-\d\d", re.ASCII),
    "dateTime": re.compile(rf"(\d{{4}}-\d\d-\d\dT{_TIME})(?:\+00:00)?", re.ASCII),
    "time": re.compile(_TIME, re.ASCII),
}
_ESCAPES = str.maketrans({"\\": "\\\\", "'": "\\'", "`": "\\`", "\n": "\\n", "\r": "\\r"})


@dataclass(frozen=True)
class Since:
    """Where an incremental load continues."""

    key: Column
    value: KeyValue  # the highest of the last complete load

    def condition(self) -> str:
        """Write the SQL condition; a ``ValueError`` says that the value is not of the key's type."""
        # Rows with exactly this value come again: the last load may not have seen all of them. Rows without a key
        # always come, since nothing tells whether they are new.
        name = identifier(self.key.name)
        condition = f"{name} >= {_literal(self.value, self.key.type)} OR {name} IS NULL"
        if self.key.type != "float":
            return condition
        return f"{condition} OR IS_NAN({name}) OR IS_INF({name})"  # in records these are null too


def rows_since(table: str, names: Sequence[str], since: Since) -> str:
    """Write the query for the rows that an incremental load needs, with the variables ``names``."""
    columns = ", ".join(map(identifier, names))
    return f"SELECT {columns} FROM {identifier(table)} WHERE {since.condition()}"  # noqa: S608 - all parts are quoted


def _literal(value: KeyValue, kind: ColumnType) -> str:
    # The value comes from STATE, which anyone may have edited: only text of the key's type gets into SQL.
    if kind == "integer" and type(value) is int:
        text = str(value)
    elif kind == "float" and not isinstance(value, (str, bool)) and math.isfinite(value):
        text = repr(float(value))
    elif kind == "string" and isinstance(value, str) and not CHANGED_CHARACTERS.search(value):
        text = value
    elif kind in _SHAPES and isinstance(value, str) and (match := _SHAPES[kind].fullmatch(value)):
        text = match[match.lastindex or 0]
    else:
        raise ValueError(f"{value!r} is no {kind}")
    return f"CAST({text_literal(text)} AS {_SQL_TYPES[kind]})"


def text_literal(text: str) -> str:
    """Quote a text for SQL."""
    return f"'{text.translate(_ESCAPES)}'"


def identifier(name: str) -> str:
    """Quote a name for SQL."""
    return f"`{name.translate(_ESCAPES)}`"


@dataclass(frozen=True)
class Comparison:
    """A comparison of a table's versions, which the server makes.

    The last column of its result, the change column, says whether a row was inserted, changed or deleted. Versions in
    between are compared as well: an interrupted load of one of them may have left rows in the target that neither the
    first nor the last version has.
    """

    before: Sequence[str]  # references of the version that was loaded, and of those between it and the current one
    after: str  # reference of the current version
    variables: Sequence[Variable]  # which all versions have in the same types; spelled as in the current one
    keys: Sequence[str]  # names of the variables that identify a row

    @property
    def change_column(self) -> Column:
        """The last column of the result, with one letter (see ``json_lines.DeletionMarker``)."""
        return change_column(variable.name for variable in self.variables)

    def query(self) -> str:
        """Write the query; it fails if a key is null, NaN or not unique."""
        loaded, *between = self.before
        selects = [self._select(loaded, "icd"), *(self._select(version, "rrg") for version in between)]
        return "\nUNION ALL\n".join(selects)

    def gone(self, change_column: str) -> str:
        """Write the query for the rows that are gone; its change column has the given name."""
        names, letter = (identifier(each.name) for each in self.variables), identifier(self.change_column.name)
        selected = f"SELECT {', '.join(names)}, {letter} AS {identifier(change_column)}"
        return f"{selected} FROM (\n{self.query()}\n) WHERE {letter} IN ('d', 'g')"

    def _select(self, before: str, letters: str) -> str:
        """Compare the current version with another; ``letters`` are those for inserted, changed and deleted rows."""
        names = [variable.name for variable in self.variables]
        new, old, check = (_unused(name, names) for name in ("new", "old", "key_check"))
        keys = [variable for variable in self.variables if self._is_key(variable)]
        others = [variable for variable in self.variables if not self._is_key(variable)]
        columns = [self._column(variable, new, old) for variable in self.variables]
        no_new, no_old = (f"{_path(side, keys[0])} IS NULL" for side in (new, old))
        inserted, changed, deleted = map(text_literal, letters)
        letter = f"CASE WHEN {no_old} THEN {inserted} WHEN {no_new} THEN {deleted} ELSE {changed} END"
        columns.append(f"CONCAT({letter}, {identifier(check)}.`passed`) AS {identifier(self.change_column.name)}")
        same_key = " AND ".join(f"{_comparable(new, key)} = {_comparable(old, key)}" for key in keys)
        differs = [no_new, no_old, *(_differs(new, old, variable) for variable in others)]
        return "\n".join(
            [
                f"SELECT {', '.join(columns)}",
                f"FROM {identifier(self.after)} AS {identifier(new)}",
                f"FULL JOIN {identifier(before)} AS {identifier(old)} ON {same_key}",
                f"CROSS JOIN ({self._check(keys, before)}) AS {identifier(check)}",
                f"WHERE {' OR '.join(differs)}",
            ]
        )

    def _is_key(self, variable: Variable) -> bool:
        return variable.name.lower() in {key.lower() for key in self.keys}

    def _column(self, variable: Variable, new: str, old: str) -> str:
        if self._is_key(variable):
            return f"COALESCE({_path(new, variable)}, {_path(old, variable)}) AS {identifier(variable.name)}"
        return f"{_path(new, variable)} AS {identifier(variable.name)}"

    def _check(self, keys: Sequence[Variable], before: str) -> str:
        """Write the subquery that fails if the keys do not identify rows, and else gives one row, an empty text."""
        places = ", ".join(str(place + 1) for place in range(len(keys)))
        values = ", ".join(f"{_comparable(None, key)} AS `k{place}`" for place, key in enumerate(keys))
        counted = " UNION ALL ".join(
            f"SELECT {values}, COUNT(*) AS `copies` FROM {identifier(table)} GROUP BY {places}"  # noqa: S608 - quoted
            for table in (self.after, before)
        )
        bad = ["`copies` > 1"]
        for place, key in enumerate(keys):
            bad.append(f"`k{place}` IS NULL")
            bad += [f"IS_NAN(`k{place}`)"] if key.type == "float" else []
        words = text_literal(f" values of the key ({', '.join(self.keys)}) {AMBIGUOUS}")
        error = f"ERROR(CONCAT(CAST(COUNT(*) AS STRING), {words}))"
        return f"SELECT IF(COUNT(*) = 0, '', {error}) AS `passed` FROM ({counted}) WHERE {' OR '.join(bad)}"  # noqa: S608


def why_not_comparable(columns: Iterable[Column], before: Sequence[Variable], after: Sequence[Variable]) -> str | None:
    """Say which selected column makes two versions impossible to compare; None if none does."""
    earlier, later = ({variable.name.lower(): variable.type for variable in side} for side in (before, after))
    for column in columns:
        types = [side.get(column.name.lower()) for side in (earlier, later)]
        if None in types:
            return f"only one of them has the variable {column.name!r}"
        if types[0] != types[1]:
            return f"the variable {column.name!r} was {types[0]} and is now {types[1]}"
    return None


def change_column(names: Iterable[str]) -> Column:
    """Make the column that says what became of a row; its name is none of ``names``."""
    return Column(_unused("redivis_change", list(names)), "string")


def _unused(name: str, names: Sequence[str]) -> str:
    taken = {other.lower() for other in names}
    while name in taken:
        name += "_"
    return name


def _path(table: str, variable: Variable) -> str:
    return f"{identifier(table)}.{identifier(variable.name)}"


def _comparable(table: str | None, variable: Variable) -> str:
    # As something that SQL can compare and group by, and that differs whenever the RECORDs differ.
    value = _path(table, variable) if table else identifier(variable.name)
    if variable.type == "geography":
        return f"ST_ASBINARY({value})"
    return value if variable.type in COLUMN_TYPES else f"TO_JSON_STRING({value})"


def _differs(new: str, old: str, variable: Variable) -> str:
    # NULL equals NULL, and NaN equals NaN. 0.0 and -0.0 are equal to SQL, but not as RECORDs: 1/x tells them apart.
    condition = f"{_comparable(new, variable)} IS DISTINCT FROM {_comparable(old, variable)}"
    if variable.type != "float":
        return condition
    reciprocals = [f"IEEE_DIVIDE(1, {_path(side, variable)})" for side in (new, old)]
    return f"{condition} OR {' IS DISTINCT FROM '.join(reciprocals)}"
