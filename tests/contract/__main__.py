"""Check the facts against a Redivis: `make live`. It changes nothing there, and prints a report."""

from __future__ import annotations

import os
import sys

from tests.contract.report import look, text_of
from tests.contract.service import NotSeen, Service

_ENDPOINT = "https://redivis.com/api/v1"


def main() -> int:
    """Print the report; 1 if there is nothing to ask, or nobody who answers."""
    token = os.environ.get("REDIVIS_API_TOKEN")
    if not token:
        sys.stderr.write("make live needs REDIVIS_API_TOKEN: a token with the scope data.data\n")
        return 1
    service = Service((os.environ.get("REDIVIS_API_ENDPOINT") or _ENDPOINT).rstrip("/"), token)
    try:
        report = text_of(look(service), service)
    except NotSeen as reason:
        sys.stderr.write(f"make live cannot begin: {reason}\n")
        return 1
    sys.stdout.write(report.replace(token, "***") + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
