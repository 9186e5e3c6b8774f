"""A local Azure Blob Storage, in a thread, with what a writer of blocks needs; Microsoft's own emulator needs Node."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree as ET

from tests.support.servers import in_a_thread

_FORBIDDEN = (403, "AuthorizationPermissionMismatch")


@dataclass
class _Container:
    """What is in a container.

    Attributes:
        blobs: By name.
        committed: The blocks that each blob is made of, by id.
        staged: Those that it may be made of next.
    """

    blobs: dict[str, bytes] = field(default_factory=dict)
    committed: dict[str, dict[str, bytes]] = field(default_factory=dict)
    staged: dict[str, dict[str, bytes]] = field(default_factory=dict)


@dataclass
class AzureStorage:
    """A running server with one account.

    Attributes:
        endpoint: URL of the account.
        secret: Signature that the server asks for; it must not be shown.
        containers: By name.
        denied: What nobody has a right to do: methods, with a word in their queries.
    """

    endpoint: str
    secret: str = field(default_factory=lambda: secrets.token_hex(20), repr=False)
    containers: dict[str, _Container] = field(default_factory=dict)
    denied: list[tuple[str, str]] = field(default_factory=list)
    scheme = "az"

    @property
    def variables(self) -> Mapping[str, str]:
        """What a program finds it by."""
        connection = f"BlobEndpoint={self.endpoint};SharedAccessSignature=sv=2026-02-06&sig={self.secret}"
        return {"AZURE_STORAGE_CONNECTION_STRING": connection}

    def bucket(self) -> str:
        """Make a container; return its name."""
        name = f"container-{secrets.token_hex(6)}"
        self.containers[name] = _Container()
        return name

    def files(self, bucket: str) -> dict[str, int]:
        """List names and sizes of the blobs in a container."""
        return {name: len(data) for name, data in self.containers[bucket].blobs.items()}

    def read(self, bucket: str, name: str) -> bytes:
        """Return what is in a blob."""
        return self.containers[bucket].blobs[name]


class _Handler(BaseHTTPRequestHandler):
    """Answers a request."""

    server: _Server

    def do_GET(self) -> None:
        self._answer(self._refusal() or (200, ""), self._listed() if self._parameter("comp") == "list" else b"")

    def do_HEAD(self) -> None:
        container, name = self._place
        refusal = self._refusal()
        blob = None if refusal else self.server.azure.containers[container].blobs.get(name)
        answer = refusal or ((404, "BlobNotFound") if blob is None else (200, ""))
        self._answer(answer, blob or b"")

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(self._refusal() or self._put(data))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as http.server names it
        """Say nothing."""

    def _refusal(self) -> tuple[int, str] | None:
        """Say no to whom the server does not know, to what is denied, and where there is no container."""
        azure, query = self.server.azure, urlsplit(self.path).query
        if self._parameter("sig") != azure.secret:
            return 403, "AuthenticationFailed"
        if any(self.command == method and word in query for method, word in azure.denied):
            return _FORBIDDEN
        return None if self._place[0] in azure.containers else (404, "ContainerNotFound")

    def _put(self, data: bytes) -> tuple[int, str]:
        container, name = self._place
        there = self.server.azure.containers[container]
        staged = there.staged.setdefault(name, {})
        if self._parameter("comp") == "block":
            staged[self._parameter("blockid")] = data
            return 201, ""
        known = {**there.committed.get(name, {}), **staged}
        wanted = [each.text or "" for each in ET.fromstring(data)]  # noqa: S314 - of a test
        if not known.keys() >= set(wanted):
            return 400, "InvalidBlockList"
        there.committed[name] = {block: known[block] for block in wanted}
        there.blobs[name] = b"".join(known[block] for block in wanted)
        del there.staged[name]  # what is not in the list is forgotten
        return 201, ""

    def _listed(self) -> bytes:
        """List the blobs whose names begin with a prefix, without what nobody reads of them."""
        prefix, there = self._parameter("prefix"), self.server.azure.containers.get(self._place[0], _Container())
        listing = ET.Element("EnumerationResults")
        blobs = ET.SubElement(listing, "Blobs")
        for name in there.blobs:
            if name.startswith(prefix):
                ET.SubElement(ET.SubElement(blobs, "Blob"), "Name").text = name
        return ET.tostring(listing)

    def _answer(self, answer: tuple[int, str], body: bytes = b"") -> None:
        status, code = answer
        self.send_response(status)
        if code:
            self.send_header("x-ms-error-code", code)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    @property
    def _place(self) -> tuple[str, str]:
        """Container and blob, which may be empty."""
        _, _, container, *name = unquote(urlsplit(self.path).path).split("/", 3)
        return container, "".join(name)

    def _parameter(self, name: str) -> str:
        return parse_qs(urlsplit(self.path).query).get(name, [""])[0]


class _Server(ThreadingHTTPServer):
    azure: AzureStorage


@contextmanager
def serving_azure_storage() -> Iterator[AzureStorage]:
    """Run the server, on a port that it chooses."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.azure = AzureStorage(f"http://127.0.0.1:{server.server_port}/tests")
        with in_a_thread(server):
            yield server.azure
