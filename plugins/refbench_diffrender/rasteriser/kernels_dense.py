"""Meshes of about as many triangles as pixels: kernels that set many up at a time, and keep nothing of them (numba).

Planes as ``kernels_cover`` keeps them would take more time to write and to read than to make where they are used. Loops
are cut so that compilers take several triangles at once, in arrays of known sizes.
"""

from __future__ import annotations

import numpy as np

from refbench_diffrender.rasteriser.compiled import compiled, contracted, inlined
from refbench_diffrender.rasteriser.kernels_cover import (
    EMPTY,
    UNSNAPPED,
    centres,
    cover_clipped,
    cover_snapped,
    planes_of,
)

CHUNK = 512
"""Triangles, or pixels, at a time: what is known of them fits into the nearest cache."""
SMALL = 32
"""Extent (1/16 px) below which a triangle has at most two samples along x and two along y."""
OTHER = 16
"""In place of a mask of four samples: the triangle is not small, or reaches behind the camera."""


@inlined
def gather(pos, triangles, t, corners, n):
    """Column ``n`` of ``corners`` [12, CHUNK]: x, y, z, w of the three vertices of triangle ``t``."""
    i, j, k = np.uint32(triangles[t, 0]), np.uint32(triangles[t, 1]), np.uint32(triangles[t, 2])
    for axis in range(4):
        corners[axis, n], corners[4 + axis, n], corners[8 + axis, n] = pos[i, axis], pos[j, axis], pos[k, axis]


@inlined
def planes_at(corners, n):
    """See ``kernels_cover.planes_of``."""
    xi, yi, zi, wi = corners[0, n], corners[1, n], corners[2, n], corners[3, n]
    xj, yj, zj, wj = corners[4, n], corners[5, n], corners[6, n], corners[7, n]
    xk, yk, zk, wk = corners[8, n], corners[9, n], corners[10, n], corners[11, n]
    return planes_of(
        np.float64(xi), np.float64(yi), np.float64(zi), np.float64(wi),
        np.float64(xj), np.float64(yj), np.float64(zj), np.float64(wj),
        np.float64(xk), np.float64(yk), np.float64(zk), np.float64(wk),
    )  # fmt: skip


@inlined
def _cross(ax, ay, bx, by):
    return np.int32(ax * by - ay * bx)


@inlined
def _at_samples(value, dx, dy, sign):
    """An edge function along (dx, dy) where it is ``value``, and at the samples right, below, and right below."""
    dx, dy = np.int32(sign * dx), np.int32(sign * dy)
    owned = (dy < 0) | ((dy == 0) & (dx > 0))
    here = np.int32(sign * value - (0 if owned else 1))
    right, below = np.int32(here - 16 * dy), np.int32(here + 16 * dx)
    return here, right, below, np.int32(right + 16 * dx)


@compiled
def _look(count, rows, cols, places):
    """Find the samples inside ``count`` triangles by the rules of ``kernels_cover``.

    Rows 0 to 5 of ``places`` int32 [9, CHUNK] are x and y of the vertices; rows 6 and 7 become the column and the row
    of the first sample, row 8 the mask of those inside: it, the one to its right, the two below; or ``OTHER``.
    Integers of 32 bits overflow only where a triangle is not small, and registers hold twice as many.
    """
    for n in range(count):
        xi, yi, xj, yj, xk, yk = places[0, n], places[1, n], places[2, n], places[3, n], places[4, n], places[5, n]
        left, right, top, bottom = min(xi, xj, xk), max(xi, xj, xk), min(yi, yj, yk), max(yi, yj, yk)
        c0, c1 = np.int32(max((left + 7) >> 4, 0)), np.int32(min((right - 8) >> 4, cols - 1))
        r0, r1 = np.int32(max((top + 7) >> 4, 0)), np.int32(min((bottom - 8) >> 4, rows - 1))
        x, y = 16 * c0 + 8, 16 * r0 + 8
        ax, bx, cx = np.int32(xi - x), np.int32(xj - x), np.int32(xk - x)
        ay, by, cy = np.int32(yi - y), np.int32(yj - y), np.int32(yk - y)
        # Edge functions at the first sample, relative to it, so that they fit into 32 bits.
        of_a, of_b, of_c = _cross(bx, by, cx, cy), _cross(cx, cy, ax, ay), _cross(ax, ay, bx, by)
        area = np.int32(of_a + of_b + of_c)
        sign = np.int32(area > 0) - np.int32(area < 0)  # without an area, no sample is inside
        a0, a1, a2, a3 = _at_samples(of_a, cx - bx, cy - by, sign)
        b0, b1, b2, b3 = _at_samples(of_b, ax - cx, ay - cy, sign)
        c_0, c_1, c_2, c_3 = _at_samples(of_c, bx - ax, by - ay, sign)
        wide, high = c0 < c1, r0 < r1
        mask = np.int32((a0 | b0 | c_0) >= 0) + 2 * np.int32(((a1 | b1 | c_1) >= 0) & wide)
        mask += 4 * np.int32(((a2 | b2 | c_2) >= 0) & high) + 8 * np.int32(((a3 | b3 | c_3) >= 0) & wide & high)
        # At most 2 x 2 samples; whatever is larger takes the general kernel.
        small = (right - left < SMALL) & (bottom - top < SMALL)
        mask = np.int32(mask) if small else np.int32(OTHER)
        mask = mask if (c0 <= c1) & (r0 <= r1) else np.int32(0)
        places[6, n], places[7, n], places[8, n] = c0, r0, np.int32(OTHER) if left == UNSNAPPED else mask


