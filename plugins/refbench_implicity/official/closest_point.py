"""Closest points on a mesh, exact in float64: a tree of boxes over the triangles, searched for all points at once.

Letters: N points, F triangles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from refbench.contracts.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAF = 4
BATCH = 20_000


def closest_on_triangles(points: NDArray[np.float64], triangles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return for each point [N, 3] the closest point [N, 3] of its own triangle [N, 3, 3].

    The interior's foot point where it lies inside, else the closest point of the three edges.
    Metres in one frame.
    """
    a, b, c = np.moveaxis(triangles, 1, 0)
    best = _on_segment(points, a, b)
    distance = _squared(points - best)
    for start, end in ((b, c), (c, a)):
        candidate = _on_segment(points, start, end)
        nearer = (other := _squared(points - candidate)) < distance
        best[nearer], distance[nearer] = candidate[nearer], other[nearer]
    normal = np.cross(b - a, c - a)
    area = _squared(normal)
    with np.errstate(invalid="ignore", divide="ignore"):
        foot = points - normal * (_dot(points - a, normal) / area)[:, None]
    inside = area > 0
    for start, end in ((a, b), (b, c), (c, a)):
        inside &= _dot(np.cross(end - start, foot - start), normal) >= 0
    best[inside] = foot[inside]
    return best


def _dot(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.einsum("ij,ij->i", a, b)
    return found


def _squared(a: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.einsum("ij,ij->i", a, a)
    return found


def _on_segment(
    points: NDArray[np.float64], start: NDArray[np.float64], end: NDArray[np.float64]
) -> NDArray[np.float64]:
    direction = end - start
    length = np.maximum(_squared(direction), np.finfo(np.float64).tiny)
    return start + np.clip(_dot(points - start, direction) / length, 0, 1)[:, None] * direction


class ClosestPoint:
    """Answers closest-point questions about one mesh."""

    def __init__(self, triangles: NDArray[np.float64]) -> None:
        """Build the tree over ``triangles`` [F, 3, 3] in world metres."""
        if not len(triangles):
            raise InputError("A mesh without triangles has no closest point.")
        self.origin = triangles.reshape(-1, 3).mean(axis=0)
        local = triangles - self.origin
        self.triangles = local[_space_order(local.mean(axis=1))]
        leaves = -(-len(local) // LEAF)
        self.depth = int(np.ceil(np.log2(leaves))) if leaves > 1 else 0
        first = np.minimum(np.arange(2**self.depth) * LEAF, len(local) - 1)
        pad = np.minimum(first[:, None] + np.arange(LEAF), len(local) - 1)
        self.members = pad
        corners = self.triangles[pad].reshape(len(pad), -1, 3)
        self.boxes = [(corners.min(axis=1), corners.max(axis=1))]
        for _ in range(self.depth):
            low, high = self.boxes[0]
            self.boxes.insert(0, (np.minimum(low[::2], low[1::2]), np.maximum(high[::2], high[1::2])))

    def __call__(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the closest point [N, 3] of the mesh for each of ``points`` [N, 3]."""
        out = np.empty_like(points)
        for start in range(0, len(points), BATCH):
            part = slice(start, start + BATCH)
            out[part] = self._search(points[part] - self.origin) + self.origin
        return out

    def _search(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Go down level by level with the pairs (point, box) that may still hold the closest point."""
        who = np.arange(len(points))
        node = np.zeros(len(points), np.int64)
        bound = np.full(len(points), np.inf)
        for level in range(self.depth + 1):
            low, high = (side[node] for side in self.boxes[level])
            asked = points[who]
            nearest = _squared(asked - np.clip(asked, low, high))
            farthest = _squared(np.maximum(np.abs(asked - low), np.abs(asked - high)))
            np.minimum.at(bound, who, farthest)
            keep = nearest <= bound[who]
            who, node = who[keep], node[keep]
            if level < self.depth:
                who, node = np.repeat(who, 2), np.stack([2 * node, 2 * node + 1], axis=1).ravel()
        return self._leaves(points, who, node)

    def _leaves(
        self, points: NDArray[np.float64], who: NDArray[np.int64], node: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        who, faces = np.repeat(who, LEAF), self.members[node].ravel()
        best, distance = np.empty_like(points), np.full(len(points), np.inf)
        for start in range(0, len(who), 10 * BATCH):
            part = slice(start, start + 10 * BATCH)
            owner = who[part]
            found = closest_on_triangles(points[owner], self.triangles[faces[part]])
            length = _squared(points[owner] - found)
            order = np.lexsort((length, owner))
            owner, first = np.unique(owner[order], return_index=True)
            nearer = length[order[first]] < distance[owner]
            owner, chosen = owner[nearer], order[first][nearer]
            best[owner], distance[owner] = found[chosen], length[chosen]
        return best


def _space_order(centres: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return an order that keeps neighbours together: along a Z-curve over 1024^3 cells."""
    low, span = centres.min(axis=0), np.ptp(centres, axis=0).max()
    cells = ((centres - low) / (span or 1.0) * 1023).astype(np.int64)
    code = np.zeros(len(centres), np.int64)
    for bit in range(10):
        for axis in range(3):
            code |= ((cells[:, axis] >> bit) & 1) << (3 * bit + axis)
    return np.argsort(code, kind="stable")
