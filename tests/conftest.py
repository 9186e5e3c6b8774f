"""Loads the fixtures that all tests share."""

import os
import signal

pytest_plugins = ["tests.support.fixtures"]

# What programs write must arrive as it does elsewhere, where Python keeps it until it is told to write it.
os.environ.pop("PYTHONUNBUFFERED", None)

# A signal that is ignored at the start stays ignored: those that the tests send must not be, though nohup started them.
for number in (signal.SIGHUP, signal.SIGINT):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler)
