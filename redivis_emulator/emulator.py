"""The class `Emulator`: serves a folder at an API endpoint."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from redivis_emulator import DEFAULT_TOKEN
from redivis_emulator.access import RateLimit, RateLimiter, Token
from redivis_emulator.app import API_PREFIX, App
from redivis_emulator.cache import Cache
from redivis_emulator.clock import Clock
from redivis_emulator.faults import Faults
from redivis_emulator.folder import read_library
from redivis_emulator.log import RequestLog
from redivis_emulator.notes import EmulatorNote, read_yaml
from redivis_emulator.readings import changed
from redivis_emulator.server import Server
from redivis_emulator.service import Service, Settings
from redivis_emulator.sessions import Sessions
from redivis_emulator.sources import Shelf
from redivis_emulator.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from typing_extensions import Self

    from redivis_emulator.log import Request
    from redivis_emulator.readings import Readings

_RENDER_THREADS = 4


class Emulator:
    """A local Redivis: a context manager that serves a folder from a thread of this process.

    Args:
        folder: The folder to serve; the module `folder` describes its layout.
        host: Address to listen on.
        port: Port to listen on; 0: a free port.
        token: A bearer token with all rights; None: only `tokens` and the tokens of `emulator.yml` are valid.
        tokens: More tokens.
        settings: Limits and sizes; None: as in `emulator.yml`.
        readings: How the open questions of redivis-api are read; None: as in `emulator.yml`.
        rate_limit: Rate limit for each token; None: as in `emulator.yml`, else 1000 requests in 60 seconds.

    Attributes:
        endpoint: The value for `REDIVIS_API_ENDPOINT`.
        token: The value for `REDIVIS_API_TOKEN`.
        faults: The faults to inject.
        log: The requests so far.

    Raises:
        FolderError: A file in the folder cannot be served.
        StartError: The server cannot listen on the port.
    """

    def __init__(  # noqa: PLR0913 - keywords, each with a default
        self,
        folder: Path,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        token: str | None = DEFAULT_TOKEN,
        tokens: Mapping[str, Token] | None = None,
        settings: Settings | None = None,
        readings: Readings | None = None,
        rate_limit: RateLimit | None = None,
    ) -> None:
        self.token = token
        self._folder = Path(folder)
        self._scratch = tempfile.TemporaryDirectory(prefix="redivis-emulator-")
        self._executor = ThreadPoolExecutor(_RENDER_THREADS)
        try:
            note = read_yaml(self._folder / "emulator.yml", EmulatorNote)
            known = {**({} if token is None else {token: Token()}), **note.tokens, **(tokens or {})}
            self._clock = Clock()
            self.log = RequestLog()
            self._service = self._make_service(settings or note.settings, readings or note.readings)
            limiter = RateLimiter(self._clock, rate_limit or note.rate_limit)
            self.faults = Faults()
            app = App(self._service, known, limiter, self.log, self.faults, self)
            self._servers = [Server(app, host, port)]
            if self._service.settings.file_address == "signed":
                self._servers.append(Server(app, host, 0))
                self._service.storage = Storage(f"http://{host}:{self._servers[-1].port}", self._clock)
        except BaseException:
            self._clean_up()
            raise
        self.endpoint = f"http://{host}:{self._servers[0].port}{API_PREFIX}"

    def _make_service(self, settings: Settings, readings: Readings) -> Service:
        shelf = Shelf(Path(self._scratch.name))
        return Service(
            library=read_library(self._folder, shelf),
            settings=settings,
            clock=self._clock,
            sessions=Sessions(self._clock, settings.session_seconds),
            cache=Cache(settings.cache_bytes),
            shelf=shelf,
            executor=self._executor,
            readings=readings,
        )

    def release(self, dataset: str, version: str) -> None:
        """Make a version (`v1.1`) the current one of a dataset (`owner.dataset`); later versions become invisible.

        Raises:
            EmulatorError: There is no such dataset or version.
        """
        self._service.release(dataset, version)

    def __enter__(self) -> Self:
        """Start the server."""
        for server in self._servers:
            server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the server, and remove all temporary files."""
        for server in self._servers:
            server.stop()
        self._service.queries.close()
        self._service.exports.close()
        self._clean_up()

    def _clean_up(self) -> None:
        self._executor.shutdown(cancel_futures=True)
        self._scratch.cleanup()

    @property
    def requests(self) -> list[Request]:
        """The requests so far, in order of arrival."""
        return self.log.all()

    def forget_requests(self) -> None:
        """Empty the list of requests."""
        self.log.forget()

    @property
    def readings(self) -> Readings:
        """How the open questions of redivis-api are read; can be set."""
        return self._service.readings

    @readings.setter
    def readings(self, readings: Readings) -> None:
        self._service.readings = readings

    def read_as(self, *texts: str) -> None:
        """Change readings, each written as `name=value`.

        Raises:
            EmulatorError: There is no such reading, or it has no such value.
        """
        self.readings = changed(self.readings, texts)

    def pass_time(self, seconds: float) -> None:
        """Advance the emulator's clock: sessions expire, the rate limit is reset."""
        self._clock.pass_time(seconds)

    def reload(self) -> None:
        """Read the folder again. Open sessions keep the rows that they were opened with.

        Raises:
            FolderError: A file in the folder cannot be served; the emulator keeps the old content.
        """
        self._service.library = read_library(self._folder, self._service.shelf)
