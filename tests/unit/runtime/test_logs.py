"""Secrets are in no log line, wherever it comes from."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest

from tap_redivis.runtime.logs import redact_handlers, redacted, register_secret

_SECRET = "hidden-by-a-test"  # noqa: S105 - of no service


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """The output of a handler of the root logger, which redacts."""
    register_secret(_SECRET)
    output = io.StringIO()
    handler = logging.StreamHandler(output)
    root = logging.getLogger()
    formatters = [other.formatter for other in root.handlers]
    root.addHandler(handler)
    redact_handlers()
    yield output
    root.removeHandler(handler)
    for other, formatter in zip(root.handlers, formatters, strict=True):
        other.setFormatter(formatter)


def test_a_secret_is_hidden_in_messages_and_their_arguments(log: io.StringIO) -> None:
    logging.getLogger("urllib3").warning("to %s with %s", "redivis", _SECRET)

    assert log.getvalue() == "to redivis with ***\n"


def test_a_secret_is_hidden_in_tracebacks(log: io.StringIO) -> None:
    try:
        int(_SECRET)
    except ValueError:
        logging.getLogger("tap-redivis").exception("it failed")

    assert "ValueError: invalid literal for int() with base 10: '***'" in log.getvalue()
    assert _SECRET not in log.getvalue()


@pytest.mark.parametrize("nothing", [None, ""])
def test_no_token_is_no_secret(nothing: str | None) -> None:
    """Else each gap between letters would be replaced."""
    register_secret(nothing)

    assert redacted("text") == "text"
