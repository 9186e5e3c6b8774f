"""Which tables there are is asked once, of one version, and nothing is taken for another."""

from __future__ import annotations

from pathlib import Path

import pytest

from redivis_emulator import DEFAULT_TOKEN, Emulator, Fault
from redivis_emulator.access import Token
from redivis_emulator.library import AccessLevel
from tap_redivis.client.http import Api
from tap_redivis.client.metadata import MetadataClient, describe_variables
from tap_redivis.errors import DataError, NotFound, Unauthorized
from tap_redivis.model.references import parse_container, parse_table
from tap_redivis.model.settings import Settings
from tap_redivis.model.tables import TableInfo, Variable
from tap_redivis.singer.discovery import Failures, find_named
from tests.unit.conftest import MakeApi


def _discovered(api: Api, **sources: list[str]) -> list[TableInfo]:
    failures: Failures = {}
    _, found = find_named(MetadataClient(api), Settings.from_config(sources), failures)
    for failure in failures.values():
        raise failure
    return found


def _api(emulator: Emulator) -> Api:
    return Api(emulator.endpoint, emulator.token, timeout=20, max_retry_seconds=0)


def _names(tables: list[TableInfo]) -> list[str]:
    return sorted(f"{table.owner}.{table.container}.{table.name} {table.version_tag}" for table in tables)


def _table(api: Api, reference: str) -> TableInfo:
    (table,) = MetadataClient(api).find(parse_table(reference, "tables"))
    return table


# --- sources ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        ("demo.visits", ["letters v1.1", "more v1.1", "numbers v1.1"]),
        ("DEMO.Visits:current", ["letters v1.1", "more v1.1", "numbers v1.1"]),
        ("demo.visits:v1.0", ["letters v1.0", "numbers v1.0"]),
        ("demo.visits:v1_0", ["letters v1.0", "numbers v1.0"]),
        ("demo.visits:next", ["letters next"]),
    ],
)
def test_a_dataset_has_the_tables_of_its_version(api: Api, dataset: str, expected: list[str]) -> None:
    """The current one, if none is named."""
    assert _names(_discovered(api, datasets=[dataset])) == [f"demo.visits.{name}" for name in expected]


def test_a_pattern_finds_an_organizations_datasets(api: Api) -> None:
    tables = _discovered(api, datasets=["demo.*s*"])

    assert {table.container for table in tables} == {"visits", "secret", "Odd: names. 20%"}


def test_a_pattern_finds_a_users_datasets(api: Api) -> None:
    """Whether an owner is an organization or a user is not written in a reference."""
    assert _names(_discovered(api, datasets=["alice.t*"])) == ["alice.trials.letters v1.0"]


def test_a_pattern_may_be_pinned_to_a_version(api: Api) -> None:
    assert _names(_discovered(api, datasets=["demo.vis*:v1_0"])) == [
        "demo.visits.letters v1.0",
        "demo.visits.numbers v1.0",
    ]


def test_a_workflow_has_tables_without_a_version(api: Api) -> None:
    assert _names(_discovered(api, workflows=["demo.analysis"])) == ["demo.analysis.summary None"]


def test_a_table_of_a_workflow_is_found_as_one_of_a_dataset(api: Api) -> None:
    """References to both look the same."""
    assert _names(_discovered(api, tables=["demo.analysis.summary"])) == ["demo.analysis.summary None"]


def test_tables_are_found_by_pattern(api: Api) -> None:
    assert _names(_discovered(api, tables=["demo.visits.*er*"])) == [
        "demo.visits.letters v1.1",
        "demo.visits.numbers v1.1",
    ]


def test_a_table_that_is_named_twice_is_found_once(api: Api) -> None:
    tables = _discovered(api, datasets=["demo.visits", "demo.visits:current"], tables=["demo.visits.letters"])

    assert len(tables) == 3


def test_a_renamed_table_is_found_by_its_reference_id(api: Api) -> None:
    reference = _table(api, "demo.visits.letters").reference

    renamed = f"demo.old_name:{reference.container.reference_id}.old_name:{reference.reference_id}"

    assert _table(api, renamed).name == "letters"


