"""Twenty mistakes of newcomers, and what the tap says of each: `python -m docs.mistakes` writes docs/mistakes.md."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from docs.generate import filled
from redivis_emulator import Emulator, demo

PAGE = Path(__file__).parent / "mistakes.md"

_DATASET = "demo.nycflights13"
_TIME = re.compile(r"^[\d-]+ [\d:,]+ \| (\w+) +\| \S+ +\| ")


@dataclass(frozen=True)
class Mistake:
    """What somebody typed.

    Attributes:
        config: The config; a text is the file as it is, None that there is none.
        options: Options of the command line, beside `--config config.json`.
        variables: Environment variables.
    """

    config: dict[str, Any] | str | None = field(default_factory=lambda: {"datasets": [_DATASET]})
    options: tuple[str, ...] = ()
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def typed(self) -> str:
        """What to show of it."""
        variables = [f"{name}={value}" for name, value in self.variables.items()]
        default = Mistake().config
        config = self.config if isinstance(self.config, str) or self.config is None else json.dumps(self.config)
        shown = [config or "no config.json"] if self.config != default else []
        return " ".join([*variables, *shown, *self.options])


def _table_options(**options: list[str]) -> dict[str, Any]:
    return {"datasets": [_DATASET], "table_options": {"flights": options}}


MISTAKES = (
    Mistake(None),
    Mistake('{"datasets": ["demo.nycflights13"]'),
    Mistake({"dataset": [_DATASET]}),
    Mistake({"datasets": _DATASET}),
    Mistake({"datasets": ["https://redivis.com/demo/nycflights13"]}),
    Mistake({"datasets": ["demo/nycflights13"]}),
    Mistake({"datasets": ["nycflights13"]}),
    Mistake({"datasets": ["demo.nycflight"]}),
    Mistake({"datasets": ["demo.nycflights13:v2.0"]}),
    Mistake({"tables": [_DATASET]}),
    Mistake({"tables": ["demo.nycflights13.flight"]}),
    Mistake(_table_options(variables=["tailnumber"])),
    Mistake(_table_options(key_propertys=["tailnum"])),
    Mistake({"datasets": [_DATASET], "wire_format": "json"}),
    Mistake({"datasets": [_DATASET], "batch_config": {"encoding": {"format": "parquet"}}}),
    Mistake(variables={"REDIVIS_API_TOKEN": "a-token-of-nobody"}),
    Mistake(variables={"TAP_REDIVIS_MAX_ROWS": "5"}),
    Mistake(options=("--state", "state.json")),
    Mistake(options=("--test=foo",)),
    Mistake(options=("--discover", "--plan")),
)


def table() -> str:
    """Make the table: each mistake against one emulator, some at a time."""
    with tempfile.TemporaryDirectory(prefix="mistakes-") as made:
        served = Path(made) / "served"
        served.mkdir()
        demo.build(served)
        with Emulator(served) as emulator, ThreadPoolExecutor(2) as pool:
            places = [Path(made) / str(number) for number in range(len(MISTAKES))]
            lines = list(pool.map(lambda pair: said(*pair, emulator), zip(places, MISTAKES, strict=True)))
    rows = [f"| `` {each.typed} `` | {_cell(line)} |" for each, line in zip(MISTAKES, lines, strict=True)]
    return "\n".join(["| What was typed | What came |", "|---|---|", *rows])


def said(folder: Path, mistake: Mistake, emulator: Emulator) -> str:
    """Make one mistake in a folder of its own; return the line that the tap says of it, the first warning or error."""
    folder.mkdir()
    if mistake.config is not None:
        text = mistake.config if isinstance(mistake.config, str) else json.dumps(mistake.config)
        (folder / "config.json").write_text(text)
    program = Path(sys.executable).parent / "tap-redivis"
    service = {"REDIVIS_API_ENDPOINT": emulator.endpoint, "REDIVIS_API_TOKEN": emulator.token or ""}
    done = subprocess.run(  # noqa: S603 - our own program
        [program, "--config", "config.json", *mistake.options],
        cwd=folder,
        env={**_own_environment(), **service, **mistake.variables},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    wrong = [line for line in done.stderr.splitlines() if re.search(r"\| (ERROR|WARNING) |^Error: ", line)]
    return _TIME.sub(lambda match: f"{match[1]} ", wrong[0]) if wrong else ""


def _own_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("TAP_REDIVIS_", "REDIVIS_"))}


def _cell(line: str) -> str:
    return "`` " + line.replace("|", "\\|") + " ``"


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(), table(), "docs.mistakes"))
