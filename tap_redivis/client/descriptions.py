"""What only a resource's own answer holds: descriptions and value labels of variables, release notes of versions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from tap_redivis.client.answers import text_of
from tap_redivis.client.http import Api
from tap_redivis.model.references import unpinned, url_path
from tap_redivis.model.tables import Container, Json, TableInfo, Variable


def get_variable(api: Api, table: TableInfo, variable: Variable) -> Json:
    """Get one variable with its description and value labels."""
    # redivis-api §3.2: the path of a variable ends in its name in lower case.
    return api.get(f"{table.uri}{url_path('variables', variable.name.lower())}")


def describe_variables(api: Api, table: TableInfo, variables: Iterable[Variable]) -> list[Variable]:
    """Add descriptions; each costs a request (redivis-api §5)."""

    def describe(variable: Variable) -> Variable:
        return replace(variable, description=text_of(get_variable(api, table, variable), "description"))

    return list(api.workers.map(describe, variables))


def list_versions(api: Api, dataset: Container) -> list[Json]:
    """List those of a dataset's versions that this token may see."""
    return list(api.pages(f"{url_path('datasets', unpinned(dataset.reference))}/versions", known_by="tag"))


def get_version(api: Api, dataset: Container, tag: str) -> Json:
    """Get one version with its release notes."""
    path = url_path("datasets", unpinned(dataset.reference))
    return api.get(f"{path}{url_path('versions', tag.replace('.', '_'))}")
