"""The losses of ImMPI at one scale and over all, with what stays of a target view computed once.

Images in [0, 1] are compared where the mask of the target view is 1. The mask depends on geometry alone, so that the
masked targets, their moments and their features may be kept from one step to the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import interpolate
from torch.utils.checkpoint import checkpoint

from refbench.contracts.errors import InputError
from refbench_immpi.losses.ssim import Moments, moments, ssim

if TYPE_CHECKING:
    from collections.abc import Sequence

    from refbench_immpi.losses.lpips import Lpips
    from refbench_immpi.planes.render import Rendered

SCALES = 4


@dataclass(frozen=True, slots=True)
class LossWeights:
    """Weight of each loss; of those with weight 0 nothing is computed."""

    l1: float = 2.0
    ssim: float = 1.0
    lpips: float = 0.0
    l2: float = 0.0
    edge: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Losses:
    """``total`` to descend, and its ``terms`` by name, weighted and summed over the scales."""

    total: torch.Tensor
    terms: dict[str, torch.Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class ScaleTarget:
    """A target view at one scale.

    ``image`` [B, 3, h, w] unmasked; ``mask`` [B, 1, h, w]; ``pixels``: their number; ``known``: moments of the masked
    image, whose ``image`` it is; ``features`` of it for LPIPS (None without).
    """

    image: torch.Tensor
    mask: torch.Tensor
    pixels: torch.Tensor
    known: Moments
    features: list[torch.Tensor] | None


def l1_loss(estimate: torch.Tensor, target: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Return the sum of absolute differences over bands and masked pixels, by pixel: thrice the mean over bands.

    ``estimate`` and ``target`` [B, 3, h, w], ``mask`` [B, 1, h, w] (None: everywhere).
    """
    return _per_pixel((estimate - target).abs(), mask)


def l2_loss(estimate: torch.Tensor, target: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Return as ``l1_loss`` the sum of squared differences. A scalar; images are [B, 3, h, w] in [0, 1]."""
    return _per_pixel((estimate - target).square(), mask)


def _per_pixel(differences: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    if mask is None:
        return differences.sum() / (differences.numel() / differences.shape[1])
    return (differences * mask).sum() / mask.sum()


def edge_aware_loss(depth: torch.Tensor, image: torch.Tensor, near: torch.Tensor, far: torch.Tensor) -> torch.Tensor:
    """Return the mean slope of depth, less where the image has edges.

    Parameters
    ----------
    depth
        [B, 1, h, w], scene units.
    image
        [B, 3, h, w] in [0, 1].
    near, far
        [B], the depths that count as 0 and 1.
    """
    low, high = near.view(-1, 1, 1, 1), far.view(-1, 1, 1, 1)
    relative = (depth - low) / (high - low)
    loss = relative.new_zeros(())
    for axis in (-2, -1):
        edge = image.diff(dim=axis).abs().mean(1, keepdim=True)
        loss = loss + (relative.diff(dim=axis).abs() * torch.exp(-edge)).mean()
    return loss


def _deep_distance(lpips: Lpips, estimate: torch.Tensor, features: list[torch.Tensor]) -> torch.Tensor:
    """Return the mean LPIPS distance; the estimate's features are made again for the gradient instead of being kept."""

    def distance(image: torch.Tensor) -> torch.Tensor:
        return lpips.distance(lpips.features(image), features).mean()

    if not estimate.requires_grad:
        return distance(estimate)
    found: torch.Tensor = checkpoint(distance, estimate, use_reentrant=False, preserve_rng_state=False)
    return found


def scale_targets(image: torch.Tensor, masks: Sequence[torch.Tensor], lpips: Lpips | None = None) -> list[ScaleTarget]:
    """Return a target view at scales 0, 1, 2, ...; they hold as long as the poses do.

    Parameters
    ----------
    image
        [B, 3, h, w] in [0, 1].
    masks
        [B, 1, h // 2^s, w // 2^s] of scale s, as rendered.
    lpips
        To compute its features; None without.

    Raises
    ------
    InputError
        A mask is empty: nothing could be compared.
    """
    found = []
    for scale, mask in enumerate(masks):
        pixels = mask.sum()
        if not pixels:
            raise InputError(
                "The target view sees no plane of the multiplane image: leave the view out, or check its pose and the "
                "depth range of the reference view."
            )
        small = _halved(image, scale)
        masked = small * mask
        with torch.no_grad():
            features = lpips.features(masked) if lpips else None
        found.append(ScaleTarget(small, mask, pixels, moments(masked), features))
    return found


def _halved(image: torch.Tensor, scale: int) -> torch.Tensor:
    """Return the image at a scale as published: bilinear, not smoothed before."""
    size = [length // 2**scale for length in image.shape[2:]]
    return interpolate(image, size=size, mode="bilinear", align_corners=False, antialias=False) if scale else image


def view_losses(
    rendered: Sequence[Rendered],
    targets: Sequence[ScaleTarget],
    weights: LossWeights,
    *,
    lpips: Lpips | None = None,
    depth_range: tuple[torch.Tensor, torch.Tensor] | None = None,
) -> Losses:
    """Return the losses of a target view, all scales alike.

    Parameters
    ----------
    rendered, targets
        By scale.
    weights
        Of the losses.
    lpips
        As given to ``scale_targets``.
    depth_range
        Near and far [B] for the edge-aware loss.

    Raises
    ------
    InputError
        A loss has a weight but not what it needs.
    """
    if weights.lpips and (lpips is None or any(target.features is None for target in targets)):
        raise InputError("The LPIPS loss needs the weights of LPIPS: give their file, or set its weight to 0.")
    if weights.edge and depth_range is None:
        raise InputError("The edge-aware loss needs a depth range: give near and far, or set its weight to 0.")
    terms: dict[str, torch.Tensor] = {}
    for view, target in zip(rendered, targets, strict=True):
        for name, value in _scale_losses(view, target, weights, lpips, depth_range).items():
            weighted = value * getattr(weights, name)
            terms[name] = terms[name] + weighted if name in terms else weighted
    if not terms:
        raise InputError("All losses have weight 0: give one of l1, l2, ssim, lpips, edge a weight.")
    return Losses(torch.stack(list(terms.values())).sum(), terms)


def _scale_losses(
    view: Rendered,
    target: ScaleTarget,
    weights: LossWeights,
    lpips: Lpips | None,
    depth_range: tuple[torch.Tensor, torch.Tensor] | None,
) -> dict[str, torch.Tensor]:
    """Return the losses of one scale by their weight's name, those of weight 0 left out."""
    estimate, known = view.rgb * target.mask, target.known.image
    found: dict[str, torch.Tensor] = {}
    if weights.l1:
        found["l1"] = (estimate - known).abs().sum() / target.pixels
    if weights.ssim:
        found["ssim"] = 1 - ssim(estimate, target.known).mean()
    if weights.lpips and lpips is not None and target.features is not None:
        found["lpips"] = _deep_distance(lpips, estimate, target.features)
    if weights.l2:
        found["l2"] = l2_loss(view.rgb, target.image, target.mask)
    if weights.edge and depth_range is not None:
        found["edge"] = edge_aware_loss(view.depth, target.image, *depth_range)
    return found
