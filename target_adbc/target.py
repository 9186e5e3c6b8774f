"""The SDK's target: messages → sinks, and STATE after the commit that it speaks of."""

from __future__ import annotations

import json
import sys
from functools import cached_property
from typing import IO, Any, ClassVar, cast

import click
import msgspec
from singer_sdk import Target
from singer_sdk.helpers.capabilities import PluginCapabilities
from singer_sdk.singerlib.encoding.base import GenericSingerReader

from target_adbc.database import Database
from target_adbc.errors import InputError, shown
from target_adbc.sink import AdbcSink

Json = dict[str, Any]

_BLOCK_BYTES = 16 * 1024 * 1024
_BLOCK_ROWS = 50_000


def _text(description: str, title: str, **facts: Any) -> Json:  # noqa: ANN401 - JSON Schema
    return {"type": ["string", "null"], "title": title, "description": description, **facts}


def _flag(description: str, title: str) -> Json:
    return {"type": ["boolean", "null"], "default": True, "title": title, "description": description}


class Reader(GenericSingerReader[bytes]):
    """Reads messages, and counts the bytes of those that wait to be loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.lines = 0
        self.waiting_bytes = 0

    @property
    def default_input(self) -> IO[bytes]:
        """Standard input."""
        return sys.stdin.buffer

    def deserialize_json(self, line: bytes) -> Json:
        """Read one message.

        Raises:
            InputError: It is none.
        """
        self.lines += 1
        self.waiting_bytes += len(line)
        try:
            return msgspec.json.decode(line, type=Json)
        except msgspec.MsgspecError as error:
            raise InputError(f"line {self.lines} of the input is no Singer message: {shown(error)}") from error


class TargetAdbc(Target):
    """Singer target that loads Arrow into databases by ADBC."""

    message_reader: Reader
    name = "target-adbc"
    package_name = "tap-redivis"
    default_sink_class = AdbcSink
    message_reader_class = Reader
    capabilities: ClassVar[list[Any]] = [
        PluginCapabilities.ABOUT,
        PluginCapabilities.STREAM_MAPS,
        PluginCapabilities.FLATTENING,
        PluginCapabilities.STRUCTURED_LOGGING,
        PluginCapabilities.ACTIVATE_VERSION,
    ]
    config_jsonschema: ClassVar[Json] = {
        "type": "object",
        "required": ["uri"],
        "properties": {
            "uri": _text("postgresql://user:password@host/name, duckdb:///path or sqlite:///path", "URI", secret=True),
            "driver": _text(
                "Python module of another ADBC driver, such as adbc_driver_snowflake; it gets the uri", "Driver"
            ),
            "default_target_schema": _text("Schema of the tables, made if there is none", "Schema"),
            "hard_delete": _flag(
                "Deletes rows that are gone; otherwise they are marked in _sdc_deleted_at", "Hard delete"
            ),
            "load_method": _text(
                "upsert: a row takes the place of the one with its key; append-only: keys are ignored",
                "Load method",
                enum=["upsert", "append-only"],
                default="upsert",
            ),
            "delete_files": _flag("Deletes the files of BATCH messages when they have been loaded", "Delete files"),
            "batch_size_rows": {
                "type": ["integer", "null"],
                "minimum": 1,
                "default": _BLOCK_ROWS,
                "title": "Rows of a block",
                "description": "The most records that are written in one transaction; 16 MiB at most",
            },
        },
    }

    def __init__(self, **arguments: Any) -> None:  # noqa: ANN401 - the SDK's
        super().__init__(**arguments)
        self.max_parallelism = 1  # there is one connection
        self._block_rows = self.config["batch_size_rows"]  # each look at the settings copies them
        self._state: Json | None = None
        self._pending: dict[str, int] = {}  # versions whose ACTIVATE_VERSION came before their rows

    @cached_property
    def database(self) -> Database:
        """The database, not yet connected."""
        settings = self.config
        return Database(settings["uri"], settings.get("driver"), settings.get("default_target_schema"))

    def _setup_signal_handlers(self) -> None:
        """Let a signal end the process at once: what is not committed comes again."""

    # --- messages; the SDK's own handlers of each are private, and meant to be overridden by nobody else ---

    def _process_schema_message(self, message_dict: Json) -> None:
        self.drain_all()
        super()._process_schema_message(message_dict)

    def _sinks_of(self, stream: str) -> list[AdbcSink]:
        if stream not in self.mapper.stream_maps:
            self._assert_sink_exists(stream)
        names = [each.stream_alias for each in self.mapper.stream_maps[stream]]
        return [cast("AdbcSink", self.get_sink(name)) for name in names if self.sink_exists(name)]

    def _process_record_message(self, message_dict: Json) -> None:
        """Gather a record; the SDK's own way takes three times as long."""
        self._assert_line_requires(message_dict, requires={"stream", "record"})
        stream = message_dict["stream"]
        if stream not in self.mapper.stream_maps:
            self._assert_sink_exists(stream)
        for stream_map in self.mapper.stream_maps[stream]:
            record = stream_map.transform(message_dict["record"])
            if record is None:
                continue
            sink = cast("AdbcSink", self.get_sink(stream_map.stream_alias))
            if message_dict.get("version") is None and (pending := self._pending.get(sink.stream_name)):
                message_dict["version"] = pending
            if not sink.knows_versions:
                message_dict.pop("version", None)
            sink.process_record(record, message_dict)
            if sink.current_size >= self._block_rows:
                self._flush()
        if self.message_reader.waiting_bytes >= _BLOCK_BYTES:
            self._flush()

    def _process_batch_message(self, message_dict: Json) -> None:
        self._assert_line_requires(message_dict, requires={"stream", "encoding", "manifest"})
        self.drain_all()
        for sink in self._sinks_of(message_dict["stream"]):
            for url in message_dict["manifest"]:
                sink.load_file(url, message_dict["encoding"], self._pending.get(sink.stream_name))

    def _process_activate_version_message(self, message_dict: Json) -> None:
        """Activate a version, or, if its rows are still to come, when they have."""
        self._assert_line_requires(message_dict, requires={"stream", "version"})
        self.drain_all()
        version = message_dict["version"]
        for sink in self._sinks_of(message_dict["stream"]):
            if not sink.knows_versions:
                continue
            if sink.load.holds(version):
                sink.activate_version(version)
                self._pending.pop(sink.stream_name, None)
            else:
                self._pending[sink.stream_name] = version

    def _process_state_message(self, message_dict: Json) -> None:
        self._assert_line_requires(message_dict, requires={"value"})
        self._state = message_dict["value"]
        for stream, version in list(self._pending.items()):  # an empty table has no rows to wait for
            sink = cast("AdbcSink", self.get_sink(stream))
            if not sink.current_size and not sink.load.holds(version):
                sink.activate_version(version)
                del self._pending[stream]
        self._acknowledge()

    def process_endofpipe(self) -> None:
        """Load what is left."""
        self.drain_all()
        for stream, version in self._pending.items():
            self.get_sink(stream).activate_version(version)
        self._pending.clear()
        super().process_endofpipe()
        self._acknowledge()
        self.database.close()

    def _flush(self) -> None:
        self.drain_all()
        self.message_reader.waiting_bytes = 0
        self._acknowledge()

    def _acknowledge(self) -> None:
        """Print the last STATE, if all that came before it is in the database."""
        if self._state is None or self._pending or any(sink.current_size for sink in self._sinks_active.values()):
            return
        sys.stdout.write(json.dumps(self._state) + "\n")
        sys.stdout.flush()
        self._state = None

    # --- the command line ---

    @classmethod
    def invoke(cls, *, test: bool = False, **arguments: Any) -> None:  # noqa: ANN401 - the SDK's
        """Run the target, or try the connection."""
        if not test:
            super().invoke(**arguments)
            return
        config = arguments["config"]
        target = cls(config=config.config, parse_env_config=config.parse_env)
        target.database.transaction(lambda: None)
        click.echo("The connection works.")

    @classmethod
    def get_singer_command(cls) -> click.Command:
        """Add ``--test`` to the SDK's options."""
        command = super().get_singer_command()
        command.params.append(click.Option(["--test"], is_flag=True, help="Try the connection, and end."))
        return command
