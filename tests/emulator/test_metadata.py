"""Lists, resources and headers (redivis-api §1.6, §2, §3, §5)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pytest

from redivis_emulator import Token
from tests.emulator.conftest import Client, Json, write


def test_pages(folder: Path, client: Client) -> None:
    """Pages follow each other without gap or overlap, and the last has no token (redivis-api §2)."""
    for number in range(5):
        write(folder, f"acme/many/t{number}.csv", "a\n1\n")
    client.emulator.reload()
    found, token = [], None
    for _ in range(3):
        page = client.json("/datasets/acme.many/tables", maxResults=2, pageToken=token)
        found += [table["name"] for table in page["results"]]
        token = page["nextPageToken"]
    assert page["kind"] == "tableList"
    assert token is None
    assert sorted(found) == ["t0", "t1", "t2", "t3", "t4"]


@pytest.mark.parametrize("query", [{"maxResults": "x"}, {"pageToken": "nope"}])
def test_senseless_pages_are_refused(client: Client, query: dict[str, str]) -> None:
    assert client.get("/datasets/acme.numbers/tables", **query).status_code == 400


@pytest.mark.parametrize(
    "reference",
    [
        "acme.numbers.numbers",
        "ACME.Numbers.NUMBERS",
        "acme.numbers:v1_0.numbers",
        "acme.numbers:v1.0.numbers",
        "acme.numbers%3Av1.0.numbers",
        "acme.numbers:current.numbers",
        "acme.numbers:banana.numbers",
        "acme.numbers:v7_0.numbers",
    ],
)
def test_spellings_of_one_table(client: Client, reference: str) -> None:
    """Case, encoding and version spelling do not matter; an unknown version is the current one (redivis-api §3)."""
    table = client.json(f"/tables/{reference}")
    assert table["name"] == "numbers"
    assert ":v1_0." in table["qualifiedReference"]
    assert table["uri"] == f"/tables/{table['qualifiedReference']}"


def test_reference_ids_survive_renames(client: Client) -> None:
    """With reference ids, the names may be anything (redivis-api §3.1)."""
    table = client.json("/tables/acme.numbers.numbers")
    dataset = table["container"]["referenceId"]
    assert client.json(f"/tables/acme.other:{dataset}.renamed:{table['referenceId']}")["id"] == table["id"]


def test_forms_hold_each_other(client: Client) -> None:
    """The list form has the base form's keys, the get form the list form's (redivis-api §5)."""
    listed = client.json("/organizations/acme/datasets")["results"][0]
    dataset = client.json(listed["uri"])
    assert listed.keys() < dataset.keys()
    assert "version" not in listed
    table = client.json(f"{listed['uri']}/tables")["results"][0]
    assert table.keys() < client.json(table["uri"]).keys()
    assert client.json(table["uri"])["container"].keys() < listed.keys()
    variable = client.json(f"{table['uri']}/variables")["results"][0]
    assert variable.keys() < client.json(variable["uri"]).keys()
    first = client.json(f"{listed['uri']}/versions")["results"][0]
    assert first.keys() < client.json(first["uri"]).keys()


def test_versions_know_their_neighbours(folder: Path, client: Client) -> None:
    for tag in ("v1.0", "v1.1", "v2.0"):
        write(folder, f"acme/chain/{tag}/t.csv", "a\n1\n")
    client.emulator.reload()
    version = client.json("/datasets/acme.chain/versions/v1.1")
    assert (version["previousVersion"]["tag"], version["nextVersion"]["tag"]) == ("v1.0", "v2.0")
    assert client.get("/datasets/acme.chain/versions/v9.0").status_code == 404
    assert client.get("/datasets/acme.chain/versions/next").status_code == 404


def test_a_release_makes_a_version_current(folder: Path, client: Client) -> None:
    """Before it, later versions are not there yet."""
    for version in ("v1.0", "v1.1"):
        write(folder, f"acme/slow/{version}/t.csv", f"a\n{version}\n")
    write(folder, "acme/slow/dataset.yml", "current_version: v1.0")
    client.emulator.reload()
    assert len(client.json("/datasets/acme.slow/versions")["results"]) == 1
    assert client.json("/datasets/acme.slow:v1.1")["version"]["tag"] == "v1.0"
    client.emulator.release("acme.slow", "v1.1")
    assert client.json("/datasets/acme.slow")["version"]["tag"] == "v1.1"


def test_headers(client: Client) -> None:
    """Those of redivis-api §1.6, with the date that is none."""
    headers = client.get("/datasets/acme.numbers").headers
    assert headers["Content-Type"] == "application/json; charset=utf-8"
    assert headers["Last-Modified"] == "Invalid Date"
    assert headers["Etag"].startswith('W/"')
    assert all(f"X-Ratelimit-{name}" in headers for name in ("Limit", "Remaining", "Reset"))


def test_head_tells_errors_in_a_header(client: Client) -> None:
    """redivis-api §1.6: an answer to HEAD has no body."""
    assert client.send("HEAD", "/datasets/acme.numbers").status_code == 200
    missing = client.send("HEAD", "/datasets/acme.nothing")
    assert missing.status_code == 404
    assert json.loads(unquote(missing.headers["X-REDIVIS-ERROR-PAYLOAD"]))["error"] == "not_found"


@pytest.mark.parametrize(
    "path",
    ["/", "/nothing", "/tables/acme.numbers.numbers/nothing", "/users/acme/datasets", "/organizations/nobody/datasets"],
)
def test_what_is_not_there(client: Client, path: str) -> None:
    """A flat error (redivis-api §1.8); an organization is no user (§10)."""
    response = client.get(path)
    assert response.status_code == 404
    assert response.json().keys() == {"status", "error", "error_description"}


def test_writing_is_not_possible(client: Client) -> None:
    assert client.send("DELETE", "/tables/acme.numbers.numbers").status_code == 404
    assert client.send("PATCH", "/datasets/acme.numbers", json={}).status_code == 404


def test_workflows(folder: Path, client: Client) -> None:
    """Tables of their own, and those of their data sources if asked for (redivis-api §4.3)."""
    write(folder, "acme/flow/workflow.yml", "data_sources: [acme.numbers]")
    write(folder, "acme/flow/out.csv", "a\n1\n")
    client.emulator.reload()
    assert [w["name"] for w in client.json("/organizations/acme/workflows")["results"]] == ["flow"]
    own, both = (
        [table["name"] for table in client.json("/workflows/acme.flow/tables", **query)["results"]]
        for query in ({}, {"includeDataSources": "true"})
    )
    assert (own, both) == (["out"], ["out", "numbers"])
    table = client.json("/workflows/acme.flow/tables/out")
    assert table["container"]["kind"] == "workflow"
    assert client.get(f"{table['uri']}/rows").text == '{"a":1}\n'
    assert client.session("acme.flow.out")["numRows"] == 1
    assert client.json("/workflows/acme.flow/tables/numbers")["container"]["kind"] == "dataset"
    assert client.json("/workflows/acme.flow/dataSources")["results"][0]["kind"] == "dataSource"
    assert client.json("/workflows/acme.flow/transforms")["results"] == []


def test_data_sources_are_datasets_and_workflows(folder: Path, client: Client) -> None:
    """Each is found by its id, by its reference, and in the list."""
    write(folder, "acme/base/made.csv", "a\n1\n")
    write(folder, "acme/base/workflow.yml", "")
    write(folder, "acme/flow/workflow.yml", "data_sources: [acme.numbers, acme.base]")
    client.emulator.reload()
    dataset, workflow = client.json("/workflows/acme.flow/dataSources")["results"]
    assert dataset["sourceDataset"]["qualifiedReference"].startswith("acme.numbers:")
    assert workflow["sourceWorkflow"]["qualifiedReference"].startswith("acme.base:")
    assert "sourceWorkflow" not in dataset
    for source in (dataset["id"], "acme.numbers", dataset["sourceDataset"]["qualifiedReference"]):
        assert client.json(f"/workflows/acme.flow/dataSources/{source}") == dataset
    assert client.json(workflow["uri"]) == workflow
    assert client.send("HEAD", dataset["uri"]).status_code == 200
    assert client.get("/workflows/acme.flow/dataSources/acme.nothing").status_code == 404
    assert client.json("/workflows/acme.flow/tables/made")["container"]["name"] == "base"


def test_members(folder: Path, client: Client) -> None:
    """Those of an organization, filtered by status and labels; a token without the scope is told which one it lacks."""
    members = "{alice: {full_name: Alice A., labels: [staff, admin]}, bob: {status: left, labels: [staff]}, eve: {}}"
    write(folder, "acme/owner.yml", f"members: {members}")
    client.emulator.reload()

    def names(**query: str) -> list[str]:
        return [each["user"]["name"] for each in client.json("/organizations/acme/members", **query)["results"]]

    assert names() == ["alice", "bob", "eve"]
    assert (names(statuses="left,pending"), names(status="approved")) == (["bob"], ["alice", "eve"])
    assert (names(labels="staff"), names(labels="staff,admin")) == (["alice", "bob"], ["alice"])
    alice = client.json("/organizations/acme/members/ALICE")
    assert (alice["user"]["fullName"], alice["status"]) == ("Alice A.", "approved")
    assert client.json(alice["uri"]) == alice
    assert client.get("/organizations/acme/members/nobody").status_code == 404
    assert client.get("/users/acme/members").status_code == 404


def test_members_need_a_scope(serve: Callable[..., Client]) -> None:
    client = serve(tokens={"reader": Token(scopes=("data.edit",)), "writer": Token(scopes=("organization.write",))})
    answers = [client.holding(token).get("/organizations/acme/members") for token in ("writer", "reader", None)]
    assert [answer.status_code for answer in answers] == [200, 403, 401]
    assert answers[1].json()["scope"] == "organization.read"


@pytest.mark.parametrize("reference", ["acme.numbers:sample.numbers", "acme.numbers.numbers:sample"])
def test_samples_of_tables(folder: Path, client: Client, reference: str) -> None:
    """The word stands on the dataset or at the end of the table (redivis-api §13)."""
    assert client.get(f"/tables/{reference}").status_code == 404
    write(folder, "acme/numbers/dataset.yml", "sample_ratio: 0.01")
    write(folder, "acme/flow/workflow.yml", "data_sources: [acme.numbers]")
    client.emulator.reload()
    table = client.json(f"/tables/{reference}")
    assert (table["isSample"], table["numRows"]) == (True, 50)
    assert client.json(table["uri"])["isSample"] is True
    assert client.get(f"{table['uri']}/rows").text.count("\n") == 50
    assert client.get("/workflows/acme.flow/tables/numbers:sample").status_code == 404


NOTHING = dict.fromkeys(("min", "max", "mean", "approxMedian", "stdDev", "geoBBox"))
BOX = {"westLongitude": -3.0, "eastLongitude": 1.5, "northLatitude": 4.0, "southLatitude": -20.0}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("n", {"count": 3, "numDistinct": 2, "min": 1, "max": 4, "mean": 2.0, "approxMedian": 1.0, "stdDev": 3**0.5}),
        ("x", {"count": 3, "numDistinct": 3, "min": 0.5, "max": 0.5, "mean": 0.5, "approxMedian": 0.5}),
        ("s", {"count": 3, "numDistinct": 2}),
        ("day", {"count": 2, "numDistinct": 2, "min": "2011-12-31", "max": "2012-01-05"}),
        ("place", {"count": 3, "numDistinct": 3, "geoBBox": BOX}),
    ],
)
def test_statistics(folder: Path, client: Client, name: str, expected: Json) -> None:
    """Nulls do not count, NaN and infinities are no numbers, a retyped variable has its type (redivis-api §4.4)."""
    write(
        folder,
        "acme/summary/t.csv",
        "n,x,s,day,place\n"
        "1,0.5,a,2012-1-5,POINT (1.5 -20)\n"
        "1,NaN,a,2011-12-31,\n"
        '4,inf,b,no day,"LINESTRING Z (-3 4 50, 0 1e-1 60)"\n'
        ",,,,POINT EMPTY\n",
    )
    types = "day: {type: date, stored: string}, place: {type: geography}"
    write(folder, "acme/summary/dataset.yml", f"tables: {{t: {{variables: {{{types}}}}}}}")
    client.emulator.reload()
    statistics = client.json(f"/tables/acme.summary.t/variables/{name.upper()}/statistics")
    assert statistics == {"status": "completed", **NOTHING, **expected}


def test_statistics_of_nothing(folder: Path, client: Client) -> None:
    """No rows, no variable; and those of a query's result."""
    write(folder, "acme/empty/t.parquet", pa.table({"n": pa.array([], pa.int64())}))
    client.emulator.reload()
    empty = client.json("/tables/acme.empty.t/variables/n/statistics")
    assert empty == {"status": "completed", "count": 0, "numDistinct": 0, **NOTHING}
    assert client.get("/tables/acme.empty.t/variables/m/statistics").status_code == 404
    query = client.query("SELECT id FROM `acme.numbers.numbers`")
    assert client.json(f"{query['uri']}/variables/id/statistics")["max"] == 4999


def test_requests_are_noted(client: Client) -> None:
    """In order of arrival, decoded, with status and body."""
    client.get("/tables/acme.numbers%3Acurrent.numbers", x=1)
    client.send("POST", "/nothing", data="text")
    first, second = client.emulator.requests
    assert (first.method, first.path, first.query, first.status) == (
        "GET",
        "/tables/acme.numbers:current.numbers",
        {"x": "1"},
        200,
    )
    assert first.headers["authorization"] == "Bearer emulator-token"
    assert (second.status, second.body) == (404, "text")
    client.emulator.forget_requests()
    assert client.emulator.requests == []
