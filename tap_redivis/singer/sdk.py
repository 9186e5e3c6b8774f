"""All use of what the SDK marks as private, each with its reason; all other modules keep to its public names."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from singer_sdk import Stream, Tap, metrics, singerlib
from singer_sdk.configuration._dict_config import parse_environment_config  # to read a .env file where the SDK does
from singer_sdk.helpers._state import StateWriter  # to write STATE without a copy of all bookmarks
from singer_sdk.mapper import RemoveRecordTransform
from singer_sdk.plugin_base import _ConfigInput as ConfigInput  # the type of what --config gives
from singer_sdk.singerlib.catalog import StreamMetadata

from tap_redivis.errors import ConfigError, one_line
from tap_redivis.runtime.shutdown import SHUTDOWN
from tap_redivis.singer.config_schema import mistakes_in, settings_of_environment
from tap_redivis.singer.messages import MessageWriter

if TYPE_CHECKING:
    from singer_sdk.about import AboutInfo

__all__ = ["ConfigInput", "SdkStream", "SdkTap"]


class ChangedStateWriter(StateWriter):
    """Writes STATE unless it is the last message already; the SDK's own copies all bookmarks to find that out."""

    def __init__(self, writer: MessageWriter) -> None:
        super().__init__(writer)
        self._messages = writer
        self._last_line: bytes | None = None
        self.ignores_sdk = False  # in a whole run, where the SDK would write all bookmarks after each stream

    def write_state(self, state: Any) -> None:  # noqa: ANN401 - as the SDK declares it
        """Write STATE for the SDK: at the beginning of a run, and after each stream that is synced by itself."""
        if not self.ignores_sdk or self._messages.last_type is None:
            self.write(state)

    def write(self, state: Any) -> None:  # noqa: ANN401 - as above
        """Write one STATE message, if there is something new in it, or something was written since."""
        line = self._messages.format_message(singerlib.StateMessage(value=state))
        if line != self._last_line or self._messages.last_type != "STATE":
            self._messages.write_lines(line, "STATE")
            self._last_line = line


@dataclass(slots=True)
class TableMetadata(StreamMetadata):
    """A stream's catalog metadata with the reason why this token cannot read the table, and it is not selected."""

    unreadable: str | None = None


class SdkStream(Stream):
    """A stream that writes its rows itself, in blocks; the SDK writes one record at a time (20,000 a second)."""

    sync_order = 0
    """Streams with a lower number are synced first; those with the same number in the order of their names."""

    replication_methods: Sequence[str] = ("FULL_TABLE",)

    def __init__(self, tap: Tap, name: str, schema: Mapping[str, Any], source_name: str) -> None:
        super().__init__(tap, schema=dict(schema), name=name)
        self.source_name = source_name  # what the catalog calls the source of the rows
        # For the catalog:
        self.ordered_columns: list[str] = []  # names of those that may be replication keys
        self.automatic_columns: list[str] = []  # names of those that cannot be deselected
        self.row_count: int | None = None
        self.unreadable: str | None = None  # why the rows cannot be read
        self._has_schema = True

    def apply_catalog(self, catalog: singerlib.Catalog) -> None:
        """Apply a catalog; one with a replication method that the stream does not have is an error."""
        super().apply_catalog(catalog)
        if self.selected and self.replication_method not in self.replication_methods:
            raise ConfigError(
                f"replication method {self.replication_method} is not available",
                where=f"catalog, stream {self.name}",
                hint=f"Use {' or '.join(self.replication_methods)}; what did not change is skipped",
            )

    def load(self, counter: metrics.Counter) -> None:
        """Write all messages of the stream between SCHEMA and the next stream; ``counter`` is for the SDK's metrics."""
        raise NotImplementedError

    def fail(self, failure: Exception) -> None:
        """Note that the stream is not loaded; the others go on."""
        raise NotImplementedError

    def message_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Change the schema of SCHEMA messages."""
        return schema

    # --- what subclasses may use -------------------------------------------------------------------------------------

    @property
    def has_input_catalog(self) -> bool:
        """Whether the user gave a catalog."""
        return self._tap_input_catalog is not None  # there is no public way to ask a stream

    @property
    def is_left_out(self) -> bool:
        """Whether a stream map removes all records, so that none need be read."""
        return all(isinstance(stream_map, RemoveRecordTransform) for stream_map in self.stream_maps)

    def set_version(self, version: int | None) -> None:
        """Set the Singer version of the records that are written next; the SDK sets it only with its own message."""
        self._stream_version = version

    def write_activate_version(self, version: int) -> None:
        """Write ACTIVATE_VERSION for the stream, under each name that stream maps give it."""
        self._write_activate_version_message(version)  # knows the names

    def record_messages(self, record: dict[str, Any]) -> Iterator[singerlib.RecordMessage]:
        """Make the RECORD messages of one record through the stream maps."""
        try:
            yield from self._generate_record_messages(record)  # the only place where stream maps are applied
        except Exception as error:  # an expression of the user's may raise anything
            words = one_line(f"{type(error).__name__}: {error.__cause__ or error}", 200).rstrip(".")
            raise ConfigError(
                f"a stream map fails on a record ({words})",
                where=f"stream_maps, stream {self.name}",
                hint="Correct its expressions: is a value null, or of another type?",
            ) from error

    # --- what the SDK asks -------------------------------------------------------------------------------------------

    def _sync_records(
        self,
        context: Mapping[str, Any] | None = None,  # noqa: ARG002 - the SDK's signature
        *,
        write_messages: bool = True,  # noqa: ARG002 - the SDK's signature
    ) -> Generator[dict[str, Any], Any, Any]:
        """Load the stream: ``sync`` and ``sync_all`` are final, and this is where they ask for rows."""
        with self.get_record_counter() as counter, self.get_sync_timer():
            try:
                if self._has_schema:
                    self.load(counter)
            except Exception as failure:  # noqa: BLE001 - of this stream, whatever it is; the others go on
                self.fail(failure)
        # Has an effect only where the stream is synced by itself, as the SDK's tests do.
        self._tap.state_writer.write_state(self.tap_state)
        yield from ()  # the SDK wants a generator

    def get_records(self, context: Mapping[str, Any] | None) -> NoReturn:
        """Not used: see ``load``."""
        raise NotImplementedError(str(context))

    def get_batch_config(self, config: Mapping[str, Any]) -> None:
        """Keep the SDK from writing BATCH record by record: ``load`` does that too."""

    @property
    def emit_activate_version_messages(self) -> bool:
        """Keep the SDK from sending ACTIVATE_VERSION before the rows: ours goes out after the last, proved one."""
        return False

    def get_replication_key_signpost(self, context: Mapping[str, Any] | None = None) -> None:
        """Set no limit to the key: a version is a limit already."""

    @property
    def metadata(self) -> singerlib.MetadataMapping:
        """The catalog's metadata, or the standard one with what Redivis adds."""
        if self._metadata is None:  # the SDK makes it once, here
            mapping = super().metadata
            if not self.has_input_catalog:
                mapping[()] = TableMetadata(**asdict(mapping.root), unreadable=self.unreadable)
                mapping.root.valid_replication_keys = self.ordered_columns or None
                for name in self.automatic_columns:
                    mapping["properties", name].inclusion = singerlib.Metadata.InclusionType.AUTOMATIC
        return super().metadata

    @property
    def _singer_catalog_entry(self) -> singerlib.CatalogEntry:
        """Add source and row count to the catalog; the SDK has no hook for them."""
        entry = super()._singer_catalog_entry
        entry.table = self.source_name
        entry.row_count = self.row_count
        return entry

    def _write_schema_message(self) -> None:
        """Write SCHEMA; where that fails, the stream does, and not the run."""
        try:
            super()._write_schema_message()
        except Exception as failure:  # noqa: BLE001 - as above
            self._has_schema = False
            self.fail(failure)

    def _generate_schema_messages(self) -> Generator[singerlib.SchemaMessage, None, None]:
        """Change the schema between stream maps and messages; the SDK has no hook there."""
        for message in super()._generate_schema_messages():
            message.schema = self.message_schema(message.schema)
            yield message


