"""What the handlers share: the library being served, open sessions, rendered blocks, the clock."""

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
    from redivis_emulator.queries import QueryResult
    from redivis_emulator.sessions import Sessions
    from redivis_emulator.sources import Shelf


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """How the service behaves where redivis-api leaves it open.

    Args:
        session_seconds: How long a read session lives (§8.1.9).
        min_rows_per_stream: A table with fewer rows than twice this has one read stream (§4.6).
        streams: This many streams for every session, whatever was asked for; None: as Redivis does.
        anonymous_row_bytes: Tables of this size and above are not for callers without a token (§1.3).
        jsonl_non_finite: How JSON Lines spell NaN and infinities (§11.7).
        jsonl_integers: How JSON Lines spell integers (§11.7).
        csv_header: Which CSV bodies of a read stream begin with the names (§11.4): each, those from its first row on,
            or none.
        csv_quotes: What CSV has in quotes (§11.5); nulls never, empty strings always.
        csv_line_ends: What CSV lines end with.
        gone_status: What an unknown or expired read stream is answered with (§11.2).
        cache_bytes: Rendered blocks kept at most.
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
    cache_bytes: int = 512 * 1024 * 1024


@dataclass
class Service:
    """The running service. `library` is replaced when the folder is read again; open sessions keep the old one."""

    library: Library
    settings: Settings
    clock: Clock
    sessions: Sessions
    cache: Cache
    shelf: Shelf
    executor: Executor
    queries: Jobs[QueryResult] = field(default_factory=Jobs)
    exports: Jobs[list[Path]] = field(default_factory=Jobs)

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
