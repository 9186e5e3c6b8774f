"""Names of streams and properties → names that the database can hold."""

import hashlib
import logging
from collections import Counter
from collections.abc import Iterable

logger = logging.getLogger("target-adbc")


def quoted(*names: str) -> str:
    """Quote identifiers, between commas: reserved words, capitals, spaces and quotes stay as they are."""
    return ", ".join('"' + name.replace('"', '""') + '"' for name in names)


def literal(text: str) -> str:
    """Quote a text for SQL."""
    return "'" + text.replace("'", "''") + "'"


class Names:
    """Names as one database holds them, of so many bytes at most, perhaps without regard to case."""

    def __init__(self, *, limit: int | None, ignores_case: bool) -> None:
        self._limit = limit
        self._folded = str.casefold if ignores_case else str
        self._warned: set[str] = set()

    def table(self, stream: str) -> str:
        """Name the table of a stream."""
        return self.columns([stream])[stream]

    def staging(self, stream: str, version: int) -> str:
        """Name the table that is filled with a version until that is activated."""
        return self._short(f"{stream}__staging_{version}")

    def columns(self, names: Iterable[str]) -> dict[str, str]:
        """Name the columns of some properties, each differently."""
        result = {name: self._short(name) for name in names}
        folded = Counter(map(self._folded, result.values()))
        for name, short in result.items():
            if folded[self._folded(short)] > 1:
                result[name] = self._hashed(name)
            if result[name] != name and name not in self._warned:
                self._warned.add(name)
                told = (name, result[name])
                logger.warning("the database cannot hold the name %r beside the others: it becomes %r", *told)
        return result

    def _short(self, name: str) -> str:
        return name if self._limit is None or len(name.encode()) <= self._limit else self._hashed(name)

    def _hashed(self, name: str) -> str:
        """Make a name unique by a hash of the whole of it."""
        ending = "_" + hashlib.sha256(name.encode()).hexdigest()[:8]
        room = self._limit - len(ending) if self._limit else None
        return name.encode()[:room].decode(errors="ignore") + ending
