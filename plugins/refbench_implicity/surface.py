"""A patch's DSM from its occupancy field, at every pixel or, with ``column_stride``, where the surface needs it.

Pixel j of n is read at j / (n - 1) of the patch, as the published weights were used; rows run from north to south.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from refbench_implicity.network.columns import ColumnDecoder, HeightSearch, column_heights

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from refbench_implicity.config import SurfaceConfig
    from refbench_implicity.network.network import ImpliCityNet, Planes

    Columns = NDArray[np.int64]
    Heights = NDArray[np.float32]
    Read = Callable[[Columns, Columns, Heights], Heights]
    """Normalised heights, NaN where empty, of columns given by row, column and a ceiling (NaN: none)."""


@dataclass(frozen=True)
class Surface:
    """Normalised heights float32 [rows, cols], NaN where a column has no surface."""

    z: NDArray[np.float32]

    @property
    def empty(self) -> NDArray[np.bool_]:
        """Where a column has no surface. Bool [rows, cols]."""
        return np.isnan(self.z)

    def metres(self, z_std: float, z_shift: float, *, fill_empty: bool) -> Heights:
        """Return heights in metres, computed in float32; empty columns get ``z_shift`` or stay NaN."""
        z = np.where(self.empty, np.float32(0), self.z) if fill_empty else self.z
        return z * np.float32(z_std) + np.float32(z_shift)


def extract_surface(
    net: ImpliCityNet,
    planes: Planes,
    shape: tuple[int, int],
    config: SurfaceConfig,
    *,
    z_std: float,
    threshold: float,
) -> Surface:
    """Return the highest occupied height of every pixel of one patch.

    Parameters
    ----------
    net, planes
        The network and the planes [1, C, R, R] of the patch.
    shape
        (rows, cols) of the patch's raster, at least 2 each.
    config
        Search range, steps, stride and block size.
    z_std
        Metres per normalised height.
    threshold
        Probability from which a point is occupied.
    """
    rows, cols = shape
    device = planes.xy.device
    with torch.inference_mode():
        decoder = ColumnDecoder(net.decoder, threshold)
        search = HeightSearch(config, z_std, device)
        xs = torch.linspace(0, 1, cols, device=device)
        ys = torch.linspace(1, 0, rows, device=device)

        def read(row: Columns, col: Columns, ceiling: Heights) -> Heights:
            xy = torch.stack((xs[torch.from_numpy(col).to(device)], ys[torch.from_numpy(row).to(device)]), dim=1)
            start = search.below(torch.from_numpy(ceiling).to(device))
            z, empty = column_heights(decoder, planes, xy, search, start, config.block)
            return torch.where(empty, torch.nan, z).cpu().numpy()

        jump, margin = config.step_threshold / z_std, config.h_resolution_0 / z_std
        return Surface(_adaptive(read, shape, config.column_stride, jump, margin))


def _lattice(size: int, step: int) -> Columns:
    """Return 0, step, 2 step, … and the last index."""
    return np.unique(np.append(np.arange(0, size, step), size - 1))


def _adaptive(read: Read, shape: tuple[int, int], stride: int, jump: float, margin: float) -> Heights:
    """Read every ``stride``-th column, then halve the spacing in cells that are not smooth; interpolate the others.

    In a halved cell the search starts ``margin`` above its highest corner.
    """
    rows, cols = _lattice(shape[0], stride), _lattice(shape[1], stride)
    grid = np.meshgrid(rows, cols, indexing="ij")
    z = read(grid[0].ravel(), grid[1].ravel(), np.full(grid[0].size, np.nan, np.float32)).reshape(grid[0].shape)
    rough = _rough_cells(z, rows, cols, jump)
    while stride > 1:
        stride = max(stride // 2, 1)
        finer = _lattice(shape[0], stride), _lattice(shape[1], stride)
        up, left = _cell_of(rows, finer[0]), _cell_of(cols, finer[1])
        ceiling = _corners(z).max(axis=0)[np.ix_(up, left)] + np.float32(margin)
        z = _bilinear(z, rows, cols, *finer)
        wanted = _touching(rough, rows, cols, *finer)
        known = np.isin(finer[0], rows)[:, None] & np.isin(finer[1], cols)[None]
        row, col = np.nonzero(wanted & ~known)
        if len(row):
            z[row, col] = read(finer[0][row], finer[1][col], ceiling[row, col])
        rough = _rough_cells(z, *finer, jump) & rough[np.ix_(up[:-1], left[:-1])]
        rows, cols = finer
    return z


def _corners(z: Heights) -> Heights:
    """Return the four corners of the cells between lattice points, [4, rows - 1, cols - 1]."""
    return np.stack((z[:-1, :-1], z[:-1, 1:], z[1:, :-1], z[1:, 1:]))


def _rough_cells(z: Heights, rows: Columns, cols: Columns, jump: float) -> NDArray[np.bool_]:
    """Return, for each cell between four lattice points, whether it holds a step, a ridge or the rim of a hole.

    A cell is smooth where its corners are within ``jump`` of each other or its neighbourhood is a plane.
    """
    corners = _corners(z)
    holes = np.isnan(corners)
    with np.errstate(invalid="ignore"):
        bent = ~(np.fmax(_bend(z, rows), _bend(z.T, cols).T) <= jump)
        step = corners.max(axis=0) - corners.min(axis=0) > jump
    near_bend = bent[:-1, :-1] | bent[:-1, 1:] | bent[1:, :-1] | bent[1:, 1:]
    found: NDArray[np.bool_] = (step & near_bend) | (holes.any(axis=0) & ~holes.all(axis=0))
    return found


def _bend(z: Heights, rows: Columns) -> Heights:
    """Return twice the distance of each point from the line through its two neighbours along axis 0; 0 at the ends."""
    out = np.zeros_like(z)
    fraction = ((rows[1:-1] - rows[:-2]) / (rows[2:] - rows[:-2])).astype(np.float32)[:, None]
    out[1:-1] = 2 * np.abs(z[1:-1] - (1 - fraction) * z[:-2] - fraction * z[2:])
    return out


def _cell_of(nodes: Columns, points: Columns) -> Columns:
    """Return the interval between ``nodes`` that holds each of ``points``."""
    return np.clip(np.searchsorted(nodes, points, side="right") - 1, 0, max(len(nodes) - 2, 0))


def _touching(
    marked: NDArray[np.bool_], rows: Columns, cols: Columns, new_rows: Columns, new_cols: Columns
) -> NDArray[np.bool_]:
    """Return which of the new lattice points lie in or on the border of a marked cell."""
    out = np.zeros((len(new_rows), len(new_cols)), np.bool_)
    for row_side in ("left", "right"):
        up = np.clip(np.searchsorted(rows, new_rows, side=row_side) - 1, 0, len(rows) - 2)
        for col_side in ("left", "right"):
            left = np.clip(np.searchsorted(cols, new_cols, side=col_side) - 1, 0, len(cols) - 2)
            out |= marked[np.ix_(up, left)]
    return out


def _bilinear(z: Heights, rows: Columns, cols: Columns, new_rows: Columns, new_cols: Columns) -> Heights:
    """Return ``z`` at the new lattice points; lattice points that exist keep their value exactly."""
    up, left = _cell_of(rows, new_rows), _cell_of(cols, new_cols)
    down, right = np.minimum(up + 1, len(rows) - 1), np.minimum(left + 1, len(cols) - 1)
    down_fraction = ((new_rows - rows[up]) / np.maximum(rows[down] - rows[up], 1)).astype(np.float32)[:, None]
    right_fraction = ((new_cols - cols[left]) / np.maximum(cols[right] - cols[left], 1)).astype(np.float32)[None]
    upper = _mix(z[np.ix_(up, left)], z[np.ix_(up, right)], right_fraction)
    lower = _mix(z[np.ix_(down, left)], z[np.ix_(down, right)], right_fraction)
    return _mix(upper, lower, down_fraction)


def _mix(a: NDArray[np.float32], b: NDArray[np.float32], fraction: NDArray[np.float32]) -> Heights:
    """Return the weighted mean; a NaN of weight 0 does not count."""
    return np.where(fraction == 0, a, np.where(fraction == 1, b, a + fraction * (b - a))).astype(np.float32)
