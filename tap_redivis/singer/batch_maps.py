"""Which stream maps BATCH files can honour, and the name that a stream gets by them."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from typing import Any

from singer_sdk.mapper import RemoveRecordTransform, StreamMap

from tap_redivis.errors import ConfigError

_NULLS: tuple[object, ...] = (None, "__NULL__")  # two spellings of the SDK
_HONOURED = {"__alias__", "__key_properties__"}


def stream_alias(stream: str, stream_maps: Sequence[StreamMap], config: Mapping[str, Any]) -> str:
    """Find the name that a stream's messages have; files hold columns as they are, so a map that does more is an error.

    ``config`` is the setting ``stream_maps``, whose keys may be patterns of stream names.
    """
    maps = [each for each in stream_maps if not isinstance(each, RemoveRecordTransform)]
    if len(maps) > 1:
        raise _not_in_batch(stream, "it sends the rows to more than one stream")
    if maps[0].flattening_enabled and maps[0].transformed_schema["properties"].keys() != _names_before(maps[0]):
        raise _not_in_batch(stream, "flattening changes the names of columns")
    for pattern, definition in config.items():
        if isinstance(definition, Mapping) and fnmatch.fnmatch(stream, pattern):
            for name, value in definition.items():
                if (name not in _HONOURED and value not in _NULLS) or name == "__else__":
                    raise _not_in_batch(stream, f"it has {name!r}")
    return maps[0].stream_alias


def _names_before(stream_map: StreamMap) -> set[str]:
    return set(stream_map.raw_schema["properties"])


def _not_in_batch(stream: str, why: str) -> ConfigError:
    return ConfigError(
        f"BATCH files take of stream maps only __alias__, __key_properties__ and columns set to __NULL__; {why}",
        where=f"stream_maps, {stream}",
        hint="Take the map out, or leave batch_config out",
    )
