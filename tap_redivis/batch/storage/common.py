"""What all storage has in common: a file is created, written and finished, and then published or discarded."""

import io
import threading
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from tap_redivis.errors import StorageError

_WRITE_BYTES = 1024 * 1024  # fsspec would hold a large write beside the part that it sends of it


class Closed(Exception):
    """The load has ended, and its files are not wanted any more."""


@dataclass(frozen=True)
class FinishedFile:
    """A complete file that readers do not see yet; any process of the load can publish it."""

    name: str  # below the root
    size: int  # bytes
    id: str  # tells it from other attempts at the same file
    # What its storage needs to publish or discard it. Whoever has it could write the file, so it is not shown.
    state: Mapping[str, Any] = field(repr=False)


class PendingFile(io.RawIOBase):
    """A file that is being written, and that readers do not see; ``close``, which pyarrow calls, does not complete it.

    Writing raises ``StorageError`` where it fails, and ``Closed`` when the storage has been closed.
    """

    # The file is one as fsspec opens it with ``autocommit=False``.
    def __init__(self, storage: "Storage", name: str, file: Any) -> None:  # noqa: ANN401 - of fsspec, or like one of it
        self.id = uuid.uuid4().hex
        self.name = name
        self._storage = storage
        self._file = file
        self._size = 0
        # fsspec begins an upload while it writes: a file that is discarded at that moment would leave it behind.
        self._lock = threading.Lock()
        self._is_wanted = True
        self._ignores_writes = False

    def writable(self) -> bool:
        """Say yes to pyarrow."""
        return True

    def write(self, data: Any) -> None:  # noqa: ANN401 - what has bytes
        """Write bytes."""
        if self._ignores_writes:
            return
        view = memoryview(data).cast("B")
        for start in range(0, len(view), _WRITE_BYTES):
            with self._wanted():
                self._file.write(view[start : start + _WRITE_BYTES])
        self._size += len(view)

    def finish(self) -> FinishedFile:
        """Bring all bytes to the storage."""
        with self._wanted():
            self._file.close()
            state = {name: getattr(self._file, name) for name in self._storage.kept}
        return FinishedFile(self.name, self._size, self.id, state)

    def discard(self) -> None:
        """Remove what was written, as far as possible; called by the thread that writes it."""
        # pyarrow writes what it holds when it forgets the file, and prints errors of that.
        self._ignores_writes = True
        self.abort()

    def abort(self) -> None:
        """Remove it while another thread writes it, which gets ``Closed`` at its next write."""
        with self._lock:
            self._is_wanted = False
            with suppress(StorageError), self._storage.errors(self._storage.where(self.name)):
                self._file.discard()
            self._file.closed = True  # else fsspec sends what it still holds when the file is forgotten

    @contextmanager
    def _wanted(self) -> Iterator[None]:
        with self._lock, self._storage.errors(self._storage.where(self.name)):
            if not self._is_wanted:
                raise Closed
            yield


class Storage(ABC):
    """A place for the files of one load, whose names begin with a prefix that no others have."""

    kept: ClassVar[tuple[str, ...]]  # attributes of a file object that another process needs to commit or discard it
    errors: Callable[
        [str], AbstractContextManager[None]
    ]  # turn those of the storage, at a place, into ``StorageError``

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self._pending: dict[str, PendingFile] = {}
        self._lock = threading.Lock()
        self._is_closed = False

    @abstractmethod
    def prepare(self) -> None:
        """Make room, and remove what killed runs left unfinished; only the tap does it, before any file is created.

        Raises:
            StorageError: There is no room, or another run loads the same there.
        """

    def create(self, name: str) -> PendingFile:
        """Create a file, given its name below the root.

        Raises:
            StorageError: It cannot be written.
            Closed: The storage has been closed.
        """
        _check_inside(name)
        with self._lock, self.errors(self.where(name)):
            if self._is_closed:
                raise Closed
            file = PendingFile(self, name, self._open(name))
            self._pending[file.id] = file
        return file

    def publish(self, file: FinishedFile) -> None:
        """Let a file appear under its name, in place of one that is there; a ``StorageError`` says that it cannot."""
        _check_inside(file.name)  # a worker of a cluster sent it
        with self.errors(self.where(file.name)):
            self._commit(file)
        self._pending.pop(file.id, None)

    def discard(self, file: FinishedFile) -> None:
        """Remove a file that no message names, as far as possible."""
        with suppress(StorageError), self.errors(self.where(file.name)):
            self._reopen(file).discard()
        self._pending.pop(file.id, None)

    def close(self, *, others: bool) -> None:
        """Remove all files of the load that are not published, with ``others`` those of other processes too.

        No file can be created any more. Threads may still be writing some.
        """
        with self._lock:
            self._is_closed = True
            pending = list(self._pending.values())
        for file in pending:
            file.abort()
        self._remove_rest(others=others)

    @abstractmethod
    def holds(self, name: str, size: int, md5: str | None) -> bool:
        """Whether a file is there with so many bytes and, as far as can be told, this MD5 in base64."""

    @abstractmethod
    def url(self, name: str) -> str:
        """Return where a file is once it is published."""

    def where(self, name: str) -> str:
        """Return the same for people."""
        return self.url(name)

    @abstractmethod
    def _open(self, name: str) -> Any:  # noqa: ANN401 - of fsspec, or like one of it
        """Open a file that has ``write``, ``close``, ``commit`` and ``discard`` as fsspec has them."""

    @abstractmethod
    def _reopen(self, file: FinishedFile) -> Any:  # noqa: ANN401 - the same
        """Make a finished file's object again, to commit or discard it: fsspec pickles none that is written."""

    @abstractmethod
    def _remove_rest(self, *, others: bool) -> None:
        """Remove what other processes left of the load, and what is not a file."""

    def _commit(self, file: FinishedFile) -> None:
        self._reopen(file).commit()


def absolute(root: str) -> str:
    """Make a root mean the same in every process, wherever it was started."""
    try:
        return root if "://" in root else str(Path(root).absolute())
    except FileNotFoundError:
        hint = "Set batch_config.storage.root to an absolute path"
        raise StorageError("the working directory is gone", where=root, hint=hint) from None


def _check_inside(name: str) -> None:
    # A version tag is checked where it is read; but names are also made of a STATE, or sent by a worker.
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name:
        raise outside(name)


def outside(name: str) -> StorageError:
    """Make the error for a name that leads out of the root."""
    return StorageError(
        f"the file name {name!r} leads out of the root",
        where="batch_config.storage.root",
        hint="Leave {version} out of the prefix, and keep links to other places out of the root",
    )
