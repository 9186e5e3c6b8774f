"""What the tap is and can, as text for people: the SDK's own text leaves out what the settings mean. Pure."""

import json
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from singer_sdk.about import AboutInfo

_INDENT = "    "
_BEGINNING = """\
To begin, write a config, try it, and load:

    {"datasets": ["demo.nycflights13"]}

    tap-redivis --config config.json --test
    tap-redivis --config config.json | target-jsonl

Settings, in the config file or, with --config=ENV, as environment variables:"""


def about_text(info: AboutInfo, width: int) -> str:
    """Write how to begin, each setting with its type, default, variable and meaning, and what the tap can do."""
    lines = [
        f"{info.name} {info.version} (singer-sdk {info.sdk_version})",
        str(info.description),
        "",
        *_BEGINNING.splitlines(),
    ]
    for name, schema in info.settings["properties"].items():
        facts = [_type(schema), *_default(schema), info.env_var_prefix + name.upper()]
        lines += ["", f"{name} ({'; '.join(facts)})", *_meaning(schema, _INDENT)]
        lines += [line for part in _parts(schema, "") for line in part]
    lines += [
        "",
        f"Capabilities: {', '.join(capability.value for capability in info.capabilities)}",
        f"Python: {', '.join(info.supported_python_versions or ())}",
    ]
    return "\n".join(folded for line in lines for folded in _folded(line, width))


def _parts(schema: Mapping[str, Any], prefix: str) -> Iterator[list[str]]:
    """Write the parts of a setting that is a map, or a list or map of maps, by their path below the setting."""
    inner = next(
        (schema[key] for key in ("items", "additionalProperties") if isinstance(schema.get(key), dict)), schema
    )
    for name, part in (inner.get("properties") or {}).items():
        facts = "; ".join([_type(part), *_default(part)])
        yield [f"{_INDENT}{prefix}{name} ({facts})", *_meaning(part, _INDENT * 2)]
        yield from _parts(part, f"{prefix}{name}.")


def _type(schema: Mapping[str, Any]) -> str:
    if schema.get("secret"):
        return "secret"
    if values := [str(value) for value in schema.get("enum", ()) if value is not None]:
        return " or ".join(values)
    kinds = schema.get("type", "any")
    first = next((kind for kind in kinds if kind != "null"), "null") if isinstance(kinds, list) else kinds
    return {"array": "list", "object": "map"}.get(first, str(first))


def _default(schema: Mapping[str, Any]) -> list[str]:
    if "default" not in schema:
        return []
    value = schema["default"]
    return [f"default {value if isinstance(value, str) else json.dumps(value)}"]


def _meaning(schema: Mapping[str, Any], indent: str) -> list[str]:
    return [indent + " ".join(str(schema.get("description", "")).split())]


def _folded(line: str, width: int) -> list[str]:
    """Fold a line at the width; what goes on stands below its begin."""
    indent = " " * (len(line) - len(line.lstrip()))
    return textwrap.wrap(line, width, subsequent_indent=indent, break_on_hyphens=False) or [""]
