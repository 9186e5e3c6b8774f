"""Rows of the data dictionary: their columns, and answers that no emulator would give."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

from tap_redivis.client.metadata import MetadataClient
from tap_redivis.model.references import parse_container, parse_table
from tap_redivis.model.tables import Container, TableInfo, Variable
from tap_redivis.singer.dictionary.dictionary import Dictionary
from tap_redivis.singer.dictionary.topics import (
    TOPICS,
    VERSIONS,
    Entry,
    dataset_row,
    table_row,
    value_label_rows,
    variable_row,
    version_row,
)


def test_versions_without_an_index_come_last() -> None:
    """So that the rows before them stay where they were, and need not be written again."""
    listed: list[dict[str, Any]] = [{"tag": "next"}, {"tag": "v1.1", "index": 1}, {"tag": "v1.0", "index": "0"}]
    api = SimpleNamespace(
        pages=lambda _path, known_by: iter(listed if known_by == "tag" else ()),
        get=lambda path: {"tag": path.rpartition("/")[2].replace("_", ".")},
        workers=ThreadPoolExecutor(1),
    )
    metadata = SimpleNamespace(api=api)
    container = Container(parse_container("demo.visits", "datasets"), {}, "v1.1")
    dictionary = Dictionary(cast("MetadataClient", metadata), [container], [])

    [(_part, rows)] = dictionary.rows(VERSIONS, dictionary.parts(VERSIONS))

    assert [row["version_tag"] for row in rows] == ["v1.0", "v1.1", "next"]


def test_descriptions_and_labels_may_be_long() -> None:
    """Names have a bound, texts for people have none."""
    table = TableInfo(
        parse_table("demo.visits.visits", "tables"), "pinned", "/tables/1", "demo", "visits", "visits", "d", "v1.1"
    )
    text = "What it means, at length. " * 100

    row = variable_row(
        Entry("visits__visits", "table", table), 0, Variable("paid", "boolean"), {"label": text, "description": text}, 0
    )

    assert (row["label"], row["description"]) == (text, text)


def test_every_path_leads_to_a_value() -> None:
    """A misspelled one would be null in every row, and nothing would tell."""
    container = Container(parse_container("demo.visits:sample", "datasets"), _Everything(), "v1.1")
    table = TableInfo(
        parse_table("demo.visits.visits", "tables"), "pinned", "/tables/1", "demo", "visits", "visits", "d", "v1.1"
    )
    table = replace(table, rows=1, bytes=2, hash="3", updated_at=4, unreadable="no", body=_Everything())
    variable = Variable("paid", "boolean")
    entry = Entry("visits__visits", "table", table, container, sql="SELECT 1")
    [label] = value_label_rows(entry, variable, {"valueLabels": [{"value": 0, "label": "No"}]})

    rows = [
        dataset_row(container),
        version_row(container, _Everything()),
        table_row(entry),
        variable_row(entry, 0, variable, _Everything(), 1),
        label,
    ]

    paths = [(column, row) for topic, row in zip(TOPICS, rows, strict=True) for column in topic.columns if column.path]
    assert [column.path for column, row in paths if row[column.name] is None] == []
    assert len({column.path for column, _ in paths}) > 40


class _Everything(dict[str, Any]):
    """An answer that has each key that the API describes, with a value of the type that it has there."""

    def __init__(self) -> None:
        texts = (
            "id qualifiedReference doi url description methodologyMarkdown usageMarkdown contactInfo accessLevel "
            "publicAccessLevel tag label releaseNotes uploadMergeStrategy"
        )
        numbers = "tableCount numBytes totalNumBytes createdAt updatedAt index releasedAt variableCount"
        super().__init__(
            {name: name for name in texts.split()}
            | dict.fromkeys(numbers.split(), 1)
            | dict.fromkeys(("isReleased", "isDeleted", "isSample", "isFileIndex", "isFileId"), True),
            owner={"name": "demo", "kind": "user", "fullName": "Demo", "ror": "ror"},
            geoBBox={f"{side}itude": 1.5 for side in ("westLong", "eastLong", "southLat", "northLat")},
        )
