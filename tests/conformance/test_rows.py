"""Rows as the official client reads them, in each of its ways."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tests.conformance import library
from tests.conformance.conftest import Session

# One client process for all tests of this folder, also with several workers.
pytestmark = pytest.mark.xdist_group("official client")

_VISITS, _TYPES, _RETYPED, _EMPTY = library.VISITS, library.ALL_TYPES, library.RETYPED, library.VISITS.slice(0, 0)
_JANUARY, _FEBRUARY = library.UPLOADS["january.csv"], library.UPLOADS["february.csv"]


def _rows(table: pa.Table) -> list[tuple[str, ...]]:
    """Return rows in an order of their own, as texts, which tell NaN from null and 0.0 from -0.0."""
    return sorted(zip(*(map(repr, column.to_pylist()) for column in table.columns), strict=True))


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        pytest.param(step, expected, id=step)
        for step, expected in {
            "arrow_of_a_version": library.FIRST_VISITS,
            "all_types_by_rows": _TYPES,
            "all_types_by_session": _TYPES,
            "all_types_by_export": _TYPES,
            "all_types_by_query": _TYPES,
            "retyped_by_rows": _RETYPED,
            "wide_by_rows": library.WIDE,
            "empty_by_rows": _EMPTY,
            "empty_by_session": _EMPTY,
            "arrow_by_session": _VISITS,
            "read_streams": _VISITS,
            "some_variables_by_read_streams": _VISITS.select(["paid", "id"]),
            "query": _VISITS.select(["id", "clinic", "cost"]).slice(0, 1000),
            "query_in_a_workflow": library.SUMMARY,
            "query_of_a_draft": _VISITS,
            "draft_by_read_streams": pa.concat_tables([_JANUARY, _FEBRUARY], promote_options="default"),
            "iterator_over_five_streams": _VISITS,
            "preprocessed_batches": _VISITS.filter([n % 2 == 0 for n in range(_VISITS.num_rows)]),
            "streams_of_a_query": _VISITS,
            "streams_of_an_upload": _VISITS,
            "streams_of_a_workflow_table": library.SUMMARY,
            "summary_of_a_workflow": library.SUMMARY,
            "small_upload": _FEBRUARY,
        }.items()
    ],
)
def test_tables_come_with_the_types_and_values_that_are_served(client: Session, step: str, expected: pa.Table) -> None:
    table = client.table(step)

    assert table.schema.equals(expected.schema)
    assert _rows(table) == _rows(expected)


@pytest.mark.parametrize("reading", library.READINGS, ids=lambda reading: reading.name)
def test_each_way_reads_each_source_whole_limited_and_by_variables(client: Session, reading: library.Reading) -> None:
    names = [name.lower() for name in reading.parameters.get("variables", _VISITS.column_names)]
    expected = _VISITS.select(names)

    got = client.table(reading.name).sort_by("id")

    if limit := reading.parameters.get("max_results"):
        assert got.num_rows == len(set(got["id"].to_pylist())) == limit
        expected = expected.take(got["id"])
    assert got.equals(expected)


def test_not_more_rows_come_than_were_asked_for_and_none_twice(client: Session) -> None:
    got = _rows(client.table("some_rows_by_session"))

    assert len(got) == len(set(got)) == 15_000
    assert set(got) <= set(_rows(_VISITS))


@pytest.mark.parametrize(
    ("table", "ways"),
    [
        ("visits_session", {"POST readSessions", "GET rows"}),  # few rows of it come in one answer
        ("visits_export", {"POST exports", "POST readSessions"}),  # limits and iterators need no export
        ("all_types", {"GET rows"}),
    ],
)
def test_tables_are_read_in_the_way_that_their_size_calls_for(client: Session, table: str, ways: set[str]) -> None:
    assert client.asked(table) - {"GET variables"} == ways


def test_a_session_has_the_streams_and_rows_that_it_says(client: Session) -> None:
    assert client.value("read_stream_counts") == [4, 20_000]


def test_an_iterator_reads_several_streams_one_after_another(client: Session) -> None:
    asked = [request.path for request in client.requests if request.path.startswith("/readStreams/")]
    sessions = [path.removesuffix("4") for path in asked if path.endswith(".4")]

    of_each = [[path for path in asked if path.startswith(session)] for session in sessions]
    assert [[f"{session}{number}" for number in range(5)] for session in sessions[-1:]] == of_each[-1:] != []


def test_pandas_frames_have_each_backend(client: Session) -> None:
    rows = _VISITS.num_rows
    frames = client.value("pandas_with_each_backend")

    assert {(length, total) for length, total, _ in frames} == {(rows, rows * (rows - 1) // 2)}
    assert [kind for *_, kind in frames][::3] == ["date32[day][pyarrow]", "object"]


def test_geographies_have_a_shape(client: Session) -> None:
    both = ["EPSG:4326", sorted(library.PLACES["place"].to_pylist())]
    frames = client.value("geopandas")

    assert [*frames[:2], *frames[3:]] == [both] * 4
    assert len(frames[2][1]) == 1


def test_deprecated_dataframes_still_come(client: Session) -> None:
    assert client.value("deprecated_dataframes") == [20_000, 10, "place", [20_000] * 3]


def test_samples_of_tables(client: Session) -> None:
    """The client drops the word from a dataset's name, and keeps it at the end of a table's (redivis-api §13)."""
    assert client.value("sample_of_a_table") == [[False, 2], [True, 1]]


def test_dask_by_export_fails_in_the_client(client: Session) -> None:
    """Not the emulator's fault: docs/emulator.md names it."""
    assert "No such file" in client.value("dask_by_export")


def test_what_the_client_refuses_by_itself(client: Session) -> None:
    assert client.value("what_the_client_refuses") == {
        "list_rows": ["DeprecationError"],
        "geography": ["NotFoundError"],
        "files": ["ValueError"],
        "file": ["ValueError"],
        "download": ["ValueError"],
        "streams": ["ValueError"],
    }
