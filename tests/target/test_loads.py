"""Full loads, merges and deletes in each kind of database."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tests.target.conftest import Warehouse, activate, arrow_file, record, schema, state

_IDS = {"id": {"type": ["integer", "null"]}, "name": {"type": ["string", "null"]}}


def _table(first: int, rows: int, name: str = "n") -> pa.Table:
    ids = range(first, first + rows)
    return pa.table({"id": pa.array(ids, pa.int64()), "name": [f"{name}{number}" for number in ids]})


def _rows(first: int, rows: int, name: str = "n") -> list[tuple[int, str]]:
    return [(number, f"{name}{number}") for number in range(first, first + rows)]


def test_a_full_load_of_files_is_the_table(warehouse: Warehouse) -> None:
    files = [
        arrow_file(warehouse.folder, "a.arrow", _table(0, 250), offset=0),
        arrow_file(warehouse.folder, "b.arrow", _table(250, 50), offset=250),
    ]

    done = warehouse.loaded([schema(_IDS), *files, activate(1), state({"done": 1})])

    assert warehouse.rows("visits") == _rows(0, 300)
    assert done[-1] == {"done": 1}
    assert warehouse.tables() == {"visits"}
    assert not list(warehouse.folder.glob("*.arrow")), "loaded files are deleted"


def test_it_says_what_it_has_done_and_nothing_else(warehouse: Warehouse) -> None:
    done = warehouse.load([schema(_IDS), *(record(1, id=number) for number in range(1200)), activate(1)])

    said = [line.split(" | ")[-1].rpartition(", ")[0] or line.split(" | ")[-1] for line in done.stderr.splitlines()]
    assert said == ["version 1 is live", "1,200 rows loaded"]


def test_files_stay_if_they_shall(warehouse: Warehouse) -> None:
    file = arrow_file(warehouse.folder, "a.arrow", _table(0, 5), offset=0)

    warehouse.loaded([schema(_IDS), file, activate(1)], delete_files=False)

    assert list(warehouse.folder.glob("*.arrow"))


def test_the_old_rows_stay_until_the_new_version_is_activated(warehouse: Warehouse) -> None:
    warehouse.loaded([schema(_IDS), *(record(1, id=n, name=f"n{n}") for n in range(3)), activate(1)])

    warehouse.loaded([schema(_IDS), record(2, id=7, name="n7"), state({"at": 1})])
    assert warehouse.rows("visits") == _rows(0, 3)
    warehouse.loaded([schema(_IDS), record(2, id=8, name="n8"), activate(2)])

    assert warehouse.rows("visits") == _rows(7, 2)
    assert warehouse.tables() == {"visits"}


def test_the_staging_table_of_a_version_that_was_given_up_is_removed(warehouse: Warehouse) -> None:
    warehouse.loaded([schema(_IDS), record(1, id=1, name="n1"), state({})])
    warehouse.loaded([schema(_IDS), record(2, id=2, name="n2"), state({})])

    assert len(warehouse.tables()) == 1
    warehouse.loaded([schema(_IDS), activate(2)])
    assert warehouse.rows("visits") == _rows(2, 1)


def test_a_new_version_may_have_other_columns_and_types(warehouse: Warehouse) -> None:
    warehouse.loaded([schema(_IDS), record(1, id=1, name="n1"), activate(1)])

    other = {"id": {"type": "string"}, "more": {"type": "number"}}
    warehouse.loaded([schema(other), record(2, id="x", more=1.5), activate(2)])

    assert warehouse.rows("visits", "id", "more") == [("x", 1.5)]


def test_an_empty_table_takes_the_place_of_rows(warehouse: Warehouse) -> None:
    warehouse.loaded([schema(_IDS), record(1, id=1, name="n1"), activate(1)])

    done = warehouse.loaded([schema(_IDS), activate(2), state({"empty": True})])

    assert warehouse.rows("visits") == []
    assert done == [{"empty": True}]


def test_an_activation_before_the_rows_is_carried_out_behind_them(warehouse: Warehouse) -> None:
    """As taps of the SDK send it."""
    warehouse.loaded([schema(_IDS), record(1, id=1, name="n1"), activate(1)])

    done = warehouse.loaded([schema(_IDS), activate(2), record(2, id=5, name="n5"), state({"a": 1}), state({"a": 2})])

    assert warehouse.rows("visits") == _rows(5, 1)
    assert done[-1] == {"a": 2}


def test_without_hard_delete_old_rows_are_kept_and_marked(warehouse: Warehouse) -> None:
    warehouse.loaded([schema(_IDS, "id"), *(record(1, id=n, name=f"n{n}") for n in range(3)), activate(1)])

    messages = [schema(_IDS, "id"), record(2, id=1, name="new"), activate(2)]
    warehouse.loaded(messages, hard_delete=False)

    found = warehouse.rows("visits", "id", "name", "_sdc_deleted_at")
    assert [(number, name, at is None) for number, name, at in found] == [
        (0, "n0", False),
        (1, "new", True),
        (2, "n2", False),
    ]


def test_records_without_a_version_are_merged_by_their_keys(warehouse: Warehouse) -> None:
    warehouse.loaded([schema(_IDS, "id"), *(record(id=n, name=f"n{n}") for n in range(4))])

    warehouse.loaded([schema(_IDS, "id"), record(id=1, name="a"), record(id=1, name="b"), record(id=9, name="n9")])

    assert warehouse.rows("visits") == [(0, "n0"), (1, "b"), (2, "n2"), (3, "n3"), (9, "n9")]


def test_append_only_ignores_keys(warehouse: Warehouse) -> None:
    messages = [schema(_IDS, "id"), record(id=1, name="n1")]
    warehouse.loaded(messages)
    warehouse.loaded(messages, load_method="append-only")

    assert warehouse.rows("visits") == _rows(1, 1) * 2


@pytest.mark.parametrize("hard_delete", [True, False])
def test_a_time_of_deletion_deletes_or_marks(warehouse: Warehouse, hard_delete: bool) -> None:  # noqa: FBT001
    columns = {**_IDS, "_sdc_deleted_at": {"type": ["string", "null"], "format": "date-time"}}
    warehouse.loaded([schema(columns, "id"), *(record(1, id=n, name=f"n{n}") for n in range(2)), activate(1)])

    gone = record(1, id=1, name=None, _sdc_deleted_at="2026-01-02T03:04:05")
    warehouse.loaded([schema(columns, "id"), gone], hard_delete=hard_delete)

    assert warehouse.rows("visits", "id", "name") == [(0, "n0"), *([] if hard_delete else [(1, None)])]


def test_files_of_changed_rows_are_merged_into_the_live_table(warehouse: Warehouse) -> None:
    first = arrow_file(warehouse.folder, "a.arrow", _table(0, 250), offset=0)
    warehouse.loaded([schema(_IDS, "id"), first, activate(1)])

    second = arrow_file(warehouse.folder, "b.arrow", _table(200, 100, "new"), offset=0, session="s2")
    warehouse.loaded([schema(_IDS, "id"), second])

    assert warehouse.rows("visits") == [*_rows(0, 200), *_rows(200, 100, "new")]


def test_new_columns_are_added(warehouse: Warehouse) -> None:
    warehouse.loaded([schema(_IDS, "id"), record(id=1, name="n1")])

    wider = {**_IDS, "more": {"type": "boolean"}, "at": {"type": "string", "format": "date-time"}}
    warehouse.loaded([schema(wider, "id"), record(id=2, name="n2", more=True, at="2026-01-02T03:04:05Z")])

    assert warehouse.rows("visits", "id", "more") == [(1, None), (2, True)]


def test_without_versions_all_rows_go_into_the_live_table(warehouse: Warehouse) -> None:
    file = arrow_file(warehouse.folder, "a.arrow", _table(0, 5), offset=0)
    messages = [schema(_IDS), file, record(2, id=5, name="n5"), activate(2)]
    warehouse.loaded(messages, process_activate_version_messages=False)

    assert warehouse.rows("visits") == _rows(0, 6)
