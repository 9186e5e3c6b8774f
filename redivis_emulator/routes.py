"""Routes each path to its handler (redivis-api §4)."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Union

from redivis_emulator import exports, files, metadata, queries, reading, statistics
from redivis_emulator.access import require
from redivis_emulator.errors import ApiError, not_found
from redivis_emulator.lookups import Finder, Found, Readable, readable_table, readable_upload

if TYPE_CHECKING:
    from starlette.responses import Response

    from redivis_emulator.call import Call
    from redivis_emulator.library import OwnerKind
    from redivis_emulator.resources import Json
    from redivis_emulator.service import Service

Path = tuple[str, ...]
# A handler that computes in another thread returns an awaitable.
Answer = Union["Json", "Response", Awaitable["Json"]]


@dataclass(frozen=True)
class Router:
    """Finds and calls the handler of a request."""

    service: Service
    call: Call

    async def answer(self) -> Json | Response:
        """Answer the request.

        Raises:
            ApiError: Any error answer; 404 for an unknown path.
        """
        answer = self._route()
        return await answer if isinstance(answer, Awaitable) else answer

    def _route(self) -> Answer:
        first, *rest = self.call.segments
        if self.call.is_of_openapi and self.call.readings.openapi == "served":
            return metadata.openapi()
        if (self._method, first, rest) == ("POST", "queries", []):
            return queries.begin(self.service, self._finder, self.call)
        handlers = {
            "users": self._user,
            "organizations": self._organization,
            "datasets": self._dataset,
            "workflows": self._workflow,
            "tables": self._table,
            "uploads": self._upload,
            "readStreams": self._read_stream,
            "rawFiles": self._raw_file,
            "queries": self._query,
            "exports": self._export,
        }
        if first not in handlers or not rest:
            raise self._no_path()
        return handlers[first](rest[0], tuple(rest[1:]))

    @property
    def _finder(self) -> Finder:
        return Finder(self.service.library, self.call.caller, self.call.readings)

    @property
    def _method(self) -> str:
        # HEAD is answered as GET, without the body.
        return "GET" if self.call.method == "HEAD" else self.call.method

    def _user(self, name: str, rest: Path) -> Json:
        if (self._method, name, rest) == ("GET", "me", ()):
            return metadata.me(self._finder)
        return self._owner("user", name, rest)

    def _organization(self, name: str, rest: Path) -> Json:
        return self._owner("organization", name, rest)

    def _owner(self, kind: OwnerKind, name: str, rest: Path) -> Json:
        match self._method, rest:
            case "GET", ("datasets",):
                return metadata.datasets(self._finder, self.call, self._finder.owner(kind, name))
            case "GET", ("workflows",):
                return metadata.workflows(self._finder, self.call, self._finder.owner(kind, name))
            case "GET", ("members",) if kind == "organization":
                return metadata.members(self._finder, self.call, self._finder.owner(kind, name))
            case "GET", ("members", user) if kind == "organization":
                return metadata.member(self._finder, self._finder.owner(kind, name), user)
        raise self._no_path()

    def _dataset(self, reference: str, rest: Path) -> Json:
        match self._method, rest:
            case "GET", ():
                return metadata.dataset(self._finder, reference)
            case "GET", ("tables",):
                return metadata.dataset_tables(self._finder, self.call, reference)
            case "GET", ("versions",):
                return metadata.versions(self._finder, self.call, reference)
            case "GET", ("versions", tag):
                return metadata.version(self._finder, reference, tag)
        raise self._no_path()

    def _workflow(self, reference: str, rest: Path) -> Answer:
        match self._method, rest:
            case _, ("tables", name, *below):
                return self._found(self._finder.workflow_table(reference, name), tuple(below))
            case "GET", ():
                return metadata.workflow(self._finder, reference)
            case "GET", ("tables",):
                return metadata.workflow_tables(self._finder, self.call, reference)
            case "GET", ("dataSources",):
                return metadata.data_sources(self._finder, self.call, reference)
            case "GET", ("dataSources", source):
                return metadata.data_source(self._finder, reference, source)
            case "GET", ("notebooks" | "transforms" | "parameters" as kind,):
                return metadata.nothing(self._finder, self.call, reference, kind)
        raise self._no_path()

    def _table(self, reference: str, rest: Path) -> Answer:
        return self._found(self._finder.table(reference), rest)

    def _found(self, found: Found, rest: Path) -> Answer:
        match self._method, rest:
            case "GET", ():
                return metadata.table(self._finder, found)
            case "GET", ("uploads",):
                require(self.call.caller, found.place.container, "edit")
                return metadata.upload_list(self.call, found)
            case _, ("uploads", name, *below):
                return self._found_upload(found, name, tuple(below))
            case "GET", ("variables", *below):
                # The variables need the same access as the table itself; all other paths below need more.
                return self._variables(readable_table(found), tuple(below))
        self._finder.check_readable(found)
        return self._readable(readable_table(found), rest)

    def _upload(self, reference: str, rest: Path) -> Answer:
        table, _, name = reference.rpartition(".")
        return self._found_upload(self._finder.table(table), name, rest)

    def _found_upload(self, found: Found, name: str, rest: Path) -> Answer:
        part = self._finder.upload(found, name)
        if self._method == "GET" and not rest:
            return metadata.upload(found, part)
        return self._readable(readable_upload(found, part), rest)

    def _query(self, query_id: str, rest: Path) -> Answer:
        job = self.service.queries.find(self.call.caller, query_id)
        if self._method == "GET" and not rest:
            return queries.resource(job)
        return self._readable(queries.readable(job), rest)

    def _readable(self, readable: Readable, rest: Path) -> Answer:
        match self._method, rest:
            case "GET", ("variables", *below):
                return self._variables(readable, tuple(below))
            case "GET", ("rows",):
                return reading.rows(self.service, self.call, readable)
            case "GET", ("rawFiles",):
                return files.index(self.service.library, self.call, readable)
            case "POST", ("readSessions",):
                return reading.open_session(self.service, self.call, readable)
            case "POST", ("exports",):
                return exports.begin(self.service, self.call, readable)
        raise self._no_path()

    def _variables(self, readable: Readable, rest: Path) -> Answer:
        match rest:
            case ():
                return metadata.variables(self.call, readable)
            case (name,):
                return metadata.variable(readable, name)
            case (name, "statistics"):
                return statistics.answer(readable, name)
        raise self._no_path()

    def _read_stream(self, stream_id: str, rest: Path) -> Response:
        if self._method == "GET" and not rest:
            return reading.stream(self.service, self.call, stream_id)
        raise self._no_path()

    def _raw_file(self, file_id: str, rest: Path) -> Response:
        if self._method == "GET" and not rest:
            return files.download(self.service, self.call, self._finder.file(file_id))
        raise self._no_path()

    def _export(self, export_id: str, rest: Path) -> Json | Response:
        job = self.service.exports.find(self.call.caller, export_id)
        match self._method, rest:
            case "GET", ():
                return exports.resource(job)
            case "GET", ("download",):
                return files.Download(exports.file(self.call, job))
        raise self._no_path()

    def _no_path(self) -> ApiError:
        return not_found(f"The path {self.call.method} {self.call.path}")
