"""Rows of the data dictionary that no emulator would answer with."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, cast

from tap_redivis.client.metadata import Metadata
from tap_redivis.model.references import parse_container
from tap_redivis.model.tables import Container
from tap_redivis.singer.dictionary.dictionary import Dictionary
from tap_redivis.singer.dictionary.topics import VERSIONS


def test_versions_without_an_index_come_last() -> None:
    """So that the rows before them stay where they were, and need not be written again."""
    listed: list[dict[str, Any]] = [{"tag": "next"}, {"tag": "v1.1", "index": 1}, {"tag": "v1.0", "index": "0"}]
    catalogue = SimpleNamespace(
        versions=lambda _container: list(listed),
        version=lambda _container, tag: {"tag": tag},
        workers=ThreadPoolExecutor(1),
    )
    container = Container(parse_container("demo.visits", "datasets"), {}, "v1.1")
    dictionary = Dictionary(cast("Metadata", catalogue), [container], [])

    [(_part, rows)] = dictionary.rows(VERSIONS, dictionary.parts(VERSIONS))

    assert [row["version_tag"] for row in rows] == ["v1.0", "v1.1", "next"]
