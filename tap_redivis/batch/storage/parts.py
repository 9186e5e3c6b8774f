"""A file that is sent in parts of one size, of which only the last may be smaller."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import IO, Any, cast

_PART_BYTES = 8 * 1024 * 1024
_PARTS = 5000  # S3 has 10,000; a file may become larger than it should be by one block of rows

PutPart = Callable[[int, bytes], str]
"""Sends a part, given its number from 1 on and its bytes, and gives what the store has said to it."""


def part_bytes(file_bytes: int) -> int:
    """Say how large the parts of files of some size are."""
    return max(_PART_BYTES, file_bytes // _PARTS)


class PartsUpload:
    """A file on its way, part by part.

    Args:
        upload: What the store knows it by.
        put: Sends a part.
        size: Bytes of a part.

    Attributes:
        id: What the store knows it by.
    """

    def __init__(self, upload: str, put: PutPart, size: int) -> None:
        self.id = upload
        self._sink = _PartSink(put, size)

    @property
    def sink(self) -> IO[bytes]:
        """What to write to."""
        return cast("IO[bytes]", self._sink)

    def end(self) -> tuple[str, ...]:
        """Send what is left; give what the store has said to each part."""
        return self._sink.end()


class _PartSink(io.RawIOBase):
    """Sends a part whenever it has enough bytes for one.

    Args:
        put: Sends a part.
        size: Bytes of a part.
    """

    def __init__(self, put: PutPart, size: int) -> None:
        super().__init__()
        self._put = put
        self._part_bytes = size
        self._kept = bytearray()
        self._sent = 0
        self._parts: list[str] = []

    def writable(self) -> bool:
        """Say that it can be written to."""
        return True

    def tell(self) -> int:
        """Count the bytes that were written."""
        return self._sent + len(self._kept)

    def write(self, data: Any) -> int:  # noqa: ANN401 - what has bytes
        """Keep bytes, and send those that make a part."""
        view = memoryview(data).cast("B")
        for start in range(0, len(view), self._part_bytes):
            self._kept += view[start : start + self._part_bytes]
            if len(self._kept) >= self._part_bytes:
                self._send(self._part_bytes)
        return len(view)

    def end(self) -> tuple[str, ...]:
        """Send what is left, if only to have one part."""
        if self._kept or not self._parts:
            self._send(len(self._kept))
        return tuple(self._parts)

    def _send(self, count: int) -> None:
        with memoryview(self._kept) as kept:
            part = bytes(kept[:count])
        del self._kept[:count]
        self._parts.append(self._put(len(self._parts) + 1, part))
        self._sent += count
