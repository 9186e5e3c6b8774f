"""LOG_BASED: of a new version only what changed, found by a query over both versions."""

from __future__ import annotations

import datetime as dt
import math
import signal
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pytest

from redivis_emulator import Fault
from tests.end_to_end.conftest import VISITS
from tests.support.pipes import Json, Output, Stop, run, run_stopped
from tests.support.served import Site, assert_same_rows, records_of, visits, write_note, write_table

_STREAM = "visits__visits"
_BY_ID = {"visits": {"key_properties": ["id"], "replication_method": "LOG_BASED"}}
_GONE = "_sdc_deleted_at"


def test_a_first_load_reads_all_rows(site: Site) -> None:
    """Through the table's own read session, without a query; each record says that its row is there."""
    stream = site.discover(table_options=_BY_ID)[_STREAM]

    done = _sync(site)

    assert stream["replication_method"] == "LOG_BASED"
    assert stream["schema"]["properties"][_GONE]["format"] == "date-time"
    assert_same_rows(done.records(_STREAM), _there(VISITS))
    assert "ACTIVATE_VERSION" in {message["type"] for message in done.messages}
    assert not site.asked("/queries")


def test_an_unchanged_version_costs_no_query(site: Site) -> None:
    first = _sync(site)
    site.emulator.forget_requests()

    second = _sync(site, first.state)

    assert not site.asked("data", "/queries")
    assert second.state == first.state


@pytest.mark.parametrize(
    "settings",
    [{}, {"wire_format": "arrow"}, {"wire_format": "csv"}, {"stream_maps": {_STREAM: {}}}],
    ids=["jsonl", "arrow", "csv", "sdk"],
)
def test_of_a_new_version_only_what_changed_comes(site: Site, settings: Json) -> None:
    """Nothing is activated, and all records have the version of the rows before."""
    first = _sync(site, **settings)
    site.release("demo/visits/v1.1/visits", _LATER)

    second = _sync(site, first.state, **settings)

    records = second.records(_STREAM)
    gone = [record for record in records if record[_GONE]]
    assert_same_rows([record for record in records if not record[_GONE]], _there(_NEW_OR_CHANGED))
    assert [{**record, _GONE: None} for record in gone] == [
        {**dict.fromkeys(VISITS.column_names), "id": 7, _GONE: None}
    ]
    assert abs(dt.datetime.fromisoformat(gone[0][_GONE]) - _utc_now()) < dt.timedelta(minutes=5)
    assert "ACTIVATE_VERSION" not in {message["type"] for message in second.messages}
    assert {m["version"] for m in second.messages if m["type"] == "RECORD"} == {_bookmark(first)["table_version"]}
    assert (_bookmark(second)["version_tag"], _bookmark(second)["rows"]) == ("v1.1", _LATER.num_rows)
    assert "3 rows inserted, 2 changed, 1 deleted since v1.0" in second.stderr


def test_versions_in_between_leave_nothing_behind(site: Site) -> None:
    """Though a load of one of them was killed, and its rows are in the target, but not in the state that it kept."""
    first = _sync(site)
    between = _with(_with(visits(2100), "clinic", 11, "elsewhere"), "clinic", 20, "for a while")
    site.release("demo/visits/v1.1/visits", between)
    killed = _sync(site, first.state)
    site.release("demo/visits/v1.2/visits", visits(2001))
    site.release("demo/visits/v1.3/visits", _LATER)

    last = _sync(site, first.state)

    rows = {record["id"]: record for done in (first, killed, last) for record in done.records(_STREAM)}
    assert_same_rows([record for record in rows.values() if not record[_GONE]], _there(_LATER))
    assert len(last.records(_STREAM)) < 200
    assert "3 rows inserted, 2 changed, 1 deleted since v1.0" in last.stderr


def test_an_interrupted_load_of_another_kind_is_no_base(site: Site) -> None:
    """What it has left in the target is known only in parts: all rows are read."""
    first = _sync(site)
    site.release("demo/visits/v1.1/visits", _LATER)
    site.emulator.faults.add(Fault(kind="stall", path="/readStreams/*", nth="every", at_row=300))
    options = {"visits": {**_BY_ID["visits"], "variables": ["clinic"]}}
    stopped = run_stopped(
        site.tap(state=first.state, table_options=options), Stop(signal.SIGTERM, after_lines=1 + 4 * 300)
    )
    site.emulator.faults.clear()

    last = _sync(site, stopped.state)

    assert_same_rows([record for record in last.records(_STREAM) if not record[_GONE]], _there(_LATER))
    assert [record["id"] for record in last.records(_STREAM) if record[_GONE]] == [7]
    assert "ACTIVATE_VERSION" in {message["type"] for message in last.messages}


