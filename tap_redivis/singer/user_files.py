"""Files of the user: state and catalog, read and checked before the SDK sees them."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import IO, Any

from singer_sdk.singerlib import Catalog

from tap_redivis.errors import ConfigError
from tap_redivis.planning.bookmarks import from_state, is_of_dictionary, to_state

logger = logging.getLogger("tap-redivis")


def read_state(file: IO[str] | None) -> dict[str, Any] | None:
    """Read a state, or what Meltano keeps one in (`meltano state get`); None if no file is given."""
    value = _json_of(file, "--state")
    if value is None or value.keys() != {"singer_state"}:
        return value
    if not isinstance(value["singer_state"], dict):
        raise unusable("--state", "it is not an object with bookmarks")
    return value["singer_state"]


def read_catalog(file: IO[str] | None) -> Catalog | None:
    """Read a catalog; None if no file is given."""
    value = _json_of(file, "--catalog")
    if value is None:
        return None
    if not isinstance(value.get("streams"), list):
        raise unusable("--catalog", "it is no Singer catalog: it has no list of streams")
    try:
        for stream in value["streams"]:
            stream.update(_chosen_method(stream))
        catalog = Catalog.from_dict(value)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise unusable("--catalog", f"it is no Singer catalog ({type(error).__name__}: {error})") from None
    # The SDK takes these as they are, and stumbles over them later with a traceback.
    if not all(_is_schema(stream.get("schema")) for stream in value["streams"]):
        raise unusable("--catalog", "it is no Singer catalog: the schema of a stream is no JSON Schema")
    if not all(isinstance(entry.tap_stream_id, str) and entry.tap_stream_id for entry in catalog.streams):
        raise unusable("--catalog", "it is no Singer catalog: a stream has no tap_stream_id")
    return catalog


def readable_bookmarks(state: Any) -> dict[str, Any]:  # noqa: ANN401 - anything may stand in a state file
    """Give the bookmarks that can be read; others are dropped with a warning: never a crash, never a guess."""
    bookmarks = state.get("bookmarks", {}) if isinstance(state, Mapping) else None
    if not isinstance(bookmarks, Mapping):
        raise unusable("--state", "it is not an object with bookmarks")
    readable = {}
    for stream, bookmark in bookmarks.items():
        try:
            readable[stream] = _readable(bookmark)
        except ValueError as error:
            logger.warning(
                "state, stream %s: the bookmark is damaged (%s) and is dropped: all rows are read", stream, error
            )
    return readable


def _readable(bookmark: Any) -> dict[str, Any]:  # noqa: ANN401 - anything may stand in a state file
    if not is_of_dictionary(bookmark):
        return to_state(from_state(bookmark))
    from tap_redivis.singer.dictionary.bookmark import readable  # noqa: PLC0415 - few states have such a bookmark

    return readable(bookmark)


def unusable(where: str, what: str) -> ConfigError:
    """Make the error for a file that cannot be used."""
    return ConfigError(what, where=where, hint="Fix the file, or omit it")


def _json_of(file: IO[str] | None, option: str) -> dict[str, Any] | None:
    if file is None:
        return None
    try:
        value = json.load(file)
    except (OSError, ValueError) as error:
        raise unusable(f"{option} {file.name}", f"it is not JSON ({error})") from None
    if not isinstance(value, dict):
        raise unusable(f"{option} {file.name}", "it is not a JSON object")
    return value


def _chosen_method(stream: dict[str, Any]) -> dict[str, str]:
    """Find the replication method in a stream's metadata, where Meltano writes it and the SDK does not look."""
    root: dict[str, Any] = next(
        (item["metadata"] for item in stream.get("metadata") or () if not item["breadcrumb"]), {}
    )
    method = root.get("replication-method")
    return {"replication_method": method} if method else {}


def _is_schema(value: Any) -> bool:  # noqa: ANN401 - anything may stand in a catalog
    """Whether a value has the shape of a schema, as far as the SDK relies on it without a check."""
    if not isinstance(value, dict):
        return False
    types = value.get("type", [])
    names = types if isinstance(types, list) else [types]
    properties = value.get("properties", {})
    return (
        all(isinstance(name, str) for name in names)
        and isinstance(properties, dict)
        and all(map(_is_schema, properties.values()))
    )
