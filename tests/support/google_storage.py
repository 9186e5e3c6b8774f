"""A local Google Cloud Storage: an emulator in a thread, which asks who it is, and cancels uploads as the real one."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from gcp_storage_emulator.handlers.buckets import create_bucket
from gcp_storage_emulator.server import RequestHandler
from gcp_storage_emulator.storage import Storage

from tests.support.servers import in_a_thread

_TOKEN_PATH = "/token"  # noqa: S105 - a path
_CANCELLED = 499
_UNAUTHORIZED = (401, "Anonymous caller does not have access to the Google Cloud Storage bucket.")
_FORBIDDEN = (403, "tests@example.com does not have access to the Google Cloud Storage bucket.")


@dataclass
class GoogleStorage:
    """A running server.

    Attributes:
        endpoint: Its URL.
        storage: What is in it.
        credentials: Path of a service account's file.
        secret: The token that the server gives to that account, and asks for; it must not be shown.
        denied: What the account has no right to do: methods, with a part of the paths that they are denied for.
    """

    endpoint: str
    storage: Storage
    credentials: Path
    secret: str = field(repr=False)
    denied: list[tuple[str, str]] = field(default_factory=list)
    scheme = "gs"

    @property
    def variables(self) -> Mapping[str, str]:
        """What a program finds it by."""
        return {"STORAGE_EMULATOR_HOST": self.endpoint, "GOOGLE_APPLICATION_CREDENTIALS": str(self.credentials)}

    def bucket(self) -> str:
        """Make a bucket; return its name."""
        name = f"bucket-{secrets.token_hex(6)}"
        create_bucket(name, self.storage)
        return name

    def files(self, bucket: str) -> dict[str, int]:
        """List names and sizes of the objects in a bucket."""
        found, _ = self.storage.get_file_list(bucket)
        return {each["name"]: int(each["size"]) for each in found}

    def unfinished(self, bucket: str) -> set[str]:
        """List the names of the objects that uploads are under way of."""
        return {each["name"] for each in self.storage.resumable.values() if each["bucket"] == bucket}

    def put(self, bucket: str, name: str) -> None:
        """Put an object of some bytes into a bucket."""
        requests.post(
            f"{self.endpoint}/upload/storage/v1/b/{bucket}/o",
            params={"uploadType": "media", "name": name},
            headers={"Authorization": f"Bearer {self.secret}"},
            data=b"bytes",
            timeout=20,
        ).raise_for_status()

    def read(self, bucket: str, name: str) -> bytes:
        """Return what is in an object."""
        return self.storage.get_file(bucket, name)


class _Handler(RequestHandler):
    """Answers a request.

    The emulator knows neither who asks nor how an upload is cancelled.
    """

    server: _Server

    def do_GET(self) -> None:  # noqa: N802 - as http.server names it
        if not self._is_refused():
            super().do_GET()

    def do_DELETE(self) -> None:  # noqa: N802 - the same
        if self._is_refused():
            return
        if upload := parse_qs(urlsplit(self.path).query).get("upload_id"):
            self.storage.resumable.pop(upload[0], None)
            self._answer(_CANCELLED, {})
        else:
            super().do_DELETE()

    def do_POST(self) -> None:  # noqa: N802 - the same
        if self.path == _TOKEN_PATH:
            self._answer(200, {"access_token": self.server.google.secret, "expires_in": 3600, "token_type": "Bearer"})
        elif not self._is_refused():
            super().do_POST()

    def _is_refused(self) -> bool:
        """Answer whom the server does not know, and who has no right to do that."""
        google = self.server.google
        if self.headers["Authorization"] != f"Bearer {google.secret}":
            status, words = _UNAUTHORIZED
        elif any(self.command == method and part in self.path for method, part in google.denied):
            status, words = _FORBIDDEN
        else:
            return False
        self._answer(status, {"error": {"code": status, "message": words}})
        return True

    def _answer(self, status: int, content: Any) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))  # else who sends it finds the connection broken
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())


class _Server(HTTPServer):
    """Answers one request after another: what the emulator keeps is not made for more."""

    google: GoogleStorage

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that went away: gcsfs asks two things at once, and takes the first answer."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def serving_google_storage(folder: Path) -> Iterator[GoogleStorage]:
    """Run the server, on a port that it chooses.

    Args:
        folder: For the account's file.
    """
    storage = Storage(use_memory_fs=True)
    with _Server(("127.0.0.1", 0), partial(_Handler, storage)) as server:
        endpoint = f"http://127.0.0.1:{server.server_port}"
        credentials = _service_account(folder, f"{endpoint}{_TOKEN_PATH}")
        server.google = GoogleStorage(endpoint, storage, credentials, secrets.token_hex(20))
        with in_a_thread(server):
            yield server.google


def _service_account(folder: Path, token_uri: str) -> Path:
    """Write the file of a service account, with a key of its own."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    account = {
        "type": "service_account",
        "project_id": "tests",
        "client_email": "tests@example.com",
        "private_key": key.decode(),
        "token_uri": token_uri,
    }
    path = folder / "account.json"
    path.write_text(json.dumps(account))
    return path
