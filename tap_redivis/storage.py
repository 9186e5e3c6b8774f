"""Where BATCH files go: each is written under a temporary name, and appears whole, at once, or not at all.

A file that is being written lies in the folder ``.partial`` of the root and is locked by its writer: what a killed run
left there is not, and is removed by the next one.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO
from urllib.parse import unquote, urlsplit

from tap_redivis.errors import ConfigError, StorageError

_PARTIAL = ".partial"
_BUFFER_BYTES = 256 * 1024
_TODO = {
    errno.ENOSPC: "Make room and run again: the load goes on after its last complete file",
    errno.EDQUOT: "Make room and run again: the load goes on after its last complete file",
    errno.EAGAIN: "End the other run that writes there, or set batch_config.storage.root to another place",
    errno.EACCES: "Let the tap's user write there, or set batch_config.storage.root to another place",
    errno.EPERM: "Let the tap's user write there, or set batch_config.storage.root to another place",
    errno.EROFS: "Let the tap's user write there, or set batch_config.storage.root to another place",
}


class Draft:
    """A file that is being written; it is not there for others until it is published.

    Args:
        storage: Where it belongs.
        partial: Path of its temporary file.
        path: Path that it will have.

    Attributes:
        sink: What to write to.
    """

    def __init__(self, storage: Folder, partial: Path, path: Path) -> None:
        self._storage = storage
        self._partial = partial
        self._path = path
        with self.guarded():
            self.sink = _open_locked(partial)

    @property
    def url(self) -> str:
        """Where the file is once it is published."""
        return self._path.as_uri()

    def seal(self) -> None:
        """Note that all is written, and bring it to the disk.

        Raises:
            StorageError: It cannot be written.
        """
        with self.guarded():
            self.sink.flush()
            os.fsync(self.sink.fileno())

    def publish(self) -> None:
        """Let the file appear under its name, in the place of one that is there already.

        Raises:
            StorageError: It cannot.
        """
        with self.guarded():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._partial.replace(self._path)
            self.sink.close()
            _sync_folder(self._path.parent)
        self._storage.forget(self)

    def discard(self) -> None:
        """Remove what was written."""
        with suppress(OSError):
            self._partial.unlink()
        self._storage.forget(self)

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Turn errors of the file system into one clear line.

        Raises:
            StorageError: There was one.
        """
        with storage_errors(str(self._path)):
            yield


class Closed(Exception):
    """Nobody wants files any more: who still writes some can stop."""


class Folder:
    """A folder of this machine.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._drafts: set[Draft] = set()
        self._lock = threading.Lock()
        self._is_closed = False

    def prepare(self) -> None:
        """Make the folder, and remove files that killed runs left unfinished.

        Raises:
            StorageError: It cannot be made.
        """
        partial = self._root / _PARTIAL
        with storage_errors(str(self._root)):
            partial.mkdir(parents=True, exist_ok=True)
            for path in partial.iterdir():
                _remove_if_abandoned(path)

    def draft(self, name: str) -> Draft:
        """Begin a file.

        Args:
            name: Its name below the root; slashes part folders.

        Raises:
            StorageError: It cannot be written.
            Closed: All drafts have been removed, and no other may take their place.
        """
        digest = hashlib.blake2b(name.encode(), digest_size=8).hexdigest()
        with self._lock:  # from the file's first moment on: what is not in the set is not removed
            if self._is_closed:
                raise Closed
            draft = Draft(self, self._root / _PARTIAL / f"{digest}.partial", self._root / name)
            self._drafts.add(draft)
        return draft

    def forget(self, draft: Draft) -> None:
        """Note that a draft has been published or discarded."""
        with self._lock:
            self._drafts.discard(draft)

    def close(self) -> None:
        """Remove all files that are not complete, or that nobody was told of; none can be begun any more.

        Threads that write may not have heard yet that nobody wants their files.
        """
        with self._lock:
            self._is_closed = True
            drafts = list(self._drafts)
        for draft in drafts:
            draft.discard()


def storage_at(root: str) -> Folder:
    """Find the storage that a root means.

    Raises:
        ConfigError: There is none.
    """
    parts = urlsplit(root)
    if parts.scheme == "file":
        return Folder(Path(unquote(parts.path)))
    if "://" in root:
        raise ConfigError(
            f"{parts.scheme}:// is no storage that this tap knows",
            where="batch_config.storage.root",
            todo="Name a folder",
        )
    return Folder(Path(root).absolute())


@contextmanager
def storage_errors(where: str) -> Iterator[None]:
    """Turn errors of the file system into one clear line.

    Raises:
        StorageError: There was one.
    """
    try:
        yield
    except OSError as error:
        what = os.strerror(error.errno).lower() if error.errno else str(error)
        todo = _TODO.get(error.errno or 0, "Check batch_config.storage.root and run again")
        raise StorageError(f"a BATCH file cannot be written: {what}", where=where, todo=todo) from error


def _open_locked(path: Path) -> IO[bytes]:
    """Open a file to write it anew, and hold its lock for as long as it is open.

    Raises:
        OSError: It cannot be opened, or another process writes it.
    """
    while True:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666), "wb", buffering=_BUFFER_BYTES)
        _lock(file)
        try:
            if os.path.samestat(path.stat(), os.fstat(file.fileno())):
                file.truncate()
                return file
        except FileNotFoundError:  # taken for abandoned before it was locked
            pass
        file.close()


def _lock(file: IO[bytes]) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise
    except OSError:  # a file system without locks: nothing is taken for abandoned there
        return


def _remove_if_abandoned(path: Path) -> None:
    """Remove an unfinished file, unless a process that writes it still holds its lock."""
    with suppress(OSError), path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
