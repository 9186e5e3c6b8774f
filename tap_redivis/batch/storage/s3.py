"""S3 and what speaks like it, by s3fs: a file is a multipart upload, which nobody sees before it is completed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import fsspec

from tap_redivis.batch.storage.buckets import Unfinished
from tap_redivis.batch.storage.common import Place, Sealed
from tap_redivis.batch.storage.parts import PartsUpload, part_bytes


class S3Uploads:
    """Multipart uploads below a root.

    Args:
        place: The root; where the server is and who we are, botocore and fsspec know from the environment.
    """

    def __init__(self, place: Place) -> None:
        self._s3: Any = fsspec.filesystem("s3", skip_instance_cache=True)
        self._part_bytes = part_bytes(place.file_bytes)
        self._bucket, folder = _split(place.root.partition("://")[2].rstrip("/"))
        self._prefix = f"{folder}/" if folder else ""

    def begin(self, path: str) -> PartsUpload:
        """Begin a file."""
        bucket, key = _split(path)
        upload = self._s3.call_s3("create_multipart_upload", Bucket=bucket, Key=key)["UploadId"]
        return PartsUpload(upload, partial(self._put, path, upload), self._part_bytes)

    def _put(self, path: str, upload: str, number: int, data: bytes) -> str:
        bucket, key = _split(path)
        sent = self._s3.call_s3("upload_part", Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=data)
        return str(sent["ETag"])

    def complete(self, path: str, file: Sealed) -> None:
        """Let a file appear."""
        bucket, key = _split(path)
        parts = [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(file.parts, 1)]
        try:
            self._s3.call_s3(
                "complete_multipart_upload",
                Bucket=bucket,
                Key=key,
                UploadId=file.upload,
                MultipartUpload={"Parts": parts},
            )
        except FileNotFoundError:
            if not self._is_complete(bucket, key, file):
                raise

    def _is_complete(self, bucket: str, key: str, file: Sealed) -> bool:
        """Whether a file is there: where the answer to the first try was lost, the second finds no upload."""
        try:
            there = self._s3.call_s3("head_object", Bucket=bucket, Key=key)
        except FileNotFoundError:
            return False
        return bool(there["ContentLength"] == file.size and there["ETag"].endswith(f'-{len(file.parts)}"'))

    def abort(self, path: str, upload: str) -> None:
        """Remove what was sent of a file."""
        bucket, key = _split(path)
        self._s3.call_s3("abort_multipart_upload", Bucket=bucket, Key=key, UploadId=upload)

    def unfinished(self) -> Iterator[Unfinished]:
        """List the uploads below the root."""
        place: dict[str, str] = {}
        while True:
            page = self._s3.call_s3("list_multipart_uploads", Bucket=self._bucket, Prefix=self._prefix, **place)
            for each in page.get("Uploads", ()):
                yield Unfinished(f"{self._bucket}/{each['Key']}", each["UploadId"], each["Initiated"])
            if not page.get("IsTruncated"):
                return
            place = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}


def _split(path: str) -> tuple[str, str]:
    bucket, _, key = path.partition("/")
    return bucket, key
