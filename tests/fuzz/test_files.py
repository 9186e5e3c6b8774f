"""Whatever stands in the tap's files, it runs or says in clear words what is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.bodies import EDITS, FUZZ, Edit
from tests.fuzz.whole import CONFIG, Change, Site, changes, check, check_rows, finished, served
from tests.support.pipes import Json, run

_FULL_CONFIG: Json = {
    **CONFIG,
    "tables": ["demo.fuzz.t", "demo.fuzz:v1.0.*"],
    "workflows": [],
    "table_options": {"t": {"key_properties": ["id"], "variables": ["id", "text"], "max_rows": 20}},
    "stream_name_format": "{dataset}__{table}__{version}",
    "wire_format": "csv",
    "max_rows": 22,
    "skip_unchanged": False,
    "state_interval_rows": 5,
    "state_interval_seconds": 0.5,
    "on_schema_change": "warn",
    "stream_maps": {"fuzz__t": {"twice": "id * 2", "text": None, "__filter__": "id > 3"}},
    "stream_map_config": {"hash_seed": "x"},
    "flattening_enabled": True,
    "flattening_max_depth": 2,
}

_WITH_COLUMNS: Json = {**CONFIG, "row_key": True, "lineage": True}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server that changes nothing; the table seems too large to be read without a session."""
    with served(tmp_path_factory.mktemp("files"), num_bytes=10**6) as site:
        yield site


@pytest.fixture(scope="module")
def catalog(site: Site) -> Any:
    """The catalog as discovered."""
    return json.loads(run(site.tap("--discover", config=_WITH_COLUMNS)).stdout)


@pytest.fixture(scope="module")
def state(site: Site) -> Any:
    """STATE of a load under way, after one that was complete."""
    done = run(site.tap(config={**CONFIG, "state_interval_rows": 1}))
    complete = done.state["bookmarks"]["fuzz__t"]
    states = [message["value"]["bookmarks"]["fuzz__t"] for message in done.messages if message["type"] == "STATE"]
    under_way = next(state for state in states if _has_rows(state.get("reading", {})))
    return {"bookmarks": {"fuzz__t": {**complete, "version_tag": "v0.9", **under_way}}}


@FUZZ
@given(st.lists(changes(), min_size=1, max_size=2))
def test_any_config(site: Site, change: list[Change]) -> None:
    check(finished(site.tap(config=_all(change, _FULL_CONFIG))))


@FUZZ
@given(st.lists(changes(), min_size=1, max_size=2))
def test_any_catalog(site: Site, catalog: Any, change: list[Change]) -> None:
    check(finished(site.tap(config=_WITH_COLUMNS, catalog=_all(change, catalog))))


@FUZZ
@given(st.lists(changes(), min_size=1, max_size=2))
def test_any_state(site: Site, state: Any, change: list[Change]) -> None:
    """Nor is a row changed or written twice."""
    done = finished(site.tap(state=_all(change, state)))

    check(done)
    check_rows(done)


@FUZZ
@given(st.sampled_from(["config", "catalog", "state"]), EDITS)
def test_any_bytes(site: Site, catalog: Any, state: Any, name: str, edit: Edit) -> None:
    """A file that is no JSON, no UTF-8, or other JSON."""
    program = site.tap(config=_FULL_CONFIG, catalog=catalog, state=state)
    path = site.files / f"{name}.json"
    path.write_bytes(edit(path.read_bytes()))

    check(finished(program))


def _has_rows(reading: Json) -> bool:
    return any(position["offset"] for position in reading.get("streams", {}).values())


def _all(changes: list[Change], whole: Any) -> Any:
    for change in changes:
        whole = change(whole)
    return whole
