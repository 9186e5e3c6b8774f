"""meta.yml as the Hub of Meltano takes it: the rules of its schema for extractors and of its linter, in our words."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

_ROOT = Path(__file__).parents[2]
_META: dict[str, Any] = yaml.safe_load((_ROOT / "meta.yml").read_text())  # keeps the order of the file
_REQUIRED = {"name", "namespace", "variant"}
_TEXTS = {
    *_REQUIRED,
    *(
        "label",
        "description",
        "pip_url",
        "executable",
        "repo",
        "ext_repo",
        "docs",
        "logo_url",
        "domain_url",
        "definition",
    ),
    *("maintenance_status", "quality", "next_steps", "settings_preamble", "usage", "prereq", "log_parser", "python"),
}
_LISTS = {
    "capabilities",
    "keywords",
    "select",
    "settings",
    "settings_group_validation",
    "supported_python_versions",
}
_MAPS = {"commands", "metadata", "requires", "schema"}
_CAPABILITIES = {
    *("about", "activate-version", "batch", "catalog", "discover", "log-based", "properties", "schema-flattening"),
    *("state", "stream-maps", "structured-logging", "test"),
}
_OF_SETTING = {
    *(
        "name",
        "aliases",
        "label",
        "value",
        "placeholder",
        "kind",
        "description",
        "tooltip",
        "documentation",
        "protected",
    ),
    *("env", "options", "docs", "sensitive", "value_processor", "value_post_processor", "oauth"),
}
_KINDS = {"string", "integer", "boolean", "array", "object", "options", "date_iso8601", "email", "file"}


def test_it_has_what_the_schema_asks_for_and_nothing_else() -> None:
    """Among them no `plugin_type`: in the Hub the folder says it."""
    assert _REQUIRED <= _META.keys() <= _TEXTS | _LISTS | _MAPS | {"hidden"}
    assert {type(_META[name]) for name in _META.keys() & _TEXTS} == {str}
    assert {type(_META[name]) for name in _META.keys() & _LISTS} == {list}
    assert _META["maintenance_status"] in {"active", "beta", "development", "inactive", "unknown"}
    assert _META["quality"] in {"gold", "silver", "bronze", "unknown"}
    assert {"usage", "prereq", "next_steps", "settings_preamble"} <= _META.keys()


@pytest.mark.parametrize("name", sorted(_META.keys() & {"repo", "ext_repo", "docs", "logo_url", "domain_url"}))
def test_an_address_is_one(name: str) -> None:
    assert urlsplit(_META[name]).scheme == "https"


def test_everything_is_sorted() -> None:
    """Keys at every depth, capabilities, settings by name, and each group of settings."""
    assert list(_META) == sorted(_META)
    assert _META["capabilities"] == sorted(_META["capabilities"])
    assert [setting["name"] for setting in _META["settings"]] == sorted(
        setting["name"] for setting in _META["settings"]
    )
    assert [list(setting) for setting in _META["settings"]] == [sorted(setting) for setting in _META["settings"]]
    assert _META["settings_group_validation"] == [sorted(group) for group in _META["settings_group_validation"]]


def test_capabilities_and_pythons_are_known() -> None:
    promised = re.findall(r"Programming Language :: Python :: (3\.\d+)", (_ROOT / "pyproject.toml").read_text())

    assert set(_META["capabilities"]) <= _CAPABILITIES
    assert _META["supported_python_versions"] == promised
    assert all(re.fullmatch(r"3\.\d+", version) for version in _META["supported_python_versions"])


@pytest.mark.parametrize("setting", _META["settings"], ids=lambda setting: str(setting["name"]))
def test_a_setting_is_described_as_the_hub_wants_it(setting: dict[str, Any]) -> None:
    """A kind that it knows, options with texts, and what is secret marked as such."""
    assert {"name", "kind", "label", "description"} <= setting.keys() <= _OF_SETTING
    assert setting["kind"] in _KINDS
    assert ("options" in setting) == (setting["kind"] == "options")
    for option in setting.get("options", ()):
        assert {name: type(value) for name, value in option.items()} == {"label": str, "value": str}
    assert setting.get("sensitive", False) == (setting["name"] == "api_token")
    assert urlsplit(setting.get("documentation", "https://")).scheme == "https"


def test_each_group_names_settings_that_are_there() -> None:
    names = {setting["name"] for setting in _META["settings"]}

    assert {name for group in _META["settings_group_validation"] for name in group} <= names
