"""Pooling of point features into cells: torch-scatter where it is installed, else torch alone, same numbers.

Letters: N points. Features come points first, [N, ...]: then every point is one contiguous copy, which is about
ten times as fast on a CPU as features first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

try:
    import torch_scatter
except (ImportError, OSError):  # OSError: built for another torch
    torch_scatter = None

if TYPE_CHECKING:
    from types import ModuleType

backend: ModuleType | None = torch_scatter
"""The package in use, or None; tests set it to compare the two."""


def scatter_max(values: Tensor, index: Tensor, size: int) -> Tensor:
    """Return the maximum of the points of every cell, [size, ...]; 0 in empty cells.

    The gradient goes to one point per cell and channel, the first of several equal ones.

    Parameters
    ----------
    values
        [N, ...], floating point.
    index
        int64 [N], the cell of every point, 0 <= index < ``size``.
    size
        Number of cells.
    """
    if backend is not None:
        return _typed(backend.scatter_max(values, index, dim=0, dim_size=size)[0])
    everywhere = _expanded(index, values)
    empty = values.new_zeros((size, *values.shape[1:]))
    highest = empty.scatter_reduce(0, everywhere, values.detach(), "amax", include_self=False)
    if not (torch.is_grad_enabled() and values.requires_grad):
        return highest
    winner = _first_equal(values.detach(), highest, index, everywhere)
    chosen = values.gather(0, winner.clamp(max=len(values) - 1)) if len(values) else empty
    return torch.where(winner < len(values), chosen, empty)


def scatter_mean(values: Tensor, index: Tensor, size: int) -> Tensor:
    """Return the mean of the points of every cell, [size, ...]; 0 in empty cells. See ``scatter_max``.

    ``values`` is [n, ...] of any unit, ``index`` int64 [n] the cell of each point.
    """
    if backend is not None:
        return _typed(backend.scatter_mean(values, index, dim=0, dim_size=size))
    total = values.new_zeros((size, *values.shape[1:])).index_add(0, index, values)
    number = values.new_zeros(size).index_add(0, index, values.new_ones(len(index))).clamp(min=1)
    return total / number.reshape(-1, *[1] * (values.dim() - 1))


def _expanded(index: Tensor, values: Tensor) -> Tensor:
    """Return ``index`` [N] repeated over the channels of ``values`` [N, ...], without a copy."""
    return index.reshape(-1, *[1] * (values.dim() - 1)).expand_as(values)


def _first_equal(values: Tensor, highest: Tensor, index: Tensor, everywhere: Tensor) -> Tensor:
    """Return the number of the first point that holds each maximum, int64 [size, ...]; N in empty cells."""
    count = len(values)
    # Counted in float64, exact to 2^53: torch reduces floating point several times as fast as integers here.
    place = torch.arange(count, dtype=torch.float64, device=values.device).reshape(-1, *[1] * (values.dim() - 1))
    place = torch.where(values == highest[index], place, float(count))
    none = place.new_full(highest.shape, float(count))
    return none.scatter_reduce(0, everywhere, place, "amin", include_self=True).long()


def _typed(result: Any) -> Tensor:  # noqa: ANN401  # torch-scatter has no types
    return cast("Tensor", result)
