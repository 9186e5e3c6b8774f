"""What the tap is and can, as text for people: the SDK's own text leaves out what the settings mean. Pure."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from singer_sdk.about import AboutInfo

_WIDTH = 100
_INDENT = "    "


def about_text(info: AboutInfo) -> str:
    """Write name, versions, capabilities, and each setting with its type, default, variable and meaning."""
    lines = [
        f"{info.name} {info.version} (singer-sdk {info.sdk_version})",
        *_wrapped(str(info.description), ""),
        "",
        *_wrapped(f"Python: {', '.join(info.supported_python_versions or ())}", ""),
        *_wrapped(f"Capabilities: {', '.join(capability.value for capability in info.capabilities)}", ""),
        "",
        "Settings, in the config file or, with --config=ENV, as environment variables:",
    ]
    for name, schema in info.settings["properties"].items():
        facts = [_type(schema), *_default(schema), info.env_var_prefix + name.upper()]
        lines += ["", f"{name} ({'; '.join(facts)})", *_meaning(schema, _INDENT)]
        lines += [line for part in _parts(schema, "") for line in part]
    return "\n".join(lines)


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
    return _wrapped(" ".join(str(schema.get("description", "")).split()), indent)


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
