"""Satellite images to a scene: coarse heights, relative bias, points of every pair by block, fused and filled."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from refbench.contracts.errors import InputError, UnsupportedError
from refbench.contracts.grid import Window
from refbench.contracts.raster import DSM
from refbench.evaluation.coregistration import coregister
from refbench.geometry.lower_fill import lower_filled
from refbench.geometry.match_options import MatchOptions
from refbench.geometry.rasterise import rasterise
from refbench.stereo.fusion import QUANTILE, TRIM_M, fuse_heights, without_speckles
from refbench.stereo.height_range import coarse_heights
from refbench.stereo.pair_points import pair_points
from refbench.stereo.relative_bias import relative_bias
from refbench.stereo.views import new_grid, open_images, start_height, with_pairs, without_bias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from refbench.bridges.pair_choice import RankedPair
    from refbench.contracts.grid import Grid
    from refbench.stereo.height_range import CoarseHeights
    from refbench.stereo.views import Images

    F4 = NDArray[np.float32]
    Floats = NDArray[np.float64]

BLOCK_PX = 512
"""Side of the blocks of the output that are matched at a time."""
MATCHER = MatchOptions(matcher="sgm", window=5, p1=8, p2=100, edge_fall=40.0, speckle_px=16)
MEASURED, INTERPOLATED = 1, 3
CLOUD_M = 1.0
"""Points so near the fused surface stay in the cloud."""


@dataclass(frozen=True, slots=True)
class StereoOptions:
    """``gsd`` and ``grid`` of the output (None: found), number of pairs, matcher, and how pairs are fused."""

    gsd: float | None = None
    grid: Grid | None = None
    crs: str | None = None
    most_pairs: int = 7
    matcher: MatchOptions = MATCHER
    quantile: float = QUANTILE
    trim: float = TRIM_M


@dataclass(frozen=True, slots=True, eq=False)
class StereoSurface:
    """What stereo found on ``grid``: float32 [rows, cols] ``heights`` (filled), ``deviation``; uint8 ``count``,
    ``provenance``; points [N, 3]; the heights of each pair by its label; ``notes`` for the scene's file.
    """

    grid: Grid
    images: Images
    heights: F4
    deviation: F4
    count: NDArray[np.uint8]
    provenance: NDArray[np.uint8]
    points: Floats
    pairs: dict[str, F4]
    notes: dict[str, Any] = field(default_factory=dict)


def surface_from_images(
    paths: Sequence[Path], options: StereoOptions, scratch: Path, note: Callable[[str], None] = lambda text: None
) -> StereoSurface:
    """Match the best pairs of two or more images and fuse what they see.

    Images are read and matched by block; the points of a pair lie in ``scratch`` until they are fused.

    Raises
    ------
    InputError
        See ``open_images``.
    UnsupportedError
        No pair can be matched.
    """
    images = open_images(paths, options.crs or _crs_of(options.grid))
    within = None if options.grid is None else options.grid.bounds
    images = with_pairs(images, start_height(images), options.most_pairs, within)
    note(f"coarse heights from {images.pairs[0]}")
    grid = options.grid or new_grid(images, start_height(images), options.gsd)
    coarse = coarse_heights(images.pairs[0], grid.bounds, images.pixel, options.matcher)
    bounds = grid.bounds
    middle = np.array([(bounds.west + bounds.east) / 2, (bounds.south + bounds.north) / 2, coarse.middle])
    bias = relative_bias(images.views, middle)
    images = with_pairs(without_bias(images, bias), coarse.middle, options.most_pairs, within)
    if options.grid is None:
        grid = new_grid(images, coarse.middle, options.gsd)
    label = {pair: f"{pair.first.name}_{pair.second.name}" for pair in images.pairs}
    for number, pair in enumerate(images.pairs):
        note(f"pair {number + 1} of {len(images.pairs)}: {pair}")
        _match_blocks(pair, grid, coarse, options, scratch / label[pair])
    shifts, dropped = _registered(label, grid, scratch)
    kept = [name for name in label.values() if name in shifts]
    note("fusing")
    surface = _fused(kept, shifts, grid, options, scratch)
    notes = {
        "pairs": [str(pair) for pair in images.pairs],
        "left_out": dropped,
        "shifts_m": {name: [round(float(v), 3) for v in shifts[name]] for name in kept},
        "rpc_bias_px": {name: [round(v, 3) for v in shift] for name, shift in bias.shifts.items()},
        "tie_points": {"_".join(pair): count for pair, count in bias.ties.items()},
        "tie_residual_px": None if bias.residual_px is None else round(bias.residual_px, 3),
        "heights_m": [round(v, 1) for v in coarse.over(grid.bounds)],
        "matcher": "census semi-global matching, eight paths, both directions",
        "fused_height": f"mean of the heights within {options.trim:g} m of the {100 * options.quantile:g} % quantile",
    }
    return _finished(surface, kept, shifts, grid, images, scratch, notes)


def _crs_of(grid: Grid | None) -> str | None:
    return None if grid is None or grid.crs is None else grid.crs.to_string()


def blocks(grid: Grid) -> Iterator[Window]:
    """Yield windows of about ``BLOCK_PX`` a side that cover the grid, all of nearly one size."""
    steps = [np.linspace(0, n, max(1, round(n / BLOCK_PX)) + 1).round().astype(int) for n in grid.shape]
    for top, bottom in zip(steps[0], steps[0][1:], strict=False):
        for left, right in zip(steps[1], steps[1][1:], strict=False):
            yield Window(int(left), int(top), int(right - left), int(bottom - top))


def _match_blocks(pair: RankedPair, grid: Grid, coarse: CoarseHeights, options: StereoOptions, folder: Path) -> None:
    """Write the points of a pair by block; a block that it cannot serve gets none."""
    folder.mkdir(parents=True)
    for number, window in enumerate(blocks(grid)):
        bounds = grid.window(window).bounds
        try:
            xyz = pair_points(pair, bounds, coarse.over(bounds), options=options.matcher)
        except UnsupportedError:
            xyz = np.zeros((0, 3))
        np.save(folder / f"{number}.npy", xyz)


def _points(folder: Path, shift: Floats) -> Iterator[Floats]:
    """Yield the points of a pair block by block, moved by ``shift`` [3] metres."""
    for number in range(len(list(folder.glob("*.npy")))):
        yield np.load(folder / f"{number}.npy") + shift


def _gridded(folder: Path, shift: Floats, grid: Grid) -> F4:
    """Return the median height of a pair's points in each cell, float32 [rows, cols]; NaN in voids and speckles."""
    xyz = np.concatenate(list(_points(folder, shift)))
    if not len(xyz):
        return np.full(grid.shape, np.nan, np.float32)
    return without_speckles(rasterise(xyz, grid, "median").astype(np.float32), grid.gsd)


