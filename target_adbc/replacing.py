"""A staging table takes the place of the live one, within the caller's transaction."""

from __future__ import annotations

from target_adbc.arrow_types import same_type, sql_name
from target_adbc.database import Database
from target_adbc.names import literal, quoted

# What a table would lose if it were replaced: views, indexes, triggers, policies, grants, comments, its owner.
_HAS_MORE = """
SELECT live.relacl IS DISTINCT FROM new.relacl OR live.relowner <> new.relowner OR live.relrowsecurity
  OR EXISTS (SELECT 1 FROM pg_description d WHERE d.objoid = live.oid AND d.classoid = 'pg_class'::regclass)
  OR EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = live.oid AND a.attacl IS NOT NULL)
  OR EXISTS (SELECT 1 FROM pg_depend d LEFT JOIN pg_class i ON i.oid = d.objid AND d.classid = 'pg_class'::regclass
             WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = live.oid AND d.deptype IN ('n', 'a')
             AND coalesce(i.relname NOT LIKE '\\_target\\_adbc\\_%', true))
FROM pg_class live, pg_class new WHERE live.oid = {live}::regclass AND new.oid = {staging}::regclass
"""


def replace_table(database: Database, live: str, staging: str) -> None:
    """Let the staging table be the live one.

    A PostgreSQL table that others rely on keeps its identity, and gets the new rows instead. Who reads meanwhile sees
    the old rows until the transaction ends.
    """
    if database.exists(live):
        if database.scheme == "postgresql" and _has_more(database, live, staging):
            _refill(database, live, staging)
            return
        database.execute(f"DROP TABLE {database.table(live)}")
    database.execute(f"ALTER TABLE {database.table(staging)} RENAME TO {quoted(live)}")


def _has_more(database: Database, live: str, staging: str) -> bool:
    names = {"live": literal(database.table(live)), "staging": literal(database.table(staging))}
    return bool(database.query(_HAS_MORE.format(**names))[0][0])


def _refill(database: Database, live: str, staging: str) -> None:
    """Put the rows of one table in the place of those of another one, and make its columns the same."""
    table, old, new = database.table(live), database.columns(live), database.columns(staging)
    database.execute(f"DELETE FROM {table}")  # noqa: S608 - quoted
    for name in old.keys() - new.keys():
        database.execute(f"ALTER TABLE {table} DROP COLUMN {quoted(name)}")
    for name, kind in new.items():
        if name not in old:
            database.add_column(live, name, kind)
        elif not same_type(old[name], kind):
            sql = sql_name(kind)  # there are no values to convert
            database.execute(f"ALTER TABLE {table} ALTER COLUMN {quoted(name)} TYPE {sql} USING CAST(NULL AS {sql})")
    columns = ", ".join(map(quoted, new))
    database.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {database.table(staging)}")  # noqa: S608
    database.drop(staging)
