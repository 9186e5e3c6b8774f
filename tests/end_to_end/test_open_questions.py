"""Every reading of the API's open questions, in every wire format: equal records, or one clear error (docs/api.md)."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from redivis_emulator import DEFAULT_TOKEN, Emulator, Fault, RateLimit, Readings, Settings, readings
from tests.end_to_end.conftest import UNLIMITED
from tests.support.batches import batch_config, files_of, records_of_files
from tests.support.pipes import Json, Output, activated_records, run
from tests.support.samples import sampled
from tests.support.served import Site, assert_same_rows, records_of, visits, write_note, write_table

FORMATS = ("jsonl", "arrow", "csv")
VISITS = visits(2000)
SAMPLE = VISITS.slice(0, 500)
DRAFT = visits(300, first=7)
ODD = pa.table(
    {
        "id": pa.array([1, 2**53 + 1, -(2**63), None], pa.int64()),
        "text": ["", None, 'a "b",\nc', "№ 東京"],
        "share": [0.1, math.nan, 1e22, None],
        "flag": [True, False, None, True],
        "day": pa.array([dt.date(1, 1, 1), None, dt.date(2012, 2, 29), dt.date(9999, 12, 31)]),
        "at": pa.array([0, 1, None, -62_135_596_800_000_000], pa.timestamp("us")),
        "clock": pa.array([0, 1, None, 86_399_999_999], pa.time64("us")),
        "place": ["POINT(1 2)", None, "POINT(-1.5 0)", "POINT(0 0)"],
        "code": ["7", "08", None, "-1"],
        "one, two": [1.5, 2.5, None, 4.0],
    }
)
QUERY = "SELECT id, CAST(id AS NUMERIC) / 4 AS quarter, [id, 2] AS pair FROM `demo.visits.visits` WHERE id < 5"
_EVERY = [f"{name}={value}" for name, values in readings.values().items() for value in values[1:]]
_MOST_TELLING = {
    *("text_formats=refused", "text_formats=ignored", "session_rows=low", "session_rows=high", "session_rows=absent"),
    *("table_rows=high", "sentinel=never", "last_line_end=absent", "row_order=request", "anonymous=tables"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables of a draft, of a sample, public ones, and one with all types and all that is odd."""
    folder = tmp_path_factory.mktemp("served")
    write_table(folder, "demo/visits/v1.0/visits", VISITS)
    write_note(folder, "demo/visits/dataset.yml", {"public_access_level": "data", "sample_ratio": 0.25})
    write_table(folder, "demo/odd/v1.0/odd", ODD)
    types: Json = {"place": {"type": "geography"}, "code": {"type": "integer", "stored": "string"}}
    write_note(folder, "demo/odd/dataset.yml", {"public_access_level": "data", "tables": {"odd": {"variables": types}}})
    write_table(folder, "demo/draft/next/draft/part", DRAFT)
    return folder


@pytest.fixture(scope="module")
def _emulator(folder: Path) -> Iterator[Emulator]:
    with Emulator(folder, rate_limit=UNLIMITED, settings=Settings(streams=4)) as emulator:
        yield emulator


@pytest.fixture
def served(_emulator: Emulator, folder: Path, tmp_path: Path) -> Iterator[Site]:
    """The tables, by an emulator that reads all questions as likely until a test says otherwise."""
    _emulator.readings = Readings()
    _emulator.forget_requests()
    yield Site(_emulator, folder, tmp_path, DEFAULT_TOKEN)
    _emulator.faults.clear()


def _odd(wire_format: str, reading: str) -> list[Json]:
    """Return the records of the odd table."""
    records = records_of(ODD)
    for record in records:
        record["code"] = None if record["code"] is None else int(record["code"])
        if reading == "csv_empty=bare" and wire_format == "csv":  # nothing on the wire tells them apart
            record["text"] = record["text"] or None
        if reading == "geography=geojson" and record["place"]:
            x, y = map(float, record["place"][6:-1].split())
            record["place"] = f'{{"type":"Point","coordinates":[{_short(x)},{_short(y)}]}}'
    return records


