"""The bounded queue between the threads that read and the thread that writes."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from tap_redivis.reading.jobs import Chunk, StreamEnd

_WAITING_BYTES = 4 * 1024 * 1024
_SECONDS_BETWEEN_LOOKS = 0.2

Message = Chunk | StreamEnd | BaseException
"""What a reading thread tells the writing thread; an error is raised there."""


class ChunkQueue:
    """Holds at most ``_WAITING_BYTES``, or one chunk that is larger; the chunk that is being written counts too.

    Args:
        stop: Set when nobody takes chunks any more.
    """

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._room = threading.Condition()
        self._waiting = 0
        self._taken = 0

    def put(self, message: Message) -> None:
        """Add a message as soon as there is room; return after a large one has been written."""
        size = _size(message)
        with self._room:
            self._wait_while(lambda: self._waiting and self._waiting + size > _WAITING_BYTES)
            self._waiting += size
        self._messages.put(message)
        del message  # a large chunk must not be kept by the thread that waits below
        if size > _WAITING_BYTES:
            with self._room:
                self._wait_while(lambda: self._waiting)

    def get(self) -> Message:
        """Take the next message; the one before has been written by now."""
        with self._room:
            self._waiting -= self._taken
            self._room.notify_all()
        message = self._messages.get()
        self._taken = _size(message)
        return message

    def _wait_while(self, condition: Callable[[], object]) -> None:
        while condition() and not self._stop.is_set():
            self._room.wait(_SECONDS_BETWEEN_LOOKS)


def _size(message: Message) -> int:
    return message.content.size if isinstance(message, Chunk) else 0
