"""The entry point of the command `redivis-emulator`; it needs only the standard library."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code, 1 if the extra `emulator` is not installed."""
    try:
        from redivis_emulator import command  # noqa: PLC0415 - imports the packages of the extra
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] == "redivis_emulator":
            raise
        print("The emulator needs an extra: pip install 'tap-redivis[emulator]'", file=sys.stderr)  # noqa: T201
        return 1
    return command.main(arguments)
