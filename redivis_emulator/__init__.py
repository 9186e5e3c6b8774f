"""A local Redivis: serves a folder of tables over the Redivis API, and injects faults."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from redivis_emulator.access import RateLimit, Token
    from redivis_emulator.emulator import Emulator
    from redivis_emulator.errors import EmulatorError, FolderError, StartError
    from redivis_emulator.faults import Fault
    from redivis_emulator.log import Request
    from redivis_emulator.readings import Readings
    from redivis_emulator.service import Settings

__all__ = [
    "DEFAULT_TOKEN",
    "Emulator",
    "EmulatorError",
    "Fault",
    "FolderError",
    "RateLimit",
    "Readings",
    "Request",
    "Settings",
    "StartError",
    "Token",
]
DEFAULT_TOKEN = "emulator-token"  # noqa: S105 - for an API that runs on this machine only
_MODULES = {
    "Emulator": "emulator",
    "EmulatorError": "errors",
    "Fault": "faults",
    "FolderError": "errors",
    "RateLimit": "access",
    "Readings": "readings",
    "Request": "log",
    "Settings": "service",
    "StartError": "errors",
    "Token": "access",
}


def __getattr__(name: str) -> object:
    """Import a public name at its first use: without the extra `emulator`, the command must still start."""
    if name not in _MODULES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
