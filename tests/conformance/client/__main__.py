"""Runs all steps: `python -m tests.conformance.client FOLDER`, with the interpreter that has the official client."""

from tests.conformance.client import calls, files, jobs, metadata, rows, steps

assert [files, jobs, metadata, rows]  # each registers its steps
calls.watch()
steps.run()
