"""Blending: the weighted mean of overlapping tiles, row by row, holding only the rows that are not finished."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from refbench.contracts.grid import Window

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from refbench.contracts.tiles import TilePlan

ROWS_AT_ONCE = 512
KEPT_PRODUCTS = 16


class StripBlender:
    """Accumulates sum(w h) and sum(w), float64 [active rows, width], for tiles that arrive sorted by their first row.

    A pixel's height is sum(w h) / sum(w) over the tiles that hold a height there; NaN where none does. Rows before
    ``first`` are left out.
    """

    def __init__(self, plan: TilePlan, width: int, first: int = 0) -> None:
        self._plan = plan
        self._products: dict[tuple[int, int], NDArray[np.float64]] = {}
        self._width = width
        self._first = first
        self._sum = np.zeros((0, width))
        self._weight = np.zeros((0, width))

    def add(self, index: int, heights: NDArray[np.float32], offset: float) -> None:
        """Add tile ``index``, heights float32 [rows, cols] in metres above ``offset``; what lies outside is cropped."""
        window = self._plan.window(index)
        rows = slice(max(window.row_off, self._first), window.row_stop)
        cols = slice(max(window.col_off, 0), min(window.col_stop, self._width))
        if rows.start >= rows.stop or cols.start >= cols.stop:
            return
        self._grow(rows.stop - self._first)
        part = (
            slice(rows.start - window.row_off, rows.stop - window.row_off),
            slice(cols.start - window.col_off, cols.stop - window.col_off),
        )
        tile = heights[part].astype(np.float64) + offset
        weight = np.where(np.isfinite(tile), self._weights(index)[part], 0.0)
        target = np.s_[rows.start - self._first : rows.stop - self._first, cols]
        self._sum[target] += weight * np.where(weight > 0, tile, 0.0)
        self._weight[target] += weight

    def finished(self, stop_row: int) -> Iterator[tuple[Window, NDArray[np.float32]]]:
        """Yield and forget the rows before ``stop_row``: no later tile may touch them.

        Heights are float32 [rows, cols] of the window, metres.
        """
        while self._first < stop_row:
            count = min(stop_row - self._first, ROWS_AT_ONCE)
            self._grow(count)
            total, weight = self._sum[:count], self._weight[:count]
            with np.errstate(invalid="ignore", divide="ignore"):
                heights = np.where(weight > 0, total / weight, np.nan).astype(np.float32)
            window = Window(0, self._first, self._width, count)
            self._sum, self._weight = self._sum[count:].copy(), self._weight[count:].copy()
            self._first += count
            yield window, heights

    def _weights(self, index: int) -> NDArray[np.float64]:
        """Return the weights [rows, cols] of a tile; those of equal profiles are kept."""
        plan = self._plan
        key = (
            0 if plan.row_profiles is None else int(plan.row_profiles[index]),
            0 if plan.col_profiles is None else int(plan.col_profiles[index]),
        )
        if key not in self._products:
            if len(self._products) >= KEPT_PRODUCTS:
                self._products.clear()
            self._products[key] = np.outer(*plan.weights_of(index))
        return self._products[key]

    def _grow(self, rows: int) -> None:
        if (missing := rows - self._sum.shape[0]) > 0:
            more = np.zeros((missing, self._width))
            self._sum, self._weight = np.concatenate([self._sum, more]), np.concatenate([self._weight, more])
