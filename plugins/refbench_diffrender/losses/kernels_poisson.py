"""The Poisson term in compiled loops (numba): value and gradient of both axes, and what of it changes with the mask."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from refbench_diffrender.losses.atrous import LINE, TINY
from refbench_diffrender.rasteriser.compiled import compiled, inlined

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from refbench_diffrender.losses.poisson_axis import PoissonAxis

TAP_1, TAP_2 = np.float32(2 / 3), np.float32(1 / 6)
PAD = 2
REACH = 1 + PAD
"""How far from a change of the mask an axis changes: a difference and a filter."""
_TAPS, _LEAST = np.array(LINE, np.float32), np.float32(TINY)
_BESIDE = np.float32(1e-5)


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
def _spread_into(image, lines):
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
def _axis_loss(target, axis, weight, source, counted, inverse, blur, with_gradient, image, lines, gradient):
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
            # weight (filtered target - filtered source); the filter is linear and symmetric, so its adjoint is itself.
            rest = weight[r, c] * (image[r + 2, c + 2] * inverse[r, c] - source[r, c])
            total += rest * rest
            image[r + 2, c + 2] = factor * rest * weight[r, c] * inverse[r, c]
    if with_gradient:
        if blur:
            _spread_into(image, lines)
        for r in range(rows - down):
            for c in range(cols - right):
                fraction = image[r + 2, c + 2] * counted[r, c]
                gradient[r + down, c + right] += fraction
                gradient[r, c] -= fraction
    return total


def update_axes(
    source: Tensor,
    before: Tensor | None,
    valid: Tensor,
    scale: float,
    blur: bool,
    axes: tuple[PoissonAxis, PoissonAxis],
) -> None:
    """Bring both axes up to date in place where the mask ``valid`` [rows, cols] differs from ``before``.

    Without ``before`` they are filled. A pixel's values do not depend on what has been there.
    """
    images = [image.contiguous().numpy() for image in (source, valid)]
    rows, cols = images[0].shape
    steps, sums = np.ones((rows, cols), np.bool_), np.ones((rows, cols), np.bool_)
    if before is not None:
        steps[:], sums[:] = False, False
        _mark_changes(before.contiguous().numpy(), images[1], steps, sums)
    for number, axis in enumerate(axes):
        parts = [part.numpy() for part in (axis.weight, axis.source, axis.counted, axis.inverse)]
        _update_steps(*images, number, np.float32(scale), blur, steps, parts[0], parts[1], parts[2])
        if blur:
            _update_sums(*images, number, sums, parts[0], parts[1], parts[3])


@compiled
def _mark_changes(before, valid, steps, sums):
    """Mark pixels of which differences, and of which filtered values may have changed."""
    rows, cols = valid.shape
    for r in range(rows):
        for c in range(cols):
            if before[r, c] != valid[r, c]:
                steps[max(r - 1, 0) : r + 2, max(c - 1, 0) : c + 2] = True
                sums[max(r - REACH, 0) : r + REACH + 1, max(c - REACH, 0) : c + REACH + 1] = True


@inlined
def _mask_at(source, valid, r, c):
    return valid[r, c] if source[r, c] != 0 else np.float32(0.0)


@inlined
def _step_at(source, valid, axis, r, c):
    """The difference of the masked source to the next column (axis 0) or row; 0 in the last one."""
    r1, c1 = (r + 1, c) if axis == 1 else (r, c + 1)
    if r1 >= source.shape[0] or c1 >= source.shape[1]:
        return np.float32(0.0)
    return source[r1, c1] * _mask_at(source, valid, r1, c1) - source[r, c] * _mask_at(source, valid, r, c)


@compiled
def _update_steps(source, valid, axis, scale, blur, dirty, weight, steps, counted):
    """Fill the weights of marked pixels and what they count; without ``blur`` also their differences."""
    rows, cols = source.shape
    for r in range(rows):
        for c in range(cols):
            if not dirty[r, c]:
                continue
            mask = _mask_at(source, valid, r, c)
            step = _step_at(source, valid, axis, r, c)
            weight[r, c] = mask * np.exp(-scale * abs(step / (source[r, c] * mask + _BESIDE)))
            r0, c0 = min(r, rows - 2), min(c, cols - 2)  # the last ones follow the last but one
            inner = _mask_at(source, valid, r0, c) == _mask_at(source, valid, r0 + 1, c)
            inner = inner and _mask_at(source, valid, r, c0) == _mask_at(source, valid, r, c0 + 1)
            if blur:
                counted[r, c] = weight[r, c] if inner and mask >= _LEAST else np.float32(0.0)
            else:
                counted[r, c] = np.float32(1.0) if inner else np.float32(0.0)
                steps[r, c] = step


@compiled
def _update_sums(source, valid, axis, dirty, weight, filtered, inverse):
    """Fill the filtered differences of the source and 1 / (summed weight) of marked pixels."""
    rows, cols = source.shape
    none = np.float32(0.0)
    for r in range(rows):
        for c in range(cols):
            if not dirty[r, c]:
                continue
            total, known, field = none, none, none
            for y in range(max(r - PAD, 0), min(r + PAD + 1, rows)):
                for x in range(max(c - PAD, 0), min(c + PAD + 1, cols)):
                    fraction = _TAPS[y - r + PAD] * _TAPS[x - c + PAD] * weight[y, x]
                    known += fraction
                    field += fraction * _step_at(source, valid, axis, y, x)
                    if valid[y, x] >= _LEAST:
                        total += fraction
            filtered[r, c] = field / known if known > _LEAST else none
            inverse[r, c] = np.float32(1.0) / total if total > _LEAST else none
