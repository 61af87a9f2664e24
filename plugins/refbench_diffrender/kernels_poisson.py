"""The Poisson term in compiled loops (numba): value and gradient of both axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from refbench_diffrender.compiled import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from refbench_diffrender.poisson import PoissonAxis

TAP_1, TAP_2 = np.float32(2 / 3), np.float32(1 / 6)
PAD = 2


def workspace(rows: int, cols: int) -> NDArray[np.float32]:
    """Return the memory that ``poisson_loss`` works in; its border stays 0."""
    return np.zeros((2, rows + 2 * PAD, cols + 2 * PAD), np.float32)


def poisson_loss(
    target: Tensor, axes: tuple[PoissonAxis, PoissonAxis], blur: bool, memory: NDArray[np.float32], with_gradient: bool
) -> tuple[float, Tensor | None]:
    """Return the loss of ``target`` [rows, cols] and its gradient."""
    gradient = np.zeros(tuple(target.shape), np.float32)
    values = target.contiguous().numpy()
    total = 0.0
    for number, axis in enumerate(axes):
        parts = [part.contiguous().numpy() for part in (axis.weight, axis.source, axis.counted, axis.inverse)]
        total += _axis_loss(values, number, *parts, blur, with_gradient, *memory, gradient)
    return total / values.size, torch.from_numpy(gradient) if with_gradient else None


@compiled
def _spread_into(image, lines):  # type: ignore[no-untyped-def]
    """Replace a padded image by the sum over the taps of its pixels; ``lines`` is of the same size."""
    rows, cols = image.shape[0] - 4, image.shape[1] - 4
    for r in range(rows):
        for c in range(cols + 4):
            lines[r + 2, c] = (
                image[r + 2, c] + TAP_1 * (image[r + 1, c] + image[r + 3, c]) + TAP_2 * (image[r, c] + image[r + 4, c])
            )
    for r in range(2, rows + 2):
        for c in range(cols):
            image[r, c + 2] = (
                lines[r, c + 2] + TAP_1 * (lines[r, c + 1] + lines[r, c + 3]) + TAP_2 * (lines[r, c] + lines[r, c + 4])
            )


@compiled
def _axis_loss(  # type: ignore[no-untyped-def]
    target, axis, weight, source, counted, inverse, blur, with_gradient, image, lines, gradient
):
    """Return the summed squares of one axis; add their gradient, over the number of pixels, to ``gradient``."""
    rows, cols = target.shape
    down, right = (1, 0) if axis == 1 else (0, 1)
    image[:] = 0
    for r in range(rows - down):
        for c in range(cols - right):
            image[r + 2, c + 2] = (target[r + down, c + right] - target[r, c]) * counted[r, c]
    if blur:
        _spread_into(image, lines)
    total = 0.0
    factor = np.float32(2.0 / target.size)
    for r in range(rows):
        for c in range(cols):
            rest = weight[r, c] * (image[r + 2, c + 2] * inverse[r, c] - source[r, c])
            total += rest * rest
            image[r + 2, c + 2] = factor * rest * weight[r, c] * inverse[r, c]
    if with_gradient:
        if blur:
            _spread_into(image, lines)
        for r in range(rows - down):
            for c in range(cols - right):
                share = image[r + 2, c + 2] * counted[r, c]
                gradient[r + down, c + right] += share
                gradient[r, c] -= share
    return total
