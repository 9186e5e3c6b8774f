"""Serves the demo data by the emulator, as a process of its own, and lets the story run beside it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from redivis_emulator import demo as data


def main() -> int:
    """Run the demo; 0 only if every row arrived, and none twice."""
    with tempfile.TemporaryDirectory(prefix="tap-redivis-demo-") as made:
        folder = Path(made)
        served, loaded = folder / "served", folder / "loaded"
        served.mkdir()
        loaded.mkdir()
        data.build(served)
        emulator = str(Path(sys.executable).parent / "redivis-emulator")
        story = [sys.executable, "-m", "demo.story", str(served), str(loaded)]
        return subprocess.call([emulator, "run", str(served), "--", *story])  # noqa: S603 - our own programs


if __name__ == "__main__":
    sys.exit(main())
