"""The options of the command line that the SDK does not have, or has in another form."""

from __future__ import annotations

import click


def with_own_options(command: click.Command) -> click.Command:
    """Add ``--plan`` and ``--rate`` to the SDK's command; let ``--discover`` and ``--test`` see catalog and state."""
    for option in command.params:
        if option.name == "test":
            # The SDK's callback runs the test before the other options are read.
            option.callback, option.expose_value = None, True
        elif option.name in {"state", "catalog"}:
            # The SDK's would be decoded by the locale, and opened here, where a pipe without a writer is waited for.
            option.type = click.Path(exists=True, dir_okay=False, allow_dash=True)
        elif option.name == "about_format":
            option.type = click.Choice(["text", "json", "markdown"])
    # The SDK's --discover is a flag, which cannot take a format.
    command.params = [option for option in command.params if option.name != "discover"]
    command.params += [
        click.Option(
            ["--discover"],
            is_flag=False,
            flag_value="json",
            type=click.Choice(["json", "table"]),
            help="Write the catalog; with --discover=table a list of the tables for people.",
        ),
        click.Option(
            ["--plan"],
            is_flag=False,
            flag_value="text",
            type=click.Choice(["text", "json"]),
            help="Say what a run with this config, catalog and state would read, and why, without reading it.",
        ),
        click.Option(
            ["--rate"],
            metavar="ROWS|MB",
            help="What the minutes of --plan go by: rows a second, as 20000, or megabytes, as 12MB. Without it, "
            "what the last load of each table took.",
        ),
    ]
    return command