def test_values_are_compared_as_records_tell_them(site: Site) -> None:
    """NULL is like NULL and NaN like NaN; each other difference counts, that of 0.0 and -0.0 too, in each type."""
    write_note(
        site.folder, "demo/kinds/dataset.yml", {"tables": {"kinds": {"variables": {"geo": {"type": "geography"}}}}}
    )
    site.release("demo/kinds/v1.0/kinds", _kinds(0))
    settings: Json = {
        "tables": ["demo.kinds.kinds"],
        "table_options": {"*": {**_BY_ID["visits"], "key_properties": ["case"]}},
    }
    first = site.sync(**settings)
    site.release("demo/kinds/v1.1/kinds", _kinds(1))

    second = site.sync(state=first.state, **settings)

    expected = [record for record, old, new in zip(_there(_kinds(1)), *map(_raw, (0, 1)), strict=True) if old != new]
    assert len(expected) == len([case for case in _CASES if repr(case[1]) != repr(case[2])])
    assert_same_rows(second.records("kinds__kinds"), expected)


_CASES: list[tuple[str, Any, Any]] = [
    ("text", "a", "b"), ("text", "", None), ("text", None, None), ("text", "é", "e\u0301"), ("text", "a ", "a"),
    ("number", 2**63 - 1, 2**63 - 2), ("number", None, 0), ("number", -(2**63), -(2**63)),
    ("half", math.nan, math.nan), ("half", math.nan, None), ("half", 0.0, -0.0), ("half", -0.0, -0.0),
    ("half", math.inf, -math.inf), ("half", math.inf, math.inf), ("half", 0.1 + 0.2, 0.3), ("half", 5e-324, 0.0),
    ("half", None, None), ("half", 5e-324, 1e-323), ("half", None, 0.0),
    ("flag", True, False), ("flag", None, False), ("flag", None, None),
    ("day", dt.date(1, 1, 1), dt.date(1, 1, 2)), ("day", None, None), ("day", dt.date(9999, 12, 31), None),
    ("moment", dt.datetime(2012, 1, 1), dt.datetime(2012, 1, 1, 0, 0, 0, 1)), ("moment", None, None),  # noqa: DTZ001
    ("clock", dt.time(1), dt.time(1, 0, 0, 1)), ("clock", None, dt.time(0)), ("clock", None, None),
    ("geo", "POINT (1 2)", "POINT (1 3)"), ("geo", "POINT (1 2)", "POINT (1 2)"), ("geo", None, "POINT (1 2)"),
    ("geo", None, None),
]  # fmt: skip
_KINDS = {
    "text": pa.string(), "number": pa.int64(), "half": pa.float64(), "flag": pa.bool_(), "day": pa.date32(),
    "moment": pa.timestamp("us"), "clock": pa.time64("us"), "geo": pa.string(),
}  # fmt: skip


def _kinds(version: int) -> pa.Table:
    """Make a table of one row a case, with its value of one of the two versions in the column that it is about."""
    values = {kind: [case[1 + version] if case[0] == kind else None for case in _CASES] for kind in _KINDS}
    columns = {kind: pa.array(values[kind], _KINDS[kind]) for kind in _KINDS}
    return pa.table({"case": pa.array(range(len(_CASES)), pa.int64()), **columns})


def _raw(version: int) -> list[str]:
    return [repr(case[1 + version]) for case in _CASES]


@pytest.mark.parametrize(("tag", "same"), [("v1.1", 1), ("v2.0", 0)], ids=["changes", "all rows"])
def test_keys_may_be_of_any_type_and_names_of_any_letters(site: Site, tag: str, same: int) -> None:
    """Each type is a key in a table of its own, under a name that is no plain one; two keys together are one."""
    note = {"tables": {"key_geo": {"variables": {_NAME: {"type": "geography"}}}}}
    write_note(site.folder, "demo/keys/dataset.yml", note)
    options = {"*": {"replication_method": "LOG_BASED", "key_properties": [_NAME]}}
    options["key_flag"] = {"replication_method": "LOG_BASED", "key_properties": [_NAME, "new"]}
    settings: Json = {"datasets": ["demo.keys"], "table_options": options}
    _release_keyed(site, "v1.0", 0)
    first = site.sync(**settings)
    _release_keyed(site, tag, 1)

    second = site.sync(state=first.state, **settings)

    for name, values in _KEYS.items():
        table = _keyed(values, _KINDS[name], 1)
        records = second.records(f"keys__key_{name}")
        assert_same_rows([each for each in records if not each[_GONE]], _there(table.slice(same)))
        [gone] = [each for each in records if each[_GONE]]
        [key] = records_of(_keyed(values, _KINDS[name], 0).slice(0, 1))
        assert gone[_NAME] == key[_NAME]
        assert gone["redivis_change"] is None


