"""The published loss: weighted cross-entropy of occupancy, zero-weight points staying in the mean.

Letters: B patches, M query points. Labels {0, 1} with logits [B, M, 1], or {0, 1, 2} with logits [B, M, 3].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from refbench_implicity.config import LossWeights

LAND_TYPES = ("building", "forest", "water")


@dataclass(frozen=True, slots=True)
class Losses:
    """``total`` (with gradient), ``by_type`` per land type (detached), ``per_point`` [B, M] unweighted."""

    total: Tensor
    by_type: Mapping[str, Tensor]
    per_point: Tensor


def point_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the unweighted cross-entropy [B, M] of ``logits`` [B, M, 1 or 3] and ``labels`` [B, M]."""
    if logits.shape[-1] == 1:
        return F.binary_cross_entropy_with_logits(logits[..., 0], labels.to(logits.dtype), reduction="none")
    return F.cross_entropy(logits.movedim(-1, 1), labels.long(), reduction="none")


def _weight(mask: Tensor, pair: tuple[float, float] | Tensor, like: Tensor) -> Tensor:
    outside, inside = (torch.as_tensor(pair[i], dtype=like.dtype, device=like.device) for i in (0, 1))
    return torch.where(mask.bool(), inside, outside)


def occupancy_loss(logits: Tensor, labels: Tensor, masks: Mapping[str, Tensor], weights: LossWeights) -> Losses:
    """Return the weighted loss of a batch.

    Parameters
    ----------
    logits, labels
        [B, M, 1 or 3] and [B, M].
    masks
        Bool [B, M] under ``gt`` and the land types; a type without a mask weighs 1 everywhere.
    weights
        The weights; the total is the mean of ``w_gt * prod(w_type) * loss`` over all points.
    """
    per_point = point_loss(logits, labels)
    land: dict[str, tuple[float, float] | Tensor] = {kind: getattr(weights.land, kind) for kind in LAND_TYPES}
    if weights.balance_building_weight and "building" in masks:
        fraction = masks["building"].to(per_point.dtype).mean()
        land["building"] = torch.stack([fraction, 1 - fraction])
    base = per_point * _weight(masks["gt"], weights.gt, per_point)
    total, by_type = base, {}
    for kind, pair in land.items():
        if kind in masks:
            factor = _weight(masks[kind], pair, per_point)
            total = total * factor
            by_type[kind] = (base * factor).mean().detach()
    return Losses(total.mean(), by_type, per_point.detach())
