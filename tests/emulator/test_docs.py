"""docs/emulator.md: it runs as printed, and it leaves nothing out."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import get_args

import msgspec
import pytest

import redivis_emulator as emulator
from redivis_emulator import Emulator, Fault, RateLimit, Settings, Token, cli, control, notes, readings, routes
from redivis_emulator.faults import Kind
from tests.support import curl

PAGE = (Path(__file__).parents[2] / "docs" / "emulator.md").read_text()
SHELL = ["bash", "-euo", "pipefail", "-c"]


def section(title: str) -> str:
    """Return what stands under a heading."""
    match = re.search(rf"^(#+) {re.escape(title)}\n(.*?)(?=^#{{1,3}} |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert match, f"no heading {title}"
    return match[2]


def nodes(module: ModuleType) -> Iterator[ast.AST]:
    """Yield all nodes of a module's syntax tree."""
    return ast.walk(ast.parse(Path(str(module.__file__)).read_text()))


def cases(module: ModuleType) -> Iterator[list[ast.pattern]]:
    """Yield the patterns of all `case` lines of a module that are sequences."""
    for node in nodes(module):
        if isinstance(node, ast.match_case) and isinstance(node.pattern, ast.MatchSequence):
            yield node.pattern.patterns


def paths(patterns: list[ast.pattern]) -> list[str]:
    """Return the paths that a sequence of segments matches, up to a star: `/versions/:tag`."""
    found = [""]
    for pattern in patterns:
        match pattern:
            case ast.MatchAs(pattern=ast.MatchOr(patterns=words)):
                found = [path + word for path in found for word in paths_of_words(words)]
            case ast.MatchAs(name=name):
                found = [f"{path}/:{name}" for path in found]
            case ast.MatchValue():
                found = [path + word for path in found for word in paths_of_words([pattern])]
    return found


def paths_of_words(words: list[ast.pattern]) -> list[str]:
    """Return what constant words match."""
    return [f"/{ast.literal_eval(word.value)}" for word in words if isinstance(word, ast.MatchValue)]


def blocks(kind: str, title: str) -> list[str]:
    """Return the blocks of code under a heading."""
    return re.findall(rf"```{kind}\n(.*?)```", section(title), re.DOTALL)


@pytest.fixture(name="place")
def make_place(tmp_path: Path) -> Path:
    """Return a folder with the table that the page makes."""
    make, _, serve = blocks("sh", "Five minutes")[0].partition("redivis-emulator ")
    assert serve == "serve served --port 8080\n"
    subprocess.run([*SHELL, make], cwd=tmp_path, check=True)
    return tmp_path


@pytest.mark.parametrize("command", [shutil.which("curl"), None], ids=["curl", "a stand-in"])
def test_the_example_runs_as_printed(place: Path, command: str | None) -> None:
    """The blocks after the one that starts the server print what stands below them."""
    command = command or str(curl.install(place))
    with Emulator(place / "served") as served:
        script = "".join(blocks("sh", "Five minutes")[1:])
        script = script.replace("http://127.0.0.1:8080", served.endpoint.removesuffix("/api/v1"))
        script = f'curl() {{ {command} "$@"; }}\n{script}'
        done = subprocess.run([*SHELL, script], cwd=place, capture_output=True, text=True, check=True, timeout=60)
    assert (done.stdout, done.stderr) == ("".join(blocks("text", "Five minutes")), "")


def test_the_yaml_and_python_examples_run(place: Path) -> None:
    """They are for the same table."""
    for title, path in {"emulator.yml": "emulator.yml", "dataset.yml": "acme/shop/dataset.yml"}.items():
        (place / "served" / path).write_text(blocks("yaml", title)[0])
    subprocess.run([sys.executable, "-c", blocks("python", "From Python")[0]], cwd=place, check=True, timeout=60)


def test_endpoints() -> None:
    """Each path that the router knows is there, in its own words: its table of first segments, and its cases below."""
    text = section("What it serves")
    tops = [key for node in nodes(routes) if isinstance(node, ast.Dict) for key in node.keys if key]
    assert tops
    for top in tops:
        assert f"/{ast.literal_eval(top)}/" in text
    for patterns in cases(routes):
        segments = next((p.patterns for p in patterns if isinstance(p, ast.MatchSequence)), patterns)
        for path in paths(segments):
            assert path in text


def test_control_endpoints() -> None:
    text = section("Control endpoints")
    for patterns in cases(control):
        method, name = (path.removeprefix("/") for path in paths_of_words(patterns))
        assert f"`{method} {name}`" in text


@pytest.mark.parametrize(
    ("title", "kinds"),
    [
        ("emulator.yml", [notes.EmulatorNote, Token, Settings, RateLimit]),
        ("owner.yml", [notes.OwnerNote]),
        ("dataset.yml", [notes.DatasetNote]),
        ("dataset.yml: a version", [notes.VersionNote]),
        ("dataset.yml: a table", [notes.TableNote]),
        ("dataset.yml: a variable", [notes.VariableNote]),
        ("workflow.yml", [notes.WorkflowNote]),
    ],
)
def test_keys(title: str, kinds: list[type[msgspec.Struct]]) -> None:
    """Each key of the YAML files stands in the first column of its table, and no others do."""
    first_column = "".join(line.split("|")[1] for line in section(title).splitlines() if line.startswith("|"))
    assert set(re.findall(r"`(\w+)`", first_column)) == {key for kind in kinds for key in kind.__struct_fields__}


def test_readings() -> None:
    """Each switch is a row with all of its values, the default first."""
    rows = re.findall(r"^\| `(\w+)` \| [\d, ]+ \| (.*) \|$", section("Readings"), re.MULTILINE)
    assert [name for name, _ in rows] == list(readings.values())
    for name, words in rows:
        values = [str(each) for each in readings.values()[name]]
        named = [each for each in re.findall(r"`([\w./:]+)`", words) if each in values]
        assert (name, named) == (name, values)


def test_faults() -> None:
    """Each kind has an example that is such a fault, and each field is named."""
    text = section("Faults")
    examples = dict(re.findall(r"^\| `(\w+)` \| .* \| `(\{.*\})` \|$", text, re.MULTILINE))
    assert set(get_args(Kind)) == {msgspec.json.decode(e, type=Fault).kind for e in examples.values()} == set(examples)
    missing = [name for name in Fault.__struct_fields__ if f"`{name}`" not in text]
    assert not missing


@pytest.mark.parametrize("command", ["serve", "run"])
def test_options(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main([command, "--help"])
    options = set(re.findall(r"--\w+", capsys.readouterr().out)) - {"--help"}
    assert not [option for option in options if option not in section("The command")]


def test_python_names() -> None:
    assert all(getattr(emulator, name) for name in emulator.__all__)
    assert not [name for name in emulator.__all__ if name not in section("From Python")]
