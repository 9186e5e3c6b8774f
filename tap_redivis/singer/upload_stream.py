"""Singer semantics of one upload of a draft: read like a table, and known to be the same by the digest of its file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tap_redivis.client.uploads import find_uploads
from tap_redivis.model.json_schema import UPLOAD
from tap_redivis.model.references import ContainerRef, UploadRef
from tap_redivis.planning.bookmarks import Bookmark
from tap_redivis.singer.streams import Load, TableStream

if TYPE_CHECKING:
    from tap_redivis.tap import TapRedivis


class UploadStream(TableStream):
    """One upload of a draft's table; it is gone once the draft is released.

    Args:
        tap: The tap.
        name: The stream's name.
        schema: JSON Schema of its records.
        upload: The upload.
    """

    replication_methods = ("FULL_TABLE",)
    opens_ahead = False

    def __init__(self, tap: TapRedivis, name: str, schema: Mapping[str, Any], upload: UploadRef) -> None:
        super().__init__(tap, name, schema, upload.table)
        self.upload = upload

    @property
    def source(self) -> str:
        """What the catalog calls the upload."""
        return f"{UPLOAD}{self.upload}"

    @property
    def containers(self) -> tuple[ContainerRef, ...]:
        """The draft that it belongs to."""
        return (self.upload.table.container,)

    def _prepare(self, bookmark: Bookmark) -> Load:
        if self.table is None:
            [self.table] = find_uploads(self.tap.api, self.tap.catalogue, self.upload)
        return super()._prepare(bookmark)
