"""`tap-redivis | target-adbc`: the warehouse holds the source's rows, value by value."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from redivis_emulator import DEFAULT_TOKEN, Emulator, demo
from tests.support.batches import batch_config
from tests.support.pipes import pipe
from tests.support.served import Site, visits, write_table
from tests.target.conftest import Warehouse

_ENCODINGS = ("records", "arrow", "parquet", "jsonl")


@pytest.fixture(name="types", scope="module")
def make_types(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    demo.build(folder)
    return folder


@pytest.mark.parametrize("encoding", _ENCODINGS)
def test_extremes_of_all_types_arrive(in_postgres: Warehouse, types: Path, tmp_path: Path, encoding: str) -> None:
    source = pq.read_table(types / "demo/types/all_types.parquet")
    with Emulator(types) as emulator:
        site = Site(emulator, types, tmp_path, DEFAULT_TOKEN)
        settings = {} if encoding == "records" else {"batch_config": batch_config(encoding, tmp_path / "lake")}
        done = pipe(site.tap(tables=["demo.types.all_types"], **settings), in_postgres.program())

    assert (done.tap.exit_code, done.target.exit_code) == (0, 0), done.target.stderr
    kept = [name for name in source.column_names if not pa.types.is_floating(source.schema.field(name).type)]
    found = in_postgres.rows("types__all_types", *kept)
    assert sorted(map(str, found)) == sorted(map(str, zip(*(source[name].to_pylist() for name in kept), strict=True)))


@pytest.mark.parametrize("encoding", _ENCODINGS)
def test_versions_replace_each_other(warehouse: Warehouse, tmp_path: Path, encoding: str) -> None:
    folder = tmp_path / "served"
    write_table(folder, "demo/visits/v1.0/visits", visits(3000))
    with Emulator(folder) as emulator:
        site = Site(emulator, folder, tmp_path, DEFAULT_TOKEN)
        settings = {"row_key": encoding in ("records", "jsonl")}
        if encoding != "records":
            settings["batch_config"] = batch_config(encoding, tmp_path / "lake", batch_size=500)
        first = pipe(site.tap(**settings), warehouse.program())
        site.release("demo/visits/v1.1/visits", visits(2000, first=2000))
        second = pipe(site.tap(state=first.target.state, **settings), warehouse.program())

    assert second.target.exit_code == 0, second.target.stderr
    assert [number for [number] in warehouse.rows("visits__visits", "id")] == list(range(2000, 4000))
    assert warehouse.tables() == {"visits__visits"}
    assert [path for path in (tmp_path / "lake").rglob("*") if path.is_file()] == []
