"""Discovery: which tables the settings name."""

from __future__ import annotations

from tap_redivis.client.metadata import Metadata
from tap_redivis.model.settings import Settings
from tap_redivis.model.tables import TableInfo


def find_tables(catalogue: Metadata, settings: Settings) -> list[TableInfo]:
    """Find every table that the settings name, each once.

    Raises:
        NotFound: A dataset, workflow or table is not there.
        ApiError: The server refused.
        DataError: The server resolved another version than was asked for.
    """
    datasets = [found for reference in settings.datasets for found in catalogue.expand(reference)]
    containers = [*datasets, *settings.workflows, *(table.container for table in settings.tables)]
    catalogue.load(containers, workflows=settings.workflows)
    tables = [table for each in (*datasets, *settings.workflows) for table in catalogue.container(each).tables]
    for reference in settings.tables:
        tables.extend(catalogue.find(reference))
    return list({table.pinned: table for table in tables}.values())
