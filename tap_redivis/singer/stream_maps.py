"""Stream maps: RECORD lines by splicing, or by the SDK where maps change rows; what of them BATCH files can honour."""

import fnmatch
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from singer_sdk.mapper import RemoveRecordTransform, SameRecordTransform

from tap_redivis.errors import ConfigError
from tap_redivis.model.columns import ROW_KEY
from tap_redivis.singer.messages import MessageWriter
from tap_redivis.singer.sdk import SdkStream
from tap_redivis.wire.json_lines import RecordLines, splicing
from tap_redivis.wire.rows import JsonRows, Parts

_NULLS: tuple[object, ...] = (None, "__NULL__")  # two spellings of the SDK
_HONOURED = {"__alias__", "__key_properties__"}


def record_lines(stream: SdkStream, version: int | None, writer: MessageWriter) -> RecordLines:
    """Make what writes a stream's rows as RECORD lines of a Singer version; None leaves it out."""
    stream.set_version(version)
    first, *others = stream.stream_maps
    if not others and type(first) is SameRecordTransform and not first.flattening_enabled:
        return splicing(first.stream_alias, version)
    return by_sdk(stream.record_messages, writer.format_message)


def by_sdk(messages: Callable[[dict[str, Any]], Iterable[Any]], serialize: Callable[[Any], bytes]) -> RecordLines:
    """Make RECORD lines through the SDK's own path: the reference that splicing is tested against."""

    def lines(rows: JsonRows) -> Parts:
        # Stream maps are expressions over Python values, so each row is parsed.
        records = map(json.loads, rows.lines.splitlines())
        return (b"".join(serialize(message) for record in records for message in messages(record)),)

    return lines


def columns_in_files(stream: SdkStream) -> set[str]:
    """Give the names of the columns that stream maps leave in files."""
    return set(stream.stream_maps[0].transformed_schema["properties"])


def alias_in_files(stream: SdkStream) -> str:
    """Find the name in BATCH messages; files hold columns as they are, so a map that does more is an error."""
    maps = [each for each in stream.stream_maps if not isinstance(each, RemoveRecordTransform)]
    if len(maps) > 1:
        raise _not_in_batch(stream.name, "it sends the rows to more than one stream")
    before, after = (schema["properties"].keys() for schema in (maps[0].raw_schema, maps[0].transformed_schema))
    if maps[0].flattening_enabled and before != after:
        raise _not_in_batch(stream.name, "flattening changes the names of columns")
    for pattern, definition in (stream.config.get("stream_maps") or {}).items():
        if isinstance(definition, Mapping) and fnmatch.fnmatch(stream.name, pattern):
            for name, value in definition.items():
                if (name not in _HONOURED and value not in _NULLS) or name == "__else__":
                    raise _not_in_batch(stream.name, f"it has {name!r}")
    return maps[0].stream_alias


def _not_in_batch(stream: str, why: str) -> ConfigError:
    return ConfigError(
        f"BATCH files take of stream maps only __alias__, __key_properties__ and columns set to __NULL__; {why}",
        where=f"stream_maps, {stream}",
        hint="Take the map out, or leave batch_config out",
    )


def with_row_key(stream_maps: Mapping[str, Any]) -> dict[str, Any]:
    """Let stream maps that leave out what they do not name keep the row key, unless they name other keys."""
    kept = dict(stream_maps)
    for name, stream_map in stream_maps.items():
        leaves_out = isinstance(stream_map, dict) and "__else__" in stream_map
        if leaves_out and not stream_map.keys() & {ROW_KEY, "__key_properties__"}:
            kept[name] = {**stream_map, ROW_KEY: ROW_KEY}
    return kept