def _short(number: float) -> str:
    return str(int(number)) if number == int(number) else str(number)


def _check_warnings(wire_format: str, reading: str, log: str) -> None:
    """What cannot be equal is told, once a table; nothing of it where the reading is the likely one."""
    signs = {"geographies of 'place' in GeoJSON": reading == "geography=geojson"}
    if reading != "last_line_end=absent":  # there the rows before a break are told of without those after it
        signs["empty fields without quotes"] = reading == "csv_empty=bare" and wire_format == "csv"
    for sign, is_due in signs.items():
        told = [line for line in log.splitlines() if sign in line]
        assert ["demo.odd:" in line and "`make live`" in line for line in told] == [True] * is_due, (sign, told)


def _check_all(records: Callable[[str], list[Json]], wire_format: str, reading: str) -> None:
    assert_same_rows(records("visits__visits"), records_of(VISITS))
    assert_same_rows(records("draft__draft"), records_of(DRAFT))
    assert_same_rows(records("odd__odd"), _odd(wire_format, reading))


def load_records(site: Site, wire_format: str, reading: str) -> None:
    """RECORDs of sessions, of a small table that is read in one answer, of a draft, and of a query."""
    queries = [{"name": "few", "sql": QUERY}]
    settings = {"datasets": ["demo.visits", "demo.odd", "demo.draft:next"], "wire_format": wire_format}
    if reading.startswith(("quota=", "sql_nested=refused")):
        done = run(site.tap(**settings, queries=queries))
        assert done.exit_code == 1
        words = "annot export more than" if reading.startswith("quota") else "Unsupported type of a result"
        assert words in done.stderr
        assert "`make live`" in done.stderr
        assert "serve" not in "".join(line for line in done.stderr.splitlines() if "WARNING" in line)
        return
    done = site.sync(**settings, queries=queries)
    _check_warnings(wire_format, reading, done.stderr)
    _check_all(lambda stream: activated_records(stream, done), wire_format, reading)
    few = [
        (each["id"], float(each["quarter"]), json.loads(each["pair"]))
        for each in sorted(activated_records("few", done), key=lambda record: record["id"])
    ]
    assert few == [(n, n / 4, [n, 2]) for n in range(5)]


def load_files(site: Site, wire_format: str, reading: str) -> None:
    """BATCH: files of JSON Lines for the text formats, of Arrow for Arrow."""
    if reading.startswith("quota="):
        return
    encoding = "arrow" if wire_format == "arrow" else "jsonl"
    done = site.sync(
        datasets=["demo.visits", "demo.odd", "demo.draft:next"],
        wire_format=wire_format,
        batch_config=batch_config(encoding, site.files / "out"),
    )
    _check_warnings(wire_format, reading, done.stderr)
    newest = {
        message["stream"]: message["version"] for message in done.messages if message["type"] == "ACTIVATE_VERSION"
    }

    def records(stream: str) -> list[Json]:
        batches = [each for each in done.messages if each["type"] == "BATCH" and each["stream"] == stream]
        return records_of_files(files_of(each for each in batches if each["version"] == newest[stream]))

    _check_all(records, wire_format, reading)


def load_resumed(site: Site, wire_format: str, reading: str) -> None:
    """A load that was interrupted within each read stream, and goes on in the next run."""
    if reading.startswith("quota="):
        return
    site.emulator.faults.add(
        Fault(kind="close", path="/readStreams/*", per_path=True, at_row=200),
        Fault(kind="status", status=401, path="/readStreams/*", per_path=True, nth=2, times=None),
    )
    settings = {"datasets": ["demo.visits"], "wire_format": wire_format}
    broken = run(site.tap(**settings))
    assert broken.exit_code == 1, broken.stderr
    site.emulator.faults.clear()
    done = site.sync(state=broken.state, **settings)
    _check_of_version([broken, done], VISITS)
    assert "resuming the interrupted load at row" in done.stderr


