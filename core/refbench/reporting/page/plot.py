"""Accuracy against cost, as SVG: MAE with its interval over CPU seconds, the cost on a logarithmic axis."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from refbench.reporting.page.model import Plot

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH, HEIGHT = 640, 340
LEFT, RIGHT, TOP, BOTTOM = 58, 18, 16, 46
LETTER, LINE = 6.7, 15
HUES = 8


@dataclass(frozen=True, slots=True)
class Point:
    """One method: CPU seconds, MAE in metres and its interval."""

    name: str
    cpu_s: float
    mae: float
    low: float | None = None
    high: float | None = None


def cost_plot(title: str, points: Sequence[Point], initial: float | None) -> Plot | None:
    """Return the plot, None without a point. ``initial`` is the MAE of the initial DSM: a dashed line."""
    shown = [point for point in points if point.cpu_s > 0]
    if not shown:
        return None
    first = math.floor(math.log10(min(point.cpu_s for point in shown)) * 2 - 0.2) / 2
    last = math.ceil(math.log10(max(point.cpu_s for point in shown)) * 2 + 0.2) / 2
    top = 1.08 * max([point.high or point.mae for point in shown] + ([initial] if initial is not None else []))

    def x_of(cpu: float) -> float:
        return LEFT + (math.log10(cpu) - first) / (last - first) * (WIDTH - LEFT - RIGHT)

    def y_of(mae: float) -> float:
        return HEIGHT - BOTTOM - mae / top * (HEIGHT - TOP - BOTTOM)

    parts = [_axes(first, last, top, x_of, y_of)]
    if initial is not None:
        y = y_of(initial)
        parts.append(f'<line class="initial" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{WIDTH - RIGHT}" y="{y - 5:.1f}" text-anchor="end">initial DSM</text>')
    taken: list[tuple[float, float, float]] = []
    for number, point in enumerate(sorted(shown, key=lambda point: point.mae)):
        parts.append(_mark(point, number % HUES, x_of(point.cpu_s), y_of, taken))
    label = escape(f"{title}: mean absolute error over CPU seconds of {len(shown)} methods")
    svg = f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="group" aria-label="{label}">{"".join(parts)}</svg>'
    return Plot(title, svg)


def _axes(first: float, last: float, top: float, x_of, y_of) -> str:  # type: ignore[no-untyped-def]  # noqa: ANN001
    parts = []
    step = _step(top)
    for index in range(int(top / step) + 1):
        y = y_of(index * step)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{index * step:g}</text>')
    for half in range(math.ceil(first * 2), math.floor(last * 2) + 1):
        value = 10 ** (half / 2)
        x = x_of(value)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
        text = f"{value:.0f}" if value >= 9.5 else f"{value:.2g}"
        parts.append(f'<text class="tick" x="{x:.1f}" y="{HEIGHT - BOTTOM + 17}" text-anchor="middle">{text}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text class="axis" x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">CPU seconds (log) ↓</text>')
    parts.append(
        f'<text class="axis" transform="translate(14 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" '
        'text-anchor="middle">MAE (m) ↓</text>'
    )
    return "".join(parts)


def _mark(point: Point, hue: int, x: float, y_of, taken: list[tuple[float, float, float]]) -> str:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Return dot, interval and label of a method; the label moves down until it covers no other."""
    y = y_of(point.mae)
    interval, bar = "", ""
    if point.low is not None and point.high is not None:
        interval = f" [{point.low:.2f}, {point.high:.2f}]"
        bar = f'<line class="bar" x1="{x:.1f}" x2="{x:.1f}" y1="{y_of(point.low):.1f}" y2="{y_of(point.high):.1f}"/>'
    text = f"{point.name}: MAE {point.mae:.2f}{interval} m, {point.cpu_s:.1f} CPU s"
    width = LETTER * len(point.name)
    left = x + 9 if x + 9 + width < WIDTH - 4 else x - 9 - width
    line = y + 4
    while any(abs(line - other) < LINE and left < end and start < left + width for start, end, other in taken):
        line += LINE / 3
    taken.append((left, left + width, line))
    return (
        f'<g class="hue{hue}" tabindex="0" role="img" aria-label="{escape(text)}"><title>{escape(text)}</title>{bar}'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5"/>'
        f'<text x="{left:.1f}" y="{line:.1f}">{escape(point.name)}</text></g>'
    )


def _step(top: float) -> float:
    """Return the distance of the marks of an axis from 0 to ``top``: some five of them."""
    power = 10 ** math.floor(math.log10(top / 4))
    return float(next(factor * power for factor in (1, 2, 5, 10) if top / (factor * power) <= 6))
