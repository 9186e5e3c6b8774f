"""Tests of one group are run by one worker, so that what they share is made once."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.xdist_group("together")


def test_the_scheduler_sees_the_group(request: pytest.FixtureRequest) -> None:
    """It looks for it at the end of a test's id; a pytest that does not let pytest-xdist write there says nothing."""
    assert request.node.nodeid.endswith("@together") or not hasattr(request.config, "workerinput")
