"""The SDK's sink of one stream: gathers RECORDs, and hands them and files on."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any

from singer_sdk import Target
from singer_sdk.exceptions import MissingKeyPropertiesError
from singer_sdk.sinks import Sink

from target_adbc.database import Database
from target_adbc.errors import InputError, TargetError
from target_adbc.files import BatchFile
from target_adbc.loads import StreamLoad
from target_adbc.records import RecordSchema

Json = dict[str, Any]

_SECONDS_BETWEEN_LINES = 5.0


class AdbcSink(Sink):
    """Loads one stream."""

    def __init__(self, target: Target, stream_name: str, schema: Json, key_properties: Sequence[str] | None) -> None:
        super().__init__(target, stream_name, schema, key_properties)
        database: Database = target.database  # type: ignore[attr-defined]
        self.records = RecordSchema(self.schema["properties"])
        for key in self.key_properties:
            if key not in self.records.arrow.names:
                raise InputError(f"{stream_name}: the key property {key!r} is not in SCHEMA")
        keys = self.key_properties if self.config["load_method"] == "upsert" else []
        hard_delete = self.config["hard_delete"]
        self.load = StreamLoad(database, stream_name, self.records.arrow.names, keys, hard_delete=hard_delete)
        self.knows_versions = self.process_activate_version_messages
        self._adds_metadata = self.include_sdc_metadata_properties
        self._gathered: list[tuple[int | None, Json]] = []
        self._rows_read = 0
        self._rows_loaded = 0
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
        for key in self.key_properties:
            if key not in record:
                raise MissingKeyPropertiesError(
                    f"{self.stream_name}: row {self._rows_read + 1} has no {key!r}, which is a key property"
                )
        if self._adds_metadata:
            self._add_sdc_metadata_to_record(record, context, {})
        unknown = record.keys() - self.schema["properties"].keys() - self._warned_missing_fields
        if unknown:
            self._warned_missing_fields |= unknown
            self.logger.warning("SCHEMA does not have %s: left out", ", ".join(map(repr, sorted(unknown))))
        self._rows_read += 1
        self._gathered.append((context.get("version"), record))

    def process_batch(self, context: Json) -> None:  # noqa: ARG002 - the SDK's
        """Load the gathered records."""
        gathered, self._gathered = self._gathered, []
        first = self._rows_read - len(gathered) + 1
        for version, group in groupby(gathered, key=lambda each: each[0]):
            records = [record for _, record in group]
            with self._stream_in_errors():
                self.load.load_records(self.records.batch(records, first), version)
            first += len(records)
            self._count(len(records))

    def load_file(self, url: str, encoding: Json, version: int | None) -> None:
        """Load a file, and delete it."""
        with self._stream_in_errors():
            with BatchFile(url, encoding.get("format", ""), encoding.get("compression"), self.records) as file:
                if self.knows_versions and file.version is not None:
                    version = file.version
                rows = self.load.load_file(file, version)
            if self.config["delete_files"]:
                file.remove()
        self._count(rows)

    def activate_version(self, new_version: int) -> None:
        """Let a version take the place of the live one."""
        with self._stream_in_errors():
            self.load.activate(new_version, self.records.arrow)
        self.logger.info("version %d is live", new_version)

    def clean_up(self) -> None:
        """Say how the stream ended."""
        super().clean_up()
        if waiting := self.load.waiting() if self._rows_loaded else []:
            self.logger.warning(
                "version %s waits for the rest of its rows, and its ACTIVATE_VERSION: run the tap again with its STATE",
                ", ".join(map(str, waiting)),
            )
        seconds = time.monotonic() - self._started
        self.logger.info("%d rows loaded, %.1f s", self._rows_loaded, seconds)

    # --- our own ---

    def _count(self, rows: int) -> None:
        self._rows_loaded += rows
        now = time.monotonic()
        if now - self._shown >= _SECONDS_BETWEEN_LINES:
            self._shown = now
            self.logger.info("%d rows, %.0f rows/s", self._rows_loaded, self._rows_loaded / (now - self._started))

    @contextmanager
    def _stream_in_errors(self) -> Iterator[None]:
        """Say of which stream an error is."""
        try:
            yield
        except TargetError as error:
            raise type(error)(f"{self.stream_name}: {error}") from error
