"""Names of the columns that the tap adds to those of a table."""

from __future__ import annotations

from typing import Any

ROW_KEY = "_redivis_row_key"
TABLE = "_redivis_table"
VERSION = "_redivis_version"
DELETED_AT = "_sdc_deleted_at"  # when LOG_BASED found a row gone; null in rows that are there
LOAD = "_sdc_table_version"

# RECORD messages have the version beside the record; the rows of files need columns for it.
VERSION_COLUMNS: dict[str, dict[str, Any]] = {
    LOAD: {"type": ["integer", "null"]},
    VERSION: {"type": ["string", "null"]},
}
