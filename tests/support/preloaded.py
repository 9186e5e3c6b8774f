"""What a tap has imported before it reads its command line; imported by the process that taps are forked from."""

from __future__ import annotations

from tap_redivis import tap
from tap_redivis.batch import output
from tap_redivis.wire import arrow, csv

__all__ = ["arrow", "csv", "output", "tap"]
