"""What is compared with what: scenes, each one emulator and the cases that take turns there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.cases import (
    AT_ONCE,
    TAP,
    Body,
    Case,
    batch_case,
    client_case,
    copies_case,
    curl_case,
    curl_copies_case,
    discovery_case,
    many_case,
    plain_case,
    rows_case,
    tap_case,
    to_null,
)
from benchmarks.served import LOOPBACK, Network
from benchmarks.shapes import SHAPES, Shape, write_contents, write_many, write_shape

JSONL, AGAIN, ARROW, CSV = (f"{TAP}, {name}" for name in ("jsonl", "jsonl again", "arrow", "csv"))
CURL, CURL_ARROW = "curl of the same bytes, jsonl", "curl of the same bytes, arrow"
CURL_TO_FILE = f"{CURL_ARROW}, to a file"
PLAIN, BEST = "plain singer-sdk tap", "singer-sdk tap, MsgSpecWriter, conformance NONE"
NULL = ", to /dev/null"
CLIENT = f"official client, to_arrow_table and JSON lines{NULL}"
MANY, DISCOVERY = f"{TAP}, all tables", f"{TAP}, discovery of all tables"
TENTH = f"{TAP}, a tenth of the tables"
MANY_ONE_BY_ONE, DISCOVERY_ONE_BY_ONE = (f"{name}, one after another" for name in (MANY, DISCOVERY))
ENCODINGS = {
    "arrow": {"format": "arrow", "compression": "none"},
    "parquet": {"format": "parquet", "compression": "zstd"},
    "jsonl": {"format": "jsonl", "compression": "gzip"},
}
THREADS, DASK = f"{TAP}, parquet files, threads", f"{TAP}, parquet files, Dask"
FILES = {encoding: f"{TAP}, {encoding} files" for encoding in ENCODINGS}
BATCHERS = {
    "parquet": f"{PLAIN}, ParquetBatcher",
    "jsonl": f"{PLAIN}, JSONLinesBatcher",
}

COPIES, ROWS_ONLY = f"{TAP}, rows and their files", f"{TAP}, rows without their files"
CURL_COPIES, CURL_CHECKED = "curl of the same files", "curl of the same files, then md5sum"
FAR_COPIES, CURL_FAR_COPIES = (f"{name}, 50 ms, 20 MB/s a stream" for name in (COPIES, CURL_COPIES))
SMALL_COPIES = f"{TAP}, rows and their small files"
SMALL_ONE_BY_ONE = f"{SMALL_COPIES}, one after another"

_BEST_FACTOR = 3
"""So many times as many rows as the plain tap does the best SDK tap read in the same time."""
_LEAST_ROWS = 1_000  # more than a pipe holds, so that they do not come all at once
_CLIENT_ROWS = 1_000_000
_BATCH_ROWS = 1_000_000
_FILE_ROWS = 100_000
_LARGE_ROWS, _LARGE_REPEATS = 10_000_000, 10
"""Rows of a table whose reading takes much longer than the start of a program; the same ones come so many times."""
_STREAMS_ROWS = 300_000
_DASK_ROWS = 2_000_000
_DASK_WORKERS = 2
_FAR = Network(latency=0.05)
_FAR_AND_SLOW = replace(_FAR, rate=20_000_000)
_NETWORKS = (LOOPBACK, _FAR, _FAR_AND_SLOW)
_STREAMS = (1, 2, 4, 8)
_MANY_TABLES, MANY_ROWS = 1_000, 100
_LARGE_FILES, _LARGE_BYTES = 50, 20 * 1024 * 1024
_SMALL_FILES, _SMALL_BYTES = 1_000, 1024


@dataclass(frozen=True)
class Scene:
    """Cases that are compared with each other.

    Attributes:
        name: Short.
        words: What is read, for people.
        write: Writes what the emulator serves into a folder.
        cases: In the order of the table.
        baseline: Name of the case that the others are compared with.
        workers: Of a Dask cluster that is there meanwhile; 0: there is none.
        is_long: Whether one run of each has to do, the one that else would warm up: its programs wait most of the time.
    """

    name: str
    words: str
    write: Callable[[Path], None]
    cases: tuple[Case, ...]
    baseline: str
    workers: int = 0
    is_long: bool = False

    @property
    def bodies(self) -> list[Body]:
        """All that the server will send, once each."""
        return list(dict.fromkeys(case.body for case in self.cases if case.body))


def scenes(scale: float) -> list[Scene]:
    """Make all scenes.

    Args:
        scale: What all numbers of rows are multiplied by.
    """
    typical = _scaled(SHAPES["typical"], scale)
    others = [_scaled(shape, scale) for name, shape in SHAPES.items() if name != "typical"]
    return [
        _whole(typical),
        *map(_shape, others),
        _client(typical, scale),
        _networks(typical, scale),
        _batch(typical, scale),
        _files(typical, scale),
        _dask(typical, scale),
        _many(scale),
        _discovery(scale),
        _contents(scale),
        _small_contents(scale),
    ]


def _scaled(shape: Shape, scale: float) -> Shape:
    return replace(shape, rows=_few(shape.rows, scale), slow_rows=_few(shape.slow_rows, scale))


def _few(rows: int, scale: float) -> int:
    return max(_LEAST_ROWS, round(rows * scale))


def _scene(shape: Shape, cases: tuple[Case, ...]) -> Scene:
    words = f"{shape.words}; {shape.rows:,} rows, {shape.slow_rows:,} for the plain tap"
    return Scene(shape.name, words, _table(shape), cases, PLAIN)


def _whole(shape: Shape) -> Scene:
    """Compare all that the tap can do on the typical table."""
    jsonl = tap_case("jsonl", shape)
    again = replace(jsonl, name=AGAIN)
    cases = (
        curl_case(CURL, shape, "jsonl"),
        curl_case(CURL_ARROW, shape, "arrow"),
        jsonl,
        again,
        to_null(jsonl),
        tap_case("arrow", shape, wire_format="arrow"),
        tap_case("csv", shape, wire_format="csv"),
        tap_case("jsonl, row key", shape, row_key=True),
        tap_case("jsonl, row key and lineage", shape, row_key=True, lineage=True),
        *_sdk(shape),
    )
    return _scene(shape, cases)


def _client(shape: Shape, scale: float) -> Scene:
    """Compare with the official client, which holds the whole table in memory."""
    table = replace(shape, rows=_few(_CLIENT_ROWS, scale))
    cases = (
        tap_case("jsonl", table),
        client_case("to_arrow_table and JSON lines", table, "arrow"),
        client_case("to_arrow_table and write_ndjson of Polars", table, "polars"),
        client_case("to_pandas_dataframe and to_json", table, "pandas"),
    )
    words = f"{table.words}, {table.rows:,} rows"
    return Scene("client", words, _table(table), tuple(map(to_null, cases)), CLIENT)


def _shape(shape: Shape) -> Scene:
    """Compare the wire formats on a table of another shape."""
    formats = (tap_case(name, shape, wire_format=name) for name in ("jsonl", "arrow", "csv"))
    return _scene(shape, (curl_case(CURL, shape, "jsonl"), *formats, *_sdk(shape)))


def _sdk(shape: Shape) -> tuple[Case, Case]:
    best_rows = min(shape.rows, _BEST_FACTOR * shape.slow_rows)
    return plain_case(shape, "plain", shape.slow_rows), plain_case(shape, "best", best_rows)


def _networks(shape: Shape, scale: float) -> Scene:
    """Show what parallel read streams are worth."""
    table = replace(shape, rows=_few(_STREAMS_ROWS, scale))
    cases = tuple(
        replace(tap_case(_streams(network, count), table, max_streams=count), network=network)
        for network in _NETWORKS
        for count in _STREAMS
    )
    words = f"{table.words}, {table.rows:,} rows in JSON Lines; read streams, and what the network adds"
    return Scene("streams", words, _table(table), cases, cases[0].name)


def _streams(network: Network, count: int) -> str:
    return f"{network.words}, {count} stream{'s' * (count > 1)}"


def _batch(shape: Shape, scale: float) -> Scene:
    """Compare files with curl of the same Arrow bytes, and with the SDK's own batchers."""
    table = replace(shape, rows=_few(_BATCH_ROWS, scale))
    cases = [curl_case(CURL_ARROW, table, "arrow")]
    cases += [batch_case(FILES[name], table, encoding, batch_size=_FILE_ROWS) for name, encoding in ENCODINGS.items()]
    cases += [_batcher(encoding, table) for encoding in BATCHERS]
    words = f"{table.words}, {table.rows:,} rows, {table.slow_rows:,} for the SDK; files of {_FILE_ROWS:,} rows"
    return Scene("batch", words, _table(table), tuple(cases), CURL_ARROW)


