"""The limits of the code's size, and what the tap leaves to Python. Import layers are checked by `make check`."""

from __future__ import annotations

import re

from tests.support.figures import class_sizes, file_sizes, sources

_MAX_FILE_LINES = 400
_MAX_METHODS = 20
_MAX_CLASS_LINES = 299
_TUNING = re.compile(r"\bos\.fork\b|\bmallopt\b|\bsys\.meta_path\b|\bsetswitchinterval\b|\bgc\.")


def test_no_file_is_too_long() -> None:
    assert {each.name for each in file_sizes() if each.lines > _MAX_FILE_LINES} == set()


def test_no_class_is_too_large() -> None:
    large = {each.name for each in class_sizes() if each.methods > _MAX_METHODS or each.lines > _MAX_CLASS_LINES}

    assert large == set()


def test_processes_memory_and_imports_are_left_to_python() -> None:
    """No fork, no tuning of the allocator, the garbage collector or the interpreter's lock, no import hooks."""
    assert {name for name, text in sources().items() if _TUNING.search(text)} == set()
