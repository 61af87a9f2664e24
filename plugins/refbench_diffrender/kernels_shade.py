"""What is seen at every covered pixel, and the way back to the vertices: kernels of one band of one view (numba)."""

from __future__ import annotations

import numpy as np

from refbench_diffrender.compiled import contracted, inlined
from refbench_diffrender.kernels_cover import edge_planes
from refbench_diffrender.kernels_texture import fetch, slope

AREA_EPSILON = 1e-6
"""Added to the clip-space area of a triangle in the backward pass, away from zero."""


@contracted
def shade(pos, triangles, ids, first, last, attributes, texture, masked, rast, found, sampled, span):
    """Fill rows ``first`` to ``last``.

    ``rast`` [rows, cols, 4] becomes (u, v, z/w, id + 1), ``found`` [rows, cols, C] the interpolated attributes and
    ``sampled`` [rows, cols, Ct] the texture at the first two of them (none without channels), its first ``masked``
    channels 0 where no triangle is.
    ``span`` int32 [2] becomes the smallest and the largest vertex number seen. A rounded triangle may cover a sample
    beside it: the weights are clamped there, z/w lies on the triangle's plane.
    """
    rows, cols = ids.shape
    low, high = pos.shape[0], -1
    for r in range(first, last):
        fy, before = (2 * r + 1) / rows - 1.0, -1
        i = j = k = 0
        ix = i1 = jx = j1 = ax = a1 = zx = z1 = 0.0
        for c in range(cols):
            t = ids[r, c] - 1
            if t < 0:
                for n in range(4):
                    rast[r, c, n] = 0.0
                for n in range(attributes.shape[1]):
                    found[r, c, n] = 0.0
                continue
            if t != before:
                before, i, j, k = t, triangles[t, 0], triangles[t, 1], triangles[t, 2]
                low, high = min(low, i, j, k), max(high, i, j, k)
                ix, iy, i0, jx, jy, j0, kx, ky, k0, zx, zy, z0 = edge_planes(pos, i, j, k)
                i1, j1, z1 = iy * fy + i0, jy * fy + j0, zy * fy + z0
                ax, a1 = ix + jx + kx, i1 + j1 + (ky * fy + k0)
            fx = (2 * c + 1) / cols - 1.0
            area = ax * fx + a1
            inverse = 1.0 / area if area != 0.0 else 0.0
            u, v = min(max((ix * fx + i1) * inverse, 0.0), 1.0), min(max((jx * fx + j1) * inverse, 0.0), 1.0)
            if u + v > 1.0:
                u, v = u / (u + v), v / (u + v)
            rest = 1.0 - u - v
            rast[r, c, 0] = u
            rast[r, c, 1] = v
            rast[r, c, 2] = zx * fx + z1
            rast[r, c, 3] = t + 1
            for n in range(attributes.shape[1]):
                found[r, c, n] = u * attributes[i, n] + v * attributes[j, n] + rest * attributes[k, n]
        if texture.shape[2] > 0:
            for c in range(cols):
                fetch(texture, np.float64(found[r, c, 0]), np.float64(found[r, c, 1]), sampled, r, c)
                if ids[r, c] == 0:
                    for n in range(masked):
                        sampled[r, c, n] = 0.0
    span[0], span[1] = low, high


@inlined
def _add(gradient, n, x, y, w):
    gradient[n, 0] += x
    gradient[n, 1] += y
    gradient[n, 2] += w


