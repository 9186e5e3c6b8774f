"""Notes the calls of the client's methods, each with its parameters, if it asked the server: `Table.get()`.

What the client calls by itself, and what needs no request (`organization.dataset("d")`), is no call.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any

import niquests
import redivis.classes.ReadStream  # noqa: F401 - the client imports it late
import requests

_STEPS = __name__.rpartition(".")[0]
_UNIMPORTANT = {"progress", "path"}
_made: set[str] = set()
_used: set[str] = set()
_requests = 0


def begin() -> None:
    """Forget the calls so far."""
    _made.clear()
    _used.clear()


def made() -> list[str]:
    """Return the calls since `begin` that asked the server."""
    return sorted(_made)


def used() -> list[str]:
    """Return the methods that were called since `begin`, also without a request."""
    return sorted(_used)


def methods() -> list[str]:
    """Return all public methods of the client."""
    return sorted({f"{kind.__name__}.{name}" for kind in _kinds() for name in _public(kind)})


def watch() -> None:
    """Begin to watch all public methods, and the requests."""
    for kind in _kinds():
        for name in _public(kind):
            setattr(kind, name, _watched(name, getattr(kind, name)))
    requests.request = _counted(requests.request)
    niquests.AsyncSession.get = _counted(niquests.AsyncSession.get)


def _kinds() -> list[type]:
    """Return the client's classes that a user gets; two old ones are never imported, `Base` has no methods."""
    modules = [module for name, module in sys.modules.items() if name.startswith("redivis.classes.")]
    return [
        kind
        for module in modules
        for kind in vars(module).values()
        if inspect.isclass(kind) and kind.__module__ == module.__name__
    ]


def _public(kind: type) -> list[str]:
    return [
        name
        for name, value in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_") and value.__module__.startswith("redivis")
    ]


def _counted(send: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(send)
    def counted(*arguments: Any, **options: Any) -> Any:
        global _requests  # noqa: PLW0603 - one process, one count
        _requests += 1
        return send(*arguments, **options)

    return counted


def _watched(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def watched(resource: Any, *arguments: Any, **options: Any) -> Any:
        if not sys._getframe(1).f_globals.get("__name__", "").startswith(_STEPS):  # noqa: SLF001 - who calls?
            return method(resource, *arguments, **options)
        before, label = _requests, f"{type(resource).__name__}.{name}"
        given = inspect.signature(method).bind(resource, *arguments, **options).arguments
        _used.add(label)
        try:
            return method(resource, *arguments, **options)
        finally:
            if _requests > before:
                _made.add(f"{label}({_parameters(given)})")

    return watched


def _parameters(given: dict[str, Any]) -> str:
    shown = {name: value for name, value in list(given.items())[1:] if name not in _UNIMPORTANT}
    return ", ".join(f"{name}={getattr(value, '__name__', repr(value))}" for name, value in sorted(shown.items()))
