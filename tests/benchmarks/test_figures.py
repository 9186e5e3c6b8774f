"""From seconds to figures, promises, tables and the picture."""

from __future__ import annotations

import json
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from benchmarks import scenes, warehouse
from benchmarks.checks import PROMISES, Promise, verdicts
from benchmarks.picture import picture, ways_picture
from benchmarks.report import Machine, Report, as_data, as_markdown
from benchmarks.ways import ALONE, DEFAULT, OURS, POSTGRESQL, WAYS
from tests.benchmarks.results import all_scenes, changed, result

_MACHINE = Machine(2, "Linux", {"Python": "3.11"})


def test_a_rate_is_of_the_run_in_the_middle() -> None:
    assert result("a", 1, 2, 10).rate == 500


def test_only_the_time_between_the_rows_counts_where_a_program_reads_fewer() -> None:
    """From the first row to the last: 0.9 of each run here."""
    only = replace(result("a", 1, 2, 10), only_rows=True)

    assert only.median == pytest.approx(1.8)
    assert only.bytes_rate == pytest.approx(1000 / 1.8 * 100)


def test_a_start_that_takes_long_shows_in_the_ratio_but_not_in_that_of_the_rows() -> None:
    """The one that is promised is with the start."""
    slow_start = replace(result(scenes.JSONL, 2), first=(1.55,))
    [verdict, *_] = verdicts(changed(all_scenes(), "typical", slow_start))

    assert (verdict.measured, verdict.of_rows) == (0.5, pytest.approx(0.9 / 0.45))


def test_rows_that_come_all_at_once_took_a_thousandth_of_a_second() -> None:
    """Nobody can say how long it was."""
    at_once = replace(result("a", 1), first=(1.0,), only_rows=True)

    assert at_once.rate == 1_000_000


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.words)
def test_a_promise_holds_exactly_from_its_ratio_on(promise: Promise) -> None:
    """Each names paths that are measured."""
    for factor, holds in ((0.99, False), (1.01, True)):
        fast = changed(all_scenes(), promise.scene, result(promise.path, 1 / (promise.at_least * factor)))
        [verdict] = [each for each in verdicts(fast) if each.words == promise.words]
        assert (verdict.holds, verdict.measured) == (holds, pytest.approx(promise.at_least * factor))


@pytest.mark.parametrize(
    ("scene", "path", "words", "most"),
    [
        ("wide", scenes.CSV, "RECORD messages", 150),
        ("streams", "tap-redivis, 0 ms, 8 streams", "RECORD messages", 150),
        ("batch", scenes.FILES["parquet"], "BATCH files", 250),
        ("files", scenes.FILES["arrow"], "BATCH files", 250),
        ("dask", scenes.DASK, "BATCH files", 250),
    ],
)
def test_the_memory_of_each_run_of_the_tap_counts(scene: str, path: str, words: str, most: float) -> None:
    for peak, holds in ((most, True), (most + 1, False)):
        found = verdicts(changed(all_scenes(), scene, result(path, 1, peak_mib=peak)))
        [verdict] = [each for each in found if words in each.words]
        assert (verdict.holds, verdict.measured) == (holds, peak)


@pytest.mark.parametrize(("more", "holds"), [(40, True), (41, False)])
def test_the_memory_of_files_is_what_the_same_rows_do_without(more: float, holds: bool) -> None:  # noqa: FBT001 - a case
    with_files = result(scenes.COPIES, 1, peak_mib=result(scenes.ROWS_ONLY, 1).peak_mib + more)
    found = verdicts(changed(all_scenes(), "contents", with_files))

    [verdict] = [each for each in found if each.words == "Memory for files beside their rows"]
    assert (verdict.holds, verdict.measured) == (holds, more)


def test_the_memory_of_others_does_not_count() -> None:
    found = verdicts(changed(all_scenes(), "client", result(scenes.CLIENT, 1, peak_mib=5000)))

    assert all(each.holds for each in found if each.at_most is not None)


def test_promises_of_scenes_that_were_left_out_are_left_out() -> None:
    assert [each.words for each in verdicts(all_scenes()[1:2])] == ["Most memory of the tap, RECORD messages"]


