"""Uploads of drafts: a reference → what the server says of the upload, as a ``TableInfo``."""

import hashlib
import json
from dataclasses import replace

from tap_redivis.client.answers import count_of, misfit_of, path_of, text_of
from tap_redivis.client.http import Api
from tap_redivis.client.metadata import MetadataClient
from tap_redivis.errors import NotFound, Refused, Unavailable, one_line
from tap_redivis.model.references import UploadRef, is_glob, name_matches, url_path
from tap_redivis.model.tables import Json, TableInfo
from tap_redivis.runtime.logs import logger

_GONE = (
    "Check the reference, and that the token may edit the dataset; once its draft is released an upload is gone: "
    "read the table then"
)
_NOT_CONTENT = frozenset({"uri", "url", "status"})  # all else shows how Redivis read the file, or what is in it


def find_uploads(api: Api, catalogue: MetadataClient, reference: UploadRef) -> list[TableInfo]:
    """Find the uploads that a reference names; of those that match a glob, the ones that are ready."""
    try:
        tables = catalogue.find(reference.table)
        found = [_info(table, body) for table in tables for body in _bodies(api, table, reference)]
    except NotFound as error:
        raise NotFound(error.what, where=str(reference), hint=_GONE) from None
    if not found:
        raise NotFound("no upload that is ready matches", where=str(reference), hint=_GONE)
    return found


def _bodies(api: Api, table: TableInfo, reference: UploadRef) -> list[Json]:
    if not is_glob(reference.name):
        body = _body(api, table, reference.name)
        _check_ready(body, str(reference))
        return [body]
    listed: list[str] = [item["name"] for item in api.pages(f"{table.uri}/uploads")]
    names = [name for name in listed if name_matches(reference.name, name)]
    ready = []
    for body in api.workers.map(lambda name: _body(api, table, name), names):
        if body.get("status") == "completed":
            ready.append(body)
        else:
            logger.warning("%s.%s is left out: the upload is %s", table.pinned, body["name"], body.get("status"))
    return ready


def _body(api: Api, table: TableInfo, name: str) -> Json:
    body = api.get(f"{table.uri}{_path_of(name)}")
    return {**body, "name": text_of(body, "name") or name}


def _path_of(name: str) -> str:
    return url_path("uploads", name.replace(".", "_"))  # redivis-api §3.2: dots become underscores


def _check_ready(body: Json, where: str) -> None:
    # redivis-api §5: an upload has no rows before Redivis has read the file.
    status = text_of(body, "status")
    if status == "completed":
        return
    if status == "failed":
        words = one_line(str(body.get("errorMessage") or "no reason given"), 500).rstrip(".")
        raise Refused(f"Redivis could not read the upload: {words}", where=where, hint="Upload the file again")
    raise Unavailable(f"the upload is {status}, not completed", where=where, hint="Run again later")


def _info(table: TableInfo, body: Json) -> TableInfo:
    name: str = body["name"]
    # The hash of the file alone would miss that it is read in another way: with another delimiter, say.
    content = json.dumps({key: value for key, value in body.items() if key not in _NOT_CONTENT}, sort_keys=True)
    return replace(
        table,
        pinned=f"{table.pinned}.{name}",
        uri=path_of(body) or f"{table.uri}{_path_of(name)}",
        name=f"{table.name}.{name}",
        description=None,
        rows=count_of(body.get("numRows")),
        bytes=count_of(body.get("numBytes")),
        hash=text_of(body, "hash") and hashlib.sha256(content.encode()).hexdigest()[:32],
        updated_at=None,
        misfit=table.misfit or misfit_of(body, "numRows", "numBytes"),
        body=body,
        upload=name,
    )
