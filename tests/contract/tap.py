"""What a load by the tap is like under a reading, where it is not as it should be; tests/end_to_end proves it."""

from __future__ import annotations

from collections.abc import Mapping

LIMITS: Mapping[str, str] = {
    "anonymous=none": "needs a token",
    "anonymous=tables": "without a token, tables must be named in full",
    "csv_empty=bare": "csv warns, and makes the empty string null: use another format",
    "geography=geojson": "passes it on, with a warning",
    "name_lists=repeated": "without a token, cannot choose variables",
    "quota=forbidden": "ends with this error",
    "quota=used_up": "ends with this error",
    "sentinel=never": "if the counts are exact",
    "session_rows=high": "by the sentinels of arrow",
    "session_rows=low": "by the sentinels of arrow",
    "sql_nested=refused": "such a query fails",
    "table_rows=high": "without a token: no; else yes",
    "table_rows=low": "without a token: no; else yes",
    "text_formats=ignored": "by arrow",
    "text_formats=refused": "by arrow",
}
"""By reading and value; for all others, equal records come."""
