"""Names, ids and references as Redivis writes them: `owner.dataset:ref:version.table:ref` (redivis-api §3)."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

_ID_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"
_REF_LENGTH = 4
_ID_TAIL_LENGTH = 9

# The version of a dataset may contain a dot (`:v1.0`), so a reference cannot be split at its dots (redivis-api §10).
_SUFFIX = r":(?:v\d+\.\d+(?![^:.])|[^:.]*)"
_SEGMENT = rf"(?P<{{0}}>[^:.]*)(?P<{{0}}_suffixes>(?:{_SUFFIX})*)"
_CONTAINER = re.compile(rf"(?P<owner>[^:.]+)\.{_SEGMENT.format('name')}")
_TABLE_REST = re.compile(rf"\.{_SEGMENT.format('table')}")
_VERSION = re.compile(r"v?(\d+)[._](\d+)")
_REF_ID = re.compile(r"[0-9a-z]{4}")


def escape(name: str) -> str:
    """Return `name` as references spell it: lower case, with one underscore for each run of other characters."""
    return re.sub(r"[^0-9a-z]+", "_", name.lower()).strip("_")


def make_id(*names: str) -> str:
    """Return the persistent id of the resource with these names: `673p-a2f2hqe7m`, the same in every run."""
    number = int.from_bytes(hashlib.blake2b("/".join(names).encode(), digest_size=16).digest(), "big")
    letters = []
    for _ in range(_REF_LENGTH + _ID_TAIL_LENGTH):
        number, letter = divmod(number, len(_ID_LETTERS))
        letters.append(_ID_LETTERS[letter])
    text = "".join(letters)
    # A leading digit distinguishes the reference id from the word `next` and from versions.
    return f"{number % 10}{text[1:_REF_LENGTH]}-{text[_REF_LENGTH:]}"


def ref_id(resource_id: str) -> str:
    """Return the reference id: the first four characters of an id."""
    return resource_id[:_REF_LENGTH]


def version_tag(text: str) -> str | None:
    """Return the tag (`v1.0`, `current`, `next`) of a version in a reference or path, None if it is no version."""
    if text in {"current", "next"}:
        return text
    match = _VERSION.fullmatch(text)
    return f"v{match[1]}.{match[2]}" if match else None


@dataclass(frozen=True)
class TableName:
    """The table part of a reference: the escaped name (may be empty), the reference id if given, and `:sample`."""

    name: str
    ref_id: str | None = None
    sample: bool = False


@dataclass(frozen=True)
class Reference:
    """A parsed reference to a dataset, a workflow or one of their tables.

    `sample` is that of the dataset. `version` is None if the reference has no version, or an invalid one: Redivis reads
    both as the current release (redivis-api §3.1).
    """

    owner: str
    name: str
    ref_id: str | None = None
    version: str | None = None
    sample: bool = False
    table: TableName | None = None


def parse(text: str) -> Reference | None:
    """Parse a decoded reference; return None if it has no owner and name. Suffixes may have any order."""
    container = _CONTAINER.match(text)
    if not container:
        return None
    table = None
    if container.end() < len(text):
        rest = _TABLE_REST.fullmatch(text, container.end())
        if not rest:
            return None
        table = parse_table(rest[0][1:])
    suffixes = _suffixes(container["name_suffixes"])
    versions = [suffix for suffix in suffixes if version_tag(suffix)]
    return Reference(
        owner=escape(container["owner"]),
        name=escape(container["name"]),
        ref_id=_first_ref_id(suffixes),
        version=version_tag(versions[0]) if versions else None,
        sample="sample" in suffixes,
        table=table,
    )


def parse_table(text: str) -> TableName:
    """Parse the table part of a reference: `name[:refId][:sample]` (redivis-api §13)."""
    name, *suffixes = text.lower().split(":")
    return TableName(escape(name), _first_ref_id(suffixes), "sample" in suffixes)


def _suffixes(text: str) -> list[str]:
    return [suffix for suffix in text.lower().split(":") if suffix]


def _first_ref_id(suffixes: list[str]) -> str | None:
    return next((s for s in suffixes if _REF_ID.fullmatch(s) and not version_tag(s)), None)
