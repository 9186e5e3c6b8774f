"""The process: run the command line, and end with one clear line where something is wrong."""

from __future__ import annotations

import logging
import os
import signal
import sys

# Arrow's own allocators keep what has been freed; it reads the variable when it is imported.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")

logger = logging.getLogger("target-adbc")

_BROKEN_PIPE_EXIT = 141


def main() -> None:
    """Run ``target-adbc``."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a signal ends it at once, whatever the driver is doing
    from singer_sdk.exceptions import InvalidRecord, MissingKeyPropertiesError, RecordsWithoutSchemaException  # noqa: PLC0415
    from singer_sdk.singerlib.exceptions import InvalidInputLine  # noqa: PLC0415 - the SDK takes most of a second

    from target_adbc.errors import TargetError, shown  # noqa: PLC0415 - the same
    from target_adbc.target import TargetAdbc  # noqa: PLC0415 - the same

    bad_input = (InvalidInputLine, InvalidRecord, MissingKeyPropertiesError, RecordsWithoutSchemaException)
    try:
        command = TargetAdbc.cli
        command()
    except BrokenPipeError:
        sys.exit(_BROKEN_PIPE_EXIT)
    except (TargetError, *bad_input) as error:
        logger.error("%s", shown(error))  # noqa: TRY400 - a traceback is for those who ask for it
        logger.debug("traceback", exc_info=True)
        sys.exit(1)
    except Exception as error:  # the last resort: a mistake of ours, said in one line
        logger.error("unexpected %s: %s. Please report it.", type(error).__name__, shown(error))  # noqa: TRY400
        logger.debug("traceback", exc_info=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
