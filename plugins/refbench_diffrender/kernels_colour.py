"""The photometric term in compiled loops (numba), bands of rows on the threads that torch uses."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from refbench_diffrender.compiled import compiled, in_threads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

BANDS = 8
"""Whatever the number of threads, so that sums are the same."""


def colour_sums(found: Tensor, wanted: Tensor, mask: Tensor, edges: Tensor, compat: bool) -> tuple[float, float, float]:
    """Return the summed damped squares, the summed low edges and the number of pixels that the latter covers."""
    images = _pixels(found, wanted, mask, edges)
    sums = np.zeros((BANDS, 3))
    calls = [(*images, compat, *band, out) for band, out in zip(_bands(len(images[0])), sums, strict=True)]
    in_threads(_sums, calls, torch.get_num_threads())
    squares, low, counted = sums.sum(axis=0).tolist()
    return squares, low, counted


def colour_gradients(
    images: Sequence[Tensor], terms: tuple[float, float, float, bool], cotangent: float
) -> tuple[Tensor, Tensor]:
    """Return the gradients by the rendered colours and by the rendered edge map.

    Parameters
    ----------
    images
        Rendered colours, photographed ones, mask and rendered edge map, as given to the forward pass.
    terms
        Its two means, the number of pixels of the second one, and ``compat``.
    cotangent
        The gradient by the loss.
    """
    found, _, _, edges = images
    damped, share, counted, compat = terms
    pixels = _pixels(*images)
    to_found = np.empty(tuple(found.shape), np.float32)  # numpy asks for huge pages, which cost less than torch's
    to_edges = np.empty(tuple(edges.shape), np.float32)
    factors = np.float32(2 * cotangent * (1 + share) / found.numel()), np.float32(cotangent * damped / counted)
    outs = to_found.reshape(-1, 3), to_edges.reshape(-1)
    calls = [(*pixels, compat, *band, *factors, *outs) for band in _bands(len(pixels[0]))]
    in_threads(_gradients, calls, torch.get_num_threads())
    return torch.from_numpy(to_found), torch.from_numpy(to_edges)


def _pixels(found: Tensor, wanted: Tensor, mask: Tensor, edges: Tensor) -> tuple[Any, ...]:
    """The values of the pixels, one after another; of the first channels of more without a copy."""
    colours = [image.detach().reshape(-1, 3).numpy() for image in (found, wanted)]
    return (*colours, *[image.detach().reshape(-1).numpy() for image in (mask, edges)])


def _bands(number: int) -> list[tuple[int, int]]:
    borders = [number * band // BANDS for band in range(BANDS + 1)]
    return list(pairwise(borders))


@compiled
def _sums(found, wanted, mask, edges, compat, first, last, out):  # type: ignore[no-untyped-def]
    squares, low, counted = 0.0, 0.0, 0.0
    for p in range(first, last):
        share = np.float32(1.0) if compat else mask[p]
        low += share * (np.float32(1.0) - edges[p])
        counted += share
        damping = mask[p] * edges[p]
        red, green, blue = wanted[p, 0] - found[p, 0], wanted[p, 1] - found[p, 1], wanted[p, 2] - found[p, 2]
        squares += damping * damping * (red * red + green * green + blue * blue)
    out[0], out[1], out[2] = squares, low, counted


@compiled
def _gradients(  # type: ignore[no-untyped-def]
    found, wanted, mask, edges, compat, first, last, factor, low, to_found, to_edges
):
    for p in range(first, last):
        damping = mask[p] * edges[p]
        weight = factor * damping * damping
        red, green, blue = found[p, 0] - wanted[p, 0], found[p, 1] - wanted[p, 1], found[p, 2] - wanted[p, 2]
        to_found[p, 0], to_found[p, 1], to_found[p, 2] = weight * red, weight * green, weight * blue
        squares = red * red + green * green + blue * blue
        to_edges[p] = factor * mask[p] * damping * squares - low * (np.float32(1.0) if compat else mask[p])
