"""The standard streams, whatever they are: closed, full, non-blocking, a socket, a terminal that went away."""

import errno
import io
import os
import select
import stat
import sys
from contextlib import suppress
from typing import Any, TextIO

from tap_redivis.errors import ResourceError


class OutputClosed(BaseException):  # no error, and nothing that catches errors may catch it
    """stdout takes no more. The argument is the error; without one, the reader is gone, and needs no message."""


class Output(io.FileIO):
    """Takes all that is written, or raises ``OutputClosed``; ``flush`` ends what belongs together, as STATE does."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._unfinished = 0  # bytes since the last flush

    def write(self, data: Any) -> int:  # noqa: ANN401 - what has bytes
        """Write all bytes."""
        rest = memoryview(data).cast("B")
        size = len(rest)
        while rest:
            try:
                count = super().write(rest)
            except OSError as error:
                self.give_up(error)
                break
            if count is None:  # it is non-blocking, and full
                select.select([], [self], [])
            self._unfinished += count or 0
            rest = rest[count or 0 :]
        return size

    def flush(self) -> None:
        """End what belongs together."""
        self._unfinished = 0

    def give_up(self, error: OSError) -> None:
        """Take back what is unfinished, as far as possible, and raise ``OutputClosed``."""
        is_terminal = stat.S_ISCHR(os.fstat(self.fileno()).st_mode)
        if isinstance(error, ConnectionError) or (error.errno == errno.EIO and is_terminal):
            raise OutputClosed from None
        with suppress(OSError):  # a file, where nobody else has written behind it
            whole = self.tell() - self._unfinished
            if self.tell() == os.fstat(self.fileno()).st_size:
                os.ftruncate(self.fileno(), self.seek(whole))
        self.flush()
        what = "it is closed" if error.errno == errno.EBADF else os.strerror(error.errno or 0).lower()
        hint = "Connect it to a target, or to a file that has room, and run again with the last STATE"
        raise OutputClosed(ResourceError(what, where="stdout", hint=hint)) from error


class _Log(Output):
    def give_up(self, error: OSError) -> None:
        """Lose a line: the work goes on."""


def take_over() -> None:
    """Take over the standard streams, before any file is opened: it could get the number of one that is closed."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)  # what is written to it still fails
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - it stays open
    sys.stdout = text_output(Output(1), sys.stdout)
    sys.stderr = text_output(_Log(2), sys.stderr)


def text_output(output: Output, before: TextIO | None = None) -> TextIO:
    """Make a stream for text, in the encoding of the one before it; what that cannot spell is escaped."""
    encoding = before.encoding if before else "utf-8"
    return io.TextIOWrapper(output, encoding, errors="backslashreplace", write_through=True)
