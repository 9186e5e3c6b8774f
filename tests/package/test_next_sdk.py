"""The tap works with the newest pre-release of singer-sdk as it does with the release that is pinned."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import pytest
from packaging.version import Version

from redivis_emulator import DEFAULT_TOKEN, Emulator
from tests.package.conftest import Dist
from tests.support.batches import batch_config, files_of, records_of_files
from tests.support.environments import environment
from tests.support.pipes import Output, started
from tests.support.served import Site, assert_same_rows, records_of, visits, write_table

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("package")]

_VISITS = visits(300)
_BESIDE = ("msgspec", "pyarrow", "rich")
_STREAM = "visits__visits"

Call = Callable[..., Output]


@pytest.fixture(name="site")
def serve(tmp_path: Path) -> Iterator[Site]:
    folder, files = tmp_path / "served", tmp_path / "files"
    files.mkdir()
    write_table(folder, "demo/visits/v1.0/visits", _VISITS)
    with Emulator(folder) as emulator:
        yield Site(emulator, folder, files, DEFAULT_TOKEN)


@pytest.fixture(name="with_next_sdk")
def prepare_call(dist: Dist, site: Site, tmp_path: Path) -> Call:
    """Run the wheel's tap in an environment with the pre-release; the wheel itself is new in each run."""
    python = environment("singer-sdk", beside=_BESIDE).python
    wheel = tmp_path / "wheel"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-compile",
        "--target",
        wheel,
        dist.wheel,
    ]
    subprocess.run(pip, check=True)

    def call(*arguments: str, **settings: Any) -> Output:
        program = site.tap(*arguments, **settings)
        argv = (str(python), "-m", "tap_redivis", *program.argv[1:])
        variables = {**program.variables, "PYTHONPATH": str(wheel)}
        with started(replace(program, argv=argv, variables=variables)) as process:
            done = process.end(process.stdout.read())
        assert done.exit_code == 0, done.stderr
        return done

    return call


def test_it_is_newer_than_the_pinned_one() -> None:
    """Once it is released, and pinned for all, another pre-release has to take its place."""
    asked = [
        environment("singer-sdk", beside=_BESIDE).python,
        "-c",
        "import importlib.metadata as m; print(m.version('singer-sdk'))",
    ]
    newer = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()

    assert Version(newer) > Version(version("singer-sdk"))


def test_discovery_finds_the_same_streams(with_next_sdk: Call, site: Site) -> None:
    catalog = msgspec.json.decode(with_next_sdk("--discover").stdout)

    assert {stream["tap_stream_id"]: stream for stream in catalog["streams"]} == site.discover()


def test_records_are_the_rows(with_next_sdk: Call) -> None:
    assert_same_rows(with_next_sdk().records(_STREAM), records_of(_VISITS))


def test_files_hold_the_rows(with_next_sdk: Call, site: Site) -> None:
    done = with_next_sdk(batch_config=batch_config("arrow", site.files / "out"))

    assert_same_rows(records_of_files(files_of(done.messages)), records_of(_VISITS))
