"""Log lines on stderr: any failure as one of them, no secret of the process, no control characters."""

import errno
import logging
import os
import re

from tap_redivis.errors import Mistake, RedivisError, ResourceError, escaped, one_line

_LIMITS = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN}

logger = logging.getLogger("tap-redivis")
_secrets: set[str] = set()
_SIGNED = re.compile(r"""([?&][\w-]*(?:sig|signature|security-token)=)[^&\s"']+""", re.IGNORECASE)


def register_secret(secret: object) -> None:
    """Never show a secret in a log line."""
    if secret:  # a config may have it as another type than text
        _secrets.add(str(secret))


def redacted(text: str) -> str:
    """Replace secrets by ``***``, and what opens a signed address for anybody."""
    for secret in _secrets:
        text = text.replace(secret, "***")
    return _SIGNED.sub(r"\1***", text)


def error_of(failure: Exception) -> RedivisError:
    """Turn any failure into a ``RedivisError``: what the system refused, or else a mistake of the tap."""
    if isinstance(failure, RedivisError):
        return failure
    more = "Raise the limits of the process (ulimit -n, -u, -v), or set max_streams and max_requests to 1"
    words = one_line(redacted(str(failure))).rstrip(".")  # a part of a secret, where it is cut, would be one too
    if isinstance(failure, MemoryError):
        return ResourceError("there is no more memory", hint=more)
    if isinstance(failure, RuntimeError) and "start new thread" in words:
        return ResourceError("the system starts no more threads", hint=more)
    if isinstance(failure, (ImportError, SystemError)):  # also where there is no room in memory for it
        return ResourceError(f"a library fails ({words})", hint=more)
    if isinstance(failure, OSError):
        what = os.strerror(failure.errno).lower() if failure.errno else words
        hint = more if failure.errno in _LIMITS else "Check what it names, and run again"
        return ResourceError(what, where=redacted(str(failure.filename or "")), hint=hint)
    hint = "Set TAP_REDIVIS_LOG_LEVEL=debug to see where, and please report it"
    return Mistake(f"unexpected {type(failure).__name__}: {words}", hint=hint)


def set_up_handlers() -> None:
    """Make all handlers of the root logger redact and escape what they write, and leave the SDK's chatter out."""
    # A formatter sees the whole text, tracebacks too; a filter would see only the message.
    for handler in logging.getLogger().handlers:
        handler.setFormatter(_RedactingFormatter(handler.formatter or logging.Formatter()))
        if "SINGER_SDK_LOG_CONFIG" not in os.environ:  # who writes one chooses there what to see
            handler.addFilter(_is_no_chatter)


def _is_no_chatter(record: logging.LogRecord) -> bool:
    """Whether a line is for users: the SDK's own lines at INFO (METRIC, each step) show only at the level debug."""
    is_of_sdk = f"{os.sep}singer_sdk{os.sep}" in record.pathname
    return not (is_of_sdk and record.levelno == logging.INFO) or logging.getLogger().isEnabledFor(logging.DEBUG)


class _RedactingFormatter(logging.Formatter):
    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        # The line ends of a message are a server's, and would begin lines of its own; those of a traceback are ours.
        shown = logging.makeLogRecord({**vars(record), "msg": escaped(record.getMessage()), "args": None})
        return redacted("\n".join(map(escaped, self._inner.format(shown).split("\n"))))
