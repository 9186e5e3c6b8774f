"""JSON lines → the highest value of their replication key."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any

import msgspec

from tap_redivis.model.columns import Column, KeyValue

_NOT_AS_AT_THE_SOURCE = re.compile("[\x00\ufffd\ud800-\udfff]")


class HighestKey:
    """Finds the highest value of a column in JSON lines.

    Args:
        column: The column.
    """

    def __init__(self, column: Column) -> None:
        self.column = column
        self._decoder: msgspec.json.Decoder[Any] | None = None
        kind = {"integer": int, "float": float}.get(column.type, str)
        with suppress(ValueError):  # a name that cannot be a Struct's key
            row = msgspec.defstruct("Key", [("value", kind | None, None)], rename={"value": column.name}, gc=False)
            self._decoder = msgspec.json.Decoder(row)

    def of(self, lines: bytes) -> KeyValue | None:
        """Return the highest value; None if there is none."""
        values: list[Any] = [value for value in map(self._sure_part, self._values(lines)) if value is not None]
        return max(values, default=None)

    def _values(self, lines: bytes) -> list[KeyValue | None]:
        if self._decoder is not None:
            with suppress(msgspec.DecodeError, UnicodeDecodeError):  # a lone surrogate, which msgspec cannot read
                return [row.value for row in self._decoder.decode_lines(lines)]
        return [json.loads(line)[self.column.name] for line in lines.splitlines()]

    def _sure_part(self, value: KeyValue | None) -> KeyValue | None:
        """Cut a text before a character that the tap replaced: what is left is not higher than what the source has."""
        if self.column.type == "string" and isinstance(value, str):
            return _NOT_AS_AT_THE_SOURCE.split(value, maxsplit=1)[0]
        return value
