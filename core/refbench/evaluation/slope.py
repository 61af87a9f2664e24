"""Slopes and normals of a DSM: Horn 3 x 3 and Florinsky 5 x 5."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from affine import Affine
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def ground_gradient(per_col: Floats, per_row: Floats, transform: Affine) -> tuple[Floats, Floats]:
    """Return dz/dx (east) and dz/dy (north) of a surface that rises by so much a column and a row.

    Parameters
    ----------
    per_col, per_row
        dz/dcol and dz/drow, of one shape.
    transform
        (col, row) to coordinates in metres: any affine, also south-up, rotated, transposed or with oblong pixels.
    """
    t = transform
    # Chain rule, with x = a col + b row and y = d col + e row:
    # dz/dcol = a dz/dx + d dz/dy, dz/drow = b dz/dx + e dz/dy.
    if t.b == 0 and t.d == 0:
        return per_col / t.a, per_row / t.e
    det = t.determinant
    return (t.e * per_col - t.d * per_row) / det, (t.a * per_row - t.b * per_col) / det


def horn_gradient(
    heights: NDArray[np.float32] | Floats, transform: Affine, *, replicate: bool = False
) -> tuple[Floats, Floats]:
    """Return dz/dx (east) and dz/dy (north), float64 [rows, cols], by Horn's weights 1-2-1 over 8 pixels.

    ``transform`` takes (col, row) to metres. NaN where any of the nine cells is NaN, and on the outer ring unless the
    edge is replicated.
    """
    z = heights.astype(np.float64)
    if min(z.shape) < (1 if replicate else 3):
        return np.full(z.shape, np.nan), np.full(z.shape, np.nan)
    # Horn's weights are Sobel's.
    border = {"ksize": 3, "borderType": cv2.BORDER_REPLICATE}
    per_col = np.asarray(cv2.Sobel(z, cv2.CV_64F, 1, 0, scale=1 / 8, **border), np.float64)
    per_row = np.asarray(cv2.Sobel(z, cv2.CV_64F, 0, 1, scale=1 / 8, **border), np.float64)
    unknown = cv2.dilate(np.isnan(z).astype(np.uint8), np.ones((3, 3), np.uint8)) != 0
    if not replicate:
        unknown[[0, -1]], unknown[:, [0, -1]] = True, True
    per_col[unknown], per_row[unknown] = np.nan, np.nan
    return ground_gradient(per_col, per_row, transform)


def florinsky_gradient(heights: NDArray[np.float32] | Floats, transform: Affine) -> tuple[Floats, Floats]:
    """Return dz/dx and dz/dy by Florinsky's third-order polynomial over 5 x 5 cells (divisor 420 pixels).

    NaN on the two outer rings and where any of the 25 cells is NaN.
    ``heights`` and both results are [rows, cols]; metres a metre, x east, y north.
    """
    z = heights.astype(np.float64)
    out_x, out_y = np.full(z.shape, np.nan), np.full(z.shape, np.nan)
    if min(z.shape) < 5:
        return out_x, out_y
    rows, cols = z.shape[0] - 4, z.shape[1] - 4

    def cell(row: int, col: int) -> Floats:
        return z[row : row + rows, col : col + cols]

    dx, dy = np.zeros((rows, cols)), np.zeros((rows, cols))
    # Weights of the derivative along columns by |row - 2| (rows of the window) and col - 2; that along rows is the
    # transpose.
    outer = {2: -31.0, 1: 5.0, 0: 17.0}
    inner = {2: 44.0, 1: 62.0, 0: 68.0}
    for i in range(5):
        distance = abs(i - 2)
        for j, sign in ((0, -1.0), (1, -1.0), (3, 1.0), (4, 1.0)):
            weight = sign * (outer[distance] if j in (0, 4) else inner[distance])
            dx += weight * cell(i, j)
            dy += weight * cell(j, i)
    spoiled = sum((0.0 * cell(i, j) for i in range(5) for j in range(5)), np.zeros((rows, cols)))
    out_x[2:-2, 2:-2], out_y[2:-2, 2:-2] = dx / 420 + spoiled, dy / 420 + spoiled
    return ground_gradient(out_x, out_y, transform)


def slope_rad(dx: Floats, dy: Floats) -> Floats:
    """Return the slope angle in radians, [rows, cols]."""
    return np.asarray(np.arctan(np.sqrt(dx * dx + dy * dy)), np.float64)


def angle_between_normals_deg(first: tuple[Floats, Floats], second: tuple[Floats, Floats]) -> Floats:
    """Return the angle between the normals (-p, -q, 1) of two gradient fields, degrees."""
    (p, q), (r, s) = first, second
    cosine = p * r
    cosine += q * s
    cosine += 1
    cosine /= np.sqrt((p * p + q * q + 1) * (r * r + s * s + 1))
    return np.asarray(np.degrees(np.arccos(np.minimum(cosine, 1, out=cosine))), np.float64)
