"""A folder of this machine, or one that several machines share.

Files of a load that are being written lie in a folder of their own, below ``.partial`` of the root; the tap holds a
lock in it for as long as the load goes on. What a killed run left has no such lock, and the next run removes it.
"""

import base64
import errno
import fcntl
import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from tap_redivis.batch.storage.common import FinishedFile, Storage, outside
from tap_redivis.errors import StorageError

_PARTIAL = ".partial"
_GONE = ".gone"
_LOCK = "lock"
_BUFFER_BYTES = 256 * 1024
_TRIES_FOR_LOCK = 20  # another run that looks for abandoned files holds each lock for a moment
_SECONDS_BETWEEN_TRIES = 0.05
_ROOM = "Make room and run again: the load goes on after its last complete file"
_RIGHTS = "Let the tap's user write there, or set batch_config.storage.root to another place"
_HINTS = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: _ROOM,
    errno.EAGAIN: "End the other run that writes there, or set batch_config.storage.root to another place",
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.EROFS: _RIGHTS,
}


@contextmanager
def storage_errors(where: str) -> Iterator[None]:
    """Turn errors of the file system into one ``StorageError``."""
    try:
        yield
    except OSError as error:
        what = os.strerror(error.errno).lower() if error.errno else str(error)
        hint = _HINTS.get(error.errno or 0, "Check batch_config.storage.root and run again")
        raise StorageError(f"a BATCH file cannot be written: {what}", where=where, hint=hint) from error


class PartialFile:
    """A file with fsspec's transaction, by hand.

    fsspec's own file for folders lies in the system's temporary folder: another machine could not publish it, its move
    to the root is a copy where that is another disk, which readers see half done, it is not synced to the disk, and
    nobody would find what a killed run left.
    """

    def __init__(self, partial: Path, path: Path, sink: IO[bytes] | None = None) -> None:
        self.partial = partial  # its path until it is committed
        self.closed = sink is None
        self._path = path  # then
        self._sink: Any = sink  # None: the file is complete

    def write(self, data: bytes) -> None:
        """Write bytes."""
        self._sink.write(data)

    def close(self) -> None:
        """Bring all bytes to the disk."""
        self._sink.flush()
        os.fsync(self._sink.fileno())
        self._sink.close()

    def commit(self) -> None:
        """Let it appear."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self.partial.replace(self._path)
        _sync_folder(self._path.parent)

    def discard(self) -> None:
        """Remove it."""
        self.partial.unlink(missing_ok=True)
        with suppress(OSError):  # what it still holds may not fit on the disk
            if self._sink is not None:
                self._sink.close()


class Folder(Storage):
    """A folder."""

    kept = ("partial",)
    errors = staticmethod(storage_errors)

    def __init__(self, root: Path, prefix: str) -> None:
        super().__init__(prefix)
        self._root = root
        digest = hashlib.blake2b(prefix.encode(), digest_size=8).hexdigest()
        self._partial = root / _PARTIAL / digest
        self._held: IO[bytes] | None = None

    def prepare(self) -> None:
        """Make the folder, lock the load's own, and remove what killed runs left unfinished."""
        with self.errors(str(self._root)):
            self._held = _locked_folder(self._partial)
            for path in self._partial.parent.iterdir():
                if path == self._partial:
                    _empty(path)
                elif path.suffix == _GONE:  # its lock may be gone already
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    _remove_if_abandoned(path)

    def holds(self, name: str, size: int, md5: str | None) -> bool:
        """Whether a file is there with so many bytes and this MD5 in base64."""
        path = self._place(name)
        try:
            if not path.is_file() or path.stat().st_size != size:
                return False
            digest = hashlib.md5(usedforsecurity=False)
            with path.open("rb") as file:
                while md5 and (piece := file.read(_BUFFER_BYTES)):
                    digest.update(piece)
        except OSError:  # it will be written anew, and what is wrong then told
            return False
        return md5 is None or base64.b64encode(digest.digest()).decode() == md5

    def url(self, name: str) -> str:
        """Return where a file is once it is published."""
        return (self._root / name).as_uri()

    def where(self, name: str) -> str:
        """Return the same for people."""
        return str(self._root / name)

    def _open(self, name: str) -> PartialFile:
        partial = self._partial / f"{uuid.uuid4().hex}.partial"
        return PartialFile(partial, self._place(name), partial.open("wb", buffering=_BUFFER_BYTES))

    def _reopen(self, file: FinishedFile) -> PartialFile:
        # The worker that wrote it may have the folder at another path.
        return PartialFile(self._partial / file.state["partial"].name, self._place(file.name))

    def _place(self, name: str) -> Path:
        path = self._root / name
        if not path.resolve().is_relative_to(self._root.resolve()):  # a link leads out
            raise outside(name)
        return path

    def _remove_rest(self, *, others: bool) -> None:  # noqa: ARG002 - all of them are in the one folder
        if self._held is not None:
            _remove(self._partial)
            self._held.close()
            self._held = None


def _locked_folder(folder: Path) -> IO[bytes]:
    """Make a folder; its lock is held for as long as the returned file is open."""
    for number in range(_TRIES_FOR_LOCK):
        if number:
            time.sleep(_SECONDS_BETWEEN_TRIES)
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # another run took it for abandoned before it was locked
            file = (folder / _LOCK).open("wb")
            # The lock of a file that was removed meanwhile keeps nobody out.
            if _is_locked_now(file) and os.path.samestat((folder / _LOCK).stat(), os.fstat(file.fileno())):
                return file
            file.close()
    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))


def _is_locked_now(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:  # in a file system without locks nothing is taken for abandoned
        return not isinstance(error, BlockingIOError)
    return True


def _remove_if_abandoned(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()  # killed before there was a lock; else it is not empty
    with suppress(OSError), (folder / _LOCK).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while the load goes on
        _remove(folder)


def _remove(folder: Path) -> None:
    # Others may be writing into it: they do not find it under another name.
    gone = folder.with_name(f"{uuid.uuid4().hex}{_GONE}")
    with suppress(OSError):
        folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name != _LOCK:
            path.unlink()


def _sync_folder(path: Path) -> None:
    # POSIX keeps a new name only once its folder is on the disk too.
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
