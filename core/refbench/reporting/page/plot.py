"""Accuracy against cost, as SVG: MAE with its interval over CPU seconds, the cost on a logarithmic axis."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from refbench.reporting.page.model import Plot

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Box = tuple[float, float, float, float]

WIDTH, HEIGHT = 640, 340
LEFT, RIGHT, TOP, BOTTOM = 58, 18, 16, 46
LETTER, LINE = 6.9, 15
RADIUS, GAP = 5, 9
REACH = 45
"""Thirds of a line that a label moves at most."""
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
        parts.append(f'<text class="tick" x="{LEFT + 4}" y="{y - 5:.1f}">initial DSM</text>')
    ordered = sorted(shown, key=lambda point: point.mae)
    dots = [(x_of(point.cpu_s), y_of(point.mae)) for point in ordered]
    labels = place_labels(dots, [LETTER * len(point.name) for point in ordered])
    for number, (point, dot, place) in enumerate(zip(ordered, dots, labels, strict=True)):
        parts.append(_mark(point, number % HUES, dot, place, y_of))
    label = escape(f"{title}: mean absolute error over CPU seconds of {len(shown)} methods")
    svg = f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="group" aria-label="{label}">{"".join(parts)}</svg>'
    return Plot(title, svg)


def _axes(first: float, last: float, top: float, x_of: Callable[[float], float], y_of: Callable[[float], float]) -> str:
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


def place_labels(dots: Sequence[tuple[float, float]], widths: Sequence[float]) -> list[tuple[float, float]]:
    """Return where labels begin, (x, y of the base line): beside their dot, covering no label, no dot, no edge.

    Parameters
    ----------
    dots
        Places of the dots inside the image; y goes down.
    widths
        Of the labels, in the same units.

    Each label takes the nearest free place to the right or to the left of its dot, moving up and down in thirds of a
    line. Where nothing is free the place with the least overlap is taken.
    """
    taken = [(x - RADIUS, x + RADIUS, y - RADIUS, y + RADIUS) for x, y in dots]
    placed = []
    for (x, y), width in zip(dots, widths, strict=True):
        boxes = []
        for shift in sorted((step * LINE / 3 for step in range(-REACH, REACH + 1)), key=abs):
            for left in (x + GAP, x - GAP - width):
                box = (left, left + width, y + shift - LINE / 2, y + shift + LINE / 2)
                inside = box[0] >= LEFT and box[1] <= WIDTH - 4 and box[2] >= 0 and box[3] <= HEIGHT - BOTTOM
                boxes.append((sum(_overlap(box, other) for other in taken) + (0 if inside else WIDTH * LINE), box))
        _, best = min(boxes, key=lambda entry: entry[0])
        taken.append(best)
        placed.append((best[0], best[2] + LINE / 2 + 4))
    return placed


def _overlap(a: Box, b: Box) -> float:
    """Return the area that two boxes (left, right, top, bottom) have in common."""
    return max(0.0, min(a[1], b[1]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[2], b[2]))


def _mark(
    point: Point, hue: int, dot: tuple[float, float], label: tuple[float, float], y_of: Callable[[float], float]
) -> str:
    """Return dot, interval and label of a method; a line leads from a label that had to move to its dot."""
    (x, y), (left, line) = dot, label
    # A label to the left ends at its dot, however wide its letters turn out.
    is_left = left < x
    anchor, at = ("end", left + LETTER * len(point.name)) if is_left else ("start", left)
    interval, bar = "", ""
    if point.low is not None and point.high is not None:
        interval = f" [{point.low:.2f}, {point.high:.2f}]"
        bar = f'<line class="bar" x1="{x:.1f}" x2="{x:.1f}" y1="{y_of(point.low):.1f}" y2="{y_of(point.high):.1f}"/>'
    text = f"{point.name}: MAE {point.mae:.2f}{interval} m, {point.cpu_s:.1f} CPU s"
    lead = ""
    if abs(line - 4 - y) > LINE / 2:
        end = at + 2 if is_left else at - 2
        lead = f'<line class="lead" x1="{x:.1f}" y1="{y:.1f}" x2="{end:.1f}" y2="{line - 4:.1f}"/>'
    return (
        f'<g class="hue{hue}" tabindex="0" role="img" aria-label="{escape(text)}"><title>{escape(text)}</title>{bar}'
        f'{lead}<circle cx="{x:.1f}" cy="{y:.1f}" r="{RADIUS}"/>'
        f'<text x="{at:.1f}" y="{line:.1f}" text-anchor="{anchor}">{escape(point.name)}</text></g>'
    )


def _step(top: float) -> float:
    """Return the distance of the marks of an axis from 0 to ``top``: some five of them."""
    power = 10 ** math.floor(math.log10(top / 4))
    return float(next(factor * power for factor in (1, 2, 5, 10) if top / (factor * power) <= 6))
