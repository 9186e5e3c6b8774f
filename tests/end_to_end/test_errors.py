"""Whatever a user gets wrong: one line on stderr that says what, where and what to do; exit 1, no traceback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest

from redivis_emulator import Emulator, Fault
from redivis_emulator.access import Token
from tests.end_to_end.conftest import UNLIMITED, VISITS
from tests.support.pipes import Json, Output, Program, run
from tests.support.served import Site, assert_same_rows, records_of, write_note, write_table

_LIMITED = "metadata-scope-token"
_UNKNOWN = "someone-elses-token"


@dataclass(frozen=True)
class Mistake:
    """Something wrong, and what its error must say.

    Attributes:
        what: What went wrong.
        where: Where.
        todo: What to do about it.
        settings: The tap's settings.
        token: The token, if it is not the right one.
        files: Options of the command line with the text of their files.
    """

    what: str
    where: str
    todo: str
    settings: Json = field(default_factory=dict)
    token: str | None = "emulator-token"  # noqa: S105 - the emulator's
    files: dict[str, str] = field(default_factory=dict)


def _datasets(*references: str) -> Json:
    return {"datasets": list(references)}


def _options(**options: Any) -> Json:
    return {"table_options": {"visits": options}}


_CATALOG_OF_NO_TABLE = json.dumps({"streams": [{"tap_stream_id": "visits__nothing", "schema": {}, "metadata": []}]})


_NOTHING_SELECTED = json.dumps(
    {
        "streams": [
            {
                "tap_stream_id": "visits__visits",
                "table_name": "demo.visits.visits",
                "schema": {"properties": {"id": {"type": ["integer", "null"]}}},
                "metadata": [
                    {"breadcrumb": [], "metadata": {"selected": True}},
                    {"breadcrumb": ["properties", "id"], "metadata": {"selected": False}},
                ],
            }
        ]
    }
)


def _mapped(stream_map: Json) -> Json:
    return {"datasets": ["demo.visits"], "stream_maps": {"visits__visits": stream_map}}


_MISTAKES = {
    "an expression that is none": Mistake(
        "1 +", "stream_maps, stream visits__visits", "Correct", _mapped({"new": "1 +"})
    ),
    "a key that is no property": Mistake(
        "'nope'", "stream_maps, stream visits__visits", "Correct", _mapped({"__key_properties__": ["nope"]})
    ),
    "a text where a map should be": Mistake("another type", "config", "--about", _mapped({"__else__": "what"})),
    "an expression that fails on a record": Mistake(
        "nothing", "stream_maps, stream visits__visits", "Correct", _mapped({"new": "nothing + 1"})
    ),
    "misspelt dataset": Mistake("'visits'?", "demo.visit", "Check", _datasets("demo.visit")),
    "misspelt table": Mistake("'visits'?", "demo.visits", "--discover", {"tables": ["demo.visits.visit"]}),
    "misspelt variable": Mistake("'cost'?", "table_options", "Check", _options(variables=["costs"])),
    "misspelt option of a table": Mistake("'variables'?", "table_options.visits", "--about", _options(variable=["id"])),
    "misspelt format": Mistake("'jsonl'?", "wire_format", "--about", {"wire_format": "json"}),
    "misspelt encoding": Mistake(
        "'parquet'?", "batch_config.encoding.format", "--about", {"batch_config": {"encoding": {"format": "parket"}}}
    ),
    "misspelt column of a query": Mistake(
        "'id'?",
        "queries, ids",
        "Name",
        {"queries": [{"name": "ids", "sql": "SELECT id FROM demo.visits.visits", "key_properties": ["idd"]}]},
    ),
    "address of a page": Mistake("malformed", "datasets", "demo.visits.", _datasets("https://redivis.com/demo/visits")),
    "address without its scheme": Mistake(
        "malformed", "datasets", "demo.visits.", _datasets("redivis.com/demo/visits")
    ),
    "slash for a dot": Mistake("malformed", "datasets", "Write demo.visits.", _datasets("demo/visits")),
    "slashes of a table": Mistake("malformed", "tables", "demo.visits.visits.", {"tables": ["demo/visits/visits"]}),
    "text for a list": Mistake('write ["demo.visits"]', "datasets", "--about", {"datasets": "demo.visits"}),
    "text for a number": Mistake("'4' is not of type integer.", "max_streams", "--about", {"max_streams": "4"}),
    "fake without its package": Mistake(
        "not installed", "stream_maps", "tap-redivis[faker]", _mapped({"n": "fake.name()"})
    ),
    "unknown dataset": Mistake("no such dataset", "demo.nothing", "Check", _datasets("demo.nothing")),
    "unknown owner": Mistake("could not be found", "nobody", "Check the reference", _datasets("nobody.*")),
    "unknown table": Mistake(
        "no table 'nothing'", "demo.visits.nothing", "--discover", {"tables": ["demo.visits.nothing"]}
    ),
    "unknown workflow": Mistake(
        "could not be found", "/workflows/demo.nothing", "Check", {"workflows": ["demo.nothing"]}
    ),
    "unknown version": Mistake(
        "no version v9_0", "demo.visits:v9_0", "Check the version", _datasets("demo.visits:v9_0")
    ),
    "glob without a match": Mistake("matches 'x*'", "datasets", "Check the pattern", _datasets("demo.x*")),
    "wrong token": Mistake("HTTP 401", "/datasets/demo.visits", "api_token", token=_UNKNOWN),
    "no token": Mistake("HTTP 401", "/datasets/demo.visits", "REDIVIS_API_TOKEN", token=None),
    "missing scope": Mistake("HTTP 403", "readSessions", "scope data.data", token=_LIMITED),
    "empty config": Mistake("nothing to read", "config", "datasets", {"datasets": []}),
    "malformed dataset": Mistake("'demo' is malformed", "datasets", "owner.dataset", _datasets("demo")),
    "malformed table": Mistake("'demo.visits' is malformed", "tables", "owner.", {"tables": ["demo.visits"]}),
    "malformed version": Mistake("'latest'", "datasets", "v1_0", _datasets("demo.visits:latest")),
    "unreachable endpoint": Mistake(
        "connection refused",
        "/datasets/demo.visits",
        "Check api_endpoint (http://127.0.0.1:9",
        {"api_endpoint": "http://127.0.0.1:9/api/v1", "max_retry_seconds": 0.2},
    ),
    "endpoint that is no address": Mistake("'redivis'", "api_endpoint", "https://", {"api_endpoint": "redivis"}),
    "setting of a wrong type": Mistake("'many'", "max_streams", "--about", {"max_streams": "many"}),
    "setting beyond its limits": Mistake("99", "max_streams", "--about", {"max_streams": 99}),
    "unknown variable": Mistake("no variable idx", "table_options", "Check the names", _options(variables=["idx"])),
    "unknown key": Mistake("no variable idx", "table_options", "Check the names", _options(key_properties=["idx"])),
    "unknown option of a table": Mistake("'keys'", "table_options", "--about", _options(keys=["id"])),
    "root that is no name": Mistake(
        "a null character",
        "batch_config.storage.root",
        "Name",
        {"batch_config": {"encoding": {"format": "arrow"}, "storage": {"root": "/tmp/\0"}}},  # noqa: S108 - no path
    ),
    "unknown placeholder": Mistake("{tabel}", "stream_name_format", "{table}", {"stream_name_format": "{tabel}"}),
    "config that is not JSON": Mistake("cannot be read", "--config", "Fix", files={"--config": '{"datasets": '}),
    "config that is a list": Mistake("cannot be read", "--config", "Fix", files={"--config": '["demo.visits"]'}),
    "state that is not JSON": Mistake("not JSON", "--state", "Fix", files={"--state": '{"bookmarks": '}),
    "state that is a list": Mistake("not a JSON object", "--state", "Fix", files={"--state": "[]"}),
    "state without an object": Mistake("not an object", "--state", "Fix", files={"--state": '{"bookmarks": []}'}),
    "Meltano's state without an object": Mistake(
        "not an object", "--state", "Fix", files={"--state": '{"singer_state": []}'}
    ),
    "catalog that is not JSON": Mistake("not JSON", "--catalog", "Fix", files={"--catalog": "<html>"}),
    "catalog that is none": Mistake("no Singer catalog", "--catalog", "Fix", files={"--catalog": '{"streams": [1]}'}),
    "catalog without streams": Mistake("no Singer catalog", "--catalog", "Fix", files={"--catalog": "{}"}),
    "catalog without names": Mistake(
        "no tap_stream_id",
        "--catalog",
        "Fix",
        files={"--catalog": '{"streams": [{"tap_stream_id": null, "schema": {}}]}'},
    ),
    "catalog with a type that is none": Mistake(
        "no JSON Schema",
        "--catalog",
        "Fix",
        files={"--catalog": '{"streams": [{"tap_stream_id": "a", "schema": {"properties": {"b": {"type": false}}}}]}'},
    ),
    "no upload that matches": Mistake(
        "no upload that is ready matches",
        "demo.visits:next.visits.nothing*",
        "read the table",
        {"uploads": ["demo.visits:next.visits.nothing*"]},
    ),
    "no variable selected": Mistake(
        "no variable is selected", "visits__visits", "Select", files={"--catalog": _NOTHING_SELECTED}
    ),
    "catalog of no table": Mistake(
        "no table and no query of the settings",
        "visits__nothing",
        "Discover",
        files={"--catalog": _CATALOG_OF_NO_TABLE},
    ),
}


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """A Redivis with one table and an upload of its draft, a token for everything and one without the scope data."""
    folder = tmp_path_factory.mktemp("served")
    write_table(folder, "demo/visits/v1.0/visits", VISITS.slice(0, 10))
    write_table(folder, "demo/visits/next/visits/march", VISITS.slice(0, 5))
    tokens = {_LIMITED: Token(scopes=("data.metadata",))}
    with Emulator(folder, rate_limit=UNLIMITED, tokens=tokens) as emulator:
        yield emulator


@pytest.mark.parametrize("mistake", _MISTAKES.values(), ids=_MISTAKES)
def test_every_mistake_has_one_clear_line(emulator: Emulator, tmp_path: Path, mistake: Mistake) -> None:
    """The one ERROR line says what went wrong, where, and what to do about it."""
    done = run(_program(emulator, tmp_path, mistake))

    error = _only_error(done)
    assert mistake.what in error
    assert mistake.where in error
    assert mistake.todo in error
    assert not [stops for stops in (".).", "..") if stops in error]


@pytest.mark.parametrize("name", ["unknown dataset", "missing scope", "malformed dataset", "state that is not JSON"])
def test_debug_messages_show_the_traceback(emulator: Emulator, tmp_path: Path, name: str) -> None:
    """Whoever asks for it sees where in the code it happened."""
    program = _program(emulator, tmp_path, _MISTAKES[name])

    done = run(replace(program, variables={**program.variables, "TAP_REDIVIS_LOG_LEVEL": "debug"}))

    assert "Traceback (most recent call last)" in done.stderr
    assert done.exit_code == 1


@pytest.mark.parametrize("file", ["--config", "--state", "--catalog"])
def test_a_file_that_is_not_there_is_a_clear_error(site: Site, file: str) -> None:
    """The command line says which file it missed."""
    program = site.tap()

    done = run(replace(program, argv=(*program.argv, file, str(site.files / "nothing.json"))))

    assert done.exit_code == (1 if file == "--config" else 2)  # 2: the command line's own word for a wrong call
    assert "nothing.json" in done.stderr
    assert "Check the path" in done.stderr
    assert ("in a first run leave --state out" in done.stderr) == (file == "--state")
    assert not [part for part in ("Traceback", ".)", "..") if part in done.stderr]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--test=foo"], "'foo' is not one of 'all', 'schema'"),
        (["--discover=tabel"], "'tabel' is not one of 'json', 'table'"),
        (["--discover", "--plan"], "--discover and --plan are different runs"),
        (["--plan", "--test"], "--plan and --test are different runs"),
    ],
)
def test_what_the_command_line_cannot_mean_is_refused(site: Site, options: list[str], words: str) -> None:
    """With the exit code of a wrong call, and without a request."""
    done = run(site.tap(*options))

    assert done.exit_code == 2
    assert words in done.stderr
    assert not done.stdout
    assert not site.emulator.requests


def test_a_misspelt_setting_is_warned_of_with_the_right_name(site: Site) -> None:
    done = run(site.tap(max_stream=8))

    assert done.exit_code == 0
    assert "there is no setting 'max_stream' (did you mean 'max_streams'?); it has no effect" in done.stderr


def test_variables_that_are_set_in_vain_are_noticed(site: Site) -> None:
    """Without --config=ENV; not where the config has the setting too, as Meltano gives it twice, and not with it."""
    program = site.tap(max_streams=2)
    found = {"TAP_REDIVIS_MAX_ROWS": "3", "TAP_REDIVIS_MAX_STREAMS": "2", "TAP_REDIVIS_LINEAGE": ""}
    program = replace(program, variables={**program.variables, **found})

    without = run(program)
    read = run(replace(program, argv=(*program.argv, "--config=ENV")))

    assert "environment: TAP_REDIVIS_MAX_ROWS has no effect without --config=ENV" in without.stderr
    assert "no effect" not in read.stderr
    assert len(read.records("visits__visits")) == 3


@pytest.mark.parametrize(
    ("variable", "stored", "bad"),
    [
        ("integer", ["1", "2", "three", "4"], '"three"'),
        ("float", ["1.5", "x", "2.5", "3"], '"x"'),
        ("boolean", ["true", "maybe", "false", "1"], '"maybe"'),
        ("date", ["2012-01-01", "2012-02-30", "2012-03-01", "2012-03-02"], '"2012-02-30"'),
        ("dateTime", ["2012-01-01 24:00:00", "2012-02-03 00:00:00", None, None], '"2012-01-01 24:00:00"'),
        ("time", ["12:30:00", "25:00:00", "00:00:00", "1:2:3"], '"25:00:00"'),
    ],
)
def test_an_invalid_value_is_named_with_its_place(site: Site, variable: str, stored: list[str], bad: str) -> None:
    """Table, variable, row of the read stream and the value; the rows before it are out, and nothing after it."""
    note = {"tables": {"visits": {"variables": {"value": {"type": variable, "stored": "string"}}}}}
    write_note(site.folder, "demo/visits/dataset.yml", note)
    site.release("demo/visits/v1.0/visits", pa.table({"value": stored}))

    done = run(site.tap(max_streams=1))

    error = _only_error(done)
    assert "demo.visits:" in error
    assert "variable 'value', row " in error
    assert f"{bad} is no {variable}" in error
    assert "on_invalid_value" in error
    assert "ACTIVATE_VERSION" not in {message["type"] for message in done.messages}
    assert "completed_at" not in done.state["bookmarks"]["visits__visits"]


def test_an_invalid_value_among_good_rows_stops_at_its_row(site: Site) -> None:
    """The rows that went out are counted in STATE, so that a corrected server could be gone on with."""
    variables = {"id": {"type": "integer", "stored": "string"}}
    note = {"tables": {"visits": {"num_bytes": 10**6, "variables": variables}}}  # not small, so it is resumed
    write_note(site.folder, "demo/visits/dataset.yml", note)
    ids = [str(number) for number in range(1000)]
    ids[500] = "five hundred"
    site.release("demo/visits/v1.0/visits", pa.table({"id": ids}))

    done = run(site.tap(max_streams=1))

    assert '"five hundred" is no integer' in _only_error(done)
    streams = done.state["bookmarks"]["visits__visits"]["reading"]["streams"]
    assert sum(stream["offset"] for stream in streams.values()) == len(done.records("visits__visits"))
    assert 500 not in {record["id"] for record in done.records("visits__visits")}


def _program(emulator: Emulator, folder: Path, mistake: Mistake) -> Program:
    program = Site(emulator, folder, folder, mistake.token).tap(**mistake.settings)
    for option, text in mistake.files.items():
        path = folder / f"wrong{option}.json"
        path.write_text(text)
        others = program.argv if option != "--config" else program.argv[:1]
        program = replace(program, argv=(*others, option, str(path)))
    return program


def _errors(done: Output) -> list[str]:
    return [line for line in done.stderr.splitlines() if "| ERROR" in line]


def _only_error(done: Output) -> str:
    """Return the one ERROR line, of a run that failed without a traceback."""
    assert done.exit_code == 1
    assert "Traceback" not in done.stderr
    [error] = _errors(done)
    assert "please report it" not in error
    return error


_FEW = VISITS.slice(0, 10)
_BAD = "re:^/datasets/demo.bad[^/]*$"
_TABLES = "re:^/datasets/demo.bad.*/tables$"
_BROKEN: dict[str, Fault] = {
    "no such dataset": Fault(kind="status", path=_BAD, status=404),
    "an error for ever": Fault(kind="status", path=_BAD, status=500),
    "no answer": Fault(kind="close", path=_BAD),
    "a page": Fault(kind="status", path=_BAD, status=200, body="html"),
    "a list": Fault(kind="status", path=_BAD, status=200, body="text", message="[]"),
    "no version": Fault(kind="json", path=_BAD, set={"version": 1}),
    "no tables": Fault(kind="status", path=_TABLES, status=404),
    "tables: an error for ever": Fault(kind="status", path=_TABLES, status=503),
    "tables: a page": Fault(kind="status", path=_TABLES, status=200, body="html"),
    "tables without a name": Fault(kind="json", path=_TABLES, set={"results": [{"name": None}]}),
    "tables that are none": Fault(kind="json", path=_TABLES, set={"results": 7}),
    "tables for ever": Fault(kind="json", path=_TABLES, set={"nextPageToken": "again"}),
}


@pytest.mark.parametrize("by_catalog", [False, True])
@pytest.mark.parametrize("broken", _BROKEN)
def test_a_dataset_that_is_broken_does_not_stop_the_others(site: Site, broken: str, *, by_catalog: bool) -> None:
    """It is one line; the other is loaded, STATE is the last message, and the broken one is not waited for twice."""
    for name in "bad", "good":
        write_table(site.folder, f"demo/{name}/v1.0/a", _FEW)
        write_table(site.folder, f"demo/{name}/v1.0/b", _FEW)
    site.emulator.reload()
    settings: Json = {"datasets": ["demo.bad", "demo.good"], "max_retry_seconds": 0.5}
    catalog = {"streams": list(site.discover(**settings).values())} if by_catalog else None
    site.emulator.faults.add(msgspec.structs.replace(_BROKEN[broken], nth="every"))
    site.emulator.forget_requests()

    done = run(site.tap(catalog=catalog, **settings))

    errors = [line.partition("| tap-redivis                    | ")[2] for line in _errors(done)]
    failed = ["bad__a", "bad__b"] if by_catalog else ["demo.bad"]
    assert done.exit_code == 1
    assert [line.split(": ")[0] for line in errors[:-1]] == failed
    assert errors[-1] == f"{len(failed)} of {2 + len(failed)} streams failed: {', '.join(failed)}"
    assert not [words for words in ("Traceback", "unexpected", "please report it") if words in done.stderr]
    for table in "ab":
        assert_same_rows(done.records(f"good__{table}"), records_of(_FEW))
    assert done.messages[-1]["type"] == "STATE"


@pytest.mark.parametrize("by_catalog", [False, True])
@pytest.mark.parametrize("count", [-1, 1.5, True, 2**63, "many", [1]], ids=str)
@pytest.mark.parametrize("name", ["numRows", "numBytes"])
def test_a_table_whose_counts_are_none_does_not_stop_the_others(
    site: Site, name: str, count: object, *, by_catalog: bool
) -> None:
    """Nothing could be proved by them."""
    write_table(site.folder, "demo/good/v1.0/t", _FEW)
    site.emulator.reload()
    settings: Json = {"datasets": ["demo.visits", "demo.good"]}
    catalog = {"streams": list(site.discover(**settings).values())} if by_catalog else None
    broken = {"name": "visits", name: count}
    site.emulator.faults.add(
        Fault(kind="json", path="re:^/datasets/demo.visits.*/tables$", set={"results": [broken]}, nth="every")
    )

    done = run(site.tap(catalog=catalog, **settings))

    assert f"the server says that {name} is {count!r}" in _errors(done)[0]
    assert_same_rows(done.records("good__t"), records_of(_FEW))
    assert (done.exit_code, done.messages[-1]["type"]) == (1, "STATE")
    assert "ACTIVATE_VERSION" not in {each["type"] for each in done.messages if each.get("stream") == "visits__visits"}


def test_where_nothing_at_all_is_found_the_first_error_is_the_only_one(site: Site) -> None:
    """As with a wrong token: a line for each dataset would say the same."""
    site.emulator.faults.add(Fault(kind="status", path="/datasets/*", status=401, nth="every"))

    assert "HTTP 401" in _only_error(run(site.tap(datasets=["demo.visits", "demo.other", "demo.third"])))


def test_a_query_that_fails_does_not_stop_the_others(site: Site) -> None:
    queries = [{"name": "wrong", "sql": "SELECT nothing FROM x"}, {"name": "right", "sql": "SELECT 1 AS one"}]

    done = run(site.tap(queries=queries, datasets=["demo.visits"]))

    assert done.exit_code == 1
    assert len(_errors(done)) == 2
    assert done.records("right") == [{"one": 1}]
    assert len(done.records("visits__visits")) == VISITS.num_rows


def test_a_table_whose_variables_cannot_be_read_does_not_stop_the_others(site: Site) -> None:
    """Without a catalog too: it fails, the other is loaded, and STATE is the last message."""
    write_table(site.folder, "demo/visits/v1.0/other", VISITS)
    site.emulator.reload()
    site.emulator.faults.add(
        Fault(kind="json", path=r"re:\.visits(:\w+)?/variables$", set={"results": [{"name": 5}]}, nth="every"),
    )

    done = run(site.tap())

    assert done.exit_code == 1
    assert "visits__visits: " in done.stderr
    assert "1 of 2 streams failed: visits__visits" in done.stderr
    assert len(done.records("visits__other")) == VISITS.num_rows
    assert done.messages[-1]["type"] == "STATE"
