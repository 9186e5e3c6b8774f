"""The process: run the command line, and end with one clear line where something is wrong."""

import logging
import os
import signal
import sys

# Arrow's own allocators keep what has been freed; it reads the variable when it is imported.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")

logger = logging.getLogger("target-adbc")
# Its lines are ours: what the SDK says there of each step helps nobody.
logger.addFilter(lambda line: "singer_sdk" not in line.pathname or line.levelno != logging.INFO)


def main() -> None:
    """Run ``target-adbc``."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a signal ends it at once, whatever the driver is doing
    code = _outcome()
    logging.shutdown()
    os._exit(code)  # all is committed and printed; to free each object takes a tenth of a second


def _outcome() -> int:
    from target_adbc.errors import shown  # noqa: PLC0415 - the SDK takes half a second

    try:
        from target_adbc.target import TargetAdbc  # noqa: PLC0415 - the same

        TargetAdbc.cli()
    except SystemExit as end:
        sys.stdout.flush()  # what the command line said
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except ModuleNotFoundError as error:
        sys.stderr.write(f"target-adbc needs an extra: pip install 'tap-redivis[adbc]' ({error})\n")
        return 1
    except BrokenPipeError:
        return 141  # as shells say it
    except Exception as error:
        module = type(error).__module__
        is_known = isinstance(error, OSError) or module.startswith(("target_adbc.", "singer_sdk."))
        unexpected = "" if is_known else f"unexpected {type(error).__name__}, please report it: "
        begin = "config: it is no JSON: " if module == "simplejson.errors" else unexpected
        logger.error("%s%s", begin, shown(error))  # noqa: TRY400 - a traceback is for those who ask for it
        logger.debug("traceback", exc_info=True)
        return 1
    return 0


if __name__ == "__main__":
    main()
