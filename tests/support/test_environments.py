"""Environments of other programs are whole whenever somebody gets one."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.support.environments import cache_folder, environment

if TYPE_CHECKING:
    from pathlib import Path

_RUN_TARGET = """
import subprocess
from tests.support.environments import environment
print((environment("target-jsonl").path / "complete").stat().st_mtime_ns)
subprocess.run([environment("target-jsonl").executable("target-jsonl")], input=b"", check=True)
"""


@pytest.fixture(autouse=True)
def _empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TAP_REDIVIS_TEST_CACHE", str(tmp_path))


def _run_target_in_a_process_of_its_own(_: int) -> str:
    return subprocess.run([sys.executable, "-c", _RUN_TARGET], capture_output=True, text=True, check=True).stdout


@pytest.mark.long
def test_processes_that_want_the_same_environment_at_once_share_one_build(
    pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pytestconfig.rootpath)
    with ThreadPoolExecutor(3) as threads:
        completed_at = set(threads.map(_run_target_in_a_process_of_its_own, range(3)))

    assert len(completed_at) == 1


@pytest.mark.long
def test_an_environment_that_was_left_half_built_is_built_again() -> None:
    path = environment("target-jsonl").path
    (path / "complete").unlink()
    (path / "bin" / "target-jsonl").unlink()

    assert environment("target-jsonl").executable("target-jsonl").exists()


def test_unknown_distributions_are_refused() -> None:
    with pytest.raises(FileNotFoundError, match=r"constraints-nothing\.txt"):
        environment("nothing")

    assert not cache_folder().exists()
