"""What all kinds of storage have in common: a file is begun, written, sealed, and then published or discarded."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol
from urllib.parse import unquote, urlsplit

from tap_redivis.errors import ConfigError

_ROOT = "batch_config.storage.root"


@dataclass(frozen=True)
class Place:
    """Where the files of one load go; the load's processes all make their storage of it.

    Attributes:
        root: Folder or URL.
        prefix: What the names of all its files begin with, and no others.
        file_bytes: Bytes that a file has about, at most.
    """

    root: str
    prefix: str
    file_bytes: int


@dataclass(frozen=True)
class Sealed:
    """A file that is whole, but not there for others: any process of the load can publish it.

    Attributes:
        url: Where it is once it is published.
        name: Its name below the root.
        upload: What the storage knows it by until then.
        parts: What the storage has said to each part of it, where there are parts.
        size: Its bytes.
    """

    url: str
    name: str
    upload: str
    parts: tuple[str, ...]
    size: int


class Draft(Protocol):
    """A file that is being written; it is not there for others."""

    @property
    def sink(self) -> IO[bytes]:
        """What to write to."""
        ...

    def seal(self) -> Sealed:
        """Note that all is written, and bring it to where it is kept.

        Raises:
            StorageError: It cannot be written.
        """
        ...

    def discard(self) -> None:
        """Remove what was written, as far as that is possible."""
        ...

    def guarded(self) -> AbstractContextManager[None]:
        """Turn errors of the storage into one clear line.

        Raises:
            StorageError: There was one.
        """
        ...


class Storage(Protocol):
    """A place for the files of one load.

    Attributes:
        can_be_forked: Whether processes that are forked after ``prepare`` may write drafts, for this one to publish.
    """

    can_be_forked: bool

    def prepare(self) -> None:
        """Make room, and remove what killed runs left unfinished; only the tap does it, before any file is begun.

        Raises:
            StorageError: There is no room, or another run loads the same there.
        """
        ...

    def draft(self, name: str) -> Draft:
        """Begin a file.

        Args:
            name: Its name below the root; slashes part folders.

        Raises:
            StorageError: It cannot be written.
            Closed: All drafts have been removed, and no other may take their place.
        """
        ...

    def publish(self, file: Sealed) -> None:
        """Let a file appear under its name, in the place of one that is there already.

        Raises:
            StorageError: It cannot.
        """
        ...

    def discard(self, file: Sealed) -> None:
        """Remove a file that nobody was told of, as far as that is possible."""
        ...

    def close(self, *, others: bool) -> None:
        """Remove all files of the load that are not complete, or that nobody was told of; none can be begun any more.

        Threads that write may not have heard yet that nobody wants their files.

        Args:
            others: Whether other processes may have begun some too.
        """
        ...


class Closed(Exception):
    """Nobody wants files any more: who still writes some can stop."""


def storage_at(place: Place) -> Storage:
    """Find the storage that a root means.

    Raises:
        ConfigError: There is none, or it needs something that is not installed.
    """
    parts = urlsplit(place.root)
    if parts.scheme == "file" or "://" not in place.root:
        from tap_redivis.batch.storage.folder import Folder  # noqa: PLC0415 - one kind is enough

        return Folder(Path(unquote(parts.path) if parts.scheme == "file" else place.root), place.prefix)
    from tap_redivis.batch.storage.buckets import KINDS, bucket_at  # noqa: PLC0415 - one kind is enough

    if parts.scheme not in KINDS:
        raise ConfigError(
            f"{parts.scheme}:// is no storage that this tap knows",
            where=_ROOT,
            todo=f"Name a folder, or a URL that begins with {', '.join(f'{kind}://' for kind in KINDS)}",
        )
    if parts.query or parts.username or parts.password or not parts.netloc:
        raise ConfigError(
            "it must be a bucket and a path, without credentials",
            where=_ROOT,
            todo="Credentials come from the environment or from profiles",
        )
    return bucket_at(place)


def absolute(root: str) -> str:
    """Make a root mean the same in every process, wherever it was started."""
    return root if "://" in root else str(Path(root).absolute())


_NUMBERS = re.compile(r"-\d+-\d{2,}-\d{12}\.(?:jsonl|jsonl\.gz|parquet|arrow)$")


def is_a_file_of_ours(name: str) -> bool:
    """Whether a name is one that this tap gives to files: it ends with load, read stream and row."""
    return _NUMBERS.search(name) is not None
