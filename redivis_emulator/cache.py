"""Rendered blocks, kept up to a number of bytes: what makes a second reader cost nothing but sending."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from redivis_emulator import render

if TYPE_CHECKING:
    from redivis_emulator.render import Style
    from redivis_emulator.sessions import Run


class Cache:
    """The blocks that were used last.

    Args:
        max_bytes: How much is kept at most.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._lock = threading.Lock()
        self._blocks: OrderedDict[object, bytes] = OrderedDict()

    def find(self, run: Run, style: Style) -> bytes | None:
        """Return a run's bytes if they are at hand."""
        if not run.is_whole:
            return None
        with self._lock:
            key = _key(run, style)
            if key in self._blocks:
                self._blocks.move_to_end(key)
            return self._blocks.get(key)

    def render(self, run: Run, style: Style) -> bytes:
        """Return a run's bytes; those of whole blocks are kept."""
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
    """Return what tells blocks apart; rows that come again are the same, so a table of any size needs little room."""
    return run.view.part.source, run.view.schema, style, run.start % run.view.period, run.rows
