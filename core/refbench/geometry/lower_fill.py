"""Holes of a DSM at the height of their lower neighbour: what stereo does not see is mostly ground beside a wall."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from refbench.geometry.nodata_fill import filled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

DIAGONAL = 2**0.5


def lower_filled(heights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return heights [rows, cols] without NaN.

    Of the four lines through a pixel (row, column, both diagonals) the one with the shortest gap counts; the pixel
    takes the lower of the heights at its two ends. Where no line has two ends the nearest height does.
    """
    unknown = np.isnan(heights)
    if not unknown.any() or unknown.all():
        return heights
    out = filled(heights).astype(np.float32)
    shortest = np.full(heights.shape, np.inf)
    for lines, back, step in _lines(heights):
        lower, gap = (part[back] for part in _lower_ends(lines))
        better = unknown & (step * gap < shortest)
        out[better] = lower[better]
        shortest[better] = step * gap[better]
    return out


def _lines(heights: NDArray[np.float32]) -> Iterator[tuple[Floats, tuple[NDArray[np.intp], ...], float]]:
    """Yield heights [lines, places] along each direction, where each pixel lies in them, and the step of a place."""
    rows, cols = np.indices(heights.shape)
    count = heights.shape[0]
    diagonals = (cols - rows + count - 1, rows), (cols + rows, rows)
    for back, step in (((rows, cols), 1.0), ((cols, rows), 1.0), (diagonals[0], DIAGONAL), (diagonals[1], DIAGONAL)):
        lines = np.full((int(back[0].max()) + 1, int(back[1].max()) + 1), np.nan)
        lines[back] = heights
        yield lines, back, step


def _lower_ends(lines: Floats) -> tuple[Floats, Floats]:
    """Return the lower of the nearest heights to both sides along lines [L, N], and the gap between them."""
    known = np.isfinite(lines)
    places = np.broadcast_to(np.arange(lines.shape[1]), lines.shape)
    before = np.maximum.accumulate(np.where(known, places, -1), axis=1)
    behind = np.minimum.accumulate(np.where(known, places, lines.shape[1])[:, ::-1], axis=1)[:, ::-1]
    both = (before >= 0) & (behind < lines.shape[1])
    at = np.arange(len(lines))[:, None]
    ends = lines[at, before.clip(0)], lines[at, behind.clip(max=lines.shape[1] - 1)]
    return np.where(both, np.minimum(*ends), np.nan), np.where(both, behind - before, np.inf)
