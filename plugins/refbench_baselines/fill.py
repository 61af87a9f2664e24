"""Void filling. A void can be larger than any tile, so this method sees the whole raster."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage, sparse, spatial
from scipy.sparse.linalg import cg

from refbench import DSM, Context, InputError, Need, Prediction, Scene
from refbench.contracts.estimate import Estimate
from refbench.contracts.grid import Window

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from refbench.contracts.source import RasterSource
    from refbench_baselines.config import FillConfig

MEASURED, INTERPOLATED = 1, 3
PIXEL_BYTES, VOID_BYTES = 24, 200
PIXEL, VOID = 7e-8, {"nearest": 0.0, "idw": 4e-6, "laplace": 5e-6}
"""CPU seconds: distances of a pixel; filling a void by each kind."""
WINDOW, WINDOWS = 64, 5
"""Voids are counted in 5 x 5 windows of 64 x 64 px."""
_TOLERANCE_M = 1e-4
_MAX_STEPS = 20_000


class Fill:
    """Fills voids and leaves known heights as they are."""

    def __init__(self, config: FillConfig, weights: Path | None = None) -> None:
        del weights
        self.config = config

    def estimate(self, scene: Scene) -> Estimate:
        """Return the cost of the distances of all pixels and of what each void takes; voids are counted in samples."""
        grid = scene.require_grid()
        pixels = grid.width * grid.height
        voids = pixels * (0.0 if scene.dsm is None else void_fraction(scene.dsm))
        return Estimate(int(PIXEL_BYTES * pixels + VOID_BYTES * voids), PIXEL * pixels + VOID[self.config.kind] * voids)

    def refine(self, scene: Scene, context: Context) -> Prediction:
        """Return the filled DSM and where each height comes from (provenance 1 measured, 3 interpolated)."""
        del context
        scene.require(Need.DSM)
        assert scene.dsm is not None  # just asked for
        dsm = scene.dsm.read()
        if not dsm.valid.any():
            raise InputError(f"The DSM of scene {scene.id} holds no height at all; there is nothing to fill from.")
        heights = filled(dsm.heights, self.config, dsm.grid.resolution)
        known = np.isfinite(heights)
        provenance = np.where(dsm.valid, MEASURED, np.where(known, INTERPOLATED, 0)).astype(np.uint8)
        notes = {"filled_pixels": int(known.sum() - dsm.valid.sum()), "voids_left": int((~known).sum())}
        return Prediction(dsm=DSM(heights, dsm.grid), provenance=provenance, notes=notes)


def void_fraction(source: RasterSource[DSM]) -> float:
    """Return about which fraction [0, 1] of a DSM holds no height, from windows spread evenly over it."""
    rows, cols = source.shape
    height, width = min(rows, WINDOW), min(cols, WINDOW)
    starts = product(*(np.linspace(0, room, WINDOWS, dtype=int).tolist() for room in (rows - height, cols - width)))
    valid = [source.read(Window(col, row, width, height)).valid.mean() for row, col in set(starts)]
    return 1.0 - float(np.mean(valid))


def filled(
    heights: NDArray[np.float32], config: FillConfig, resolution: tuple[float, float] = (1.0, 1.0)
) -> NDArray[np.float32]:
    """Return heights [rows, cols] with the voids filled; ``resolution`` is the pixel size (x, y) in metres.

    At least one height must be known.
    """
    void = ~np.isfinite(heights)
    if not void.any():
        return heights.copy()
    spacing = (resolution[1], resolution[0])
    distance, (rows, cols) = ndimage.distance_transform_edt(void, sampling=spacing, return_indices=True)
    nearest = heights[rows, cols]
    if config.kind == "idw":
        out = _idw(heights, void, config, spacing)
    elif config.kind == "laplace":
        out = _laplace(heights, void, nearest)
    else:
        out = nearest
    if config.max_distance_m is not None:
        out = np.where(distance > config.max_distance_m, np.float32(np.nan), out)
    return out.astype(np.float32)


def _idw(
    heights: NDArray[np.float32], void: NDArray[np.bool_], config: FillConfig, spacing: tuple[float, float]
) -> NDArray[np.float32]:
    """Weight the nearest pixels of the voids' rims by their inverse distance."""
    rim = ~void & ndimage.binary_dilation(void, np.ones((3, 3), bool))
    tree = spatial.cKDTree(np.argwhere(rim) * spacing)
    count = min(config.neighbours, int(rim.sum()))
    distance, index = tree.query(np.argwhere(void) * spacing, k=np.arange(1, count + 1))
    weight = distance**-config.power
    values = heights[rim].astype(np.float64)[index]
    out = heights.copy()
    out[void] = (weight * values).sum(axis=1) / weight.sum(axis=1)
    return out


def _laplace(heights: NDArray[np.float32], void: NDArray[np.bool_], start: NDArray[np.float32]) -> NDArray[np.float32]:
    """Solve Laplace's equation in the voids: known heights at their rims, no slope across the raster's edge."""
    number = np.full(void.shape, -1, np.int64)
    number[void] = np.arange(void.sum())
    degree = np.zeros(number.max() + 1)
    rim_sum = np.zeros_like(degree)
    rows, cols = [], []
    # About the mean of the first guess, so that the tolerance is one in metres of relief, not of altitude.
    level = float(start[void].mean(dtype=np.float64))
    for axis in (0, 1):
        for one, other in (_neighbours(axis), _neighbours(axis)[::-1]):
            inside, beside = number[one], number[other]
            mine = inside >= 0
            np.add.at(degree, inside[mine], 1.0)
            at_rim = mine & (beside < 0)
            np.add.at(rim_sum, inside[at_rim], heights[other][at_rim].astype(np.float64) - level)
            both = mine & (beside >= 0)
            rows.append(inside[both])
            cols.append(beside[both])
    row, col = np.concatenate(rows), np.concatenate(cols)
    matrix = sparse.diags(degree, format="csr") - sparse.csr_matrix((np.ones(row.size), (row, col)), 2 * (degree.size,))
    guess = start[void].astype(np.float64) - level
    solution, _ = cg(matrix, rim_sum, x0=guess, atol=_TOLERANCE_M, maxiter=_MAX_STEPS, M=sparse.diags(1.0 / degree))
    out = heights.copy()
    out[void] = solution + level
    return out


def _neighbours(axis: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Return the slices of all pixels with a neighbour along ``axis``, and of these neighbours."""
    whole = slice(None)
    first, second = slice(None, -1), slice(1, None)
    return ((first, whole), (second, whole)) if axis == 0 else ((whole, first), (whole, second))
