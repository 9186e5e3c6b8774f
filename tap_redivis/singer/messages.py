"""Singer messages → whole lines on stdout; the only place that writes there."""

import json
import sys
from typing import Any

import msgspec
from singer_sdk.singerlib import StateMessage
from singer_sdk.singerlib.encoding.base import GenericSingerWriter

from tap_redivis.runtime.shutdown import SHUTDOWN
from tap_redivis.wire.rows import Parts

# Tap and target take turns less often than with 64 KiB: 4 % of a fast load's time. More would leave no room for the
# last lines after a signal (``runtime.shutdown``).
PIPE_BYTES = 256 * 1024


class MessageWriter(GenericSingerWriter[bytes, Any]):
    """Writes each message as one line, at once and whole."""

    def __init__(self) -> None:
        self.last_type: str | None = None
        self.size = 0  # bytes written

    def serialize_message(self, message: Any) -> bytes:  # noqa: ANN401 - as the SDK declares it
        """Write a message as one line of JSON."""
        # The SDK's to_dict() copies the whole state: with a thousand bookmarks that takes longer than a small table.
        is_state = isinstance(message, StateMessage)
        content = {"type": "STATE", "value": message.value} if is_state else message.to_dict()
        try:
            return msgspec.json.encode(content) + b"\n"
        except UnicodeEncodeError:  # a lone surrogate, which msgspec cannot write
            return json.dumps(msgspec.to_builtins(content), separators=(",", ":")).encode() + b"\n"

    def write_message(self, message: Any) -> None:  # noqa: ANN401 - as the SDK declares it
        """Write one message."""
        self.write_lines(self.format_message(message), message.type.value)

    def write_lines(self, lines: bytes | Parts, message_type: str) -> None:
        """Write whole lines of one message type; an ``OutputClosed`` says that no more can be written."""
        parts = lines if isinstance(lines, tuple) else (lines,)
        with SHUTDOWN.defer_signals():
            # The SDK's test runner replaces sys.stdout: it is looked up when writing (singer-sdk.md).
            for part in parts:
                sys.stdout.buffer.write(part)
            if message_type == "STATE":  # a file that gets full ends with one
                sys.stdout.buffer.flush()
            self.size += sum(map(len, parts))
            self.last_type = message_type
