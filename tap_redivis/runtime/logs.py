"""Log lines on stderr, without the secrets that the process knows, and with what would steer a terminal written out."""

from __future__ import annotations

import logging

from tap_redivis.errors import escaped

_secrets: set[str] = set()


def register_secret(secret: object) -> None:
    """Never show a secret in a log line."""
    if secret:  # a config may have it as another type than text
        _secrets.add(str(secret))


def redacted(text: str) -> str:
    """Replace secrets by ``***``."""
    for secret in _secrets:
        text = text.replace(secret, "***")
    return text


def redact_handlers() -> None:
    """Make all handlers of the root logger redact and escape what they write."""
    # A formatter sees the whole text, tracebacks too; a filter would see only the message.
    for handler in logging.getLogger().handlers:
        handler.setFormatter(_RedactingFormatter(handler.formatter or logging.Formatter()))


class _RedactingFormatter(logging.Formatter):
    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        # The line ends of a message are a server's, and would begin lines of its own; those of a traceback are ours.
        shown = logging.makeLogRecord({**vars(record), "msg": escaped(record.getMessage()), "args": None})
        return redacted("\n".join(map(escaped, self._inner.format(shown).split("\n"))))
