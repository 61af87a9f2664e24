"""Bilinear texture lookups that wrap around, and their gradients: kernels of one view (numba)."""

from __future__ import annotations

import numpy as np

from refbench_diffrender.compiled import contracted, inlined


@inlined
def taps(u, size):
    """The two texels that a coordinate lies between, and the weight of the second."""
    place = (u - np.floor(u)) * size - 0.5
    before = np.floor(place)
    first = int(before)
    second = first + 1
    return first + size if first < 0 else first, second if second < size else 0, place - before


@inlined
def fetch(image, u, v, out, r, c):
    """Fill pixel (r, c) of ``out`` [rows, cols, C] with the texture ``image`` [h, w, C] at (u, v)."""
    x0, x1, s = taps(u, image.shape[1])
    y0, y1, t = taps(v, image.shape[0])
    w00, w10, w01, w11 = (1.0 - s) * (1.0 - t), s * (1.0 - t), (1.0 - s) * t, s * t
    for n in range(image.shape[2]):
        out[r, c, n] = w00 * image[y0, x0, n] + w10 * image[y0, x1, n] + w01 * image[y1, x0, n] + w11 * image[y1, x1, n]


@inlined
def slope(image, u, v, cotangent, r, c):
    """The gradient to (u, v) of the lookup of pixel (r, c), of ``cotangent`` [rows, cols, C]."""
    x0, x1, s = taps(u, image.shape[1])
    y0, y1, t = taps(v, image.shape[0])
    d00 = d10 = d01 = d11 = 0.0
    for n in range(image.shape[2]):
        g = np.float64(cotangent[r, c, n])
        d00 += g * image[y0, x0, n]
        d10 += g * image[y0, x1, n]
        d01 += g * image[y1, x0, n]
        d11 += g * image[y1, x1, n]
    along_u, along_v = (1.0 - t) * (d10 - d00) + t * (d11 - d01), (1.0 - s) * (d01 - d00) + s * (d11 - d10)
    return along_u * image.shape[1], along_v * image.shape[0]


@contracted
def lookup(image, uv, first, last, out):
    """Fill rows ``first`` to ``last`` of ``out`` [rows, cols, C] from coordinates [rows, cols, >= 2]."""
    for r in range(first, last):
        for c in range(uv.shape[1]):
            fetch(image, np.float64(uv[r, c, 0]), np.float64(uv[r, c, 1]), out, r, c)


@contracted
def lookup_slope(image, uv, cotangent, first, last, gradient):
    """Fill rows of ``gradient`` [rows, cols, 2], the one to the coordinates."""
    for r in range(first, last):
        for c in range(uv.shape[1]):
            along = slope(image, np.float64(uv[r, c, 0]), np.float64(uv[r, c, 1]), cotangent, r, c)
            gradient[r, c, 0] = along[0]
            gradient[r, c, 1] = along[1]


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
