"""Which triangle covers which pixel: kernels of one view (numba).

Vertices in front of the camera are rounded to 1/16 px, to the even neighbour of two, and coverage is decided by integer
edge functions; a sample on an edge belongs to the triangle of which it is the left or the top edge. Triangles with a
vertex behind the camera are not rounded: homogeneous edge functions clip them.
"""

from __future__ import annotations

import numpy as np

from refbench_diffrender.rasteriser.compiled import compiled, inlined

SUBPIXELS = 16
UNSNAPPED = -(2**31)
"""In place of an integer coordinate: the vertex lies behind the camera or too far aside for integers."""
LIMIT = 2.0**26
FEW = 4
"""Samples within the bounds of a triangle, up to which its planes are made only if one of them lies inside."""
EMPTY = 2.0
"""Depth of a pixel without a triangle: beyond the far plane, z/w = 1."""


@compiled
def snap(pos, rows, cols, first, last, xy):
    """Fill ``xy`` int32 [V, 2] (1/16 px) of vertices ``first`` to ``last`` of ``pos`` [V, 4]."""
    for v in range(first, last):
        xy[v, 0] = UNSNAPPED
        w = np.float64(pos[v, 3])
        if w > 0.0:
            # Device coordinates [-1, 1] to 1/16 px; rint rounds halves to the even neighbour.
            x = np.rint((pos[v, 0] / w + 1.0) * (0.5 * cols * SUBPIXELS))
            y = np.rint((pos[v, 1] / w + 1.0) * (0.5 * rows * SUBPIXELS))
            if abs(x) < LIMIT and abs(y) < LIMIT:
                xy[v, 0] = np.int32(x)
                xy[v, 1] = np.int32(y)


@inlined
def planes_of(xi, yi, zi, wi, xj, yj, zj, wj, xk, yk, zk, wk):
    """The homogeneous edge functions of a triangle and z/w, all affine in the device coordinates (x, y) of a pixel.

    Returns the coefficients of x, y, 1 of the functions that face i, j and k, then those of z/w (not finite where the
    triangle is seen edge-on). The functions' ratio to their sum are the perspective-correct weights.
    """
    # Cross products of the homogeneous vertices (x, y, w): the line through two of them is where the third's weight is
    # 0.
    ix, iy, i1 = yj * wk - wj * yk, wj * xk - xj * wk, xj * yk - yj * xk
    jx, jy, j1 = yk * wi - wk * yi, wk * xi - xk * wi, xk * yi - yk * xi
    kx, ky, k1 = yi * wj - wi * yj, wi * xj - xi * wj, xi * yj - yi * xj
    # The determinant of the three vertices; by Cramer's rule the plane through their z is affine in x and y.
    inverse = 1.0 / (xi * ix + yi * iy + wi * i1)
    zx = (zi * ix + zj * jx + zk * kx) * inverse
    zy = (zi * iy + zj * jy + zk * ky) * inverse
    z1 = (zi * i1 + zj * j1 + zk * k1) * inverse
    return ix, iy, i1, jx, jy, j1, kx, ky, k1, zx, zy, z1


@inlined
def _edge_planes(pos, i, j, k):
    xi, yi, zi, wi = np.float64(pos[i, 0]), np.float64(pos[i, 1]), np.float64(pos[i, 2]), np.float64(pos[i, 3])
    xj, yj, zj, wj = np.float64(pos[j, 0]), np.float64(pos[j, 1]), np.float64(pos[j, 2]), np.float64(pos[j, 3])
    xk, yk, zk, wk = np.float64(pos[k, 0]), np.float64(pos[k, 1]), np.float64(pos[k, 2]), np.float64(pos[k, 3])
    return planes_of(xi, yi, zi, wi, xj, yj, zj, wj, xk, yk, zk, wk)


@inlined
def _edge(ax, ay, bx, by, px, py):
    return (bx - ax) * (py - ay) - (by - ay) * (px - ax)


@inlined
def _owned(ax, ay, bx, by):
    """0 where samples on the edge a -> b belong to the triangle on its positive side, else -1."""
    return 0 if by < ay or (by == ay and bx > ax) else -1