_NAME = "a `b` \\ 'c' \" é"
_KEYS: dict[str, list[Any]] = {
    "text": ["it's", '\\ `x` "\n', "", "B"], "number": [2**63 - 1, -(2**63), 0, 1], "half": [1e300, -0.5, 0.0, 1e-300],
    "flag": [True, False, True, False], "day": [dt.date(1, 1, day) for day in range(1, 5)],
    "moment": [dt.datetime(2012, 1, 1, 0, 0, 0, micro) for micro in range(4)],  # noqa: DTZ001
    "clock": [dt.time(0, 0, 0, micro) for micro in range(4)], "geo": [f"POINT (1 {n})" for n in range(4)],
}  # fmt: skip


def _release_keyed(site: Site, tag: str, version: int) -> None:
    for name, values in _KEYS.items():
        write_table(site.folder, f"demo/keys/{tag}/key_{name}", _keyed(values, _KINDS[name], version))
    site.emulator.reload()


def _keyed(values: list[Any], kind: pa.DataType, version: int) -> pa.Table:
    """Make a table of which the first row is gone in the second version, the last new, and the one before changed."""
    kept = slice(1, None) if version else slice(0, 3)
    numbers = pa.array([0, 1, 2 + version, 3][kept], pa.int64())
    new = pa.array([0, 1, 2, 3][kept], pa.int64())
    return pa.table({_NAME: pa.array(values[kept], kind), "new": new, "redivis_change": numbers})


def test_where_versions_cannot_be_compared_all_rows_are_read(site: Site) -> None:
    """And the log says why; the old rows are replaced, as by any whole load."""
    for name in _WHOLE:
        write_table(site.folder, f"demo/{name}/v1.0/{name}", visits(20))
        if name == "draft":
            write_table(site.folder, f"demo/{name}/next/{name}", visits(20))
    site.emulator.reload()
    datasets = [f"demo.{name}:next" if name == "draft" else f"demo.{name}" for name in _WHOLE]
    options = {name: _set({**_BY_ID["visits"], **case.before}) for name, case in _WHOLE.items()}
    first = site.sync(datasets=datasets, table_options=options)
    unknown = first.state["bookmarks"]["unknown__unknown"]
    unknown.update({"table": unknown["table"].replace("v1_0", "v1_7"), "version_tag": "v1.7"})
    for name, case in _WHOLE.items():
        write_table(site.folder, f"demo/{name}/{case.version}/{name}", case.table)
        write_note(site.folder, f"demo/{name}/dataset.yml", case.note)
    site.emulator.reload()
    options = {name: {**_BY_ID["visits"], **case.after} for name, case in _WHOLE.items()}

    second = site.sync(datasets=datasets, table_options=options, state=first.state)

    activated = {message["stream"] for message in second.messages if message["type"] == "ACTIVATE_VERSION"}
    assert activated == {f"{name}__{name}" for name in _WHOLE}
    assert all("IN ('d', 'g')" in request.body for request in site.asked("/queries") if request.body)  # keys only
    for name, case in _WHOLE.items():
        lines = [line for line in second.stderr.splitlines() if f"demo.{name}:" in line or f" {name}__{name}: " in line]
        assert [line for line in lines if case.reason in line], (name, *lines)
        limit = case.after.get("max_rows", case.table.num_rows)
        assert len(second.records(f"{name}__{name}")) == limit


def _set(options: Json) -> Json:
    return {name: value for name, value in options.items() if value is not None}


@dataclass(frozen=True)
class _Whole:
    """A reason for reading all rows: what was set before, what is set and released then, and what the log says."""

    reason: str
    version: str = "v1.1"
    table: pa.Table = field(default_factory=lambda: visits(21))
    note: Json = field(default_factory=dict)
    before: Json = field(default_factory=dict)
    after: Json = field(default_factory=dict)


