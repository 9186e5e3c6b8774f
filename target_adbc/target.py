"""The SDK's target: messages → sinks, and STATE after the commit that it speaks of."""

import json
import logging
import sys
from typing import IO, Any, ClassVar, cast

import click
import msgspec
from singer_sdk import Target
from singer_sdk.helpers.capabilities import PluginCapabilities
from singer_sdk.singerlib.encoding.base import GenericSingerReader

from target_adbc.database import Database
from target_adbc.errors import TargetError, shown
from target_adbc.sink import AdbcSink

Json = dict[str, Any]

_CAPABILITIES = ("about", "activate-version", "schema-flattening", "stream-maps", "structured-logging")
_BLOCK_BYTES = 16 * 1024 * 1024


def _setting(kind: str, description: str, **facts: Any) -> Json:  # noqa: ANN401 - JSON Schema
    return {"type": [kind, "null"], "description": description, **facts}


_LOAD_METHODS = "upsert: a row takes the place of the one with its key; append-only: keys are ignored"
_SETTINGS: Json = {
    "uri": _setting("string", "postgresql://user:password@host/name, duckdb:///path or sqlite:///path", secret=True),
    "driver": _setting("string", "Python module of another ADBC driver, such as adbc_driver_snowflake; gets the uri"),
    "default_target_schema": _setting("string", "Schema of the tables, made if there is none"),
    "hard_delete": _setting(
        "boolean", "Deletes rows that are gone; otherwise they are marked in _sdc_deleted_at", default=True
    ),
    "load_method": _setting("string", _LOAD_METHODS, enum=["upsert", "append-only"], default="upsert"),
    "delete_files": _setting("boolean", "Deletes the files of BATCH messages when they have been loaded", default=True),
    "batch_size_rows": _setting(
        "integer", "The most records that are written in one transaction; 16 MiB at most", minimum=1, default=50_000
    ),
}


