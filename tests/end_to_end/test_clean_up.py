"""What a killed run left of its unfinished files is gone after the next one, wherever in its work it was killed."""

from __future__ import annotations

import signal
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from tests.support.batches import batch_config, records_of_files
from tests.support.pipes import Json, Program, run
from tests.support.samples import sampled
from tests.support.served import Site, write_note

_KILLED = """
import os, signal, sys
from tap_redivis.__main__ import main

def count(event, arguments):
    global left
    if event in {"os.mkdir", "os.remove", "os.rename", "os.rmdir"}:
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

left = int(sys.argv.pop(1))
sys.addaudithook(count)
main()
"""
_CHANGES = 18  # of the file system in a run of two files; the last three are the clean-up
_SETTINGS = {"max_streams": 1, "stream_name_format": "{table}"}


@pytest.mark.parametrize("at", sampled(range(1, _CHANGES + 1), range(_CHANGES - 2, _CHANGES + 1)))
def test_nothing_unfinished_stays(site: Site, tmp_path: Path, at: int) -> None:
    """Killed before some change of the file system: after the next run, only the table's files are there."""
    write_note(site.folder, "demo/visits/dataset.yml", {"tables": {"visits": {"num_bytes": 10**6}}})  # so by a session
    site.release("demo/visits/v1.0/visits", pa.table({"id": range(8)}))
    settings = {**_SETTINGS, "batch_config": batch_config("arrow", tmp_path / "out", batch_size=4)}

    state = _state_of_killed(site.tap(**settings), at)
    last = site.sync(state=state, **settings)

    assert not list((tmp_path / "out/.partial").iterdir())
    version = last.state["bookmarks"]["visits"]["table_version"]
    files = (tmp_path / "out/visits" / str(version)).iterdir()
    assert sorted(record["id"] for record in records_of_files(files)) == list(range(8))


@pytest.mark.parametrize("at", sampled(range(1, 9), range(4, 7)))
def test_an_interrupted_clean_up_is_done_by_the_next_run(site: Site, tmp_path: Path, at: int) -> None:
    """The second run is another load, and is killed while it removes the files of the first."""
    settings = {"batch_config": batch_config("arrow", tmp_path / "out")}
    _state_of_killed(site.tap(**settings), 7)
    [left] = (tmp_path / "out/.partial").iterdir()
    for number in range(9):  # one of ten is the lock, which may be removed at any time
        (left / f"{number}.partial").touch()

    _state_of_killed(site.tap(**settings), at)
    site.sync(**settings)

    assert not list((tmp_path / "out/.partial").iterdir())


def _state_of_killed(program: Program, at: int) -> Json | None:
    """Run the tap, and kill it before a change of the file system; give the last STATE."""
    done = run(replace(program, argv=(sys.executable, "-c", _KILLED, str(at), *program.argv[1:])))
    assert done.exit_code == -signal.SIGKILL, done.stderr
    return done.state if b'"STATE"' in done.stdout else None
