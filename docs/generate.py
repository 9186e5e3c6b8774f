"""Write what is made of the settings: meta.yml, the example of a Meltano project, tables of the docs.

Run ``python docs/generate.py``.
"""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import yaml

from tap_redivis.settings import CONFIG_SCHEMA
from tap_redivis.tap import TapRedivis

ROOT = Path(__file__).parent.parent
DEFINITION_BEGIN, DEFINITION_END = "# definition: made by docs/generate.py", "# end of definition"
BEGIN, END = "<!-- settings: made by docs/generate.py -->", "<!-- end of settings -->"

# Meltano 4.4 crashes on kind decimal with a value, and hands on kind string as a text, which is no number.
_KINDS = {"string": "string", "integer": "integer", "number": "integer", "boolean": "boolean"}
_PAGES = {
    "api_token": "https://apidocs.redivis.com/rest-api/authorization",
    "stream_maps": "https://sdk.meltano.com/en/latest/stream_maps.html",
    "stream_map_config": "https://sdk.meltano.com/en/latest/stream_maps.html",
}
_KEPT_BY_MELTANO = {
    "namespace",
    "label",
    "variant",
    "pip_url",
    "executable",
    "description",
    "capabilities",
    "settings_group_validation",
    "settings",
}
_CONTAINERS = {"array": "array", "object": "object"}


def settings_table() -> str:
    """Make the README's table of settings."""
    rows = ["| Setting | Type | Default | Meaning |", "|---|---|---|---|"]
    for name, schema in CONFIG_SCHEMA["properties"].items():
        default = "none" if "default" not in schema else f"`{json.dumps(schema['default']).strip(chr(34))}`"
        rows.append(f"| `{name}` | {_type_words(schema)} | {default} | {schema['description']} |")
    return "\n".join(rows)


def readme(text: str) -> str:
    """Put the table into the README's text."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n{settings_table()}\n{END}{tail}"


def meta() -> str:
    """Make meta.yml, a Meltano plugin definition."""
    return _yaml({"plugin_type": "extractors", **definition()})


def example(text: str) -> str:
    """Put the definition into the text of the example of a Meltano project."""
    head, _, rest = text.partition(f"{DEFINITION_BEGIN}\n")
    _, _, tail = rest.partition(DEFINITION_END)
    parts = {key: value for key, value in definition().items() if key in _KEPT_BY_MELTANO}
    indent = " " * 4
    return f"{head}{DEFINITION_BEGIN}\n{textwrap.indent(_yaml(parts), indent)}{indent}{DEFINITION_END}{tail}"


def definition() -> dict[str, Any]:
    """Make what Meltano needs to know of the tap.

    There is no ``select``: written into a project it would be a rule of its own, and whatever people select after it
    would add to everything.
    """
    schema: dict[str, Any] = {"properties": dict(CONFIG_SCHEMA["properties"])}
    TapRedivis.append_builtin_config(schema)
    return {
        "name": "tap-redivis",
        "namespace": "tap_redivis",
        "variant": "tap-redivis",
        "label": "Redivis",
        "description": "Research data platform",
        "domain_url": "https://redivis.com",
        "pip_url": "tap-redivis",
        "executable": "tap-redivis",
        "keywords": ["meltano_sdk", "research data"],
        "maintenance_status": "active",
        "capabilities": sorted(capability.value for capability in TapRedivis.capabilities),
        "settings_group_validation": [["datasets"], ["workflows"], ["tables"]],
        "settings": [_setting(name, part) for name, part in schema["properties"].items()],
    }


def _yaml(value: Any) -> str:  # noqa: ANN401 - any JSON value
    return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=120))


def _setting(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    setting: dict[str, Any] = {"name": name, "kind": _kind(schema)}
    if values := schema.get("enum"):
        setting["options"] = [{"label": str(value), "value": value} for value in values if value is not None]
    if "default" in schema:
        setting["value"] = schema["default"]
    if schema.get("secret"):
        setting["sensitive"] = True
    setting["label"] = schema.get("title") or name.replace("_", " ").capitalize()
    setting["description"] = " ".join(str(schema.get("description", "")).split())
    if page := _PAGES.get(name):
        setting["documentation"] = page
    return setting


def _kind(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return "options"
    return (_KINDS | _CONTAINERS)[_main_type(schema)]


def _main_type(schema: dict[str, Any]) -> str:
    kinds = schema.get("type", "string")
    return str(next(kind for kind in ([kinds] if isinstance(kinds, str) else kinds) if kind != "null"))


def _type_words(schema: dict[str, Any]) -> str:
    if values := schema.get("enum"):
        return " · ".join(f"`{value}`" for value in values if value is not None)
    if schema.get("secret"):
        return "secret"
    return {"array": "list", "object": "map"}.get(_main_type(schema), _main_type(schema))


if __name__ == "__main__":
    path = ROOT / "README.md"
    path.write_text(readme(path.read_text()))
    (ROOT / "meta.yml").write_text(meta())
    path = ROOT / "docs/examples/meltano.yml"
    path.write_text(example(path.read_text()))
