"""Reads `demo.visits.visits` with the official client; runs in its environment, where nothing of ours is installed.

Arguments: the file that the table is written to, and how many rows to ask for, if not all.
"""

from __future__ import annotations

import sys

import pyarrow as pa
import redivis


def main() -> None:
    """Read and write the table, or say on the last line of stderr what error there was."""
    path, *limit = sys.argv[1:]
    table = redivis.organization("demo").dataset("visits").table("visits")
    rows = table.to_arrow_table(*map(int, limit), progress=False)
    with pa.OSFile(path, "wb") as file, pa.ipc.new_file(file, rows.schema) as writer:
        writer.write_table(rows)


if __name__ == "__main__":
    main()