@inlined
def _flush(pos, i, j, k, fy, ax, a1, bx, b1, cx, c1, base, gradient, weighted):
    """Hand what a run of pixels of one triangle has summed up on to its vertices, and forget it.

    ``ax``, ``a1`` are the gradient to the edge function that faces i, times x and times 1, ``b`` and ``c`` those of j
    and k; ``weighted`` [3, C] is the one to the attributes. An edge function is the determinant of the pixel and two
    vertices, hence the cross products.
    """
    xi, yi, wi = np.float64(pos[i, 0]), np.float64(pos[i, 1]), np.float64(pos[i, 3])
    xj, yj, wj = np.float64(pos[j, 0]), np.float64(pos[j, 1]), np.float64(pos[j, 3])
    xk, yk, wk = np.float64(pos[k, 0]), np.float64(pos[k, 1]), np.float64(pos[k, 3])
    ay, by, cy = fy * a1, fy * b1, fy * c1
    i, j, k = i - base, j - base, k - base
    _add(
        gradient,
        i,
        by * wk - b1 * yk + yj * c1 - wj * cy,
        b1 * xk - bx * wk + wj * cx - xj * c1,
        bx * yk - by * xk + xj * cy - yj * cx,
    )
    _add(
        gradient,
        j,
        cy * wi - c1 * yi + yk * a1 - wk * ay,
        c1 * xi - cx * wi + wk * ax - xk * a1,
        cx * yi - cy * xi + xk * ay - yk * ax,
    )
    _add(
        gradient,
        k,
        ay * wj - a1 * yj + yi * b1 - wi * by,
        a1 * xj - ax * wj + wi * bx - xi * b1,
        ax * yj - ay * xj + xi * by - yi * bx,
    )
    if gradient.shape[1] > 3:
        for n in range(weighted.shape[1]):
            gradient[i, 3 + n] += weighted[0, n]
            gradient[j, 3 + n] += weighted[1, n]
            gradient[k, 3 + n] += weighted[2, n]
            weighted[0, n] = weighted[1, n] = weighted[2, n] = 0.0


@contracted
def shade_backward(
    pos, triangles, rast, found, first, last, attributes, texture, g_rast, g_found, g_sampled, epsilon, base, gradient
):
    """Add the gradients of rows ``first`` to ``last`` to ``gradient`` [vertices of the band, 3 + C or 3].

    Row ``n`` belongs to vertex ``base + n``: x, y, w, then the attributes where there is room for them. Cotangents
    without channels are absent. ``g_rast`` [rows, cols, >= 2] is the one of u and v.
    """
    rows, cols, channels = rast.shape[0], rast.shape[1], attributes.shape[1]
    wanted = gradient.shape[1] > 3
    totals, weighted = np.zeros((cols, channels)), np.zeros((3, channels))
    for r in range(first, last):
        _gather(r, found, texture, g_found, g_sampled, totals)
        fy, before = (2 * r + 1) / rows - 1.0, -1
        i = j = k = 0
        ix = i1 = jx = j1 = kx = k1 = 0.0
        si = si1 = sj = sj1 = sk = sk1 = 0.0
        for c in range(cols):
            t = int(rast[r, c, 3]) - 1
            if t < 0:
                continue
            if t != before:
                if before >= 0:
                    _flush(pos, i, j, k, fy, si, si1, sj, sj1, sk, sk1, base, gradient, weighted)
                si = si1 = sj = sj1 = sk = sk1 = 0.0
                before, i, j, k = t, triangles[t, 0], triangles[t, 1], triangles[t, 2]
                ix, iy, i0, jx, jy, j0, kx, ky, k0 = edge_planes(pos, i, j, k)[:9]
                i1, j1, k1 = iy * fy + i0, jy * fy + j0, ky * fy + k0
            u, v = np.float64(rast[r, c, 0]), np.float64(rast[r, c, 1])
            along_u, along_v = 0.0, 0.0
            if g_rast.shape[2] > 0:
                along_u, along_v = np.float64(g_rast[r, c, 0]), np.float64(g_rast[r, c, 1])
            for n in range(channels):
                g, at_k = totals[c, n], np.float64(attributes[k, n])
                along_u += g * (attributes[i, n] - at_k)
                along_v += g * (attributes[j, n] - at_k)
                if wanted:
                    weighted[0, n] += g * u
                    weighted[1, n] += g * v
                    weighted[2, n] += g * (1.0 - u - v)
            fx = (2 * c + 1) / cols - 1.0
            ai, aj, ak = ix * fx + i1, jx * fx + j1, kx * fx + k1
            area = ai + aj + ak
            area += epsilon if area >= 0.0 else -epsilon
            if area != 0.0:
                inverse = 1.0 / area
                gi, gj = along_u * inverse, along_v * inverse
                gk = -(gi * ai + gj * aj) * inverse
                gi += gk
                gj += gk
                si, si1 = si + gi * fx, si1 + gi
                sj, sj1 = sj + gj * fx, sj1 + gj
                sk, sk1 = sk + gk * fx, sk1 + gk
        if before >= 0:
            _flush(pos, i, j, k, fy, si, si1, sj, sj1, sk, sk1, base, gradient, weighted)


