"""What is seen at every covered pixel, and the way back to the vertices: kernels of one band of one view (numba)."""

from __future__ import annotations

import numpy as np

from refbench_diffrender.rasteriser.compiled import contracted, inlined
from refbench_diffrender.rasteriser.kernels_dense import CHUNK, edges_of_row, gather, planes_at
from refbench_diffrender.rasteriser.kernels_texture import fetch_row, slope_row

AREA_EPSILON = 1e-6
"""Added to the clip-space area of a triangle in the backward pass, away from zero."""


@contracted
def _row_of_weights(pos, planes, triangles, ids, r, lines, rast):
    """Fill row ``r`` of ``rast`` and, in float64, its u and v: rows 0 and 1 of ``lines`` [4, cols].

    Loops are short so that compilers take several pixels at once.
    """
    rows, cols = ids.shape
    fy = (2 * r + 1) / rows - 1.0
    if planes.shape[0] == 0:
        edges_of_row(pos, triangles, ids[r], fy, lines)
    for c in range(cols if planes.shape[0] > 0 else 0):
        t, fx = np.uint32(ids[r, c]), (2 * c + 1) / cols - 1.0
        lines[0, c] = planes[t, 0] * fx + (planes[t, 1] * fy + planes[t, 2])
        lines[1, c] = planes[t, 3] * fx + (planes[t, 4] * fy + planes[t, 5])
        lines[2, c] = planes[t, 6] * fx + (planes[t, 7] * fy + planes[t, 8])
        lines[3, c] = planes[t, 9] * fx + (planes[t, 10] * fy + planes[t, 11])
    for c in range(cols):
        # Perspective-correct weights: edge functions over their sum, clamped where rounding took in a sample beside.
        area = lines[2, c]
        inverse = 1.0 / area if area != 0.0 else 0.0
        u, v = min(max(lines[0, c] * inverse, 0.0), 1.0), min(max(lines[1, c] * inverse, 0.0), 1.0)
        less = 1.0 / (u + v) if u + v > 1.0 else 1.0
        lines[0, c], lines[1, c] = u * less, v * less
    for c in range(cols):
        rast[r, c, 0], rast[r, c, 1], rast[r, c, 2], rast[r, c, 3] = lines[0, c], lines[1, c], lines[3, c], ids[r, c]


@contracted
def shade(pos, planes, triangles, ids, first, last, attributes, texture, masked, rast, found, sampled, span):
    """Fill rows ``first`` to ``last``.

    ``planes`` and ``ids`` are what ``cover`` left, row 0 of ``planes`` zeros; triangles without planes, of no rows, are
    set up again.

    ``rast`` [rows, cols, 4] becomes (u, v, z/w, id + 1), ``found`` [rows, cols, C] the interpolated attributes and
    ``sampled`` [rows, cols, Ct] the texture at the first two of them (none without channels), its first ``masked``
    channels 0 where no triangle is.
    ``span`` int32 [2] becomes the smallest and the largest vertex number seen. A rounded triangle may cover a sample
    beside it: the weights are clamped there, z/w lies on the triangle's plane.
    """
    cols, channels = ids.shape[1], attributes.shape[1]
    lines, corners = np.empty((4, cols)), np.zeros((3, cols), np.uint32)
    texels, fractions = np.empty((2, cols), np.int32), np.empty((2, cols), texture.dtype)
    low, high = 2**31 - 1, -1
    for r in range(first, last):
        _row_of_weights(pos, planes, triangles, ids, r, lines, rast)
        for c in range(cols):
            if ids[r, c] > 0:
                t = np.uint32(ids[r, c] - 1)
                i, j, k = triangles[t, 0], triangles[t, 1], triangles[t, 2]
                corners[0, c], corners[1, c], corners[2, c] = i, j, k
                low, high = min(low, min(i, min(j, k))), max(high, max(i, max(j, k)))
        for c in range(cols):
            i, j, k, u, v = corners[0, c], corners[1, c], corners[2, c], lines[0, c], lines[1, c]
            rest = 1.0 - u - v
            if ids[r, c] == 0:
                u = v = rest = 0.0
            if channels == 2:  # as refinements have; known numbers are unrolled
                for n in range(2):
                    found[r, c, n] = u * attributes[i, n] + v * attributes[j, n] + rest * attributes[k, n]
            elif channels == 4:
                for n in range(4):
                    found[r, c, n] = u * attributes[i, n] + v * attributes[j, n] + rest * attributes[k, n]
            else:
                for n in range(channels):
                    found[r, c, n] = u * attributes[i, n] + v * attributes[j, n] + rest * attributes[k, n]
        if texture.shape[2] > 0:
            fetch_row(texture, found, r, texels, fractions, sampled)
            if masked > 0:
                for c in range(cols):
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
def _to_vertices(xi, yi, wi, xj, yj, wj, xk, yk, wk, fy, ax, a1, bx, b1, cx, c1):
    """The gradients to x, y, w of the three vertices of what pixels of one row and triangle have summed up.

    ``ax``, ``a1`` are the gradient to the edge function that faces i, times x and times 1, ``b`` and ``c`` those of j
    and k. An edge function is the determinant of the pixel and two vertices, hence the cross products.
    """
    ay, by, cy = fy * a1, fy * b1, fy * c1
    return (
        by * wk - b1 * yk + yj * c1 - wj * cy,
        b1 * xk - bx * wk + wj * cx - xj * c1,
        bx * yk - by * xk + xj * cy - yj * cx,
        cy * wi - c1 * yi + yk * a1 - wk * ay,
        c1 * xi - cx * wi + wk * ax - xk * a1,
        cx * yi - cy * xi + xk * ay - yk * ax,
        ay * wj - a1 * yj + yi * b1 - wi * by,
        a1 * xj - ax * wj + wi * bx - xi * b1,
        ax * yj - ay * xj + xi * by - yi * bx,
    )