_WHOLE = {
    "major": _Whole("a new major version renames, removes or retypes variables", "v2.0"),
    "gone": _Whole("v1.0 cannot be read (", note={"versions": {"v1.0": {"is_deleted": True}}}),
    # An unknown version silently means the current one, which differs from itself in nothing.
    "unknown": _Whole("v1.7 cannot be read (there is no version v1_7; the server offers v1.9 instead)", "v1.9"),
    "many": _Whole("more than 8 versions lie between", "v1.10"),
    "recounted": _Whole(
        "v1.0 is not what was loaded",
        note={"versions": {"v1.0": {"tables": {"recounted": {"num_rows": 19}}}}},
    ),
    "added": _Whole(
        "the selected variables or the row limit changed", table=visits(21).append_column("more", [range(21)])
    ),
    "draft": _Whole("a draft is always read", "next"),
    "limited": _Whole("there is a row limit", before={"max_rows": 5}, after={"max_rows": 5}),
    "rekeyed": _Whole("the replication method or key changed", before={"key_properties": ["id", "clinic"]}),
    "keyless": _Whole(
        "the last load had other key properties, or they are not known",
        before={"key_properties": [], "replication_method": "FULL_TABLE"},
    ),
    "incremental": _Whole(
        "the replication method or key changed", before={"replication_key": "id", "replication_method": None}
    ),
}


@pytest.mark.parametrize(
    "settings", [{}, {"wire_format": "arrow"}, {"wire_format": "csv"}, {"stream_maps": {_STREAM: {}}}]
)
@pytest.mark.parametrize("version", ["v1.1", "v1.12", "v2.0"])
def test_vanished_keys_are_told_also_where_all_rows_are_read(site: Site, version: str, settings: Json) -> None:
    """A column is new, say: after the rows, under the version that ACTIVATE_VERSION drops."""
    first = _sync(site, **settings)
    later = _LATER.append_column("more", [range(_LATER.num_rows)])
    site.release(f"demo/visits/{version}/visits", later)

    second = _sync(site, first.state, **settings)

    *rows, gone = [message for message in second.messages if message["type"] == "RECORD"]
    assert_same_rows([message["record"] for message in rows], _there(later))
    assert gone["record"].pop(_GONE) is not None
    assert gone["record"] == {**dict.fromkeys(later.column_names), "id": 7}
    assert gone["version"] == _bookmark(first)["table_version"] < rows[-1]["version"]
    assert [message["type"] for message in second.messages[-3:]] == ["RECORD", "ACTIVATE_VERSION", "STATE"]
    assert (_bookmark(second)["rows"], "1 rows deleted since v1.0" in second.stderr) == (_LATER.num_rows, True)
    assert not _sync(site, second.state, **settings).records(_STREAM)


def test_keys_that_an_interrupted_load_has_left_are_told_too(site: Site) -> None:
    """Those of a version in between, of which the target holds some rows."""
    first = _sync(site)
    _sync_half(site, first.state, "v1.1", visits(2100).append_column("more", [range(2100)]))
    later = _LATER.append_column("most", [range(_LATER.num_rows)])
    site.release("demo/visits/v1.2/visits", later)

    last = _sync(site, first.state)  # the target was killed too, and did not keep the state

    gone = {record["id"] for record in last.records(_STREAM) if record[_GONE]}
    assert gone == {7, *range(2003, 2100)}


def test_an_interrupted_load_of_all_rows_tells_vanished_keys(site: Site) -> None:
    first = _sync(site)
    later = _LATER.append_column("more", [range(_LATER.num_rows)])
    stopped = _sync_half(site, first.state, "v1.1", later)

    last = _sync(site, stopped.state)

    records = [*stopped.records(_STREAM), *last.records(_STREAM)]
    assert_same_rows([record for record in records if not record[_GONE]], _there(later))
    assert [record["id"] for record in records if record[_GONE]] == [7]


def _sync_half(site: Site, state: Json, version: str, table: pa.Table) -> Output:
    """Release a version, and stop its load half-way."""
    site.release(f"demo/visits/{version}/visits", table)
    site.emulator.faults.add(Fault(kind="stall", path="/readStreams/*", nth="every", at_row=300))
    stop = Stop(signal.SIGTERM, after_lines=1 + 4 * 300)
    stopped = run_stopped(site.tap(state=state, table_options=_BY_ID), stop)
    site.emulator.faults.clear()
    return stopped


