"""The menu of faults: everything that is made to go wrong, and how a run of the tap must end then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal

from msgspec import structs

from redivis_emulator import Fault, RateLimit

# Each answer names the limit's reset, and the tap waits for it after a 429 without a `Retry-After` that it can read.
_UNLIMITED = RateLimit(requests=10**9, seconds=0.3)
_ROWS, _MANY_ROWS = 4000, 100_000
_FIRST_STREAM = "/readStreams/*.0"
_ROW, _BYTE = 300, 20_000
_SOON = 1.5  # seconds until a run gives up whose fault never ends


@dataclass(frozen=True)
class Item:
    """One thing that goes wrong.

    Attributes:
        name: Unique and short.
        words: What happens, for people.
        faults: What the emulator does.
        cause: Words that the tap's one line of error must hold; None if the fault passes, and all rows must come.
        retry_seconds: The tap's `max_retry_seconds`.
        rows: Rows of the table that is read.
        max_rows: Rows that are asked for; None: all.
        declared_rows: What the server says that the table holds; None: the truth.
        rate_limit: Of the server.
    """

    name: str
    words: str
    faults: tuple[Fault, ...] = ()
    cause: str | None = None
    retry_seconds: float = 10.0
    rows: int = _ROWS
    max_rows: int | None = None
    declared_rows: int | None = None
    rate_limit: RateLimit = _UNLIMITED

    @property
    def ends(self) -> Literal["transient", "permanent"]:
        """Whether the run must succeed in spite of it, or must fail."""
        return "transient" if self.cause is None else "permanent"

    @property
    def ends_at_once(self) -> bool:
        """Whether nothing may be tried again: the server has said that it will not answer."""
        return self.cause is not None and {fault.status for fault in self.faults} <= {400, 401, 403}

    @property
    def timeout_seconds(self) -> float:
        """The tap's `request_timeout_seconds`: short only where it is waited for, since machines may be slow."""
        return min(
            ({"stall": 0.5, "slow": 1.0, "endless_head": 0.5}.get(fault.kind, 5.0) for fault in self.faults),
            default=5.0,
        )


@dataclass(frozen=True)
class _Place:
    """Requests of one kind.

    Attributes:
        name: For the names of items.
        words: One of the requests.
        path: As faults match it.
    """

    name: str
    words: str
    path: str


_METADATA = _Place("metadata", "metadata request", "re:^/(datasets|tables)/(?!.*/readSessions$)")
_SESSIONS = _Place("session", "request for a read session", "*/readSessions")
_STREAMS = _Place("streams", "read stream", "/readStreams/*")
_PLACES = (_METADATA, _SESSIONS, _STREAMS)


def _once(place: _Place, fault: Fault) -> tuple[Fault, ...]:
    """Let something happen once to each resource of a place."""
    return (structs.replace(fault, path=place.path, per_path=True),)


def _always(place: _Place, fault: Fault) -> tuple[Fault, ...]:
    return (structs.replace(fault, path=place.path, nth="every"),)


# --- answers with an error status ------------------------------------------------------------------------------------


def _passing_statuses() -> tuple[Item, ...]:
    """Each status at each place; the three bodies take turns, so that each status and each place has all three."""
    bodies = ("flat", "nested", "html")
    return tuple(
        _passing_status(status, place, bodies[(row + column) % 3])  # type: ignore[arg-type] # a tuple of literals
        for (row, status), (column, place) in product(
            enumerate((408, 425, 429, 500, 502, 503, 504)), enumerate(_PLACES)
        )
    )


def _passing_status(status: int, place: _Place, body: Literal["flat", "nested", "html"]) -> Item:
    spelled = {"flat": "JSON", "nested": "nested JSON", "html": "HTML"}[body]
    wait = 0.1 if status == 429 else None  # else the tap would wait for the rate limit's reset
    return Item(
        f"{status}-{place.name}",
        f"each {place.words} gets {status} once, with a body of {spelled}",
        _once(place, Fault(kind="status", status=status, body=body, retry_after=wait)),
    )


