"""The SDK's sink of one stream: gathers RECORDs, and loads them and files, one transaction each."""

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from singer_sdk import Target
from singer_sdk.exceptions import MissingKeyPropertiesError
from singer_sdk.sinks import Sink

from target_adbc.arrow_types import RecordSchema
from target_adbc.database import Database
from target_adbc.errors import TargetError
from target_adbc.files import BatchFile
from target_adbc.tables import StreamTables

Json = dict[str, Any]
T = TypeVar("T")

_SECONDS_BETWEEN_LINES = 5.0


class AdbcSink(Sink):
    """Loads one stream."""

    def __init__(self, target: Target, stream_name: str, schema: Json, key_properties: Sequence[str] | None) -> None:
        super().__init__(target, stream_name, schema, key_properties)
        self._database: Database = target.database  # type: ignore[attr-defined]
        self._records = self._named(lambda: RecordSchema(self.schema["properties"], self.key_properties))
        columns = self._database.names.columns(self._records.arrow.names)
        self._keys = [columns[key] for key in self.key_properties if self.config["load_method"] == "upsert"]
        self._adds_metadata = self.include_sdc_metadata_properties
        self._gathered: list[Json] = []
        self._version: int | None = None  # of what is gathered
        self._rows_read = self._rows_loaded = 0
        self._started = self._shown = time.monotonic()

    # --- what the SDK calls ---

    def get_validator(self) -> None:
        """Leave the checking to Arrow's types."""

    def _remove_sdc_metadata_from_schema(self) -> None:
        """Keep what the tap sends: a time of deletion, and perhaps a variable of such a name."""

    @property
    def current_size(self) -> int:
        """Records that are not in the database yet."""
        return len(self._gathered)

    def process_record(self, record: Json, context: Json) -> None:
        """Gather a record, whose message is the context."""
        if self._adds_metadata:
            self._add_sdc_metadata_to_record(record, context, {})
        if context["version"] != self._version:
            self.process_batch({})
            self._version = context["version"]
        self._gathered.append(record)

    def process_batch(self, context: Json) -> None:  # noqa: ARG002 - the SDK's
        """Load the gathered records."""
        records, self._gathered = self._gathered, []
        if records:
            batch = self._named(lambda: self._records.batch(records, self._rows_read + 1))
            self._rows_read += len(records)
            self._write(lambda tables: tables.write(self._version, batch.schema, iter([batch]), may_be_known=True))

    def activate_version(self, new_version: int) -> None:
        """Let a version take the place of the live one."""
        self._transaction(lambda tables: tables.activate(new_version, self._records.arrow))
        self.logger.info("version %d is live", new_version)

    def clean_up(self) -> None:
        """Say how the stream ended."""
        super().clean_up()
        if waiting := self.waiting() if self._rows_loaded else []:
            self.logger.warning(
                "version %s waits for the rest of its rows, and its ACTIVATE_VERSION: run the tap again with its STATE",
                ", ".join(map(str, waiting)),
            )
        self.logger.info("%s rows loaded, %.1f s", f"{self._rows_loaded:,}", time.monotonic() - self._started)

    # --- our own ---

    def waiting(self) -> list[int]:
        """List the versions that have rows, but have not been activated."""
        return self._transaction(StreamTables.waiting)

    def load_file(self, url: str, encoding: Json, version: int | None) -> None:
        """Load the rows of a file that are not in the database yet, and delete it."""
        file = self._named(lambda: BatchFile(url, encoding, self._records))
        if self.process_activate_version_messages and file.version is not None:
            version = file.version
        said, source, first, following = file.provenance, f"file:{url}", 0, 1
        if said is not None and file.rows is not None:
            source, first, following = f"{said.session}:{said.ordinal}", said.offset, said.offset + file.rows

        def load(tables: StreamTables) -> int:
            known = tables.next_offset(version, source)
            if known >= following:
                return 0
            if known < first:
                raise TargetError(
                    f"{url} begins at row {first} of read stream {source.rpartition(':')[2]}, and the database holds"
                    f" {known} rows of it: STATE is of another database; load without it"
                )
            rows = tables.write(version, file.schema, file.batches(known - first), may_be_known=said is None)
            tables.put(version, source, following)
            return rows

        self._write(load)
        if self.config["delete_files"]:
            self._named(file.remove)

    def _write(self, work: Callable[[StreamTables], int]) -> None:
        """Write rows, count them, and say now and then how far it is."""
        self._rows_loaded += self._transaction(work)
        now = time.monotonic()
        if now - self._shown >= _SECONDS_BETWEEN_LINES:
            self._shown, rate = now, self._rows_loaded / (now - self._started)
            self.logger.info("%s rows, %s rows/s", f"{self._rows_loaded:,}", f"{rate:,.0f}")

    def _transaction(self, work: Callable[[StreamTables], T]) -> T:
        def begin() -> T:
            hard_delete = self.config["hard_delete"]
            return work(StreamTables(self._database, self.stream_name, self._keys, hard_delete=hard_delete))

        return self._named(lambda: self._database.transaction(begin))

    def _named(self, work: Callable[[], T]) -> T:
        """Do some work; its errors say which stream they are of."""
        try:
            return work()
        except (TargetError, MissingKeyPropertiesError) as error:
            raise type(error)(f"{self.stream_name}: {error}") from error