_REFUSED = Fault(kind="json", path="/queries", set={"status": "failed", "errorMessage": "Quota"})


@pytest.mark.parametrize(
    ("note", "faults", "reason"),
    [
        ({"versions": {"v1.0": {"is_deleted": True}}}, [], "v1.0 cannot be read ("),
        ({}, [_REFUSED], "the query failed: Quota"),
        ({}, [Fault(kind="status", status=403, path="/queries")], "HTTP 403"),
    ],
    ids=["gone", "refused", "forbidden"],
)
def test_deletions_that_are_unknown_are_warned_of(site: Site, note: Json, faults: list[Fault], reason: str) -> None:
    """The load itself is whole."""
    first = _sync(site)
    later = _LATER.append_column("more", [range(_LATER.num_rows)])
    write_note(site.folder, "demo/visits/dataset.yml", note)
    site.release("demo/visits/v1.1/visits", later)
    site.emulator.faults.add(*faults)

    second = _sync(site, first.state)

    assert_same_rows(second.records(_STREAM), _there(later))
    [warning] = [line for line in second.stderr.splitlines() if "WARNING" in line]
    assert f"which rows were deleted since v1.0 is not known ({reason}" in warning
    assert "empty its table and load without this bookmark" in warning


def test_vanished_keys_that_cannot_be_read_to_the_end_are_told_by_the_next_run(site: Site) -> None:
    """The version does not count as loaded before; its rows do not come again."""
    first = _sync(site)
    later = _LATER.append_column("more", [range(_LATER.num_rows)])
    site.release("demo/visits/v1.1/visits", later)
    site.emulator.faults.add(Fault(kind="status", status=503, path="/queries*", nth="every"))

    second = run(site.tap(state=first.state, table_options=_BY_ID, max_retry_seconds=0.2))
    site.emulator.faults.clear()
    third = _sync(site, second.state)

    assert (second.exit_code, "ACTIVATE_VERSION" in {each["type"] for each in second.messages}) == (1, False)
    assert [record["id"] for record in third.records(_STREAM)] == [7]


def test_a_variable_that_a_minor_version_retyped_is_not_compared(site: Site) -> None:
    """With the catalog of before, and `warn`: its values are cast, and all rows are read."""
    catalog = {"streams": list(site.discover(table_options=_BY_ID).values())}
    first = _sync(site, catalog=catalog)
    retyped = VISITS.set_column(2, "cost", pa.array(map(str, VISITS["id"].to_pylist()), pa.string()))
    site.release("demo/visits/v1.1/visits", retyped)

    second = _sync(site, first.state, catalog=catalog, on_schema_change="warn")

    assert "v1.0 cannot be compared with it (the variable 'cost' was float and is now string)" in second.stderr
    assert all("IN ('d', 'g')" in request.body for request in site.asked("/queries") if request.body)  # keys only
    assert [record["cost"] for record in second.records(_STREAM)] == [
        record["id"] for record in second.records(_STREAM)
    ]


def test_changes_follow_a_whole_load_of_another_method(site: Site) -> None:
    """What FULL_TABLE loaded with the same keys is a version to start from."""
    first = site.sync(table_options={"visits": {"key_properties": ["id"]}})
    site.release("demo/visits/v1.1/visits", _LATER)

    assert len(_sync(site, first.state).records(_STREAM)) == 6


def test_keys_that_identify_no_row_are_an_error(site: Site) -> None:
    """Comparing by them would give wrong rows."""
    good = visits(20).append_column("half", pa.array([n / 2 for n in range(20)]))
    twice = pa.concat_tables([good, good.slice(3, 1)])
    none, nan = _with(good, "half", 3, None), _with(good, "half", 3, math.nan)
    spoilt = {
        "earlier": (twice, visits(21).append_column("half", pa.array([n / 2 for n in range(21)]))),
        "later": (good, twice),
        "none": (good, none),
        "nan": (good, nan),
    }
    options = {"*": {"key_properties": ["half"], "replication_method": "LOG_BASED"}}
    settings: Json = {"datasets": [f"demo.{name}" for name in spoilt], "table_options": options}
    for name, (before, _) in spoilt.items():
        write_table(site.folder, f"demo/{name}/v1.0/{name}", before)
    site.emulator.reload()
    first = site.sync(**settings)
    for name, (_, after) in spoilt.items():
        write_table(site.folder, f"demo/{name}/v1.1/{name}", after)
    site.emulator.reload()

    second = run(site.tap(state=first.state, **settings))

    assert second.exit_code == 1
    assert second.state == first.state
    assert "RECORD" not in {message["type"] for message in second.messages}
    words = "1 values of the key (half) are null, or stand for more than one row. Name other key properties"
    for name in spoilt:
        assert [line for line in second.stderr.splitlines() if f" {name}__{name}: " in line and words in line], name


