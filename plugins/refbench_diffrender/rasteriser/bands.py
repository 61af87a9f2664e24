"""How the work of a rendering is cut for threads, and arrays of views taken from tensors."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from refbench_diffrender.rasteriser.buffers import Buffers

_BANDS = 8
"""Bands of rows over all views, at least two of a view."""


def array(tensor: Tensor) -> NDArray[Any]:
    """The contiguous values of a CPU tensor. The shape and the float or int type stay."""
    values: NDArray[Any] = tensor.detach().contiguous().numpy()
    return values


def fresh(buffers: Buffers, shape: tuple[int, ...], like: Tensor) -> Tensor:
    """An uninitialised tensor of the float type of ``like``. Of the shape that is asked for."""
    return torch.from_numpy(buffers.take(shape, array(like.new_empty(0)).dtype))


def copied(buffers: Buffers, values: NDArray[Any]) -> NDArray[Any]:
    """A copy in a buffer. The shape and the float or int type stay."""
    out = buffers.take(values.shape, values.dtype)
    out[...] = values
    return out


def cotangent(given: Tensor | None, like: Tensor) -> NDArray[Any]:
    """A cotangent, or one without channels where none came.

    Of the shape of ``like`` but for channels; the gradient of a scalar loss.
    """
    return array(like.new_zeros((*like.shape[:3], 0)) if given is None else given)


def of_view(values: NDArray[Any], view: int) -> NDArray[Any]:
    """What belongs to a view, of one for every view or one for all. ``values`` is [B or 1, ...] of any unit."""
    found: NDArray[Any] = values[view if len(values) > 1 else 0]
    return found


def cuts(total: int, parts: int) -> list[tuple[int, int]]:
    """Consecutive ranges of nearly equal lengths."""
    return list(pairwise(total * part // parts for part in range(parts + 1)))


def bands(views: int, rows: int) -> list[tuple[int, int, int, int]]:
    """(view, band, first row, last row): the same for any number of threads."""
    of_view = cuts(rows, bands_of_view(views))
    return [(view, band, *cut) for view in range(views) for band, cut in enumerate(of_view)]


def bands_of_view(views: int) -> int:
    """How many bands a view is cut into."""
    return max(2, _BANDS // max(views, 1))
