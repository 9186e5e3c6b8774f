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
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.plain_tap import TABLE
from benchmarks.shapes import make_typical

TAP = "tap-redivis (jsonl)"
PLAIN = "plain singer-sdk tap"
CURL = "curl of the same bytes"


# A small process starts the program: the system counts what a process held before it became another program.
_MEASURE = """
import os, sys, time
started = time.perf_counter()
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(pid, 0)
print(f"\\n{time.perf_counter() - started} {usage.ru_maxrss}", file=sys.stderr)
sys.exit(os.waitstatus_to_exitcode(status) & 255)
"""


@dataclass(frozen=True)
class Measure:
    """One run of one path.

    Attributes:
        seconds: Wall time of the whole process.
        peak_mib: Largest resident memory, in MiB.
    """

    seconds: float
    peak_mib: float


def measure(command: Sequence[str], environment: dict[str, str]) -> Measure:
    """Run a command with its output to /dev/null."""
    program = shutil.which(command[0]) or command[0]
    done = subprocess.run(  # noqa: S603 - our own commands
        [sys.executable, "-S", "-E", "-c", _MEASURE, program, *command[1:]],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment,
        check=False,
        text=True,
    )
    if done.returncode:
        sys.exit(f"{command[0]} failed:\n{done.stderr}")
    seconds, kilobytes = done.stderr.splitlines()[-1].split()
    return Measure(float(seconds), int(kilobytes) / 1024)


def curl_commands(environment: dict[str, str]) -> list[str]:
    """Open a session and make the curl command that reads its one stream."""
    import requests  # noqa: PLC0415 - only here

    endpoint, token = environment["REDIVIS_API_ENDPOINT"], environment["REDIVIS_API_TOKEN"]
    bearer = f"Authorization: Bearer {token}"
    answer = requests.post(
        f"{endpoint}/tables/{TABLE}/readSessions",
        json={"format": "jsonl"},
        headers={"Authorization": f"Bearer {token}"},
        timeout=60,
    )
    stream = answer.json()["streams"][0]["id"]
    return ["curl", "--silent", "--fail", "--header", bearer, f"{endpoint}/readStreams/{stream}"]


def run(rows: int, repeats: int, config: Path) -> None:
    """Measure all paths and print the table."""
    environment = dict(os.environ)
    tap = [str(Path(sys.executable).with_name("tap-redivis")), "--config", str(config)]
    plain = [sys.executable, "-m", "benchmarks.plain_tap"]
    measure(tap, environment)  # warm-up: the emulator renders the bodies
    results: dict[str, list[Measure]] = {TAP: [], CURL: [], PLAIN: []}
    for _ in range(repeats):
        results[TAP].append(measure(tap, environment))
        results[CURL].append(measure(curl_commands(environment), environment))
        results[PLAIN].append(measure(plain, environment))
    show(results, rows)


def show(results: dict[str, list[Measure]], rows: int) -> None:
    """Print medians and ratios as a Markdown table."""
    rates = {path: rows / statistics.median(run.seconds for run in runs) for path, runs in results.items()}
    print("| Path | rows/s | times plain SDK | peak MiB |")  # noqa: T201
    print("|---|---|---|---|")  # noqa: T201
    for path, runs in results.items():
        peak = statistics.median(run.peak_mib for run in runs)
        print(f"| {path} | {rates[path]:,.0f} | {rates[path] / rates[PLAIN]:.1f} | {peak:.0f} |")  # noqa: T201


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
    with tempfile.TemporaryDirectory() as name:
        folder, config = Path(name) / "data", Path(name) / "config.json"
        make_typical(folder, arguments.rows)
        config.write_text(json.dumps({"tables": [TABLE], "skip_unchanged": False}))
        emulator = str(Path(sys.executable).with_name("redivis-emulator"))
        inside = [sys.executable, "-m", "benchmarks", "--inside", str(config), "--rows", str(arguments.rows)]
        inside += ["--repeats", str(arguments.repeats)]
        sys.exit(subprocess.run([emulator, "run", str(folder), "--", *inside], check=False).returncode)  # noqa: S603


main()
