"""Blending of neighbouring pixels across silhouettes: kernels of one view (numba).

A blend is a pair of neighbouring pixels (the second lies to the right or below) that a silhouette edge separates. Few
pairs are blends, so the forward pass lists them, band by band, as ``((pixel * 2 + down) * 2 + side) * 3 + edge``, where
the pixel is counted row by row, side tells which pixel's triangle the edge belongs to, and an edge is named by the
vertex opposite to it.
"""

from __future__ import annotations

import numpy as np

from refbench_diffrender.rasteriser.compiled import compiled, inlined

PIXEL_EPSILON = 1e-3
"""Added to the denominator of a crossing in the backward pass, away from zero, pixels."""
MARGIN = 1.0 / 16.0
_KNOWN = 8


@compiled
def _is_silhouette(pos, i, j, own, other):
    """Whether nothing continues the surface beyond the edge i - j: both triangles lie on one side of it, or one is."""
    if other < 0:
        return True
    xi, yi, wi = np.float64(pos[i, 0]), np.float64(pos[i, 1]), np.float64(pos[i, 3])
    xj, yj, wj = np.float64(pos[j, 0]), np.float64(pos[j, 1]), np.float64(pos[j, 3])
    # The plane through the eye and the edge, homogeneous; signs tell on which side a vertex lies.
    nx, ny, nw = yi * wj - wi * yj, wi * xj - xi * wj, xi * yj - yi * xj
    first = nx * pos[own, 0] + ny * pos[own, 1] + nw * pos[own, 3]
    second = nx * pos[other, 0] + ny * pos[other, 1] + nw * pos[other, 3]
    return (first < 0.0) == (second < 0.0)


@compiled
def _silhouettes(pos, triangles, opposite, t):
    """Bit ``n`` is set where edge ``n`` of a triangle in front of the camera is a silhouette."""
    found = _KNOWN
    for n in range(3):
        if not pos[triangles[t, n], 3] > 0.0:
            return found
    for n in range(3):
        i, j, own = triangles[t, (n + 1) % 3], triangles[t, (n + 2) % 3], triangles[t, n]
        if _is_silhouette(pos, i, j, own, opposite[t, n]):
            found |= 1 << n
    return found


@compiled
def _ends(pos, i, j, down, r, c, rows, cols):
    """An edge's ends in pixels from the centre of (r, c): along and across the pair, of i and of j."""
    wi, wj = np.float64(pos[i, 3]), np.float64(pos[j, 3])
    xi, yi = (pos[i, 0] / wi + 1.0) * (0.5 * cols) - (c + 0.5), (pos[i, 1] / wi + 1.0) * (0.5 * rows) - (r + 0.5)
    xj, yj = (pos[j, 0] / wj + 1.0) * (0.5 * cols) - (c + 0.5), (pos[j, 1] / wj + 1.0) * (0.5 * rows) - (r + 0.5)
    if down:
        return yi, xi, yj, xj
    return xi, yi, xj, yj


@compiled
def _crossing(pos, triangles, t, flags, down, side, r, c, rows, cols):
    """The edge that the line through both centres crosses last, and how far from (r, c) towards the other pixel.

    The edge is -1 where it is no silhouette, runs rather along the line than across, or is crossed too far away.
    """
    best, reach, steep = -1, -np.inf, False
    for n in range(3):
        i, j = triangles[t, (n + 1) % 3], triangles[t, (n + 2) % 3]
        along_i, across_i, along_j, across_j = _ends(pos, i, j, down, r, c, rows, cols)
        if (across_i < 0.0) == (across_j < 0.0):
            continue
        span = across_j - across_i
        # Where the line between the ends meets the axis through both centres (across = 0).
        place = (along_i * across_j - along_j * across_i) / span
        if side:
            place = -place
        # The last crossing on the way to the other pixel counts, whatever it is tested for afterwards.
        if place > reach:
            best, reach, steep = n, place, abs(span) >= abs(along_j - along_i)
    if best < 0 or not flags >> best & 1 or not steep or reach < -MARGIN or reach > 1.0 + MARGIN:
        return -1, 0.0
    return best, min(max(reach, 0.0), 1.0)


@compiled
def _row_of_marks(pos, triangles, opposite, rast, r, flags, marks):
    """Fill ``marks`` uint8 [cols]: 1 where a triangle with a silhouette edge is seen in row ``r``."""
    for c in range(rast.shape[1]):
        marks[c] = 0
        if rast[r, c, 3] > 0.0:
            t = np.uint32(rast[r, c, 3]) - np.uint32(1)
            known = flags[t]
            if known == 0:
                known = _silhouettes(pos, triangles, opposite, t)
                flags[t] = known
            marks[c] = known != _KNOWN


