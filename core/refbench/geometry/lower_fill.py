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
REACH = 5.0
"""Lines whose gap is so many times the shortest count, too."""
QUANTILE = 0.25


def lower_filled(heights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return heights [rows, cols] without NaN.

    Each of the four lines through a pixel (row, column, both diagonals) offers the lower of the heights at its two
    ends. The pixel takes the lower quartile of what the lines offer, those left out whose gap is more than ``REACH``
    times the shortest. Where no line has two ends the nearest height does.
    """
    unknown = np.isnan(heights)
    if not unknown.any() or unknown.all():
        return heights
    offers, gaps = [], []
    for lines, back, step in _lines(heights):
        lower, gap = (part[back][unknown] for part in _lower_ends(lines))
        offers.append(lower)
        gaps.append(step * gap)
    offered, gap = np.stack(offers), np.stack(gaps)
    with np.errstate(invalid="ignore"):
        far = ~(gap <= REACH * gap.min(axis=0)) | np.isinf(gap)
    ordered = np.sort(np.where(far, np.nan, offered), axis=0)  # NaN comes last
    number = np.isfinite(ordered).sum(axis=0)
    # The quantile by linear interpolation between the offers of the pixel.
    place = QUANTILE * np.maximum(number - 1, 0)
    below = np.floor(place).astype(np.intp)
    above = np.minimum(below + 1, np.maximum(number - 1, 0))
    low, high = (np.take_along_axis(ordered, index[None], axis=0)[0] for index in (below, above))
    found = low + (place - below) * (high - low)
    out = filled(heights).astype(np.float32)
    out[unknown] = np.where(number > 0, found, out[unknown])
    return out


def _lines(heights: NDArray[np.float32]) -> Iterator[tuple[Floats, tuple[NDArray[np.intp], ...], float]]:
    """Yield heights [lines, places] along each direction, where each pixel lies in them, and the step of a place."""
    rows, cols = (np.asarray(index, np.intp) for index in np.indices(heights.shape))
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
