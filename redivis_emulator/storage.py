"""Signed addresses of raw files: a stand-in for the cloud storage that Redivis redirects to (redivis-api §4.8).

An address is valid for an hour, for one file, and for whoever knows it: a token sent along is an error.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.responses import Response

if TYPE_CHECKING:
    from redivis_emulator.call import Call
    from redivis_emulator.clock import Clock

# First segment of the paths.
PREFIX = "_storage"
_LIFETIME_SECONDS = 3600


@dataclass(frozen=True)
class Storage:
    """Signs and checks addresses.

    Args:
        origin: Scheme, host and port of the addresses.
        clock: The emulator's clock.
    """

    origin: str
    clock: Clock
    key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    def address(self, file_id: str) -> str:
        """Return the signed address of a file."""
        expires = str(int(self.clock.now()) + _LIFETIME_SECONDS)
        signature = self._signature(file_id, expires)
        return f"{self.origin}/{PREFIX}/{quote(file_id, safe='')}?Expires={expires}&Signature={signature}"

    def refusal(self, file_id: str, call: Call) -> Response | None:
        """Return the answer to a request that is not allowed, in the words of Google's storage; None if it is."""
        expires, signature = call.query.get("Expires", ""), call.query.get("Signature", "")
        if "authorization" in call.headers:
            return _refusal(400, "InvalidArgument", "Only one way of authentication is allowed.")
        if not hmac.compare_digest(signature.encode(), self._signature(file_id, expires).encode()):
            return _refusal(403, "SignatureDoesNotMatch", "The signature of the address is wrong.")
        if self.clock.now() >= int(expires):
            return _refusal(400, "ExpiredToken", "The address has expired.")
        return None

    def _signature(self, file_id: str, expires: str) -> str:
        return hmac.new(self.key, f"{file_id} {expires}".encode(), "sha256").hexdigest()


def _refusal(status: int, code: str, message: str) -> Response:
    body = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return Response(body, status, media_type="application/xml; charset=UTF-8")
