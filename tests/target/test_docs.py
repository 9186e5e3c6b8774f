"""The page of the target and its definition for Meltano name every setting."""

from __future__ import annotations

from pathlib import Path

import yaml

from target_adbc.target import TargetAdbc

_ROOT = Path(__file__).parents[2]
_PACKAGE = _ROOT / "target_adbc"


def _settings() -> dict[str, object]:
    schema = {**TargetAdbc.config_jsonschema, "properties": dict(TargetAdbc.config_jsonschema["properties"])}
    TargetAdbc.append_builtin_config(schema)
    return schema["properties"]


def test_meta_yml_names_every_setting_and_its_default() -> None:
    meta = yaml.safe_load((_PACKAGE / "meta.yml").read_text())

    named = {each["name"]: each for each in meta["settings"]}
    assert named.keys() == _settings().keys()
    assert [name for name, each in named.items() if each.get("sensitive")] == ["uri"]
    defaults = {
        name: part["default"] for name, part in TargetAdbc.config_jsonschema["properties"].items() if "default" in part
    }
    assert {name: named[name].get("value") for name in defaults} == defaults
    assert meta["capabilities"] == sorted(each.value for each in TargetAdbc.capabilities)


def test_the_page_describes_every_setting() -> None:
    """But those of stream maps and flattening, which the SDK describes."""
    page = (_ROOT / "docs/target-adbc.md").read_text()

    missing = [name for name in _settings() if f"| `{name}` |" not in page]
    assert [name for name in missing if not name.startswith(("stream_map", "faker", "flattening"))] == []


def test_it_stays_small() -> None:
    files = {path: len(path.read_text().splitlines()) for path in _PACKAGE.glob("*.py")}

    assert max(files.values()) <= 400
    assert sum(files.values()) <= 1200
