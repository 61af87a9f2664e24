"""The edge map's loss in compiled loops (numba): value and gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from refbench_diffrender.rasteriser.compiled import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

PAD = 3


def workspace(rows: int, cols: int) -> NDArray[np.float32]:
    """Return the memory that ``edge_loss`` works in; its border stays 0."""
    return np.zeros((5, rows + 2 * PAD, cols + 2 * PAD), np.float32)


def edge_loss(
    depth: Tensor,
    wanted: Tensor,
    settings: tuple[float, float, float],
    line: Tensor,
    memory: NDArray[np.float32],
    with_gradient: bool,
) -> tuple[float, Tensor | None]:
    """Return the mean squared difference of the edge map of ``depth`` [rows, cols] to a clamped map, its gradient.

    ``settings`` are the scale of relative steps, the smallest divisor and what is added below the root.
    """
    scale, nearest, inside_root = settings
    gradient = np.empty(tuple(depth.shape), np.float32)
    squares = _edge_loss(
        depth.contiguous().numpy(),
        wanted.contiguous().numpy(),
        np.float32(scale**2),
        np.float32(nearest),
        np.float32(inside_root),
        line.numpy(),
        *memory,
        gradient,
        with_gradient,
    )
    return squares / depth.numel(), torch.from_numpy(gradient) if with_gradient else None


@compiled
def _blur_into(image, lines, line):
    """Blur a padded image in place with a symmetric window of 7; ``lines`` is of the same size."""
    rows, cols = image.shape[0] - 6, image.shape[1] - 6
    w0, w1, w2, w3 = line[3], line[2], line[1], line[0]
    for r in range(3, rows + 3):
        for c in range(cols + 6):
            lines[r, c] = (
                w0 * image[r, c]
                + w1 * (image[r - 1, c] + image[r + 1, c])
                + w2 * (image[r - 2, c] + image[r + 2, c])
                + w3 * (image[r - 3, c] + image[r + 3, c])
            )
    for r in range(3, rows + 3):
        for c in range(cols):
            image[r, c + 3] = (
                w0 * lines[r, c + 3]
                + w1 * (lines[r, c + 2] + lines[r, c + 4])
                + w2 * (lines[r, c + 1] + lines[r, c + 5])
                + w3 * (lines[r, c] + lines[r, c + 6])
            )


@compiled
def _edge_loss(
    depth, wanted, factor, nearest, inside_root, line, known, map_, lines, along_cols, along_rows, gradient, with_grad
):
    """Return the summed squares; fill ``gradient`` with the gradient of their mean. Padded images hold zeros."""
    rows, cols = depth.shape
    for r in range(rows):
        for c in range(cols):
            known[r + 3, c + 3] = max(depth[r, c], nearest)
    for r in range(3, rows + 3):
        for c in range(3, cols + 3):
            # Prewitt windows: sums of three neighbours on either side.
            left = known[r - 1, c - 1] + known[r, c - 1] + known[r + 1, c - 1]
            right = known[r - 1, c + 1] + known[r, c + 1] + known[r + 1, c + 1]
            above = known[r - 1, c - 1] + known[r - 1, c] + known[r - 1, c + 1]
            below = known[r + 1, c - 1] + known[r + 1, c] + known[r + 1, c + 1]
            inverse = np.float32(1.0) / known[r, c]
            gx, gy = (right - left) * inverse, (below - above) * inverse
            map_[r, c] = np.float32(1.0) - np.sqrt(factor * (gx * gx + gy * gy) + inside_root)
            along_cols[r, c], along_rows[r, c] = gx, gy
    _blur_into(map_, lines, line)
    total = 0.0
    mean = np.float32(2.0 / depth.size)
    for r in range(rows):
        for c in range(cols):
            found = map_[r + 3, c + 3]
            rest = min(max(found, np.float32(-1.0)), np.float32(1.0)) - wanted[r, c]
            total += rest * rest
            # The clamp passes no gradient beyond [-1, 1].
            map_[r + 3, c + 3] = mean * rest if -1.0 <= found <= 1.0 else np.float32(0.0)
    if with_grad:
        _blur_into(map_, lines, line)
        _step_gradients(factor, inside_root, map_, known, along_cols, along_rows, lines)
        _to_depth(depth, nearest, lines, along_cols, along_rows, gradient)
    return total


@compiled
def _step_gradients(factor, inside_root, map_, known, along_cols, along_rows, own):
    """Turn relative steps into the gradients by the sums of the two windows, and ``own`` into that by the divisor.

    ``map_`` is the gradient by the unblurred edge map.
    """
    rows, cols = known.shape
    for r in range(3, rows - 3):
        for c in range(3, cols - 3):
            gx, gy = along_cols[r, c], along_rows[r, c]
            squares = gx * gx + gy * gy
            # d/dg of 1 - sqrt(factor g^2 + c), with g = window / divisor.
            fraction = -map_[r, c] * factor / (known[r, c] * np.sqrt(factor * squares + inside_root))
            along_cols[r, c], along_rows[r, c] = gx * fraction, gy * fraction
            own[r, c] = -squares * fraction


@compiled
def _to_depth(depth, nearest, own, along_cols, along_rows, gradient):
    """Fill the gradient by the depths; those below ``nearest`` have none."""
    rows, cols = depth.shape
    for r in range(3, rows + 3):
        for c in range(3, cols + 3):
            left = along_cols[r - 1, c - 1] + along_cols[r, c - 1] + along_cols[r + 1, c - 1]
            right = along_cols[r - 1, c + 1] + along_cols[r, c + 1] + along_cols[r + 1, c + 1]
            above = along_rows[r - 1, c - 1] + along_rows[r - 1, c] + along_rows[r - 1, c + 1]
            below = along_rows[r + 1, c - 1] + along_rows[r + 1, c] + along_rows[r + 1, c + 1]
            found = own[r, c] + left - right + above - below
            gradient[r - 3, c - 3] = found if depth[r - 3, c - 3] >= nearest else np.float32(0.0)
