"""Names of the columns that the tap adds to those of a table."""

from __future__ import annotations

ROW_KEY = "_redivis_row_key"

TABLE = "_redivis_table"

VERSION = "_redivis_version"

DELETED_AT = "_sdc_deleted_at"
"""Says when LOG_BASED found a row gone: null in rows that are there."""
