"""``sample.bilinear`` for tensors: gradients with respect to the raster and to the coordinates."""

from __future__ import annotations

import torch
from torch import Tensor

from refbench.geometry.sample import SNAP_PX


def bilinear(array: Tensor, col: Tensor, row: Tensor) -> Tensor:
    """Return values at image coordinates, whose integers are pixel centres.

    Parameters
    ----------
    array
        [..., rows, cols] floating point, NaN is NoData.
    col, row
        [N], pixels, in the type of ``array``.

    Returns
    -------
    [..., N]. NaN outside the hull of the pixel centres and wherever a pixel with a weight above 0 is NaN; no
    gradient flows from there.
    """
    rows, cols = array.shape[-2:]
    (left, right_weight), (top, lower_weight) = _split(col), _split(row)
    inside = (left >= 0) & (left + (right_weight > 0) < cols) & (top >= 0) & (top + (lower_weight > 0) < rows)
    left, top = left.clamp(0, cols - 1).long(), top.clamp(0, rows - 1).long()
    flat = array.flatten(-2)
    known = torch.isfinite(flat)
    # NaN times a gradient of 0 is NaN: the unknown pixels must leave the graph before the products.
    clean = torch.where(known, flat, torch.zeros_like(flat))
    out = torch.zeros_like(col)
    valid = inside
    for down, row_weight in ((0, 1 - lower_weight), (1, lower_weight)):
        for right, col_weight in ((0, 1 - right_weight), (1, right_weight)):
            weight = row_weight * col_weight
            pixel = (top + down).clamp(max=rows - 1) * cols + (left + right).clamp(max=cols - 1)
            out = out + clean[..., pixel] * weight
            valid = valid & (known[..., pixel] | (weight <= 0))
    return torch.where(valid, out, torch.full_like(out, torch.nan))


def _split(coordinate: Tensor) -> tuple[Tensor, Tensor]:
    """Return the pixel before a coordinate (no gradient) and the weight of the next one."""
    coordinate = torch.where(torch.isfinite(coordinate), coordinate, torch.full_like(coordinate, -1.0))
    whole = coordinate.detach().round()
    before = torch.where((coordinate.detach() - whole).abs() <= SNAP_PX, whole, coordinate.detach().floor())
    weight = coordinate - before
    # Snapped to the centre in value; the slope towards the next pixel stays.
    return before, weight - torch.where(weight.detach().abs() <= SNAP_PX, weight.detach(), torch.zeros_like(weight))
