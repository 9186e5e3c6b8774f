"""The options of the command line that the SDK does not have, or has in another form."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click

from tap_redivis.errors import ConfigError

_HELP = """Load tables of Redivis: rows go to stdout, as messages for a Singer target.

\b
  echo '{"datasets": ["demo.nycflights13"]}' > config.json
  export REDIVIS_API_TOKEN='<your token>'
  tap-redivis --config config.json --test
  tap-redivis --config config.json | target-jsonl
"""
_OPTIONS = {  # in the order in which people come to need them
    "config": "File of settings; or ENV, for variables such as TAP_REDIVIS_DATASETS. May be given more than once.",
    "test": "Read one row of each table, to check token and access; --test=schema only writes SCHEMA messages.",
    "discover": "Write the catalog: all tables and their columns; --discover=table lists the tables for people.",
    "catalog": "Load what is selected in this catalog.",
    "state": "Go on from the STATE that the target printed last.",
    "plan": "Say what a run with this config, catalog and state would read, and why, without reading it.",
    "rate": "What the minutes of --plan go by: rows a second, as 20000, or megabytes, as 12MB. Without it, what the "
    "last load of each table took.",
    "about": "Tell of all settings.",
    "about_format": "How --about writes them.",
    "version": "Write the version.",
}
_BEGIN = {
    "state": "in a first run leave --state out: the last STATE message of a run has the state of the next",
    "catalog": "`tap-redivis --config … --discover > catalog.json` writes one",
}
_RATE = re.compile(r"(\d+(?:\.\d+)?) ?(MB)?(?:/s)?", re.IGNORECASE)


@dataclass(frozen=True)
class Rate:
    """How fast a stream is loaded."""

    amount: float  # a second
    unit: Literal["rows", "MB"]  # megabytes as Redivis counts them
    origin: Literal["given", "measured", "assumed"]

    def minutes(self, rows: int | None, size: int | None) -> float | None:
        """Estimate how long some rows take; None if what the rate goes by is not known."""
        megabytes = None if size is None else size / 1e6
        amount = rows if self.unit == "rows" else megabytes
        return None if amount is None else round(amount / self.amount / 60, 2)


def rate_of(text: str | None) -> Rate | None:
    """Read the option ``--rate``: rows a second, or megabytes with ``MB``; a ``ConfigError`` says it is neither."""
    if text is None:
        return None
    match = _RATE.fullmatch(text.strip())
    if not match or not float(match[1]):
        raise ConfigError(f"{text!r} is no rate", where="--rate", hint="Write rows a second, as 20000, or 12MB")
    return Rate(float(match[1]), "MB" if match[2] else "rows", "given")


class _UserFile(click.Path):
    """A file that is read later: here, by the SDK's type, it would be decoded by the locale, and a pipe waited for."""

    def __init__(self) -> None:
        super().__init__(exists=True, dir_okay=False, allow_dash=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401 - click's
        """Check that the file is there; where it is not, say how people get one."""
        if param and value != "-" and not Path(value).exists():
            self.fail(f"there is no file {value!r}. Check the path; {_BEGIN[str(param.name)]}.", param, ctx)
        return super().convert(value, param, ctx)


def refuse_together(**modes: object) -> None:
    """Raise a ``UsageError`` where more than one of the options is given that say what a run does."""
    given = [f"--{name}" for name, value in modes.items() if value not in {None, False, "disabled"}]
    if len(given) > 1:
        raise click.UsageError(f"{' and '.join(given)} are different runs: give one of them.")


def with_own_options(command: click.Command) -> click.Command:
    """Add ``--plan`` and ``--rate`` to the SDK's command, and say of each option, what people do first at the top."""
    options = {option.name: option for option in command.params}
    # The SDK's callback runs the test before the other options are read.
    options["test"].callback, options["test"].expose_value = None, True
    options["test"].type = click.Choice(["all", "schema", "disabled"])
    options["state"].type = options["catalog"].type = _UserFile()
    options["about_format"].type = click.Choice(["text", "json", "markdown"])
    # The SDK's --discover is a flag, which cannot take a format.
    for name, choices in (("discover", ["json", "table"]), ("plan", ["text", "json"])):
        options[name] = click.Option([f"--{name}"], is_flag=False, flag_value=choices[0], type=click.Choice(choices))
    options["rate"] = click.Option(["--rate"], metavar="ROWS|MB")
    for name, words in _OPTIONS.items():
        options[name].help = words
    command.help, command.params = _HELP, [options[name] for name in _OPTIONS]
    return command
