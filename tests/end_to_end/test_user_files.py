"""Config, state and catalog as users and other programs leave them: encodings, wrappers, files of something else."""

from __future__ import annotations

import json
import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import VISITS
from tests.support.measuring import measured
from tests.support.pipes import Json, run
from tests.support.served import Site, assert_same_rows, records_of

_STREAM = "visits__visits"
_OF_ANOTHER_TAP: list[Json] = [
    {"bookmarks": {"users": {"replication_key": "updated_at", "replication_key_value": "2026-01-01"}}},
    {"currently_syncing": "users"},
    {"streams": [{"tap_stream_id": "users"}]},
]


@pytest.mark.parametrize("locale", ["C", "en_US.ISO-8859-1", "C.UTF-8"])
@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "with a byte order mark"])
def test_files_are_utf_8_whatever_the_locale(site: Site, locale: str, mark: str) -> None:
    """With a byte order mark, as editors on Windows write it, and without."""
    table = VISITS.rename_columns(["größe", *VISITS.column_names[1:]])
    site.release("demo/visits/v1.1/visits", table)
    settings: Json = {"table_options": {"visits": {"key_properties": ["größe"], "replication_method": "LOG_BASED"}}}
    catalog = {"streams": list(site.discover(**settings).values())}
    first = site.sync(catalog=catalog, **settings)
    program = site.tap(catalog=catalog, state=first.state, **settings)
    for name in ("config", "state", "catalog"):
        path = site.files / f"{name}.json"
        path.write_text(mark + json.dumps(json.loads(path.read_text()), ensure_ascii=False), encoding="utf-8")
    # Of its own accord Python would take UTF-8 in place of ASCII, which many programs that run taps do not let it.
    variables = {"LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}

    second = run(replace(program, variables={**program.variables, **variables}))

    assert second.exit_code == 0, second.stderr
    assert (second.records(_STREAM), second.state) == ([], first.state)
    assert "WARNING" not in second.stderr


@pytest.mark.parametrize("wrap", [lambda state: state, lambda state: {"singer_state": state}], ids=["plain", "Meltano"])
def test_a_whole_state_message_is_a_state(site: Site, wrap: Any) -> None:
    """The last line of the tap's own output."""
    first = site.sync()

    second = site.sync(state=wrap(first.messages[-1]))

    assert (second.records(_STREAM), second.state) == ([], first.state)


@pytest.mark.parametrize("state", _OF_ANOTHER_TAP, ids=str)
def test_a_state_of_another_tap_is_warned_of(site: Site, state: Json) -> None:
    done = site.sync(state=state)

    assert_same_rows(done.records(_STREAM), records_of(VISITS))
    [warning] = [line for line in done.stderr.splitlines() if "WARNING" in line]
    assert "--state: it has no bookmark of this tap, so all rows are read; a state is the value of" in warning


@pytest.mark.parametrize("state", [{}, {"bookmarks": {}}, {"bookmarks": {_STREAM: {}}}], ids=str)
def test_a_state_without_anything_is_none(site: Site, state: Json) -> None:
    """Meltano gives such a one to a first run, and a run that failed leaves one."""
    done = site.sync(state=state)

    assert "WARNING" not in done.stderr


@pytest.mark.parametrize(
    ("option", "content", "words"),
    [
        ("--config", b'{"datasets": ["gr\xf6\xdfe"]}', "not in UTF-8"),
        ("--config", b"datasets: [demo.visits]", "not JSON"),
        ("--config", rb'{"datasets": ["demo.\ud800"]}', "half of a character"),
        ("--state", rb'{"bookmarks": {"\uDC80": {}}}', "half of a character"),
        ("--catalog", rb'{"streams": [{"tap_stream_id": "\ud800", "schema": {}}]}', "half of a character"),
        ("--state", b'{"a": "\xf6"}', "not in UTF-8"),
        ("--state", b"[" * 100_000, "not JSON"),
        (
            "--catalog",
            b'{"streams": [{"schema":' + b'{"properties": {"a":' * 300 + b"1" + b"}}" * 300 + b"}]}",
            "too deep",
        ),
        ("--config", b'{"stream_maps":' + b'{"a":' * 300 + b"1" + b"}" * 301, "too deep"),
        ("--state", b'{"type": "STATE"}', "not an object with bookmarks"),
        ("--catalog", b"", "not JSON"),
        ("--catalog", b'{"bookmarks": {}}', "no Singer catalog"),
    ],
)
def test_what_is_none_is_said_with_an_example_of_what_is(
    site: Site, tmp_path: Path, option: str, content: bytes, words: str
) -> None:
    """In one line."""
    example = {"--config": '{"datasets": [', "--state": '{"bookmarks": {', "--catalog": '{"streams": ['}[option]
    path, program = tmp_path / "file", site.tap()
    path.write_bytes(content)

    done = run(replace(program, argv=(*program.argv, option, str(path))))

    [line] = [line for line in done.stderr.splitlines() if "ERROR" in line]
    assert (done.exit_code, words in line, example in line, "Traceback" in done.stderr) == (1, True, True, False), line


@pytest.mark.parametrize("option", ["--config", "--state", "--catalog"])
@pytest.mark.parametrize("path", ["/dev/zero", "/dev/full", "/dev/null", "huge", "folder"])
def test_a_file_without_an_end_is_one_line(site: Site, tmp_path: Path, option: str, path: str) -> None:
    """In less memory than it could fill."""
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(10 * 1024**3)
    (tmp_path / "folder").mkdir()
    program = site.tap()

    done = measured(replace(program, argv=(*program.argv, option, str(tmp_path / path))), tmp_path, lambda _: b"")

    lines = [line for line in done.output.stderr.splitlines() if option in line and path in line]
    assert len(lines) == 1, done.output.stderr
    assert done.output.exit_code == (1 if option == "--config" or path != "folder" else 2)
    assert not [words for words in ("Traceback", "unexpected") if words in done.output.stderr]
    assert done.peak_mib < 500


@pytest.mark.parametrize("option", ["--config", "--state", "--catalog"])
@pytest.mark.parametrize("is_open", [False, True], ids=["without a writer", "whose writer is silent"])
def test_a_pipe_that_gives_nothing_is_one_line(site: Site, tmp_path: Path, option: str, *, is_open: bool) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = os.open(tmp_path / "pipe", os.O_RDWR) if is_open else None
    program = site.tap()
    script = "import tap_redivis.singer.user_files as f; f._SECONDS_OF_SILENCE = 0.2; "
    script += "from tap_redivis.__main__ import main; main()"
    argv = (sys.executable, "-c", script, *program.argv[1:], option, str(tmp_path / "pipe"))

    done = run(replace(program, argv=argv))

    [line] = [line for line in done.stderr.splitlines() if "ERROR" in line]
    assert done.exit_code == 1
    assert f"{option} {tmp_path}/pipe: nothing came out of it for" in line
    if writer is not None:
        os.close(writer)


def test_pipes_are_files_too(site: Site) -> None:
    """As a shell's `<(...)`, and stdin as `-`."""
    first = site.sync()
    program = site.tap(state=first.state)
    config, state = (shlex.quote(program.argv[program.argv.index(each) + 1]) for each in ("--config", "--state"))
    call = f"cat {state} | {program.argv[0]} --config <(cat {config}) --state -"

    done = run(replace(program, argv=("bash", "-c", call)))

    assert done.exit_code == 0, done.stderr
    assert (done.records(_STREAM), done.state) == ([], first.state)


def test_the_states_of_a_load_and_of_its_end_together_are_the_end(site: Site) -> None:
    """As Meltano merges partial states: the finished load does not go on."""
    first = site.sync(state_interval_rows=400)
    middle = [message["value"] for message in first.messages if message["type"] == "STATE"][1]
    merged = {"bookmarks": {_STREAM: {**middle["bookmarks"][_STREAM], **first.state["bookmarks"][_STREAM]}}}
    assert "reading" in merged["bookmarks"][_STREAM]

    second = site.sync(state=merged)

    assert (second.records(_STREAM), second.state) == ([], first.state)
    assert f"state, stream {_STREAM}: the load under way is a completed one, or older: it is dropped" in second.stderr


def test_an_offset_without_its_digest_is_damage(site: Site) -> None:
    """Nothing proves that it means the row that it should."""
    first = site.sync(state_interval_rows=400)
    state = [message["value"] for message in first.messages if message["type"] == "STATE"][1]
    position = next(each for each in state["bookmarks"][_STREAM]["reading"]["streams"].values() if each["offset"])
    del position["last"]

    second = site.sync(state=state)

    assert_same_rows(second.records(_STREAM), records_of(VISITS))
    assert "the bookmark is damaged" in second.stderr


def test_the_state_of_another_server_is_no_proof(site: Site) -> None:
    """The same reference and version, as after a trial with the emulator: the hash tells, and all rows are read."""
    for settings in {}, {"table_options": {"visits": {"key_properties": ["id"], "replication_key": "id"}}}:
        state = site.sync(**settings).state
        state["bookmarks"][_STREAM]["hash"] = "0" * 32

        done = site.sync(state=state, **settings)

        assert_same_rows(done.records(_STREAM), records_of(VISITS))
        assert "v1.0 has another hash than in the last load" in done.stderr