def test_the_tables_and_the_data_name_every_path() -> None:
    measured = all_scenes()
    report = Report(_MACHINE, 2, measured, verdicts(measured))
    names = [each.name for scene in measured for each in scene.results]

    rows = [line.split(" | ")[0] for line in as_markdown(report).splitlines()]
    data = json.loads(json.dumps(as_data(report)))

    assert [f"| {name}" for name in names] == [row for row in rows if row.removeprefix("| ") in names]
    assert [path["name"] for scene in data["scenes"] for path in scene["paths"]] == names
    assert data["scenes"][0]["paths"][0]["seconds"] == [1, 1]


def test_a_promise_that_is_broken_stands_out() -> None:
    measured = all_scenes()
    report = Report(_MACHINE, 2, measured, verdicts(measured))

    assert "| at least 35 times | 1.00 times | **no** | 1.0 times |" in as_markdown(report)


def test_the_noise_is_what_the_same_path_takes_under_another_name() -> None:
    measured = changed(all_scenes(), "typical", result(scenes.AGAIN, 0.9, 1.2))

    text = as_markdown(Report(_MACHINE, 2, measured, []))

    assert "took 1.05 times as long by medians, 0.90 to 1.20 times run by run" in text


def test_the_picture_has_a_bar_for_each_path_longer_where_more_rows_come() -> None:
    """Ten times as many rows are a step of the scale."""
    measured = all_scenes()[:1]
    names = [each.name for each in measured[0].results]
    for name, seconds in zip(names, (0.1, 0.01), strict=False):
        measured = changed(measured, "typical", result(name, seconds))

    drawn = ET.fromstring(picture(measured))  # noqa: S314 - our own
    space = "{http://www.w3.org/2000/svg}"
    texts = [element.text for element in drawn.iter(f"{space}text")]
    _, *bars = (float(element.attrib["width"]) for element in drawn.iter(f"{space}rect"))

    assert [text for text in texts if text in names] == names
    assert len(bars) == len(names)
    assert bars[1] == pytest.approx(2 * bars[0])
    assert set(bars[2:]) == {0}


def test_the_growth_of_many_small_tables_counts() -> None:
    """Bytes and requests; the results of all have one byte and one request for a thousand rows."""
    for change, words in (({"written": 2}, "Bytes of output"), ({"requests": 22}, "Requests of a small table")):
        found = verdicts(changed(all_scenes(), "many", replace(result(scenes.MANY, 1), **change)))
        held = {each.words: each.holds for each in verdicts(all_scenes())}
        [verdict] = [each for each in found if words in each.words]
        assert held[verdict.words]
        assert not verdict.holds


def test_ways_into_a_database_are_tables_with_ratios() -> None:
    seconds = {(way.kind, way.name): 2.0 for way in WAYS}
    text = warehouse.report(
        300, 3, {**seconds, (POSTGRESQL, DEFAULT): 200.0, (POSTGRESQL, ALONE): 1.5}, {"duckdb": 99.6}
    )

    assert f"| {OURS} | 2.00 | 150 | 100.0 |" in text
    assert f"| {ALONE} (not a whole load) | 1.50 | 200 | 133.3 |" in text
    assert "as it comes | at least 80 times | 100.00 times |" in text
    assert "against ADBC alone | at least 0.7 times | 0.75 times |" in text
    assert "| peak memory, duckdb | at most 250 MiB | 100 MiB |" in text


def test_the_picture_of_the_ways_is_on_a_linear_scale_fastest_first() -> None:
    drawn = ways_picture({("duckdb", "slow & old"): (100.0, False), ("duckdb", "ours"): (1000.0, True)})

    bars = [float(each.attrib["width"]) for each in ET.fromstring(drawn).iter("{http://www.w3.org/2000/svg}rect")]  # noqa: S314
    assert bars[0] == pytest.approx(10 * bars[1], rel=0.01)
    assert "slow &amp; old" in drawn
    assert "prefers-color-scheme: dark" in drawn
