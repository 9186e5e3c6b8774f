"""Prefetch: variables, read sessions and first answers of the next tables are asked for while one table is written.

A table of a hundred rows is written in less time than the server takes to answer once, and it takes three answers: the
variables, the read session, the rows. So the next tables are opened ahead, and of small ones the answers with the rows
are awaited. What is written, in which order, and what STATE says of it is decided at each table's turn, as without. The
bodies wait in the system's buffers until then, so they need no memory of this process.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import cached_property

from requests import Response

from tap_redivis.client.http import Api
from tap_redivis.client.metadata import MetadataClient
from tap_redivis.client.read_sessions import address_of, open_session
from tap_redivis.client.retry import TransientError
from tap_redivis.errors import RedivisError
from tap_redivis.model.reads import ReadRequest, ReadSession
from tap_redivis.model.tables import Variable
from tap_redivis.planning.table_plan import TablePlan, apply_drift, plan_drift

SMALL_BYTES = 256 * 1024
"""Size of a table (as Redivis counts it) up to which its rows can wait in the buffers of the system and the server."""

LARGE_BYTES = 16 * 1024 * 1024
"""Size of a table from which on nothing after it is opened: answers would wait until the server gives up on them."""

_SESSION_SECONDS = 3600.0  # of the six hours that a session lives
_BODY_SECONDS = 30.0  # servers give up on clients that do not read
_STREAMS_SEARCHED = 8  # for each that may be opened ahead


@dataclass(frozen=True)
class PrefetchRequest:
    """What to open ahead."""

    plan: TablePlan
    variables: Sequence[Variable] | None  # None: they are not known yet
    must_fit: bool  # whether nothing is to be read if the catalog does not fit the variables


@dataclass(frozen=True)
class Preview:
    """What is known of a stream before its turn."""

    request: PrefetchRequest | None
    is_short: bool  # whether tables after it may be opened now


@dataclass(frozen=True)
class Prefetched:
    """What has been opened ahead; without a session where nothing is to be read, or not any more in this one."""

    variables: Sequence[Variable]
    session: ReadSession | None = None
    opened_at: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    bodies: Mapping[str, Response] = field(default_factory=dict)  # by read stream; no row is read yet
    moment: float = field(default_factory=time.monotonic)  # the wall clock may be set back

    def fresh(self) -> "Prefetched":
        """Leave out what has waited for too long."""
        age = time.monotonic() - self.moment
        if age <= _BODY_SECONDS:
            return self
        self.close()
        return replace(self, session=self.session if age <= _SESSION_SECONDS else None, bodies={})

    def close(self) -> None:
        """Close what was not read."""
        for body in self.bodies.values():
            body.close()


def prefetch(api: Api, metadata: MetadataClient, request: PrefetchRequest) -> Prefetched:
    """Ask for what comes before a table's rows; an error is the one that the table's turn would raise."""
    plan, variables = request.plan, request.variables
    if variables is None:
        variables = metadata.variables(plan.table)
    if request.must_fit and plan_drift(plan, variables).breaking:
        return Prefetched(variables)
    read = apply_drift(plan, variables).request
    session = open_session(api, read)
    opened = Prefetched(variables, session)
    return replace(opened, bodies=_bodies(api, read, session)) if _is_small(plan) else opened


def _bodies(api: Api, request: ReadRequest, session: ReadSession) -> Mapping[str, Response]:
    """Wait for the answers with the rows; one that fails is asked for again at the table's turn."""
    bodies: dict[str, Response] = {}
    request = replace(request, wire_format=session.wire_format)
    for stream in session.streams[: request.max_streams]:
        try:
            bodies[stream] = api.open(*address_of(request, stream, 0))
        except (TransientError, RedivisError):
            break
    return bodies


def is_short(plan: TablePlan) -> bool:
    """Whether a table takes so little time that tables after it may be opened before it has been read."""
    is_large = not plan.request.max_rows and (plan.table.bytes or 0) >= LARGE_BYTES
    return plan.decision.action == "skip" or (plan.is_whole and not is_large)


def _is_small(plan: TablePlan) -> bool:
    """Whether the rows to read are known to be few bytes."""
    rows, size, limit = plan.table.rows, plan.table.bytes, plan.request.max_rows
    if size is None:
        return False
    return (size * min(limit / rows, 1) if rows and limit else size) <= SMALL_BYTES


@dataclass
class Prefetcher:
    """Opens tables ahead, in the order of their turns."""

    begin: Callable[[PrefetchRequest], Future[Prefetched]]
    previews: Callable[[], Mapping[str, Callable[[], Preview]]]  # of all streams by name, without a request
    most: int  # tables at once; 0 for none
    _begun: dict[str, Future[Prefetched]] = field(default_factory=dict)
    _next: int = 0
    _barrier: int = -1  # place of the last stream that takes long: nothing after it is opened before its turn

    @cached_property
    def _previews(self) -> list[tuple[str, Callable[[], Preview]]]:
        return list(self.previews().items())

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, (name, _) in enumerate(self._previews)}

    def take(self, stream: str) -> Future[Prefetched] | None:
        """Give what was begun for a stream, at its turn."""
        return self._begun.pop(stream, None)

    def advance(self, stream: str) -> None:
        """Open some tables whose turn is after a stream's, up to one that takes long."""
        place = self._places[stream]
        self._next = max(self._next, place + 1)
        end = min(place + 1 + _STREAMS_SEARCHED * self.most, len(self._previews))
        while self._next < end and self._barrier <= place and len(self._begun) < self.most:
            name, find_out = self._previews[self._next]
            preview = find_out()
            if not preview.is_short:
                self._barrier = self._next
            if preview.request is not None:
                self._begun[name] = self.begin(preview.request)
            self._next += 1
