"""pytest fixtures for tests in any folder."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import hypothesis
import pytest

from tests.support.buckets import S3, serving_s3
from tests.support.postgres import Postgres

if TYPE_CHECKING:
    from collections.abc import Iterator


def pytest_configure() -> None:
    """Make test processes the same, whoever starts them wherever."""
    # A shell that starts us in the background has us, and so the processes that tests start, ignore SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # A machine that is busy with other tests is slow, which says nothing about the code; and what a run finds must not
    # depend on chance: the same examples every time (tests/fuzz says how to have others).
    hypothesis.settings.register_profile(
        "shared machine", deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
    )
    hypothesis.settings.load_profile("shared machine")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """One PostgreSQL a test process: with pytest-xdist, one a worker."""
    with Postgres.start() as server:
        yield server


@pytest.fixture
def postgres(postgres_server: Postgres) -> Postgres:
    """A new and empty database."""
    return postgres_server.new_database()


@pytest.fixture(scope="session")
def s3() -> Iterator[S3]:
    """One local S3 a test process; each test has buckets of its own."""
    with serving_s3() as server:
        yield server
