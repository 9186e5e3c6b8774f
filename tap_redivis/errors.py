"""Everything that can go wrong, as one tree; each error says what happened, where, and what the user can do.

RedivisError
├── ConfigError            a setting, catalog or state file that cannot be used
├── ResourceError          the system refuses what the tap needs: output, threads, files, memory
├── Mistake                a mistake of the tap's own
├── StorageError           a BATCH file cannot be written
├── ClusterError           the cluster that writes BATCH files cannot be reached, or fails
├── ApiError               the server refused, or could not be reached
│   ├── Unauthorized       401: no token, or not a valid one
│   ├── Forbidden          403: the token lacks a scope or the user lacks access
│   ├── NotFound           404, 410: not there, or not visible to this token
│   ├── Refused            any other 4xx, the export quota among them
│   ├── QueryFailed        a query failed, was cancelled, or took too long
│   └── Unavailable        retries are used up: no connection, 429, 5xx, broken bodies
└── DataError              the data is not what was promised
    ├── Incomplete         rows are missing, or there are too many
    ├── InvalidValue       a value is not of its variable's type
    ├── RowTooLarge        one row is larger than the tap can hold
    └── SchemaChanged      the catalog no longer fits the table
"""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

# Control characters, marks that turn the direction of text or are not seen, and halves of pairs of surrogates.
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")


class RedivisError(Exception):
    """Root of the tree: one line for the user; ``where`` is a setting, file, reference or path, or empty."""

    def __init__(self, what: str, *, where: str = "", hint: str) -> None:
        self.what = what
        self.where = where
        self.hint = hint
        super().__init__(one_line(f"{where}: {what}. {hint}." if where else f"{what}. {hint}."))

    def __reduce__(self) -> tuple[Any, ...]:
        """Let Dask carry errors from its workers to the tap."""
        # Not by the constructor: pickle would call it with the text of the error, which is not one of its parameters.
        return Exception.__new__, (type(self), *self.args), vars(self)


class ConfigError(RedivisError):
    """A setting, a catalog or a state file cannot be used as it is."""


class ResourceError(RedivisError):
    """The system refuses what the tap needs: room for its output, threads, open files, memory."""


class Mistake(RedivisError):
    """A mistake of the tap's own."""


class StorageError(RedivisError):
    """A BATCH file cannot be written: the disk is full, or the storage refuses."""


class ClusterError(RedivisError):
    """The cluster that writes BATCH files cannot be reached, or cannot do what it should."""


class ApiError(RedivisError):
    """The server refused a request or could not be reached."""


class Unauthorized(ApiError):
    """401: there is no token, or it is not valid."""


class Forbidden(ApiError):
    """403: the token lacks a scope, or its user has no access."""


class NotFound(ApiError):
    """404 or 410: the resource is not there, or not visible to this token (redivis-api §1.8)."""


class Refused(ApiError):
    """The server will not answer this request, however often it is sent."""


class QuotaExceeded(Refused):
    """The 30-day quota of data that may leave Redivis is used up (redivis-api §1.7)."""


class QueryFailed(ApiError):
    """A query failed, was cancelled, or took too long."""


class Unavailable(ApiError):
    """The server could not be reached, or did not answer properly, until the retry budget was used up."""


class DataError(RedivisError):
    """The data is not what the server promised."""


class Incomplete(DataError):
    """The rows that arrived do not add up to the rows that there should be."""


class InvalidValue(DataError):
    """A value cannot be read as its variable's type."""

    def __init__(self, what: str, *, offset: int, where: str, hint: str) -> None:
        super().__init__(what, where=where, hint=hint)
        self.offset = offset  # of the value's row in its read stream


class RowTooLarge(DataError):
    """One row is larger than the tap can hold in its memory limit."""


class SchemaChanged(DataError):
    """The catalog names variables that the table no longer has, or has with another type."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Name what a misspelt name is probably meant to be, in brackets after the name; empty if nothing is near."""
    spelled = {each.lower(): each for each in known}
    near = get_close_matches(name.lower(), spelled, 1)
    return f" (did you mean {spelled[near[0]]!r}?)" if near else ""


def one_line(text: str, limit: int = 2000) -> str:
    """Fold a text into one line of at most ``limit`` characters."""
    folded = escaped(" ".join(text.split()))  # what a server says may have lines, and be as long as a page
    return folded if len(folded) <= limit else f"{folded[: limit - 1]}…"


def escaped(text: str) -> str:
    """Write out what would steer a terminal, or mislead who reads it."""
    return _UNSEEN.sub(lambda match: match[0].encode("unicode_escape", "surrogatepass").decode(), text)
