"""The SDK's own tests of targets, in each kind of database."""

from __future__ import annotations

from typing import Any

import pytest
from singer_sdk.testing.runners import TargetTestRunner
from singer_sdk.testing.suites import target_tests

from target_adbc.target import TargetAdbc
from tests.target.conftest import Warehouse

_TESTS = target_tests.tests  # not the one of STATEs that the SDK leaves out: it asks for batches of its own size


@pytest.mark.parametrize("test", _TESTS, ids=lambda each: each.name)
def test_the_suite(warehouse: Warehouse, test: Any) -> None:
    runner = TargetTestRunner(TargetAdbc, config={"uri": warehouse.uri, "add_record_metadata": True})

    each = test()
    each.run(config=None, resource=None, runner=runner)


def test_the_rows_of_the_suite_arrive(warehouse: Warehouse) -> None:
    """Its tests look at no table: these do."""
    for name in ("camelcase", "duplicate_records", "special_chars_in_attributes"):
        runner = TargetTestRunner(TargetAdbc, config={"uri": warehouse.uri})
        test = next(each for each in _TESTS if each.name == name)()
        test.run(config=None, resource=None, runner=runner)

    assert warehouse.rows("test_duplicate_records", "id", "metric") == [(1, 100), (2, 20)]
    assert len(warehouse.rows("TestCamelcase")) == 2
    document = '{"env":"prod","agent:type":"desktop","agent:os:version":"10.13.1"}'
    [staged] = [name for name in warehouse.tables() if name.startswith("test:SpecialChars!in?attributes")]
    assert warehouse.rows(staged, "_id", "d") == [("a2e98886", document)]
