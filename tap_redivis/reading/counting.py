"""Counts that the threads of one table share: rows that may still be read, and what has been received."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from tap_redivis.wire.decoder import Rows


class RowBudget:
    """How many rows all read streams of a table together may still give; None: no limit."""

    def __init__(self, rows: int | None) -> None:
        self.left = rows
        self._lock = threading.Lock()

    @property
    def is_used_up(self) -> bool:
        """Whether no row may be read any more."""
        return self.left is not None and self.left <= 0

    def take(self, rows: Rows) -> Rows:
        """Take as many rows of a block as may still be read."""
        if self.left is None:
            return rows
        with self._lock:
            rows = rows.first(self.left)
            self.left -= rows.count
        return rows


@dataclass
class ReadProgress:
    """How far the reading of a table is.

    Attributes:
        received: Rows so far, those of earlier runs included.
        bytes: Bytes received in this run.
        resumes: How often a broken read stream was resumed in this run.
    """

    received: int = 0
    bytes: int = 0
    resumes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, *, size: int = 0, resumes: int = 0) -> None:
        """Count bytes and resumes; called by several threads."""
        with self._lock:
            self.bytes += size
            self.resumes += resumes
