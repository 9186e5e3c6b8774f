"""Loads the fixtures that all tests share."""

import os

pytest_plugins = ["tests.support.fixtures"]

# What programs write must arrive as it does elsewhere, where Python keeps it until it is told to write it.
os.environ.pop("PYTHONUNBUFFERED", None)
