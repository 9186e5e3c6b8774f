"""Files of the user: config, state and catalog, read and checked before the SDK sees them."""

import json
import os
import select
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from singer_sdk.singerlib import Catalog

from tap_redivis.client.answers import refuse_depth
from tap_redivis.errors import ConfigError
from tap_redivis.planning.bookmarks import readable
from tap_redivis.runtime.logs import logger

_EXAMPLES = {
    "--config": 'a config is an object of settings, such as {"datasets": ["demo.nycflights13"]}',
    "--state": 'a state is the value of the last STATE of a run, such as {"bookmarks": {"visits__visits": {}}}',
    "--catalog": 'a catalog is what `tap-redivis --discover` writes, such as {"streams": []}',
}
_MOST_BYTES = 256 * 1024 * 1024  # a catalog of a thousand tables has some forty million
_PIECE_BYTES = 1024 * 1024
_SECONDS_OF_SILENCE = 60.0  # a pipe may never have a writer
_OWN_KEYS = {"completed_at", "reading", "table_version", "parts"}  # of bookmarks that this tap wrote, one at least


class _Schema(msgspec.Struct):
    """The shape of a JSON Schema, as far as the SDK relies on it without a check."""

    type: str | list[str] = ""
    properties: dict[str, "_Schema"] = msgspec.field(default_factory=dict)


def read_config(paths: Sequence[str]) -> dict[str, Any]:
    """Read config files; the settings of later ones win."""
    config: dict[str, Any] = {}
    for path in paths:
        config |= _json_object(path, f"--config {path}")
    return config


def read_state(path: str | None) -> dict[str, Any] | None:
    """Read a state, a whole STATE message, or what Meltano keeps a state in (`meltano state get`)."""
    value: Any = None if path is None else _json_object(path, f"--state {path}")
    if isinstance(value, dict) and value.keys() == {"singer_state"}:
        value = value["singer_state"]
    if isinstance(value, dict) and value.get("type") == "STATE":
        value = value.get("value")
    if path is not None and not isinstance(value, dict):
        raise unusable("--state", "it is not an object with bookmarks")
    return value  # type: ignore[no-any-return] # an object, or None without a file


def read_catalog(path: str | None) -> Catalog | None:
    """Read a catalog; None if no file is given."""
    if path is None:
        return None
    value = _json_object(path, f"--catalog {path}")
    if not isinstance(value.get("streams"), list):
        raise unusable("--catalog", "it is no Singer catalog: it has no list of streams")
    try:
        for stream in value["streams"]:
            stream.update(_chosen_method(stream))
        catalog = Catalog.from_dict(value)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise unusable("--catalog", f"it is no Singer catalog ({type(error).__name__}: {error})") from None
    # The SDK takes these as they are, and stumbles over them later with a traceback.
    try:
        msgspec.convert([stream.get("schema") for stream in value["streams"]], list[_Schema])
    except msgspec.ValidationError:
        raise unusable("--catalog", "it is no Singer catalog: the schema of a stream is no JSON Schema") from None
    if not all(isinstance(entry.tap_stream_id, str) and entry.tap_stream_id for entry in catalog.streams):
        raise unusable("--catalog", "it is no Singer catalog: a stream has no tap_stream_id")
    return catalog


def readable_bookmarks(state: Any) -> dict[str, Any]:  # noqa: ANN401 - anything may stand in a state file
    """Give the bookmarks that can be read; others are dropped with a warning: never a crash, never a guess."""
    bookmarks = state.get("bookmarks", {}) if isinstance(state, Mapping) else None
    if not isinstance(bookmarks, Mapping):
        raise unusable("--state", "it is not an object with bookmarks")
    found = {}
    for stream, bookmark in bookmarks.items():
        try:
            found[stream] = readable(bookmark)
        except ValueError as error:
            logger.warning(
                "state, stream %s: the bookmark is damaged (%s) and is dropped: all rows are read", stream, error
            )
            continue
        if "reading" in bookmark and "reading" not in found[stream]:
            logger.warning("state, stream %s: the load under way is a completed one, or older: it is dropped", stream)
    of_others = {stream for stream, bookmark in found.items() if bookmarks[stream] and not bookmark.keys() & _OWN_KEYS}
    if (of_others and of_others == bookmarks.keys()) or (state and "bookmarks" not in state):
        logger.warning("--state: it has no bookmark of this tap, so all rows are read; %s", _EXAMPLES["--state"])
    return found


def unusable(where: str, what: str) -> ConfigError:
    """Make the error for a file that cannot be used."""
    return ConfigError(what, where=where, hint=f"Fix the file, or omit it: {_EXAMPLES[where.split(maxsplit=1)[0]]}")


def _read(path: str, where: str) -> bytearray:
    """Read a file, a pipe or a device to its end, which some do not have; ``-`` is stdin."""
    data = bytearray()
    is_stdin = path == "-"
    try:
        with open(0 if is_stdin else path, "rb", buffering=0, closefd=not is_stdin, opener=_opened_at_once) as file:
            # Only a terminal may take for ever: somebody is there who can interrupt.
            patience = None if file.isatty() else _SECONDS_OF_SILENCE
            while os.name != "posix" or select.select([file], [], [], patience)[0]:
                piece = file.read(_PIECE_BYTES)
                if not piece:
                    return data
                data += piece
                if max(len(data), os.fstat(file.fileno()).st_size) > _MOST_BYTES:
                    raise unusable(where, f"it has more than {_MOST_BYTES:,} bytes")
    except FileNotFoundError:
        hint = f"Check the path; {_EXAMPLES[where.split(maxsplit=1)[0]]}"
        raise ConfigError("there is no such file", where=where, hint=hint) from None
    except (OSError, ValueError) as error:
        raise unusable(where, f"it cannot be read ({error})") from None
    raise unusable(where, f"nothing came out of it for {_SECONDS_OF_SILENCE:.0f} seconds")


def _opened_at_once(path: str, flags: int) -> int:
    # A named pipe would be waited for here until somebody opens it to write.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _json_object(path: str, where: str) -> dict[str, Any]:
    data = _read(path, where)
    try:
        value = json.loads(data)  # of bytes it takes UTF-8 with and without a byte order mark, whatever the locale is
        refuse_depth(value)
        json.dumps(value, ensure_ascii=False).encode()  # fails for half of a pair of surrogates, which is no character
    except UnicodeError:
        raise unusable(where, "it cannot be read: it is not in UTF-8, or names half of a character (\\ud800)") from None
    except (ValueError, RecursionError) as error:
        raise unusable(where, f"it cannot be read: it is not JSON ({error})") from None
    if not isinstance(value, dict):
        raise unusable(where, "it cannot be read: it is not a JSON object")
    return value


def _chosen_method(stream: dict[str, Any]) -> dict[str, str]:
    """Find the replication method in a stream's metadata, where Meltano writes it and the SDK does not look."""
    root: dict[str, Any] = next(
        (item["metadata"] for item in stream.get("metadata") or () if not item["breadcrumb"]), {}
    )
    method = root.get("replication-method")
    return {"replication_method": method} if method else {}
