"""The facts, against the emulator under every reading: each reading is seen, and changes no other fact."""

from __future__ import annotations

import pytest

from redivis_emulator import DEFAULT_TOKEN, Emulator, RateLimit, readings
from tests.contract.facts import FACTS
from tests.contract.report import look
from tests.contract.service import MOST_REQUESTS, Service
from tests.support.samples import sampled

_EVERY = [f"{name}={value}" for name, values in readings.values().items() for value in values[1:]]
_SAMPLE = {"text_formats=refused", "sentinel=never", "session_rows=low", "csv_header=first", "anonymous=none"}
_OF_THE_LIMIT = {"retry_after", "limit_answer"}
# What hides another fact: text that is not served, an answer that nobody gives.
_HIDDEN_BY = {
    "text_formats": {
        *("csv_header", "csv_quotes", "csv_line_ends", "csv_empty", "jsonl_nulls", "jsonl_integers", "jsonl_floats"),
        *("jsonl_non_finite", "last_line_end", "text_sentinel"),
    },
    "quota": {fact.name for fact in FACTS},
    "sql_nested": {"query_rows"},
    "jsonl_floats": {"jsonl_non_finite"},
}


def _seen(emulator: Emulator) -> dict[str, str | None]:
    service = Service(emulator.endpoint, DEFAULT_TOKEN)
    seen = {line.fact.name: line.seen for line in look(service)}
    assert service.requests <= MOST_REQUESTS
    return seen


def test_each_reading_is_a_fact() -> None:
    """No switch is left out, and no fact is about none."""
    assert {fact.name for fact in FACTS} == set(readings.values())
    assert len(FACTS) == len({fact.name for fact in FACTS})


def test_all_is_seen_as_likely(facts: Emulator) -> None:
    likely = {fact.name: fact.values[0] for fact in FACTS if fact.name not in _OF_THE_LIMIT}

    assert {name: value for name, value in _seen(facts).items() if name not in _OF_THE_LIMIT} == likely


@pytest.mark.parametrize(
    "reading", sampled([each for each in _EVERY if each.split("=")[0] not in _OF_THE_LIMIT], _SAMPLE)
)
def test_every_reading_is_seen(facts: Emulator, reading: str) -> None:
    """The fact has the value that the emulator is set to, and all others are as likely, or hidden."""
    name, _, value = reading.partition("=")
    facts.read_as(reading)
    seen = _seen(facts)

    assert seen[name] == value
    others = {fact.name: fact.values[0] for fact in FACTS if fact.name not in {name, *_OF_THE_LIMIT}}
    wrong = {key: seen[key] for key, likely in others.items() if seen[key] not in {likely, None}}
    hidden = {key for key in others if seen[key] is None}
    assert wrong == {}
    assert hidden <= _HIDDEN_BY.get(name, set())


@pytest.mark.parametrize("reading", sampled([each for each in _EVERY if each.split("=")[0] in _OF_THE_LIMIT], ()))
def test_the_rate_limit_is_seen(facts: Emulator, reading: str) -> None:
    """A 429 is waited for, and looked at."""
    name, _, value = reading.partition("=")
    with Emulator(facts._folder, rate_limit=RateLimit(requests=20, seconds=4)) as limited:  # noqa: SLF001
        limited.read_as(reading)
        seen = _seen(limited)

    assert seen[name] == value


def test_nothing_is_changed(facts: Emulator) -> None:
    """Only what reads, and jobs that read: sessions and queries."""
    _seen(facts)

    sent = {
        (each.method, each.path.rpartition("/")[2]) for each in facts.requests if each.method not in {"GET", "HEAD"}
    }
    assert sent == {("POST", "readSessions"), ("POST", "queries")}
