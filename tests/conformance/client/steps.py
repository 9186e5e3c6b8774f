"""The steps of the official client, and what a step returns; this package is run by the client's own interpreter.

Nothing of ours is installed there: only the client and what it brings.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import redivis
import requests

from tests.conformance.client import calls

FOLDER = Path(sys.argv[1])
STEPS: dict[str, Callable[[], Any]] = {}


def step(function: Callable[[], Any]) -> Callable[[], Any]:
    """Register a function to be called by `run`."""
    STEPS[function.__name__] = function
    return function


def medicare() -> Any:
    return redivis.organization("demo").dataset("medicare")


def table(name: str) -> Any:
    return medicare().table(name)


def draft(name: str) -> Any:
    return redivis.dataset("demo.medicare:next").table(name)


def claims() -> Any:
    return draft("claims")


def analysis() -> Any:
    return redivis.workflow("demo.analysis")


def error_of(call: Callable[[], Any]) -> list[str]:
    """Return the kind and the text of the error that a call raises."""
    try:
        call()
    except (redivis.exceptions.RedivisError, ValueError) as error:
        return [type(error).__name__, str(error)]
    return []


def control(path: str, content: Any) -> None:
    """Send a request to a control endpoint of the emulator."""
    origin = os.environ["REDIVIS_API_ENDPOINT"].removesuffix("/api/v1")
    requests.post(f"{origin}/_emulator/{path}", json=content, timeout=60).raise_for_status()


def run() -> None:
    """Call all steps; write what they return into FOLDER: `answers.json`, and `<step>.arrow` for tables."""
    answers = {name: _answer(name, function) for name, function in STEPS.items()}
    (FOLDER / "answers.json").write_text(json.dumps({"answers": answers, "methods": calls.methods()}))


def _answer(name: str, function: Callable[[], Any]) -> dict[str, Any]:
    calls.begin()
    try:
        answer = function()
    except Exception:  # noqa: BLE001 - each step is a test of its own, which shows what went wrong
        return {"error": traceback.format_exc()}
    made = {"calls": calls.made(), "used": calls.used()}
    if not isinstance(answer, pa.Table):
        return {"value": answer, **made}
    with pa.OSFile(str(FOLDER / f"{name}.arrow"), "wb") as file, pa.ipc.new_file(file, answer.schema) as writer:
        writer.write_table(answer)
    return made
