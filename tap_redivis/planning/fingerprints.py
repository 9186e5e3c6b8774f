"""Digests that tell whether a load asks for the same as an earlier one. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from tap_redivis.model.columns import Column
from tap_redivis.model.tables import TableInfo


def selection_digest(columns: Sequence[Column], max_rows: int | None, added: Sequence[str] = ()) -> str:
    """Digest the columns and the limit that are asked of a table, and the names of the columns that the tap adds."""
    wanted = [sorted([column.name, column.type] for column in columns), max_rows]
    return _digest([*wanted, list(added)] if added else wanted)


def reading_digest(table: str, version_tag: str | None, selection: str, wire_format: str, *key: object) -> str:
    """Digest everything that a resumed load must have in common with the interrupted one.

    Args:
        table: Pinned reference.
        version_tag: Resolved version tag.
        selection: Digest of the columns and limit.
        wire_format: What the streams send.
        key: What else must be the same: the replication key and the value, or the version, from which the load
            continues; what identifies content that no version fixes; what shapes the files of BATCH.
    """
    return _digest([table, version_tag, selection, wire_format, *key])


def content_signs(table: TableInfo) -> tuple[object, ...]:
    """Return what identifies the content of a table that no version fixes: a load must not resume on another one."""
    if table.version_tag is not None and not table.is_upload:
        return ()
    signs = (table.hash, table.rows, table.updated_at)
    return () if set(signs) == {None} else signs


def _digest(value: Sequence[object]) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=True).encode()).hexdigest()[:16]
