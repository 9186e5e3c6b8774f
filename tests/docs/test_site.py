"""The guides: the site builds without a warning, and no setting, message, key or error is missing."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import fields
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from docs.lines import error_classes
from redivis_emulator import Emulator, Fault
from tap_redivis.planning import bookmarks
from tap_redivis.singer.config_schema import CONFIG_SCHEMA
from tap_redivis.singer.plan_report import PlanRow
from tap_redivis.tap import TapRedivis
from tests.support.batches import batch_config
from tests.support.pipes import Output, run, tap
from tests.support.served import visits, write_note, write_table

_ROOT = Path(__file__).parents[2]
_DOCS = _ROOT / "docs"
_NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    """Neither a broken link, nor an anchor that is not there, nor a page that no menu leads to."""
    command = [Path(sys.executable).parent / "mkdocs", "build", "--strict", "--site-dir", tmp_path]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert {"index.html", "contributing", "changelog", "architecture.svg"} <= {path.name for path in tmp_path.iterdir()}
    assert not list(tmp_path.rglob("*.py"))


def test_the_site_asks_no_other_host(tmp_path: Path) -> None:
    """Neither a script nor a style nor a font comes from elsewhere."""
    command = [Path(sys.executable).parent / "mkdocs", "build", "--quiet", "--site-dir", tmp_path]
    subprocess.run(command, cwd=_ROOT, check=True)

    pages = "".join(path.read_text() for path in tmp_path.rglob("*.html"))
    assert not re.findall(
        r"<(?:script|img|iframe)[^>]+src=\"https?:[^\"]+|<link[^>]+stylesheet[^>]+https?:[^\"]+", pages
    )


def test_every_setting_is_there() -> None:
    """The tap's own have a heading each, the SDK's a row."""
    everything = {"properties": dict(CONFIG_SCHEMA["properties"])}
    TapRedivis.append_builtin_config(everything)
    page = (_DOCS / "settings.md").read_text()

    assert set(re.findall(r"^### (\w+)$", page, re.MULTILINE)) == set(CONFIG_SCHEMA["properties"])
    assert _first_column(page) >= everything["properties"].keys() - CONFIG_SCHEMA["properties"].keys()


def test_every_error_is_there() -> None:
    page = (_DOCS / "errors.md").read_text()

    assert set(re.findall(r"^### (\w+)$", page, re.MULTILINE)) == error_classes()


def test_every_warning_of_a_run_is_there(tmp_path: Path) -> None:
    """Where connections break, offsets are refused, and names and values are such that they are warned of."""
    (tmp_path / "files").mkdir()
    table = pa.table({"id": range(10), "_sdc_share": [float("nan")] * 10, "text": ["\x00"] * 10})
    write_table(tmp_path / "served", "demo/visits/v1.0/visits", table)
    write_note(tmp_path / "served", "demo/visits/dataset.yml", {"tables": {"visits": {"num_bytes": 10**6}}})
    with Emulator(tmp_path / "served") as emulator:
        emulator.faults.add(
            Fault(kind="status", path="/datasets/*"),
            Fault(kind="close", path="/readStreams/*", at_row=3),
            Fault(kind="refuse_offset", path="/readStreams/*", nth="every"),
        )
        done = run(tap(emulator, tmp_path / "files", {"datasets": ["demo.visits"], "no_setting": 1}))

    templates = re.findall(r"^\| warning \| (.*) \|$", (_DOCS / "errors.md").read_text(), re.MULTILINE)
    patterns = [re.escape(text.replace("\\", "")).replace("…", ".*") for text in templates]
    warnings = re.findall(r"\| WARNING +\| [^|]+\| (.*)$", done.stderr, re.MULTILINE)
    assert done.exit_code == 0
    assert len(warnings) == 7
    assert not [text for text in warnings if not any(re.fullmatch(pattern, text) for pattern in patterns)]


def test_every_bookmark_key_is_there() -> None:
    """Those that `to_state` writes of a bookmark in which nothing is absent, and no others."""
    position = bookmarks.StreamPosition(1, last="digest")
    reading = bookmarks.PartialLoad(
        "session",
        _NOW,
        "jsonl",
        "digest",
        1,
        {"stream": position},
        "v1.0",
        1,
        "query",
        1,
        bookmarks.ChangeCounts(0, 0, 0, 0),
        "1-a",
    )
    state = bookmarks.to_state(
        bookmarks.Bookmark("table", "v1.0", "hash", 1, 1, "digest", _NOW, 1, reading, "id", 1, ("id",), 1)
    )
    page = (_DOCS / "state.md").read_text()

    assert _first_column(_section(page, "## Bookmark", "### reading")) == state.keys()
    assert _first_column(_section(page, "### reading", "### streams")) == state["reading"].keys()
    assert _first_column(_section(page, "### streams", "A damaged")) == state["reading"]["streams"]["stream"].keys()
    [changes] = re.findall(r"^\| `changes` \|(.*)$", page, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", changes)) == state["reading"]["changes"].keys()


def test_every_bookmark_key_of_the_dictionary_is_there() -> None:
    own, part = _section((_DOCS / "dictionary.md").read_text(), "## Its bookmarks", "\n## ").split("and each part")

    assert _first_column(own) == set(bookmarks.DictionaryBookmark.__struct_fields__)
    assert _first_column(part) == set(bookmarks.PartMark.__struct_fields__)
    assert set(re.findall(r"`(\w+)`", own.split("| `writing` |")[1])) == set(bookmarks.DictionaryLoad.__struct_fields__)


def test_every_key_of_a_plan_is_there() -> None:
    plan = (_DOCS / "plan.md").read_text()
    own = {"made_at", "total", "streams"}

    assert _first_column(_section(plan, "## JSON", "The exit code")) == own | {field.name for field in fields(PlanRow)}


def test_every_message_is_there(loaded: Output, loaded_as_files: Output, loaded_by_key: Output) -> None:
    """Each type that a run writes has a heading, and each of its keys a row; no others are described."""
    found: dict[str, set[str]] = {}
    for message in [*loaded.messages, *loaded_as_files.messages, *loaded_by_key.messages]:
        found.setdefault(message["type"], set()).update(message)
    page = (_DOCS / "messages.md").read_text()
    described = re.findall(r"^## ([A-Z_]+)$", page, re.MULTILINE)

    assert {name: _first_column(_section(page, f"## {name}", "\n## ")) for name in described} == found


def test_the_bookmark_of_a_run_has_only_what_is_described(loaded: Output) -> None:
    page = (_DOCS / "state.md").read_text()

    assert loaded.state["bookmarks"]["visits__visits"].keys() <= _first_column(page)


@pytest.fixture(name="loaded", scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Output:
    """What a run writes of one table."""
    return _load(tmp_path_factory)


@pytest.fixture(name="loaded_as_files", scope="module")
def load_as_files(tmp_path_factory: pytest.TempPathFactory) -> Output:
    """What a run writes that puts the table into a file."""
    return _load(tmp_path_factory, batch_config=batch_config("jsonl", tmp_path_factory.mktemp("out")))


@pytest.fixture(name="loaded_by_key", scope="module")
def load_by_key(tmp_path_factory: pytest.TempPathFactory) -> Output:
    """What a run writes of the table in INCREMENTAL mode."""
    options = {"visits": {"key_properties": ["id"], "replication_key": "id"}}
    return _load(tmp_path_factory, table_options=options)


def _load(tmp_path_factory: pytest.TempPathFactory, **settings: Any) -> Output:
    served, files = tmp_path_factory.mktemp("served"), tmp_path_factory.mktemp("files")
    write_table(served, "demo/visits/v1.0/visits", visits(10))
    with Emulator(served) as emulator:
        return run(tap(emulator, files, {"datasets": ["demo.visits"], **settings}))


def _section(page: str, begin: str, end: str) -> str:
    return page.split(f"\n{begin}\n")[1].split(end, maxsplit=1)[0]


def _first_column(text: str) -> set[Any]:
    return set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
