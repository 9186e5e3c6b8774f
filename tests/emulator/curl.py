"""As much of curl as the emulator's page needs: ``-s``, ``-H``, ``-d``, and exit code 18 for a body that breaks off."""

from __future__ import annotations

import argparse
import sys
from http.client import IncompleteRead
from urllib.error import HTTPError
from urllib.request import Request, urlopen

_PARTIAL_FILE = 18


def main() -> int:
    """Ask, and write what comes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("-s", action="store_true")
    parser.add_argument("-H", default="User-Agent: curl")
    parser.add_argument("-d", type=str.encode)
    asked = parser.parse_args()
    name, _, value = asked.H.partition(": ")
    try:
        with urlopen(Request(asked.url, asked.d, {name: value})) as response:  # noqa: S310 - of the test's own emulator
            sys.stdout.buffer.write(response.read())
    except HTTPError as error:
        sys.stdout.buffer.write(error.read())
    except IncompleteRead as error:
        sys.stdout.buffer.write(error.partial)
        return _PARTIAL_FILE
    return 0


if __name__ == "__main__":
    sys.exit(main())
