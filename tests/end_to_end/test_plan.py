"""`--plan` says what a run would do, without a row or a query, and the run then does that."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from redivis_emulator import DEFAULT_TOKEN, Emulator, Fault
from redivis_emulator.service import Settings
from tests.end_to_end.conftest import UNLIMITED
from tests.support.pipes import Json, Output, run
from tests.support.served import Site, visits, write_note, write_table

_ROWS, _MORE = 1200, 1500
_QUERY = {"name": "counted", "sql": "SELECT COUNT(*) AS visits FROM `demo.same.visits`"}
_SETTINGS: Json = {
    "datasets": [
        *(f"demo.{name}" for name in ("same", "first", "newer", "keyed", "renewed", "drifted", "secret", "unwanted")),
        *(f"demo.{name}" for name in ("cut", "stale", "lost")),
        "demo.logged",
        "demo.relogged",
        "demo.pinned:v1_0",
        "demo.draft:next",
    ],
    "workflows": ["demo.study", "demo.analysis"],
    "queries": [_QUERY],
    "table_options": {
        "keyed": {"key_properties": ["id"], "replication_key": "id"},
        "*logged": {"key_properties": ["id"], "replication_method": "LOG_BASED"},
    },
    "stream_maps": {"unwanted__visits": "__NULL__"},
}
_RELEASED = {
    "newer": "visits",
    "keyed": "keyed",
    "pinned": "visits",
    "secret": "visits",
    "logged": "logged",
    "relogged": "relogged",
}

_EXPECTED = {
    # design §6, line by line; the last is what the plan cannot know: whether the server still has the session.
    "first__visits": ("read", "full", "first load"),
    "cut__visits": ("read", "resumed", "resuming the interrupted load at row 300"),
    "stale__visits": ("read", "full", "the interrupted load's read session has expired"),
    "same__visits": ("skip", "", "unchanged since the last complete load"),
    "newer__visits": ("read", "full", "new version: v1.0 → v1.1"),
    "keyed__keyed": ("read", "incremental", "new version: v1.0 → v1.1"),
    "logged__logged": ("read", "changes", "new version: v1.0 → v1.1; only what changed is asked for"),
    "relogged__relogged": ("read", "full", "new version: v1.0 → v1.1; all rows are read, since v1.0 cannot be read"),
    "study__result": ("skip", "", "unchanged since the last complete load"),
    "analysis__result": ("read", "full", "the table changed"),
    "draft__visits": ("read", "full", "a draft is always read"),
    "pinned__visits": ("skip", "", "unchanged since the last complete load"),
    # … and what else decides.
    "renewed__visits": ("read", "full", "the selected variables or the row limit changed"),
    "counted": ("read", "full", "whether the result changed is not known before"),
    "drifted__visits": ("stop", "", "variable 'cost' is gone"),
    "secret__visits": ("stop", "", "reading rows needs 'data'"),
    "unwanted__visits": ("skip", "", "a stream map removes all its records"),
    "lost__visits": ("read", "resumed", "resuming the interrupted load at row 300"),
}


@dataclass(frozen=True)
class _Both:
    """What a plan says, and what the run after it did."""

    site: Site
    planned: Output
    requests: list[str]
    state: Json
    done: Output

    @property
    def plan(self) -> dict[str, Json]:
        return _streams(self.planned)


_TOGETHER = pytest.mark.xdist_group("plan and run")


@pytest.fixture(name="both", scope="module")
def plan_and_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Both]:
    """A Redivis on which each stream is in another situation."""
    folder, files = tmp_path_factory.mktemp("served"), tmp_path_factory.mktemp("files")
    _serve(folder)
    with Emulator(folder, rate_limit=UNLIMITED, settings=Settings(streams=1)) as emulator:
        site = Site(emulator, folder, files, DEFAULT_TOKEN)
        catalog = _catalog(site)
        state = _state_before(site, catalog)
        _change(site)
        emulator.forget_requests()
        planned = run(site.tap("--plan=json", catalog=catalog, state=state, **_SETTINGS))
        requests = [f"{request.method} {request.path}" for request in emulator.requests]
        _lose_session(site, state["bookmarks"]["lost__visits"])
        yield _Both(site, planned, requests, state, run(site.tap(catalog=catalog, state=state, **_SETTINGS)))


@_TOGETHER
@pytest.mark.parametrize("stream", _EXPECTED)
def test_a_plan_says_what_would_be_done_and_why(both: _Both, stream: str) -> None:
    action, mode, reason = _EXPECTED[stream]
    plan = both.plan[stream]

    assert (plan["action"], plan["mode"]) == (action, mode)
    assert reason in plan["reason"]


@_TOGETHER
@pytest.mark.parametrize("stream", _EXPECTED)
def test_the_run_does_what_the_plan_says(both: _Both, stream: str) -> None:
    """Rows, Singer version and bookmark are those of what was planned."""
    plan, records = both.plan[stream], both.done.records(stream)
    before = both.state["bookmarks"].get(stream, {})
    after = both.done.state["bookmarks"].get(stream, {})

    if plan["action"] != "read":
        assert (records, after) == ([], before)
    elif stream == "lost__visits":
        assert "; all if the read session is gone" in plan["what"]
        assert len(records) == _ROWS
    elif plan["mode"] == "resumed":
        assert (len(records), plan["rows"]) == (_ROWS - 300, _ROWS - 300)
        assert after["table_version"] == before["reading"]["table_version"]
    elif plan["mode"] == "incremental":
        assert plan["what"] == f"the rows whose 'id' is {_ROWS - 1} or higher, or missing"
        assert len(records) == _MORE - _ROWS + 1 <= plan["rows"]
        assert (plan["rows_are"], after["table_version"]) == ("at most", before["table_version"])
    elif plan["mode"] == "changes":
        assert plan["what"] == "what changed since the last load"
        assert len(records) == _MORE + 100 - _ROWS + 100 <= plan["rows"]
        assert (plan["rows_are"], after["table_version"]) == ("at most", before["table_version"])
    else:
        assert plan["what"] == "all rows"
        assert plan["rows"] in {len(records), None}
        assert after["table_version"] > before.get("table_version", 0)
        assert after["version_tag" if "version_tag" in after else "rows"] in {plan["version"], after["rows"]}
    assert (stream in both.done.stderr and "ERROR" in both.done.stderr) or plan["action"] != "stop"


@_TOGETHER
def test_every_situation_is_planned(both: _Both) -> None:
    assert both.plan.keys() == _EXPECTED.keys()
    assert (both.planned.exit_code, both.done.exit_code) == (0, 1)


@_TOGETHER
def test_a_plan_asks_for_no_row_and_runs_no_query(both: _Both) -> None:
    """Two requests a container, and the variables of tables that would be read anew or compared: nothing else."""
    kinds = [request.rpartition("/")[2] for request in both.requests]

    assert not [request for request in both.requests if not request.startswith("GET ")]
    assert not [request for request in both.requests if "readStreams" in request or "queries" in request]
    asked = {name for name, plan in both.plan.items() if plan["mode"] in {"full", "incremental", "changes"}}
    earlier = {"logged__logged"}  # of the version that was loaded; that of the other cannot be read
    assert kinds.count("variables") == len((asked - {"counted"}) | {"drifted__visits"}) + len(earlier)


@_TOGETHER
def test_a_plan_is_no_singer_message(both: _Both) -> None:
    """One JSON object, whose sums are those of its streams; the state of what is planned stays as it was."""
    plan = json.loads(both.planned.stdout)
    streams = plan["streams"]

    assert plan.keys() == {"made_at", "total", "streams"}
    assert plan["total"]["rows"] == sum(stream["rows"] or 0 for stream in streams)
    assert plan["total"]["minutes"] == pytest.approx(sum(stream["minutes"] or 0 for stream in streams))
    actions = [stream["action"] for stream in streams]
    assert {name: plan["total"][name] for name in ("read", "skip", "stop")} == {
        name: actions.count(name) for name in ("read", "skip", "stop")
    }
    assert plan["total"]["of_unknown_size"] == 1  # the query


@_TOGETHER
def test_versions_are_told(both: _Both) -> None:
    told = {name: (plan["version_before"], plan["version"]) for name, plan in both.plan.items()}

    assert told["newer__visits"] == ("v1.0", "v1.1")
    assert told["first__visits"] == (None, "v1.0")
    assert told["draft__visits"][1] == "next"
    assert told["study__result"] == (None, None)
    assert both.plan["draft__visits"]["rows_are"] == "unverified"


def test_a_plan_for_people_is_a_table(site: Site) -> None:
    done = run(site.tap("--plan"))

    lines = done.stdout.decode().splitlines()
    [row] = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if "visits__visits" in line]
    assert row[:4] == ["visits__visits", "all rows", "first load", "2,000"]
    assert row[-1] == "readable"
    assert any(line.startswith("1 to read (2,000 rows, ") for line in lines)
    assert "takes; --rate gives another figure" in done.stdout.decode()
    assert not site.asked("data")
    assert done.exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "measured", "rate", "minutes"),
    [
        ((), None, {"amount": 5000.0, "unit": "rows", "origin": "assumed"}, 0.01),
        ((), 50, {"amount": 50, "unit": "rows", "origin": "measured"}, 0.67),
        (("--rate", "10"), 50, {"amount": 10.0, "unit": "rows", "origin": "given"}, 3.33),
        (("--rate=0.001MB",), None, {"amount": 0.001, "unit": "MB", "origin": "given"}, None),
    ],
)
def test_minutes_go_by_a_rate(
    site: Site, arguments: tuple[str, ...], measured: int | None, rate: Json, minutes: float | None
) -> None:
    """Given, else measured in the last load, else assumed; the plan says which."""
    before = {"completed_at": "2026-01-01T00:00:00Z", "version_tag": "v0.9", "rows_per_second": measured}

    plan = _plan(site, *arguments, state={"bookmarks": {"visits__visits": before}})

    assert plan["rate"] == rate
    assert plan["minutes"] == pytest.approx(minutes or plan["bytes"] / 1e6 / 0.001 / 60, abs=0.006)


def test_a_load_is_measured_if_it_takes_long_enough(site: Site) -> None:
    """Half a second is too short to tell."""
    site.emulator.faults.add(Fault(kind="slow", path="/readStreams/*.0", length=25, seconds=0.05))

    done = site.sync()

    assert 100 < done.state["bookmarks"]["visits__visits"]["rows_per_second"] < 2000 / 1.2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--rate=12.5MB",), "Minutes go by 12.5 MB a second, as --rate says."),
        ((), "Minutes go by the rows a second of each table's last load, as STATE has them."),
    ],
)
def test_people_are_told_what_the_minutes_go_by(site: Site, arguments: tuple[str, ...], words: str) -> None:
    before = {"completed_at": "2026-01-01T00:00:00Z", "version_tag": "v0.9", "rows_per_second": 50}

    done = run(site.tap("--plan", *arguments, state={"bookmarks": {"visits__visits": before}}))

    assert words in done.stdout.decode()


def test_a_dataset_that_is_refused_fails_the_plan(site: Site) -> None:
    """Nothing is known of the table then, not even whether it could be read."""
    catalog: Json = {"streams": list(site.discover().values())}
    site.emulator.faults.add(Fault(kind="status", status=403, path="/datasets/demo.visits*", nth="every"))

    done = run(site.tap("--plan=json", catalog=catalog))

    plan = _streams(done)["visits__visits"]
    assert (done.exit_code, plan["action"], plan["access"]) == (1, "stop", "not known")


@pytest.mark.parametrize("rate", ["fast", "0", "-3", "12GB", "nan", "1e3"])
def test_a_rate_that_is_none_is_refused(site: Site, rate: str) -> None:
    done = run(site.tap("--plan", f"--rate={rate}"))

    assert (done.exit_code, done.stdout) == (1, b"")
    assert f"--rate: '{rate}' is no rate. Write rows a second, as 20000, or 12MB." in done.stderr


def test_a_rate_without_a_plan_is_refused(site: Site) -> None:
    done = run(site.tap("--rate=100"))

    assert (done.exit_code, done.stdout) == (1, b"")
    assert "--rate requires --plan" in done.stderr


@pytest.mark.parametrize("settings", [{"datasets": ["demo.nothing"]}, {"tables": ["demo.visits.nothing"]}])
def test_what_is_not_there_is_said_in_one_line(site: Site, settings: Json) -> None:
    done = run(site.tap("--plan=json", **settings))

    assert (done.exit_code, done.stdout) == (1, b"")
    [error] = [line for line in done.stderr.splitlines() if "ERROR" in line]
    assert "nothing" in error


def test_what_a_catalog_names_and_is_not_there_fails_the_plan(site: Site) -> None:
    """The other tables are planned all the same, and what is missing is told."""
    site.release("demo/visits/v1.0/doctors", visits(20))
    catalog: Json = {"streams": list(deepcopy(site.discover()).values())}
    (site.folder / "demo/visits/v1.0/doctors.parquet").unlink()
    site.emulator.reload()

    done = run(site.tap("--plan=json", catalog=catalog))

    plan = _streams(done)
    assert done.exit_code == 1
    assert [(plan[name]["action"], plan[name]["access"]) for name in ("visits__doctors", "visits__visits")] == [
        ("stop", "not known"),
        ("read", "readable"),
    ]
    assert "has no table 'doctors'" in done.stderr


def test_queries_without_a_catalog_are_not_run(site: Site) -> None:
    """Neither for the plan nor for their columns."""
    query = {"name": "counted", "sql": "SELECT COUNT(*) AS visits FROM `demo.visits.visits`"}

    done = run(site.tap("--plan=json", datasets=["demo.visits"], queries=[query]))

    assert _streams(done)["counted"]["what"] == "its result"
    assert not site.asked("/queries")


def test_tables_that_cannot_be_read_are_told_of(site: Site) -> None:
    """Without a catalog they are not selected, so that a run leaves them out."""
    write_table(site.folder, "demo/secret/v1.0/visits", visits(20))
    write_note(site.folder, "demo/secret/dataset.yml", {"access_level": "metadata"})
    site.emulator.reload()
    settings = {"datasets": ["demo.visits", "demo.secret"]}

    plan = _streams(run(site.tap("--plan=json", **settings)))["secret__visits"]

    assert (plan["action"], plan["rows"]) == ("skip", 0)
    assert "reading rows needs 'data'" in plan["access"]
    assert not site.sync(**settings).records("secret__visits")


def test_the_data_dictionary_is_planned(site: Site) -> None:
    """It is read first, skipped when nothing changed, and tells of loads that are still to come."""
    options: Json = {"include_dictionary": True, "table_options": {"visits": {"max_rows": 10}}}

    plans, done, state = [], [], None
    for settings in (options, options, {**options, "skip_unchanged": True, "max_rows": 5, "table_options": {}}):
        plans.append(_streams(run(site.tap("--plan=json", state=state, **settings))))
        done.append(site.sync(state=state, **settings))
        state = done[-1].state

    for plan, output in zip(plans, done, strict=True):
        for stream in (name for name in plan if name.startswith("redivis_")):
            kinds = {message["type"] for message in output.messages if message.get("stream") == stream}
            assert (plan[stream]["action"] == "read") == bool(kinds - {"SCHEMA"}), stream
    assert {plans[1][name]["action"] for name in plans[1]} == {"skip"}
    assert plans[2]["redivis_tables"]["reason"] == "it tells of the loads of this run"


def _serve(folder: Path) -> None:
    for name in (
        "same",
        "first",
        "newer",
        "renewed",
        "drifted",
        "secret",
        "unwanted",
        "cut",
        "stale",
        "lost",
        "pinned",
    ):
        write_table(folder, f"demo/{name}/v1.0/visits", visits(_ROWS))
    for name in ("keyed", "logged", "relogged"):
        write_table(folder, f"demo/{name}/v1.0/{name}", visits(_ROWS))
    write_table(folder, "demo/draft/v1.0/visits", visits(_ROWS))
    write_table(folder, "demo/draft/next/visits", visits(_ROWS))
    for name in ("study", "analysis"):
        write_note(folder, f"demo/{name}/workflow.yml", {"name": name})
        write_table(folder, f"demo/{name}/result", visits(_ROWS))


def _catalog(site: Site) -> Json:
    return {"streams": list(site.discover(**_SETTINGS).values())}


def _state_before(site: Site, catalog: Json) -> Json:
    """Load everything but three tables, of which each read stream breaks after 300 rows, and forget what never was."""
    interrupted = {"streams": [entry for entry in catalog["streams"] if _is_interrupted(entry)]}
    loaded = {"streams": [entry for entry in catalog["streams"] if not _is_interrupted(entry)]}
    site.emulator.faults.add(
        Fault(kind="close", path="/readStreams/*", per_path=True, at_row=300),
        Fault(kind="status", path="/readStreams/*", per_path=True, nth=2, times=None),
    )
    broken = run(site.tap(catalog=interrupted, max_retry_seconds=0.01, **_SETTINGS))
    site.emulator.faults.clear()
    state = site.sync(catalog=loaded, **_SETTINGS).state
    bookmarks = {**state["bookmarks"], **broken.state["bookmarks"]}
    del bookmarks["first__visits"]
    bookmarks["renewed__visits"]["selection"] = "another"
    bookmarks["stale__visits"]["reading"]["opened_at"] = "2026-01-01T00:00:00Z"
    return {"bookmarks": bookmarks}


def _is_interrupted(entry: Json) -> bool:
    return entry["tap_stream_id"] in {"cut__visits", "stale__visits", "lost__visits"}


def _change(site: Site) -> None:
    """Release versions, take access away, and let a workflow's table change."""
    for name, table in _RELEASED.items():
        write_table(site.folder, f"demo/{name}/v1.1/{table}", visits(_MORE, first=100 if table == "logged" else 0))
    write_note(site.folder, "demo/relogged/dataset.yml", {"versions": {"v1.0": {"is_deleted": True}}})
    write_table(site.folder, "demo/drifted/v1.1/visits", visits(_ROWS).drop_columns(["cost"]))
    write_note(site.folder, "demo/secret/dataset.yml", {"access_level": "metadata"})
    write_table(site.folder, "demo/analysis/result", visits(_MORE))
    site.emulator.reload()


def _lose_session(site: Site, bookmark: Json) -> None:
    session = bookmark["reading"]["session"]
    site.emulator.faults.add(Fault(kind="expire", path=f"/readStreams/{session}*"))


def _plan(site: Site, *arguments: str, **settings: Any) -> Json:
    return _streams(run(site.tap("--plan=json", *arguments, **settings)))["visits__visits"]


def _streams(done: Output) -> dict[str, Json]:
    return {stream["stream"]: stream for stream in json.loads(done.stdout)["streams"]}
