"""Bilinear texture lookups that wrap around, and their gradients: kernels of one view (numba)."""

from __future__ import annotations

import numpy as np

from refbench_diffrender.rasteriser.compiled import contracted, inlined


@inlined
def taps(u, size):
    """The two texels that a coordinate lies between, and the weight of the second."""
    # Texel centres lie at half numbers; coordinates wrap with period 1.
    place = (u - np.floor(u)) * size - 0.5
    before = np.floor(place)
    first = int(before)
    second = first + 1
    return first + size if first < 0 else first, second if second < size else 0, place - before


@contracted
def _row_of_taps(uv, r, height, width, texels, fractions):
    """Fill ``texels`` int32 [2, cols] and ``fractions`` [2, cols]: first taps of row ``r``, weights of the second.

    Along x and along y; first taps may be -1. A loop of its own, as compilers then take several pixels at once.
    """
    for c in range(uv.shape[1]):
        u = np.float64(uv[r, c, 0])
        x = (u - np.floor(u)) * width - 0.5
        v = np.float64(uv[r, c, 1])
        y = (v - np.floor(v)) * height - 0.5
        before, above = np.floor(x), np.floor(y)
        texels[0, c], texels[1, c] = np.int32(before), np.int32(above)
        fractions[0, c], fractions[1, c] = x - before, y - above


@inlined
def _wrapped(first, size):
    """Both taps of a coordinate, as unsigned numbers: these are looked up without a test of the sign."""
    second = first + 1
    return np.uint32(first + size if first < 0 else first), np.uint32(second if second < size else 0)


@inlined
def _mixed(image, n, x0, x1, y0, y1, w00, w10, w01, w11):
    return w00 * image[y0, x0, n] + w10 * image[y0, x1, n] + w01 * image[y1, x0, n] + w11 * image[y1, x1, n]


@contracted
def fetch_row(image, uv, r, texels, fractions, out):
    """Fill row ``r`` of ``out`` [rows, cols, C] with the texture ``image`` [h, w, C] at ``uv`` [rows, cols, >= 2].

    ``texels`` int32 [2, cols] and ``fractions`` [2, cols], of the type of ``image``, are room to work in.
    """
    height, width, channels = image.shape
    _row_of_taps(uv, r, height, width, texels, fractions)
    one = np.float32(1.0)
    for c in range(uv.shape[1]):
        x0, x1 = _wrapped(texels[0, c], width)
        y0, y1 = _wrapped(texels[1, c], height)
        s, t = fractions[0, c], fractions[1, c]
        w00, w10, w01, w11 = (one - s) * (one - t), s * (one - t), (one - s) * t, s * t
        if channels == 4:  # as refinements have; a known number is unrolled
            for n in range(4):
                out[r, c, n] = _mixed(image, n, x0, x1, y0, y1, w00, w10, w01, w11)
        else:
            for n in range(channels):
                out[r, c, n] = _mixed(image, n, x0, x1, y0, y1, w00, w10, w01, w11)


@inlined
def _differences(image, n, x0, x1, y0, y1):
    """From tap to tap of a channel: along x in the first and the second row, along y in the first column."""
    first = image[y0, x0, n]
    return image[y0, x1, n] - first, image[y1, x1, n] - image[y1, x0, n], image[y1, x0, n] - first


@contracted
def slope_row(image, uv, cotangent, r, texels, fractions, totals):
    """Add the gradient to u and v of the lookups of row ``r`` to the first two rows of ``totals`` [>= 2, cols].

    ``cotangent`` [rows, cols, C] is the one of what was looked up; ``texels`` and ``fractions``: see ``fetch_row``.
    """
    height, width, channels = image.shape
    _row_of_taps(uv, r, height, width, texels, fractions)
    for c in range(uv.shape[1]):
        x0, x1 = _wrapped(texels[0, c], width)
        y0, y1 = _wrapped(texels[1, c], height)
        s, t = fractions[0, c], fractions[1, c]
        above = below = left = np.float32(0.0) * s
        if channels == 4:
            for n in range(4):
                by_above, by_below, by_left = _differences(image, n, x0, x1, y0, y1)
                g = cotangent[r, c, n]
                above, below, left = above + g * by_above, below + g * by_below, left + g * by_left
        else:
            for n in range(channels):
                by_above, by_below, by_left = _differences(image, n, x0, x1, y0, y1)
                g = cotangent[r, c, n]
                above, below, left = above + g * by_above, below + g * by_below, left + g * by_left
        # The derivative of the bilinear mix, times texels per unit of u and v.
        totals[0, c] += np.float64(above + t * (below - above)) * width
        totals[1, c] += np.float64(left + s * (below - above)) * height


@contracted
def lookup(image, uv, first, last, out):
    """Fill rows ``first`` to ``last`` of ``out`` [rows, cols, C] from coordinates [rows, cols, >= 2]."""
    texels, fractions = np.empty((2, uv.shape[1]), np.int32), np.empty((2, uv.shape[1]), image.dtype)
    for r in range(first, last):
        fetch_row(image, uv, r, texels, fractions, out)


@contracted
def lookup_slope(image, uv, cotangent, first, last, gradient):
    """Fill rows of ``gradient`` [rows, cols, 2], the one to the coordinates."""
    cols = uv.shape[1]
    texels, fractions, totals = np.empty((2, cols), np.int32), np.empty((2, cols), image.dtype), np.empty((2, cols))
    for r in range(first, last):
        totals[:] = 0.0
        slope_row(image, uv, cotangent, r, texels, fractions, totals)
        for c in range(cols):
            gradient[r, c, 0], gradient[r, c, 1] = totals[0, c], totals[1, c]


@contracted
def splat(uv, cotangent, gradient):
    """Add to ``gradient`` [h, w, C] what the lookups of one view give back to their texture."""
    for r in range(uv.shape[0]):
        for c in range(uv.shape[1]):
            x0, x1, s = taps(np.float64(uv[r, c, 0]), gradient.shape[1])
            y0, y1, t = taps(np.float64(uv[r, c, 1]), gradient.shape[0])
            for n in range(gradient.shape[2]):
                g = np.float64(cotangent[r, c, n])
                gradient[y0, x0, n] += (1.0 - s) * (1.0 - t) * g
                gradient[y0, x1, n] += s * (1.0 - t) * g
                gradient[y1, x0, n] += (1.0 - s) * t * g
                gradient[y1, x1, n] += s * t * g
