"""Google Cloud Storage, by gcsfs: a file is an object under another name, which is moved to its own."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import suppress
from typing import IO, Any
from urllib.parse import quote, unquote

import fsspec

from tap_redivis.storage.buckets import Unfinished
from tap_redivis.storage.common import Place, Sealed
from tap_redivis.storage.parts import part_bytes

_PARTIAL = ".partial"


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

    def end(self) -> tuple[str, ...]:
        """Send what is left."""
        self._file.close()
        self._file.commit()
        return ()


class GcsUploads:
    """Objects under temporary names.

    Args:
        place: The root; who we are, gcsfs knows from the environment.
    """

    def __init__(self, place: Place) -> None:
        self._gcs: Any = fsspec.filesystem("gs", skip_instance_cache=True, use_listings_cache=False)
        self._part_bytes = part_bytes(place.file_bytes)
        self._root = place.root.partition("://")[2].rstrip("/")

    def begin(self, path: str) -> _ObjectUpload:
        """Begin a file."""
        upload = f"{quote(path.removeprefix(f'{self._root}/'), safe='')}.{uuid.uuid4().hex}"
        file = self._gcs.open(self._temporary(upload), "wb", block_size=self._part_bytes, autocommit=False)
        return _ObjectUpload(upload, file)

    def complete(self, path: str, file: Sealed) -> None:
        """Let a file appear."""
        self._gcs.mv(self._temporary(file.upload), path)

    def abort(self, path: str, upload: str) -> None:  # noqa: ARG002 - the temporary name says it
        """Remove what was sent of a file."""
        with suppress(FileNotFoundError):  # it is there only when all of it was sent
            self._gcs.rm_file(self._temporary(upload))

    def unfinished(self) -> Iterator[Unfinished]:
        """List the objects under temporary names."""
        found: dict[str, Any] = self._gcs.find(f"{self._root}/{_PARTIAL}", detail=True)
        for path in found:
            upload = path.rpartition("/")[2]
            name = unquote(upload.rpartition(".")[0])
            yield Unfinished(f"{self._root}/{name}", upload, self._gcs.modified(path))

    def _temporary(self, upload: str) -> str:
        return f"{self._root}/{_PARTIAL}/{upload}"
