"""Regions of a raster, the regular grid of tiles over them, and how tiles blend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from refbench.contracts.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

VERTICAL, HORIZONTAL, ENTIRE = STRATEGIES = ("5-crossval_vertical", "5-crossval_horizontal", "entire")
STRIPES = 5


@dataclass(frozen=True, slots=True)
class Extent:
    """A rectangle of pixels; first and last belong to it. x counts columns eastwards, y rows southwards."""

    x_first: int
    x_last: int
    y_first: int
    y_last: int

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.y_last - self.y_first + 1

    @property
    def cols(self) -> int:
        """Number of columns."""
        return self.x_last - self.x_first + 1

    @property
    def pixels(self) -> tuple[slice, slice]:
        """The rectangle as an index into an array [..., rows, cols]."""
        return slice(self.y_first, self.y_last + 1), slice(self.x_first, self.x_last + 1)


def allocate(
    rows: int, cols: int, strategy: str, test_stripe: int, *, crossval: bool = False
) -> dict[str, tuple[Extent, ...]]:
    """Return the regions ``train``, ``val`` and ``test`` of a raster.

    Parameters
    ----------
    rows, cols
        Size of the raster.
    strategy
        ``5-crossval_vertical`` cuts five stripes along x, ``5-crossval_horizontal`` along y; ``entire`` gives the
        whole raster for everything.
    test_stripe
        Number of the test stripe, 0 to 4; the next one, cyclically, is for validation. Adjacent training stripes
        are one region.
    crossval
        ``test_stripe`` is for validation and there is no test region.

    Raises
    ------
    InputError
        The strategy is unknown, there is no such stripe, or the raster is too small for five stripes.
    """
    if strategy not in STRATEGIES:
        raise InputError(f"allocation_strategy must be one of {', '.join(STRATEGIES)}, got {strategy!r}.")
    if strategy == ENTIRE:
        whole = (Extent(0, cols - 1, 0, rows - 1),)
        return {"train": whole, "val": whole, "test": whole}
    if test_stripe not in range(STRIPES):
        raise InputError(f"test_stripe must be 0 to {STRIPES - 1}, got {test_stripe}.")
    vertical = strategy == VERTICAL
    borders = _borders(cols if vertical else rows)
    held = {"val": test_stripe} if crossval else {"val": (test_stripe + 1) % STRIPES, "test": test_stripe}
    runs: list[list[int]] = []
    for stripe in range(STRIPES):
        if stripe in held.values():
            continue
        if runs and runs[-1][1] == stripe - 1:
            runs[-1][1] = stripe
        else:
            runs.append([stripe, stripe])

    def extent(first: int, last: int) -> Extent:
        low, high = borders[first], borders[last + 1] - 1
        return Extent(low, high, 0, rows - 1) if vertical else Extent(0, cols - 1, low, high)

    single = {name: (extent(stripe, stripe),) for name, stripe in held.items()}
    return {"train": tuple(extent(*run) for run in runs), "val": single["val"], "test": single.get("test", ())}


def _borders(length: int) -> list[int]:
    """Return the first pixel of each stripe along an axis, and the end."""
    width = round(0.2 * length)
    if width < 1 or (STRIPES - 1) * width >= length:
        raise InputError(f"{length} pixels cannot be cut into {STRIPES} stripes; use allocation_strategy {ENTIRE}.")
    return [*range(0, STRIPES * width, width), length]


def tile_starts(first: int, last: int, tile: int, stride: int) -> list[tuple[int, int, int]]:
    """Return (start, own_first, own_last) of the tiles along one axis of a region.

    ``start`` is the tile's first pixel in the raster, the last tile ends at ``last``. The own interval, inclusive and
    counted from ``start``, is what no other tile covers; where tiles overlap by half it is empty between the first
    and the last one (own_first > own_last). A region smaller than the tile gets one tile that starts at ``first`` and
    reaches past ``last``; its own interval is the part inside.
    """
    if not 1 <= stride <= tile or last < first:
        raise InputError(f"Tiles of {tile} px every {stride} px cannot cover the pixels {first} to {last}.")
    length = last - first + 1
    if length <= tile:
        return [(first, 0, length - 1)]
    steps = -(-(length - tile) // stride)
    overlap, shift = tile - stride, steps * stride + tile - length
    inner = [(first + k * stride, overlap, stride - 1) for k in range(1, steps)]
    return [(first, 0, stride - 1), *inner, (last - tile + 1, overlap + shift, tile - 1)]


def blend_profile(tile: int, stride: int, own_first: int, own_last: int) -> NDArray[np.float64]:
    """Return the weights float64 [tile] of a tile along one axis.

    Where tiles overlap by at most half, the weights of all tiles sum to 1 over the region. They are 1 with linear
    ramps over the ``tile - stride`` pixels before and after the own interval, from exactly 0 to exactly 1, and 0
    beyond them. A ramp of one pixel is one half. Pixels past the region, which only a region smaller than the tile
    has, may weigh something too.
    """
    overlap = tile - stride
    ramp = np.linspace(0.0, 1.0, overlap) if overlap != 1 else np.array([0.5])
    weights = np.ones(tile)
    if own_first > 0:
        weights[: own_first - overlap] = 0.0
        weights[own_first - overlap : own_first] *= ramp
    if own_last < tile - 1:
        after = weights[own_last + 1 :]
        after[overlap:] = 0.0
        after[:overlap] *= ramp[::-1][: len(after)]
    return weights