@inlined
def _keep_planes(planes, row, pos, i, j, k):
    """Fill a row of ``planes``; return the coefficients of z/w."""
    ix, iy, i1, jx, jy, j1, kx, ky, k1, zx, zy, z1 = _edge_planes(pos, i, j, k)
    planes[row, 0], planes[row, 1], planes[row, 2] = ix, iy, i1
    planes[row, 3], planes[row, 4], planes[row, 5] = jx, jy, j1
    planes[row, 6], planes[row, 7], planes[row, 8] = ix + jx + kx, iy + jy + ky, i1 + j1 + k1
    planes[row, 9], planes[row, 10], planes[row, 11] = zx, zy, z1
    return zx, zy, z1


@inlined
def cover_snapped(t, i, j, k, pos, xy, places, nearest, ids, planes, row):
    """Render triangle ``t`` of rounded vertices; where a sample may be seen, its planes go to ``row`` of ``planes``."""
    xi, yi, xj, yj = np.int64(xy[i, 0]), np.int64(xy[i, 1]), np.int64(xy[j, 0]), np.int64(xy[j, 1])
    xk, yk = np.int64(xy[k, 0]), np.int64(xy[k, 1])
    # Pixel centres lie at 16 c + 8: the first one not left of the bounds, the last one not right of them.
    c0, c1 = max((min(xi, xj, xk) + 7) >> 4, 0), min((max(xi, xj, xk) - 8) >> 4, ids.shape[1] - 1)
    r0, r1 = max((min(yi, yj, yk) + 7) >> 4, 0), min((max(yi, yj, yk) - 8) >> 4, ids.shape[0] - 1)
    if c0 > c1 or r0 > r1:
        return
    area = _edge(xi, yi, xj, yj, xk, yk)
    if area == 0:
        return
    # Nothing is culled: a triangle seen from behind is turned, so that inside is positive.
    if area < 0:
        xj, yj, xk, yk = xk, yk, xj, yj
    x, y = 16 * c0 + 8, 16 * r0 + 8
    start_i = _edge(xj, yj, xk, yk, x, y) + _owned(xj, yj, xk, yk)
    start_j = _edge(xk, yk, xi, yi, x, y) + _owned(xk, yk, xi, yi)
    start_k = _edge(xi, yi, xj, yj, x, y) + _owned(xi, yi, xj, yj)
    # From pixel to pixel the integer edge functions change by constants.
    step_i, step_j, step_k = 16 * (yj - yk), 16 * (yk - yi), 16 * (yi - yj)
    many = (c1 - c0 + 1) * (r1 - r0 + 1) > FEW
    ready, zx, zy, z1 = many, 0.0, 0.0, 0.0
    if many:
        zx, zy, z1 = _keep_planes(planes, row, pos, i, j, k)
    for r in range(np.uint64(r0), np.uint64(r1 + 1)):
        ei, ej, ek, fy = start_i, start_j, start_k, (2 * r + 1) / ids.shape[0] - 1.0
        for c in range(np.uint64(c0), np.uint64(c1 + 1)):
            if many:  # without branches: which samples lie inside cannot be foreseen
                z = np.float32(zx * places[c] + zy * fy + z1)
                before, owner = nearest[r, c], ids[r, c]
                # The sign bit of the union is set where one of the three is negative.
                wins = ((ei | ej | ek) >= 0) & (z < before) & (abs(z) <= np.float32(1.0))
                nearest[r, c] = z if wins else before
                ids[r, c] = t + 1 if wins else owner
            elif (ei | ej | ek) >= 0:
                if not ready:
                    zx, zy, z1 = _keep_planes(planes, row, pos, i, j, k)
                    ready = True
                z = np.float32(zx * places[c] + zy * fy + z1)
                if z < nearest[r, c] and abs(z) <= np.float32(1.0):
                    nearest[r, c] = z
                    ids[r, c] = t + 1
            ei += step_i
            ej += step_j
            ek += step_k
        start_i += 16 * (xk - xj)
        start_j += 16 * (xi - xk)
        start_k += 16 * (xj - xi)