def load_limited(site: Site, wire_format: str, reading: str) -> None:
    """The first rows of a table, as many as were asked for."""
    if reading.startswith("quota="):
        return
    done = site.sync(datasets=["demo.visits"], max_rows=700, wire_format=wire_format)
    rows = activated_records("visits__visits", done)
    assert len(rows) == 700
    ids = {row["id"] for row in rows}
    assert_same_rows(rows, [row for row in records_of(VISITS) if row["id"] in ids])


def load_sample(site: Site, wire_format: str, reading: str) -> None:
    """A sample, in either spelling."""
    if reading.startswith("quota="):
        return
    for reference in ("demo.visits:sample.visits", "demo.visits.visits:sample"):
        done = site.sync(tables=[reference], wire_format=wire_format)
        assert_same_rows(activated_records("visits__visits", done), records_of(SAMPLE))


def load_without_token(site: Site, wire_format: str, reading: str) -> None:
    """Public tables, without a token: named in full, one of them in part, with a comma in a name."""
    site = Site(site.emulator, site.folder, site.files, None)
    settings: Json = {
        "tables": ["demo.visits.visits", "demo.odd.odd"],
        "table_options": {"odd": {"variables": ["id", "one, two"]}},
        "wire_format": wire_format,
    }
    done = run(site.tap(**settings))
    if reading in {"quota=used_up", "quota=forbidden", "anonymous=none"}:
        words = "Set api_token or REDIVIS_API_TOKEN" if reading == "anonymous=none" else "annot export more than"
        assert (done.exit_code, words in done.stderr, "`make live`" in done.stderr) == (1, True, True)
        return
    if reading in {"table_rows=low", "table_rows=high"}:  # /rows has no sentinel and no count of its own
        assert (done.exit_code, "`make live`" in done.stderr) == (1, True)
        return
    assert done.exit_code == 0, done.stderr
    assert_same_rows(activated_records("visits__visits", done), records_of(VISITS))
    odd = [{name: record[name] for name in ("id", "one, two")} for record in _odd(wire_format, reading)]
    assert_same_rows(activated_records("odd__odd", done), odd)
    assert "unknown column" not in done.stderr


LOADS: Sequence[Callable[[Site, str, str], None]] = (
    load_records,
    load_files,
    load_resumed,
    load_limited,
    load_sample,
    load_without_token,
)


def _check_of_version(runs: Sequence[Output], table: pa.Table) -> None:
    assert_same_rows(activated_records("visits__visits", *runs), records_of(table))


@pytest.mark.parametrize("reading", sampled(_EVERY, _MOST_TELLING))
@pytest.mark.parametrize("load", [pytest.param(each, id=each.__name__.removeprefix("load_")) for each in LOADS])
@pytest.mark.parametrize("wire_format", FORMATS)
def test_loads_under_every_reading(
    served: Site, wire_format: str, load: Callable[[Site, str, str], None], reading: str
) -> None:
    served.emulator.read_as(reading)
    load(served, wire_format, reading)


@pytest.mark.parametrize("reading", sampled(_EVERY, ()))
def test_the_default_load_under_every_reading(served: Site, reading: str) -> None:
    """JSON Lines to RECORDs."""
    served.emulator.read_as(reading)
    load_records(served, "jsonl", reading)


_UNKIND = ("text_formats=refused", "session_rows=absent", "table_rows=high", "last_line_end=absent")


@pytest.mark.parametrize("wire_format", FORMATS)
def test_sentinels_are_enough(served: Site, wire_format: str) -> None:
    """A server that refuses text, has no count but a wrong one, and ends no line: Arrow with sentinels loads."""
    served.emulator.read_as(*_UNKIND)
    done = served.sync(datasets=["demo.visits"], wire_format=wire_format)

    assert_same_rows(activated_records("visits__visits", done), records_of(VISITS))
    assert "2000 rows arrived, and the server had counted 2060" in done.stderr
    refusals = [line for line in done.stderr.splitlines() if "does not serve" in line]
    assert len(refusals) == (wire_format != "arrow")


