"""What is made of the settings is current, and what the README promises is there."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from tap_redivis.settings import CONFIG_SCHEMA
from tap_redivis.tap import TapRedivis

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_readme_has_the_settings_as_they_are(generate: ModuleType) -> None:
    """``python docs/generate.py`` would change nothing."""
    readme = (ROOT / "README.md").read_text()

    assert readme == generate.readme(readme)


def test_meta_yml_has_the_settings_as_they_are(generate: ModuleType) -> None:
    """``python docs/generate.py`` would change nothing."""
    assert (ROOT / "meta.yml").read_text() == generate.meta()


def test_the_meltano_example_has_the_definition_as_it_is(generate: ModuleType) -> None:
    """``python docs/generate.py`` would change nothing."""
    example = (ROOT / "docs/examples/meltano.yml").read_text()

    assert example == generate.example(example)


def test_meta_yml_names_every_setting_once() -> None:
    """The SDK's settings too: Meltano ignores what is not declared (targets.md §6)."""
    schema = {"properties": dict(CONFIG_SCHEMA["properties"])}
    TapRedivis.append_builtin_config(schema)
    meta = yaml.safe_load((ROOT / "meta.yml").read_text())

    assert [setting["name"] for setting in meta["settings"]] == list(schema["properties"])


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
