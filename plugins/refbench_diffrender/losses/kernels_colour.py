"""The photometric term in compiled loops (numba), bands of rows on the threads that torch uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from refbench_diffrender.rasteriser.bands import bands
from refbench_diffrender.rasteriser.compiled import compiled, in_threads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor


def colour_sums(
    found: Tensor, wanted: Tensor | Sequence[Tensor], mask: Tensor, edges: Tensor, rules: tuple[bool, bool]
) -> tuple[float, float, float]:
    """Return the summed damped squares, the summed low edges and the number of pixels that the latter covers.

    ``rules``: ``compat``, and whether ``edges`` are still to be clamped to [0, 1].
    """
    views = _views(found, wanted, mask, edges)
    cut = bands(len(found), found.shape[1])
    sums = np.zeros((len(cut), 3))
    calls = [(*views[v], *rules, first, last, out) for (v, _, first, last), out in zip(cut, sums, strict=True)]
    in_threads(_sums, calls, torch.get_num_threads())
    squares, low, counted = sums.sum(axis=0).tolist()
    return squares, low, counted


def colour_gradients(
    images: tuple[Tensor, Tensor | Sequence[Tensor], Tensor, Tensor],
    terms: tuple[float, float, float],
    rules: tuple[bool, bool],
    cotangent: float,
    outs: tuple[NDArray[np.float32], NDArray[np.float32]],
) -> None:
    """Fill ``outs``, the gradients by the rendered colours and by the rendered edge map.

    Parameters
    ----------
    images
        Rendered colours, observed ones, mask and rendered edge map, as given to the forward pass.
    terms
        Its two means, and the number of pixels of the second one.
    rules
        As given to the forward pass.
    cotangent
        The gradient by the loss.
    outs
        In the shapes of the rendered ones.
    """
    damped, fraction, counted = terms
    views, found = _views(*images), images[0]
    factors = np.float32(2 * cotangent * (1 + fraction) / found.numel()), np.float32(cotangent * damped / counted)
    calls = [
        (*views[v], *rules, first, last, *factors, outs[0][v], outs[1][v])
        for v, _, first, last in bands(len(found), found.shape[1])
    ]
    in_threads(_gradients, calls, torch.get_num_threads())


def _views(found: Tensor, wanted: Tensor | Sequence[Tensor], mask: Tensor, edges: Tensor) -> list[tuple[Any, ...]]:
    """The values of every view; channels that are some of more are not copied."""
    images = [found.detach(), wanted, mask.detach(), edges.detach()]
    return [tuple(part.detach().numpy() for part in parts) for parts in zip(*images, strict=True)]


@compiled
def _sums(found, wanted, mask, edges, compat, clamps, first, last, out):
    none, one = np.float32(0.0), np.float32(1.0)
    squares, low, counted = 0.0, 0.0, 0.0
    for r in range(first, last):
        for c in range(found.shape[1]):
            known, edge = mask[r, c, 0], edges[r, c, 0]
            if clamps:
                edge = min(max(edge, none), one)
            fraction = one if compat else known
            low += fraction * (one - edge)
            counted += fraction
            damping = known * edge
            red, green = wanted[r, c, 0] - found[r, c, 0], wanted[r, c, 1] - found[r, c, 1]
            blue = wanted[r, c, 2] - found[r, c, 2]
            # (mask x edge)^2 times the squared difference, summed over the three channels.
            squares += damping * damping * (red * red + green * green + blue * blue)
    out[0], out[1], out[2] = squares, low, counted


@compiled
def _gradients(found, wanted, mask, edges, compat, clamps, first, last, factor, low, to_found, to_edges):
    none, one = np.float32(0.0), np.float32(1.0)
    for r in range(first, last):
        for c in range(found.shape[1]):
            known, edge = mask[r, c, 0], edges[r, c, 0]
            passes = not clamps or (edge >= none and edge <= one)
            if clamps:
                edge = min(max(edge, none), one)
            damping = known * edge
            weight = factor * damping * damping
            red, green = found[r, c, 0] - wanted[r, c, 0], found[r, c, 1] - wanted[r, c, 1]
            blue = found[r, c, 2] - wanted[r, c, 2]
            to_found[r, c, 0], to_found[r, c, 1], to_found[r, c, 2] = weight * red, weight * green, weight * blue
            squares = red * red + green * green + blue * blue
            # d/dE of E^2 squares, and of the factor 1 + mean(1 - E).
            to_edge = factor * known * damping * squares - low * (one if compat else known)
            to_edges[r, c, 0] = to_edge if passes else none
