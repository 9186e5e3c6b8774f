"""What is made of the settings is current, and what the README promises is there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from docs import generate
from tap_redivis.singer.config_schema import CONFIG_SCHEMA
from tap_redivis.tap import TapRedivis

ROOT = Path(__file__).parents[2]
_MADE = generate.made()


@pytest.mark.parametrize("path", _MADE, ids=lambda path: path.name)
def test_what_is_made_of_the_code_is_current(path: Path) -> None:
    """``python -m docs.generate`` would change nothing."""
    assert path.read_text() == _MADE[path]


@pytest.mark.parametrize("makers", [("a.b", "a.b.c"), ("a.b.c", "a.b")])
def test_each_block_of_a_page_has_its_maker(makers: tuple[str, str]) -> None:
    """The names of makers may begin alike, and come in any order."""
    page = "".join(f"<!-- made by {maker} -->\nold\n<!-- end of what is made -->\n" for maker in makers)

    for maker in makers:
        page = generate.filled(page, f"new of {maker}", maker)

    ends = "\n<!-- end of what is made -->\n"
    assert page == "".join(f"<!-- made by {maker} -->\nnew of {maker}{ends}" for maker in makers)


def test_meta_yml_names_every_setting_once() -> None:
    """The SDK's settings too: Meltano ignores what is not declared (targets.md §6)."""
    schema = {"properties": dict(CONFIG_SCHEMA["properties"])}
    TapRedivis.append_builtin_config(schema)
    meta = yaml.safe_load((ROOT / "meta.yml").read_text())

    names = [setting["name"] for setting in meta["settings"]]
    assert {name.partition(".")[0] for name in names} == set(schema["properties"])
    assert len(names) == len(set(names))


def test_meta_yml_has_no_kind_that_meltano_cannot_take() -> None:
    """Kind decimal with a value crashes Meltano 4.4."""
    meta = yaml.safe_load((ROOT / "meta.yml").read_text())

    assert {"string", "integer", "boolean", "array", "object", "options"} >= {part["kind"] for part in meta["settings"]}


def test_the_token_is_sensitive_in_meta_yml() -> None:
    """Meltano redacts what is sensitive."""
    meta = yaml.safe_load((ROOT / "meta.yml").read_text())

    assert [part["name"] for part in meta["settings"] if part.get("sensitive")] == ["api_token"]


def test_the_sample_config_is_valid() -> None:
    """It is what people begin with."""
    config = json.loads((ROOT / "sample_config.json").read_text())

    assert config.keys() <= CONFIG_SCHEMA["properties"].keys()


@pytest.mark.parametrize("command", ["make demo", "make test"])
def test_the_readme_shows_how_to_begin(command: str) -> None:
    assert f"\n{command}\n" in (ROOT / "README.md").read_text()
