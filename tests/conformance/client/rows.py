"""Steps that read rows: each way of the client, from each kind of resource, whole, limited and by variables."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import pyarrow as pa
import redivis

from tests.conformance import library
from tests.conformance.client.steps import STEPS, analysis, claims, control, draft, error_of, step, table


def _plain(found: pa.Table) -> pa.Table:
    """Return a table with ordinary texts, without what pandas notes in its schema."""
    texts = [pa.field(f.name, pa.string()) if pa.types.is_large_string(f.type) else f for f in found.schema]
    return found.cast(pa.schema(texts)).replace_schema_metadata()


def _from_pandas(frame: Any) -> pa.Table:
    return _plain(pa.Table.from_pandas(frame, preserve_index=False))


def _from_batches(batches: Any) -> pa.Table:
    return pa.Table.from_batches(list(batches))


_FINISH: dict[str, Callable[[Any], pa.Table]] = {
    "to_arrow_table": lambda found: found,
    "to_pandas_dataframe": _from_pandas,
    "to_arrow_dataset": lambda found: found.to_table(),
    "to_polars_lazyframe": lambda found: _plain(found.collect().to_arrow()),
    "to_dask_dataframe": lambda found: _from_pandas(found.compute()),
    "to_arrow_batch_iterator": _from_batches,
}


@cache
def _query() -> Any:
    return redivis.query("SELECT * FROM `demo.medicare:v1_1.visits`")


@cache
def _read_stream() -> Any:
    (stream,) = table("visits").to_read_streams(1)
    return stream


_READERS: dict[str, Callable[[], Any]] = {
    "rows": lambda: table("visits"),
    "session": lambda: table("visits_session"),
    "export": lambda: table("visits_export"),
    "workflow": lambda: analysis().table("visits"),
    "query": _query,
    "upload": lambda: draft("seen").upload("visits.parquet"),
    "read stream": _read_stream,
}


def _read(reading: library.Reading) -> pa.Table:
    way = getattr(_READERS[reading.source](), reading.way)
    return _FINISH[reading.way](way(progress=False, **reading.parameters))


for _reading in library.READINGS:
    STEPS[_reading.name] = partial(_read, _reading)


@step
def iterator_over_five_streams() -> Any:
    control("faults", {"kind": "streams", "path": "*.visits_session:*/readSessions", "count": 5})
    return _from_batches(table("visits_session").to_arrow_batch_iterator(progress=False))


@step
def pandas_with_each_backend() -> Any:
    backends = ("pyarrow", "numpy_nullable", "numpy")
    frames = [table("visits").to_pandas_dataframe(dtype_backend=each, progress=False) for each in backends]
    frames.append(table("visits").to_pandas_dataframe(dtype_backend="numpy", date_as_object=True, progress=False))
    return [[len(frame), int(frame["id"].sum()), str(frame["seen_on"].dtype)] for frame in frames]


@step
def dask_by_export() -> Any:
    try:
        table("visits_export").to_dask_dataframe(progress=False).compute()
    except FileNotFoundError as error:
        return str(error)
    return None


@step
def geopandas() -> Any:
    frames = [
        table("places").to_geopandas_dataframe(progress=False),
        table("places").to_geopandas_dataframe(geography_variable="place", progress=False),
        table("places").to_geopandas_dataframe(max_results=1, progress=False),
        redivis.query("SELECT * FROM `demo.medicare.places`").to_geopandas_dataframe(progress=False),
        table("places").to_read_streams(1)[0].to_geopandas_dataframe(progress=False),
    ]
    return [[str(frame.crs), sorted(map(str, frame.geometry))] for frame in frames]


@step
def deprecated_dataframes() -> Any:
    plain = table("visits").to_dataframe(variables=["id"], progress=False)
    limited = table("visits").to_dataframe(10, progress=False)
    readers = (_query(), _read_stream(), draft("seen").upload("visits.parquet"))
    others = [len(reader.to_dataframe(progress=False)) for reader in readers]
    return [len(plain), len(limited), table("places").to_dataframe(progress=False).geometry.name, others]


@step
def preprocessed_batches() -> Any:
    def even(batch: pa.RecordBatch) -> pa.RecordBatch:
        return batch.filter(pa.compute.equal(pa.compute.bit_wise_and(batch["id"], 1), 0))

    import pyarrow.compute  # noqa: PLC0415, F401

    return table("visits_session").to_arrow_table(batch_preprocessor=even, progress=False)


@step
def streams_of_a_query() -> Any:
    return pa.concat_tables(stream.to_arrow_table(progress=False) for stream in _query().to_read_streams(2))


@step
def streams_of_an_upload() -> Any:
    streams = draft("seen").upload("visits.parquet").to_read_streams(2)
    return pa.concat_tables(stream.to_arrow_table(progress=False) for stream in streams)


@step
def streams_of_a_workflow_table() -> Any:
    streams = analysis().table("summary").to_read_streams(2)
    return pa.concat_tables(stream.to_arrow_table(progress=False) for stream in streams)


@step
def sample_of_a_table() -> Any:
    before, after = redivis.dataset("alice.trials:sample").table("trials"), redivis.table("alice.trials.trials:sample")
    return [[each.get()["isSample"], each.to_arrow_table(progress=False).num_rows] for each in (before, after)]


@step
def summary_of_a_workflow() -> Any:
    return analysis().table("summary").to_arrow_table(progress=False)


@step
def small_upload() -> Any:
    return claims().upload("february.csv").to_arrow_table(progress=False)


@step
def wide_by_rows() -> Any:
    return table("wide").to_arrow_table(progress=False)


@step
def arrow_of_a_version() -> Any:
    return redivis.dataset("demo.medicare", version="v1.0").table("visits").to_arrow_table(progress=False)


@step
def all_types_by_rows() -> Any:
    return table("all_types").to_arrow_table(progress=False)


@step
def all_types_by_session() -> Any:
    return table("all_types_session").to_arrow_table(progress=False)


@step
def all_types_by_export() -> Any:
    return table("all_types_export").to_arrow_table(progress=False)


@step
def retyped_by_rows() -> Any:
    return table("retyped").to_arrow_table(progress=False)


@step
def empty_by_rows() -> Any:
    return table("empty").to_arrow_table(progress=False)


@step
def empty_by_session() -> Any:
    return table("empty_session").to_arrow_table(progress=False)


@step
def arrow_by_session() -> Any:
    return table("visits_session").to_arrow_table(progress=False, max_parallelization=4)


@step
def some_rows_by_session() -> Any:
    return table("visits_session").to_arrow_table(max_results=15_000, progress=False)


@step
def what_the_client_refuses() -> Any:
    """Without asking the server, or because a reader has no geography."""
    upload, stream = draft("seen").upload("visits.parquet"), _read_stream()
    calls = {
        "list_rows": [reader.list_rows for reader in (table("visits"), _query(), upload, stream)],
        "geography": [upload.to_geopandas_dataframe],
        "files": [each for reader in (upload, stream) for each in (reader.to_directory, reader.list_files)],
        "file": [partial(reader.file, "x") for reader in (upload, stream)],
        "download": [stream.download, stream.download_files, upload.download_files],
        "streams": [stream.to_read_streams],
    }
    return {name: sorted({error for each in some for error in error_of(each)[:1]}) for name, some in calls.items()}


@step
def read_streams() -> Any:
    streams = table("visits").to_read_streams(4)
    return pa.concat_tables(stream.to_arrow_table(progress=False) for stream in streams)


@step
def read_stream_counts() -> Any:
    streams = table("visits").to_read_streams(4)
    return [len(streams), sum(stream.properties["estimatedRows"] for stream in streams)]


@step
def some_variables_by_read_streams() -> Any:
    streams = table("visits").to_read_streams(2, variables=["paid", "id"])
    return pa.concat_tables(stream.to_arrow_table(progress=False) for stream in streams)


@step
def draft_by_read_streams() -> Any:
    streams = claims().to_read_streams(1)
    return pa.concat_tables(stream.to_arrow_table(progress=False) for stream in streams)
