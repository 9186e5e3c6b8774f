"""A column: a variable's name and type, as every room from the catalog to the wire decoders knows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

ColumnType = Literal["string", "integer", "float", "boolean", "date", "dateTime", "time", "geography"]
"""The types of Redivis variables (redivis-api §6.1)."""

COLUMN_TYPES: frozenset[str] = frozenset(get_args(ColumnType))

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        name: The variable's name, in the spelling that RECORDs have.
        type: The type that its values are cast to.
        arrives_as: The type that the server has now, if it is another one; then only exact casts are good.
        is_gone: Whether the server has it no more, so that it is null.
    """

    name: str
    type: ColumnType
    arrives_as: ColumnType | None = None
    is_gone: bool = False

    @property
    def wire_type(self) -> ColumnType:
        """The type that its values arrive as."""
        return self.arrives_as or self.type
