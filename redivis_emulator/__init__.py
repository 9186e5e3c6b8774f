"""A local Redivis: serves a folder of tables over the Redivis API, and breaks where it is told to."""

from redivis_emulator.access import RateLimit, Token
from redivis_emulator.emulator import DEFAULT_TOKEN, Emulator
from redivis_emulator.errors import EmulatorError, FolderError, StartError
from redivis_emulator.faults import Fault
from redivis_emulator.log import Request
from redivis_emulator.service import Settings

__all__ = [
    "DEFAULT_TOKEN",
    "Emulator",
    "EmulatorError",
    "Fault",
    "FolderError",
    "RateLimit",
    "Request",
    "Settings",
    "StartError",
    "Token",
]
