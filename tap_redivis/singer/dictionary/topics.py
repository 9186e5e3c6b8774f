"""The streams of the data dictionary, with the names, types and descriptions of their columns."""

from __future__ import annotations

from dataclasses import dataclass

from tap_redivis.model.tables import Variable


@dataclass(frozen=True)
class Topic:
    """One stream of the dictionary.

    Attributes:
        stream: Its name.
        description: What its rows are.
        keys: Columns that identify a row among all rows of the stream.
        columns: All columns.
    """

    stream: str
    description: str
    keys: tuple[str, ...]
    columns: tuple[Variable, ...]


def _columns(**columns: str) -> tuple[Variable, ...]:
    """Make columns of ``name="type: description"``."""
    parts = {name: text.partition(": ") for name, text in columns.items()}
    return tuple(Variable(name, kind, description=text) for name, (kind, _, text) in parts.items())


_STREAM = "string: Name that the rows have in the target: the stream, or what a stream map calls it"
_OWNER = "string: Name of the user or organization"
_DATASET = "string: Name of the dataset or workflow"
_VERSION_TAG = "string: Version that this row speaks of, such as v1.0; next for a draft; null for a workflow"
_DATASET_REFERENCE = "string: reference of the row in redivis_datasets"
_PLACE = {
    "owner": _OWNER,
    "dataset": _DATASET,
    "version_tag": _VERSION_TAG,
    "table_name": "string: Name of the table, upload or query",
}
_VARIABLE = {"stream": _STREAM, "variable": "string: Name of the variable, and so of the column", **_PLACE}

DATASETS = Topic(
    "redivis_datasets",
    "The datasets and workflows that the settings name",
    ("reference",),
    _columns(
        reference="string: How the tap finds it: with a version only if the settings pin one",
        kind="string: dataset or workflow",
        owner=_OWNER,
        owner_kind="string: organization or user",
        owner_full_name="string: Full name of the owner",
        owner_ror="string: ROR identifier of the owner",
        dataset=_DATASET,
        id="string: Persistent id",
        qualified_reference="string: Reference of exactly this version",
        version_tag=_VERSION_TAG,
        is_sample="boolean: Whether its sample is meant",
        doi="string: DOI",
        url="string: Address for people",
        description="string: Description",
        methodology="string: Methodology, in Markdown",
        usage_notes="string: Usage notes, in Markdown",
        contact="string: Whom to ask",
        tags="string: Tags, separated by commas",
        labels="string: Labels, which only administrators see, separated by commas",
        links="string: Title and address of each link, one a line",
        access_level="string: What this token may do: none, overview, metadata, sample, data or edit",
        public_access_level="string: What everybody may do",
        table_count="integer: Number of tables",
        size_bytes="integer: Size of this version",
        total_size_bytes="integer: Size of all versions and files",
        temporal_start="dateTime: First time that the data speaks of, UTC",
        temporal_end="dateTime: Last time that the data speaks of, UTC",
        west="float: Western border of the area, in degrees",
        east="float: Eastern border",
        south="float: Southern border",
        north="float: Northern border",
        created_at="dateTime: UTC",
        updated_at="dateTime: Last change, of the documentation too, UTC",
    ),
)

VERSIONS = Topic(
    "redivis_versions",
    "All versions of the datasets",
    ("dataset_reference", "version_tag"),
    _columns(
        dataset_reference=_DATASET_REFERENCE,
        version_tag="string: Version, such as v1.0; next for a draft",
        owner=_OWNER,
        dataset=_DATASET,
        position="integer: 0 for the first version",
        label="string: Label",
        is_current="boolean: Whether it is the current release",
        is_read="boolean: Whether it is the version that this tap reads",
        is_released="boolean: False for a draft",
        is_deleted="boolean: Whether it can no longer be read",
        doi="string: DOI of the dataset",
        url="string: Address for people",
        release_notes="string: What is new in it",
        created_at="dateTime: UTC",
        updated_at="dateTime: UTC",
        released_at="dateTime: UTC; null for a draft",
    ),
)

TABLES = Topic(
    "redivis_tables",
    "The tables, uploads and queries that the settings name: one row for each stream",
    ("stream",),
    _columns(
        stream=_STREAM,
        kind="string: table, upload or query",
        **_PLACE,
        dataset_reference=f"{_DATASET_REFERENCE}; null for a query",
        reference="string: How the tap finds it",
        qualified_reference="string: Reference of exactly this version",
        id="string: Persistent id",
        url="string: Address for people",
        description="string: Description",
        query="string: SQL of a query",
        content_hash="string: What the server gives as a digest of the content",
        row_count="integer: JsonRows at the source; not to be trusted for a draft",
        size_bytes="integer: Size at the source",
        variable_count="integer: Number of variables",
        is_sample="boolean: Whether it is a sample",
        is_file_index="boolean: Whether its rows are files",
        upload_merge_strategy="string: append or replace",
        unreadable="string: Why this token cannot read the rows; null if it can",
        created_at="dateTime: UTC",
        updated_at="dateTime: UTC",
        loaded_version_tag="string: Version of the last complete load: what the target holds",
        loaded_row_count="integer: JsonRows of the last complete load",
        loaded_at="dateTime: End of the last complete load, UTC",
    ),
)

VARIABLES = Topic(
    "redivis_variables",
    "The variables of the tables, uploads and queries",
    ("stream", "variable"),
    _columns(
        **_VARIABLE,
        position="integer: 0 for the first variable of the table",
        type="string: string, integer, float, boolean, date, dateTime, time or geography",
        label="string: Short description",
        description="string: Long description",
        is_file_id="boolean: Whether the values are ids of files",
        value_label_count="integer: JsonRows of it in redivis_value_labels",
    ),
)

VALUE_LABELS = Topic(
    "redivis_value_labels",
    "What the values of variables mean",
    ("stream", "variable", "value"),
    _columns(
        **_VARIABLE,
        value="string: The value as text",
        label="string: What it means",
        position="integer: 0 for the first label of the variable",
    ),
)

TOPICS = (DATASETS, VERSIONS, TABLES, VARIABLES, VALUE_LABELS)
"""All topics, in the order in which they are written."""
