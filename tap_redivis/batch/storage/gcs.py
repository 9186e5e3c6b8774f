"""Google Cloud Storage, by gcsfs: a file is an object under another name, which is moved to its own.

Of an object nothing is there before all of it was sent. What was sent of one that is never completed, Google forgets
after a week.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import suppress
from typing import IO, Any
from urllib.parse import quote, unquote
from weakref import WeakValueDictionary

from gcsfs.core import GCSFileSystem

from tap_redivis.batch.storage.buckets import Unfinished
from tap_redivis.batch.storage.common import Closed, Place, Sealed
from tap_redivis.batch.storage.parts import part_bytes

_PARTIAL = ".partial"


class NoSuchUpload(Exception):
    """The object under the temporary name is gone."""


class _ObjectUpload:
    """An object that is being written under its temporary name.

    Attributes:
        id: That name, below the folder of such objects.
        sink: What to write to.
    """

    def __init__(self, upload: str, sink: Any) -> None:  # noqa: ANN401 - a file of gcsfs
        self.id = upload
        self.sink: IO[bytes] = sink
        self._file = sink
        self._lock = threading.Lock()

    def end(self) -> tuple[str, ...]:
        """Send what is left; the object is there then.

        Raises:
            Closed: It has been cancelled: nobody would remove the object.
        """
        with self._lock:
            if self._file.closed:
                raise Closed
            self._file.close()
            self._file.commit()
        return ()

    def cancel(self) -> None:
        """Let the object not appear any more; when this returns, it is there or never will be."""
        with self._lock:
            self._file.closed = True  # else gcsfs would send what it still holds when the file is forgotten


class GcsUploads:
    """Objects under temporary names.

    What gcsfs has beyond its core is for other kinds of buckets: before each file it would ask for the kind, by another
    protocol and with another right.

    Args:
        place: The root; who we are, gcsfs knows from the environment.
    """

    def __init__(self, place: Place) -> None:
        self._gcs: Any = GCSFileSystem(skip_instance_cache=True, use_listings_cache=False)
        self._part_bytes = part_bytes(place.file_bytes)
        self._root = place.root.partition("://")[2].rstrip("/")
        self._under_way: WeakValueDictionary[str, _ObjectUpload] = WeakValueDictionary()

    def begin(self, path: str) -> _ObjectUpload:
        """Begin a file."""
        name = f"{quote(path.removeprefix(f'{self._root}/'), safe='')}.{uuid.uuid4().hex}"
        file = self._gcs.open(self._temporary(name), "wb", block_size=self._part_bytes, autocommit=False)
        self._under_way[name] = upload = _ObjectUpload(name, file)
        return upload

    def complete(self, path: str, file: Sealed) -> None:
        """Let a file appear.

        Raises:
            NoSuchUpload: It cannot.
        """
        with suppress(FileNotFoundError):
            self._gcs.mv_file(self._temporary(file.upload), path)
            return
        if not self._is_complete(path, file):
            raise NoSuchUpload(file.upload)

    def _is_complete(self, path: str, file: Sealed) -> bool:
        """Whether a file is there: where the answer to the first try was lost, the second finds no object to move."""
        with suppress(FileNotFoundError):
            return bool(self._gcs.info(path)["size"] == file.size)
        return False

    def abort(self, path: str, upload: str) -> None:  # noqa: ARG002 - the temporary name says it
        """Remove what was sent of a file."""
        if (mine := self._under_way.get(upload)) is not None:
            mine.cancel()
        with suppress(FileNotFoundError):  # it is there only when all of it was sent
            self._gcs.rm_file(self._temporary(upload))

    def unfinished(self) -> Iterator[Unfinished]:
        """List the objects under temporary names."""
        found: dict[str, Any] = self._gcs.find(f"{self._root}/{_PARTIAL}", detail=True)
        for path, each in found.items():
            upload = path.rpartition("/")[2]
            name = unquote(upload.rpartition(".")[0])
            yield Unfinished(f"{self._root}/{name}", upload, each["mtime"])

    def _temporary(self, upload: str) -> str:
        return f"{self._root}/{_PARTIAL}/{upload}"
