"""The size of the tap's code: `python -m tests.support.figures` prints it.

A function is counted from its `def` to its end, with its docstring. Comments to tools, such as `noqa`, are not counted.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from statistics import median, quantiles

import tap_redivis

_PACKAGE = Path(tap_redivis.__file__).parent
_FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)
_FOR_TOOLS = re.compile(r"#\s*(?:noqa|type|pragma):")


@dataclass(frozen=True)
class Size:
    """The size of a file, a class or a function."""

    name: str  # `tap.py`, or `tap.py:TapRedivis`
    lines: int
    methods: int = 0


def sources() -> dict[str, str]:
    """Return the text of each file by its path in the package."""
    return {str(path.relative_to(_PACKAGE)): path.read_text() for path in sorted(_PACKAGE.rglob("*.py"))}


def file_sizes() -> list[Size]:
    """Return the size of each file."""
    return [Size(name, len(text.splitlines())) for name, text in sources().items()]


def class_sizes() -> list[Size]:
    """Return the size of each class; its methods are the functions directly in it."""
    return [
        Size(name, _lines(node), sum(isinstance(each, _FUNCTION) for each in node.body))
        for name, node in _nodes()
        if isinstance(node, ast.ClassDef)
    ]


def function_sizes() -> list[Size]:
    """Return the size of each function."""
    return [Size(name, _lines(node)) for name, node in _nodes() if isinstance(node, _FUNCTION)]


def _nodes() -> Iterator[tuple[str, ast.AST]]:
    for name, text in sources().items():
        yield from ((f"{name}:{getattr(node, 'name', '')}", node) for node in ast.walk(ast.parse(text)))


def _lines(node: ast.stmt) -> int:
    return (node.end_lineno or 0) - node.lineno + 1


def _comments() -> int:
    tokens = (token for text in sources().values() for token in tokenize.generate_tokens(io.StringIO(text).readline))
    return sum(token.type == tokenize.COMMENT and not _FOR_TOOLS.match(token.string) for token in tokens)


def main() -> None:
    """Print the figures."""
    files, functions = file_sizes(), [each.lines for each in function_sizes()]
    lines, p90 = sum(each.lines for each in files), quantiles(functions, n=10)[-1]
    longest, largest = max(files, key=attrgetter("lines")), max(class_sizes(), key=attrgetter("methods"))
    sys.stdout.write(
        f"lines     {lines:,} in {len(files)} files\n"
        f"file      at most {longest.lines} lines ({longest.name})\n"
        f"class     at most {largest.methods} methods in {largest.lines} lines ({largest.name})\n"
        f"function  median {median(functions):.0f}, p90 {p90:.0f}, at most {max(functions)} lines\n"
        f"comments  {100 * _comments() / lines:.1f} in 100 lines\n"
    )


if __name__ == "__main__":
    main()
