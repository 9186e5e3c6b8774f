"""A web server in a thread of its own: uvicorn's HTTP protocol on an event loop and a socket of this module."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
import threading
from typing import TYPE_CHECKING

from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from redivis_emulator.errors import StartError
from redivis_emulator.fault_injection import CONNECTION, Connection

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp

_WRITE_BUFFER_BYTES = 1 << 20
_BACKLOG = 1024
# Longer than clients keep an idle connection: else they may send a request while the server closes it.
_KEEP_ALIVE_SECONDS = 300

if sys.platform == "win32":  # uvloop has no Windows build
    from asyncio import new_event_loop
else:
    from uvloop import new_event_loop


def _is_error(record: logging.LogRecord) -> bool:
    """Return whether a log record of uvicorn reports an error of the application, not an answer that was cut off."""
    kind = record.exc_info[0] if record.exc_info else None
    return kind is None or not issubclass(kind, (asyncio.CancelledError, GeneratorExit))


# A logger of its own: the filter must not touch other servers in the process.
_LOGGER = logging.getLogger("redivis_emulator")
_LOGGER.addFilter(_is_error)


class _Protocol(HttpToolsProtocol):
    """HTTP/1.1; the application gets the connection in the scope of the request.

    Attributes:
        refuse: Makes the server refuse connections for some seconds.
        stopping: Set when the server ends: connections that are made after it are broken.
    """

    refuse: Callable[[float], None]
    stopping: asyncio.Event

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in uvicorn
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=_WRITE_BUFFER_BYTES)
        if self.stopping.is_set():
            transport.abort()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {CONNECTION: {"connection": Connection(self.transport, self.refuse)}}


class Server:
    """Serves an application until it is stopped.

    Args:
        app: The application.
        host: Address to listen on.
        port: Port to listen on; 0: a free one.

    Raises:
        StartError: The address cannot be listened on.
    """

    def __init__(self, app: ASGIApp, host: str, port: int) -> None:
        self._state = ServerState()
        self._config = Config(
            app, log_config=None, access_log=False, lifespan="off", timeout_keep_alive=_KEEP_ALIVE_SECONDS
        )
        self._config.load()
        try:
            self._socket = _listen(host, port)
        except OSError as error:
            msg = f"cannot listen on {host}:{port}: {error.strerror or error}"
            raise StartError(msg) from error
        self._host = host
        self.port: int = self._socket.getsockname()[1]
        self._loop = new_event_loop()
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="redivis-emulator", daemon=True)

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def stop(self) -> None:
        """Break all connections and end the thread; without `start`, only close the port."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()
        self._loop.close()
        self._socket.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        await self._listen()
        await self._stopping.wait()
        self._listener.close()
        await self._end()

    async def _listen(self) -> None:
        self._listener = await self._loop.create_server(self._connect, sock=self._socket)

    async def _end(self) -> None:
        self._abort_connections()
        # An answer that waits for its connection ends by itself; all other tasks are cancelled.
        await asyncio.sleep(0)
        while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    def _abort_connections(self) -> None:
        for connection in list(self._state.connections):
            connection.transport.abort()

    def _connect(self) -> asyncio.Protocol:
        protocol = _Protocol(self._config, self._state, {}, self._loop)
        protocol.logger = _LOGGER
        protocol.refuse = self._refuse
        protocol.stopping = self._stopping
        return protocol

    def _refuse(self, seconds: float) -> None:
        """Close the port and all connections, and open the port again after some time."""
        self._listener.close()
        self._socket.close()
        self._socket = _bind(self._host, self.port)  # nobody else gets the port meanwhile
        self._loop.call_soon(self._abort_connections)
        self._loop.call_later(seconds, self._listen_again)

    def _listen_again(self) -> None:
        self._socket.listen(_BACKLOG)
        self._reopening = self._loop.create_task(self._listen())


def _listen(host: str, port: int) -> socket.socket:
    listener = _bind(host, port)
    listener.listen(_BACKLOG)
    return listener


def _bind(host: str, port: int) -> socket.socket:
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    return listener
