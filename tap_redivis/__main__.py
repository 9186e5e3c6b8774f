"""The process: run the command line, and end with one clear line where something is wrong."""

import logging
import os
import sys
from pathlib import Path
from typing import NoReturn

from tap_redivis.errors import ConfigError, one_line
from tap_redivis.runtime.logs import error_of, logger, set_up_handlers
from tap_redivis.runtime.memory import require_room
from tap_redivis.runtime.shutdown import SHUTDOWN, Termination
from tap_redivis.runtime.standard_streams import OutputClosed, take_over

_BROKEN_PIPE_EXIT = 141
_IMPORTS_BYTES = 128 * 1024 * 1024  # address space, most of which is never used
_NO_ROOM = b"ERROR    | tap-redivis: there is no more memory. Raise the limits of the process (ulimit -v)\n"
_LEVELS = ("TAP_REDIVIS_LOGLEVEL", "TAP_REDIVIS_LOG_LEVEL", "LOGLEVEL")  # the SDK looks for the first


def main() -> None:
    """Run ``tap-redivis``."""
    try:
        exit_process(_outcome())
    except Termination as termination:  # from the first line on at any moment, while modules are being imported too
        logger.warning("stopped by %s", termination.words)
        exit_process(termination.exit_code)
    except (MemoryError, SystemError):  # what was wrong could not be said: there is no room for its words
        os.write(2, _NO_ROOM)
        os._exit(1)


def _outcome() -> int:
    """Run the command line, and say what went wrong; gives the exit code."""
    failure: Exception
    try:
        take_over()
        SHUTDOWN.install()
        with SHUTDOWN.signals_win():
            return _run()
    except OutputClosed as closed:
        if not closed.args:
            return _BROKEN_PIPE_EXIT
        [failure] = closed.args
    except Exception as error:  # noqa: BLE001 - the last resort
        failure = error
    logger.error("%s", error_of(failure))
    logger.debug("traceback", exc_info=failure)
    return 1


def _run() -> int:
    # Arrow's own allocators keep what threads have freed; it reads the variable when it is imported.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    # OpenBLAS, which comes with numpy, sends SIGINT where it can start no threads; nothing is computed with it.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ[_LEVELS[0]] = next(filter(None, map(os.environ.get, _LEVELS)), "INFO")
    require_room(_IMPORTS_BYTES)
    # Imported after the signal handlers are installed: importing the SDK takes most of a second.
    from tap_redivis.tap import TapRedivis  # noqa: PLC0415 - see above

    try:
        if Path(os.environ.get("SINGER_SDK_LOG_CONFIG", "")).is_fifo():
            raise ValueError("its config is a pipe, which may never have a writer")  # noqa: TRY301 - caught below
        command = TapRedivis.cli
    except Exception as error:
        what = f"the log cannot be set up ({one_line(str(error)).rstrip('.')})"
        hint = "Correct TAP_REDIVIS_LOG_LEVEL, LOGLEVEL or SINGER_SDK_LOG_CONFIG"
        raise ConfigError(what, where="environment", hint=hint) from error
    set_up_handlers()
    try:
        command()
    except SystemExit as end:
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
        sys.stdout.flush()  # what the command line said
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def exit_process(code: int) -> NoReturn:
    """End now: reader threads may be waiting for a server that is silent, and a signal changes nothing any more."""
    SHUTDOWN.ignore()
    logging.shutdown()
    os._exit(code)


if __name__ == "__main__":
    main()
