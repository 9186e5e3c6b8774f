"""Write what is made of the code: meta.yml, the example of a Meltano project, tables of settings and errors.

Run ``python -m docs.generate``.
"""

from __future__ import annotations

import ast
import json
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from docs.lines import error_classes, error_lines, log_lines
from tap_redivis import errors
from tap_redivis.model.settings import SOURCES
from tap_redivis.singer.config_schema import CONFIG_SCHEMA
from tap_redivis.tap import TapRedivis

ROOT = Path(__file__).parent.parent

# Meltano 4.4 crashes on kind decimal with a value, and hands on kind string as a text, which is no number.
_KINDS = {"string": "string", "integer": "integer", "number": "integer", "boolean": "boolean"}
_BOUNDS = {"minimum": "at least", "exclusiveMinimum": "more than", "maximum": "at most"}
_PAGES = {
    "api_token": "https://apidocs.redivis.com/rest-api/authorization",
    "stream_maps": "https://sdk.meltano.com/en/latest/stream_maps.html",
    "stream_map_config": "https://sdk.meltano.com/en/latest/stream_maps.html",
    "faker_config": "https://faker.readthedocs.io/en/master/",
    "batch_config": "https://sdk.meltano.com/en/latest/batch.html",
}
_HUB_TEXTS = {
    "prereq": "A Redivis account with access to the data, and a token of it with the scope `data.data`; "
    "public tables below 100 MB can be read without one.",
    "settings_preamble": f"One of {', '.join(f'`{name}`' for name in SOURCES)} says what to read.",
    "usage": "Every night: `meltano run tap-redivis target-jsonl`. A dataset without a new version costs two requests; "
    "an interrupted run goes on at the row where it stopped.",
    "next_steps": "`meltano config test tap-redivis` reads a first row; "
    "`meltano select --list --all tap-redivis` lists tables and variables.",
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


def made() -> dict[Path, str]:
    """Make all of it: the whole text of each file."""
    pages = {
        "docs/settings.md": settings_pages,
        "docs/errors.md": errors_page,
        "docs/architecture.md": modules_table,
    }
    files = {ROOT / name: filled((ROOT / name).read_text(), make()) for name, make in pages.items()}
    example = ROOT / "docs/examples/meltano.yml"
    kept = {key: value for key, value in definition().items() if key in _KEPT_BY_MELTANO}
    files[example] = filled(example.read_text(), textwrap.indent(_yaml(kept), " " * 4).rstrip())
    files[ROOT / "meta.yml"] = _yaml(definition())
    return files


def filled(text: str, block: str, maker: str = "docs.generate") -> str:
    """Put a block between the lines that say where it goes, and who makes it."""
    head, begin, rest = _cut(text, rf"made by {re.escape(maker)}(?!\.)")
    _, end, tail = _cut(rest, "end of what is made")
    return f"{head}{begin}{block}\n{end}{tail}"


def _cut(text: str, words: str) -> tuple[str, str, str]:
    lines = text.splitlines(keepends=True)
    place, *_ = [number for number, line in enumerate(lines) if re.search(words, line)]
    return "".join(lines[:place]), lines[place], "".join(lines[place + 1 :])


def settings_table() -> str:
    """Make the table of the tap's settings."""
    rows = [
        f"| `{name}` | {_type_words(schema)} | {_default(schema)} | {schema['description']} |"
        for name, schema in CONFIG_SCHEMA["properties"].items()
    ]
    return _table("Setting", "Type", "Default", "Meaning", rows=rows)


def settings_pages() -> str:
    """Make the page of settings: the tap's own one by one, then the SDK's."""
    own = "\n\n".join(_setting_section(name, schema) for name, schema in CONFIG_SCHEMA["properties"].items())
    everything: dict[str, Any] = {"properties": dict(CONFIG_SCHEMA["properties"])}
    TapRedivis.append_builtin_config(everything)
    rows = [
        f"| `{name}` | {_type_words(schema)} | {_plain(schema)} |"
        for name, schema in everything["properties"].items()
        if name not in CONFIG_SCHEMA["properties"]
    ]
    sdk = _table("Setting", "Type", "Meaning", rows=rows)
    return f"{settings_table()}\n\n## One by one\n\n{own}\n\n## The SDK's\n\n{sdk}"


def errors_page() -> str:
    """Make the lists of errors, class by class, and of the log's lines."""
    lines = error_lines()
    sections = []
    for name in (name for name in vars(errors) if name in error_classes()):
        rows = [f"| {_cell(line.what)} | {_cell(line.hint)} |" for line in lines if line.kind == name]
        table = f"\n\n{_table('It says', 'What to do', rows=rows)}" if rows else ""
        words = str(getattr(errors, name).__doc__).partition("\n")[0]
        sections.append(f"### {name}\n\n{words.partition(' (redivis-api')[0].rstrip('.')}.{table}")
    rows = [f"| {level} | {_cell(text)} |" for level, text in log_lines()]
    return "\n\n".join([*sections, "## The log's lines", _table("Level", "It says", rows=rows)])


def modules_table() -> str:
    """Make the table of modules: the first sentence of each one's docstring."""
    package = Path(errors.__file__).parent
    paths = sorted(package.rglob("*.py"))
    rows = []
    for path in paths:
        words = " ".join((ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n\n")[0].split())
        name = ".".join(path.relative_to(package).with_suffix("").parts)
        if path.stem not in {"__init__", "__main__"}:
            rows.append(f"| `{name}` | {_cell(words)} |")
    return _table("Module", "Its job", rows=rows)


def _setting_section(name: str, schema: dict[str, Any]) -> str:
    facts = [_type_words(schema), f"default: {_default(schema)}"]
    facts += [f"{words} {schema[key]}" for key, words in _BOUNDS.items() if key in schema]
    parts = next((schema[key] for key in ("items", "additionalProperties") if isinstance(schema.get(key), dict)), {})
    rows = [
        f"| `{part}` | {_type_words(inner)} | {inner['description']} |"
        for part, inner in (parts.get("properties") or {}).items()
    ]
    table = f"\n\n{_table('Of each', 'Type', 'Meaning', rows=rows)}" if rows else ""
    if schema.get("properties"):
        leaves = _leaves(name, schema)
        rows = [f"| `{part}` | {_type_words(inner)} | {inner['description']} |" for part, inner in leaves]
        table = f"\n\n{_table('Part', 'Type', 'Meaning', rows=rows)}"
    variable = f"`TAP_REDIVIS_{name.upper()}`"
    return f"### {name}\n\n{schema['description']}.\n\n{', '.join(facts)}; variable {variable}{table}"


def _table(*heads: str, rows: list[str]) -> str:
    return "\n".join([f"| {' | '.join(heads)} |", "|---" * len(heads) + "|", *rows])


def _cell(text: str) -> str:
    """Show a text as it is in a cell of a table."""
    return text.replace("|", "\\|").replace("*", "\\*").replace("_", "\\_").replace("<", "&lt;")


def _default(schema: dict[str, Any]) -> str:
    return "none" if "default" not in schema else f"`{json.dumps(schema['default']).strip(chr(34))}`"


def _plain(schema: dict[str, Any]) -> str:
    return " ".join(str(schema.get("description", "")).split())


def definition() -> dict[str, Any]:
    """Make what Meltano and its Hub need to know of the tap; links to its own pages come when it has a home."""
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
        "quality": "unknown",  # the Hub rates it
        "supported_python_versions": [str(version) for version in TapRedivis.about_info().supported_python_versions],
        "capabilities": sorted(capability.value for capability in TapRedivis.capabilities),
        "settings_group_validation": [[name] for name in SOURCES],
        "select": ["*.*"],
        **_HUB_TEXTS,
        # In the order of the Hub's linter, as all keys are (`_yaml`).
        "settings": sorted(
            (_setting(*leaf) for name, part in schema["properties"].items() for leaf in _leaves(name, part)),
            key=lambda setting: str(setting["name"]),
        ),
    }


def _yaml(value: Any) -> str:  # noqa: ANN401 - any JSON value
    return str(yaml.safe_dump(value, sort_keys=True, allow_unicode=True, width=120))


def _setting(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    setting: dict[str, Any] = {"name": name, "kind": _kind(schema)}
    if values := schema.get("enum"):
        setting["options"] = [{"label": str(value), "value": value} for value in values if value is not None]
    if "default" in schema:
        setting["value"] = schema["default"]
    if schema.get("secret"):
        setting["sensitive"] = True
    setting["label"] = schema.get("title") or name.replace("_", " ").capitalize()
    setting["description"] = _plain(schema)
    if page := _PAGES.get(name.partition(".")[0]):
        setting["documentation"] = page
    return setting


def _leaves(name: str, schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give the parts of one of our settings by their whole names, since an environment variable sets one part."""
    if name.partition(".")[0] not in CONFIG_SCHEMA["properties"] or not schema.get("properties"):
        yield name, schema
        return
    for part, inner in schema["properties"].items():
        yield from _leaves(f"{name}.{part}", inner)


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
    for path, text in made().items():
        path.write_text(text)
