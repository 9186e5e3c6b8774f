"""Bars of rows a second for each path, as SVG; on a logarithmic scale, so that a plain tap's bar is seen too."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape

from benchmarks.cases import TAP
from benchmarks.measuring import Measured

_WIDTH, _NAMES, _FIGURES = 1000, 450, 90
_BAR, _STEP, _TITLE, _GAP, _EDGE = 14, 20, 30, 24, 16
_OURS, _OTHERS, _LINES, _INK = "#2b6cb0", "#a0aec0", "#e2e8f0", "#1a202c"


def picture(scenes: Sequence[Measured]) -> str:
    """Draw one panel a scene, below each other, each on a scale of its own."""
    parts: list[str] = []
    top = _EDGE
    for scene in scenes:
        parts += _panel(scene, top)
        top += _TITLE + _STEP * len(scene.results) + _GAP + _EDGE
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top}" role="img" '
        f'font-family="sans-serif" font-size="12" fill="{_INK}">'
    )
    title = "<title>Rows a second by path, logarithmic scale</title>"
    ground = f'<rect width="{_WIDTH}" height="{top}" fill="white"/>'
    return "\n".join([head, title, ground, *parts, "</svg>", ""])


def _panel(scene: Measured, top: int) -> Iterator[str]:
    rates = [each.rate for each in scene.results]
    low = math.floor(math.log10(min(rates)))
    high = max(math.ceil(math.log10(max(rates))), low + 1)
    bottom = top + _TITLE + _STEP * len(scene.results)
    yield _text(_EDGE, top + _BAR, f"{scene.name}: {scene.words}", weight="bold")
    for power in range(low, high + 1):
        x = _NAMES + _length(10.0**power, low, high)
        yield f'<path d="M{x:.1f} {top + _TITLE - 6}V{bottom}" stroke="{_LINES}"/>'
        yield _text(x, bottom + _BAR, _short(10.0**power), anchor="middle")
    for number, each in enumerate(scene.results):
        y = top + _TITLE + _STEP * number
        length, colour = _length(each.rate, low, high), _OURS if each.name.startswith(TAP) else _OTHERS
        yield _text(_NAMES - 8, y + _BAR - 3, each.name, anchor="end")
        yield f'<rect x="{_NAMES}" y="{y}" width="{length:.1f}" height="{_BAR}" fill="{colour}"/>'
        yield _text(_NAMES + length + 6, y + _BAR - 3, _short(each.rate))


def _length(rate: float, low: int, high: int) -> float:
    """Return how long a bar is."""
    return (math.log10(rate) - low) / (high - low) * (_WIDTH - _NAMES - _FIGURES)


def _short(rate: float) -> str:
    """Spell rows a second with three digits at most: 950, 9.5k, 950k, 9.5M."""
    for unit, name in ((1e6, "M"), (1e3, "k")):
        if rate >= unit:
            return f"{rate / unit:.3g}{name}"
    return f"{rate:.3g}"


def _text(x: float, y: float, words: str, *, anchor: str = "start", weight: str = "normal") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}">{escape(words)}</text>'