_QUOTA = "You cannot export more than 200 GB in 30 days"
_FINAL = {
    "400-quota": (Fault(kind="status", status=400, message=_QUOTA), "400 since the export quota is used up", _QUOTA),
    **{
        str(status): (Fault(kind="status", status=status), str(status), f"HTTP {status}")
        for status in (401, 403, 404, 410)
    },
}
_NOT_THERE = (("404", _METADATA), ("410", _METADATA))


def _final_statuses() -> tuple[Item, ...]:
    return tuple(
        Item(
            f"{name}-{place.name}-for-good",
            f"every {place.words} gets {words}",
            _always(place, fault),
            "there is no such dataset" if (name, place) in _NOT_THERE else cause,
        )
        for (name, (fault, words, cause)), place in product(_FINAL.items(), _PLACES)
        if (name, place) != ("400-quota", _METADATA)  # metadata costs no quota
    )


def _retry_after() -> tuple[Item, ...]:
    spellings: Mapping[Literal["seconds", "epoch", "epoch_ms", "http_date"], str] = {
        "seconds": "in seconds",
        "epoch": "as a time in seconds since 1970",
        "epoch_ms": "as a time in milliseconds since 1970",
        "http_date": "as an HTTP date",
    }
    spelled = tuple(
        Item(
            f"retry-after-{form.replace('_', '-')}",
            f"each read stream gets 429 once, with `Retry-After` {words}",
            _once(_STREAMS, Fault(kind="status", status=429, retry_after=0.3, retry_after_form=form)),
        )
        for form, words in spellings.items()
    )
    nonsense = Fault(kind="status", status=429, headers={"Retry-After": "soon"})
    return (
        *spelled,
        Item(
            "retry-after-nonsense",
            "each read stream gets 429 once, with a `Retry-After` that means nothing",
            _once(_STREAMS, nonsense),
        ),
        Item(
            "503-three-times",
            "each read stream gets 503 three times, with `Retry-After`",
            _once(_STREAMS, Fault(kind="status", status=503, retry_after=0.1, times=3)),
        ),
        Item(
            "429-for-good",
            "every read stream gets 429, for good",
            _always(_STREAMS, Fault(kind="status", status=429)),
            cause="HTTP 429",
            retry_seconds=_SOON,
        ),
        Item(
            "503-for-good",
            "every metadata request gets 503, for good",
            _always(_METADATA, Fault(kind="status", status=503)),
            cause="HTTP 503",
            retry_seconds=_SOON,
        ),
        Item(
            "rate-limit",
            "no more than 6 requests a second are answered, the others get 429",
            rate_limit=RateLimit(requests=6, seconds=1.0),
        ),
    )


# --- connections -----------------------------------------------------------------------------------------------------


def _connections() -> tuple[Item, ...]:
    kinds = {
        "refused": (Fault(kind="refuse", seconds=0.3), "meets a closed port for 0.3 s"),
        "reset": (Fault(kind="reset"), "is answered by a TCP reset"),
        "closed": (Fault(kind="close"), "is answered by the end of the connection"),
        "silence": (Fault(kind="stall"), "is not answered, on an open connection"),
    }
    return tuple(
        Item(f"{name}-{place.name}", f"a {place.words} {words}", (structs.replace(fault, path=place.path),))
        for (name, (fault, words)), place in product(kinds.items(), _PLACES)
    )


def _connections_for_good() -> tuple[Item, ...]:
    gone = Fault(kind="refuse", seconds=3600, path=_STREAMS.path)
    return (
        Item(
            "refused-for-good",
            "the port is closed from the first read stream on, for good",
            (gone,),
            cause="connection refused",
            retry_seconds=_SOON,
        ),
        Item(
            "silence-for-good",
            "no read stream is ever answered, on open connections",
            _always(_STREAMS, Fault(kind="stall")),
            cause="silent for too long",
            retry_seconds=_SOON,
        ),
    )


# --- bodies that break -----------------------------------------------------------------------------------------------


