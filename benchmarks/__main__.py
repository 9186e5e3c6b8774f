"""Run the benchmark and print it as a table.

The emulator runs in a process of its own and has rendered the bodies before anything is timed. The runs of each path
alternate; figures are medians. Machines are shared and noisy: believe the ratios, which come from one run.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.plain_tap import TABLE
from benchmarks.shapes import make_typical

PLAIN = "plain singer-sdk tap"
CURL = "curl of the same bytes"
CURL_ARROW = "curl of the same Arrow bytes"
JSONL = "tap-redivis, jsonl"
PATHS: Mapping[str, Mapping[str, object]] = {
    "jsonl": {"wire_format": "jsonl", "row_key": False},
    "arrow": {"wire_format": "arrow", "row_key": False},
    "csv": {"wire_format": "csv", "row_key": False},
    "jsonl, row key": {"wire_format": "jsonl"},
    "jsonl, row key and lineage": {"wire_format": "jsonl", "lineage": True},
}
"""Settings of the tap by the name of the path: the formats are compared without what the tap adds to the rows."""
ENCODINGS = ("arrow", "parquet", "jsonl")
SDK_ENCODINGS = {"parquet": "SDK's ParquetBatcher", "jsonl": "SDK's JSONLinesBatcher"}
"""Encodings of BATCH files that a plain tap has too, and what writes them there."""

_FILE_ROWS = 100_000

_SAMPLE_SECONDS = 0.05


def seconds(command: Sequence[str], environment: dict[str, str]) -> float:
    """Run a command with its output to /dev/null, and give the wall time of the whole process."""
    started = time.perf_counter()
    done = subprocess.run(  # noqa: S603 - our own commands
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment, check=False, text=True
    )
    if done.returncode:
        sys.exit(f"{command[0]} failed:\n{done.stderr}")
    return time.perf_counter() - started


def peak_mib(command: Sequence[str], environment: dict[str, str]) -> float:
    """Run a command once more, and give the most memory that it and its processes held, in MiB.

    Pages that processes share count once (Pss).
    """
    peak = 0
    with subprocess.Popen(  # noqa: S603 - our own commands
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
    ) as process:
        while process.poll() is None:
            peak = max(peak, sum(map(_kilobytes, _family(process.pid))))
            time.sleep(_SAMPLE_SECONDS)
    return peak / 1024


def _family(pid: int) -> list[int]:
    """Give a process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    return [pid, *map(int, children.read_text().split() if children.exists() else ())]


def _kilobytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has ended
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def curl_command(environment: dict[str, str], wire_format: str) -> list[str]:
    """Open a session and make the curl command that reads its one stream."""
    import requests  # noqa: PLC0415 - only here

    endpoint, token = environment["REDIVIS_API_ENDPOINT"], environment["REDIVIS_API_TOKEN"]
    bearer = f"Authorization: Bearer {token}"
    answer = requests.post(
        f"{endpoint}/tables/{TABLE}/readSessions",
        json={"format": wire_format},
        headers={"Authorization": f"Bearer {token}"},
        timeout=60,
    )
    stream = answer.json()["streams"][0]["id"]
    return ["curl", "--silent", "--fail", "--header", bearer, f"{endpoint}/readStreams/{stream}"]


def run(rows: int, repeats: int, configs: Path) -> None:
    """Measure all paths in turn, and print the table."""
    environment = dict(os.environ)
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # as where it is installed
    commands = {f"tap-redivis, {name}": _tap(configs / f"{name}.json") for name in PATHS}
    commands |= {f"tap-redivis, {name} files": _tap(configs / f"{name} files.json") for name in ENCODINGS}
    commands |= {
        CURL: lambda: curl_command(environment, "jsonl"),
        CURL_ARROW: lambda: curl_command(environment, "arrow"),
        PLAIN: lambda: [*plain],
    }
    plain = [sys.executable, "-m", "benchmarks.plain_tap"]
    commands |= {
        name: lambda config=configs / f"plain {encoding}.json": [*plain, "--config", str(config)]
        for encoding, name in SDK_ENCODINGS.items()
    }
    peaks: dict[str, float] = {}
    results: dict[str, list[float]] = {path: [] for path in commands}
    for path, command in commands.items():
        peaks[path] = peak_mib(command(), environment)  # and warm up
        shutil.rmtree(configs / "out", ignore_errors=True)
    for _ in range(repeats):
        for path, command in commands.items():
            results[path].append(seconds(command(), environment))
            shutil.rmtree(configs / "out", ignore_errors=True)
    show(results, peaks, rows)


def _tap(config: Path) -> Callable[[], Sequence[str]]:
    return lambda: [str(Path(sys.executable).with_name("tap-redivis")), "--config", str(config)]


def show(results: Mapping[str, Sequence[float]], peaks: Mapping[str, float], rows: int) -> None:
    """Print medians and ratios as a Markdown table."""
    rates = {path: rows / statistics.median(runs) for path, runs in results.items()}
    print("| Path | rows/s | times plain SDK | times jsonl | slowest to fastest run | peak MiB |")  # noqa: T201
    print("|---|---|---|---|---|---|")  # noqa: T201
    for path, runs in results.items():
        span = f"{max(runs):.2f}-{min(runs):.2f} s"
        ratios = f"{rates[path] / rates[PLAIN]:.1f} | {rates[path] / rates[JSONL]:.2f}"
        print(f"| {path} | {rates[path]:,.0f} | {ratios} | {span} | {peaks[path]:.0f} |")  # noqa: T201


def main() -> None:
    """Start the emulator on a folder made for this run, and measure inside."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside:
        run(arguments.rows, arguments.repeats, arguments.inside)
        return
    memory = Path("/dev/shm")  # noqa: S108 - files that are written shall not wait for a disk
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        configs = Path(name)
        folder = configs / "data"
        make_typical(folder, arguments.rows)
        for path, settings in PATHS.items():
            config = {"tables": [TABLE], "skip_unchanged": False, **settings}
            (configs / f"{path}.json").write_text(json.dumps(config))
        for encoding in ENCODINGS:
            storage = {"root": str(configs / "out")}
            files = {"encoding": {"format": encoding}, "storage": storage, "batch_size": _FILE_ROWS}
            config = {"tables": [TABLE], "skip_unchanged": False, "row_key": False, "batch_config": files}
            (configs / f"{encoding} files.json").write_text(json.dumps(config))
            sdk = {**files, "storage": {"root": (configs / "out").as_uri()}}
            (configs / f"plain {encoding}.json").write_text(json.dumps({"batch_config": sdk}))
        emulator = str(Path(sys.executable).with_name("redivis-emulator"))
        inside = [sys.executable, "-m", "benchmarks", "--inside", str(configs), "--rows", str(arguments.rows)]
        inside += ["--repeats", str(arguments.repeats)]
        sys.exit(subprocess.run([emulator, "run", str(folder), "--", *inside], check=False).returncode)  # noqa: S603


main()
