"""Bars of rows a second for each path, as SVG; on a logarithmic scale, so that a plain tap's bar is seen too."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape

from benchmarks.cases import TAP
from benchmarks.measuring import Measured

_WIDTH, _NAMES, _FIGURES = 1000, 450, 90
_BAR, _STEP, _TITLE, _GAP, _EDGE = 14, 20, 30, 24, 16
_OURS, _OTHERS, _LINES, _INK = "#2b6cb0", "#a0aec0", "#e2e8f0", "#1a202c"
_OURS_ANYWHERE, _OTHERS_ANYWHERE = "#3182ce", "#8795a8"


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


def ways_picture(rates: Mapping[tuple[str, str], tuple[float, bool]]) -> str:
    """Draw ways into databases, on one linear scale; in colours that are seen on white and on black.

    Args:
        rates: By kind of database and way, rows a second, and whether the way is ours.
    """
    most = max(rate for rate, _ in rates.values())
    parts: list[str] = []
    top = _EDGE
    for kind in dict.fromkeys(kind for kind, _ in rates):
        parts.append(_text(_EDGE, top + _BAR, f"Rows a second into {kind}, whole processes", weight="bold"))
        top += _TITLE
        ways = [(way, *each) for (of, way), each in rates.items() if of == kind]
        for way, rate, is_ours in sorted(ways, key=lambda each: -each[1]):
            length = max(1.0, rate / most * (_WIDTH - _NAMES - _FIGURES))
            colour = _OURS_ANYWHERE if is_ours else _OTHERS_ANYWHERE
            parts += [
                _text(_NAMES - 8, top + _BAR - 3, way, anchor="end"),
                f'<rect x="{_NAMES}" y="{top}" width="{length:.1f}" height="{_BAR}" fill="{colour}"/>',
                _text(_NAMES + length + 6, top + _BAR - 3, f"{rate:,.0f}"),
            ]
            top += _STEP
        top += _EDGE
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top}" role="img" font-family="sans-serif"'
    style = (
        f"<style>text {{ fill: {_INK} }} @media (prefers-color-scheme: dark) {{ text {{ fill: {_LINES} }} }}</style>"
    )
    title = "<title>Rows a second into a database, by each way</title>"
    return "\n".join([f'{head} font-size="12">', title, style, *parts, "</svg>", ""])
