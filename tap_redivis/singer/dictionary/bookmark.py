"""The bookmark of a stream of the data dictionary in STATE: what was written of each part."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

# SQL targets keep Singer versions in 32 bits, and a higher one must remain possible.
_Count = Annotated[int, msgspec.Meta(ge=0, lt=2**31 - 1)]


class PartMark(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was written of one part: its signal then, the number of rows, and a digest of their keys in their order."""

    signal: str | None
    rows: _Count
    keys: str


class Writing(msgspec.Struct, frozen=True):
    """A load of all rows that is under way: the Singer version of its RECORDs, and what it has written."""

    table_version: _Count
    parts: dict[str, PartMark]


class DictionaryBookmark(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the target holds of one stream, and the load of all rows that is under way; ``selection`` is a digest."""

    parts: dict[str, PartMark]  # without a default, so STATE always has it: such a bookmark is recognized by it
    table_version: _Count = 0
    selection: str | None = None
    completed_at: str | None = None
    writing: Writing | None = None


def readable(state: Any) -> dict[str, Any]:  # noqa: ANN401 - anything may stand in a state file
    """Give a bookmark of STATE without keys that this version of the tap does not know.

    Raises:
        ValueError: It is damaged; the message says where.
    """
    bookmark: dict[str, Any] = msgspec.to_builtins(msgspec.convert(state, DictionaryBookmark))
    return bookmark
