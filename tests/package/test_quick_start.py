"""The quick start as the pages print it: from a clone, and from the wheel, in an environment of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tap_redivis.emulator import Emulator, demo
from tests.package.conftest import Dist

pytestmark = pytest.mark.xdist_group("package")

_ROOT = Path(__file__).parents[2]
_PAGE = (_ROOT / "docs/index.md").read_text()


@pytest.fixture(name="clone")
def make_clone(dist: Dist, tmp_path: Path) -> Path:
    """What a clone holds: the source distribution does too."""
    with tarfile.open(dist.sdist) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # Debian's Python 3.11.2 has none
        archive.extractall(tmp_path)  # noqa: S202 - our own
    [folder] = tmp_path.iterdir()
    return folder


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
        }


def test_the_readme_begins_as_the_page_does() -> None:
    """The same five commands, so that what is tested here is what stands there."""
    [first, *_] = _blocks(_PAGE)

    assert first in _blocks((_ROOT / "README.md").read_text())
    assert len(first.splitlines()) == 5


def test_five_commands_to_first_rows_and_then(clone: Path, variables: Mapping[str, str]) -> None:
    """From a clone, as printed: rows, then the tables, the catalog, the state, and nothing new."""
    first, _, then = _blocks(_PAGE)

    rows = _sh(first, clone, variables)
    more = _sh(then, clone, variables)

    assert _records(rows) == 5 * 5
    assert "nycflights13__airlines" in more
    assert _records(more) == 0
    assert _records((clone / "messages.jsonl").read_text()) == 5 * 5
    assert json.loads((clone / "state.json").read_text())["bookmarks"].keys() >= {"nycflights13__flights"}


def test_five_commands_to_first_rows_from_the_wheel(dist: Dist, tmp_path: Path, variables: Mapping[str, str]) -> None:
    """The same, and the local Redivis: but for the name of the wheel as printed, installed once."""
    first, local, _ = _blocks(_PAGE)
    install, _, load = local.partition("\n")
    assert install == "tap/bin/pip install --quiet '.[demo]'"

    rows = _sh(first.replace("--quiet .", f"--quiet '{dist.wheel}[demo]'"), tmp_path, variables)
    local_rows = _sh(load, tmp_path, variables)

    assert _records(rows) == _records(local_rows) == 5 * 5


def _blocks(page: str) -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def _sh(script: str, folder: Path, variables: Mapping[str, str]) -> str:
    """Run a block of a page; return what it wrote to stdout."""
    begin = "export REDIVIS_API_TOKEN=emulator-token\n"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", begin + script],
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