@pytest.mark.parametrize("wire_format", FORMATS)
def test_without_sentinels_a_wrong_count_is_an_error(served: Site, wire_format: str) -> None:
    served.emulator.read_as(*_UNKIND, "sentinel=never")
    done = run(served.tap(datasets=["demo.visits"], wire_format=wire_format))

    assert done.exit_code == 1
    [error] = [line for line in done.stderr.splitlines() if "| ERROR " in line]
    assert "2,000 rows arrived of 2,060 (0 of 4 streams ended with a sentinel)" in error
    assert "`make live`" in error
    assert "ACTIVATE_VERSION" not in {each["type"] for each in done.messages}


def test_arrow_is_asked_for_once_a_run(served: Site) -> None:
    """One refused request and one warning, also where tables are opened ahead."""
    served.emulator.read_as("text_formats=refused", "rows_size=any")
    served.emulator.faults.add(Fault(kind="status", status=400, path="*/rows", nth="every"))
    site_settings = {"datasets": ["demo.visits", "demo.odd", "demo.draft:next"]}
    done = served.sync(**site_settings)

    formats = [json.loads(each.body)["format"] for each in served.asked("/readSessions")]
    assert sorted(formats) == ["arrow", "arrow", "arrow", "jsonl"]
    assert done.stderr.count("does not serve jsonl") == 1


@pytest.mark.parametrize(
    ("status", "message"), [(400, "Cannot export more than 200GB"), (403, "no scope"), (404, "no such table")]
)
def test_other_refusals_are_no_matter_of_the_format(served: Site, status: int, message: str) -> None:
    served.emulator.faults.add(Fault(kind="status", status=status, message=message, path="*/readSessions", nth="every"))
    done = run(served.tap(tables=["demo.visits.visits"]))

    assert done.exit_code == 1
    assert message in done.stderr
    assert len(served.asked("/readSessions")) == 1
    assert "arrow" not in done.stderr


def test_a_load_that_fell_back_is_resumed_in_arrow(served: Site) -> None:
    """Its bookmark says arrow, its fingerprint fits, and no session in text is asked for again."""
    served.emulator.read_as("text_formats=refused")
    load_resumed(served, "jsonl", "")

    assert [json.loads(each.body)["format"] for each in served.asked("/readSessions")] == ["jsonl", "arrow"]


@pytest.mark.parametrize("reading", [f"retry_after={each}" for each in readings.values()["retry_after"]] + [
    f"{name}={value}" for name in ("limit_answer", "limit_headers", "errors") for value in readings.values()[name]
])  # fmt: skip
def test_the_rate_limit_under_every_reading(folder: Path, tmp_path: Path, reading: str) -> None:
    """Whatever a 429 looks like, it is waited for."""
    with Emulator(folder, rate_limit=RateLimit(requests=4, seconds=1.2)) as emulator:
        emulator.read_as(reading)
        done = Site(emulator, folder, tmp_path, DEFAULT_TOKEN).sync(tables=["demo.odd.odd"], max_retry_seconds=30)

    assert_same_rows(done.records("odd__odd"), _odd("jsonl", reading))


@pytest.mark.parametrize("status", readings.values()["no_access"])
def test_no_access_under_every_reading(folder: Path, tmp_path: Path, status: int) -> None:
    """One clear error, whichever status it has."""
    with Emulator(folder, rate_limit=UNLIMITED, readings=Readings(no_access=status)) as emulator:
        emulator.faults.add(
            Fault(kind="status", status=status, path="*/readSessions", nth="every", message="Not for you")
        )
        done = run(Site(emulator, folder, tmp_path, DEFAULT_TOKEN).tap(tables=["demo.visits.visits"]))

    assert done.exit_code == 1
    [error] = [line for line in done.stderr.splitlines() if "| ERROR " in line]
    assert "Not for you" in error


