"""What a tap has imported before it reads its command line; imported by the process that taps are forked from."""

from __future__ import annotations

from tap_redivis.__main__ import _leave_out

_leave_out()  # first: a tap that is started does without these parts of the SDK too

from tap_redivis import tap  # noqa: E402 - see above
from tap_redivis.batch import output  # noqa: E402 - see above
from tap_redivis.wire import arrow, csv  # noqa: E402 - see above

__all__ = ["arrow", "csv", "output", "tap"]
