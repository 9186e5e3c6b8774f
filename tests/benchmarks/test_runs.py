"""The benchmark in small: every kind of path once, with few rows."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.cases import Case, Place, plain_case
from benchmarks.measuring import RunFailed, measure
from benchmarks.scenes import (
    BATCHERS,
    CLIENT,
    COPIES,
    CURL,
    CURL_ARROW,
    CURL_CHECKED,
    CURL_COPIES,
    CURL_TO_FILE,
    DASK,
    DISCOVERY,
    DISCOVERY_ONE_BY_ONE,
    FILES,
    JSONL,
    MANY,
    MANY_ONE_BY_ONE,
    NULL,
    PLAIN,
    ROWS_ONLY,
    TENTH,
    Scene,
    scenes,
)
from benchmarks.served import LOOPBACK, Network, Server, served
from benchmarks.shapes import SHAPES, Shape, write_shape
from tests.support import curl
from tests.support.pipes import Program, run

_ROWS = 100


@pytest.fixture(name="server", scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """All shapes, a few rows of each."""
    folder = tmp_path_factory.mktemp("served")
    for shape in SHAPES.values():
        write_shape(folder, shape, _ROWS)
    with served(folder) as server:
        yield server


@pytest.fixture
def _curl_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{curl.install(tmp_path).parent}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture
def _any_curl(request: pytest.FixtureRequest) -> None:
    if not shutil.which("curl"):
        request.getfixturevalue("_curl_of_ours")


def _small(name: str, *cases: str) -> Scene:
    """Take some cases of a scene, as small as they are made."""
    [scene] = [each for each in scenes(0) if each.name == name]
    chosen = {case.name: case for case in scene.cases}
    return replace(scene, cases=tuple(chosen[each] for each in cases), baseline=cases[0])


@pytest.mark.parametrize(
    "scene",
    [
        _small("typical", CURL, JSONL, PLAIN),
        _small("client", CLIENT),
        _small("batch", FILES["jsonl"], BATCHERS["jsonl"]),
        _small("files", FILES["arrow"], CURL_TO_FILE),
        _small("dask", DASK),
        _small("contents", CURL_COPIES, CURL_CHECKED, COPIES, ROWS_ONLY),
    ],
    ids=lambda scene: scene.name,
)
@pytest.mark.usefixtures("_any_curl")
def test_every_kind_of_path_is_measured(scene: Scene) -> None:
    """All rows arrive, or this would fail; each run has its time, and its memory was looked at."""
    measured = measure(scene, 1, lambda _: None)

    assert [(each.name, each.rows) for each in measured.results] == [(case.name, case.rows) for case in scene.cases]
    assert all(len(each.seconds) == 1 and each.rate > 0 and each.peak_mib > 1 for each in measured.results)
    assert all(each.written > _ROWS for each in measured.results)
    assert all(each.only_rows == (each.name in {PLAIN, *BATCHERS.values()}) for each in measured.results)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rows": 999}, "1,000 rows arrived of 999"),
        ({"program": lambda _: Program(("/bin/false",), {})}, "failed"),
    ],
    ids=["rows", "exit code"],
)
@pytest.mark.parametrize("sink", ["", NULL])
def test_a_run_that_does_not_do_what_it_should_has_no_figure(sink: str, change: dict[str, object], words: str) -> None:
    """Nor one whose rows go to /dev/null: they were counted before."""
    scene = _small("typical", JSONL + sink)
    [case] = scene.cases
    broken: Case = replace(case, **change)  # type: ignore[arg-type] # of the case's fields

    with pytest.raises(RunFailed, match=words):
        measure(replace(scene, cases=(broken,)), 1, lambda _: None)


@pytest.mark.usefixtures("_curl_of_ours")
def test_runs_go_there_and_back() -> None:
    """What changes slowly while they run changes for all alike."""
    said: list[str] = []
    measure(_small("typical", CURL, CURL_ARROW), 2, said.append)

    assert [line.split(":")[0] for line in said if line.endswith(" s")] == [CURL, CURL_ARROW, CURL_ARROW, CURL]


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_the_plain_tap_reads_every_shape(server: Server, shape: Shape, tmp_path: Path) -> None:
    done = run(plain_case(shape, "best", _ROWS).program(Place(server, tmp_path)))

    records = done.records(f"shapes__{shape.name}")
    assert len(records) == _ROWS
    [schema] = [message["schema"] for message in done.messages if message["type"] == "SCHEMA"]
    columns = int(shape.words.split()[0]) if shape.name != "text" else 2
    assert {len(record) for record in [schema["properties"], *records]} == {columns}


def test_a_network_is_as_slow_as_it_is_said_to_be(server: Server) -> None:
    """Latency before each answer, of which there are two, and a limit on the body; without them none is left."""
    table = SHAPES["text"].reference
    size = server.render(table, "jsonl")
    network = Network(latency=0.1, rate=2 * size)
    server.put_behind(network)
    started = time.monotonic()
    assert server.render(table, "jsonl") == size
    took = time.monotonic() - started
    server.put_behind(LOOPBACK)

    assert took >= 0.9 * (2 * network.latency + 0.5)
    assert LOOPBACK.faults == []


def test_the_command_writes_tables_data_and_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two tables are not read much faster than one after the other, and that is what `--check` is for."""
    assert main(["--scale", "0", "--only", "man*", "disc*", "--check", "--output", str(tmp_path)]) == 1

    page = (tmp_path / "speed.md").read_text()
    found = json.loads((tmp_path / "speed.json").read_text())["scenes"]
    paths = [path for scene in found for path in scene["paths"]]
    assert capsys.readouterr().out in page
    assert [path["name"] for path in paths] == [MANY, MANY_ONE_BY_ONE, TENTH, DISCOVERY, DISCOVERY_ONE_BY_ONE]
    assert all(len(path["seconds"]) == 1 and f"| {path['name']} |" in page for path in paths)
    assert all(path["name"] in (tmp_path / "speed.svg").read_text() for path in paths)


def test_what_is_missing_is_said_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SystemExit, match=r"^typical: curl is not installed"):
        main(["--scale", "0", "--only", "typical", "--output", str(tmp_path)])


@pytest.mark.parametrize(
    ("options", "words"),
    [(["--write", "--only", "nothing"], "only a whole run"), (["--only", "nothing"], "typical, narrow")],
)
def test_options_that_make_no_sense_are_refused(
    options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Such as less than a whole run for the docs."""
    with pytest.raises(SystemExit):
        main(options)

    assert words in capsys.readouterr().err


def test_the_page_is_not_behind() -> None:
    """It has a row for each path that is measured."""
    page = (Path(__file__).parents[2] / "docs" / "speed.md").read_text()

    missing = [case.name for scene in scenes(1) for case in scene.cases if f"\n| {case.name} |" not in page]
    assert not missing