@compiled
def cover_clipped(t, i, j, k, pos, nearest, ids, planes, row):
    """Render triangle ``t``, of which a vertex is not rounded; its planes go to ``row`` of ``planes``."""
    rows, cols = ids.shape
    if not (pos[i, 3] > 0.0 or pos[j, 3] > 0.0 or pos[k, 3] > 0.0):
        return
    ix, iy, i1, jx, jy, j1, kx, ky, k1, zx, zy, z1 = _edge_planes(pos, i, j, k)
    # Signed volume of vertices and eye: its sign tells which side of the edge functions is inside.
    volume = pos[i, 0] * ix + pos[i, 1] * iy + pos[i, 3] * i1
    if volume == 0.0 or not np.isfinite(volume):
        return
    _keep_planes(planes, row, pos, i, j, k)
    sign = 1.0 if volume > 0.0 else -1.0
    slopes = (sign * ix, sign * jx, sign * kx)
    for r in range(rows):
        fy = (2 * r + 1) / rows - 1.0
        heights = (sign * (iy * fy + i1), sign * (jy * fy + j1), sign * (ky * fy + k1))
        low, high = -1.0, 1.0  # rough bounds first, exact tests between them
        for slope, height in zip(slopes, heights):  # noqa: B905 - numba knows no strict
            # slope x + height >= 0 bounds x from one side.
            if slope > 0.0:
                low = max(low, -height / slope)
            elif slope < 0.0:
                high = min(high, -height / slope)
            elif height < 0.0:
                high = -2.0
        for c in range(max(int((low + 1.0) * 0.5 * cols) - 2, 0), min(int((high + 1.0) * 0.5 * cols) + 2, cols)):
            fx = (2 * c + 1) / cols - 1.0
            inside = True
            for slope, height in zip(slopes, heights):  # noqa: B905
                inside = inside and slope * fx + height >= 0.0
            if inside:
                z = np.float32(zx * fx + zy * fy + z1)
                if z < nearest[r, c] and -1.0 <= z <= 1.0:
                    nearest[r, c] = z
                    ids[r, c] = t + 1


@compiled
def centres(count):
    """Device coordinates of the pixel centres of a row or a column, float64."""
    places = np.empty(count)
    for c in range(count):
        places[c] = (2 * c + 1) / count - 1.0
    return places


@compiled
def cover(pos, xy, triangles, first, last, nearest, ids, planes):
    """Render triangles ``first`` to ``last`` into a cleared depth buffer.

    ``nearest`` float32 [rows, cols] becomes the smallest z/w, ``ids`` int32 [rows, cols] the number of its triangle
    plus one; of equal depths the lower number wins. ``planes`` float64 [T + 1, 12] gets the coefficients of x, y, 1 of
    the edge functions that face vertices 0 and 1, of the sum of all three, and of z/w: in row ``id`` of every triangle
    that is seen.
    """
    nearest[:] = EMPTY
    ids[:] = 0
    count, places = np.uint32(pos.shape[0]), centres(ids.shape[1])
    for t in range(first, last):
        i, j, k = np.uint32(triangles[t, 0]), np.uint32(triangles[t, 1]), np.uint32(triangles[t, 2])
        if i >= count or j >= count or k >= count:  # numbers below 0 are large ones here
            continue
        if xy[i, 0] == UNSNAPPED or xy[j, 0] == UNSNAPPED or xy[k, 0] == UNSNAPPED:
            cover_clipped(t, i, j, k, pos, nearest, ids, planes, t + 1)
        else:
            cover_snapped(t, i, j, k, pos, xy, places, nearest, ids, planes, t + 1)


@compiled
def nearest_of(nearest, ids, first, last):
    """Merge depth buffers [K, rows, cols] of consecutive triangles into the first one, rows ``first`` to ``last``."""
    for other in range(1, ids.shape[0]):
        for r in range(first, last):
            for c in range(ids.shape[2]):
                if nearest[other, r, c] < nearest[0, r, c]:
                    nearest[0, r, c] = nearest[other, r, c]
                    ids[0, r, c] = ids[other, r, c]