@compiled
def find_blends(pos, triangles, opposite, rast, first, last, flags, blends, alphas, count):
    """List the blends of rows ``first`` to ``last`` of one view.

    ``blends`` int64 and ``alphas`` float64 have room for two a pixel; ``count`` [1] becomes how many there are. A
    positive alpha goes to the first pixel. ``flags`` uint8 [T], zero at first, keeps what is known of edges.
    """
    rows, cols = rast.shape[0], rast.shape[1]
    found = 0
    marks, below = np.zeros(cols + 1, np.uint8), np.zeros(cols + 1, np.uint8)
    _row_of_marks(pos, triangles, opposite, rast, first, flags, marks)
    for r in range(first, last):
        below[:] = 0
        if r + 1 < rows:
            _row_of_marks(pos, triangles, opposite, rast, r + 1, flags, below)
        for c in range(cols):
            if (marks[c] | marks[c + 1] | below[c]) == 0:  # most pixels, at little cost
                continue
            own, near = int(rast[r, c, 3]), rast[r, c, 2]
            for down in range(2):
                r1, c1 = r + down, c + 1 - down
                if r1 >= rows or c1 >= cols:
                    continue
                other = int(rast[r1, c1, 3])
                if own == other:
                    continue
                # The nearer triangle's edge hides the other one; where only one is there, it is that one's.
                side = 1 if own == 0 or (other > 0 and rast[r1, c1, 2] < near) else 0
                t = (other if side else own) - 1
                known = flags[t]
                if known == _KNOWN:
                    continue
                edge, reach = _crossing(
                    pos, triangles, t, known, down, side, r1 if side else r, c1 if side else c, rows, cols
                )
                if edge >= 0:
                    blends[found] = (((r * cols + c) * 2 + down) * 2 + side) * 3 + edge
                    # The edge passes half way at 0.5: what lies beyond is covered by the other pixel's colour.
                    alphas[found] = reach - 0.5 if side else 0.5 - reach
                    found += 1
        marks, below = below, marks
    count[0] = found


@inlined
def _pixels(code, alpha, cols):
    """(row, column) of the first pixel of a blend, of the second, and of the one that changes."""
    down, place = code // 6 % 2, code // 12
    r, c = place // cols, place % cols
    r1, c1 = r + down, c + 1 - down
    r2, c2 = (r, c) if alpha > 0.0 else (r1, c1)
    return r, c, r1, c1, r2, c2


@compiled
def blend(colour, channels, blends, alphas, counts, out):
    """Add to ``out``, a copy of ``colour`` [rows, cols, C], what the blends of one view bring to the first channels.

    ``blends`` and ``alphas`` are [bands, most], of which the first ``counts`` [bands] ones are filled.
    """
    for band in range(counts.shape[0]):
        for n in range(counts[band]):
            alpha = alphas[band, n]
            r, c, r1, c1, r2, c2 = _pixels(blends[band, n], alpha, colour.shape[1])
            for m in range(channels):
                out[r2, c2, m] += alpha * (np.float64(colour[r1, c1, m]) - colour[r, c, m])


@compiled
def blend_backward(pos, triangles, rast, colour, channels, g_out, blends, alphas, counts, epsilon, g_colour, g_pos):
    """Add the blends' gradients to ``g_colour``, a copy of ``g_out``, and to ``g_pos`` [V, 4] of one view."""
    rows, cols = colour.shape[0], colour.shape[1]
    for band in range(counts.shape[0]):
        for n in range(counts[band]):
            code, alpha = blends[band, n], alphas[band, n]
            r, c, r1, c1, r2, c2 = _pixels(code, alpha, cols)
            g_alpha = 0.0
            for m in range(channels):
                # out = colour + alpha (second - first).
                g = np.float64(g_out[r2, c2, m])
                g_colour[r1, c1, m] += alpha * g
                g_colour[r, c, m] -= alpha * g
                g_alpha += g * (np.float64(colour[r1, c1, m]) - colour[r, c, m])
            if abs(alpha) < 0.5 and g_alpha != 0.0:
                edge, side, down = code % 3, code // 3 % 2, code // 6 % 2
                r0, c0 = (r1, c1) if side else (r, c)
                t = int(rast[r0, c0, 3]) - 1
                i, j = triangles[t, (edge + 1) % 3], triangles[t, (edge + 2) % 3]
                _to_edge(pos, i, j, down, r0, c0, rows, cols, -g_alpha, epsilon, g_pos)


@compiled
def _to_edge(pos, i, j, down, r, c, rows, cols, g_place, epsilon, g_pos):
    """Add the gradient of the place of a crossing, counted along the positive axis from (r, c)."""
    along_i, across_i, along_j, across_j = _ends(pos, i, j, down, r, c, rows, cols)
    span = across_j - across_i
    # Damped as published: steep edges would have gradients without bound.
    span += epsilon if span >= 0.0 else -epsilon
    g = g_place / span
    place = (along_i * across_j - along_j * across_i) / span
    g_along_i, g_along_j = g * across_j, -g * across_i
    g_across_i, g_across_j = g * (place - along_j), g * (along_i - place)
    half_along, half_across = 0.5 * (rows if down else cols), 0.5 * (cols if down else rows)
    for n, g_along, g_across in ((i, g_along_i, g_across_i), (j, g_along_j, g_across_j)):
        w = np.float64(pos[n, 3])
        g_x = (g_across * half_across if down else g_along * half_along) / w
        g_y = (g_along * half_along if down else g_across * half_across) / w
        g_pos[n, 0] += g_x
        g_pos[n, 1] += g_y
        # x / w: the gradient to w is minus that to x and y times x / w and y / w, over w.
        g_pos[n, 3] -= (g_x * pos[n, 0] + g_y * pos[n, 1]) / w
