"""The command `redivis-emulator`; up to its arguments it needs only the standard library."""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from redivis_emulator import DEFAULT_TOKEN

if TYPE_CHECKING:
    from collections.abc import Sequence

# Packages of the extra that are imported at the first query.
_LATE = ("duckdb", "sqlglot")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code, 1 if the extra `emulator` is not installed."""
    own, child = _split(list(sys.argv[1:] if arguments is None else arguments))
    options = _parser().parse_args(own)
    try:
        from redivis_emulator import command  # noqa: PLC0415 - imports the packages of the extra
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] == "redivis_emulator":
            raise
        return _say_what_to_install()
    if not all(find_spec(name) for name in _LATE):
        return _say_what_to_install()
    return command.execute(options, child)


def _say_what_to_install() -> int:
    print("The emulator needs an extra: pip install 'tap-redivis[emulator]'", file=sys.stderr)  # noqa: T201
    return 1


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Return the emulator's own arguments, and the command after `--`."""
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:cut], arguments[cut + 1 :]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="redivis-emulator", description="A local Redivis, for tests and demos.")
    commands = parser.add_subparsers(required=True, metavar="serve | run")
    serve = commands.add_parser("serve", help="serve a folder until interrupted")
    serve.add_argument("--port", type=int, default=8080, help="port to listen on; 0: a free one (default: %(default)s)")
    serve.set_defaults(runs=False)
    run = commands.add_parser(
        "run",
        help="run a command with REDIVIS_API_ENDPOINT and REDIVIS_API_TOKEN set; its exit code is ours",
        usage="redivis-emulator run [-h] [--token TOKEN] [--faults FILE] [--reading N=V] [FOLDER] -- COMMAND ...",
    )
    run.set_defaults(runs=True, port=0)
    for command in (serve, run):
        command.add_argument(
            "folder", type=Path, nargs="?", help="OWNER/DATASET/[VERSION/]TABLE.{csv,jsonl,parquet}; default: demo data"
        )
        command.add_argument("--faults", type=Path, metavar="FILE", help="YAML list of faults")
        command.add_argument(
            "--reading",
            action="append",
            default=[],
            metavar="NAME=VALUE",
            help="how an open question is read; may come again",
        )
        command.add_argument("--token", default=DEFAULT_TOKEN, help="bearer token (default: %(default)s)")
    return parser
