"""What was loaded is skipped, what overlaps is cut, what is missing is told."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.support.pipes import Json
from tests.target.conftest import Warehouse, activate, arrow_file, record, schema, state

_IDS = {"id": {"type": ["integer", "null"]}}


def _ids(first: int, rows: int) -> pa.Table:
    return pa.table({"id": pa.array(range(first, first + rows), pa.int64())})


def _file(folder: Path, first: int, rows: int, **said: object) -> Json:
    return arrow_file(folder, f"{first}.arrow", _ids(first, rows), offset=first, **said)


def _found(warehouse: Warehouse) -> list[int]:
    return [number for [number] in warehouse.rows("visits")]


def test_a_file_that_comes_again_is_skipped(warehouse: Warehouse) -> None:
    for _ in range(2):
        warehouse.loaded([schema(_IDS), _file(warehouse.folder, 0, 300), state({})])
    warehouse.loaded([schema(_IDS), _file(warehouse.folder, 0, 300), activate(1)])
    warehouse.loaded([schema(_IDS), _file(warehouse.folder, 0, 300), activate(1)])

    assert _found(warehouse) == list(range(300))


def test_rows_that_overlap_are_cut(warehouse: Warehouse) -> None:
    warehouse.loaded([schema(_IDS), _file(warehouse.folder, 0, 250), state({})])

    warehouse.loaded([schema(_IDS), _file(warehouse.folder, 130, 270), activate(1)])

    assert _found(warehouse) == list(range(400))


def test_read_streams_and_sessions_are_counted_apart(warehouse: Warehouse) -> None:
    files = [
        _file(warehouse.folder, 0, 10),
        arrow_file(warehouse.folder, "x", _ids(10, 10), offset=0, ordinal=1),
        arrow_file(warehouse.folder, "y", _ids(20, 10), offset=0, session="s2"),
    ]

    warehouse.loaded([schema(_IDS), *files, activate(1)])

    assert _found(warehouse) == list(range(30))


def test_a_gap_is_an_error_and_nothing_of_the_file_is_loaded(warehouse: Warehouse) -> None:
    warehouse.loaded([schema(_IDS), _file(warehouse.folder, 0, 10), state({})])

    done = warehouse.load([schema(_IDS), _file(warehouse.folder, 20, 10), state({"not": "printed"})])

    assert done.exit_code == 1
    assert done.stdout == b""
    [error] = [line for line in done.stderr.splitlines() if "ERROR" in line]
    assert "begins at row 20 of read stream 0" in error
    assert (warehouse.folder / "20.arrow").exists()


def test_the_staging_table_of_a_given_up_version_takes_its_offsets_with_it(warehouse: Warehouse) -> None:
    warehouse.loaded([schema(_IDS), _file(warehouse.folder, 0, 10), state({})])
    warehouse.loaded([schema(_IDS), record(2, id=0), state({})])

    warehouse.loaded([schema(_IDS), _file(warehouse.folder, 0, 10), activate(1)])

    assert _found(warehouse) == list(range(10))


def test_a_file_of_another_tap_is_known_by_its_name(warehouse: Warehouse) -> None:
    file = arrow_file(warehouse.folder, "a", _ids(0, 10))
    other = arrow_file(warehouse.folder, "b", _ids(10, 10))
    for _ in range(2):
        warehouse.loaded([schema(_IDS), file, other], delete_files=False)

    assert _found(warehouse) == list(range(20))


def test_parquet_files_say_where_their_rows_are_from(warehouse: Warehouse, tmp_path: Path) -> None:
    made = _file(tmp_path, 0, 300)
    with pa.memory_map(str(tmp_path / "0.arrow")) as file:
        pq.write_table(pa.ipc.open_file(file).read_all(), tmp_path / "0.parquet", row_group_size=70)
    message = {**made, "encoding": {"format": "parquet"}, "manifest": [(tmp_path / "0.parquet").as_uri()]}
    shutil.copy(tmp_path / "0.parquet", tmp_path / "kept")
    warehouse.loaded([schema(_IDS), message, state({})])
    shutil.copy(tmp_path / "kept", tmp_path / "0.parquet")
    warehouse.loaded([schema(_IDS), message, activate(1)])

    assert _found(warehouse) == list(range(300))


def test_records_with_keys_that_come_again_take_their_own_places(warehouse: Warehouse) -> None:
    warehouse.loaded([schema(_IDS, "id"), *(record(1, id=n) for n in range(20)), state({})])
    warehouse.loaded([schema(_IDS, "id"), *(record(1, id=n) for n in range(10, 30)), activate(1)])
    warehouse.loaded([schema(_IDS, "id"), *(record(1, id=n) for n in range(25, 30)), activate(1)])

    assert _found(warehouse) == list(range(30))


def test_a_state_waits_for_its_rows(warehouse: Warehouse) -> None:
    """Printed at once, it would speak of rows that a target that fails has not loaded."""
    done = warehouse.load([schema(_IDS, "id"), record(id=1), state({"last": 1}), record(id="no number")])

    assert done.exit_code == 1
    assert done.stdout == b""
    assert warehouse.tables() == set()