@inlined
def _slopes(at_i, at_j, area, along_u, along_v, epsilon):
    """The gradients to the three edge functions."""
    # u = e_i / A and v = e_j / A with A = e_i + e_j + e_k: quotient rule, A kept away from 0 as published.
    area += epsilon if area >= 0.0 else -epsilon
    inverse = 1.0 / area if area != 0.0 else 0.0
    to_i, to_j = along_u * inverse, along_v * inverse
    to_k = -(to_i * at_i + to_j * at_j) * inverse
    return to_i + to_k, to_j + to_k, to_k


@contracted
def _scatter_runs(pos, planes, triangles, ids, fy, totals, lines, epsilon, base, gradient):
    """Hand the gradients of a row on to its vertices, those of a triangle's pixels at once.

    ``ids`` int32 [cols] are the numbers of triangles plus one, ``totals`` [C, cols] the gradients to what was
    interpolated, ``lines`` [7, cols] the gradients to u and v, u, v, and room. For ``base`` and ``gradient`` see
    ``shade_backward``.
    """
    cols = len(ids)
    for c in range(cols):
        t, fx = np.uint32(ids[c]), (2 * c + 1) / cols - 1.0
        at_i = planes[t, 0] * fx + (planes[t, 1] * fy + planes[t, 2])
        at_j = planes[t, 3] * fx + (planes[t, 4] * fy + planes[t, 5])
        area = planes[t, 6] * fx + (planes[t, 7] * fy + planes[t, 8])
        lines[4, c], lines[5, c], lines[6, c] = _slopes(at_i, at_j, area, lines[0, c], lines[1, c], epsilon)
    start = 0
    while start < cols:
        # A run of one triangle's pixels: its edge functions are affine in x, so sums of g x and of g are enough.
        t, end = ids[start], start + 1
        while end < cols and ids[end] == t:
            end += 1
        if t > 0:
            si = si1 = sj = sj1 = sk = sk1 = 0.0
            for c in range(start, end):
                fx = (2 * c + 1) / cols - 1.0
                si, si1 = si + lines[4, c] * fx, si1 + lines[4, c]
                sj, sj1 = sj + lines[5, c] * fx, sj1 + lines[5, c]
                sk, sk1 = sk + lines[6, c] * fx, sk1 + lines[6, c]
            i, j, k = triangles[t - 1, 0], triangles[t - 1, 1], triangles[t - 1, 2]
            xi, yi, wi = np.float64(pos[i, 0]), np.float64(pos[i, 1]), np.float64(pos[i, 3])
            xj, yj, wj = np.float64(pos[j, 0]), np.float64(pos[j, 1]), np.float64(pos[j, 3])
            xk, yk, wk = np.float64(pos[k, 0]), np.float64(pos[k, 1]), np.float64(pos[k, 3])
            to = _to_vertices(xi, yi, wi, xj, yj, wj, xk, yk, wk, fy, si, si1, sj, sj1, sk, sk1)
            i, j, k = np.uint32(i - base), np.uint32(j - base), np.uint32(k - base)
            _add(gradient, i, to[0], to[1], to[2])
            _add(gradient, j, to[3], to[4], to[5])
            _add(gradient, k, to[6], to[7], to[8])
            if gradient.shape[1] > 3:
                for n in range(totals.shape[0]):
                    to_i = to_j = to_k = 0.0
                    for c in range(start, end):
                        g, u, v = totals[n, c], lines[2, c], lines[3, c]
                        to_i, to_j, to_k = to_i + g * u, to_j + g * v, to_k + g * (1.0 - u - v)
                    gradient[i, 3 + n] += to_i
                    gradient[j, 3 + n] += to_j
                    gradient[k, 3 + n] += to_k
        start = end