@compiled
def _settle(pos, triangles, start, places, chosen, count, across, down, nearest, ids):
    """Render ``count`` samples: ``chosen``: four times the triangle, from ``start``, plus the sample of its mask."""
    corners, at = np.empty((12, CHUNK), pos.dtype), np.empty((2, CHUNK))
    pixels, depths = np.empty((2, CHUNK), np.uint32), np.empty(CHUNK, np.float32)
    for n in range(count):
        m, sample = np.uint32(chosen[n] >> 2), chosen[n] & 3
        c, r = np.uint32(places[6, m] + (sample & 1)), np.uint32(places[7, m] + (sample >> 1))
        pixels[0, n], pixels[1, n], at[0, n], at[1, n] = c, r, across[c], down[r]
        gather(pos, triangles, np.uint64(start + m), corners, n)
    for n in range(count):
        zx, zy, z1 = planes_at(corners, n)[9:]
        depths[n] = np.float32(zx * at[0, n] + zy * at[1, n] + z1)
    for n in range(count):
        c, r, z = pixels[0, n], pixels[1, n], depths[n]
        if z < nearest[r, c] and abs(z) <= np.float32(1.0):
            nearest[r, c] = z
            ids[r, c] = start + (chosen[n] >> 2) + 1


@compiled
def cover_dense(pos, xy, triangles, first, last, nearest, ids):
    """``kernels_cover.cover`` without planes: the same numbers."""
    nearest[:] = EMPTY
    ids[:] = 0
    across, down, count = centres(ids.shape[1]), centres(ids.shape[0]), np.uint32(pos.shape[0])
    places, chosen, unused = np.empty((9, CHUNK), np.int32), np.empty(CHUNK, np.int32), np.empty((1, 12))
    for start in range(first, last, CHUNK):
        some = min(last - start, CHUNK)
        for n in range(some):
            t = np.uint64(start + n)
            i, j, k = np.uint32(triangles[t, 0]), np.uint32(triangles[t, 1]), np.uint32(triangles[t, 2])
            if i < count and j < count and k < count:
                places[0, n], places[1, n], places[2, n] = xy[i, 0], xy[i, 1], xy[j, 0]
                places[3, n], places[4, n], places[5, n] = xy[j, 1], xy[k, 0], xy[k, 1]
            else:
                places[:6, n] = 0
        _look(some, ids.shape[0], ids.shape[1], places)
        chosen_yet = 0  # samples that wait, so that they are rendered before a larger triangle of a higher number
        for n in range(some):
            mask = places[8, n]
            if chosen_yet > CHUNK - 4 or (mask == OTHER and chosen_yet > 0):
                _settle(pos, triangles, start, places, chosen, chosen_yet, across, down, nearest, ids)
                chosen_yet = 0
            if mask != OTHER:
                for sample in range(4):  # without branches: which samples lie inside cannot be foreseen
                    chosen[np.uint64(chosen_yet)] = 4 * n + sample
                    chosen_yet += (mask >> sample) & 1
                continue
            t = start + n
            i, j, k = np.uint32(triangles[t, 0]), np.uint32(triangles[t, 1]), np.uint32(triangles[t, 2])
            if xy[i, 0] == UNSNAPPED or xy[j, 0] == UNSNAPPED or xy[k, 0] == UNSNAPPED:
                cover_clipped(t, i, j, k, pos, nearest, ids, unused, 0)
            else:
                cover_snapped(t, i, j, k, pos, xy, across, nearest, ids, unused, 0)
        _settle(pos, triangles, start, places, chosen, chosen_yet, across, down, nearest, ids)


@contracted
def edges_of_row(pos, triangles, ids, fy, lines):
    """Fill ``lines`` [4, cols] at the pixels of a row whose triangles plus one are ``ids`` [cols].

    The edge functions that face vertices 0 and 1, the sum of all three, and z/w; zeros where no triangle is.
    """
    cols = len(ids)
    corners, found = np.zeros((12, CHUNK), pos.dtype), np.empty((4, CHUNK))
    for start in range(0, cols, CHUNK):
        some = min(cols - start, CHUNK)
        for n in range(some):
            if ids[start + n] > 0:
                gather(pos, triangles, np.uint32(ids[start + n] - 1), corners, n)
        for n in range(some):
            fx = (2 * (start + n) + 1) / cols - 1.0
            ix, iy, i1, jx, jy, j1, kx, ky, k1, zx, zy, z1 = planes_at(corners, n)
            at_i, at_j = ix * fx + (iy * fy + i1), jx * fx + (jy * fy + j1)
            found[0, n], found[1, n] = at_i, at_j
            found[2, n] = at_i + at_j + (kx * fx + (ky * fy + k1))
            found[3, n] = zx * fx + (zy * fy + z1)
        for line in range(4):
            for n in range(some):
                lines[line, start + n] = found[line, n] if ids[start + n] > 0 else 0.0