def _breaks() -> tuple[Item, ...]:
    kinds = {
        "closed": (Fault(kind="close"), "is cut off: the connection ends without the last chunk"),
        "short": (Fault(kind="short"), "is cut off: less comes than `Content-Length` said"),
        "reset": (Fault(kind="reset"), "is cut off by a TCP reset"),
        "ended": (Fault(kind="end"), "ends cleanly, with proper framing"),
        "stalled": (Fault(kind="stall"), "falls silent, on an open connection"),
        "slow": (Fault(kind="slow", seconds=0.05), "trickles: a byte every 0.05 s"),
    }
    places = {
        "at-row": ({"at_row": _ROW}, f"after {_ROW} rows, where a row or record batch ends,"),
        "at-byte": ({"at_byte": _BYTE}, f"after {_BYTE:,} bytes, within a row or message,"),
    }
    return tuple(
        Item(
            f"{name}-{place}",
            f"{where} each read stream {words}",
            _once(_STREAMS, structs.replace(fault, **at)),
        )
        for (name, (fault, words)), (place, (at, where)) in product(kinds.items(), places.items())
    )


def _more_breaks() -> tuple[Item, ...]:
    no_row = Fault(kind="end", at_byte=0)
    return (
        *(
            Item(
                f"{name}-late",
                f"after 20,000 of {_MANY_ROWS:,} rows each read stream {words}",
                _once(_STREAMS, Fault(kind=kind, at_row=20_000)),  # type: ignore[arg-type] # a tuple of literals
                rows=_MANY_ROWS,
            )
            for name, kind, words in (("closed", "close", "is cut off"), ("ended", "end", "ends cleanly"))
        ),
        Item("ended-at-once", "each read stream ends cleanly before its first byte, once", _once(_STREAMS, no_row)),
        Item(
            "closed-again-and-again",
            "every body of a read stream is cut off after 500 rows",
            _always(_STREAMS, Fault(kind="close", at_row=500)),
        ),
        Item(
            "ended-again-and-again",
            "every body of a read stream ends cleanly after 500 rows",
            _always(_STREAMS, Fault(kind="end", at_row=500)),
        ),
        Item(
            "ended-at-once-for-good",
            "every body of the first read stream ends cleanly before its first byte",
            (structs.replace(no_row, path=_FIRST_STREAM, nth="every"),),
            cause="demo.visits",
            retry_seconds=_SOON,
        ),
        Item(
            "closed-at-once-for-good",
            "every body of a read stream is cut off before its first byte",
            _always(_STREAMS, Fault(kind="close", at_byte=0)),
            cause="the body was cut off",
            retry_seconds=_SOON,
        ),
        Item(
            "slow-for-good",
            "every body of a read stream trickles: a byte every 0.05 s",
            _always(_STREAMS, Fault(kind="slow", seconds=0.05)),
            cause="next to nothing",
            retry_seconds=_SOON,
        ),
    )


def _rubbish() -> tuple[Item, ...]:
    rubbish = Fault(kind="garbage", length=64)
    page = Fault(kind="status", status=200, body="html")
    return (
        Item(
            "garbage-at-start",
            "the first 64 bytes of each read stream are rubbish, once",
            _once(_STREAMS, structs.replace(rubbish, at_byte=0)),
        ),
        Item(
            "garbage-at-row",
            f"64 bytes after row {_ROW} of each read stream, where a row or record batch begins, are rubbish, once",
            _once(_STREAMS, structs.replace(rubbish, at_row=_ROW)),
        ),
        Item(
            "garbage-for-good",
            "the first 64 bytes of every body of a read stream are rubbish",
            _always(_STREAMS, structs.replace(rubbish, at_byte=0)),
            cause="damaged at row 0",
        ),
        Item("page-for-streams", "each read stream is a proxy's page with status 200, once", _once(_STREAMS, page)),
        Item(
            "page-for-metadata",
            "each metadata request gets a proxy's page with status 200, once",
            _once(_METADATA, page),
        ),
        Item(
            "page-for-session",
            "the request for a read session gets a proxy's page with status 200, once",
            _once(_SESSIONS, page),
        ),
        *(
            Item(
                f"{name}-{place.name}",
                f"the answer to each {place.words} {words} after 20 bytes, once",
                _once(place, Fault(kind=kind, at_byte=20)),  # type: ignore[arg-type] # a tuple of literals
            )
            for (name, kind, words), place in product(
                (("cut", "close", "is cut off"), ("half", "end", "ends cleanly")), (_METADATA, _SESSIONS)
            )
        ),
    )


