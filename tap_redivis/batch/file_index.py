"""The index of a table's files → how many of them, and of how many bytes, are not in the storage yet."""

from contextlib import closing
from dataclasses import dataclass

from tap_redivis.batch.contents import FileContents, SourceFile
from tap_redivis.batch.storage import is_folder
from tap_redivis.client.files import open_index
from tap_redivis.client.http import Api
from tap_redivis.client.transport import pieces_of
from tap_redivis.model.columns import Column, ValueRules
from tap_redivis.model.file_settings import FILE_ID, FILE_NAME, FILE_SIZE
from tap_redivis.wire.arrow import ArrowDecoder
from tap_redivis.wire.codec import RowCodec
from tap_redivis.wire.rows import ArrowRows, ValueIssues

_COLUMNS = (Column(FILE_ID, "string"), Column(FILE_NAME, "string"), Column(FILE_SIZE, "integer"))


@dataclass(frozen=True)
class FileCount:
    """How many files there are to fetch at most, and their bytes: a file may be named twice, or be in the bucket."""

    files: int
    bytes: int


def count_missing(contents: FileContents, api: Api, table_uri: str) -> FileCount:
    """Count the files that are not there under their name with their size; buckets are not asked for each."""
    return api.retried(f"{table_uri}/rawFiles", lambda: _count(contents, api, table_uri))


def _count(contents: FileContents, api: Api, table_uri: str) -> FileCount:
    decoder = ArrowDecoder(RowCodec(contents.table, _COLUMNS, ValueRules(for_arrow=True), ValueIssues()))
    looks, files, size = is_folder(contents.settings.root), 0, 0
    with closing(open_index(api, table_uri, contents.variables.id)) as body:
        for rows in decoder.rows(pieces_of(body), 0):
            assert isinstance(rows, ArrowRows)  # noqa: S101 - the rules give no others
            for file_id, name, file_bytes in zip(*(column.to_pylist() for column in rows.batch.columns), strict=True):
                source = SourceFile(file_id, name, file_bytes, None)
                if not looks or not contents.storage.holds(contents.name(source), file_bytes or 0, None):
                    files, size = files + 1, size + (file_bytes or 0)
    return FileCount(files, size)
