"""References are read in every spelling of redivis-api §3, and written so that they are read back as the same."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_redivis.errors import ConfigError
from tap_redivis.model.references import (
    STREAM_NAME_LIMIT,
    ContainerRef,
    TableRef,
    escape_name,
    name_matches,
    parse_container,
    parse_table,
    pinned,
    same_version,
    stream_name,
    url_path,
)

_OWNERS = st.from_regex(r"[A-Za-z0-9_]{1,12}", fullmatch=True)
_YEARS = st.integers(1, 3000).map(str)
_NAMES = st.text(min_size=1, max_size=12).filter(lambda name: not set(name) & set(".:`")) | _YEARS
_REFERENCE_IDS = (
    st.none()
    | st.from_regex(r"[0-9a-z]{4}", fullmatch=True).filter(lambda text: text != "next")
    | st.from_regex(r"[v0-9][0-9]{3}", fullmatch=True)
)
_VERSIONS = st.sampled_from([None, "current", "next"]) | st.builds(
    "v{}_{}".format, st.integers(0, 300), st.integers(0, 300)
)
_IDS = _REFERENCE_IDS.filter(bool)  # with one, there may be no name
_CONTAINERS = st.builds(ContainerRef, _OWNERS, _NAMES, _REFERENCE_IDS, _VERSIONS, st.booleans()) | st.builds(
    ContainerRef, _OWNERS, st.just(""), _IDS, _VERSIONS, st.booleans()
)
_TABLES = st.builds(TableRef, _CONTAINERS, _NAMES, _REFERENCE_IDS) | st.builds(TableRef, _CONTAINERS, st.just(""), _IDS)

_DEMO = ContainerRef("demo", "flights")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("demo.flights", _DEMO),
        ("demo.flights:ab12", ContainerRef("demo", "flights", "ab12")),
        ("demo.flights:v1_0", ContainerRef("demo", "flights", version="v1_0")),
        ("demo.flights:v1.0", ContainerRef("demo", "flights", version="v1_0")),
        ("demo.flights:1.0", ContainerRef("demo", "flights", version="v1_0")),
        ("demo.flights:next", ContainerRef("demo", "flights", version="next")),
        ("demo.flights:current", ContainerRef("demo", "flights", version="current")),
        ("demo.flights:sample", ContainerRef("demo", "flights", sample=True)),
        ("demo.flights:ab12:sample:v12_3", ContainerRef("demo", "flights", "ab12", "v12_3", sample=True)),
        ("demo.flights:v12.3:sample:ab12", ContainerRef("demo", "flights", "ab12", "v12_3", sample=True)),
        ("demo.Medicare 20% [2006-2018]", ContainerRef("demo", "Medicare 20% [2006-2018]")),
        ("demo.*", ContainerRef("demo", "*")),
        ("demo.:ab12:v1_0", ContainerRef("demo", "", "ab12", "v1_0")),
    ],
)
def test_containers_are_read(text: str, expected: ContainerRef) -> None:
    """Suffixes may stand in any order, versions may have a dot or an underscore."""
    assert expected == parse_container(text, "datasets")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("demo.flights.planes", TableRef(_DEMO, "planes")),
        ("demo.flights.planes:cd34", TableRef(_DEMO, "planes", "cd34")),
        ("demo.flights:v1.0.planes", TableRef(ContainerRef("demo", "flights", version="v1_0"), "planes")),
        ("demo.flights:1.0.planes:cd34", TableRef(ContainerRef("demo", "flights", version="v1_0"), "planes", "cd34")),
        ("demo.flights:v1.0:ab12.p", TableRef(ContainerRef("demo", "flights", "ab12", "v1_0"), "p")),
        ("demo.flights:v1_0.2019", TableRef(ContainerRef("demo", "flights", version="v1_0"), "2019")),
        ("demo.flights:1234.2019:cd34", TableRef(ContainerRef("demo", "flights", "1234"), "2019", "cd34")),
        ("demo.flights:v123.2019", TableRef(ContainerRef("demo", "flights", "v123"), "2019")),
        ("demo.flights.20*", TableRef(_DEMO, "20*")),
        ("demo.flights.planes:sample", TableRef(ContainerRef("demo", "flights", sample=True), "planes")),
        (
            "demo.flights:sample.planes:cd34:sample",
            TableRef(ContainerRef("demo", "flights", sample=True), "planes", "cd34"),
        ),
        ("demo.:a1b2.:v1s1", TableRef(ContainerRef("demo", "", "a1b2"), "", "v1s1")),
    ],
)
def test_tables_are_read(text: str, expected: TableRef) -> None:
    """A dot inside a version separates nothing; four characters are a reference id, never the half of a version."""
    assert expected == parse_table(text, "tables")


@pytest.mark.parametrize(
    "text",
    ["", "demo", "demo.", ".flights", "de mo.flights", "demo.flights:", "demo.flights:AB12", "demo.flights:v1",
     "demo.flights:abcde", "demo.:v1_0", "demo.:sample", "demo.flights.planes"],
)  # fmt: skip
def test_malformed_containers_are_refused(text: str) -> None:
    """The error names the setting and what was written there."""
    with pytest.raises(ConfigError, match=r"^datasets: .*" + re.escape(repr(text))):
        parse_container(text, "datasets")


@pytest.mark.parametrize(
    "text",
    ["", "demo.flights", "demo.flights.", "demo.flights.a.b", "demo.flights.planes:v1_0",
     "demo.flights.:sample", "demo.flights.planes:ab12:cd34", "demo.flights:v1.0"],
)  # fmt: skip
def test_malformed_tables_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^tables: "):
        parse_table(text, "tables")


@given(st.text(max_size=40))
def test_any_text_is_a_reference_or_an_error_of_ours(text: str) -> None:
    """Nothing that a user may write ends in another exception."""
    for parse in (parse_container, parse_table):
        try:
            parse(text, "tables")
        except ConfigError:
            continue


@given(_CONTAINERS)
def test_a_container_that_is_written_is_read_back(container: ContainerRef) -> None:
    assert container == parse_container(str(container), "datasets")


@given(_TABLES)
def test_a_table_that_is_written_is_read_back(table: TableRef) -> None:
    """A catalog holds references that the next run must understand."""
    assert table == parse_table(str(table), "catalog")


@given(st.text(min_size=1, max_size=12).filter(escape_name), st.text(min_size=1, max_size=12).filter(escape_name))
def test_names_with_separators_are_written_escaped(dataset: str, table: str) -> None:
    """Names from the server may hold dots and colons; what is written still means the same table."""
    written = TableRef(ContainerRef("demo", dataset), table)

    read = parse_table(str(written), "catalog")

    assert (escape_name(dataset), escape_name(table)) == (escape_name(read.container.name), escape_name(read.name))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Medicare 20% [2006-2018] Carrier", "Medicare_20_2006_2018_Carrier"),
        ("PRIME India", "PRIME_India"),
        ("__a--b__", "a_b"),
        ("Zürich", "Z_rich"),
    ],
)
def test_names_are_escaped_as_redivis_does(name: str, expected: str) -> None:
    assert expected == escape_name(name)


@given(st.text())
def test_escaping_twice_is_escaping_once(name: str) -> None:
    assert escape_name(name) == escape_name(escape_name(name))


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("medicare_20_2006_2018_carrier", "Medicare 20% [2006-2018] Carrier"),
        ("Medicare 20% [2006-2018] Carrier", "medicare_20_2006_2018_carrier"),
        ("FLIGHTS", "flights"),
        ("fl?ghts", "Flights"),
        ("prime_*", "PRIME India"),
        ("PRIME *", "PRIME India"),
        ("a[1]*", "A[1]b"),
    ],
)
def test_names_match_without_case_and_escaping(pattern: str, name: str) -> None:
    assert name_matches(pattern, name)


@pytest.mark.parametrize(("pattern", "name"), [("flights", "flights2"), ("f?", "fl1"), ("a[1]*", "a1b"), ("b*", "ab")])
def test_other_names_do_not_match(pattern: str, name: str) -> None:
    """Brackets are no wild cards: names have them."""
    assert not name_matches(pattern, name)


@given(st.text(min_size=1))
def test_every_name_matches_itself_and_the_star(name: str) -> None:
    assert name_matches(name, name)
    assert name_matches("*", name)


@pytest.mark.parametrize(
    ("reference_id", "its_id", "expected"),
    [("cd34", "cd34", True), ("cd34", "ef56", False), (None, "cd34", False), ("cd34", None, False)],
)
def test_a_renamed_table_is_found_by_its_reference_id(
    reference_id: str | None, its_id: str | None, *, expected: bool
) -> None:
    """Where both sides have an id it decides alone; otherwise the name does."""
    assert expected is TableRef(_DEMO, "planes", reference_id).matches("renamed", its_id)


def test_another_table_of_the_same_name_is_not_the_one_with_the_id() -> None:
    assert not TableRef(_DEMO, "planes", "cd34").matches("planes", "ef56")


@pytest.mark.parametrize(("asked", "tag"), [("v1_0", "v1.0"), ("1.0", "v1.0"), ("next", "next"), ("v10_2", "v10.2")])
def test_spellings_of_one_version_are_the_same(asked: str, tag: str) -> None:
    assert same_version(asked, tag)


def test_another_version_is_not_the_same() -> None:
    assert not same_version("v1_0", "v1.1")


def test_a_dataset_is_pinned_to_a_version_with_an_underscore() -> None:
    assert str(pinned(ContainerRef("demo", "flights", "ab12"), "v1.0")) == "demo.flights:ab12:v1_0"


def test_references_in_paths_are_percent_encoded() -> None:
    """redivis-api §3.2: colons, spaces and slashes are, dots and underscores are not."""
    assert url_path("tables", parse_table("demo.a b/c:v1_0.t%", "tables")) == "/tables/demo.a%20b%2Fc%3Av1_0.t%25"


@given(_NAMES, _NAMES, _NAMES)
def test_stream_names_are_short_and_plain(owner: str, dataset: str, table: str) -> None:
    name = stream_name("{owner}__{dataset}__{table}", owner=owner, dataset=dataset, table=table * 9, version="v1.0")

    assert re.fullmatch(r"[a-z0-9_]{1,63}", name)


def test_stream_names_are_made_of_escaped_lower_case_names() -> None:
    name = stream_name("{dataset}__{table}__{version}", owner="", dataset="PRIME India", table="T_1", version="v1.0")

    assert name == "prime_india__t_1__v1_0"


def test_a_name_of_63_characters_is_kept() -> None:
    assert stream_name("{table}", owner="", dataset="", table="t" * 63, version="") == "t" * 63


def test_long_stream_names_that_differ_at_their_end_stay_different() -> None:
    """What is cut off goes into a hash."""
    first, second = (
        stream_name("{table}", owner="", dataset="", table="t" * 80 + end, version="") for end in ("a", "b")
    )

    assert first != second
    assert len(first) == STREAM_NAME_LIMIT


@pytest.mark.parametrize("pattern", ["{catalog}", "{0}", "{}", "{table", "{table!x}", "{table.name}", "{table[a]}"])
def test_patterns_that_cannot_be_filled_in_are_refused(pattern: str) -> None:
    with pytest.raises(ConfigError, match=r"^stream_name_format: "):
        stream_name(pattern, owner="demo", dataset="flights", table="planes", version="v1.0")
