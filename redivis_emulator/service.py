"""The state that all handlers share: library, settings, sessions, cache, clock, jobs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from redivis_emulator.errors import EmulatorError
from redivis_emulator.jobs import Jobs
from redivis_emulator.references import parse
from redivis_emulator.render import CsvLineEnds, CsvQuotes

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from pathlib import Path

    from redivis_emulator.cache import Cache
    from redivis_emulator.clock import Clock
    from redivis_emulator.library import Library
    from redivis_emulator.sessions import Sessions
    from redivis_emulator.sources import Shelf
    from redivis_emulator.sql import QueryResult
    from redivis_emulator.storage import Storage


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """Behaviour that redivis-api leaves open.

    Args:
        session_seconds: Lifetime of a read session (§8.1.9).
        min_rows_per_stream: A table with fewer than twice this number of rows has one read stream (§4.6).
        streams: Number of streams of every session, instead of the requested one; None: as Redivis does.
        anonymous_row_bytes: Tables of this size or more cannot be read without a token (§1.3).
        jsonl_non_finite: Representation of NaN and infinities in JSON Lines (§11.7).
        jsonl_integers: Representation of integers in JSON Lines (§11.7).
        csv_header: Which CSV bodies of a read stream have a header (§11.4): each, those without an offset, or none.
        csv_quotes: Which CSV values have quotes (§11.5); nulls never, empty strings always.
        csv_line_ends: The line ends of CSV.
        gone_status: Status of the answer for an unknown or expired read stream (§11.2).
        file_address: Whether a raw file is in the answer, or at a signed address on another port (§4.8).
        file_digest: The header with the MD5 of a raw file (§4.8).
        cache_bytes: Maximum size of the cache of rendered rows.
    """

    session_seconds: float = 6 * 3600
    min_rows_per_stream: int = 1000
    streams: int | None = None
    anonymous_row_bytes: int = 100_000_000
    jsonl_non_finite: Literal["literal", "string", "null"] = "literal"
    jsonl_integers: Literal["number", "string"] = "number"
    csv_header: Literal["each", "first", "none"] = "each"
    csv_quotes: CsvQuotes = "strings"
    csv_line_ends: CsvLineEnds = "crlf"
    gone_status: Literal[400, 403, 404, 410] = 404
    file_address: Literal["direct", "signed"] = "direct"
    file_digest: Literal["content-digest", "x-goog-hash", "none"] = "x-goog-hash"
    cache_bytes: int = 512 * 1024 * 1024


@dataclass
class Service:
    """The shared state. `library` is replaced when the folder is read again; open sessions keep their old rows.

    `storage` signs the addresses of raw files; None: they are in the answers.
    """

    library: Library
    settings: Settings
    clock: Clock
    sessions: Sessions
    cache: Cache
    shelf: Shelf
    executor: Executor
    queries: Jobs[QueryResult] = field(default_factory=Jobs)
    exports: Jobs[list[Path]] = field(default_factory=Jobs)
    storage: Storage | None = None

    def release(self, dataset: str, version: str) -> None:
        """Make a version (`v1.1`) the current one of a dataset (`owner.dataset`).

        Raises:
            EmulatorError: There is no such dataset or version.
        """
        reference = parse(f"{dataset}:{version}")
        library = self.library.release(reference) if reference else None
        if library is None:
            msg = f"there is no version {version!r} of a dataset {dataset!r} to release"
            raise EmulatorError(msg)
        self.library = library
