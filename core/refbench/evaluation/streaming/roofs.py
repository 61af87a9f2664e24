"""Roofs of a raster of any size: parts in several tiles are joined, planes come from sums that merge."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import cv2
import numpy as np

from refbench.evaluation.shape import ROOF_MIN_PIXELS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refbench.evaluation.orientation import Orientation
    from refbench.evaluation.streaming.tiles import Tile

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]
    Labels = NDArray[np.int64]

_PAIRS = ((0, 0), (0, 1), (1, 1), (0, 2), (1, 2), (2, 2))
"""Products of row, column and height whose sums about their means are kept."""


class Roofs:
    """The buildings of a raster, found tile by tile, in the order of ``tiles_of``.

    Parameters
    ----------
    shape
        Rows and columns of the raster.
    turn
        That which the relief picks: buildings are numbered in its order.
    names
        The DSMs whose roofs are looked at.
    """

    def __init__(self, shape: tuple[int, int], turn: Orientation, names: tuple[str, ...]) -> None:
        self._shape, self._turn = shape, turn
        self._above = np.zeros(shape[1], np.int64)
        self._left = np.zeros(0, np.int64)
        self._parts = 0
        self._joins: list[Labels] = []
        self._firsts: list[Labels] = []
        self._planes = {name: _PlaneSums() for name in names}

    def add(self, tile: Tile, building: Bools, roofs: dict[str, Bools]) -> None:
        """Take in a tile.

        ``building`` [rows, cols] of the tile itself; ``roofs``: DSM -> where its heights are those of a roof, inside
        the building mask.
        """
        number, found = cv2.connectedComponents(building.astype(np.uint8), connectivity=4)
        labels = np.where(found > 0, found + np.int64(self._parts), 0)
        self._join(labels[0], self._above[tile.cols])
        if tile.cols.start and labels.shape[0] == self._left.size:
            self._join(labels[:, 0], self._left)
        self._above[tile.cols], self._left = labels[-1], labels[:, -1].copy()
        if number == 1:
            return
        self._parts += number - 1
        rows, cols = np.nonzero(found)
        self._firsts.append(self._first_places(found[rows, cols], rows + tile.rows.start, cols + tile.cols.start))
        for name, where in roofs.items():
            rows, cols = np.nonzero(where)
            heights = tile.dsms[name][tile.inner][rows, cols].astype(np.float64)
            self._planes[name].add(labels[rows, cols], rows + tile.rows.start, cols + tile.cols.start, heights)

    def _join(self, first: Labels, second: Labels) -> None:
        both = (first > 0) & (second > 0)
        if both.any():
            self._joins.append(np.unique(np.stack((first[both], second[both])), axis=1))

    def _first_places(self, found: NDArray[np.int32], rows: NDArray[np.intp], cols: NDArray[np.intp]) -> Labels:
        """Return the place of every part's first pixel, in the order of the turned raster."""
        height, width = self._shape
        rows = height - 1 - rows if self._turn.flip_rows else rows
        cols = width - 1 - cols if self._turn.flip_cols else cols
        place = cols.astype(np.int64) * height + rows if self._turn.transposed else rows.astype(np.int64) * width + cols
        firsts = np.full(int(found.max()), np.iinfo(np.int64).max)
        np.minimum.at(firsts, found - 1, place)
        return firsts

    def planes(self) -> dict[str, dict[int, float]]:
        """Return DSM -> number of a building -> RMS distance of its roof to its own plane, metres, ascending."""
        if not self._parts:
            return {name: {} for name in self._planes}
        root = _roots(self._parts, self._joins)
        firsts = np.full(self._parts, np.iinfo(np.int64).max)
        np.minimum.at(firsts, root, np.concatenate(self._firsts))
        is_root = root == np.arange(self._parts)
        numbers = np.zeros(self._parts, np.int64)
        numbers[np.flatnonzero(is_root)[np.argsort(firsts[is_root])]] = np.arange(1, np.count_nonzero(is_root) + 1)
        return {name: sums.distances(numbers[root]) for name, sums in self._planes.items()}


def _roots(parts: int, joins: list[Labels]) -> Labels:
    """Return a part that stands for all connected ones, for every part [N]; parts are counted from 1 in ``joins``."""
    root = np.arange(parts)
    pairs = np.concatenate(joins, axis=1) - 1 if joins else np.empty((2, 0), np.int64)
    for first, second in pairs.T.tolist():
        ends = []
        for part in (first, second):
            while root[part] != part:
                root[part] = root[root[part]]
                part = int(root[part])
            ends.append(part)
        root[max(ends)] = min(ends)
    while not np.array_equal(root, root[root]):
        root = root[root]
    return root


@dataclass(slots=True, eq=False)
class _PlaneSums:
    """Numbers, means of (row, column, height) and sums of products about them, of parts of roofs."""

    labels: list[Labels] = field(default_factory=list)
    sums: list[Floats] = field(default_factory=list)
    """[parts, 10]: n, three means, six products."""

    def add(self, labels: Labels, rows: NDArray[np.intp], cols: NDArray[np.intp], heights: Floats) -> None:
        """Take in pixels [N]."""
        if not labels.size:
            return
        held, index = np.unique(labels, return_inverse=True)
        values = (rows.astype(np.float64), cols.astype(np.float64), heights)
        n = np.bincount(index).astype(np.float64)
        # About a pixel of each part first: the raster's own rows and metres would lose digits.
        anchors = np.empty((3, held.size))
        for anchor, value in zip(anchors, values, strict=True):
            anchor[index] = value
        near = [value - anchor[index] for value, anchor in zip(values, anchors, strict=True)]
        means = [np.bincount(index, value) / n for value in near]
        centred = [value - mean[index] for value, mean in zip(near, means, strict=True)]
        products = [np.bincount(index, centred[i] * centred[j]) for i, j in _PAIRS]
        self.labels.append(held)
        self.sums.append(np.stack([n, *(anchors + np.stack(means)), *products], axis=1))

    def distances(self, numbers: Labels) -> dict[int, float]:
        """Return number -> RMS distance to the plane; ``numbers`` [parts] are those of the whole buildings."""
        if not self.labels:
            return {}
        held, index = np.unique(numbers[np.concatenate(self.labels) - 1], return_inverse=True)
        sums = np.concatenate(self.sums)
        n = np.bincount(index, sums[:, 0])
        anchors = np.empty((held.size, 3))
        anchors[index] = sums[:, 1:4]
        near = sums[:, 1:4] - anchors[index]
        means = np.stack([np.bincount(index, sums[:, 0] * near[:, axis]) for axis in range(3)], axis=1) / n[:, None]
        apart = near - means[index]
        # Chan's merge of parts: their own products, and those of their means about the common one.
        products = [
            np.bincount(index, sums[:, 4 + number] + sums[:, 0] * apart[:, i] * apart[:, j])
            for number, (i, j) in enumerate(_PAIRS)
        ]
        rr, rc, cc, rz, cz, zz = products
        design = np.stack([rr, rc, rc, cc], axis=1).reshape(-1, 2, 2)
        right = np.stack([rz, cz], axis=1)[:, :, None]
        slopes = np.linalg.pinv(design, hermitian=True) @ right
        left = np.maximum(zz - (slopes * right).sum((1, 2)), 0.0)
        kept = n >= ROOF_MIN_PIXELS
        distances = np.sqrt(left[kept] / n[kept])
        return dict(zip(held[kept].tolist(), distances.tolist(), strict=True))
