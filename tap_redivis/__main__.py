"""The process: start quickly, run the command line, and end with one clear line where something is wrong."""

from __future__ import annotations

import logging
import os
import sys
from types import ModuleType
from typing import NoReturn

from tap_redivis.errors import RedivisError, one_line
from tap_redivis.logs import redact_handlers, redacted
from tap_redivis.shutdown import SHUTDOWN, Termination

logger = logging.getLogger("tap-redivis")

_BROKEN_PIPE_EXIT = 141

_SWITCH_SECONDS = 0.02
"""Reader threads that compute are left alone four times longer than Python does: each change costs."""


def main() -> None:
    """Run ``tap-redivis``."""
    SHUTDOWN.install()
    try:
        _run()
    except Termination as termination:  # from here on at any moment, while modules are being imported too
        _leave(termination.exit_code)


def _run() -> None:
    sys.setswitchinterval(_SWITCH_SECONDS)
    if level := os.environ.get("TAP_REDIVIS_LOG_LEVEL"):
        os.environ.setdefault("TAP_REDIVIS_LOGLEVEL", level)
    _leave_out_targets()
    from tap_redivis.messages import OutputClosed  # noqa: PLC0415 - these import singer_sdk
    from tap_redivis.tap import TapRedivis  # noqa: PLC0415 - the same

    try:
        command = TapRedivis.cli
        redact_handlers()
        with SHUTDOWN.ending():
            command()
    except OutputClosed:
        _leave(_BROKEN_PIPE_EXIT)
    except RedivisError as error:
        logger.error("%s", error)  # noqa: TRY400 - a traceback is for those who ask for it
        logger.debug("traceback", exc_info=True)
        _leave(1)
    except Exception as error:  # the last resort: a mistake of ours, said in one line
        logger.error(  # noqa: TRY400 - the same
            "unexpected %s: %s. Set TAP_REDIVIS_LOG_LEVEL=debug to see where, and please report it.",
            type(error).__name__,
            one_line(redacted(str(error))),
        )
        logger.debug("traceback", exc_info=True)
        _leave(1)


def _leave_out_targets() -> None:
    """Spare the import of what only targets need: a third of the start-up.

    ``singer_sdk`` imports its ``Target`` and with it joblib, multiprocessing and, where installed, numpy. This is done
    in the tap's own process only; who imports ``tap_redivis`` as a library gets the whole SDK.
    """
    stand_in = ModuleType("singer_sdk.target_base")
    stand_in.Target = type("Target", (), {})  # type: ignore[attr-defined]
    sys.modules.setdefault(stand_in.__name__, stand_in)


def _leave(code: int) -> NoReturn:
    """End now: reader threads may be waiting for a server that is silent."""
    logging.shutdown()
    os._exit(code)


if __name__ == "__main__":
    main()
