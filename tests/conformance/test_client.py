"""The official client, redivis 0.21.1, reads from the emulator what was put there: every row of redivis-api §10."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from redivis_emulator import Emulator
from redivis_emulator.log import Request
from tests.conformance import library
from tests.support.environments import environment

# One client process for all tests of this file, also with several workers.
pytestmark = pytest.mark.xdist_group("official client")

_SCRIPT = Path(__file__).parent / "client_script.py"
_DATASET = "demo.medicare:a1b2:v1_1"
_NEEDS_SECONDS = 300


@dataclass(frozen=True)
class Session:
    """What the client answered and what it asked the emulator for.

    Attributes:
        folder: Where the script wrote tables.
        answers: By step, `value` or `error`.
        requests: In order of arrival.
    """

    folder: Path
    answers: dict[str, dict[str, Any]]
    requests: list[Request]

    def value(self, step: str) -> Any:
        """Return what a step returned."""
        answer = self.answers[step]
        assert "error" not in answer, answer["error"]
        return answer["value"]

    def table(self, step: str) -> pa.Table:
        """Return the table that a step returned."""
        answer = self.answers[step]
        assert "error" not in answer, answer["error"]
        with pa.OSFile(str(self.folder / f"{step}.arrow")) as file:
            return pa.ipc.open_file(file).read_all()

    def asked(self, table: str) -> set[str]:
        """Return what was asked for below a table of the dataset, such as `POST readSessions`."""
        return {
            f"{request.method} {request.path.rpartition('/')[2]}"
            for request in self.requests
            if f".{table}:" in request.path and request.path.count("/") > 2
        }


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """The client has run all its steps."""
    served, written = tmp_path_factory.mktemp("served"), tmp_path_factory.mktemp("written")
    library.build(served)
    with Emulator(served) as emulator:
        variables = {"REDIVIS_API_ENDPOINT": emulator.endpoint, "REDIVIS_API_TOKEN": emulator.token or ""}
        done = subprocess.run(
            [environment("redivis").python, _SCRIPT, written],
            env={**os.environ, **variables, "REDIVIS_TMPDIR": str(written)},
            capture_output=True,
            text=True,
            check=False,
            timeout=_NEEDS_SECONDS,
        )
        assert done.returncode == 0, done.stderr
        assert "emulator-token" not in done.stdout + done.stderr
        answers = json.loads((written / "answers.json").read_text())
        yield Session(written, answers, emulator.requests)


def _rows(table: pa.Table) -> list[tuple[str, ...]]:
    """Return rows in an order of their own, as texts, which tell NaN from null and 0.0 from -0.0."""
    return sorted(zip(*(map(repr, column.to_pylist()) for column in table.columns), strict=True))


_VISITS, _TYPES, _RETYPED, _EMPTY = library.VISITS, library.ALL_TYPES, library.RETYPED, library.VISITS.slice(0, 0)
_JANUARY, _FEBRUARY = library.UPLOADS["january.csv"], library.UPLOADS["february.csv"]


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        pytest.param(step, expected, id=step)
        for step, expected in {
            "arrow_by_rows": _VISITS,
            "arrow_of_a_version": library.FIRST_VISITS,
            "some_variables_by_rows": _VISITS.select(["seen_at", "id"]),
            "pandas_by_rows": _VISITS,
            "all_types_by_rows": _TYPES,
            "all_types_by_session": _TYPES,
            "all_types_by_export": _TYPES,
            "all_types_by_query": _TYPES,
            "retyped_by_rows": _RETYPED,
            "wide_by_rows": library.WIDE,
            "empty_by_rows": _EMPTY,
            "empty_by_session": _EMPTY,
            "arrow_by_session": _VISITS,
            "some_variables_by_session": _VISITS.select(["seen_on", "id"]),
            "pandas_by_session": _VISITS,
            "dataset_by_session": _VISITS,
            "iterator_by_rows": _VISITS,
            "iterator_by_session": _VISITS,
            "arrow_by_export": _VISITS,
            "pandas_by_export": _VISITS,
            "read_streams": _VISITS,
            "some_variables_by_read_streams": _VISITS.select(["paid", "id"]),
            "query": _VISITS.select(["id", "clinic", "cost"]).slice(0, 1000),
            "query_in_a_workflow": library.SUMMARY,
            "workflow_table": library.SUMMARY,
            "inherited_table": _VISITS,
            "january_upload": _JANUARY,
            "february_upload": _FEBRUARY,
            "draft_by_read_streams": pa.concat_tables([_JANUARY, _FEBRUARY], promote_options="default"),
        }.items()
    ],
)
def test_tables_come_with_the_types_and_values_that_are_served(client: Session, step: str, expected: pa.Table) -> None:
    table = client.table(step)

    assert table.schema.equals(expected.schema)
    assert _rows(table) == _rows(expected)


@pytest.mark.parametrize(("step", "rows"), [("some_rows_by_rows", 123), ("some_rows_by_session", 15_000)])
def test_not_more_rows_come_than_were_asked_for_and_none_twice(client: Session, step: str, rows: int) -> None:
    got = _rows(client.table(step))

    assert len(got) == len(set(got)) == rows
    assert set(got) <= set(_rows(_VISITS))


@pytest.mark.parametrize(
    ("table", "ways"),
    [
        ("visits_session", {"POST readSessions"}),
        ("visits_export", {"POST exports", "POST readSessions"}),  # the iterator never reads by export
        ("all_types", {"GET rows"}),
    ],
)
def test_tables_are_read_in_the_way_that_their_size_calls_for(client: Session, table: str, ways: set[str]) -> None:
    assert client.asked(table) - {"GET variables"} == ways


def test_list_datasets(client: Session) -> None:
    of_organization, of_user = client.value("list_datasets")

    assert of_organization == [["Medicare", _DATASET, "medicare:a1b2:v1_1"]]
    assert [name for name, *_ in of_user] == ["trials"]


def test_list_tables(client: Session) -> None:
    found = {name: (reference, scoped) for name, reference, scoped in client.value("list_tables")}

    assert found["visits"] == (f"{_DATASET}.visits:v1s1", "visits:v1s1")
    assert found.keys() > {"visits_session", "retyped", "empty", "images", "Medicare 20% [2006-2018] Carrier"}


def test_dataset_get(client: Session) -> None:
    reference = ["Medicare", _DATASET, "medicare:a1b2:v1_1", f"/datasets/{_DATASET}"]

    assert client.value("dataset_get") == [*reference, "v1.1", "next"]


def test_list_versions(client: Session) -> None:
    uri = "/datasets/demo.medicare:a1b2/versions"

    assert dict(client.value("list_versions")) == {
        "v1.0": f"{uri}/v1_0",
        "v1.1": f"{uri}/v1_1",
        "next": f"{uri}/next",
    }


def test_versions_know_their_neighbours(client: Session) -> None:
    uri = "/datasets/demo.medicare:a1b2/versions"

    assert client.value("versions") == {
        "uri": f"{uri}/v1_1",
        "previous": f"{uri}/v1_0",
        "next": "next",
        "first": None,
        "by dot": f"{uri}/v1_0",
        "released": [True, False],
    }


def test_exists(client: Session) -> None:
    assert client.value("exists") == [[True] * 6, [False] * 5]


def test_what_is_not_there_is_not_found(client: Session) -> None:
    assert "demo.medicare.nothing" in client.value("not_found")


def test_owners_of_unknown_kind_are_told_apart(client: Session) -> None:
    assert client.value("unknown_owner_kind") == {"demo.medicare": [True, True], "alice.trials": [False, False]}


def test_list_variables(client: Session) -> None:
    types = ["string", "integer", "float", "boolean", "date", "dateTime", "time", "geography"]
    found = client.value("list_variables")

    assert found["all_types"] == [["id", "integer"], *([name, name] for name in types)]
    assert found["uri"].endswith("/variables/datetime")
    assert found["cost"] == ["Cost in dollars", "Before any discount."]
    assert {each["value"]: each["label"] for each in found["paid"]} == {"true": "yes", "false": "no"}


def test_variables_come_page_by_page(client: Session) -> None:
    pages = [request for request in client.requests if request.path.endswith(".wide/variables")]

    assert client.value("variables_on_two_pages") == library.WIDE.column_names
    assert ["pageToken" in request.query for request in pages] == [False, True]


def test_table_get(client: Session) -> None:
    *reference, kept = client.value("table_get")

    assert reference == [
        "visits",
        f"{_DATASET}.visits:v1s1",
        "visits:v1s1",
        f"/tables/{_DATASET}.visits:v1s1",
        "dataset",
    ]
    assert (kept["numRows"], kept["variableCount"]) == (20_000, 6)
    assert kept["description"] == "Small enough for one request."
    assert 0 < kept["numBytes"] < 1e8


def test_names_may_hold_spaces_and_percent_signs(client: Session) -> None:
    assert client.value("name_with_spaces") == ["Medicare 20% [2006-2018] Carrier", True]


def test_list_rows(client: Session) -> None:
    assert client.value("list_rows") == "deprecated"


def test_a_table_is_exported_as_csv(client: Session) -> None:
    assert client.value("csv_export").replace('"', "") == "id,clinic,cost,paid,seen_on,seen_at"


def test_a_session_has_the_streams_and_rows_that_it_says(client: Session) -> None:
    assert client.value("read_stream_counts") == [4, 20_000]


def test_queries_have_variables(client: Session) -> None:
    assert client.value("query_in_a_dataset") == [["n", "integer"], ["last", "dateTime"]]


def test_queries_that_fail_say_why(client: Session) -> None:
    kind, message = client.value("query_that_fails")

    assert kind == "JobError"
    assert "nothing" in message


def test_list_files(client: Session) -> None:
    expected = [
        [name, len(content), base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()]
        for name, content in library.FILES.items()
    ]

    assert sorted(client.value("list_files")) == sorted(expected)


def test_a_file_index_is_asked_for_again_only_if_it_changed(client: Session) -> None:
    indexes = [request for request in client.requests if request.path.endswith("/rawFiles")]

    assert client.value("directory_read_again") == len(library.FILES)
    assert {("if-modified-since" in request.headers, request.status) for request in indexes} == {
        (False, 200),
        (True, 304),
    }


def test_files_are_downloaded(client: Session) -> None:
    assert bytes.fromhex(client.value("download_file")) == library.FILES["2012/large.bin"]
    assert bytes.fromhex(client.value("read_file_range")) == bytes(range(10, 20))


def test_directories_are_downloaded(client: Session) -> None:
    found = {name: bytes.fromhex(content) for name, content in client.value("download_directory").items()}

    assert found == library.FILES


def test_workflow_tables(client: Session) -> None:
    found = client.value("workflow_tables")

    assert [name for name, _ in found["own"]] == ["summary"]
    assert found["own"][0][1].startswith("/workflows/demo.analysis/tables/summary%3A")
    assert set(found["all"]) > {"summary", "visits", "all_types"}


def test_list_uploads(client: Session) -> None:
    assert sorted(client.value("list_uploads")) == [["february.csv", "completed"], ["january.csv", "completed"]]


def test_upload_variables(client: Session) -> None:
    expected = {"january.csv": ["id", "cost"], "february.csv": ["id", "cost", "extra"]}

    assert client.value("upload_variables") == expected


def test_current_user(client: Session) -> None:
    assert client.value("current_user") == "emulator_user"
