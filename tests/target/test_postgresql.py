"""What a PostgreSQL table has beside its rows stays, and who reads sees the old rows or the new ones."""

from __future__ import annotations

import pytest

from tests.target.conftest import Warehouse, activate, record, schema

_COLUMNS = {"id": {"type": ["integer", "null"]}, "name": {"type": ["string", "null"]}}
_FIRST = [schema(_COLUMNS), record(1, id=1, name="a"), activate(1)]
_OTHER = [
    schema({"id": {"type": "string"}, "name": {"type": "string"}, "more": {"type": "number"}}),
    record(2, id="x", name="b", more=2.5),
    activate(2),
]
_SECOND = [schema(_COLUMNS), record(2, id=2, name="b"), activate(2)]


def _identity(warehouse: Warehouse) -> int:
    [(identity,)] = warehouse.query("SELECT 'visits'::regclass::oid::bigint")
    return int(identity)


def test_a_table_that_nothing_depends_on_is_replaced(in_postgres: Warehouse) -> None:
    in_postgres.loaded(_FIRST)
    before = _identity(in_postgres)
    in_postgres.loaded(_SECOND)

    assert in_postgres.rows("visits") == [(2, "b")]
    assert _identity(in_postgres) != before


_EXTRAS = {
    "a grant": (
        "GRANT SELECT ON visits TO PUBLIC",
        "SELECT has_table_privilege('pg_monitor', 'visits', 'SELECT')",
        True,
    ),
    "a view": ("CREATE VIEW v AS SELECT name FROM visits", "SELECT name FROM v", "b"),
    "an index": (
        "CREATE INDEX by_name ON visits (name)",
        "SELECT count(*) FROM pg_indexes WHERE indexname = 'by_name'",
        1,
    ),
    "a comment": ("COMMENT ON TABLE visits IS 'ours'", "SELECT obj_description('visits'::regclass)", "ours"),
    "a grant on a column": (
        "GRANT SELECT (id) ON visits TO PUBLIC",
        "SELECT has_column_privilege('pg_monitor', 'visits', 'id', 'SELECT')",
        True,
    ),
}


@pytest.mark.parametrize("extra", _EXTRAS)
def test_what_a_table_has_beside_its_rows_stays(in_postgres: Warehouse, extra: str) -> None:
    make, look, expected = _EXTRAS[extra]
    in_postgres.loaded(_FIRST)
    in_postgres.execute(make)
    before = _identity(in_postgres)

    in_postgres.loaded(_SECOND)

    assert in_postgres.rows("visits") == [(2, "b")]
    assert in_postgres.query(look) == [(expected,)]
    assert _identity(in_postgres) == before
    assert in_postgres.tables() == {"visits"}


def test_columns_of_a_table_that_stays_become_the_new_ones(in_postgres: Warehouse) -> None:
    in_postgres.loaded(_FIRST)
    in_postgres.execute("CREATE VIEW v AS SELECT name FROM visits")
    in_postgres.loaded(_OTHER)

    assert in_postgres.rows("visits", "id", "name", "more") == [("x", "b", 2.5)]


def test_tables_go_into_a_schema_that_is_made(in_postgres: Warehouse) -> None:
    in_postgres.loaded(_FIRST, default_target_schema="My Schema")
    in_postgres.loaded(_SECOND, default_target_schema="My Schema")

    assert in_postgres.query('SELECT * FROM "My Schema".visits') == [(2, "b")]
    assert in_postgres.tables() == set()


def test_the_index_of_the_keys_does_not_count_as_somebodys(in_postgres: Warehouse) -> None:
    keyed = [{**message, "key_properties": ["id"]} if message["type"] == "SCHEMA" else message for message in _FIRST]
    in_postgres.loaded(keyed)
    before = _identity(in_postgres)
    in_postgres.loaded([schema(_COLUMNS, "id"), record(2, id=2, name="b"), activate(2)])

    assert _identity(in_postgres) != before