# --- what is not there -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sources", "words"),
    [
        ({"datasets": ["demo.nothing"]}, r"^demo\.nothing: there is no such dataset or workflow"),
        ({"datasets": ["demo.nothing*"]}, r"^datasets: no dataset of 'demo' matches 'nothing\*'"),
        ({"datasets": ["nobody.x*"]}, "HTTP 404"),
        ({"workflows": ["demo.nothing"]}, "HTTP 404"),
        ({"tables": ["demo.visits.nothing"]}, r"^demo\.visits\.nothing: demo\.visits has no table 'nothing'"),
        ({"tables": ["demo.visits.nothing*"]}, r"has no table 'nothing\*'"),
        ({"datasets": ["demo.nothing:v1_0"]}, "HTTP 404"),
    ],
)
def test_what_is_not_there_is_named(api: Api, sources: dict[str, list[str]], words: str) -> None:
    with pytest.raises(NotFound, match=words):
        _discovered(api, **sources)


def test_an_unknown_version_is_not_the_current_one(api: Api) -> None:
    """The server answers with the current one, silently (redivis-api §3.1)."""
    with pytest.raises(NotFound, match=r"^demo\.visits:v9_9: there is no version v9_9; the server offers v1\.1"):
        _discovered(api, datasets=["demo.visits:v9.9"])


def test_a_dataset_that_hides_its_version_is_an_error(api: Api, emulator: Emulator) -> None:
    emulator.faults.add(Fault(kind="json", path="/datasets/demo.visits", set={"version": None}))

    with pytest.raises(DataError, match="does not say which version"):
        _discovered(api, datasets=["demo.visits"])


def test_without_a_token_only_public_datasets_are_there(make_api: MakeApi) -> None:
    api = make_api(None)

    assert len(_discovered(api, datasets=["demo.visits"])) == 3
    with pytest.raises(Unauthorized):
        _discovered(api, datasets=["alice.trials"])


# --- one table -------------------------------------------------------------------------------------------------------


def test_a_table_is_described(api: Api) -> None:
    table = _table(api, "demo.visits.letters")

    assert (table.owner, table.container, table.name) == ("demo", "visits", "letters")
    assert (table.rows, table.description, table.version_tag) == (2, "Two letters", "v1.1")
    assert table.hash
    assert table.bytes
    assert table.updated_at
    assert table.unreadable is None
    assert not table.is_draft


def test_a_reference_follows_the_current_version_unless_it_is_pinned(api: Api) -> None:
    """With the ids that survive a renaming; what is read now is pinned in any case."""
    followed, fixed = _table(api, "demo.visits.letters"), _table(api, "demo.visits:v1.0.letters")

    assert followed.reference.container.version is None
    assert fixed.reference.container.version == "v1_0"
    assert ":v1_1." in followed.pinned
    assert ":v1_0." in fixed.pinned
    assert str(followed.reference.container) == f"demo.visits:{followed.reference.container.reference_id}"


@pytest.mark.parametrize(
    "reference",
    ["demo.visits.letters", "demo.visits:v1.0.letters", "demo.visits:next.letters", "demo.analysis.summary",
     "demo.odd_names_20.v1_0_letters"],
)  # fmt: skip
def test_the_reference_in_the_catalog_leads_to_the_same_table(api: Api, reference: str) -> None:
    """Also where names have dots, colons and other characters of references."""
    table = _table(api, reference)

    again = _table(api, str(table.reference))

    assert again == table


def test_a_draft_is_a_draft(api: Api) -> None:
    assert _table(api, "demo.visits:next.letters").is_draft


def test_counts_may_be_missing_or_text(api: Api, emulator: Emulator) -> None:
    """redivis-api §5: older servers send numbers as strings."""
    (first, *_) = api.get("/datasets/demo.visits/tables")["results"]
    for raw, expected in [("12", 12), (None, None), ("many", None)]:
        odd = [{**first, "numRows": raw}]
        emulator.faults.add(Fault(kind="json", path="*/tables", set={"results": odd}))

        (table,) = _discovered(api, datasets=["demo.visits"])
        emulator.faults.clear()

        assert table.rows == expected


@pytest.mark.parametrize(
    ("level", "reason"),
    [
        ("overview", "your access to the dataset is 'overview'"),
        ("metadata", "your access to the dataset is 'metadata'"),
        ("sample", "your access to the dataset is 'sample'"),
        ("data", None),
        ("edit", None),
    ],
)
def test_why_a_table_cannot_be_read_is_said(served: Path, level: AccessLevel, reason: str | None) -> None:
    with Emulator(served, tokens={DEFAULT_TOKEN: Token(access={"alice.trials": level})}) as emulator:
        (table,) = _discovered(_api(emulator), datasets=["alice.trials"])

    assert table.unreadable is None if reason is None else str(table.unreadable).startswith(reason)


