"""Names of streams and properties → names that the database can hold."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Iterable

logger = logging.getLogger("target-adbc")


def quoted(name: str) -> str:
    """Quote an identifier: reserved words, capitals, spaces and quotes stay as they are."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Quote a text for SQL."""
    return "'" + text.replace("'", "''") + "'"


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:8]


class Names:
    """Names as one database holds them.

    Attributes:
        limit: The most bytes of a name; None: there is no limit.
        ignores_case: Whether names that differ by case only are the same.
    """

    def __init__(self, *, limit: int | None, ignores_case: bool) -> None:
        self.limit = limit
        self.ignores_case = ignores_case
        self._warned: set[str] = set()

    def table(self, stream: str) -> str:
        """Name the table of a stream."""
        return self._short(stream)

    def staging(self, stream: str, version: int) -> str:
        """Name the table that is filled with a version until that is activated."""
        return self._short(f"{stream}__staging_{version}", warn=False)

    def columns(self, names: Iterable[str]) -> dict[str, str]:
        """Name the columns of some properties, each differently."""
        short = {name: self._short(name) for name in names}
        folded = Counter(self._fold(name) for name in short.values())
        clashing = [name for name in short if folded[self._fold(short[name])] > 1]
        return short | {name: self._hashed(name) for name in clashing}

    def _fold(self, name: str) -> str:
        return name.casefold() if self.ignores_case else name

    def _short(self, name: str, *, warn: bool = True) -> str:
        if self.limit is None or len(name.encode()) <= self.limit:
            return name
        return self._hashed(name, warn=warn)

    def _hashed(self, name: str, *, warn: bool = True) -> str:
        """Make a name unique by a hash of the whole of it."""
        ending = f"_{_hash(name)}"
        room = self.limit - len(ending) if self.limit else None
        result = name.encode()[:room].decode(errors="ignore") + ending
        if warn and name not in self._warned:
            self._warned.add(name)
            logger.warning("the database cannot hold the name %r beside the others: it becomes %r", name, result)
        return result
