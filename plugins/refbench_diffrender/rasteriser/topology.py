"""Neighbours of triangles across their edges, found once for a mesh and reused in every step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def opposite_vertices(triangles: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return, for every edge of every triangle, the vertex opposite to it in the adjacent triangle.

    Parameters
    ----------
    triangles
        int32 [T, 3]; triangles with a negative vertex are none.

    Returns
    -------
    int32 [T, 3]; entry ``k`` belongs to the edge that faces vertex ``k`` and is -1 where no other triangle has that
    edge. Of an edge of more than two triangles each gets the next one in the list, the last one the first.
    """
    opposite = np.full(triangles.shape, -1, np.int32)
    valid = np.flatnonzero((triangles >= 0).all(axis=1))
    own = triangles[valid].T.astype(np.int64)  # [3, N]
    ends = np.stack([own[[1, 2, 0]], own[[2, 0, 1]]])
    low, high = ends.min(axis=0).ravel(), ends.max(axis=0).ravel()
    key = low * (int(high.max(initial=0)) + 1) + high
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=-1))
    sizes = np.diff(starts, append=len(ordered))
    place = np.arange(len(ordered))
    start, size = np.repeat(starts, sizes), np.repeat(sizes, sizes)
    following = order[start + (place - start + 1) % np.maximum(size, 1)]
    found = np.full(len(ordered), -1, np.int32)
    found[order] = np.where(size > 1, own.ravel()[following], -1)
    opposite[valid] = found.reshape(3, -1).T
    return opposite
