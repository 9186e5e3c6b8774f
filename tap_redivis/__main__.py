"""The process: run the command line, and end with one clear line where something is wrong."""

from __future__ import annotations

import logging
import os
import sys
from typing import NoReturn

from tap_redivis.errors import RedivisError, one_line
from tap_redivis.runtime.logs import redact_handlers, redacted
from tap_redivis.runtime.shutdown import SHUTDOWN, Termination

logger = logging.getLogger("tap-redivis")

_BROKEN_PIPE_EXIT = 141


def main() -> None:
    """Run ``tap-redivis``."""
    SHUTDOWN.install()
    try:
        _run()
    except Termination as termination:  # from here on at any moment, while modules are being imported too
        exit_process(termination.exit_code)
    except SystemExit as end:
        exit_process(_shown(end.code))
    exit_process(_shown(0))


def _run() -> None:
    if level := os.environ.get("TAP_REDIVIS_LOG_LEVEL"):
        os.environ.setdefault("TAP_REDIVIS_LOGLEVEL", level)
    # Arrow's own allocators keep what threads have freed; it reads the variable when it is imported.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    # Imported after the signal handlers are installed: importing the SDK takes most of a second.
    from tap_redivis.singer.messages import OutputClosed  # noqa: PLC0415 - see above
    from tap_redivis.tap import TapRedivis  # noqa: PLC0415 - see above

    try:
        command = TapRedivis.cli
        redact_handlers()
        with SHUTDOWN.signals_win():
            command()
    except OutputClosed:
        exit_process(_BROKEN_PIPE_EXIT)
    except RedivisError as error:
        logger.error("%s", error)  # noqa: TRY400 - a traceback is for those who ask for it
        logger.debug("traceback", exc_info=True)
        exit_process(1)
    except Exception as error:  # the last resort: a mistake of ours, said in one line
        logger.error(  # noqa: TRY400 - the same
            "unexpected %s: %s. Set TAP_REDIVIS_LOG_LEVEL=debug to see where, and please report it.",
            type(error).__name__,
            one_line(redacted(str(error))),
        )
        logger.debug("traceback", exc_info=True)
        exit_process(1)


def _shown(code: object) -> int:
    """Write out what the command line said, and make its exit code a number."""
    if isinstance(code, str):
        sys.stderr.write(f"{code}\n")
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return _BROKEN_PIPE_EXIT
    return code if isinstance(code, int) else int(code is not None)


def exit_process(code: int) -> NoReturn:
    """End now: reader threads may be waiting for a server that is silent, and a signal changes nothing any more."""
    SHUTDOWN.ignore()
    logging.shutdown()
    os._exit(code)


if __name__ == "__main__":
    main()