def test_a_version_counts_as_loaded_after_the_proof_only(site: Site) -> None:
    """Rows before, and inserted, less deleted, must be the rows now; else the next run compares once more."""
    first = _sync(site)
    site.release("demo/visits/v1.1/visits", _LATER)
    write_note(
        site.folder, "demo/visits/dataset.yml", {"versions": {"v1.1": {"tables": {"visits": {"num_rows": 2003}}}}}
    )
    site.emulator.reload()

    second = run(site.tap(state=first.state, table_options=_BY_ID))
    write_note(site.folder, "demo/visits/dataset.yml", {})
    site.emulator.reload()
    third = _sync(site, second.state)

    assert second.exit_code == 1
    assert "v1.0 had 2,000 rows, v1.1 has 2,003, and this does not fit: 3 rows inserted, 2 changed, 1" in second.stderr
    assert _bookmark(second) == _bookmark(first)
    assert len(third.records(_STREAM)) == 6


def test_a_result_with_a_row_too_few_is_not_complete(site: Site) -> None:
    first = _sync(site)
    site.release("demo/visits/v1.1/visits", _LATER)
    site.emulator.faults.add(
        Fault(kind="json", method="POST", path="/queries", add={"outputNumRows": 1}),
        Fault(kind="json", path="*/readSessions", add={"numRows": 1}),
    )

    second = run(site.tap(state=first.state, table_options=_BY_ID))

    assert (second.exit_code, _bookmark(second)) == (1, _bookmark(first))


@pytest.mark.parametrize("lost", [False, True], ids=["resumed", "lost"])
def test_an_interrupted_load_goes_on(site: Site, *, lost: bool) -> None:
    """In its session, or with all rows of the same result if that is gone; what was counted before counts."""
    first = _sync(site)
    table = pa.concat_tables([visits(1000, first=4000), _moved(visits(2000, first=1000))])
    site.release("demo/visits/v1.1/visits", table)
    site.emulator.faults.add(Fault(kind="stall", path="/readStreams/*", nth="every", at_row=300))
    stopped = run_stopped(
        site.tap(state=first.state, table_options=_BY_ID), Stop(signal.SIGTERM, after_lines=1 + 4 * 300)
    )
    site.emulator.faults.clear()
    site.emulator.forget_requests()
    if lost:
        site.emulator.faults.add(Fault(kind="expire", path="/readStreams/*"))

    last = _sync(site, stopped.state)

    assert not [
        request for request in site.asked("/queries") if request.method == "POST" and request.path == "/queries"
    ]
    records = last.records(_STREAM) if lost else [*stopped.records(_STREAM), *last.records(_STREAM)]
    assert sorted(record["id"] for record in records if record[_GONE]) == list(range(1000))
    assert_same_rows([record for record in records if not record[_GONE]], _there(table))
    assert len({record[_GONE] for record in records}) == 2
    assert "2,000 rows inserted, 1,000 changed, 1,000 deleted since v1.0" in last.stderr
    assert _bookmark(last)["table_version"] == _bookmark(first)["table_version"]


def _moved(table: pa.Table) -> pa.Table:
    return table.set_column(1, "clinic", pa.array(["moved"] * table.num_rows))


def test_a_refused_query_proposes_full_table(site: Site) -> None:
    first = _sync(site)
    site.release("demo/visits/v1.1/visits", _LATER)
    site.emulator.faults.add(Fault(kind="json", path="/queries", set={"status": "failed", "errorMessage": "Quota"}))

    second = run(site.tap(state=first.state, table_options=_BY_ID))

    assert second.exit_code == 1
    assert "Use replication method FULL_TABLE for it" in second.stderr
    assert _bookmark(second) == _bookmark(first)