# --- answers that HTTP calls whole, or that have no end ---------------------------------------------------------------


def _no_answers() -> tuple[Item, ...]:
    """What is no answer, though it is no error either; and what would never end."""
    redirect = Fault(kind="status", status=302, body="empty", headers={"Location": "?again=1"})
    half = (Fault(kind="relabel", status=206), Fault(kind="end", at_row=_ROW))
    return (
        *(
            Item(
                f"{status}-streams-{'once' if cause is None else 'for-good'}",
                f"{'each' if cause is None else 'every'} read stream gets {status} without a body"
                + (", once" if cause is None else ""),
                (_once if cause is None else _always)(_STREAMS, Fault(kind="status", status=status, body="empty")),
                cause,
            )
            for status in (204, 302, 304)
            for cause in (None, f"HTTP {status}")
        ),
        Item(
            "206-half",
            f"each read stream gets 206, and ends cleanly after {_ROW} rows, once",
            tuple(structs.replace(each, path=_STREAMS.path, per_path=True) for each in half),
        ),
        Item(
            "redirect-metadata", "each metadata request is redirected to its own path, once", _once(_METADATA, redirect)
        ),
        Item(
            "redirect-for-good",
            "every read stream is redirected to its own path",
            _always(_STREAMS, redirect),
            cause="redirects more than 5 times",
        ),
        *(
            Item(
                f"head-without-end-{place.name}",
                f"the answer to a {place.words} begins with header lines without an end",
                (Fault(kind="endless_head", path=place.path),),
            )
            for place in _PLACES
        ),
        Item(
            "rows-without-end",
            f"the rows of the first read stream come again and again after row {_ROW}",
            (Fault(kind="repeat", path=_FIRST_STREAM, at_row=_ROW, nth="every"),),
            cause="rows arrived of 4,000",
        ),
        Item(
            "ended-in-the-first-row-for-good",
            "every body of a read stream ends cleanly within its first row or message",
            _always(_STREAMS, Fault(kind="end", at_byte=20)),
            cause="demo.visits",
        ),
        Item(
            "rate-limit-nonsense",
            "every answer says that the rate limit is used up, until a moment that is no number",
            (Fault(kind="headers", headers={"X-Ratelimit-Remaining": "0", "X-Ratelimit-Reset": "nan"}, nth="every"),),
        ),
    )


# --- read sessions and what they promise -----------------------------------------------------------------------------


def _sessions() -> tuple[Item, ...]:
    broken = Fault(kind="close", path=_STREAMS.path, per_path=True, at_row=_ROW)
    first_broken = structs.replace(broken, path=_FIRST_STREAM)
    lost = Fault(kind="expire", path=_FIRST_STREAM)
    no_mark = Fault(kind="no_sentinel", path=_STREAMS.path, nth="every")
    return (
        Item("expired", "the session has expired when its first read stream is asked for", (lost,)),
        Item(
            "expired-on-the-way",
            f"a read stream is cut off after {_ROW} rows, and the session has expired when it is asked for again",
            (first_broken, structs.replace(lost, nth=2)),
        ),
        Item(
            "expired-for-good",
            "every session has expired when its first read stream is asked for",
            (structs.replace(lost, nth="every"),),
            cause="lost 3 times",
        ),
        Item(
            "offset-refused",
            f"each read stream is cut off after {_ROW} rows, and the server refuses every offset but 0",
            (broken, Fault(kind="refuse_offset", path=_STREAMS.path, nth="every")),
        ),
        Item("no-sentinel", "the sentinel is never sent", (no_mark,)),
        Item(
            "no-sentinel-and-ended",
            f"each read stream ends cleanly after {_ROW} rows, once; the sentinel is never sent",
            (no_mark, structs.replace(broken, kind="end")),
        ),
        Item("more-streams", "nine read streams, whatever was asked for", _sessions_with(kind="streams", count=9)),
        Item("fewer-streams", "one read stream, whatever was asked for", _sessions_with(kind="streams", count=1)),
        Item(
            "no-streams",
            "a session without read streams, for a table with rows",
            _sessions_with(kind="streams", count=0),
            cause="0 rows arrived of 4,000",
        ),
        Item(
            "overshoot",
            "50 rows more than the limit of 1,500 that was asked for",
            _sessions_with(kind="overshoot", rows=50),
            max_rows=1500,
        ),
        Item("column-order", "the columns come in reverse order", _sessions_with(kind="columns")),
        Item(
            "retyped-columns",
            "all columns come as text",
            _sessions_with(kind="retype", types=dict.fromkeys(("id", "cost", "paid", "seen_on", "seen_at"), "string")),
        ),
        Item("page-size-1", "all lists come in pages of one item", (Fault(kind="page_size", size=1, nth="every"),)),
    )


