"""What the streams of one run share: settings, the server, the writer of messages, the state, and how streams ended."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tap_redivis.client.http import Api
from tap_redivis.client.metadata import MetadataClient
from tap_redivis.errors import RedivisError
from tap_redivis.model.references import ContainerRef
from tap_redivis.model.settings import Settings
from tap_redivis.runtime.logs import error_of, logger
from tap_redivis.runtime.progress import Result, show_result
from tap_redivis.singer.messages import MessageWriter
from tap_redivis.singer.prefetch import Prefetcher
from tap_redivis.singer.state import RunState


@dataclass
class RunContext:
    """What streams need of the run, and nothing of the SDK."""

    settings: Settings
    api: Api
    metadata: MetadataClient  # one view of the server for the whole run
    writer: MessageWriter
    states: RunState
    wanted: Callable[[], Iterable[ContainerRef]]  # containers of the tables that the selected streams need
    prefetcher: Prefetcher
    results: list[Result] = field(default_factory=list)
    failures: dict[str, RedivisError] = field(default_factory=dict)  # by stream
    _has_asked: bool = False

    def ask_for_all(self) -> None:
        """Ask for the containers of all selected streams together, once; each stream finds out what is not there."""
        if not self._has_asked:
            self._has_asked = True
            self.metadata.load(self.wanted(), self.settings.workflows)

    def note_result(self, result: Result) -> None:
        """Note how a stream ended, and say so."""
        self.results.append(result)
        show_result(result)

    def note_failure(self, stream: str, failure: Exception) -> RedivisError:
        """Note that a stream failed, whatever it was; the others go on, and the run fails at its end."""
        logger.debug("%s failed", stream, exc_info=failure)
        error = self.failures[stream] = error_of(failure)
        logger.error("%s", error if error.where == stream else f"{stream}: {error}")
        return error