def test_what_cannot_be_compared_is_said(site: Site) -> None:
    """Tables without key properties, or of a workflow, or with a variable of the name that is ours; queries."""
    write_table(site.folder, "demo/study/results", visits(5))
    write_note(site.folder, "demo/study/workflow.yml", {"name": "study"})
    write_table(
        site.folder, "demo/marked/v1.0/marked", visits(5).rename_columns([*VISITS.column_names[:5], "_SDC_deleted_at"])
    )
    site.emulator.reload()
    settings: Json = {
        "datasets": ["demo.visits", "demo.marked"],
        "workflows": ["demo.study"],
        "table_options": {
            "*": {"replication_method": "LOG_BASED"},
            "marked": _BY_ID["visits"],
            "results": _BY_ID["visits"],
        },
    }

    done = run(site.tap(**settings))

    assert done.exit_code == 1
    assert "stream visits__visits: LOG_BASED needs key properties" in done.stderr
    assert "stream study__results: LOG_BASED compares versions, and the tables of a workflow have none" in done.stderr
    assert "the table has a variable _sdc_deleted_at, which LOG_BASED needs for itself" in done.stderr
    assert not done.records("marked__marked")


def test_a_query_cannot_be_compared(site: Site) -> None:
    queries = [{"name": "all", "sql": "SELECT * FROM `demo.visits.visits`", "key_properties": ["id"]}]
    [stream] = site.discover(queries=queries).values()

    done = run(site.tap(catalog={"streams": [{**stream, "replication_method": "LOG_BASED"}]}, queries=queries))

    assert done.exit_code == 1
    assert "replication method LOG_BASED is not available" in done.stderr


def test_two_methods_are_one_too_many(site: Site) -> None:
    options = {"visits": {**_BY_ID["visits"], "replication_key": "id"}}

    assert (
        "there are both a replication_key and the replication_method LOG_BASED"
        in run(site.tap(table_options=options)).stderr
    )


@pytest.mark.parametrize("place", ["stream", "metadata"])
def test_the_catalog_says_the_method(site: Site, place: str) -> None:
    """One that was discovered for FULL_TABLE; the column that is added cannot be deselected."""
    stream = site.discover(table_options={"visits": {"key_properties": ["id"]}})[_STREAM]
    if place == "stream":
        stream["replication_method"] = "LOG_BASED"
    root = next(item["metadata"] for item in stream["metadata"] if not item["breadcrumb"])
    root["replication-method"] = "LOG_BASED"
    for item in stream["metadata"]:
        if item["breadcrumb"] in (["properties", "cost"], ["properties", _GONE]):
            item["metadata"]["selected"] = False
    catalog = {"streams": [stream]}
    first = site.sync(catalog=catalog)
    site.release("demo/visits/v1.1/visits", _LATER)

    second = site.sync(catalog=catalog, state=first.state)

    [schema] = [message for message in second.messages if message["type"] == "SCHEMA"]
    assert schema["schema"]["properties"][_GONE]["type"] == ["string", "null"]
    assert "cost" not in schema["schema"]["properties"]
    # Row 13 differs in nothing but its cost.
    there = [record for record in second.records(_STREAM) if not record[_GONE]]
    changed = pa.concat_tables([_LATER.slice(10, 1), _LATER.slice(1999)]).drop_columns(["cost"])
    assert_same_rows(there, _there(changed))


def _with(table: pa.Table, column: str, row: int, value: Any) -> pa.Table:
    """Replace one value."""
    values = table[column].to_pylist()
    values[row] = value
    place = table.column_names.index(column)
    return table.set_column(place, column, pa.array(values, table[column].type))


def _without(table: pa.Table, row: int) -> pa.Table:
    return pa.concat_tables([table.slice(0, row), table.slice(row + 1)])


_LATER = _without(_with(_with(visits(2003), "clinic", 11, "moved"), "cost", 13, None), 7)
_NEW_OR_CHANGED = pa.concat_tables([_LATER.slice(10, 1), _LATER.slice(12, 1), _LATER.slice(1999)])


def _there(table: pa.Table) -> list[Json]:
    return [{**record, _GONE: None} for record in records_of(table)]


def _utc_now() -> dt.datetime:
    return dt.datetime.now(dt.timezone.utc).replace(tzinfo=None)


def _sync(site: Site, state: Json | None = None, **settings: Any) -> Output:
    return site.sync(**{"table_options": _BY_ID, "state": state, **settings})


def _bookmark(done: Output) -> Json:
    bookmark: Json = done.state["bookmarks"][_STREAM]
    return bookmark