def _sessions_with(**fault: object) -> tuple[Fault, ...]:
    return (Fault(path=_SESSIONS.path, nth="every", **fault),)  # type: ignore[arg-type] # fields of Fault


def _versions() -> tuple[Item, ...]:
    release = Fault(kind="release", dataset="demo.visits", version="v1.1")
    return (
        Item(
            "version-switched-early",
            "another version becomes the current one between two metadata requests",
            (structs.replace(release, path=_METADATA.path, nth=2),),
        ),
        Item(
            "version-switched",
            "another version becomes the current one before the session is opened",
            (structs.replace(release, path=_SESSIONS.path),),
        ),
        Item(
            "version-switched-late",
            f"another version becomes the current one, and each read stream is cut off after {_ROW} rows",
            (
                structs.replace(release, path=_STREAMS.path),
                Fault(kind="close", path=_STREAMS.path, per_path=True, at_row=_ROW),
            ),
        ),
    )


def _counts() -> tuple[Item, ...]:
    more, fewer = _sessions_with(kind="json", add={"numRows": 1}), _sessions_with(kind="json", add={"numRows": -1})
    no_mark = Fault(kind="no_sentinel", path=_STREAMS.path, nth="every")
    missing = Item(
        "row-missing",
        "one row is missing: the session and the table promise 4,001; no sentinel is sent",
        (*more, no_mark),
        cause="4,000 rows arrived of 4,001",
        declared_rows=_ROWS + 1,
    )
    return (
        missing,
        replace(
            missing,
            name="row-missing-uncounted",
            words="one row is missing: the table promises 4,001, the session's `numRows` is null; no sentinel is sent",
            faults=(*_sessions_with(kind="json", set={"numRows": None}), no_mark),
        ),
        Item(
            "row-too-many",
            "one row is too many: the session and the table promise 3,999; no sentinel is sent",
            (*fewer, no_mark),
            cause="rows arrived of 3,999",
            declared_rows=_ROWS - 1,
        ),
        Item("count-too-high", "the session promises 4,001 rows of a table of 4,000", more),
        Item("count-too-low", "the session promises 3,999 rows of a table of 4,000", fewer),
        Item("counts-too-high", "the session and the table promise 4,001 rows of 4,000", more, declared_rows=_ROWS + 1),
        Item("count-null", "the session's `numRows` is null", _sessions_with(kind="json", set={"numRows": None})),
    )


MENU: Mapping[str, tuple[Item, ...]] = {
    "Errors that pass": (*_passing_statuses(), *_retry_after()),
    "Errors that stay": _final_statuses(),
    "Connections": (*_connections(), *_connections_for_good()),
    "Bodies that break": (*_breaks(), *_more_breaks()),
    "Bodies that are something else": _rubbish(),
    "Answers that are none": _no_answers(),
    "Read sessions": _sessions(),
    "Versions": _versions(),
    "Counts": _counts(),
}
"""All items, by the heading that they have in the docs."""
