"""Metadata as the official client reads it."""

from __future__ import annotations

import pytest

from tests.conformance import library
from tests.conformance.conftest import Session

# One client process for all tests of this folder, also with several workers.
pytestmark = pytest.mark.xdist_group("official client")

_DATASET = "demo.medicare:a1b2:v1_1"


def test_list_datasets(client: Session) -> None:
    of_organization, of_user = client.value("list_datasets")

    assert ["Medicare", _DATASET, "medicare:a1b2:v1_1"] in of_organization
    assert sorted(name for name, *_ in of_organization) == ["Medicare", "registry"]
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
    there, absent = client.value("exists")

    assert len(there) == 15
    assert absent == []


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
    assert ["pageToken" in request.query for request in pages][:2] == [False, True]


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


def test_gets_of_what_is_absent_say_so(client: Session) -> None:
    found = client.value("gets_of_what_is_absent")

    assert len(found) == 27
    assert {error for (error,) in found.values()} == {"NotFoundError"}


def test_lists_are_not_longer_than_was_asked_for(client: Session) -> None:
    found = dict(client.value("limited_lists"))
    empty = {"notebooks", "transforms", "parameters"}

    assert {found.pop(name) for name in empty} == {0}
    assert (found.pop("tables on two pages"), found.pop("variables on two pages")) == (13, 1001)
    assert set(found.values()) == {1}
    assert len(found) == 12


def test_datasets_are_chosen_by_labels(client: Session) -> None:
    assert client.value("datasets_with_labels") == [["Medicare"], ["Medicare"], []]


def test_list_workflows(client: Session) -> None:
    of_organization, of_user, as_projects = client.value("list_workflows")

    assert sorted(of_organization) == ["analysis", "base"]
    assert of_user == as_projects == ["notes"]


def test_members(client: Session) -> None:
    assert client.value("members") == {
        "all": ["alice", "bob", "eve"],
        "status": ["bob"],
        "labels": ["alice", "bob"],
        "alice": ["approved", "Alice A."],
    }


def test_datasets_of_a_version(client: Session) -> None:
    assert client.value("datasets_of_a_version") == {
        "workflows": ["base", "notes", "notes"],
        "tables": ["visits"],
        "uri": "/datasets/demo.medicare:a1b2:v1_0",
        "draft": "next",
        "by ids": f"/datasets/{_DATASET}",
        "of a user": "user",
    }


def test_versions_are_walked_to_both_ends(client: Session) -> None:
    assert client.value("walk_of_versions") == [["next", "v1.1", "v1.0"], ["v1.0", "v1.1", "next"], "v1.1"]


def test_walks_that_the_client_breaks_off(client: Session) -> None:
    """Not the emulator's fault: docs/emulator.md names them."""
    assert client.value("walks_that_the_client_breaks_off") == [True, True, True]


def test_statistics(client: Session) -> None:
    found = client.value("statistics")

    kinds = {"string": 8, "integer": 5, "float": 7, "boolean": 2, "date": 4, "dateTime": 3, "time": 3, "geography": 3}
    assert found["counts"] == {kind: ["completed", count] for kind, count in kinds.items()}
    assert found["query"] == library.VISITS["cost"].length() - library.VISITS["cost"].null_count
    assert found["largest"] == [2**63 - 1, 1.5]


def test_uploads(client: Session) -> None:
    assert client.value("uploads") == ["completed", "delimited", 2, "float"]


def test_data_sources(client: Session) -> None:
    found = dict(client.value("data_sources"))

    assert found.pop("workflow").startswith("base")
    assert found == {
        "listed": True,
        "dataset": _DATASET,
        "wrong": [["ValueError"], ["ValueError"]],
        "unread": "medicare",
    }


def test_what_the_emulator_has_none_of_is_an_empty_list(client: Session) -> None:
    assert client.value("empty_lists") == [[], [], []]


def test_workflow_get(client: Session) -> None:
    name, uri, containers = client.value("workflow_get")

    assert (name, containers) == ("analysis", ["workflow", "dataset"])
    assert uri.startswith("/workflows/demo.analysis:")


def test_raw_requests(client: Session) -> None:
    assert client.value("raw_requests") == ["dataset", None]
