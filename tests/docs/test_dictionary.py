"""The page about the data dictionary: its command and its SQL, as printed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from redivis_emulator import Emulator, demo
from tests.support.pipes import pipe, tap, target
from tests.support.postgres import Postgres

_PAGE = (Path(__file__).parents[2] / "docs/dictionary.md").read_text()


def test_the_command_shows_value_labels(tmp_path: Path) -> None:
    [command] = _blocks("sh")
    variables = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}

    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, env=variables, capture_output=True, text=True, check=False
    )

    labels = [line for line in done.stdout.splitlines() if '"type":"RECORD"' in line]
    assert done.returncode == 0, done.stderr
    assert {json.loads(line)["record"]["variable"] for line in labels} == {"dst"}


def test_the_sql_answers(tmp_path: Path, postgres: Postgres) -> None:
    """In a PostgreSQL that the page's own config was loaded into."""
    demo.build(tmp_path)
    [config] = map(json.loads, _blocks("json"))
    url = postgres.url.replace("postgresql://", "postgresql+psycopg://")
    sink = {"sqlalchemy_url": url, "default_target_schema": "public"}
    with Emulator(tmp_path) as emulator:
        done = pipe(
            tap(emulator, tmp_path, {**config, "max_rows": 9}), target("meltanolabs-target-postgres", tmp_path, sink)
        )
    assert (done.tap.exit_code, done.target.exit_code) == (0, 0), done.tap.stderr + done.target.stderr

    joined, cited = map(postgres.query, _blocks("sql"))

    assert len(joined) == 9
    assert {label for _, label in joined} <= {"Standard US daylight saving time", "No daylight saving time", "Unknown"}
    assert [(owner, dataset, version) for owner, dataset, _, version, _ in cited] == [
        ("Demo data", "nycflights13", "v1.1")
    ]


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", _PAGE, re.MULTILINE | re.DOTALL)
