"""Azure Blob Storage, by adlfs: a file is blocks that nobody sees before they are committed.

Azure forgets blocks that are not committed, after a week; there is no other way to remove them.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from functools import partial
from typing import Any

import fsspec
from fsspec.asyn import sync

from tap_redivis.batch.storage.buckets import Unfinished
from tap_redivis.batch.storage.common import Place, Sealed
from tap_redivis.batch.storage.parts import PartsUpload, part_bytes


class NoAccount(Exception):
    """The environment does not say which account it is."""


class AzureUploads:
    """Blocks of blobs.

    Args:
        place: The root; which account it is and who we are, adlfs knows from the environment.

    Raises:
        NoAccount: It does not.
    """

    def __init__(self, place: Place) -> None:
        try:
            self._azure: Any = fsspec.filesystem("az", skip_instance_cache=True)
        except ValueError as error:  # all that adlfs says of what is missing, and of what cannot be understood
            raise NoAccount from error
        self._part_bytes = part_bytes(place.file_bytes)
        self._container = place.root.partition("://")[2].partition("/")[0]

    def begin(self, path: str) -> PartsUpload:
        """Begin a file."""
        upload = uuid.uuid4().hex
        return PartsUpload(upload, partial(self._put, path, upload), self._part_bytes)

    def _put(self, path: str, upload: str, number: int, data: bytes) -> str:
        block = f"{upload}-{number:06}"  # all of a blob must be of one length
        self._of_blob(path, "stage_block", block, data)
        return block

    def complete(self, path: str, file: Sealed) -> None:
        """Let a file appear."""
        self._of_blob(path, "commit_block_list", list(file.parts))

    def abort(self, path: str, upload: str) -> None:
        """Leave blocks to be forgotten."""

    def unfinished(self) -> Iterator[Unfinished]:
        """List nothing: nobody can remove blocks. But ask for the container, as other stores do when they list."""
        _call(self._azure, self._azure.service_client.get_container_client(self._container), "get_container_properties")
        return iter(())

    def _of_blob(self, path: str, method: str, *arguments: object) -> None:
        container, _, name = path.partition("/")
        _call(self._azure, self._azure.service_client.get_blob_client(container, name), method, *arguments)


def _call(azure: Any, client: Any, method: str, *arguments: object) -> None:  # noqa: ANN401 - adlfs and its clients
    """Let a client of Azure do something, in the thread of adlfs."""

    async def call() -> None:
        async with client:
            await getattr(client, method)(*arguments)

    sync(azure.loop, call)
