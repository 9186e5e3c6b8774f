"""As much of curl as tests need, made of its own library, for machines that have none."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import pycurl


def main() -> int:
    """Ask, and write what comes; return the exit code of curl."""
    asked = _arguments()
    said = os.dup(1)
    if asked.output:
        os.dup2(os.open(asked.output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
    curl = pycurl.Curl()  # which writes to stdout by itself: no Python for each piece
    curl.setopt(pycurl.URL, asked.url)
    curl.setopt(pycurl.HTTPHEADER, asked.header)
    curl.setopt(pycurl.FAILONERROR, asked.fail)
    if asked.data is not None:
        curl.setopt(pycurl.POSTFIELDS, asked.data)
    try:
        curl.perform()
    except pycurl.error as error:
        return int(error.args[0])
    os.write(said, asked.write_out.replace("%{size_download}", str(curl.getinfo(pycurl.SIZE_DOWNLOAD_T))).encode())
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("-s", "--silent", action="store_true", help="this is always silent")
    parser.add_argument("-f", "--fail", action="store_true")
    parser.add_argument("-H", "--header", action="append", default=[])
    parser.add_argument("-d", "--data")
    parser.add_argument("-o", "--output")
    parser.add_argument("-w", "--write-out", default="")
    return parser.parse_args()


def install(folder: Path) -> Path:
    """Make a command ``curl`` in a folder; return its path."""
    command = folder / "curl"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} {__file__} "$@"\n')
    command.chmod(0o755)
    return command


if __name__ == "__main__":
    sys.exit(main())
