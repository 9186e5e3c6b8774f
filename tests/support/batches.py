"""The files that BATCH messages name, read back."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

from tap_redivis.model.columns import ROW_KEY
from tests.support.pipes import Json
from tests.support.served import records_of

ENCODINGS = ("arrow", "parquet", "jsonl")
VERSION_COLUMNS = ("_sdc_table_version", "_redivis_version")
_ADDED = {*VERSION_COLUMNS, ROW_KEY}


def batch_config(encoding: str, root: Path | str, **settings: object) -> Json:
    """Make the setting of that name."""
    return {"encoding": {"format": encoding}, "storage": {"root": str(root)}, **settings}


def files_of(messages: Iterable[Json]) -> list[Path]:
    """List the files that messages name, in their order."""
    urls = [url for message in messages if message["type"] == "BATCH" for url in message["manifest"]]
    assert all(url.startswith("file:///") for url in urls)
    return [Path(unquote(urlsplit(url).path)) for url in urls]


def table_in(path: Path) -> pa.Table:
    """Read a file of Arrow or Parquet, version columns included."""
    if path.suffix == ".parquet":
        return pq.read_table(path, partitioning=None)
    with pa.ipc.open_file(path) as reader:
        return reader.read_all()


def all_records_in(path: Path) -> list[Json]:
    """Read the rows of a file as records, version columns included."""
    if ".jsonl" not in path.name:
        return records_of(table_in(path))
    data = path.read_bytes()
    return [json.loads(line) for line in (gzip.decompress(data) if path.suffix == ".gz" else data).splitlines()]


def records_in(path: Path) -> list[Json]:
    """Read the rows of a file as records, without the columns that are added."""
    kept = all_records_in(path)
    return [{name: value for name, value in each.items() if name not in _ADDED} for each in kept]


def records_of_files(paths: Iterable[Path]) -> list[Json]:
    """Read the rows of some files."""
    return [record for path in paths for record in records_in(path)]


def table_of_files(paths: Sequence[Path]) -> pa.Table:
    """Read some files of Arrow or Parquet as one table, without the version columns."""
    return pa.concat_tables(map(table_in, paths)).drop_columns(list(VERSION_COLUMNS))


def with_rows(message: Json) -> Iterator[Json]:
    """Give the rows of a file as messages; each must say its load and its version itself."""
    if message["type"] != "BATCH":
        yield message
        return
    [path] = files_of([message])
    for record in all_records_in(path):
        assert record.pop("_sdc_table_version") == message["version"]
        assert record.pop("_redivis_version")
        yield {"type": "RECORD", "version": message["version"], "record": record}
