"""The process: start quickly, run the command line, and end with one clear line where something is wrong."""

from __future__ import annotations

import gc
import logging
import os
import sys
from importlib.abc import MetaPathFinder
from types import ModuleType
from typing import NoReturn

from tap_redivis.errors import RedivisError, one_line
from tap_redivis.runtime.logs import redact_handlers, redacted
from tap_redivis.runtime.shutdown import SHUTDOWN, Termination

logger = logging.getLogger("tap-redivis")

_BROKEN_PIPE_EXIT = 141

_SWITCH_SECONDS = 0.02
"""Reader threads that compute are left alone four times longer than Python does: each change costs."""

_LEFT_OUT = {
    "singer_sdk.target_base": "Target",
    "singer_sdk.streams.rest": "RESTStream",
    "singer_sdk.streams.graphql": "GraphQLStream",
    "upath": "UPath",
}


def main() -> None:
    """Run ``tap-redivis``."""
    SHUTDOWN.install()
    try:
        _run()
    except Termination as termination:  # from here on at any moment, while modules are being imported too
        _leave(termination.exit_code)
    except SystemExit as end:
        _leave(_shown(end.code))
    _leave(_shown(0))


def _run() -> None:
    if sys.argv[1:] == ["--version"]:
        _say_version()
        return
    sys.setswitchinterval(_SWITCH_SECONDS)
    if level := os.environ.get("TAP_REDIVIS_LOG_LEVEL"):
        os.environ.setdefault("TAP_REDIVIS_LOGLEVEL", level)
    # Arrow's own allocators keep what threads have freed; Parquet's encoders know no other way to have the system's.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    _leave_out()
    gc.disable()  # what modules make stays: looking through it again and again is a tenth of the start-up
    from tap_redivis.singer.messages import OutputClosed  # noqa: PLC0415 - these import singer_sdk
    from tap_redivis.tap import TapRedivis  # noqa: PLC0415 - the same

    gc.freeze()
    gc.enable()

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


def _say_version() -> None:
    """Say what the SDK's own option says, without the SDK, which takes ten times as long."""
    from importlib.metadata import version  # noqa: PLC0415 - the SDK finds it out by itself

    sys.stdout.write(f"tap-redivis v{version('tap-redivis')}, Meltano SDK v{version('singer-sdk')}\n")


def _leave_out() -> None:
    """Spare the imports that only targets, taps of REST services and BATCH files need: half of the start-up.

    ``singer_sdk`` makes them all at once, and with them joblib, multiprocessing, fsspec, asyncio and more. This is done
    in the tap's own process only; who imports ``tap_redivis`` as a library gets the whole SDK.
    """
    for module, name in _LEFT_OUT.items():
        stand_in = ModuleType(module)
        setattr(stand_in, name, type(name, (), {}))
        sys.modules.setdefault(module, stand_in)
    sys.meta_path.insert(0, _Hiding())


class _Hiding(MetaPathFinder):
    """Hides NumPy and pandas: Arrow imports them, where they are installed, to see whether a value is of their types.

    That takes as long as reading millions of rows, 35 MiB, and threads of NumPy's that wait for work by computing.
    """

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:  # noqa: ARG002 - Python's signature
        """Find nothing.

        Raises:
            ModuleNotFoundError: It is one of them, which then counts as not installed.
        """
        if fullname in {"numpy", "pandas"}:
            raise ModuleNotFoundError(name=fullname)


def _shown(code: object) -> int:
    """Write out what the command line said, and make its exit code a number."""
    if isinstance(code, str):
        sys.stderr.write(f"{code}\n")
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return _BROKEN_PIPE_EXIT
    return code if isinstance(code, int) else int(code is not None)


def _leave(code: int) -> NoReturn:
    """End now: reader threads may be waiting for a server that is silent, and a signal changes nothing any more."""
    SHUTDOWN.ignore()
    logging.shutdown()
    os._exit(code)


if __name__ == "__main__":
    main()
