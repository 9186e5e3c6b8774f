"""As much of curl as tests need, made of its own library, for machines that have none."""

from __future__ import annotations

import argparse
import os
import sys
from itertools import zip_longest
from pathlib import Path

import pycurl


def main() -> int:
    """Ask for one address after another, and write what comes; return the exit code of curl."""
    asked = _arguments()
    said = os.dup(1)
    codes = [_fetch(asked, url, output, said) for url, output in zip_longest(asked.url, asked.output)]
    return next(filter(None, codes), 0)


def _fetch(asked: argparse.Namespace, url: str, output: str | None, said: int) -> int:
    if output:
        os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
    curl = pycurl.Curl()  # which writes to stdout by itself: no Python for each piece
    curl.setopt(pycurl.URL, url)
    curl.setopt(pycurl.HTTPHEADER, asked.header)
    curl.setopt(pycurl.FAILONERROR, asked.fail)
    if asked.data is not None:
        curl.setopt(pycurl.POSTFIELDS, asked.data)
    try:
        curl.perform()
    except pycurl.error as error:
        return int(error.args[0])
    figures = {"%{size_download}": str(curl.getinfo(pycurl.SIZE_DOWNLOAD_T)), "%{filename_effective}": output or ""}
    text = asked.write_out.replace("\\n", "\n")
    for figure, value in figures.items():
        text = text.replace(figure, value)
    os.write(said, text.encode())
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("url", nargs="+")
    parser.add_argument("-s", "--silent", action="store_true", help="this is always silent")
    parser.add_argument("-f", "--fail", action="store_true")
    parser.add_argument("-H", "--header", action="append", default=[])
    parser.add_argument("-d", "--data")
    parser.add_argument("-o", "--output", action="append", default=[])
    parser.add_argument("-Z", "--parallel", action="store_true", help="this takes them one after another")
    parser.add_argument("--parallel-immediate", action="store_true")
    parser.add_argument("--parallel-max", type=int)
    parser.add_argument("-w", "--write-out", default="")
    return parser.parse_intermixed_args()


def install(folder: Path) -> Path:
    """Make a command ``curl`` in a folder; return its path."""
    command = folder / "curl"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} {__file__} "$@"\n')
    command.chmod(0o755)
    return command


if __name__ == "__main__":
    sys.exit(main())