def test_a_sample_needs_less_access(served: Path) -> None:
    with Emulator(served, tokens={DEFAULT_TOKEN: Token(access={"alice.trials": "sample"})}) as emulator:
        (table,) = _discovered(_api(emulator), datasets=["alice.trials:sample"])

    assert table.unreadable is None


# --- variables -------------------------------------------------------------------------------------------------------


def test_variables_come_in_their_order_with_their_labels(api: Api) -> None:
    metadata = MetadataClient(api)

    (table,) = metadata.find(parse_table("demo.visits.letters", "tables"))

    assert metadata.variables(table) == [Variable("id", "integer"), Variable("letter", "string", "Letter")]


def test_descriptions_are_added_one_by_one(api: Api, emulator: Emulator) -> None:
    """Only each variable's own resource has it (redivis-api §5), and there under its name in lower case (§3.2)."""
    metadata = MetadataClient(api)
    (table,) = metadata.find(parse_table("demo.visits.letters", "tables"))
    emulator.forget_requests()

    described = describe_variables(metadata.api, table, [Variable("ID", "integer"), Variable("letter", "string")])

    assert [variable.description for variable in described] == [None, "Of the alphabet"]
    assert [variable.name for variable in described] == ["ID", "letter"]
    assert sorted(request.path.rpartition("/")[2] for request in emulator.requests) == ["id", "letter"]


@pytest.mark.parametrize(
    "items", [None, 5, {"name": "letters"}, [5], [None], [{}], [{"name": None}], [{"name": ["a"]}]]
)
def test_a_list_that_is_none_is_an_error(api: Api, emulator: Emulator, items: object) -> None:
    emulator.faults.add(Fault(kind="json", path="*/tables", set={"results": items}))

    with pytest.raises(DataError, match=r"/tables: the server's answer is no list of things with names"):
        _discovered(api, datasets=["demo.visits"])


@pytest.mark.parametrize("rubbish", [5, [5], {"a": []}, True, ""])
def test_what_cannot_be_read_is_not_there(api: Api, emulator: Emulator, rubbish: object) -> None:
    """JsonColumn that are none, of a dataset and of its tables: what names the table is made of what is known."""
    (first, *_) = api.get("/datasets/demo.visits/tables")["results"]
    texts = ("qualifiedReference", "referenceId", "uri", "description", "hash", "numRows", "updatedAt")
    odd = [{**first, **dict.fromkeys(texts, rubbish)}]
    keys = ("referenceId", "uri", "owner", "accessLevel", "publicAccessLevel")
    emulator.faults.add(
        Fault(kind="json", path="*/tables", set={"results": odd}),
        Fault(kind="json", path="/datasets/demo.visits", set=dict.fromkeys(keys, rubbish)),
    )

    (table,) = _discovered(api, datasets=["demo.visits"])

    assert table.name == first["name"]
    assert table.pinned == f"demo.visits.{first['name']}"
    assert (table.owner, table.hash, table.description, table.reference.reference_id) == ("demo", None, None, None)


# --- requests --------------------------------------------------------------------------------------------------------


def test_a_dataset_is_asked_for_once(api: Api, emulator: Emulator) -> None:
    """Two requests, however many of its tables are wanted."""
    metadata = MetadataClient(api)

    metadata.load([parse_container("demo.visits", "datasets")])
    metadata.find(parse_table("demo.visits.letters", "tables"))
    metadata.find(parse_table("demo.visits.*", "tables"))

    assert len(emulator.requests) == 2


def test_all_tables_are_of_one_version_though_another_is_released_meanwhile(served: Path) -> None:
    """The list is asked for by the reference that the server pinned (redivis-api §3.1)."""
    with Emulator(served) as emulator:
        emulator.release("demo.visits", "v1.0")
        emulator.faults.add(Fault(kind="release", path="*/tables", dataset="demo.visits", version="v1.1"))

        tables = _discovered(_api(emulator), datasets=["demo.visits"])

    assert _names(tables) == ["demo.visits.letters v1.0", "demo.visits.numbers v1.0"]
    assert all(":v1_0." in table.pinned for table in tables)