@contracted
def _gather(r, found, texture, g_found, g_sampled, totals):
    """Fill ``totals`` [cols, C] with the gradient to what was interpolated in row ``r``."""
    for c in range(found.shape[1]):
        for n in range(found.shape[2]):
            totals[c, n] = g_found[r, c, n] if g_found.shape[2] > 0 else 0.0
    if g_sampled.shape[2] > 0:
        for c in range(found.shape[1]):
            along = slope(texture, np.float64(found[r, c, 0]), np.float64(found[r, c, 1]), g_sampled, r, c)
            totals[c, 0] += along[0]
            totals[c, 1] += along[1]


@contracted
def collect(flat, offsets, spans, g_pos, g_attributes):
    """Add the bands' gradients, in their order, to ``g_pos`` [V, 4] and ``g_attributes`` [V, C] of one view.

    Band ``n`` lies at ``flat[offsets[n]:offsets[n + 1]]``, its first row being vertex ``spans[n, 0]``.
    """
    for band in range(spans.shape[0]):
        base = spans[band, 0]
        for row in range(offsets[band], offsets[band + 1]):
            vertex = base + row - offsets[band]
            g_pos[vertex, 0] += flat[row, 0]
            g_pos[vertex, 1] += flat[row, 1]
            g_pos[vertex, 3] += flat[row, 2]
            for n in range(flat.shape[1] - 3):
                g_attributes[vertex, n] += flat[row, 3 + n]


@contracted
def interpolate(triangles, rast, first, last, attributes, found, span):
    """Fill rows of ``found`` [rows, cols, C] with the weights that ``rast`` holds; see ``shade`` for ``span``."""
    low, high = attributes.shape[0], -1
    for r in range(first, last):
        for c in range(rast.shape[1]):
            t = int(rast[r, c, 3]) - 1
            if t < 0:
                for n in range(attributes.shape[1]):
                    found[r, c, n] = 0.0
                continue
            i, j, k = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            low, high = min(low, i, j, k), max(high, i, j, k)
            u, v = np.float64(rast[r, c, 0]), np.float64(rast[r, c, 1])
            rest = 1.0 - u - v
            for n in range(attributes.shape[1]):
                found[r, c, n] = u * attributes[i, n] + v * attributes[j, n] + rest * attributes[k, n]
    span[0], span[1] = low, high


@contracted
def interpolate_backward(triangles, rast, first, last, attributes, g_found, base, g_rast, gradient):
    """Fill rows of ``g_rast`` [rows, cols, 4] and add to ``gradient`` [vertices of the band, 3 + C], or leave it."""
    for r in range(first, last):
        for c in range(rast.shape[1]):
            t = int(rast[r, c, 3]) - 1
            if t < 0:
                continue
            i, j, k = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            u, v = np.float64(rast[r, c, 0]), np.float64(rast[r, c, 1])
            rest = 1.0 - u - v
            along_u, along_v = 0.0, 0.0
            for n in range(attributes.shape[1]):
                g, at_k = np.float64(g_found[r, c, n]), np.float64(attributes[k, n])
                along_u += g * (attributes[i, n] - at_k)
                along_v += g * (attributes[j, n] - at_k)
                if gradient.shape[1] > 3:
                    gradient[i - base, 3 + n] += g * u
                    gradient[j - base, 3 + n] += g * v
                    gradient[k - base, 3 + n] += g * rest
            g_rast[r, c, 0] = along_u
            g_rast[r, c, 1] = along_v
