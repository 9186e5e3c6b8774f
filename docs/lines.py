"""The lines that the tap prints, read from its source: each error and each line of the log, as templates."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import tap_redivis
from tap_redivis import errors

_PACKAGE = Path(tap_redivis.__file__).parent
_CLASSES = {
    name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, errors.RedivisError)
}
_LEVELS = ("error", "warning", "info")
_TEXTS = (ast.Constant, ast.JoinedStr, ast.IfExp)
_PARTS = ("what", "where", "hint")


@dataclass(frozen=True, order=True)
class ErrorLine:
    """An error that the tap may end with; `…` stands for what is known only then.

    Attributes:
        kind: Its class.
        what: What happened.
        hint: What to do.
    """

    kind: str
    what: str
    hint: str


@dataclass(frozen=True)
class _Maker:
    """A function that makes errors of what it is called with."""

    parameters: list[str]
    call: ast.Call


def error_classes() -> set[str]:
    """Return the names of all error classes but the root."""
    return _CLASSES - {"RedivisError"}


def error_lines() -> list[ErrorLine]:
    """Find every place that makes an error."""
    trees = list(_trees())
    makers = {name: maker for tree in trees for name, maker in _makers(tree)}
    inside = {maker.call for maker in makers.values()}
    found = set()
    for call, assigned in (pair for tree in trees for pair in _calls(tree)):
        name = _name(call.func)
        if name in _CLASSES and call not in inside:
            found.add(_line(name, _arguments(call, _PARTS), assigned))
        elif maker := makers.get(name):
            given = _arguments(call, maker.parameters)
            found.add(_line(_name(maker.call.func), _arguments(maker.call, _PARTS), given))
    return sorted(line for line in found if line.hint and (line.what, line.hint) != ("…", "…"))


def log_lines() -> list[tuple[str, str]]:
    """Find every line of the log that has words of its own: level and template."""
    found = {*_logged(), *(("warning", f"…: {text}") for text in _composed())}
    return sorted(found, key=lambda line: (_LEVELS.index(line[0]), line[1]))


def _logged() -> Iterator[tuple[str, str]]:
    for call, assigned in (pair for tree in _trees() for pair in _calls(tree)):
        if isinstance(call.func, ast.Attribute) and call.func.attr in _LEVELS and call.args:
            text = re.sub(r"%[\d.,]*[sdrf]", "…", _text(call.args[0], assigned)).replace("%%", "%")
            if _name(call.func.value).endswith("logger") and re.search("[a-z]{3}", text):
                yield call.func.attr, text


def _composed() -> Iterator[str]:
    """Find the words of warnings that are made elsewhere: what was counted, and what some names may lead to."""
    for node in (node for tree in _trees() for node in ast.walk(tree)):
        match node:
            case ast.Call(func=ast.Attribute(value=counts, attr="add"), args=[ast.JoinedStr() as words, *_]):
                if _name(counts).endswith(("issues", "notices")):
                    yield f"… {_text(words, {})}"
            case ast.FunctionDef(name=name) if name.endswith("_warnings"):
                yield from (
                    _text(each.value, {}) for each in ast.walk(node) if isinstance(each, ast.Yield) and each.value
                )


def _trees() -> Iterator[ast.Module]:
    for path in sorted(_PACKAGE.rglob("*.py")):
        yield ast.parse(path.read_text())


def _calls(tree: ast.Module) -> Iterator[tuple[ast.Call, Mapping[str, ast.expr]]]:
    """Yield the calls in functions, with what was last assigned to the function's names before each."""
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        assigns = [node for node in ast.walk(function) if isinstance(node, ast.Assign)]
        texts = sorted((each for each in assigns if isinstance(each.value, _TEXTS)), key=lambda each: each.lineno)
        for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
            yield call, {_name(each.targets[0]): each.value for each in texts if each.lineno < call.lineno}


def _makers(tree: ast.Module) -> Iterator[tuple[str, _Maker]]:
    """Find functions that return an error, and make it of their arguments."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and isinstance(node.returns, ast.Name) and node.returns.id in _CLASSES:
            calls = [call for call in ast.walk(node) if isinstance(call, ast.Call) and _name(call.func) in _CLASSES]
            if len(calls) == 1:
                yield node.name, _Maker([each.arg for each in node.args.args if each.arg != "self"], calls[0])


def _arguments(call: ast.Call, names: list[str] | tuple[str, ...]) -> dict[str, ast.expr]:
    given = dict(zip(names, call.args, strict=False))
    return given | {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}


def _line(kind: str, parts: Mapping[str, ast.expr], given: Mapping[str, ast.expr]) -> ErrorLine:
    what, hint = (_text(parts[part], given) if part in parts else "" for part in ("what", "hint"))
    return ErrorLine(kind, what, hint)


def _text(node: ast.expr, given: Mapping[str, ast.expr]) -> str:
    """Write an expression as people will read it."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(_text(value, given) for value in values)
        case ast.FormattedValue(value=value) if isinstance(value, ast.Name):
            return _text(value, given)
        case ast.IfExp(body=body, orelse=other):
            return ", or: ".join(filter(None, [_text(body, given), _text(other, given)]))
        case ast.Name(id=name) if name in given:
            return _text(given[name], {}) or "…"
    return "…"


def _name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""
