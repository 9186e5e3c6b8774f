"""`--about` tells all: each setting, what it means and what it is by default, and each capability."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tap_redivis.tap import TapRedivis


def _about(*options: str) -> str:
    command = [Path(sys.executable).parent / "tap-redivis", "--about", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture(name="settings", scope="module")
def _settings() -> dict[str, Any]:
    """The schema of all settings, the SDK's too."""
    schema: dict[str, Any] = {"properties": dict(TapRedivis.config_jsonschema["properties"])}
    TapRedivis.append_builtin_config(schema)
    return schema["properties"]


@pytest.mark.parametrize("options", [(), ("--format=text",)])
def test_people_read_what_each_setting_means(options: tuple[str, ...], settings: dict[str, Any]) -> None:
    """Its type, its default, its variable, its meaning, and the parts that it has."""
    text = _about(*options)

    words = " ".join(text.split())
    for name, schema in settings.items():
        assert f"; TAP_REDIVIS_{name.upper()})" in words
        assert " ".join(schema["description"].split()) in words
    assert "\nmax_streams (integer; default 4; TAP_REDIVIS_MAX_STREAMS)\n    Read streams asked for" in text
    assert "\nwire_format (jsonl or arrow or csv; default jsonl; TAP_REDIVIS_WIRE_FORMAT)\n" in text
    assert "\napi_token (secret; TAP_REDIVIS_API_TOKEN)\n" in text
    for part in ("encoding.format (", "storage.root (string)", "default_dataset (string)", "key_properties (list)"):
        assert f"\n    {part}" in text
    assert all(capability.value in text for capability in TapRedivis.capabilities)
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize(("option", "columns"), [("--help", 80), ("--about", 80), ("--about", 40)])  # click's help: 50
def test_it_fits_the_terminal_and_begins_with_what_is_done_first(option: str, columns: int) -> None:
    """Nothing but names and addresses, which cannot be folded, is wider; a config and --test come before the rest."""
    command = [Path(sys.executable).parent / "tap-redivis", option]
    environment = {**os.environ, "COLUMNS": str(columns)}
    text = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout

    wide = [line.strip() for line in text.splitlines() if len(line) > columns]
    examples = {"echo", "export", "tap-redivis", '{"datasets":'}
    assert [line for line in wide if len(line.split()) > 1 and line.split()[0] not in examples] == []
    later = "--state" if option == "--help" else "max_rows"
    assert text.index("demo.nycflights13") < text.index("--test") < text.index(later)


def test_options_come_in_the_order_in_which_people_need_them() -> None:
    command = [Path(sys.executable).parent / "tap-redivis", "--help"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    options = re.findall(r"^  --(\w+)", text, re.MULTILINE)
    assert options[:5] == ["config", "test", "discover", "catalog", "state"]
    assert set(options) == {*options[:5], "plan", "rate", "about", "format", "version", "help"}


def test_programs_read_the_schema(settings: dict[str, Any]) -> None:
    about = json.loads(_about("--format=json"))

    assert about["settings"]["properties"] == settings
    assert about["capabilities"] == [capability.value for capability in TapRedivis.capabilities]
    assert about["supported_python_versions"] == ["3.10", "3.11", "3.12", "3.13"]


def test_markdown_has_a_row_for_each_setting(settings: dict[str, Any]) -> None:
    page = _about("--format=markdown")

    rows = dict(re.findall(r"^\| (\w+) \|.*\| (.*) \|$", page, re.MULTILINE))
    assert rows.keys() - {"Setting"} == settings.keys()
    assert all(rows.values())