class Reader(GenericSingerReader[bytes]):
    """Reads messages, and counts the bytes of those that wait to be loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.lines = self.waiting_bytes = 0
        self._decoder = msgspec.json.Decoder(Json)

    @property
    def default_input(self) -> IO[bytes]:
        """Standard input."""
        return sys.stdin.buffer

    def deserialize_json(self, line: bytes) -> Json:
        """Read one message."""
        self.lines += 1
        self.waiting_bytes += len(line)
        try:
            return self._decoder.decode(line)
        except msgspec.MsgspecError as error:
            raise TargetError(f"line {self.lines} of the input is no Singer message: {shown(error)}") from error

    def _process_unknown_message(self, message_dict: Json) -> None:
        raise TargetError(f"line {self.lines}: Unknown message type {message_dict.get('type')!r}")


class TargetAdbc(Target):
    """Singer target that loads Arrow into databases by ADBC."""

    message_reader: Reader
    name = "target-adbc"
    package_name = "tap-redivis"
    default_sink_class = AdbcSink
    message_reader_class = Reader
    capabilities: ClassVar[list[Any]] = list(map(PluginCapabilities, _CAPABILITIES))
    config_jsonschema: ClassVar[Json] = {"type": "object", "required": ["uri"], "properties": _SETTINGS}

    def __init__(self, **arguments: Any) -> None:  # noqa: ANN401 - the SDK's
        super().__init__(**arguments)
        if self.logger.getEffectiveLevel() > logging.DEBUG:  # the SDK's counts say nothing that our lines do not
            self.metrics_logger.setLevel(logging.WARNING)
        self.max_parallelism = 1  # there is one connection
        settings = self.config  # each look at it copies it
        for name in sorted(settings.keys() - self.config_jsonschema["properties"].keys()):
            self.logger.warning("config: there is no setting %r", name)
        self._block_rows = settings["batch_size_rows"]
        self._knows_versions = settings.get("process_activate_version_messages", True)
        self.database = Database(settings["uri"], settings.get("driver"), settings.get("default_target_schema"))
        self._state: Json | None = None
        self._pending: dict[str, int] = {}  # versions whose ACTIVATE_VERSION came before their rows

    def _setup_signal_handlers(self) -> None:
        """Let a signal end the process at once: what is not committed comes again."""

    # --- messages; the SDK's own handlers of each are private, and meant to be overridden by nobody else ---

    def _process_schema_message(self, message_dict: Json) -> None:
        self._flush()
        super()._process_schema_message(message_dict)

    def _maps_of(self, message: Json, *required: str) -> list[Any]:
        self._assert_line_requires(message, requires={"stream", *required})
        if message["stream"] not in self.mapper.stream_maps:
            self._assert_sink_exists(message["stream"])
        return self.mapper.stream_maps[message["stream"]]

    def _sinks_of(self, message: Json, *required: str) -> list[AdbcSink]:
        """Load what was gathered, and return the sinks of a message's stream."""
        names = [each.stream_alias for each in self._maps_of(message, *required)]
        self._flush()
        return [cast("AdbcSink", self.get_sink(name)) for name in names if self.sink_exists(name)]

    def _process_record_message(self, message_dict: Json) -> None:
        """Gather a record; the SDK's own way takes three times as long."""
        for stream_map in self._maps_of(message_dict, "record"):
            record = stream_map.transform(message_dict["record"])
            if record is None:
                continue
            sink = self.get_sink(stream_map.stream_alias)
            version = message_dict.get("version") or self._pending.get(sink.stream_name)
            message_dict["version"] = version if self._knows_versions else None
            sink.process_record(record, message_dict)
            if sink.current_size >= self._block_rows:
                self._flush()
        if self.message_reader.waiting_bytes >= _BLOCK_BYTES:
            self._flush()

    def _process_batch_message(self, message_dict: Json) -> None:
        for sink in self._sinks_of(message_dict, "encoding", "manifest"):
            for url in message_dict["manifest"]:
                sink.load_file(url, message_dict["encoding"], self._pending.get(sink.stream_name))

    def _process_activate_version_message(self, message_dict: Json) -> None:
        """Activate a version, or, if its rows are still to come, when they have."""
        for sink in self._sinks_of(message_dict, "version"):
            if self._knows_versions:
                self._pending[sink.stream_name] = message_dict["version"]
                self._activate(sink.stream_name, is_due=message_dict["version"] in sink.waiting())

    def _process_state_message(self, message_dict: Json) -> None:
        self._assert_line_requires(message_dict, requires={"value"})
        self._state = message_dict["value"]
        for stream in list(self._pending):  # an empty table has no rows to wait for
            sink = cast("AdbcSink", self.get_sink(stream))
            self._activate(stream, is_due=not sink.current_size and self._pending[stream] not in sink.waiting())
        self._acknowledge()

    def process_endofpipe(self) -> None:
        """Load what is left."""
        self._flush()
        for stream in list(self._pending):
            self._activate(stream, is_due=True)
        super().process_endofpipe()
        self._acknowledge()
        self.database.close()

    def _activate(self, stream: str, *, is_due: bool) -> None:
        if is_due:
            self.get_sink(stream).activate_version(self._pending.pop(stream))

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
    def invoke(cls, *, test: bool = False, config: Any = None, file_input: Any = None, **about: Any) -> None:  # noqa: ANN401 - the SDK's
        """Run the target, or try the connection."""
        if about.get("about"):
            super().invoke(**about)
        target = cls(config=config.config, parse_env_config=config.parse_env)
        target.database.transaction(lambda: None)  # connects while the tap is still starting
        if test:
            click.echo("The connection works.")
        else:
            target.listen(file_input)

    @classmethod
    def get_singer_command(cls) -> click.Command:
        """Add ``--test`` to the SDK's options."""
        command = super().get_singer_command()
        command.params.append(click.Option(["--test"], is_flag=True, help="Try the connection, and end."))
        return command