def _batcher(encoding: str, table: Shape) -> Case:
    batch = {"encoding": {"format": encoding}, "batch_size": _FILE_ROWS}
    return replace(plain_case(table, "files", table.slow_rows, batch), name=BATCHERS[encoding])


def _files(shape: Shape, scale: float) -> Scene:
    """Compare the same where the start of a program weighs little, with files as large as they are by themselves."""
    part = replace(shape, rows=_few(_LARGE_ROWS // _LARGE_REPEATS, scale))
    table = replace(part, rows=part.rows * _LARGE_REPEATS)
    files = (batch_case(FILES[name], table, ENCODINGS[name]) for name in ("arrow", "parquet"))
    curls = (curl_case(CURL_ARROW, table, "arrow"), curl_case(CURL_TO_FILE, table, "arrow", to_file=True))
    cases = (*curls, *files, _batcher("parquet", table))
    words = (
        f"{table.words}, {table.rows:,} rows, the same {part.rows:,} again and again, {table.slow_rows:,} for the SDK; "
        "files of 128 MiB at most"
    )
    return Scene("files", words, lambda folder: write_shape(folder, part, part.rows, _LARGE_REPEATS), cases, CURL_ARROW)


def _dask(shape: Shape, scale: float) -> Scene:
    """Write files by the tap's threads, and by the workers of a cluster on the same processors."""
    table = replace(shape, rows=_few(_DASK_ROWS, scale))
    cases = tuple(
        batch_case(name, table, ENCODINGS["parquet"], executor=executor, batch_size=_FILE_ROWS)
        for name, executor in ((THREADS, "threads"), (DASK, "dask"))
    )
    words = f"{table.words}, {table.rows:,} rows; Parquet files of {_FILE_ROWS:,} rows, {_DASK_WORKERS} workers"
    return Scene("dask", words, _table(table), cases, THREADS, workers=_DASK_WORKERS)


def _many(scale: float) -> Scene:
    """Read many small tables over a network with latency: looking ahead, one after another, and a tenth of them."""
    tables = max(2, round(_MANY_TABLES * scale))
    tenth = max(1, tables // 10)
    cases = (
        replace(many_case(tables, MANY_ROWS), name=MANY, network=_FAR),
        replace(many_case(tables, MANY_ROWS, max_requests=1), name=MANY_ONE_BY_ONE, network=_FAR),
        replace(many_case(tenth, MANY_ROWS, datasets=["bench.tenth"]), name=TENTH, network=_FAR),
    )
    words = f"{tables:,} tables of {MANY_ROWS} rows, {_FAR.words} before each answer; one run each"

    def write(folder: Path) -> None:
        write_many(folder, tables, MANY_ROWS)
        write_many(folder, tenth, MANY_ROWS, "tenth")

    return Scene("many", words, write, cases, MANY_ONE_BY_ONE, is_long=True)


def _discovery(scale: float) -> Scene:
    """Discover many tables over a network with latency, several at once and one after another."""
    tables = max(2, round(_MANY_TABLES * scale))
    ahead = replace(discovery_case(tables), name=DISCOVERY, network=_FAR)
    one_by_one = replace(discovery_case(tables, max_requests=1), name=DISCOVERY_ONE_BY_ONE, network=_FAR)
    words = f"{tables:,} tables, which here are the rows; {_FAR.words} before each answer; one run each"
    return Scene("discovery", words, _tables(tables), (ahead, one_by_one), DISCOVERY_ONE_BY_ONE, is_long=True)


def _contents(scale: float) -> Scene:
    """Compare the copying of large files with curl, on this machine and over a network that is as fast as many are."""
    count = max(2, round(_LARGE_FILES * scale))
    curl, ours = curl_copies_case(CURL_COPIES, count), copies_case(COPIES, count, max_requests=AT_ONCE)
    cases = (
        curl,
        curl_copies_case(CURL_CHECKED, count, check=True),
        ours,
        rows_case(ROWS_ONLY, count),
        replace(curl, name=CURL_FAR_COPIES, network=_FAR_AND_SLOW),
        replace(ours, name=FAR_COPIES, network=_FAR_AND_SLOW),
    )
    words = f"{count} files of {_LARGE_BYTES >> 20} MiB, each of a row, {AT_ONCE} at once into a folder in memory"
    return Scene("contents", words, lambda folder: write_contents(folder, count, _LARGE_BYTES), cases, CURL_COPIES)


def _small_contents(scale: float) -> Scene:
    """Copy many small files over a network with latency: as many at once as by default, and one after another."""
    count = max(2, round(_SMALL_FILES * scale))
    cases = (
        replace(copies_case(SMALL_COPIES, count), network=_FAR),
        replace(copies_case(SMALL_ONE_BY_ONE, count, max_requests=1), network=_FAR),
    )
    words = f"{count:,} files of {_SMALL_BYTES:,} bytes, each of a row; {_FAR.words} before each answer; one run each"

    def write(folder: Path) -> None:
        write_contents(folder, count, _SMALL_BYTES)

    return Scene("contents-small", words, write, cases, SMALL_ONE_BY_ONE, is_long=True)


def _table(shape: Shape) -> Callable[[Path], None]:
    return lambda folder: write_shape(folder, shape, shape.rows)


def _tables(count: int) -> Callable[[Path], None]:
    return lambda folder: write_many(folder, count, MANY_ROWS)
