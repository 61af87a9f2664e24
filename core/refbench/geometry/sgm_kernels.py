"""Kernels of semi-global matching: costs, sums along eight paths, winners. Letters: R rows, C columns, D disparities.

Costs of a path are whole numbers in float32, which compilers turn into vector code; their sum over the paths is uint16.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from refbench.geometry.compiled import compiled, reordered

if TYPE_CHECKING:
    from numpy.typing import NDArray

OUTSIDE = 64
"""Cost of a disparity whose partner lies beside the other image: above that of any code of 48 bits."""
FAR = np.float32(1e6)


@compiled
def hamming_costs(left: NDArray[np.uint64], right: NDArray[np.uint64], lowest: int, cost: NDArray[np.uint8]) -> None:
    """Write the bits in which codes uint64 [R, C] differ to ``cost`` uint8 [R, C, D], disparities from ``lowest``."""
    rows, cols, search = cost.shape
    for row in range(rows):
        for col in range(cols):
            for index in range(search):
                other = col - lowest - index
                if other < 0 or other >= cols:
                    cost[row, col, index] = OUTSIDE
                    continue
                bits = left[row, col] ^ right[row, other]
                # The sum of set bits in pairs, in nibbles, in bytes; the product adds the bytes up.
                bits -= (bits >> np.uint64(1)) & np.uint64(0x5555555555555555)
                bits = (bits & np.uint64(0x3333333333333333)) + ((bits >> np.uint64(2)) & np.uint64(0x3333333333333333))
                bits = (bits + (bits >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
                cost[row, col, index] = np.uint8((bits * np.uint64(0x0101010101010101)) >> np.uint64(56))


@reordered
def _step(
    cost: NDArray[np.uint8],
    before: NDArray[np.float32],
    lowest: float,
    p1: float,
    p2: float,
    out: NDArray[np.float32],
    total: NDArray[np.uint16],
) -> np.float32:
    """Write one pixel's path costs to ``out`` and add them to ``total``; return the smallest.

    L(d) = C(d) + min(L'(d), L'(d +- 1) + P1, min L' + P2) - min L'; Hirschmueller, TPAMI 30 (2008), equation 13.
    ``before`` and ``out`` have a margin of one at both ends.
    """
    one, jump = np.float32(p1), np.float32(lowest + p2)
    base = np.float32(lowest)
    best = FAR
    for index in range(cost.shape[0]):
        value = before[index + 1]
        value = min(value, before[index] + one)
        value = min(value, before[index + 2] + one)
        value = min(value, jump) - base + np.float32(cost[index])
        out[index + 1] = value
        best = min(best, value)
        total[index] += np.uint16(value)
    return best


@compiled
def add_paths(
    cost: NDArray[np.uint8],
    grey: NDArray[np.uint8],
    p1: float,
    penalties: NDArray[np.float32],
    total: NDArray[np.uint16],
    backward: bool,
) -> None:
    """Add to ``total`` uint16 [R, C, D] the costs summed along four paths: from one side and from the three above.

    ``backward`` runs from the last pixel to the first. ``penalties`` float32 [256]: P2 by the step in grey.
    """
    rows, cols, search = cost.shape
    # Two rows of states for the three paths from the row before; one state for the path along the row.
    states = np.full((2, 3, cols, search + 2), FAR, np.float32)
    smallest = np.zeros((2, 3, cols), np.float32)
    along = np.full((2, search + 2), FAR, np.float32)
    zero = np.zeros(search + 2, np.float32)
    along_smallest = np.float32(0)
    for step_row in range(rows):
        row = rows - 1 - step_row if backward else step_row
        before_row = row + 1 if backward else row - 1
        now, then = step_row & 1, (step_row + 1) & 1
        for step_col in range(cols):
            col = cols - 1 - step_col if backward else step_col
            before_col = col + 1 if backward else col - 1
            here, there = step_col & 1, (step_col + 1) & 1
            value = np.int64(grey[row, col])
            if step_col == 0:
                along_smallest = _step(cost[row, col], zero, 0.0, p1, penalties[0], along[here], total[row, col])
            else:
                p2 = penalties[abs(value - np.int64(grey[row, before_col]))]
                along_smallest = _step(
                    cost[row, col], along[there], along_smallest, p1, p2, along[here], total[row, col]
                )
            for path in range(3):
                source = col + path - 1
                if step_row == 0 or source < 0 or source >= cols:
                    smallest[now, path, col] = _step(
                        cost[row, col], zero, 0.0, p1, penalties[0], states[now, path, col], total[row, col]
                    )
                else:
                    p2 = penalties[abs(value - np.int64(grey[before_row, source]))]
                    smallest[now, path, col] = _step(
                        cost[row, col],
                        states[then, path, source],
                        smallest[then, path, source],
                        p1,
                        p2,
                        states[now, path, col],
                        total[row, col],
                    )


@compiled
def winners(total: NDArray[np.uint16], found: NDArray[np.float32]) -> None:
    """Write the disparity of least cost, counted from the lowest, to ``found`` float32 [R, C], to a part of a pixel."""
    rows, cols, search = total.shape
    for row in range(rows):
        for col in range(cols):
            costs = total[row, col]
            best = 0
            for index in range(1, search):
                if costs[index] < costs[best]:
                    best = index
            offset = 0.0
            if 0 < best < search - 1:
                low, middle, high = float(costs[best - 1]), float(costs[best]), float(costs[best + 1])
                # Two lines of equal slope: census costs grow linearly beside their minimum.
                steep = max(low, high) - middle
                offset = 0.5 * (low - high) / steep if steep > 0 else 0.0
            found[row, col] = best + offset


def path_penalties(p1: int, p2: int, fall: float) -> NDArray[Any]:
    """Return P2 by the step in grey (0 to 255) along a path, float32 [256], whole numbers above P1.

    It falls to one half where the step is ``fall`` grey values: surfaces break where images do.
    """
    steps = np.arange(256)
    return np.maximum(np.round(p2 / (1 + steps / fall)), p1 + 1).astype(np.float32)
