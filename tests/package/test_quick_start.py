"""The first ten minutes as the pages print them: from a clone, in an environment of its own, with what is shown."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import venv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from redivis_emulator import Emulator, demo
from tests.package.conftest import Dist

pytestmark = pytest.mark.xdist_group("package")

_ROOT = Path(__file__).parents[2]
_README = (_ROOT / "README.md").read_text()
_PAGE = (_ROOT / "docs/index.md").read_text()
_CPU_SECONDS = 90  # what it takes on a machine that does nothing else, unless its network is slow
_PACKAGES = 40


@dataclass(frozen=True)
class _Done:
    """What a block of a page wrote."""

    stdout: str
    stderr: str


@pytest.fixture(name="clone")
def make_clone(dist: Dist, tmp_path: Path) -> Path:
    return dist.clone(tmp_path)


@pytest.fixture(name="variables")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """The environment of somebody with a Redivis and our versions of the dependencies, and without a cache of pip."""
    served = tmp_path_factory.mktemp("served")
    demo.build(served)
    with Emulator(served) as emulator:
        yield {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "REDIVIS_API_ENDPOINT": emulator.endpoint,
            "PIP_CONSTRAINT": str(_ROOT / "constraints.txt"),
            "PIP_BUILD_CONSTRAINT": str(_ROOT / "tests/support/constraints-hatchling.txt"),
            "PIP_NO_CACHE_DIR": "1",
        }


def test_the_readme_begins_as_the_page_does() -> None:
    """The same commands, so that what is tested here is what stands there; four at most before the first rows."""
    first, own, _ = _blocks(_PAGE)

    assert _blocks(_README)[:2] == [first, own]
    assert len(first.splitlines()) <= 4


def test_the_readme_explains_before_it_uses() -> None:
    """What it is and how it is got come first; words that newcomers do not know come with what they mean, or not."""
    headings = re.findall(r"^## (.*)$", _README, re.MULTILINE)
    explained = {word: _README.index(word) for word in ("RECORD", "SCHEMA", "STATE", "ACTIVATE_VERSION")}

    assert headings[:7] == [
        "Install",
        "First rows",
        "Your data",
        "Into PostgreSQL",
        "Into DuckDB",
        "Every night",
        "See it run",
    ]
    assert min(explained.values()) > _README.index("## First rows")
    assert not re.findall(r"sentinel|read session|read stream|Singer version", _README)


@pytest.mark.long
def test_first_rows_come_as_they_are_shown(clone: Path, variables: Mapping[str, str]) -> None:
    """Rows of the local Redivis, though nothing is set, in 90 seconds at most, all installing included."""
    [first, *_] = _blocks(_README)
    messages, log = _shown(_README)[:2]

    before = _cpu_seconds()
    done = _sh(first, clone, {**variables, "REDIVIS_API_ENDPOINT": ""})

    assert re.fullmatch(messages, done.stdout)
    assert re.search(log, done.stderr)
    assert _cpu_seconds() - before < _CPU_SECONDS


@pytest.mark.long
def test_the_blocks_after_it_run_as_printed(clone: Path, variables: Mapping[str, str]) -> None:
    """The emulator's token in the place of one's own: test, list, catalog, state, and nothing new the next time."""
    first, own, night = _blocks(_PAGE)
    install = "\n".join(first.splitlines()[:2])
    path = os.pathsep.join([str(clone / "tap/bin"), variables["PATH"]])
    own = own.replace("<your token>", "emulator-token").replace('13"]', '13"], "max_rows": 5')

    _sh(install, clone, variables)
    listed = _sh(own, clone, {**variables, "PATH": path})
    done = _sh(night, clone, {**variables, "PATH": path, "REDIVIS_API_TOKEN": "emulator-token"})

    assert "nycflights13__airlines" in listed.stdout
    assert _records(done.stdout) == 0
    assert _records((clone / "messages.jsonl").read_text()) == 5 * 5
    assert json.loads((clone / "state.json").read_text())["bookmarks"].keys() >= {"nycflights13__flights"}


@pytest.mark.long
def test_the_wheel_alone_is_a_small_tap(dist: Dist, tmp_path: Path, variables: Mapping[str, str]) -> None:
    """40 packages at most; it runs, and what needs an extra says which, in one line."""
    venv.create(tmp_path / "tap", symlinks=True)
    pip = [sys.executable, "-m", "pip", "--python", str(tmp_path / "tap/bin/python")]
    environment = {**os.environ, **variables}
    subprocess.run([*pip, "install", "--quiet", dist.wheel], env=environment, check=True)
    listed = subprocess.run([*pip, "list", "--format=json"], env=environment, capture_output=True, check=True)

    about = _sh("tap/bin/tap-redivis --version", tmp_path, variables)
    needs = [
        subprocess.run([tmp_path / "tap/bin" / name, *options], capture_output=True, text=True, check=False)
        for name, *options in (("redivis-emulator", "serve", "."), ("target-adbc", "--help"))
    ]

    assert len(json.loads(listed.stdout)) <= _PACKAGES
    assert about.stdout.startswith("tap-redivis v")
    assert [done.returncode for done in needs] == [1, 1]
    assert "tap-redivis[emulator]" in needs[0].stderr
    assert "tap-redivis[adbc]" in needs[1].stderr
    assert "Traceback" not in needs[0].stderr + needs[1].stderr


def _blocks(page: str) -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def _shown(page: str) -> list[str]:
    """Return patterns of the outputs that a page shows; `…` stands for what differs from run to run."""
    blocks = re.findall(r"^```text\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return [re.escape(block).replace("…", ".*") for block in blocks]


def _sh(script: str, folder: Path, variables: Mapping[str, str]) -> _Done:
    """Run a block of a page."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return _Done(done.stdout, done.stderr)


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _records(output: str) -> int:
    return output.count('{"type":"RECORD"')
