"""CPU seconds and errors of the coregistration on smooth and rough pairs of 2000 x 2000 pixels with a known shift.

Run: python benchmarks/speed/coregistration.py [SIDE]. A surface is made four times finer than its pixels and averaged
over them twice, the second time moved by whole fine cells: so the shift is known without any interpolation. Both sides
get noise, blunders and holes. xdem's default (Nuth and Kaab) runs beside it where it is installed.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
from affine import Affine
from rasterio.crs import CRS
from scipy import ndimage

from refbench import DSM, Grid
from refbench.evaluation.coregistration import coregister

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE, FINE, PAD = 2000, 4, 8
SHIFTS = ((10, -3), (-6, 5), (1, 2))
"""Rows and columns of fine cells: quarters of a pixel, where interpolation errs most, among them."""
UP_M = 1.25
GSD = {"smooth": 10.0, "rough": 0.5}


def surface(kind: str, side: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return fine heights: hills of a 10 m DSM, or a town of a 0.5 m DSM with hills, houses, trees and grass."""
    cells = (side + 2 * PAD) * FINE
    rows, cols = (np.arange(cells) / FINE)[:, None], (np.arange(cells) / FINE)[None, :]
    if kind == "smooth":
        heights = 900 + 150 * np.sin(rows / 17) * np.cos(cols / 23) + 90 * np.sin((rows + cols) / 41)
        return np.asarray(heights, np.float64)
    heights = 300 + 6 * np.sin(rows / 61) * np.cos(cols / 83) + 4 * np.sin((rows + cols) / 140)
    for _ in range(side * side // 900):
        height, width = rng.integers(6, 30, 2) * FINE
        row, col = rng.integers(0, cells, 2)
        part = heights[row : row + height, col : col + width]
        np.maximum(part, part.flat[0] + rng.uniform(2.5, 14), out=part)
    trees = ndimage.gaussian_filter(rng.normal(size=(cells, cells)).astype(np.float32), 1.2 * FINE)
    is_wood = rng.random((cells // (16 * FINE) + 1,) * 2) < 0.3
    heights += trees / trees.std() * 0.6 * np.kron(is_wood, np.ones((16 * FINE, 16 * FINE)))[:cells, :cells]
    return np.asarray(heights, np.float64)


def pair(kind: str, side: int, shift: tuple[int, int], seed: int) -> tuple[DSM, DSM]:
    """Return a DSM to align and its reference; features lie ``shift`` fine cells (down, right) off, and too high."""
    rng = np.random.default_rng([seed, len(kind)])
    fine = surface(kind, side, rng)
    cells = fine.shape[0] // FINE
    views = []
    for rows, cols in (shift, (0, 0)):
        moved = np.roll(fine, (rows, cols), (0, 1)).reshape(cells, FINE, cells, FINE).mean((1, 3))
        views.append(moved[PAD:-PAD, PAD:-PAD] + rng.normal(0, 0.25 if views == [] else 0.08, (side, side)))
    views[0] += UP_M
    blunders = rng.random((side, side)) < 0.005
    views[0][blunders] += rng.normal(0, 60, int(blunders.sum()))
    for heights in views:
        for _ in range(side * side // 20_000):
            row, col = rng.integers(0, side, 2)
            heights[row : row + rng.integers(3, 25), col : col + rng.integers(3, 25)] = np.nan
    gsd = GSD[kind]
    grid = Grid(side, side, Affine(gsd, 0, 5e5, 0, -gsd, 5e6), CRS.from_epsg(32632))
    first, second = (DSM(heights.astype(np.float32), grid) for heights in views)
    return first, second


def by_xdem(to_align: DSM, reference: DSM) -> tuple[float, float, float]:
    """Return what xdem's default says: metres east, north and up."""
    import xdem

    dems = [
        xdem.DEM.from_array(dsm.heights, dsm.grid.transform, dsm.grid.crs, nodata=-9999)
        for dsm in (reference, to_align)
    ]
    found = xdem.coreg.NuthKaab().fit(*dems, random_state=0).meta["outputs"]["affine"]
    return found["shift_x"], found["shift_y"], found["shift_z"]


def main(side: int) -> None:
    """Print the table."""
    runs = {"refbench": lambda a, b: (lambda s: (s.east_m, s.north_m, s.up_m))(coregister(a, b))}
    if importlib.util.find_spec("xdem") is not None:
        runs["xdem"] = by_xdem
    print(f"{'pair':8} {'shift (fine cells)':20} {'by':9} {'east px':>9} {'north px':>9} {'up m':>8} {'CPU s':>7}")
    for kind, gsd in GSD.items():
        for seed, (rows, cols) in enumerate(SHIFTS):
            surfaces = pair(kind, side, (rows, cols), seed)
            for name, run in runs.items():
                start = time.process_time()
                east, north, up = run(*surfaces)
                spent = time.process_time() - start
                errors = east / gsd + cols / FINE, north / gsd - rows / FINE, up + UP_M
                print(f"{kind:8} {(rows, cols)!s:20} {name:9} " + "{:9.4f} {:9.4f} {:8.4f}".format(*errors), end="")
                print(f" {spent:7.2f}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else SIDE)
