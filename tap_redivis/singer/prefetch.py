"""Look ahead: what comes before the rows of the next tables is asked for while one is written.

A table of a hundred rows is written in less time than the server takes to answer once, and it takes three answers: the
variables, the read session, the rows. So the next tables are *opened* ahead: their variables are listed, their sessions
opened, and of small tables the answers with the rows are awaited. Nothing else changes. What is written, in which
order, and what STATE says of it is decided at each table's turn, as without; the bodies wait in the system's buffers
until then, so that no memory of this process is needed for them.

Nothing is under way ahead while a large table is read: its read streams may be read by processes, and a process that is
forked while another thread holds a lock never gets it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Protocol

from tap_redivis.client.http import Api, Body
from tap_redivis.client.metadata import Metadata
from tap_redivis.client.read_sessions import address_of, open_session
from tap_redivis.client.retry import PassingFailure
from tap_redivis.errors import RedivisError
from tap_redivis.model.columns import Column
from tap_redivis.model.reads import ReadRequest, ReadSession
from tap_redivis.model.tables import TableInfo, Variable
from tap_redivis.planning.drift import drift_of, names_to_transfer

SMALL_BYTES = 256 * 1024
"""Size of a table (as Redivis counts it) up to which its rows can wait in the buffers of the system and the server."""

_SESSION_SECONDS = 3600.0  # of the six hours that a session lives
_BODY_SECONDS = 30.0  # servers give up on those who do not read
_STREAMS_SEARCHED = 8  # for each that may be opened ahead


@dataclass(frozen=True)
class Opening:
    """What to open ahead.

    Attributes:
        table: The table.
        request: What to read of it, all variables that the catalog names.
        columns: The columns that the catalog names.
        variables: The table's variables, if they are known already.
        must_fit: Whether nothing is to be read if the catalog does not fit the variables.
        is_small: Whether the answers with the rows are to be awaited too.
    """

    table: TableInfo
    request: ReadRequest
    columns: Sequence[Column]
    variables: Sequence[Variable] | None
    must_fit: bool
    is_small: bool


@dataclass(frozen=True)
class Opened:
    """What has been opened ahead.

    Attributes:
        variables: The table's variables.
        session: The read session; None where nothing is to be read, or not any more in this one.
        opened_at: When it was opened, UTC.
        bodies: Answers of which the rows have not been read, by read stream.
        moment: The same time on the monotonic clock, in seconds.
    """

    variables: Sequence[Variable]
    session: ReadSession | None = None
    opened_at: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    bodies: Mapping[str, Body] = field(default_factory=dict)
    moment: float = field(default_factory=time.monotonic)

    def fresh(self) -> Opened:
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


def open_ahead(api: Api, catalogue: Metadata, opening: Opening) -> Opened:
    """Ask for what comes before a table's rows.

    Raises:
        RedivisError: What would be raised at the table's turn too.
    """
    variables = opening.variables
    if variables is None:
        variables = catalogue.variables(opening.table)
    if opening.must_fit and drift_of(opening.columns, variables).breaking:
        return Opened(variables)
    request = replace(opening.request, variables=names_to_transfer(opening.columns, variables))
    session = open_session(api, request)
    opened = Opened(variables, session)
    return replace(opened, bodies=_bodies(api, request, session)) if opening.is_small else opened


def _bodies(api: Api, request: ReadRequest, session: ReadSession) -> Mapping[str, Body]:
    """Wait for the answers with the rows; where that fails, it is tried again at the table's turn."""
    bodies: dict[str, Body] = {}
    for stream in session.streams[: request.max_streams]:
        try:
            bodies[stream] = api.open(*address_of(request, stream, 0))
        except (PassingFailure, RedivisError):
            break
    return bodies


@dataclass(frozen=True)
class Foreseen:
    """What is known of a stream before its turn.

    Attributes:
        opening: What to open ahead, if anything.
        is_passable: Whether tables after it may be opened before it has been read.
    """

    opening: Opening | None
    is_passable: bool


class Upcoming(Protocol):
    """A stream whose turn will come."""

    name: str

    def foresee(self) -> Foreseen:
        """Find out what can be done ahead, without a request of its own."""


Begin = Callable[[Opening], Future[Opened]]


class LookAhead:
    """Opens tables ahead, in the order of their turns.

    Args:
        begin: Begins with an opening, in another thread.
        streams: All streams, in the order of their turns.
        most: Tables that may have been opened, or be about to be, at once; 0: none.
    """

    def __init__(self, begin: Begin, streams: Iterable[Upcoming], most: int) -> None:
        self._begin = begin
        self._streams = list(streams)
        self._places = {stream.name: place for place, stream in enumerate(self._streams)}
        self._most = most
        self._begun: dict[str, Future[Opened]] = {}
        self._next = 0
        self._wall = -1

    def take(self, stream: Upcoming) -> Future[Opened] | None:
        """Give what was begun for a stream, at its turn."""
        return self._begun.pop(stream.name, None)

    def go_on(self, stream: Upcoming) -> None:
        """Open some tables whose turn is after a stream's, up to one that cannot be passed."""
        place = self._places[stream.name]
        self._next = max(self._next, place + 1)
        end = min(place + 1 + _STREAMS_SEARCHED * self._most, len(self._streams))
        while self._next < end and self._wall <= place and len(self._begun) < self._most:
            upcoming = self._streams[self._next]
            foreseen = upcoming.foresee()
            if not foreseen.is_passable:
                self._wall = self._next
            if foreseen.opening is not None:
                self._begun[upcoming.name] = self._begin(foreseen.opening)
            self._next += 1