@contracted
def _scatter_pixels(pos, triangles, ids, fy, totals, lines, epsilon, base, gradient):
    """``_scatter_runs`` without planes, for triangles of about one pixel: many pixels are worked out at once."""
    cols = len(ids)
    corners, found = np.zeros((12, CHUNK), pos.dtype), np.empty((9, CHUNK))
    for start in range(0, cols, CHUNK):
        some = min(cols - start, CHUNK)
        for n in range(some):
            if ids[start + n] > 0:
                gather(pos, triangles, np.uint32(ids[start + n] - 1), corners, n)
        for n in range(some):
            c = start + n
            fx = (2 * c + 1) / cols - 1.0
            ix, iy, i1, jx, jy, j1, kx, ky, k1 = planes_at(corners, n)[:9]
            at_i, at_j = ix * fx + (iy * fy + i1), jx * fx + (jy * fy + j1)
            area = at_i + at_j + (kx * fx + (ky * fy + k1))
            si, sj, sk = _slopes(at_i, at_j, area, lines[0, c], lines[1, c], epsilon)
            xi, yi, wi = np.float64(corners[0, n]), np.float64(corners[1, n]), np.float64(corners[3, n])
            xj, yj, wj = np.float64(corners[4, n]), np.float64(corners[5, n]), np.float64(corners[7, n])
            xk, yk, wk = np.float64(corners[8, n]), np.float64(corners[9, n]), np.float64(corners[11, n])
            (
                found[0, n], found[1, n], found[2, n], found[3, n], found[4, n], found[5, n], found[6, n],
                found[7, n], found[8, n],
            ) = _to_vertices(xi, yi, wi, xj, yj, wj, xk, yk, wk, fy, si * fx, si, sj * fx, sj, sk * fx, sk)  # fmt: skip
        for n in range(some):
            if ids[start + n] > 0:
                c, t = start + n, np.uint32(ids[start + n] - 1)
                i, j, k = (
                    np.uint32(triangles[t, 0] - base), np.uint32(triangles[t, 1] - base),
                    np.uint32(triangles[t, 2] - base),
                )  # fmt: skip
                _add(gradient, i, found[0, n], found[1, n], found[2, n])
                _add(gradient, j, found[3, n], found[4, n], found[5, n])
                _add(gradient, k, found[6, n], found[7, n], found[8, n])
                if gradient.shape[1] > 3:
                    u, v = lines[2, c], lines[3, c]
                    for m in range(totals.shape[0]):
                        gradient[i, 3 + m] += totals[m, c] * u
                        gradient[j, 3 + m] += totals[m, c] * v
                        gradient[k, 3 + m] += totals[m, c] * (1.0 - u - v)


@contracted
def shade_backward(
    pos, planes, triangles, rast, found, first, last, attributes, texture, g_rast, g_found, g_sampled, epsilon, base,
    gradient,
):  # fmt: skip
    """Add the gradients of rows ``first`` to ``last`` to ``gradient`` [vertices of the band, 3 + C or 3].

    Row ``n`` belongs to vertex ``base + n``: x, y, w, then the attributes where there is room for them. Cotangents
    without channels are absent. ``g_rast`` [rows, cols, >= 2] is the one of u and v.
    """
    rows, cols, channels = rast.shape[0], rast.shape[1], attributes.shape[1]
    totals, lines, ids = np.empty((channels, cols)), np.empty((7, cols)), np.empty(cols, np.int32)
    texels, fractions = np.empty((2, cols), np.int32), np.empty((2, cols), texture.dtype)
    corners = np.zeros((3, cols), np.uint32)
    for r in range(first, last):
        for n in range(channels):
            for c in range(cols):
                totals[n, c] = g_found[r, c, n] if g_found.shape[2] > 0 else 0.0
        if g_sampled.shape[2] > 0:
            slope_row(texture, found, g_sampled, r, texels, fractions, totals)
        _row_to_weights(triangles, rast, r, attributes, g_rast, totals, ids, corners, lines)
        fy = (2 * r + 1) / rows - 1.0
        if planes.shape[0] > 0:
            _scatter_runs(pos, planes, triangles, ids, fy, totals, lines, epsilon, base, gradient)
        else:
            _scatter_pixels(pos, triangles, ids, fy, totals, lines, epsilon, base, gradient)


@contracted
def _row_to_weights(triangles, rast, r, attributes, g_rast, totals, ids, corners, lines):
    """Fill ``lines`` [>= 4, cols]: the gradients to u and v at the pixels of row ``r``, u and v.

    ``totals`` [C, cols] are the gradients to what was interpolated; ``ids`` int32 [cols] and ``corners`` uint32
    [3, cols] become the numbers of the triangles plus one, and of their vertices.
    """
    cols = rast.shape[1]
    for c in range(cols):
        ids[c], lines[2, c], lines[3, c] = np.int32(rast[r, c, 3]), rast[r, c, 0], rast[r, c, 1]
    for c in range(cols):
        lines[0, c] = g_rast[r, c, 0] if g_rast.shape[2] > 0 else 0.0
        lines[1, c] = g_rast[r, c, 1] if g_rast.shape[2] > 0 else 0.0
        if ids[c] > 0:
            t = np.uint32(ids[c] - 1)
            corners[0, c], corners[1, c], corners[2, c] = triangles[t, 0], triangles[t, 1], triangles[t, 2]
    for n in range(totals.shape[0]):
        for c in range(cols):
            g, at_k = totals[n, c], np.float64(attributes[corners[2, c], n])
            # found = u a_i + v a_j + (1 - u - v) a_k, hence the differences to a_k.
            lines[0, c] += g * (attributes[corners[0, c], n] - at_k)
            lines[1, c] += g * (attributes[corners[1, c], n] - at_k)


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
