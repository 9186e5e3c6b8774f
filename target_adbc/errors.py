"""What can go wrong, each said in one line: ``TargetError`` and its kinds.

* ``SettingsError``: the settings are wrong, or a driver is not installed
* ``DatabaseError``: the database refused something, or cannot be reached
* ``InputError``: a message or a file cannot be loaded as it is
* ``GapError``: the database does not hold the rows before those that came
"""

from __future__ import annotations


class TargetError(Exception):
    """What happened, where, and what to do."""


class SettingsError(TargetError):
    """The settings are wrong, or a driver is not installed."""


class DatabaseError(TargetError):
    """The database refused something, or cannot be reached."""


class InputError(TargetError):
    """A message or a file cannot be loaded as it is."""


class GapError(InputError):
    """The database does not hold the rows before those that came."""


_secrets: set[str] = set()


def register_secret(secret: str | None) -> None:
    """Never show a secret in a line that this process writes."""
    if secret:
        _secrets.add(secret)


def shown(text: object) -> str:
    """Make a text one line without secrets."""
    line = " ".join(str(text).split())
    for secret in sorted(_secrets, key=len, reverse=True):
        line = line.replace(secret, "***")
    return line