def _registered(label: dict[RankedPair, str], grid: Grid, scratch: Path) -> tuple[dict[str, Floats], dict[str, str]]:
    """Return by pair the shift [3] that lays it on the first, and why others were left out."""
    shifts: dict[str, Floats] = {}
    dropped: dict[str, str] = {}
    anchor: DSM | None = None
    for name in label.values():
        heights = _gridded(scratch / name, np.zeros(3), grid)
        if not np.isfinite(heights).any():
            dropped[name] = "no match"
            continue
        if anchor is None:
            anchor, shifts[name] = DSM(heights, grid), np.zeros(3)
            continue
        try:
            found = coregister(DSM(heights, grid), anchor)
        except InputError as error:
            dropped[name] = str(error)
            continue
        shifts[name] = np.array([found.east_m, found.north_m, found.up_m])
    if anchor is None:
        raise UnsupportedError("No pair of the images could be matched; check that their RPCs belong to them.")
    return shifts, dropped


def _fused(
    names: Sequence[str], shifts: dict[str, Floats], grid: Grid, options: StereoOptions, scratch: Path
) -> dict[str, Any]:
    """Return the layers of the fused surface, and the heights of each registered pair."""
    pairs = {name: _gridded(scratch / name, shifts[name], grid) for name in names}
    fused = {"heights": np.empty(grid.shape, np.float32), "deviation": np.empty(grid.shape, np.float32)}
    count = np.empty(grid.shape, np.uint8)
    for window in blocks(grid):
        at = window.slices
        part = fuse_heights(np.stack([heights[at] for heights in pairs.values()]), options.quantile, options.trim)
        fused["heights"][at], fused["deviation"][at], count[at] = part.heights, part.deviation, part.count
    return {**fused, "count": count, "pairs": pairs}


def _finished(
    surface: dict[str, Any],
    names: Sequence[str],
    shifts: dict[str, Floats],
    grid: Grid,
    images: Images,
    scratch: Path,
    notes: dict[str, Any],
) -> StereoSurface:
    """Fill the holes and keep the points that lie near the surface."""
    measured = without_speckles(surface["heights"], grid.gsd)
    heights = lower_filled(measured)
    kept = [_near(xyz, measured, grid) for name in names for xyz in _points(scratch / name, shifts[name])]
    known = np.isfinite(measured)
    notes["complete"] = round(float(known.mean()), 4)
    notes["filled"] = "holes at the lower heights around them; see the provenance raster"
    return StereoSurface(
        grid,
        images,
        heights,
        surface["deviation"],
        surface["count"],
        np.where(known, MEASURED, INTERPOLATED).astype(np.uint8),
        np.concatenate(kept),
        surface["pairs"],
        notes,
    )


def _near(xyz: Floats, heights: F4, grid: Grid) -> Floats:
    """Return the points within ``CLOUD_M`` of the measured surface in their cell."""
    col, row = (np.floor(v).astype(np.intp) for v in grid.pixel_of(xyz[:, 0], xyz[:, 1]))
    inside = (col >= 0) & (row >= 0) & (col < grid.width) & (row < grid.height)
    xyz, col, row = xyz[inside], col[inside], row[inside]
    with np.errstate(invalid="ignore"):
        return np.asarray(xyz[np.abs(xyz[:, 2] - heights[row, col]) <= CLOUD_M])
