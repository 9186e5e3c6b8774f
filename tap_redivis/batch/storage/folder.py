"""A folder of this machine, or one that several machines share.

Files of a load that are being written lie in a folder of their own, below ``.partial`` of the root; the tap holds a
lock in it for as long as the load goes on. What a killed run left has no such lock, and is removed by the next one.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from tap_redivis.batch.storage.common import Closed, Sealed
from tap_redivis.errors import StorageError

_PARTIAL = ".partial"
_LOCK = "lock"
_BUFFER_BYTES = 256 * 1024
_TRIES_FOR_LOCK = 20
_SECONDS_BETWEEN_TRIES = 0.05
_TODO = {
    errno.ENOSPC: "Make room and run again: the load goes on after its last complete file",
    errno.EDQUOT: "Make room and run again: the load goes on after its last complete file",
    errno.EAGAIN: "End the other run that writes there, or set batch_config.storage.root to another place",
    errno.EACCES: "Let the tap's user write there, or set batch_config.storage.root to another place",
    errno.EPERM: "Let the tap's user write there, or set batch_config.storage.root to another place",
    errno.EROFS: "Let the tap's user write there, or set batch_config.storage.root to another place",
}


class FolderDraft:
    """A file that is being written, under a name that no other attempt has.

    Args:
        partial: Its path until it is published.
        name: Name that it will have.
        path: Path that it will have.

    Attributes:
        sink: What to write to.
    """

    def __init__(self, partial: Path, name: str, path: Path) -> None:
        self._partial = partial
        self._name = name
        self._path = path
        with self.guarded():
            self.sink: IO[bytes] = partial.open("wb", buffering=_BUFFER_BYTES)

    def seal(self) -> Sealed:
        """Note that all is written, and bring it to the disk.

        Raises:
            StorageError: It cannot be written.
        """
        with self.guarded():
            self.sink.flush()
            os.fsync(self.sink.fileno())
            size = self.sink.tell()
            self.sink.close()
        return Sealed(self._path.as_uri(), self._name, self._partial.name, (), size)

    def discard(self) -> None:
        """Remove what was written."""
        with suppress(OSError):
            self._partial.unlink()
        with suppress(OSError):  # what it still holds may not fit on the disk
            self.sink.close()

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Turn errors of the file system into one clear line.

        Raises:
            StorageError: There was one.
        """
        with storage_errors(str(self._path)):
            yield


class Folder:
    """A folder.

    Args:
        root: The folder.
        prefix: What the names of the load's files begin with.

    Attributes:
        can_be_forked: Yes: what the processes leave lies in the load's folder, and its lock is theirs too.
    """

    can_be_forked = True

    def __init__(self, root: Path, prefix: str) -> None:
        self._root = root
        digest = hashlib.blake2b(prefix.encode(), digest_size=8).hexdigest()
        self._partial = root / _PARTIAL / digest
        self._lock = threading.Lock()
        self._held: IO[bytes] | None = None
        self._is_closed = False

    def prepare(self) -> None:
        """Make the folder and lock the load's own, and remove what killed runs left unfinished.

        Raises:
            StorageError: It cannot be made, or another run loads the same there.
        """
        with storage_errors(str(self._root)):
            self._held = _locked_folder(self._partial)
            for path in self._partial.parent.iterdir():
                if path == self._partial:
                    _empty(path)
                else:
                    _remove_if_abandoned(path)

    def draft(self, name: str) -> FolderDraft:
        """Begin a file (see ``Storage``)."""
        with self._lock:  # a file that is begun while the folder is removed would keep it
            if self._is_closed:
                raise Closed
            return FolderDraft(self._partial / f"{uuid.uuid4().hex}.partial", name, self._root / name)

    def publish(self, file: Sealed) -> None:
        """Let a file appear under its name, in the place of one that is there already.

        Raises:
            StorageError: It cannot.
        """
        path = self._root / file.name
        with storage_errors(str(path)):
            path.parent.mkdir(parents=True, exist_ok=True)
            (self._partial / file.upload).replace(path)
            _sync_folder(path.parent)

    def discard(self, file: Sealed) -> None:
        """Remove a file that nobody was told of."""
        with suppress(OSError):
            (self._partial / file.upload).unlink()

    def close(self, *, others: bool) -> None:  # noqa: ARG002 - all of them are in the one folder
        """Remove all files that are not complete, or that nobody was told of; none can be begun any more."""
        with self._lock:
            self._is_closed = True
            if self._held is not None:
                _remove(self._partial)
                self._held.close()
                self._held = None


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


def _locked_folder(folder: Path) -> IO[bytes]:
    """Make a folder, and hold its lock for as long as the file that is returned is open.

    Raises:
        OSError: It cannot be made, or another process holds its lock.
    """
    for number in range(_TRIES_FOR_LOCK):
        if number:
            time.sleep(_SECONDS_BETWEEN_TRIES)
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # taken for abandoned before it was locked
            file = (folder / _LOCK).open("wb")
            if _is_locked_now(file) and _is_there(file, folder):
                return file
            file.close()
    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))


def _is_there(file: IO[bytes], folder: Path) -> bool:
    return os.path.samestat((folder / _LOCK).stat(), os.fstat(file.fileno()))


def _is_locked_now(file: IO[bytes]) -> bool:
    """Take a file's lock; False where another process holds it, which may be looking whether it is abandoned."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks: nothing is taken for abandoned there
        return True
    return True


def _remove_if_abandoned(folder: Path) -> None:
    """Remove the unfinished files of a load, unless a process that writes them still holds its lock."""
    with suppress(OSError):
        folder.rmdir()  # killed before there was a lock; else it is not empty
    with suppress(OSError), (folder / _LOCK).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a folder that others may be writing into: under another name nobody finds it."""
    gone = folder.with_name(f"{uuid.uuid4().hex}.gone")
    with suppress(OSError):
        folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name != _LOCK:
            path.unlink()


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
