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

    from refbench.contracts.grid import Grid
    from refbench.contracts.raster import DSM, Mask
    from refbench.contracts.source import RasterSource

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]
    Slopes = tuple[Floats, Floats, Floats]

MAX_SAMPLES = 500_000
"""More of them change a shift by less than 0.001 px."""
SIDE_PX = 256
"""Side of a window of a large reference."""
PATCH_SAMPLES = 10_000
"""Stable pixels that one window gives at most, so that windows from all over the ground have a say."""
MAX_PATCHES = 100
RIM_PX = 4
"""What smoothing and slopes look at around a window."""
_SPLINE_PX = 16
"""Beyond so many pixels a cubic spline does not feel what a window leaves out: 0.27^16 < 1e-9."""


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """Sample points of the reference and the surface to align around them.

    ``samples`` and ``surface`` are smoothed: what a pixel is too wide to show, such as edges of roofs, is interpolated
    wrongly between pixels, and always to the same side, by up to 0.03 px. Smoothing both surfaces alike moves neither.
    """

    samples: Samples
    surface: Spline
    to_align: DSM
    heights: Floats
    """Of the reference at the sample points, as they are, metres."""

    def residuals(self, shift: Floats) -> Floats:
        """Return moved minus reference [<= N], of heights as they are, where both are known."""
        e = Spline(self.to_align, self.surface.x, self.surface.y).at(shift) - self.heights
        return e[np.isfinite(e)]


class Patches:
    """Several patches as one surface; see ``shift_solver.Sampled``."""

    def __init__(self, patches: Sequence[Patch]) -> None:
        self._patches = patches
        self.samples = Samples.joined([patch.samples for patch in patches])

    def at(self, shift: Floats) -> Floats:
        """Return the heights [N] of all patches moved by ``shift`` metres; NaN where unknown."""
        return np.concatenate([patch.surface.at(shift) for patch in self._patches])

    def residuals(self, shift: Floats) -> Floats:
        """Return moved minus reference [<= N], of heights as they are, where both are known."""
        return np.concatenate([patch.residuals(shift) for patch in self._patches])


def whole(to_align: DSM, reference: DSM, unstable: Mapping[str, RasterSource[Mask]]) -> Patch:
    """Return all of two DSMs as one patch, at most ``MAX_SAMPLES`` pixels of it."""
    if (known := int(np.count_nonzero(to_align.valid))) < MIN_SAMPLES:
        raise InputError(f"The DSM to align has {known} known heights; coregistration needs {MIN_SAMPLES}.")
    masks = [mask_on(mask, reference.grid, name).read() for name, mask in unstable.items()]
    stable, slopes = _stable(reference, masks, max(reference.grid.gsd, to_align.grid.gsd))
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
        wider = Window(col - RIM_PX, row - RIM_PX, SIDE_PX + 2 * RIM_PX, SIDE_PX + 2 * RIM_PX)
        part = reference.read(wider)
        if not part.valid.any():
            continue
        stable, slopes = _stable(part, [mask.read(wider) for mask in masks.values()], max(grid.gsd, own.gsd))
        stable[:RIM_PX], stable[-RIM_PX:], stable[:, :RIM_PX], stable[:, -RIM_PX:] = False, False, False, False
        rows, cols = np.nonzero(stable)
        rows, cols = _drawn(rows, cols, PATCH_SAMPLES, "coregistration", number)
        reach = int(MAX_PX) + _SPLINE_PX
        around = Window(col - reach, row - reach, SIDE_PX + 2 * reach, SIDE_PX + 2 * reach)
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


def _patch(to_align: DSM, reference: DSM, places: tuple[NDArray[np.intp], NDArray[np.intp]], slopes: Slopes) -> Patch:
    """Return the patch of sample pixels ``places`` (rows, columns) of a reference with its ``_slopes``."""
    rows, cols = places
    grid = reference.grid
    t = grid.transform
    heights, down, right = (values[places] for values in slopes)
    x, y = (a * (cols + 0.5) + b * (rows + 0.5) + c for a, b, c in ((t.a, t.b, t.c), (t.d, t.e, t.f)))
    samples = Samples(heights, *ground_gradient(right, down, t), grid.gsd)
    surface = Spline(to_align, x, y, smoothing=max(grid.gsd, to_align.grid.gsd))
    return Patch(samples, surface, to_align, reference.heights[places].astype(np.float64))


def _stable(reference: DSM, masks: Sequence[Mask], smoothing: float) -> tuple[Bools, Slopes]:
    """Return where samples may lie, bool [rows, cols], smoothed heights, and their slopes down and right a pixel."""
    heights = smoothed(filled(reference), reference.grid, smoothing)
    heights = np.where(reference.valid, heights, np.nan)
    down, right = (np.asarray(slope, np.float64) for slope in np.gradient(heights))
    stable = reference.valid & np.isfinite(down) & np.isfinite(right)
    for mask in masks:
        stable &= ~mask.is_class
    return stable, (heights, down, right)


def _drawn(
    rows: NDArray[np.intp], cols: NDArray[np.intp], most: int, *scope: str | int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return at most ``most`` of the pixels, in their order."""
    if rows.size <= most:
        return rows, cols
    draw = np.sort(derived_rng(0, *scope).choice(rows.size, most, replace=False, shuffle=False))
    return rows[draw], cols[draw]


class Spline:
    """A DSM as a cubic spline, read at points x, y [N] of its CRS; ``smoothing`` in metres, 0 for none."""

    def __init__(self, dsm: DSM, x: Floats, y: Floats, smoothing: float = 0.0) -> None:
        heights = smoothed(filled(dsm), dsm.grid, smoothing)
        self._offset = float(np.median(heights))
        self._coefficients = ndimage.spline_filter(heights - self._offset, order=3, mode="nearest")
        # What touches a filled pixel does not count.
        self._known = ndimage.binary_erosion(dsm.valid, np.ones((3, 3), np.bool_), border_value=0).astype(np.float32)
        self._grid, self.x, self.y = dsm.grid, x, y

    def at(self, shift: Floats) -> Floats:
        """Return the heights [N] of the surface moved by ``shift`` metres; NaN where unknown."""
        # Features move east by ``shift``: the surface is read that much to the west.
        col, row = self._grid.pixel_of(self.x - shift[0], self.y - shift[1])
        where = np.stack([row - 0.5, col - 0.5])
        heights = ndimage.map_coordinates(self._coefficients, where, order=3, prefilter=False, mode="nearest")
        known = ndimage.map_coordinates(self._known, where, order=1, mode="constant", cval=0.0)
        return np.where(known > 1 - 1e-6, heights + self._offset, np.nan)


def filled(dsm: DSM) -> Floats:
    """Return heights [rows, cols] whose holes have the height of the nearest known pixel: splines know no holes."""
    heights, known = dsm.heights.astype(np.float64), dsm.valid
    if known.all() or not known.any():
        return heights
    nearest = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    return np.asarray(heights[tuple(nearest)], np.float64)


def smoothed(heights: Floats, grid: Grid, metres: float) -> Floats:
    """Return heights [rows, cols] after a Gaussian of a standard deviation of so many metres."""
    if metres == 0:
        return heights
    per_col, per_row = grid.resolution
    sigma = metres / per_row, metres / per_col
    return np.asarray(ndimage.gaussian_filter(heights, sigma, mode="nearest", truncate=3.0), np.float64)
