"""Secrets are in no log line, wherever it comes from."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest

from tap_redivis.runtime.logs import redacted, register_secret, set_up_handlers

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
    set_up_handlers()
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


@pytest.mark.parametrize("name", ["Signature", "X-Goog-Signature", "X-Amz-Signature", "X-Amz-Security-Token", "sig"])
def test_what_opens_a_signed_address_is_hidden(log: io.StringIO, name: str) -> None:
    """As storage has it: urllib3 says each address that it asks for."""
    logging.getLogger("urllib3").warning('"GET /file?Expires=1&%s=a%%2Fb+c==&x=1 HTTP/1.1" 200', name)

    assert log.getvalue() == f'"GET /file?Expires=1&{name}=***&x=1 HTTP/1.1" 200\n'


@pytest.mark.parametrize("nothing", [None, ""])
def test_no_token_is_no_secret(nothing: str | None) -> None:
    """Else each gap between letters would be replaced."""
    register_secret(nothing)

    assert redacted("text") == "text"


@pytest.mark.parametrize(
    "sign", ["\x1b[2J", "\x07", "\x9b31m", "\x7f", "\u202e", "\u2066", "\u200f", "\r", "\n", "\ud800"]
)
def test_what_would_steer_a_terminal_is_written_out(log: io.StringIO, sign: str) -> None:
    """A server's words can neither move the cursor nor begin a line that looks like ours."""
    logging.getLogger("tap-redivis").warning("Redivis says: %s", f"a{sign}b")

    shown = log.getvalue().removesuffix("\n")
    assert shown.isprintable()
    assert shown.startswith("Redivis says: a\\")


def test_a_traceback_keeps_its_lines_but_nothing_else(log: io.StringIO) -> None:
    def fail() -> None:
        raise ValueError("a\x1b[2Jb")

    try:
        fail()
    except ValueError:
        logging.getLogger("tap-redivis").exception("it failed")

    lines = log.getvalue().splitlines()
    assert len(lines) > 3
    assert lines[-1] == r"ValueError: a\x1b[2Jb"