def test_bytes_are_text_or_base64(served: Site) -> None:
    """Bytes that are no UTF-8 are base64, the same in all formats, with one warning."""
    served.emulator.read_as("sql_nested=native")
    sql = "SELECT id, b'\\xff\\x00' AS raw FROM `demo.visits.visits` WHERE id < 3"
    for wire_format in FORMATS:
        done = served.sync(queries=[{"name": "raw", "sql": sql}], wire_format=wire_format)
        assert {record["raw"] for record in done.records("raw")} == {"/wA="}
        assert done.stderr.count("no UTF-8 written in base64") == (wire_format == "arrow")


@pytest.mark.parametrize(
    "name",
    [
        "`demo.visits:v9_9.visits`",
        "`demo`.`visits:v9_9`.`visits`",
        "demo.`visits:v9_9`.visits",
        "`demo.visits:v9_9` . visits",
    ],
)
def test_versions_in_sql_are_seen_however_they_are_quoted(served: Site, name: str) -> None:
    """The server would silently read another version."""
    done = run(served.tap(queries=[{"name": "few", "sql": f"SELECT id FROM {name}"}]))  # noqa: S608 - of this test

    assert done.exit_code == 1
    assert "no version v9_9" in done.stderr


def test_a_query_of_a_draft_gives_what_its_sql_says(served: Site) -> None:
    """SQL has a column more for a draft than its table: the result has it unless the query leaves it out."""
    draft = "`demo.draft:next.draft`"
    queries = [
        {"name": "all", "sql": f"SELECT * FROM {draft}"},  # noqa: S608 - of this test
        {"name": "own", "sql": f"SELECT * EXCEPT (_upload_name) FROM {draft}"},  # noqa: S608
    ]
    done = served.sync(queries=queries, datasets=["demo.draft:next"])

    assert_same_rows(done.records("own"), records_of(DRAFT))
    assert_same_rows(done.records("draft__draft"), records_of(DRAFT))
    everything = [{**record, "_upload_name": "part.parquet"} for record in records_of(DRAFT)]
    assert_same_rows(done.records("all"), everything)


def test_texts_and_comments_in_sql_name_nothing(served: Site) -> None:
    absent = "`demo.visits:v9_9.visits`"
    sql = f"SELECT id, '{absent}' AS t -- {absent}\nFROM `demo.visits.visits` WHERE id < 2"
    done = served.sync(queries=[{"name": "few", "sql": sql}])

    assert len(done.records("few")) == 2


def test_references_without_names(served: Site) -> None:
    """By ids alone: in settings, in SQL and as the default dataset."""
    [item] = [each for each in _listed(served, "/organizations/demo/datasets") if each["name"] == "visits"]
    [table] = _listed(served, f"/datasets/{item['qualifiedReference']}/tables")
    container, name = f"demo.:{item['referenceId']}", f":{table['referenceId']}"
    queries = [
        {"name": "full", "sql": f"SELECT id FROM `{container}.{name}`"},  # noqa: S608 - of this test
        {"name": "short", "sql": "SELECT id FROM visits", "default_dataset": container},
        {"name": "sampled", "sql": "SELECT id FROM visits", "default_dataset": f"{container}:sample"},
        {"name": "spelled", "sql": "SELECT id FROM `demo.visits.visits:sample`"},
    ]
    done = served.sync(tables=[f"{container}.{name}"], queries=queries)

    assert_same_rows(done.records("visits__visits"), records_of(VISITS))
    counts = {each["name"]: len(done.records(each["name"])) for each in queries}
    assert counts == {"full": 2000, "short": 2000, "sampled": 500, "spelled": 500}


def _listed(site: Site, path: str) -> list[Json]:
    import requests  # noqa: PLC0415 - only here

    answer: Any = requests.get(
        site.endpoint + path, headers={"Authorization": f"Bearer {site.token}"}, timeout=20
    ).json()
    results: list[Json] = answer["results"]
    return results
