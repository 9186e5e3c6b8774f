"""Contents of a thousand files, with every fault, while the tap is killed again and again: all whole in the end.

Another seed: `TAP_REDIVIS_KILL_SEED=7 pytest tests/kill/test_files.py`.
"""

from __future__ import annotations

import base64
import hashlib
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from redivis_emulator import DEFAULT_TOKEN, Emulator, Fault
from redivis_emulator.access import RateLimit
from redivis_emulator.service import Settings
from tap_redivis.model.columns import FILE_URI, ROW_KEY
from tests.kill.loads import Loads, table_of
from tests.kill.test_kill import Moment, until
from tests.support.file_tables import STREAM, path_of, rows_of, watched
from tests.support.pipes import Json, Output, Program
from tests.support.running import forked
from tests.support.served import Site, write_note

pytestmark = pytest.mark.long

_KILLS = 30
_SEED = int(os.environ.get("TAP_REDIVIS_KILL_SEED", "1"))
_MIB = 1024 * 1024
_SIZES = (
    *[0] * 20,
    *[1 + number**2 % 4000 for number in range(700)],
    *[100_000 + 400 * number for number in range(200)],
    *[_MIB + 40_000 * number for number in range(67)],
    *[10 * _MIB + number for number in range(9)],
    *[50 * _MIB - number for number in range(4)],
)
_ONCE: tuple[dict[str, object], ...] = (
    *({"kind": kind, "at_byte": at} for kind in ("close", "reset", "short", "garbage", "stall") for at in (3, 90_000)),
    {"kind": "close"},
    {"kind": "slow", "length": 20, "seconds": 0.01},
    {"kind": "throttle", "rate": 3_000_000},
    {"kind": "wrong_digest"},
    {"kind": "wrong_length"},
    {"kind": "wrong_length", "length": 0},
    {"kind": "wrong_length", "length": 60 * _MIB},
    {"kind": "no_range", "times": 9},
    {"kind": "status", "status": 503},
    {"kind": "status", "status": 429, "retry_after": 0},
    {"kind": "status", "status": 416},
    {"kind": "relabel", "status": 302, "headers": {"Location": "#again"}},
)
"""What hits a file, each some files of each size; a cut lets what ignores ranges be asked for one."""


@pytest.fixture(name="site")
def make_site(tmp_path: Path) -> Iterator[Site]:
    """A Redivis with a thousand files, 0 B to 50 MiB, most of them small, in four read streams."""
    folder, files = tmp_path / "served", tmp_path / "files"
    files.mkdir()
    chance = random.Random(_SEED)  # noqa: S311 - the same in every run
    block = chance.randbytes(51 * _MIB)
    for number, size in enumerate(_SIZES):
        path = folder / f"demo/scans/v1.0/scans.files/{number % 7}/{number:04}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(memoryview(block)[number : number + size])
    write_note(folder, "demo/scans/dataset.yml", {"tables": {"scans": {"num_bytes": 10**6}}})
    settings = Settings(streams=4, file_address="signed")
    with Emulator(folder, rate_limit=RateLimit(10**9), settings=settings) as emulator:
        yield Site(emulator, folder, files, DEFAULT_TOKEN)


def test_a_tap_that_is_killed_again_and_again_copies_all_files(site: Site, tmp_path: Path) -> None:
    """Each file is there, whole, before its row is; each row is acknowledged once; nothing else lies in the root."""
    assert len(_SIZES) == 1000
    chance = random.Random(_SEED)  # noqa: S311 - the same in every run
    rows = {row["file_id"]: _row(number, row) for number, row in enumerate(rows_of(site))}
    kills = 0
    while kills < _KILLS:
        root = tmp_path / f"after {kills} kills"
        loads = Loads({"v1.0": table_of(rows.values())}, STREAM)
        site.emulator.faults.clear()
        site.emulator.faults.add(*_faults(chance, rows))
        with watched(root, {row["file_name"]: row["size"] for row in rows.values()}, 0.05) as seen:
            while loads.done is None:
                program = site.tap(
                    datasets=["demo.scans"],
                    files={"root": str(root)},
                    state=loads.state,
                    row_key=True,
                    state_interval_rows=20,
                    request_timeout_seconds=3,
                )
                done = _run(program, _moment(chance, site) if kills < _KILLS else lambda _: False)
                kills += done.exit_code != 0
                loads.take(_checked(message, rows) for message in done.messages)
        assert seen.looks
        names = {path.relative_to(root / "scans").as_posix(): path for path in root.rglob("*") if path.is_file()}
        assert {name: _md5(path) for name, path in names.items()} == {
            f"{row['file_id']}/{row['file_name']}": row["md5_hash"] for row in rows.values()
        }
        shutil.rmtree(root)


def _faults(chance: random.Random, rows: Mapping[str, Json]) -> Iterator[Fault]:
    """Let something happen to a third of the files, at one address or the other."""
    ids = sorted(rows, key=lambda file_id: (rows[file_id]["size"], file_id))
    for number, file_id in enumerate(ids[::3]):
        fault = _ONCE[number % len(_ONCE)]
        places = ["_storage", chance.choice(["rawFiles", "_storage"])]
        yield Fault(path=f"/{places[fault['kind'] in {'status', 'close', 'relabel'}]}/{file_id}", **fault)  # type: ignore[arg-type] # fields of Fault
        if fault["kind"] == "no_range":
            yield Fault(kind="close", path=f"/_storage/{file_id}", at_byte=1)


def _moment(chance: random.Random, site: Site) -> Moment:
    """Choose when to kill: while files are fetched, mostly, else after some output or some time."""
    kind = chance.choices(["requests", "bytes", "seconds"], [6, 2, 1])[0]
    if kind == "requests":
        requests = len(site.emulator.requests) + chance.randint(1, 250)
        return lambda _: len(site.emulator.requests) >= requests
    if kind == "bytes":
        after_bytes = chance.randrange(1, 60_000)
        return lambda written: written >= after_bytes
    moment = time.monotonic() + chance.uniform(0.1, 1.5)
    return lambda _: time.monotonic() >= moment


def _run(program: Program, moment: Moment) -> Output:
    """Run the tap, and kill it when it is time."""
    with forked(program) as process:
        written = until(process.stdout, moment)
        process.kill(signal.SIGKILL)
        written += until(process.stdout, lambda _: False)
        return process.end(written)


def _checked(message: Json, rows: Mapping[str, Json]) -> Json:
    """See to it that the file of a row is there, whole; give the row as `Loads` takes it."""
    if message["type"] != "RECORD":
        return message
    record = dict(message["record"])
    row = rows[record["file_id"]]
    assert _md5(path_of(record.pop(FILE_URI))) == row["md5_hash"]
    return {**message, "record": {ROW_KEY: record[ROW_KEY], **_row(row["id"], record)}}


def _row(number: int, row: Json) -> Json:
    return {"id": number, **{name: row[name] for name in ("file_id", "file_name", "size", "md5_hash")}}


def _md5(path: Path) -> str:
    return base64.b64encode(hashlib.md5(path.read_bytes(), usedforsecurity=False).digest()).decode()
