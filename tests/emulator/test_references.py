"""References as clients and people write them."""

from __future__ import annotations

import pytest

from redivis_emulator.references import Reference, TableName, escape, make_id, parse, version_tag


@pytest.mark.parametrize(
    ("name", "escaped"),
    [
        ("Medicare 20% [2006-2018] Carrier", "medicare_20_2006_2018_carrier"),
        ("PRIME India", "prime_india"),
        ("__a__b__", "a_b"),
    ],
)
def test_escaped_names(name: str, escaped: str) -> None:
    """Lower case, one underscore for each run of other characters, none at the ends (redivis-api §3.1)."""
    assert escape(name) == escaped


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("sdss.loon", Reference("sdss", "loon")),
        ("SDSS.Project Loon", Reference("sdss", "project_loon")),
        ("sdss.loon:673p:v1_0", Reference("sdss", "loon", "673p", "v1.0")),
        ("sdss.loon:v1.0:673p", Reference("sdss", "loon", "673p", "v1.0")),
        ("sdss.loon:sample:next", Reference("sdss", "loon", None, "next", sample=True)),
        ("sdss.loon:next:sample", Reference("sdss", "loon", None, "next", sample=True)),
        (
            "o.d:v1_0.t:9dzz:sample",
            Reference("o", "d", None, "v1.0", table=TableName("t", "9dzz", sample=True)),
        ),
        ("o.d.t:sample", Reference("o", "d", table=TableName("t", sample=True))),
        ("sdss.loon:banana", Reference("sdss", "loon")),
        ("sdss.:673p", Reference("sdss", "", "673p")),
        ("o.d:v1.0.t", Reference("o", "d", None, "v1.0", table=TableName("t"))),
        ("o.d:673p:v1_0.T x:9dzz", Reference("o", "d", "673p", "v1.0", table=TableName("t_x", "9dzz"))),
        ("o.d:2468.2013", Reference("o", "d", "2468", None, table=TableName("2013"))),
        ("o.d:v1_0.2013", Reference("o", "d", None, "v1.0", table=TableName("2013"))),
    ],
)
def test_parsed_references(text: str, reference: Reference) -> None:
    """Suffixes come in any order, versions with dot or underscore, and nonsense means the current version."""
    assert parse(text) == reference


@pytest.mark.parametrize("text", ["", "sdss", "sdss:1234", "a.b.c.d", ".b"])
def test_no_references(text: str) -> None:
    """What has no owner and name, or too many parts, is no reference."""
    assert parse(text) is None


@pytest.mark.parametrize(("text", "tag"), [("v1_0", "v1.0"), ("1.0", "v1.0"), ("next", "next"), ("v32", None)])
def test_version_tags(text: str, tag: str | None) -> None:
    """The spellings of redivis-api §3.1."""
    assert version_tag(text) == tag


def test_ids_are_the_same_in_every_run() -> None:
    """Ids are made of names, so that bookmarks of an earlier run still fit."""
    assert make_id("demo", "nycflights13") == "2468-vjkucw22g"
