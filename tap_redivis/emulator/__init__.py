"""A local Redivis: serves a folder of tables over the Redivis API, and breaks where it is told to."""

from tap_redivis.emulator.access import RateLimit, Token
from tap_redivis.emulator.emulator import DEFAULT_TOKEN, Emulator
from tap_redivis.emulator.errors import EmulatorError, FolderError, StartError
from tap_redivis.emulator.faults import Fault
from tap_redivis.emulator.log import Request
from tap_redivis.emulator.service import Settings

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
