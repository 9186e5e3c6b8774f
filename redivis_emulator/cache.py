"""A cache of rendered blocks, limited in bytes: a second reader of the same rows costs no rendering."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from redivis_emulator import render

if TYPE_CHECKING:
    from redivis_emulator.render import Style
    from redivis_emulator.sessions import Run


class Cache:
    """Holds the blocks that were used last.

    Args:
        max_bytes: Maximum total size of the blocks.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._lock = threading.Lock()
        self._blocks: OrderedDict[object, bytes] = OrderedDict()

    def find(self, run: Run, style: Style) -> bytes | None:
        """Return the bytes of a run if they are in the cache, else None."""
        if not run.is_whole:
            return None
        with self._lock:
            key = _key(run, style)
            if key in self._blocks:
                self._blocks.move_to_end(key)
            return self._blocks.get(key)

    def render(self, run: Run, style: Style) -> bytes:
        """Render a run and return its bytes; the cache keeps them if the run is a whole block."""
        data = render.body(run.table(), style)
        if run.is_whole and len(data) <= self._max_bytes:
            self._keep(_key(run, style), data)
        return data

    def _keep(self, key: object, data: bytes) -> None:
        with self._lock:
            if key not in self._blocks:
                self._blocks[key] = data
                self._bytes += len(data)
            while self._bytes > self._max_bytes:
                _, oldest = self._blocks.popitem(last=False)
                self._bytes -= len(oldest)


def _key(run: Run, style: Style) -> object:
    """Return the cache key of a run; repeated rows have the same key, so a repeated table needs little memory."""
    return run.view.part.source, run.view.schema, style, run.start % run.view.period, run.rows
