"""Compiled loops of the filters, where numba is installed; the plain forms in ``filters`` give the same numbers.

No fused multiplication: float32 results are equal bit by bit to those of the plain forms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numba
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_Kernel = TypeVar("_Kernel", bound="Callable[..., Any]")


def _compiled(function: _Kernel) -> _Kernel:
    """Compile on the first call and keep the machine code on disk, where there is a writable place."""
    try:
        compiled: _Kernel = numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:  # "no locator available": a read-only installation
        compiled = numba.njit(nogil=True, error_model="numpy")(function)
    return compiled


@_compiled
def tv_l1_steps(
    data: NDArray[np.float32], valid: NDArray[np.bool_], iterations: int, limit: np.float32
) -> NDArray[np.float32]:
    """Return the primal variable [rows, cols] after ``iterations`` Chambolle-Pock steps; see ``filters.tv_l1``.

    ``limit`` is tau times the fidelity, with tau = 1 and sigma = 1/8.
    """
    rows, cols = data.shape
    sigma, one, two = np.float32(0.125), np.float32(1), np.float32(2)
    dual_x, dual_y = np.zeros_like(data), np.zeros_like(data)
    primal, leading = data.copy(), data.copy()
    for _ in range(iterations):
        for i in range(rows):
            below = min(i + 1, rows - 1)
            for j in range(cols):
                # Dual ascent: forward differences, none across an unknown pixel or the edge of the array.
                x, y = dual_x[i, j], dual_y[i, j]
                if j + 1 < cols and valid[i, j] and valid[i, j + 1]:
                    x += sigma * (leading[i, j + 1] - leading[i, j])
                if below > i and valid[i, j] and valid[below, j]:
                    y += sigma * (leading[below, j] - leading[i, j])
                # Projection onto the unit disc.
                length = max(np.sqrt(x * x + y * y), one)
                dual_x[i, j], dual_y[i, j] = x / length, y / length
        for i in range(rows):
            for j in range(cols):
                # Primal descent: divergence of the dual, then shrinkage towards the data.
                new = primal[i, j] + (dual_x[i, j] + dual_y[i, j])
                if j > 0:
                    new -= dual_x[i, j - 1]
                if i > 0:
                    new -= dual_y[i - 1, j]
                new += min(max(data[i, j] - new, -limit), limit)
                leading[i, j] = two * new - primal[i, j]
                primal[i, j] = new
    return primal
