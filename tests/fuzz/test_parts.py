"""Every change of one place, without a process for each: state, settings and metadata are read, or clearly refused."""

from __future__ import annotations

import copy
import dataclasses
import datetime as dt
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice
from typing import Any

import msgspec
import pytest
import requests
from singer_sdk.exceptions import ConfigValidationError

from redivis_emulator import DEFAULT_TOKEN, Emulator
from tap_redivis.client.http import Api
from tap_redivis.client.metadata import MetadataClient, describe_variables
from tap_redivis.errors import RedivisError
from tap_redivis.model.reads import ChangeCounts, StreamPosition
from tap_redivis.model.settings import Settings
from tap_redivis.planning.bookmarks import Bookmark, PartialLoad, from_state, to_state
from tap_redivis.singer.discovery import Failures, find_named
from tap_redivis.tap import TapRedivis
from tests.fuzz.bodies import TABLE
from tests.fuzz.served import Answer, Asked, serving
from tests.fuzz.whole import CONFIG, places
from tests.support.served import write_note, write_table

_NOW = dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc)
_STREAMS = {"s.0": StreamPosition(5, done=True, last="digest"), "s.1": StreamPosition()}
_READING = PartialLoad("id", _NOW, "jsonl", "digest", 7, _STREAMS, "v1.0", 24, "query", 3, ChangeCounts(1, 2, 3, 4))
_STATE = to_state(Bookmark("demo.t", "v1.0", "hash", 1, 24, "digest", _NOW, 7, _READING, "id", "high", ("id",), 9))
_CONFIG = {
    **CONFIG,
    "api_endpoint": "http://127.0.0.1:9/api/v1",
    "tables": ["demo.fuzz.t", "demo.fuzz:v1.0.*"],
    "workflows": ["demo.flow:ab12"],
    "uploads": ["demo.fuzz:next.t.file"],
    "queries": [{"name": "q", "sql": "SELECT 1", "default_dataset": "demo.fuzz", "key_properties": ["id"]}],
    "table_options": {"t": {"key_properties": ["id"], "variables": ["id", "text"], "max_rows": 20}},
    "batch_config": {"encoding": {"format": "parquet"}, "storage": {"root": "s3://lake/x", "prefix": "{stream}/"}},
}
_VALUES = [None, True, -1, 0.5, 2**64, "", "x", "http://[", [], ["x"], {}, {"x": 1}]
_NO_MORE = object()

Answers = Mapping[str, Any]
"""JSON of a server, by path."""


def _changed(whole: Any) -> Iterator[Any]:
    """Give some JSON once for each of its places and each value that is put there, and without that place."""
    for number, _ in enumerate(places([whole])):
        for value in [*_VALUES, _NO_MORE]:
            root = [copy.deepcopy(whole)]
            container, key = list(places(root))[number]
            if value is _NO_MORE:
                del container[key]
            else:
                container[key] = copy.deepcopy(value)
            if root:
                yield root[0]


def test_any_bookmark_is_read_as_one_or_damaged() -> None:
    """What is read has the types that the code relies on, and is written as it was read."""
    for state in _changed(_STATE):
        try:
            bookmark = from_state(state)
        except ValueError:
            continue
        msgspec.convert(dataclasses.asdict(bookmark), Bookmark)
        assert from_state(to_state(bookmark)) == bookmark


def test_any_config_is_settings_or_a_clear_error() -> None:
    """Without the help of the command line, which refuses what is no object."""
    for config in filter(lambda config: isinstance(config, dict), _changed(_CONFIG)):
        try:
            settings = TapRedivis(config=config, setup_mapper=False).run.settings
        except (RedivisError, ConfigValidationError):
            continue
        assert isinstance(settings, Settings)


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """What a server says of a dataset with one table."""
    folder = tmp_path_factory.mktemp("served")
    write_table(folder, "demo/fuzz/v1.0/t", TABLE.select(["id", "text"]))
    write_note(folder, "demo/fuzz/dataset.yml", {"tables": {"t": {"description": "Awkward"}}})
    with Emulator(folder) as emulator:
        _discover(emulator.endpoint)
        return {path: _asked(f"{emulator.endpoint}{path}") for path in {each.path for each in emulator.requests}}


@pytest.mark.parametrize("step", [9, pytest.param(1, marks=pytest.mark.long)])
def test_any_metadata_are_tables_or_a_clear_error(answers: Answers, step: int) -> None:
    """Whatever of it is another thing, or missing: each change, or each ninth one."""
    instead: dict[str, Any] = {}

    def answer(asked: Asked) -> Answer:
        is_known = asked.path in answers
        return Answer(
            json.dumps(instead.get(asked.path, answers.get(asked.path, {}))).encode(), 200 if is_known else 404
        )

    with serving(answer) as endpoint:
        for path, whole in sorted(answers.items()):
            for changed in islice(_changed(whole), 0, None, step):
                instead[path] = changed
                with suppress(RedivisError):
                    _discover(endpoint)
            del instead[path]


def _asked(address: str) -> Any:
    return requests.get(address, timeout=20, headers={"Authorization": f"Bearer {DEFAULT_TOKEN}"}).json()


def _discover(endpoint: str) -> None:
    """Ask for what discovery asks for, with the description of one variable."""
    metadata = MetadataClient(Api(endpoint, DEFAULT_TOKEN, timeout=20, max_retry_seconds=0, max_requests=1))
    failures: Failures = {}
    for table in find_named(metadata, Settings.from_config({"datasets": ["demo.fuzz"]}), failures)[1]:
        describe_variables(metadata.api, table, metadata.variables(table)[:1])
    for failure in failures.values():
        raise failure