class SdkTap(Tap):
    """A tap with its own signal handling, writer of STATE, and errors of settings."""

    def __init__(self, **keywords: Any) -> None:  # noqa: ANN401 - the SDK's
        super().__init__(**keywords)
        # The SDK has no parameter for it.
        self._state_writer = self._changed_state_writer = ChangedStateWriter(self.writer)

    def write_state(self) -> None:
        """Write STATE, unless it is the last message already, or nothing was written at all."""
        if self.writer.last_type is not None:
            self._changed_state_writer.write(self.state)

    def sync_all(self) -> None:  # type: ignore[misc] # final, but the last message must be STATE (targets.md, rule 14)
        """Sync all streams."""
        self._changed_state_writer.ignores_sdk = True
        super().sync_all()
        self.write_state()

    @property
    def writer(self) -> MessageWriter:
        """The writer of all messages."""
        writer = self.message_writer
        assert isinstance(writer, MessageWriter)  # noqa: S101 - it is made of ``message_writer_class``
        return writer

    @property
    def streams(self) -> dict[str, Stream]:
        """The streams by name, in the order of their ``sync_order``; the SDK sorts them by name."""
        if self._streams is None:  # the SDK makes them once, here
            streams: list[Any] = list(super().streams.values())
            self._streams = {stream.name: stream for stream in sorted(streams, key=lambda each: each.sync_order)}
        return self._streams

    @property
    def _env_var_config(self) -> dict[str, Any]:
        """Read the settings of the environment; the SDK casts no fractions, and its errors name no variable."""
        try:
            parse_environment_config({}, "")  # makes variables of a .env file
        except ValueError as error:
            raise ConfigError(f"it cannot be read ({error})", where=".env", hint="Write it in UTF-8") from None
        return settings_of_environment(self.about_info().settings["properties"])

    def _setup_signal_handlers(self) -> None:
        """Install our handlers: the SDK's writes STATE into half-written lines and exits with 0 (singer-sdk.md)."""
        SHUTDOWN.install()

    def _validate_config(self, *, raise_errors: bool = True) -> list[str]:
        """Validate the settings first: the SDK's errors do not say what would be right, and it stumbles over texts."""
        self.append_builtin_config(self.config_jsonschema)
        try:
            found = mistakes_in(self._config, self.config_jsonschema)
            if not found:
                return super()._validate_config(raise_errors=raise_errors)  # fills in defaults
        except AttributeError as error:
            found = [f"a setting has a value of another type than it should ({error})"]
        raise ConfigError("; ".join(found), where="config", hint="See `tap-redivis --about`")

    @classmethod
    def about_info(cls) -> "AboutInfo":
        """Give name, versions, capabilities and settings, as the SDK collects them."""
        return cls._get_about_info()  # ``print_about`` only prints them
