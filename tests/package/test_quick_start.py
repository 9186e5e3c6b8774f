"""The quick start as the pages print it: from a clone, and from the wheel, in an environment of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from redivis_emulator import Emulator, demo
from tests.package.conftest import PIP_QUICKLY, Dist

pytestmark = pytest.mark.xdist_group("package")

_ROOT = Path(__file__).parents[2]
_PAGE = (_ROOT / "docs/index.md").read_text()


@pytest.fixture(name="clone")
def make_clone(dist: Dist, tmp_path: Path) -> Path:
    return dist.clone(tmp_path)


@pytest.fixture(name="variables")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """The environment of somebody with a Redivis and our versions of the dependencies."""
    served = tmp_path_factory.mktemp("served")
    demo.build(served)
    with Emulator(served) as emulator:
        yield {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "REDIVIS_API_ENDPOINT": emulator.endpoint,
            "PIP_CONSTRAINT": str(_ROOT / "constraints.txt"),
            "PIP_BUILD_CONSTRAINT": str(_ROOT / "tests/support/constraints-hatchling.txt"),
            **PIP_QUICKLY,
        }


def test_the_readme_begins_as_the_page_does() -> None:
    """The same commands, so that what is tested here is what stands there; five at most, whichever Redivis is asked."""
    first, own, _ = _blocks(_PAGE)

    assert {first, own} < set(_blocks((_ROOT / "README.md").read_text()))
    assert len(first.splitlines()) <= 5
    assert len(first.splitlines()[:-1]) + len(own.splitlines()) <= 5


@pytest.mark.long
def test_first_rows_from_a_clone_and_then(clone: Path, variables: Mapping[str, str]) -> None:
    """As printed: rows of the local Redivis, though nothing is set; by a token; catalog, state, and nothing new."""
    first, own, then = _blocks(_PAGE)

    local_rows = _sh(first, clone, {**variables, "REDIVIS_API_ENDPOINT": ""})
    rows = _sh(own, clone, variables)
    more = _sh(f"{own.splitlines()[0]}\n{then}", clone, variables)

    assert _records(local_rows) == _records(rows) == 5 * 5
    assert "nycflights13__airlines" in more
    assert _records(more) == 0
    assert _records((clone / "messages.jsonl").read_text()) == 5 * 5
    assert json.loads((clone / "state.json").read_text())["bookmarks"].keys() >= {"nycflights13__flights"}


@pytest.mark.long
def test_first_rows_from_the_wheel(dist: Dist, tmp_path: Path, variables: Mapping[str, str]) -> None:
    """But for the name of the wheel as printed; the extra of the demo brings the local Redivis."""
    first, own, _ = _blocks(_PAGE)

    local_rows = _sh(
        first.replace("'.[demo]'", f"'{dist.wheel}[demo]'"), tmp_path, {**variables, "REDIVIS_API_ENDPOINT": ""}
    )
    rows = _sh(own, tmp_path, variables)

    assert _records(local_rows) == _records(rows) == 5 * 5


def _blocks(page: str) -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def _sh(script: str, folder: Path, variables: Mapping[str, str]) -> str:
    """Run a block of a page; return what it wrote to stdout."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _records(output: str) -> int:
    return output.count('{"type":"RECORD"')
