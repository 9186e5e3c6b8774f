"""Queries and exports of the official client."""

from __future__ import annotations

import pytest

from tests.conformance import library
from tests.conformance.conftest import Session

# One client process for all tests of this folder, also with several workers.
pytestmark = pytest.mark.xdist_group("official client")


def test_a_table_is_exported_as_csv(client: Session) -> None:
    assert client.value("csv_export").replace('"', "") == "id,clinic,cost,paid,seen_on,seen_at"


def test_queries_have_variables(client: Session) -> None:
    assert client.value("query_in_a_dataset") == [["n", "integer"], ["last", "dateTime"]]


def test_queries_that_fail_say_why(client: Session) -> None:
    kind, message = client.value("query_that_fails")

    assert kind == "JobError"
    assert "nothing" in message


def test_query_get(client: Session) -> None:
    assert client.value("query_get") == ["completed", 3, 1, "float"]


def test_bare_names_are_found_in_a_workflow_and_its_data_sources(client: Session) -> None:
    assert client.value("query_with_bare_names") == [{"n": library.VISITS.num_rows * library.SUMMARY.num_rows}]


def test_tables_are_named_by_reference_ids_alone(client: Session) -> None:
    assert client.value("query_by_reference_ids") == [{"n": library.VISITS.num_rows}]


def test_exports_are_downloaded_in_each_format(client: Session) -> None:
    rows = {"table": 20_000, "query": 20_000, "upload": 20_000, "workflow": 2}

    expected = {f"{name} {form}": count for name, count in rows.items() for form in ("csv", "ndjson", "parquet")}
    assert client.value("downloads") == expected


def test_a_download_replaces_a_file_only_if_asked_to(client: Session) -> None:
    assert client.value("download_again") == [["ValueError"], library.VISITS.num_rows + 1]


def test_export_formats_that_the_emulator_lacks_are_refused(client: Session) -> None:
    assert client.value("unknown_export_formats") == [["APIError"]] * 3


def test_an_export_is_waited_for_and_downloaded(client: Session) -> None:
    assert client.value("export_by_hand") == ["completed", 1, True]
