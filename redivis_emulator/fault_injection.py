"""Injects faults into connections and bodies: wraps the ASGI `send` and triggers a fault at its position."""

from __future__ import annotations

import asyncio
import math
import random
import socket
import struct
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Message, Send

    from redivis_emulator.faults import Fault

_POLL_SECONDS = 0.002
_STALL_POLL_SECONDS = 0.01
_SLOW_SECONDS = 0.05
_THROTTLE_SECONDS = 0.02
_GARBAGE_BYTES = 64
_MISSING_BYTES = 1 << 20
_UNKNOWN_BYTES = 1 << 31
_REFUSE_SECONDS = 1.0

# Key of the request's connection in the extensions of its ASGI scope.
CONNECTION = "redivis_emulator.connection"


class Broken(Exception):
    """The answer cannot go on: its connection is closed, or a fault ended its body early."""


@dataclass(frozen=True)
class Connection:
    """The TCP connection of a request.

    Args:
        transport: The connection.
        refuse: Makes the server refuse connections for some seconds.
    """

    transport: asyncio.Transport
    refuse: Callable[[float], None]

    @property
    def is_gone(self) -> bool:
        """True once either side has closed the connection."""
        return self.transport.is_closing()

    async def close(self) -> None:
        """Close the connection after all written bytes are sent."""
        self.transport.close()
        raise Broken

    async def reset(self) -> None:
        """Reset the TCP connection after the client's machine has received all written bytes."""
        while not self.is_gone and self._unsent():  # noqa: ASYNC110 - the kernel has no event for it
            await asyncio.sleep(_POLL_SECONDS)
        if not self.is_gone:
            # With a linger time of zero, closing a socket resets the connection.
            linger = struct.pack("ii", 1, 0)
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.transport.abort()
        raise Broken

    async def stall(self, seconds: float | None) -> None:
        """Wait for some time; without `seconds`, until the client disconnects."""
        loop = asyncio.get_running_loop()
        end = math.inf if seconds is None else loop.time() + seconds
        while (left := end - loop.time()) > 0:
            if self.is_gone:
                raise Broken
            await asyncio.sleep(min(left, _STALL_POLL_SECONDS))

    async def endless_head(self, seconds: float) -> None:
        """Send header lines until the client disconnects."""
        self.transport.write(b"HTTP/1.1 200 OK\r\n")
        while not self.is_gone:
            self.transport.write(b"X-Fault: endless\r\n")
            await self.stall(seconds)
        raise Broken

    def _unsent(self) -> int:
        waiting = self.transport.get_write_buffer_size()
        if waiting or sys.platform == "win32":
            return waiting
        import fcntl  # noqa: PLC0415 - not on Windows
        import termios  # noqa: PLC0415

        # Bytes that the client's machine has not acknowledged.
        queue = fcntl.ioctl(self.transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
        return int.from_bytes(queue, sys.byteorder)


async def leave_unanswered(fault: Fault, connection: Connection) -> None:
    """Trigger a fault that leaves a request without an answer.

    Raises:
        Broken: Always, except after a `stall` that ends.
    """
    if fault.kind == "close":
        await connection.close()
    if fault.kind == "reset":
        await connection.reset()
    if fault.kind == "stall":
        await connection.stall(fault.seconds)
    if fault.kind == "endless_head":
        await connection.endless_head(_SLOW_SECONDS if fault.seconds is None else fault.seconds)
    if fault.kind == "refuse":
        connection.refuse(_REFUSE_SECONDS if fault.seconds is None else fault.seconds)
        await connection.close()


class BrokenSend:
    """An ASGI `send` that triggers one fault at its position in the body.

    The position is `at_byte`, or the empty chunk by which a body marks the row `at_row`.
    """

    def __init__(self, send: Send, fault: Fault, connection: Connection) -> None:
        self._send = send
        self._fault = fault
        self._connection = connection
        # Bytes before the fault; None: the position is the empty chunk.
        self._before = None if fault.at_row is not None else fault.at_byte or 0
        # Bytes that the fault changes or slows down; None: all that follow.
        self._spoilt = _GARBAGE_BYTES if fault.length is None and fault.kind == "garbage" else fault.length
        self._left = 0  # bytes of `wrong_length` to send
        self._over = False
        self._last = b"\n"  # what was sent last
        # When the next bytes may be sent, in seconds on the loop's clock.
        self._due = 0.0

    async def __call__(self, message: Message) -> None:
        """Send an ASGI message, up to the fault."""
        if message["type"] == "http.response.start":
            await self._send({**message, "headers": self._headers(message["headers"])})
            return
        data, more = message.get("body", b""), message.get("more_body", False)
        if self._fault.kind == "wrong_length":
            data = self._fit(data, more=more)
        elif not self._over:
            data = await self._reach(data, more=more)
        if self._over and self._fault.kind == "garbage":
            data = self._garble(data)
        if self._over and self._fault.kind == "slow":
            data = await self._trickle(data)
        if self._over and self._fault.kind == "throttle":
            data = await self._throttle(data)
        await self._write(data, more=more)

    def _headers(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        rest = [(name, value) for name, value in headers if name.lower() != b"content-length"]
        if self._fault.kind == "short":
            promised = _MISSING_BYTES + (_UNKNOWN_BYTES if self._before is None else self._before)
            return [*rest, (b"content-length", str(promised).encode())]
        if self._fault.kind == "wrong_length":
            right = next((int(value) for name, value in headers if name.lower() == b"content-length"), 0)
            self._left = max(0, right - 1) if self._fault.length is None else self._fault.length
            return [*rest, (b"content-length", str(self._left).encode())]
        # A body that ends early in a regular way must not have a Content-Length.
        return rest if self._fault.kind == "end" else headers

    async def _reach(self, data: bytes, *, more: bool) -> bytes:
        """Send the bytes before the fault, trigger it at its position, and return the bytes that remain."""
        is_end_of_short = self._fault.kind == "short" and not more
        if self._before is None:
            self._over = (more and not data) or is_end_of_short
            cut = len(data)
        else:
            self._over = len(data) >= self._before or is_end_of_short
            cut = min(self._before, len(data))
            self._before -= cut
        if not self._over:
            return data
        await self._write(data[:cut], more=True)
        await self._happen()
        return data[cut:]

    async def _happen(self) -> None:
        if self._fault.kind in {"close", "short"}:
            await self._connection.close()
        if self._fault.kind == "reset":
            await self._connection.reset()
        if self._fault.kind == "end":
            await self._write(b"", more=False)
            raise Broken
        if self._fault.kind == "stall":
            await self._connection.stall(self._fault.seconds)
        if self._fault.kind == "repeat":
            while not self._connection.is_gone:
                await self._write(self._last, more=True)
            raise Broken

    def _fit(self, data: bytes, *, more: bool) -> bytes:
        """Cut a body to the wrong length, or fill it with zeros."""
        fit = data[: self._left] if more else data[: self._left].ljust(self._left, b"\0")
        self._left -= len(fit)
        return fit

    def _garble(self, data: bytes) -> bytes:
        count = self._share(data)
        return random.Random(count).randbytes(count) + data[count:]  # noqa: S311 - garbage, the same in every run

    async def _trickle(self, data: bytes) -> bytes:
        """Send bytes one by one; return the bytes to send at full speed."""
        count = self._share(data)
        for position in range(count):
            await self._write(data[position : position + 1], more=True)
            await self._connection.stall(_SLOW_SECONDS if self._fault.seconds is None else self._fault.seconds)
        return data[count:]

    async def _throttle(self, data: bytes) -> bytes:
        """Send bytes in small pieces at the given rate; return the bytes to send at full speed.

        Time that a slow client lost is not made up for.
        """
        loop = asyncio.get_running_loop()
        count = self._share(data)
        size = max(1, round(self._fault.rate * _THROTTLE_SECONDS))
        for start in range(0, count, size):
            piece = data[start : min(start + size, count)]
            self._due = max(self._due, loop.time()) + len(piece) / self._fault.rate
            await self._connection.stall(self._due - loop.time())
            await self._write(piece, more=True)
        return data[count:]

    def _share(self, data: bytes) -> int:
        """Return how many bytes of a chunk the fault applies to, and count them."""
        if self._spoilt is None:
            return len(data)
        count = min(self._spoilt, len(data))
        self._spoilt -= count
        return count

    async def _write(self, data: bytes, *, more: bool) -> None:
        if data or not more:
            self._last = data
            await self._send({"type": "http.response.body", "body": data, "more_body": more})
