"""The state that all handlers share: library, settings, sessions, cache, clock, jobs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from redivis_emulator.errors import EmulatorError
from redivis_emulator.jobs import Jobs
from redivis_emulator.readings import DEFAULTS, Readings
from redivis_emulator.references import parse

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
    """Limits and sizes, and where raw files are.

    Args:
        session_seconds: Lifetime of a read session (§8.1.9).
        min_rows_per_stream: A table with fewer than twice this number of rows has one read stream (§4.6).
        streams: Number of streams of every session, instead of the requested one; None: as Redivis does.
        anonymous_row_bytes: Tables of this size or more cannot be read without a token (§1.3).
        file_address: Whether a raw file is in the answer, or at a signed address on another port (§4.8).
        file_digest: The header with the MD5 of a raw file (§4.8).
        cache_bytes: Maximum size of the cache of rendered rows.
    """

    session_seconds: float = 6 * 3600
    min_rows_per_stream: int = 1000
    streams: int | None = None
    anonymous_row_bytes: int = 100_000_000
    file_address: Literal["direct", "signed"] = "direct"
    file_digest: Literal["content-digest", "x-goog-hash", "none"] = "x-goog-hash"
    cache_bytes: int = 512 * 1024 * 1024


@dataclass
class Service:
    """The shared state. `library` is replaced when the folder is read again; open sessions keep their old rows.

    `readings` may be replaced at any time: they are those of the requests that come after.
    `storage` signs the addresses of raw files; None: they are in the answers.
    """

    library: Library
    settings: Settings
    clock: Clock
    sessions: Sessions
    cache: Cache
    shelf: Shelf
    executor: Executor
    readings: Readings = DEFAULTS
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
