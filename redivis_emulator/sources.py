"""The rows of a table file in their storage types.

The rows are copied once to an Arrow file in a temporary folder, which is mapped into memory: slices are fast, a table
of many gigabytes needs no memory, and later changes of the original file have no effect.
"""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

from redivis_emulator.errors import FolderError
from redivis_emulator.variable_types import ARROW_TYPES, convert, variable_type

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from redivis_emulator.variable_types import VariableType

SUFFIXES = (".csv", ".jsonl", ".parquet")
_BATCH_ROWS = 65536


@dataclass(frozen=True, eq=False)
class Source:
    """The rows of one file, in order.

    Args:
        rows: The rows, in storage types; mapped into memory.
        digest: MD5 of the file, as hexadecimal digits.
        file_bytes: Size of the file.
        repeats: How many times the rows of the file are repeated.
    """

    rows: pa.Table
    digest: str
    file_bytes: int
    repeats: int = 1

    @property
    def schema(self) -> pa.Schema:
        """Columns as they are stored."""
        return self.rows.schema

    @property
    def num_rows(self) -> int:
        """Number of rows."""
        return int(self.rows.num_rows)

    @cached_property
    def num_bytes(self) -> int:
        """Size of the rows in memory; computed once, as each block of a read stream uses it."""
        return int(self.rows.nbytes)

    @property
    def period(self) -> int:
        """Number of rows after which the rows repeat."""
        return self.num_rows // self.repeats


class Shelf:
    """Opens files; files with the same content are opened only once.

    Args:
        scratch: Folder for the copies.
    """

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._known: dict[object, Source] = {}

    def open(self, path: Path, stored: Mapping[str, VariableType], repeats: int = 1) -> Source:
        """Return the rows of a table file.

        Args:
            path: A file with one of `SUFFIXES`.
            stored: Storage types by column name; the types of other columns are taken from the file.
            repeats: How many times the rows are repeated; repetitions need no memory.

        Raises:
            FolderError: The file cannot be read, or a value does not fit its storage type.
        """
        digest = md5(path).hex()
        key = (digest, path.suffix, frozenset(stored.items()), repeats)
        if key not in self._known:
            try:
                rows = _mapped(self._copy(*_read(path, stored)))
                rows = pa.concat_tables([rows] * repeats)
                self._known[key] = Source(rows, digest, path.stat().st_size, repeats)
            except (pa.ArrowException, OSError) as error:
                raise FolderError(path, str(error)) from error
        return self._known[key]

    def keep(self, rows: pa.Table) -> Source:
        """Store rows that come from no file."""
        copy = self._copy(rows.schema, [rows])
        return Source(_mapped(copy), md5(copy).hex(), copy.stat().st_size)

    def new_path(self, suffix: str) -> Path:
        """Return the path of a temporary file that does not exist yet."""
        return self._scratch / f"{uuid.uuid4().hex}{suffix}"

    def _copy(self, schema: pa.Schema, pieces: Iterable[pa.Table]) -> Path:
        copy = self.new_path(".arrow")
        with pa.ipc.new_file(copy, schema) as writer:
            for piece in pieces:
                columns = [convert(c, f.type) for c, f in zip(piece.columns, schema, strict=True)]
                writer.write_table(pa.Table.from_arrays(columns, schema=schema), max_chunksize=_BATCH_ROWS)
        return copy


def _mapped(copy: Path) -> pa.Table:
    return pa.ipc.open_file(pa.memory_map(str(copy))).read_all()


def md5(path: Path) -> bytes:
    """Return the MD5 of a file."""
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.digest()


def _read(path: Path, stored: Mapping[str, VariableType]) -> tuple[pa.Schema, Iterable[pa.Table]]:
    """Return the columns in their storage types, and the rows in the types of the file."""
    if path.suffix == ".parquet":
        return _storage_schema(path, pq.read_schema(path), stored), _read_parquet(path)
    rows = _read_text(path, stored)
    return _storage_schema(path, rows.schema, stored), [rows]


def _read_text(path: Path, stored: Mapping[str, VariableType]) -> pa.Table:
    strings = {name: pa.string() for name, kind in stored.items() if ARROW_TYPES[kind] == pa.string()}
    if path.suffix == ".csv":
        if path.stat().st_size == 0:
            msg = "the file is empty: a CSV file needs a header line"
            raise FolderError(path, msg)
        options = pa.csv.ConvertOptions(
            column_types=strings, strings_can_be_null=True, quoted_strings_can_be_null=False, null_values=[""]
        )
        return pa.csv.read_csv(
            path, convert_options=options, parse_options=pa.csv.ParseOptions(newlines_in_values=True)
        )
    rows = pa.json.read_json(path)
    if strings:
        # An explicit schema puts its columns first, and adds columns that the file lacks.
        options = pa.json.ParseOptions(explicit_schema=pa.schema(strings))
        rows = pa.json.read_json(path, parse_options=options).select(rows.column_names)
    return rows


def _read_parquet(path: Path) -> Iterator[pa.Table]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=_BATCH_ROWS):
            yield pa.Table.from_batches([batch])


def _storage_schema(path: Path, found: pa.Schema, stored: Mapping[str, VariableType]) -> pa.Schema:
    fields = []
    for field in found:
        kind = stored.get(field.name) or variable_type(field.type)
        if kind is None:
            raise FolderError(path, f"column {field.name!r} has type {field.type}, which no Redivis variable can hold")
        fields.append(pa.field(field.name, ARROW_TYPES[kind]))
    return pa.schema(fields)
