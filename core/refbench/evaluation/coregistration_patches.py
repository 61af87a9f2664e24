"""Where two DSMs are compared for coregistration: everywhere, or in windows of rasters of any size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from refbench.contracts.errors import InputError
from refbench.contracts.grid import Window
from refbench.contracts.method import derived_rng
from refbench.evaluation.orientation import Orientation
from refbench.evaluation.shift_solver import MAX_PX, MIN_SAMPLES, Samples
from refbench.evaluation.slope import ground_gradient
from refbench.evaluation.streaming.sources import covering, mask_on

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from refbench.contracts.raster import DSM, Mask
    from refbench.contracts.source import RasterSource

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]

MAX_SAMPLES = 500_000
"""More of them change a shift by less than 0.001 px."""
SIDE_PX = 256
"""Side of a window of a large reference."""
PATCH_SAMPLES = 10_000
"""Stable pixels that one window gives at most, so that windows from all over the ground have a say."""
MAX_PATCHES = 100
_SPLINE_PX = 16
"""Beyond so many pixels a cubic spline does not feel what a window leaves out: 0.27^16 < 1e-9."""


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """Sample points of the reference and the surface to align around them."""

    samples: Samples
    surface: Spline


class Patches:
    """Several patches as one surface; see ``shift_solver.Sampled``."""

    def __init__(self, patches: Sequence[Patch]) -> None:
        self._patches = patches

    def at(self, shift: Floats) -> Floats:
        """Return the heights [N] of all patches moved by ``shift`` metres; NaN where unknown."""
        found = [patch.surface.at(shift) for patch in self._patches]
        return found[0] if len(found) == 1 else np.concatenate(found)


def whole(to_align: DSM, reference: DSM, unstable: Mapping[str, RasterSource[Mask]]) -> Patch:
    """Return all of two DSMs as one patch, at most ``MAX_SAMPLES`` pixels of it."""
    if (known := int(np.count_nonzero(to_align.valid))) < MIN_SAMPLES:
        raise InputError(f"The DSM to align has {known} known heights; coregistration needs {MIN_SAMPLES}.")
    masks = [mask_on(mask, reference.grid, name).read() for name, mask in unstable.items()]
    stable, slopes = _stable(reference, masks)
    # Drawn in the order that the relief picks: the same pixels however the raster is written.
    rows, cols = Orientation.of(reference.heights).positions(stable)
    rows, cols = _drawn(rows, cols, MAX_SAMPLES, "coregistration")
    return _patch(to_align, reference, (rows, cols), slopes)


def patches_of(
    to_align: RasterSource[DSM], reference: RasterSource[DSM], unstable: Mapping[str, RasterSource[Mask]]
) -> list[Patch]:
    """Return windows of large DSMs, drawn from all over the reference until ``MAX_SAMPLES`` are reached."""
    grid, own = reference.grid, to_align.grid
    assert grid is not None and own is not None  # DSMs have one
    masks = {name: mask_on(mask, grid, name) for name, mask in unstable.items()}
    places = [(row, col) for row in range(0, grid.height, SIDE_PX) for col in range(0, grid.width, SIDE_PX)]
    patches: list[Patch] = []
    total = 0
    for number in derived_rng(0, "coregistration windows").permutation(len(places)).tolist():
        row, col = places[number]
        window = Window(col, row, min(SIDE_PX, grid.width - col), min(SIDE_PX, grid.height - row))
        part = reference.read(window)
        if min(window.width, window.height) < 3 or not part.valid.any():
            continue
        stable, slopes = _stable(part, [mask.read(window) for mask in masks.values()])
        rows, cols = np.nonzero(stable)
        rows, cols = _drawn(rows, cols, PATCH_SAMPLES, "coregistration", number)
        reach = int(MAX_PX) + _SPLINE_PX
        around = Window(col - reach, row - reach, window.width + 2 * reach, window.height + 2 * reach)
        wanted = covering(own, grid.window(around))
        if not rows.size or wanted is None:
            continue
        moving = to_align.read(wanted)
        if not moving.valid.any():
            continue
        patches.append(_patch(moving, part, (rows, cols), slopes))
        total += rows.size
        if total >= MAX_SAMPLES or len(patches) == MAX_PATCHES:
            break
    if total < MIN_SAMPLES:
        raise InputError(f"The DSM and the reference share {total} stable pixels; coregistration needs {MIN_SAMPLES}.")
    return patches


def _patch(
    to_align: DSM, reference: DSM, places: tuple[NDArray[np.intp], NDArray[np.intp]], slopes: tuple[Floats, Floats]
) -> Patch:
    """Return the patch of sample pixels ``places`` (rows, columns) of a reference with slopes down and right."""
    rows, cols = places
    t = reference.grid.transform
    east, north = ground_gradient(slopes[1][places], slopes[0][places], t)
    x, y = (a * (cols + 0.5) + b * (rows + 0.5) + c for a, b, c in ((t.a, t.b, t.c), (t.d, t.e, t.f)))
    heights = reference.heights[places].astype(np.float64)
    return Patch(Samples(heights, east, north, reference.grid.gsd), Spline(to_align, x, y))


def _stable(reference: DSM, masks: Sequence[Mask]) -> tuple[Bools, tuple[Floats, Floats]]:
    """Return where samples may lie, bool [rows, cols], and the slopes down and right, metres a pixel."""
    heights = reference.heights.astype(np.float64)
    down, right = (np.asarray(slope, np.float64) for slope in np.gradient(heights))
    stable = np.isfinite(heights) & np.isfinite(down) & np.isfinite(right)
    for mask in masks:
        stable &= ~mask.is_class
    return stable, (down, right)


def _drawn(
    rows: NDArray[np.intp], cols: NDArray[np.intp], most: int, *scope: str | int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return at most ``most`` of the pixels, in their order."""
    if rows.size <= most:
        return rows, cols
    draw = np.sort(derived_rng(0, *scope).choice(rows.size, most, replace=False, shuffle=False))
    return rows[draw], cols[draw]


class Spline:
    """A DSM as a cubic spline, read at points x, y [N] of its CRS."""

    def __init__(self, dsm: DSM, x: Floats, y: Floats) -> None:
        known = dsm.valid
        heights = dsm.heights.astype(np.float64)
        if not known.all():
            # Cubic splines know no holes: they are filled, and what touches a filled pixel does not count.
            nearest = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
            heights = heights[tuple(nearest)]
        self._offset = float(np.median(heights))
        self._coefficients = ndimage.spline_filter(heights - self._offset, order=3, mode="nearest")
        self._known = ndimage.binary_erosion(known, np.ones((3, 3), np.bool_), border_value=0).astype(np.float32)
        self._grid, self._x, self._y = dsm.grid, x, y

    def at(self, shift: Floats) -> Floats:
        """Return the heights [N] of the surface moved by ``shift`` metres; NaN where unknown."""
        # Features move east by ``shift``: the surface is read that much to the west.
        col, row = self._grid.pixel_of(self._x - shift[0], self._y - shift[1])
        where = np.stack([row - 0.5, col - 0.5])
        heights = ndimage.map_coordinates(self._coefficients, where, order=3, prefilter=False, mode="nearest")
        known = ndimage.map_coordinates(self._known, where, order=1, mode="constant", cval=0.0)
        return np.where(known > 1 - 1e-6, heights + self._offset, np.nan)
